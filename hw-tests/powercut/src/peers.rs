//! Other people's writers and ours before the same cut: each on a disk of its own, all recording the same camera at the same time.
//!
//! What is counted needs nobody's word: the camera's pictures carry numbers that follow the monotonic clock, so the time of the cut
//! says which number was the newest, and a decoder says which are there. Nothing is recovered before: a file plays as it lies.
//! The disks are kind: all that was handed to them when the power went is there.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::cuts::Pick;
use crate::disk::LoggedDisk;
use crate::namespace::Mounted;
use crate::pictures::decode;
use crate::process::{Guarded, go_on, until};
use crate::station::{Programs, Settings, Station};
use crate::story::DISK_BYTES;

const OURS: &str = "holdfast";
const FPS: u64 = 30;
const SIZE: (usize, usize) = (320, 240);
/// How often a writer may fail to begin.
const ATTEMPTS: u32 = 5;
/// Whoever writes for so long goes on writing.
const SETTLED: Duration = Duration::from_secs(2);

/// How long, how often.
#[derive(Debug, Clone)]
pub struct Course {
    /// How long all record.
    pub length: Duration,
    /// How long a file is, for those that rotate.
    pub file: Duration,
    /// No cut comes before.
    pub first_cut: Duration,
    /// How many cuts, evenly spread from there to the end.
    pub cuts: u32,
    /// Only writers with this in their name.
    pub only: String,
    /// What each cut leaves is copied here, to be looked at.
    pub keep: Option<PathBuf>,
}

/// What the cuts cost a writer.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Who.
    pub writer: &'static str,
    /// Seconds of footage missing, mean of all cuts.
    pub seconds_lost: f64,
    /// At the worst cut.
    pub seconds_lost_max: f64,
    /// Files that give a decoder no picture, over all cuts.
    pub unplayable: u64,
    /// Files that were there, over all cuts.
    pub files: u64,
    /// How many cuts.
    pub cuts: u64,
    /// Cut by cut: seconds recorded, and seconds there.
    pub seconds: Vec<(f64, f64)>,
}

/// A writer at work.
struct Peer {
    name: &'static str,
    disk: LoggedDisk,
    work: Work,
    cuts: Vec<Moment>,
}

enum Work {
    Ours(Station),
    Other(Guarded),
}

/// When the power goes.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Number of the newest picture that the camera has made.
    newest: u64,
    /// Length of the log.
    log_bytes: u64,
}

/// Records with all of them, cuts, and counts.
///
/// # Errors
/// A writer does not even work with the power on.
pub fn bench(programs: &Programs, directory: &Path, course: &Course) -> anyhow::Result<Vec<Row>> {
    let (_camera, url) = camera(programs)?;
    let mut peers = Vec::new();
    for (name, command) in others(&url, course.file).into_iter().filter(|(name, _)| name.contains(&course.only)) {
        peers.push(other(name, &command, &directory.join(name.replace(' ', "-")))?);
    }
    if OURS.contains(&course.only) {
        peers.insert(0, ours(programs, &url, course.file, &directory.join("ours"))?);
    }
    let (begun, seconds) = (Instant::now(), course.length.as_secs());
    eprintln!("  {} writers record for {seconds} s, each on a disk of its own", peers.len());
    for number in 0..course.cuts {
        let span = course.length.saturating_sub(course.first_cut);
        let at = course.first_cut + span * (number + 1) / course.cuts;
        while begun.elapsed() < at {
            go_on()?;
            for peer in &mut peers {
                if let Work::Other(process) = &mut peer.work {
                    process.must_run().with_context(|| peer.name)?;
                }
            }
            std::thread::sleep(Duration::from_millis(20).min(at.saturating_sub(begun.elapsed())));
        }
        for peer in &mut peers {
            let newest = newest_number();
            peer.cuts.push(Moment { newest, log_bytes: peer.disk.written_bytes()? });
        }
        eprintln!("  cut {} of {}, after {} s", number + 1, course.cuts, begun.elapsed().as_secs());
    }
    peers.into_iter().map(|peer| peer.count(directory, course.keep.as_deref())).collect()
}

/// Number of the picture that the camera makes now: the monotonic clock, in pictures.
fn newest_number() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * FPS + u64::try_from(now.tv_nsec).unwrap_or(0) * FPS / 1_000_000_000
}

fn camera(programs: &Programs) -> anyhow::Result<(Guarded, String)> {
    let mut command = Command::new(programs.path("holdfast-simcam"));
    command.arg(format!("--size={}x{}", SIZE.0, SIZE.1)).arg(format!("--fps={FPS}"));
    command.args(["--audio=none", "--bitrate-kbps=1500", "--gop-ms=1000"]);
    let mut camera = Guarded::spawn(command.stdout(Stdio::piped()))?;
    let output = camera.child().stdout.take().context("a camera without output")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("the camera says nothing")?;
    let said: serde_json::Value = serde_json::from_str(&line).context("the camera did not start")?;
    let url = said["url"].as_str().context("a camera without an address")?.to_owned();
    Ok((camera, url))
}

fn ours(programs: &Programs, url: &str, file: Duration, directory: &Path) -> anyhow::Result<Peer> {
    let disk = LoggedDisk::start(directory, DISK_BYTES)?;
    let inputs = vec![("cam0".to_owned(), format!("source = \"rtsp\"\nurl = \"{url}\"\narmed = false\n"))];
    let settings = Settings { rotation_ms: u32::try_from(file.as_millis())?, keep_free_percent: 0, inputs };
    let station = Station::start(programs, &directory.join("station"), disk.path(), &settings)?;
    station.holdfast(&["start"])?;
    Ok(Peer { name: OURS, disk, work: Work::Ours(station), cuts: Vec::new() })
}

fn other(name: &'static str, words: &[String], directory: &Path) -> anyhow::Result<Peer> {
    let disk = LoggedDisk::start(directory, DISK_BYTES)?;
    let (program, words) = words.split_first().context("no program")?;
    // Some give up on a first picture without a time; that is not what is compared here.
    for _ in 0..ATTEMPTS {
        let mut command = Command::new(program);
        command.args(words).current_dir(disk.path()).stdout(Stdio::null());
        let mut process = Guarded::spawn(&mut command)?;
        let begun = Instant::now();
        let works = until("footage comes", || {
            let ended = process.must_run().is_err();
            let written = footage(disk.path())?.iter().any(|file| file.metadata().is_ok_and(|data| data.len() > 0));
            Ok(if ended { Some(false) } else { (written && begun.elapsed() > SETTLED).then_some(true) })
        });
        if works.with_context(|| name)? {
            return Ok(Peer { name, disk, work: Work::Other(process), cuts: Vec::new() });
        }
        for file in footage(disk.path())? {
            std::fs::remove_file(&file).with_context(|| format!("{} can't be removed", file.display()))?;
        }
    }
    bail!("{name} does not record, after {ATTEMPTS} attempts")
}

/// Name and command line of each; they write into their working directory.
fn others(url: &str, file: Duration) -> Vec<(&'static str, Vec<String>)> {
    let words = |line: String| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let gst = |tail: String| {
        let head =
            format!("gst-launch-1.0 -q -e rtspsrc location={url} protocols=tcp latency=200 ! rtph264depay ! h264parse");
        words(format!("{head} ! {tail}"))
    };
    let ffmpeg = |tail: String| {
        let head = format!("ffmpeg -nostdin -v error -rtsp_transport tcp -i {url} -c copy");
        words(format!("{head} -f segment -segment_time {} -reset_timestamps 1 {tail}", file.as_secs()))
    };
    let ns = file.as_nanos();
    vec![
        ("splitmuxsink + mp4mux", gst(format!("splitmuxsink muxer=mp4mux max-size-time={ns} location=%05d.mp4"))),
        (
            "mp4mux robust",
            gst("mp4mux reserved-max-duration=600000000000 reserved-moov-update-period=1000000000 ! filesink location=all.mp4"
                .to_owned()),
        ),
        ("ffmpeg segment", ffmpeg("%05d.mp4".to_owned())),
        (
            "ffmpeg fragmented",
            ffmpeg("-segment_format_options movflags=+frag_keyframe+empty_moov+default_base_moof %05d.mp4".to_owned()),
        ),
        ("matroskamux", gst(format!("splitmuxsink muxer=matroskamux max-size-time={ns} location=%05d.mkv"))),
    ]
}

impl Peer {
    fn count(self, directory: &Path, keep: Option<&Path>) -> anyhow::Result<Row> {
        let Self { name, disk, work, cuts } = self;
        eprintln!("  {name}: counting what {} cuts have left", cuts.len());
        match work {
            Work::Ours(station) => {
                station.holdfast(&["stop"])?;
                station.end()?;
            }
            // As a person would: both close their files.
            Work::Other(mut process) => drop(process.end(Signal::INT)),
        }
        let mut known = HashMap::new();
        let complete = look(disk.path(), &mut known)?;
        let first = *complete.numbers.first().with_context(|| format!("{name} has recorded nothing"))?;
        let (mut state, log, _) = disk.finish()?;
        let mut row = Row {
            writer: name,
            seconds_lost: 0.0,
            seconds_lost_max: 0.0,
            unplayable: 0,
            files: 0,
            cuts: 0,
            seconds: vec![],
        };
        let mut applied = 0;
        for cut in cuts {
            let at = log.entries_before(cut.log_bytes);
            (applied..at).for_each(|entry| state.apply(&log, &Pick { entry, sectors: None }, None));
            applied = at;
            let image = directory.join("image");
            state.save(&image)?;
            let mounted = Mounted::image(&image, &directory.join("cut")).with_context(|| name)?;
            let there = look(mounted.path(), &mut known)?;
            if let Some(keep) = keep {
                copy(mounted.path(), &keep.join(name).join(format!("cut{}", row.cuts)))?;
            }
            let due = cut.newest.saturating_sub(u64::from(first)) + 1;
            let lost = due.saturating_sub(there.numbers.len() as u64) as f64 / FPS as f64;
            row.seconds.push((due as f64 / FPS as f64, there.numbers.len() as f64 / FPS as f64));
            row.seconds_lost += lost;
            row.seconds_lost_max = row.seconds_lost_max.max(lost);
            row.unplayable += there.unplayable;
            row.files += there.files;
            row.cuts += 1;
        }
        row.seconds_lost /= (row.cuts as f64).max(1.0);
        Ok(row)
    }
}

#[derive(Debug, Default)]
struct There {
    numbers: BTreeSet<u32>,
    unplayable: u64,
    files: u64,
}

/// Decodes all footage in a place; what was decoded before is known by its content.
fn look(place: &Path, known: &mut HashMap<u64, Vec<u32>>) -> anyhow::Result<There> {
    let mut there = There::default();
    for path in footage(place)? {
        let mut hasher = DefaultHasher::new();
        std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?.hash(&mut hasher);
        let numbers = known.entry(hasher.finish()).or_insert_with(|| {
            // Whatever it complains about: what it shows is there.
            decode(&path, SIZE.0, SIZE.1, false).unwrap_or_default().into_iter().flatten().collect()
        });
        there.files += 1;
        there.unplayable += u64::from(numbers.is_empty());
        there.numbers.extend(numbers.iter());
    }
    Ok(there)
}

/// Copies all footage, flat.
fn copy(place: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("{} can't be made", to.display()))?;
    for path in footage(place)? {
        let name = path.file_name().context("footage without a name")?;
        std::fs::copy(&path, to.join(name)).with_context(|| format!("{} can't be copied", path.display()))?;
    }
    Ok(())
}

/// Files with footage, ours and theirs.
fn footage(place: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![place.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in
            std::fs::read_dir(&directory).with_context(|| format!("{} can't be listed", directory.display()))?
        {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if path.is_dir() {
                directories.push(path);
            } else if [".mp4", ".mkv", ".mp4.part"].iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
