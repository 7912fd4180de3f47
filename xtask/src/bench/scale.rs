//! One, eight, thirty-two inputs: what each costs.
//!
//! The inputs are RTSP cameras, all served by one simulated camera from one clip. Only the captures are measured.

use std::process::Command;
use std::time::{Duration, Instant};

use super::capture::Capture;
use super::{Common, Figures, clip, rounded, usage};
use crate::interrupt::Interrupt;
use crate::rig::{Camera, Directory, Place, Settings};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

const WARM_UP: Duration = Duration::from_secs(4);

/// What one input used, on the average over all.
struct Used {
    inputs: usize,
    /// Part of a core.
    cpu: f64,
    rss_mb: f64,
    pss_mb: f64,
    frames_per_second: f64,
    dropped: u64,
}

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let (steps, length): (&[usize], _) =
        if common.quick { (&[1, 4], Duration::from_secs(4)) } else { (&[1, 8, 32], Duration::from_secs(30)) };
    let programs = built.get()?;
    let clip = clip::hd(common)?;
    let mut all = Vec::new();
    for inputs in steps {
        terminal::step(&format!("scale: {inputs} inputs, {} s", length.as_secs()));
        all.push(measure(*inputs, length, programs, &clip, interrupt)?);
    }
    Ok(report(&all))
}

fn report(all: &[Used]) -> Figures {
    let mut table =
        Table::new(["inputs", "CPU per input", "RSS per input", "PSS per input", "safe frames/s", "dropped"]);
    let mut figures = Figures::new();
    for used in all {
        table.row([
            used.inputs.to_string(),
            format!("{:.2} %", used.cpu * 100.0),
            format!("{:.1} MB", used.rss_mb),
            format!("{:.1} MB", used.pss_mb),
            format!("{:.1}", used.frames_per_second),
            used.dropped.to_string(),
        ]);
        figures.insert(format!("cpu_percent_per_input_{}", used.inputs), rounded(used.cpu * 100.0, 3));
        figures.insert(format!("pss_mb_per_input_{}", used.inputs), rounded(used.pss_mb, 1));
        figures.insert(format!("dropped_{}", used.inputs), used.dropped.into());
    }
    table.print();
    if let (Some(one), Some(most)) = (all.first(), all.last()) {
        eprintln!("  CPU per input, {} inputs to 1: {:.2}", most.inputs, most.cpu / one.cpu);
        figures.insert(format!("cpu_per_input_{}_to_1", most.inputs), rounded(most.cpu / one.cpu, 3));
        figures.insert("rss_mb_per_input".to_owned(), rounded(most.rss_mb, 1));
    }
    figures
}

fn measure(
    inputs: usize,
    length: Duration,
    programs: &Programs,
    clip: &std::path::Path,
    interrupt: &Interrupt,
) -> anyhow::Result<Used> {
    let directory = Directory::temporary()?;
    let count = format!("--count={inputs}");
    let file = ["--file".as_ref(), clip.as_os_str()];
    let mut camera = Camera::start(programs, file.into_iter().chain([count.as_ref(), "--audio=none".as_ref()]))?;
    let names: Vec<String> = (0..inputs).map(|number| format!("cam{number}")).collect();
    let settings = Settings {
        inputs: names
            .iter()
            .zip(&camera.urls)
            .map(|(name, url)| {
                let lines = ["source = \"rtsp\"".to_owned(), format!("url = \"{url}\""), "armed = false".to_owned()];
                (name.clone(), lines.to_vec())
            })
            .collect(),
        ..Settings::default()
    };
    let place = Place::new(programs, directory.path(), &settings)?;
    let mut captures = Vec::new();
    let mut began = Vec::new();
    for name in &names {
        interrupt.check()?;
        let mut capture = Capture::start(&mut Command::new(programs.path("holdfast-capture")), &place, name)?;
        capture.record("bench", name)?;
        captures.push(capture);
        began.push(Instant::now());
    }
    wait(WARM_UP, &mut captures, interrupt)?;
    let before = sample(&captures)?;
    let begin = Instant::now();
    wait(length, &mut captures, interrupt)?;
    camera.must_run()?;
    let cpu_ns = sample(&captures)? - before;
    let seconds = begin.elapsed().as_secs_f64();

    let memory = captures.iter().map(|capture| usage::memory(capture.pid())).collect::<anyhow::Result<Vec<_>>>()?;
    let per_input = |bytes: u64| bytes as f64 / 1e6 / inputs as f64;
    let (mut frames_per_second, mut dropped) = (0.0, 0);
    for (capture, began) in captures.iter_mut().zip(began) {
        let stopped = capture.stop("bench")?;
        frames_per_second += stopped.counts.safe as f64 / began.elapsed().as_secs_f64();
        dropped += stopped.counts.source - stopped.counts.safe;
    }
    Ok(Used {
        inputs,
        cpu: cpu_ns as f64 / 1e9 / seconds / inputs as f64,
        rss_mb: per_input(memory.iter().map(|memory| memory.rss_bytes).sum()),
        pss_mb: per_input(memory.iter().map(|memory| memory.pss_bytes).sum()),
        frames_per_second: frames_per_second / inputs as f64,
        dropped,
    })
}

/// CPU time of all of them so far.
fn sample(captures: &[Capture]) -> anyhow::Result<u64> {
    captures.iter().map(|capture| usage::cpu_ns(capture.pid())).sum()
}

fn wait(length: Duration, captures: &mut [Capture], interrupt: &Interrupt) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        interrupt.check()?;
        for capture in captures.iter_mut() {
            capture.drain()?;
        }
        std::thread::sleep(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}
