//! Bytes that reach the disk per byte of footage.
//!
//! The segment writer itself, fed in real time (the journal of ext4 commits every 5 s, so haste would change the figures)
//! with frames of a camera's sizes, on a loop device whose written sectors are counted. Everything is counted: the file's
//! beginning, its chunks, its end, and for recycled blocks the retirement of the file they come from.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_segment::{
    BootId, CloseReason, Codec, FileId, Frame, Identity, Media, Pool, Track, WriteOptions, Writer, durable,
};

use super::device::Device;
use super::{Common, Figures, percentile, rounded};
use crate::interrupt::Interrupt;
use crate::rig::Directory;
use crate::terminal::{self, Table};

const FPS: u64 = 30;
/// 4 Mb/s with a keyframe four times as large as the others, once a second.
const SECOND_BYTES: usize = 500_000;
const DELTA_BYTES: usize = SECOND_BYTES / 33;
const KEY_BYTES: usize = SECOND_BYTES - DELTA_BYTES * 29;
/// The default of `sync_interval_ms`, and its neighbours.
const INTERVALS_MS: [u64; 3] = [250, 500, 1000];
const DEFAULT_INTERVAL_MS: u64 = 500;
const DEVICE_BYTES: u64 = 2 << 30;

/// How a file gets its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    Append,
    Preallocate,
    Recycle,
}

impl Blocks {
    const ALL: [Self; 3] = [Self::Append, Self::Preallocate, Self::Recycle];

    fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Preallocate => "allocated ahead",
            Self::Recycle => "recycled",
        }
    }
}

/// One combination.
#[derive(Debug, Clone, Copy)]
struct Case {
    blocks: Blocks,
    inputs: u64,
    interval: Duration,
    length: Duration,
}

/// What it gave.
struct Outcome {
    case: Case,
    footage_bytes: u64,
    written_bytes: u64,
    flushes: u64,
    sync_ms: Vec<f64>,
}

impl Outcome {
    fn amplification(&self) -> f64 {
        self.written_bytes as f64 / self.footage_bytes as f64
    }

    fn flushes_per_second(&self) -> f64 {
        self.flushes as f64 / self.case.length.as_secs_f64()
    }
}

pub fn run(common: &Common, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    if let Some(why) = Device::impossible() {
        return Ok(super::skipped("wear", why));
    }
    let length = Duration::from_secs(if common.quick { 3 } else { 30 });
    let directory = Directory::temporary()?;
    let mut outcomes = Vec::new();
    for inputs in [1, 8] {
        for interval in INTERVALS_MS.map(Duration::from_millis) {
            interrupt.check()?;
            terminal::step(&format!(
                "wear: {inputs} inputs, a sync every {} ms, {} s of footage",
                interval.as_millis(),
                length.as_secs()
            ));
            // The three side by side, each on a filesystem of its own: they share nothing but the disk below.
            let cases = Blocks::ALL.map(|blocks| Case { blocks, inputs, interval, length });
            let running = cases.map(|case| {
                let directory = directory.path().to_owned();
                thread::spawn(move || measure(case, &directory))
            });
            for thread in running {
                let Ok(outcome) = thread.join() else { bail!("a measurement panicked") };
                outcomes.push(outcome?);
            }
        }
    }
    Ok(report(&mut outcomes))
}

fn report(outcomes: &mut [Outcome]) -> Figures {
    let mut table = Table::new(["blocks", "inputs", "sync every", "written/footage", "flushes/s", "sync p50", "p99"]);
    let mut figures = Figures::new();
    let mut sweep = Vec::new();
    for outcome in outcomes {
        let Case { blocks, inputs, interval, .. } = outcome.case;
        let (p50, p99) = (percentile(&mut outcome.sync_ms, 50), percentile(&mut outcome.sync_ms, 99));
        table.row([
            blocks.name().to_owned(),
            inputs.to_string(),
            format!("{} ms", interval.as_millis()),
            format!("{:.3}", outcome.amplification()),
            format!("{:.1}", outcome.flushes_per_second()),
            format!("{p50:.1} ms"),
            format!("{p99:.1} ms"),
        ]);
        let amplification = rounded(outcome.amplification(), 3);
        if interval == Duration::from_millis(DEFAULT_INTERVAL_MS) {
            let key = match blocks {
                Blocks::Append => format!("write_amplification_append_{inputs}"),
                Blocks::Preallocate => format!("write_amplification_{inputs}"),
                Blocks::Recycle => format!("write_amplification_recycled_{inputs}"),
            };
            figures.insert(key, amplification.clone());
        }
        sweep.push(serde_json::json!({
            "blocks": blocks.name(),
            "inputs": inputs,
            "sync_interval_ms": u64::try_from(interval.as_millis()).unwrap_or(0),
            "write_amplification": amplification,
            "flushes_per_second": rounded(outcome.flushes_per_second(), 1),
            "sync_p50_ms": rounded(p50, 2),
            "sync_p99_ms": rounded(p99, 2),
        }));
    }
    figures.insert("sync_interval_ms".to_owned(), DEFAULT_INTERVAL_MS.into());
    figures.insert("sweep".to_owned(), sweep.into());
    table.print();
    figures
}

fn measure(case: Case, directory: &Path) -> anyhow::Result<Outcome> {
    let device = Device::new(directory, DEVICE_BYTES)?;
    let pool_directory = device.path().join(".holdfast/recycle");
    let mut old = Vec::new();
    for input in 0..case.inputs {
        let directory = device.path().join(format!("cam{input}"));
        durable::create_dir_all(&directory)?;
        if case.blocks == Blocks::Recycle {
            // Yesterday's recording, somewhat longer than today's.
            let path = directory.join("yesterday.mp4");
            let seconds = usize::try_from(case.length.as_secs())? + 2;
            std::fs::write(&path, vec![0x5a; SECOND_BYTES * seconds])?;
            old.push(path);
        }
    }
    let before = device.written()?;

    let begin = Instant::now() + Duration::from_millis(200);
    let threads: Vec<_> = (0..case.inputs)
        .map(|input| {
            let directory = device.path().join(format!("cam{input}"));
            let pool = (case.blocks == Blocks::Recycle)
                .then(|| (pool_directory.clone(), old.get(usize::try_from(input).unwrap_or(0)).cloned()));
            // Cameras do not tick together.
            let begin = begin + case.interval.mul_f64(input as f64 / case.inputs as f64);
            thread::spawn(move || record(case, &directory, pool, begin))
        })
        .collect();
    let mut outcome = Outcome { case, footage_bytes: 0, written_bytes: 0, flushes: 0, sync_ms: Vec::new() };
    for thread in threads {
        let Ok(recorded) = thread.join() else { bail!("a writer panicked") };
        let (bytes, sync_ms) = recorded?;
        outcome.footage_bytes += bytes;
        outcome.sync_ms.extend(sync_ms);
    }
    let after = device.written()?;
    outcome.written_bytes = after.bytes - before.bytes;
    outcome.flushes = after.flushes - before.flushes;
    Ok(outcome)
}

/// Records one file in real time; returns its bytes of footage and how long each sync took.
fn record(
    case: Case,
    directory: &Path,
    pool: Option<(PathBuf, Option<PathBuf>)>,
    begin: Instant,
) -> anyhow::Result<(u64, Vec<f64>)> {
    let recycle = match pool {
        Some((pool, old)) => {
            let pool = Pool::open(&pool)?;
            pool.retire(&old.context("nothing to retire")?)?;
            Some(pool)
        }
        None => None,
    };
    let recycled = recycle.is_some();
    let preallocate_bytes = if case.blocks == Blocks::Append { 0 } else { WriteOptions::default().preallocate_bytes };
    let options = WriteOptions { preallocate_bytes, recycle, sync: true };
    let identity = Identity {
        session: "bench".to_owned(),
        input: directory.display().to_string(),
        sequence: 1,
        file_id: FileId::random()?,
        boot_id: BootId::current()?,
        start_mono_ns: 0,
        start_wall_ns: 0,
        device: "bench".to_owned(),
        software: "xtask".to_owned(),
        previous: None,
        gap_before: None,
    };
    // The writer does not look into the configuration record, only at its length.
    let codec = Codec::H264 { avcc: vec![1, 0x42, 0xc0, 0x28, 0xff, 0xe0, 0] };
    let track = Track { codec, media: Media::Video { width: 1920, height: 1080 }, timescale: 90_000 };
    let mut writer = Writer::create(directory, "000001.mp4", identity, vec![track], &options)?;
    if writer.is_recycled() != recycled {
        bail!("no blocks were recycled");
    }

    let data = noise(KEY_BYTES);
    let chunk_frames = FPS * u64::try_from(case.interval.as_millis())? / 1000;
    let all_frames = FPS * case.length.as_secs();
    let mut footage_bytes = 0;
    let mut sync_ms = Vec::new();
    let mut next = 0;
    while next < all_frames {
        // 250 ms are 7.5 frames.
        let end = (next + chunk_frames.max(1)).min(all_frames);
        let frames: Vec<Frame<&[u8]>> = (next..end).map(|number| frame(number, &data)).collect();
        let due = begin + Duration::from_nanos(end * 1_000_000_000 / FPS);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let safe = writer.append(&frames)?;
        footage_bytes += safe.bytes;
        sync_ms.push(safe.sync_ns as f64 / 1e6);
        next = end;
    }
    writer.close(CloseReason::Stop)?;
    Ok((footage_bytes, sync_ms))
}

fn frame(number: u64, data: &[u8]) -> Frame<&[u8]> {
    let sync = number.is_multiple_of(FPS);
    let time_ns = 1_000_000_000 + number * 1_000_000_000 / FPS;
    Frame {
        track: 0,
        dts_ns: time_ns,
        pts_ns: time_ns,
        duration_ns: 1_000_000_000 / FPS,
        sync,
        data: &data[..if sync { KEY_BYTES } else { DELTA_BYTES }],
    }
}

/// Bytes that no layer below can compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}
