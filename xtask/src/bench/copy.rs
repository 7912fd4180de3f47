//! Stream copy: what it costs, next to others.
//!
//! All contenders run side by side on the same footage in real time, so that whatever else the machine does hits them alike.
//! Ours syncs every chunk; the others sync nothing.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::capture::Capture;
use super::{Common, Figures, clip, percentile, rounded, usage};
use crate::interrupt::Interrupt;
use crate::process::Guarded;
use crate::rig::{Camera, Directory, Place, Settings, quoted};
use crate::terminal::{self, Table};
use crate::workspace::{Built, Programs};

/// Everyone has started, loaded its libraries and found its pace by then.
const WARM_UP: Duration = Duration::from_secs(4);
/// Nobody rotates while measured.
const SEGMENT_SECONDS: u32 = 300;

/// Where the footage comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    File,
    Rtsp,
}

/// One process that is measured.
struct Contender {
    source: Source,
    name: &'static str,
    process: Process,
}

enum Process {
    Ours(Capture),
    Other(Guarded),
}

impl Contender {
    fn pid(&self) -> u32 {
        match &self.process {
            Process::Ours(capture) => capture.pid(),
            Process::Other(guarded) => guarded.pid(),
        }
    }
}

/// What a contender used, round by round: CPU seconds per minute of footage.
struct Used {
    source: Source,
    name: &'static str,
    cpu_s: Vec<f64>,
    memory: usage::Memory,
}

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let (rounds, length) = if common.quick { (1, Duration::from_secs(5)) } else { (3, Duration::from_secs(60)) };
    let programs = built.get()?;
    let clip = clip::hd(common)?;
    let mut camera =
        Camera::start(programs, [std::ffi::OsStr::new("--file"), clip.as_os_str(), "--audio=none".as_ref()])?;
    let mut all: Vec<Used> = Vec::new();
    for round in 1..=rounds {
        terminal::step(&format!("copy: round {round} of {rounds}, {} s", length.as_secs()));
        let directory = Directory::temporary()?;
        let place = place(programs, directory.path(), &clip, &camera)?;
        let mut contenders = start(programs, &place, &clip, &camera)?;
        wait(WARM_UP, &mut contenders, interrupt)?;
        let before =
            contenders.iter().map(|contender| usage::cpu_ns(contender.pid())).collect::<anyhow::Result<Vec<_>>>()?;
        let begin = Instant::now();
        wait(length, &mut contenders, interrupt)?;
        camera.must_run()?;
        let minutes = begin.elapsed().as_secs_f64() / 60.0;
        for (contender, before) in contenders.iter().zip(before) {
            let cpu_s = (usage::cpu_ns(contender.pid())? - before) as f64 / 1e9 / minutes;
            let memory = usage::memory(contender.pid())?;
            match all.iter_mut().find(|used| used.source == contender.source && used.name == contender.name) {
                Some(used) => {
                    used.cpu_s.push(cpu_s);
                    used.memory = memory;
                }
                None => all.push(Used { source: contender.source, name: contender.name, cpu_s: vec![cpu_s], memory }),
            }
        }
        for contender in &mut contenders {
            if let Process::Ours(capture) = &mut contender.process {
                capture.stop("bench")?;
            }
        }
    }
    Ok(report(&mut all))
}

fn report(all: &mut [Used]) -> Figures {
    let mut medians: Vec<(Source, &str, f64)> = Vec::new();
    let mut table = Table::new(["source", "contender", "CPU s per minute", "of a core", "RSS", "PSS"]);
    let mut figures = Figures::new();
    let mut rss_mb: f64 = 0.0;
    for used in all.iter_mut() {
        let median = percentile(&mut used.cpu_s, 50);
        let mb = |bytes: u64| bytes as f64 / 1e6;
        table.row([
            format!("{:?}", used.source).to_lowercase(),
            used.name.to_owned(),
            format!("{median:.3}"),
            format!("{:.2} %", median / 0.6),
            format!("{:.1} MB", mb(used.memory.rss_bytes)),
            format!("{:.1} MB", mb(used.memory.pss_bytes)),
        ]);
        let key = format!("cpu_s_per_min_{}_{:?}", used.name, used.source).to_lowercase();
        figures.insert(key, rounded(median, 3));
        if used.name == OURS {
            rss_mb = rss_mb.max(mb(used.memory.rss_bytes));
        }
        medians.push((used.source, used.name, median));
    }
    table.print();
    let cpu =
        |source, name| medians.iter().find(|(s, n, _)| (*s, *n) == (source, name)).map_or(f64::NAN, |(_, _, cpu)| *cpu);
    for (source, suffix) in [(Source::File, ""), (Source::Rtsp, "_rtsp")] {
        for (other, key) in [(FFMPEG, "cpu_ratio_ffmpeg"), (SPLITMUX, "cpu_ratio_splitmux")] {
            let ratio = cpu(source, OURS) / cpu(source, other);
            eprintln!("  {key}{suffix} = {ratio:.2}");
            figures.insert(format!("{key}{suffix}"), rounded(ratio, 3));
        }
    }
    figures.insert("rss_mb".to_owned(), rounded(rss_mb, 1));
    figures
}

const OURS: &str = "holdfast";
const FFMPEG: &str = "ffmpeg";
const SPLITMUX: &str = "splitmuxsink";

fn place(programs: &Programs, directory: &Path, clip: &Path, camera: &Camera) -> anyhow::Result<Place> {
    let file = vec!["source = \"file\"".to_owned(), format!("path = {}", quoted(clip)?), "armed = false".to_owned()];
    let rtsp = vec!["source = \"rtsp\"".to_owned(), format!("url = \"{}\"", camera.url()?), "armed = false".to_owned()];
    let inputs = vec![("file".to_owned(), file), ("rtsp".to_owned(), rtsp)];
    Place::new(programs, directory, &Settings { inputs, ..Settings::default() })
}

fn start(programs: &Programs, place: &Place, clip: &Path, camera: &Camera) -> anyhow::Result<Vec<Contender>> {
    let url = camera.url()?;
    let mut contenders = Vec::new();
    for (source, input) in [(Source::File, "file"), (Source::Rtsp, "rtsp")] {
        let mut program = Command::new(programs.path("holdfast-capture"));
        let mut capture = Capture::start(&mut program, place, input)?;
        capture.record("bench", input)?;
        contenders.push(Contender { source, name: OURS, process: Process::Ours(capture) });

        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error"]);
        match source {
            Source::File => ffmpeg.args(["-re", "-i"]).arg(clip),
            Source::Rtsp => ffmpeg.args(["-rtsp_transport", "tcp", "-i", url]),
        };
        ffmpeg.args([
            "-c",
            "copy",
            "-f",
            "segment",
            "-segment_time",
            &SEGMENT_SECONDS.to_string(),
            "-reset_timestamps",
            "1",
        ]);
        ffmpeg.arg(place.root.join(format!("ffmpeg-{input}-%05d.mp4")));
        contenders.push(other(source, FFMPEG, ffmpeg)?);

        let footage = match source {
            Source::File => format!("filesrc location={} ! qtdemux ! h264parse ! identity sync=true", clip.display()),
            Source::Rtsp => format!("rtspsrc location={url} protocols=tcp latency=200 ! rtph264depay ! h264parse"),
        };
        let pipeline = format!(
            "{footage} ! splitmuxsink muxer=mp4mux max-size-time={} location={}",
            u64::from(SEGMENT_SECONDS) * 1_000_000_000,
            place.root.join(format!("splitmux-{input}-%05d.mp4")).display()
        );
        let mut gst_launch = Command::new("gst-launch-1.0");
        gst_launch.args(["-q", "-e"]).args(pipeline.split_whitespace());
        contenders.push(other(source, SPLITMUX, gst_launch)?);
    }
    Ok(contenders)
}

fn other(source: Source, name: &'static str, mut command: Command) -> anyhow::Result<Contender> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let process = Guarded::spawn(&mut command).context("`cargo xtask setup` installs it")?;
    Ok(Contender { source, name, process: Process::Other(process) })
}

/// Lets them work, and looks after them.
fn wait(length: Duration, contenders: &mut [Contender], interrupt: &Interrupt) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    while Instant::now() < end {
        interrupt.check()?;
        for contender in contenders.iter_mut() {
            match &mut contender.process {
                Process::Ours(capture) => drop(capture.drain()?),
                Process::Other(guarded) => guarded.must_run()?,
            }
        }
        std::thread::sleep(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now())));
    }
    Ok(())
}
