//! How long callers on the bus wait, while twenty of them read and a recording starts and stops.
//!
//! Two floors are measured in the same moments, because a loaded machine makes everybody slow: how long the bus itself takes for a
//! question that needs no recorder (two wakes of processes less than a read), and how long the disk takes to make one small note
//! durable (a Start or a Stop needs some of those, one behind the other).

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_dbus::{RecorderProxy, StartOptions, StopOptions};
use zbus::fdo::DBusProxy;
use zbus::proxy::CacheProperties;

use super::{Common, Figures, percentile, rounded};
use crate::interrupt::Interrupt;
use crate::rig::{Directory, Rig, Settings};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

const CLIENTS: u32 = 20;
/// Between two reads of a client: together they read 400 times a second.
const PAUSE: Duration = Duration::from_millis(50);
/// As large as a record of a journal.
const NOTE_BYTES: usize = 100;
/// How long a recording lasts.
const RECORDING: Duration = Duration::from_millis(400);

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let cycles = if common.quick { 5 } else { 60 };
    let programs = built.get()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    terminal::step(&format!("bus: {CLIENTS} clients read, {cycles} times Start and Stop"));
    let mut times = runtime.block_on(measure(cycles, programs, interrupt))?;
    let mut table = Table::new(["call", "calls", "p50", "p99", "slowest"]);
    let mut row = |name: &str, ms: &mut [f64]| {
        let [p50, p99, slowest] = [50, 99, 100].map(|percent| percentile(ms, percent));
        table.row(
            [name.to_owned(), ms.len().to_string()]
                .into_iter()
                .chain([p50, p99, slowest].map(|ms| format!("{ms:.1} ms"))),
        );
        (p50, p99)
    };
    let reads = row("read", &mut times.reads);
    let starts = row("Start", &mut times.starts);
    let stops = row("Stop", &mut times.stops);
    let mut writes: Vec<f64> = times.starts.iter().chain(&times.stops).copied().collect();
    let writes = row("Start and Stop", &mut writes);
    let floor = row("floor: GetId of the bus", &mut times.floor);
    let sync = row("floor: a note and its fdatasync", &mut times.syncs);
    table.print();
    let mut figures = Figures::new();
    for (key, (p50, p99)) in
        [("read", reads), ("write", writes), ("start", starts), ("stop", stops), ("floor", floor), ("sync", sync)]
    {
        figures.insert(format!("{key}_p50_ms"), rounded(p50, 2));
        figures.insert(format!("{key}_p99_ms"), rounded(p99, 2));
    }
    for (key, over, floor) in [("read_ratio_floor", reads, floor), ("write_ratio_sync", writes, sync)] {
        figures.insert(format!("{key}_p50"), rounded(over.0 / floor.0, 2));
        figures.insert(key.to_owned(), rounded(over.1 / floor.1, 2));
    }
    Ok(figures)
}

#[derive(Default)]
struct Times {
    reads: Vec<f64>,
    floor: Vec<f64>,
    syncs: Vec<f64>,
    starts: Vec<f64>,
    stops: Vec<f64>,
}

async fn measure(cycles: u32, programs: &Programs, interrupt: &Interrupt) -> anyhow::Result<Times> {
    let directory = Directory::temporary()?;
    let lines = ["source = \"test\"", "width = 640", "height = 360", "framerate = 30"].map(str::to_owned).to_vec();
    let settings = Settings { inputs: vec![("cam0".to_owned(), lines)], ..Settings::default() };
    let rig = Rig::start(programs, directory.path(), &settings, interrupt).await?;
    let (recorder, input) = (rig.recorder().await?, rig.input("cam0").await?);
    let deadline = Instant::now() + Duration::from_secs(30);
    while input.state().await? != "armed" {
        interrupt.check()?;
        if Instant::now() > deadline {
            bail!("the test input does not deliver: {}", input.source_error().await?);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let connection = zbus::connection::Builder::address(rig.place().address.as_str())?.build().await?;
        let recorder = RecorderProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        let bus = DBusProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        clients.spawn(read(recorder, bus, stopped.clone()));
    }
    let note = tempfile::NamedTempFile::new_in(&rig.place().root).context("no file for the floor of the disk")?;
    let mut times = Times::default();
    for _ in 0..cycles {
        interrupt.check()?;
        let asked = Instant::now();
        recorder.start(StartOptions::default()).await.context("Start was refused")?;
        times.starts.push(asked.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(RECORDING / 2).await;
        times.syncs.push(durable_note(note.reopen()?).await?);
        tokio::time::sleep(RECORDING / 2).await;
        let asked = Instant::now();
        recorder.stop(StopOptions::default()).await.context("Stop was refused")?;
        times.stops.push(asked.elapsed().as_secs_f64() * 1e3);
    }
    stop.send(true)?;
    while let Some(client) = clients.join_next().await {
        let (reads, floor) = client??;
        times.reads.extend(reads);
        times.floor.extend(floor);
    }
    Ok(times)
}

/// Milliseconds that a small record takes to be on disk: written at the end of a file and synced, as a journal does it.
async fn durable_note(mut file: std::fs::File) -> anyhow::Result<f64> {
    let noted = tokio::task::spawn_blocking(move || -> std::io::Result<f64> {
        file.seek(SeekFrom::End(0))?;
        let began = Instant::now();
        file.write_all(&[0; NOTE_BYTES])?;
        file.sync_data()?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    });
    noted.await?.context("the floor of the disk")
}

/// One client: reads status properties until told to stop, and asks the bus itself every fifth time.
async fn read(
    recorder: RecorderProxy<'static>,
    bus: DBusProxy<'static>,
    stopped: tokio::sync::watch::Receiver<bool>,
) -> zbus::Result<(Vec<f64>, Vec<f64>)> {
    let (mut reads, mut floor) = (Vec::new(), Vec::new());
    let mut turn = 0_u32;
    while !*stopped.borrow() {
        let asked = Instant::now();
        match turn % 5 {
            0 => drop(recorder.state().await?),
            1 => drop(recorder.safe_frames().await?),
            2 => drop(recorder.duration_usec().await?),
            3 => drop(recorder.current_session().await?),
            _ => drop(bus.get_id().await?),
        }
        let list = if turn % 5 < 4 { &mut reads } else { &mut floor };
        list.push(asked.elapsed().as_secs_f64() * 1e3);
        turn += 1;
        tokio::time::sleep(PAUSE).await;
    }
    Ok((reads, floor))
}
