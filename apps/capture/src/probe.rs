//! Encoders are believed by evidence: a child process encodes a few pictures with the encoder and decodes them again. If it
//! hangs it is killed, if it crashes nothing else does.
//!
//! What was found is kept for the boot, so that a recording starts at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_segment::BootId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use crate::SOFTWARE;
use crate::clock::{self, NS_PER_S};
use crate::encoders::{Job, Row};

/// So many probes run at a time, over all captures of a box.
const SLOTS: u32 = 2;
/// How often a probe that waits for one of them looks.
const SLOT_LOOK: Duration = Duration::from_millis(50);

/// An encoder that has not shown anything by then does not work.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// This many pictures must come back.
pub const MIN_FRAMES: u32 = 10;
/// A failure is believed for so long; a driver may come up late.
const FAILURE_LASTS_NS: u64 = 600 * NS_PER_S;

/// What a child found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Pictures that came out of the decoder, or out of the encoder where this box has no decoder.
    pub frames: u32,
    /// Who decoded them.
    pub decoder: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Evidence {
    /// Whether the encoder may be used.
    #[must_use]
    pub fn works(&self) -> bool {
        self.error.is_none() && self.frames >= MIN_FRAMES
    }

    fn failure(error: impl Into<String>) -> Self {
        Self { frames: 0, decoder: None, error: Some(error.into()) }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    evidence: Evidence,
    mono_ns: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Cache {
    /// Boot, program and GStreamer that the entries are about.
    about: String,
    entries: BTreeMap<String, Entry>,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Probe {
    program: PathBuf,
    cache: PathBuf,
    deadline: Duration,
}

impl Probe {
    /// `program` is this program; `runtime_dir` does not outlive the boot.
    #[must_use]
    pub fn new(program: PathBuf, runtime_dir: &Path) -> Self {
        Self { program, cache: runtime_dir.join("encoders.json"), deadline: DEADLINE }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Whether the encoder works for such pictures on this box.
    ///
    /// # Errors
    /// Why not.
    pub fn works(&self, row: &Row, job: &Job) -> Result<(), String> {
        let evidence = self.evidence(row, job);
        if evidence.works() {
            return Ok(());
        }
        Err(evidence.error.unwrap_or_else(|| format!("only {} of {MIN_FRAMES} pictures came back", evidence.frames)))
    }

    /// What is known about whether it works, without finding out.
    #[must_use]
    pub fn known(&self, row: &Row, job: &Job) -> Option<bool> {
        let cache = self.load(&about());
        self.remembered(&cache, &key(row, job)).map(|evidence| evidence.works())
    }

    /// What was found out about an encoder holds no longer.
    pub fn forget(&self, row: &Row, job: &Job) {
        let mut cache = self.load(&about());
        if cache.entries.remove(&key(row, job)).is_some() {
            self.save(&cache);
        }
    }

    fn remembered(&self, cache: &Cache, key: &str) -> Option<Evidence> {
        let entry = cache.entries.get(key)?;
        let holds = entry.evidence.works() || clock::mono_ns().saturating_sub(entry.mono_ns) < FAILURE_LASTS_NS;
        holds.then(|| entry.evidence.clone())
    }

    /// What is known about an encoder; found out if nothing is.
    #[must_use]
    pub fn evidence(&self, row: &Row, job: &Job) -> Evidence {
        let about = about();
        let key = key(row, job);
        let mut cache = self.load(&about);
        if let Some(evidence) = self.remembered(&cache, &key) {
            return evidence;
        }
        let now_ns = clock::mono_ns();
        let slot = self.slot();
        let evidence = self.ask(row, job);
        drop(slot);
        tracing::info!(encoder = row.element, works = evidence.works(), ?evidence, "probed");
        // Another capture may have probed meanwhile; what it found stays.
        cache = self.load(&about);
        cache.entries.insert(key, Entry { evidence: evidence.clone(), mono_ns: now_ns });
        self.save(&cache);
        evidence
    }

    /// Waits until fewer than [`SLOTS`] probes run: but not for ever, because somebody may wait for what this one finds.
    fn slot(&self) -> Option<OwnedFd> {
        let until_ns = clock::mono_ns() + u64::try_from(self.deadline.as_nanos()).unwrap_or(0);
        loop {
            let free = (0..SLOTS).find_map(|number| {
                let path = self.cache.with_file_name(format!("probe-{number}.lock"));
                let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC;
                let lock = rustix::fs::open(path, flags, Mode::from_raw_mode(0o660)).ok()?;
                rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).ok().map(|()| lock)
            });
            if free.is_some() || clock::mono_ns() >= until_ns {
                return free;
            }
            std::thread::sleep(SLOT_LOOK);
        }
    }

    fn ask(&self, row: &Row, job: &Job) -> Evidence {
        let child = Command::new(&self.program)
            .args(["probe-encoder", row.element])
            .args(["--width", &job.width.to_string(), "--height", &job.height.to_string()])
            .args(["--framerate", &job.framerate.to_string(), "--bitrate-kbps", &job.bitrate_kbps.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return Evidence::failure(format!("{} cannot be run: {error}", self.program.display())),
        };
        let in_time = wait(&child, self.deadline);
        if !in_time {
            // It can't have been reaped, so the id is still its.
            let _ = child.kill();
        }
        let status = child.wait();
        let mut text = String::new();
        if let Some(stdout) = child.stdout.as_mut().filter(|_| in_time) {
            let _ = stdout.take(64 * 1024).read_to_string(&mut text);
        }
        match (in_time, serde_json::from_str(&text), status) {
            (false, ..) => Evidence::failure(format!("it hung for {} s", self.deadline.as_secs())),
            (true, Ok(evidence), _) => evidence,
            (true, Err(_), Ok(status)) => Evidence::failure(format!("its process ended with {status}")),
            (true, Err(_), Err(error)) => Evidence::failure(error.to_string()),
        }
    }

    fn load(&self, about: &str) -> Cache {
        let known = std::fs::read(&self.cache).ok().and_then(|bytes| serde_json::from_slice::<Cache>(&bytes).ok());
        known
            .filter(|cache| cache.about == about)
            .unwrap_or_else(|| Cache { about: about.to_owned(), entries: BTreeMap::new() })
    }

    fn save(&self, cache: &Cache) {
        let unfinished = self.cache.with_extension(format!("{}.tmp", std::process::id()));
        let saved = serde_json::to_vec_pretty(cache)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&unfinished, bytes))
            .and_then(|()| std::fs::rename(&unfinished, &self.cache));
        if let Err(error) = saved {
            tracing::debug!(%error, "what the probe found is not kept");
        }
    }
}

fn about() -> String {
    let boot = BootId::current().map(|id| id.to_string()).unwrap_or_default();
    format!("{boot} {SOFTWARE} {}", gst::version_string())
}

/// The element as it is installed now, and the picture.
fn key(row: &Row, job: &Job) -> String {
    let plugin = gst::ElementFactory::find(row.factory()).and_then(|factory| factory.plugin());
    let file = plugin.and_then(|plugin| plugin.filename());
    let changed = file.and_then(|file| std::fs::metadata(file).ok()).and_then(|meta| meta.modified().ok());
    let changed =
        changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs());
    format!("{} {}x{}@{} {}", row.element, job.width, job.height, job.framerate, changed)
}

/// True if the child ended in time.
fn wait(child: &Child, deadline: Duration) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return false;
    };
    ended_within(&pidfd, deadline)
}

fn ended_within(pidfd: &OwnedFd, deadline: Duration) -> bool {
    let until_ns = clock::mono_ns() + u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX / 2);
    loop {
        let rest = Duration::from_nanos(until_ns.saturating_sub(clock::mono_ns()));
        let timeout = Timespec::try_from(rest).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(ready) => return ready > 0,
            Err(_) => return false,
        }
    }
}

/// The child's part: encodes pictures and decodes them again.
#[must_use]
pub fn try_encoder(row: &'static Row, job: &Job) -> Evidence {
    let encoder = match row.bin(job) {
        Ok(bin) => bin,
        Err(error) => return Evidence::failure(error.to_string()),
    };
    match run(row, job, encoder.upcast()) {
        Ok(evidence) => evidence,
        Err(error) => Evidence::failure(error),
    }
}

fn run(row: &Row, job: &Job, encoder: gst::Element) -> Result<Evidence, String> {
    let text = |error: gst::glib::BoolError| error.message.to_string();
    let pixels = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let caps = gst::Caps::builder("video/x-raw")
        .field("width", pixels(job.width))
        .field("height", pixels(job.height))
        .field("framerate", gst::Fraction::new(pixels(job.framerate), 1))
        .build();
    let pictures = i32::try_from(3 * MIN_FRAMES).unwrap_or(30);
    let source = gst::ElementFactory::make("videotestsrc").property("num-buffers", pictures).build().map_err(text)?;
    let filter = gst::ElementFactory::make("capsfilter").property("caps", caps).build().map_err(text)?;
    let sink = gst::ElementFactory::make("fakesink").property("sync", false).build().map_err(text)?;
    let decoder = decoder(row).and_then(|factory| factory.create().build().ok());
    let decoder_name = decoder.as_ref().and_then(|decoder| decoder.factory()).map(|factory| factory.name().to_string());
    let mut elements = vec![&source, &filter, &encoder];
    elements.extend(decoder.iter());
    elements.push(&sink);

    let pipeline = gst::Pipeline::new();
    pipeline.add_many(elements.iter().copied()).map_err(text)?;
    gst::Element::link_many(elements.iter().copied()).map_err(text)?;
    let (counter, count) =
        (std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0)), std::sync::atomic::Ordering::Relaxed);
    let seen = counter.clone();
    let pad = sink.static_pad("sink").ok_or("no pad to count at")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        seen.fetch_add(1, count);
        gst::PadProbeReturn::Ok
    });
    let bus = pipeline.bus().ok_or("no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let ended =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Error, gst::MessageType::Eos]);
    let error = match ended.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Some(error.error().message().to_owned()),
        _ if started.is_err() => Some("it does not start".to_owned()),
        _ => None,
    };
    let _ = pipeline.set_state(gst::State::Null);
    Ok(Evidence { frames: counter.load(count), decoder: decoder_name, error })
}

/// The best decoder for what the encoder gives.
fn decoder(row: &Row) -> Option<gst::ElementFactory> {
    let caps = match row.codec {
        holdfast_config::Codec::H264 => "video/x-h264,stream-format=avc,alignment=au",
        holdfast_config::Codec::H265 => "video/x-h265,stream-format=hvc1,alignment=au",
    };
    let caps: gst::Caps = caps.parse().ok()?;
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    all.into_iter().find(|factory| factory.can_sink_any_caps(&caps))
}
