//! From the command to the first safe chunk: over D-Bus, as a panel or an integrator would give it.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::{RecorderProxy, StartOptions, StopOptions};

use super::{Common, Figures, percentile, rounded};
use crate::interrupt::Interrupt;
use crate::rig::{Camera, Directory, Rig, Settings};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

/// How long an input may take to deliver.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let (armed_rounds, cold_rounds) = if common.quick { (5, 2) } else { (60, 20) };
    let programs = built.get()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let mut table = Table::new(["input", "state", "rounds", "p50", "p95", "slowest"]);
    let mut figures = Figures::new();
    for (source, prefix) in [("test", ""), ("rtsp", "rtsp_")] {
        for (armed, rounds) in [(true, armed_rounds), (false, cold_rounds)] {
            let state = if armed { "armed" } else { "cold" };
            terminal::step(&format!("start: {source}, {state}, {rounds} rounds"));
            let mut ms = runtime.block_on(measure(source, armed, rounds, programs, interrupt))?;
            let [p50, p95, slowest] = [50, 95, 100].map(|percent| percentile(&mut ms, percent));
            let cells = [p50, p95, slowest].map(|ms| format!("{ms:.1} ms"));
            table.row([source.to_owned(), state.to_owned(), rounds.to_string()].into_iter().chain(cells));
            figures.insert(format!("{prefix}{state}_p50_ms"), rounded(p50, 1));
            figures.insert(format!("{prefix}{state}_p95_ms"), rounded(p95, 1));
        }
    }
    table.print();
    Ok(figures)
}

/// Milliseconds of each round.
async fn measure(
    source: &str,
    armed: bool,
    rounds: u32,
    programs: &Programs,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<f64>> {
    let directory = Directory::temporary()?;
    // Dropped after the recorder.
    let camera;
    let mut lines = match source {
        "rtsp" => {
            camera = Camera::start(programs, ["--size=1280x720"])?;
            vec!["source = \"rtsp\"".to_owned(), format!("url = \"{}\"", camera.url()?)]
        }
        _ => ["source = \"test\"", "width = 1280", "height = 720", "framerate = 30"].map(str::to_owned).to_vec(),
    };
    lines.push(format!("armed = {armed}"));
    let settings = Settings { inputs: vec![("cam0".to_owned(), lines)], ..Settings::default() };
    let rig = Rig::start(programs, directory.path(), &settings, interrupt).await?;
    let (recorder, input) = (rig.recorder().await?, rig.input("cam0").await?);
    let mut ms = Vec::new();
    for round in 0..=rounds {
        interrupt.check()?;
        // Between recordings an armed input remembers again, and a cold one is gone.
        wait_for(&input, if armed { "armed" } else { "off" }).await?;
        let latency = start(&recorder).await?;
        recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
        // The first round fills caches and the registry of plugins: no appliance meets it twice.
        if round > 0 {
            ms.push(latency.as_secs_f64() * 1e3);
        }
    }
    Ok(ms)
}

async fn start(recorder: &RecorderProxy<'_>) -> anyhow::Result<Duration> {
    let asked = Instant::now();
    let options = StartOptions { wait_ms: Some(20_000), ..StartOptions::default() };
    recorder.start(options).await.context("Start was refused")?;
    let latency = asked.elapsed();
    if recorder.safe_frames().await? == 0 {
        bail!("Start answered before anything was safe");
    }
    Ok(latency)
}

async fn wait_for(input: &holdfast_dbus::InputProxy<'_>, state: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = input.state().await?;
        if now == state {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the input is {now}, not {state}, after {} s: {}", PATIENCE.as_secs(), input.source_error().await?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
