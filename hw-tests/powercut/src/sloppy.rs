//! Writers that the rig must catch, and one that it must not.
//!
//! They write real segments with the product's own writer; what differs is only the order of the system calls around it: one
//! mistake each, of those that are made in the field. All of them say that they are done when they are not.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use holdfast_segment::{
    BootId, CloseReason, Closed, Codec, FileId, Frame, Identity, Media, Track, WriteOptions, Writer, durable,
};
use serde::{Deserialize, Serialize};

use crate::claims::{Claim, Claims};
use crate::disk::LoggedDisk;
use crate::station::{STATE, STORAGE};
use crate::story::{DISK_BYTES, Retention, Run};

/// The mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum Mistake {
    /// None: the product's writer as it is.
    None,
    /// Chunks are called safe without `fdatasync` (the product's writer, told not to sync).
    SkipFdatasync,
    /// A file gets its final name before its bytes are synced; then the directory is synced.
    RenameBeforeFsync,
    /// A file is synced and gets its final name; the directory is not synced.
    SkipDirectorySync,
}

const FILES: u64 = 6;
const CHUNKS: u64 = 12;
const SESSION: &str = "20261121T071503Z-k3f9w2";
const PLACE: &str = "2026-11-21/20261121T071503Z-k3f9w2/cam0";
const START_NS: u64 = 4_711_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A logged run of a writer with a mistake, and what it promised.
///
/// # Errors
/// The rig does not work.
pub fn record(mistake: Mistake, directory: &Path) -> anyhow::Result<Run> {
    let disk = LoggedDisk::start(&directory.join("disk"), DISK_BYTES)?;
    let place = disk.path().join(STORAGE).join(PLACE);
    durable::create_dir_all(&place)?;
    durable::create_dir_all(&disk.path().join(STATE))?;
    let begin = usize::try_from(disk.position()?.0)?;
    let mut claims = Claims::default();
    for sequence in 1..=FILES {
        match mistake {
            Mistake::None => through_the_writer(&disk, &place, sequence, true, &mut claims)?,
            Mistake::SkipFdatasync => through_the_writer(&disk, &place, sequence, false, &mut claims)?,
            Mistake::RenameBeforeFsync | Mistake::SkipDirectorySync => {
                by_hand(mistake, &disk, &place, sequence, directory, &mut claims)?;
            }
        }
    }
    let (base, log, end) = disk.finish()?;
    Ok(Run { base, log, begin, end, claims, retention: Retention::default() })
}

fn through_the_writer(
    disk: &LoggedDisk,
    place: &Path,
    sequence: u64,
    sync: bool,
    claims: &mut Claims,
) -> anyhow::Result<()> {
    let mut writer = begin(place, sequence, sync)?;
    let file = writer.identity().file_id;
    for chunk in 0..CHUNKS {
        writer.append(&frames(chunk))?;
        let frames = (chunk + 1) * 5;
        claims.add(disk.position()?, Claim::Frames { file, name: format!("file {sequence}"), frames });
    }
    // The last one stays open, as at a power cut.
    if sequence < FILES {
        closed(disk, &writer.close(CloseReason::Rotation)?, claims)?;
    }
    Ok(())
}

/// The bytes are made elsewhere, and written here in the wrong order.
fn by_hand(
    mistake: Mistake,
    disk: &LoggedDisk,
    place: &Path,
    sequence: u64,
    elsewhere: &Path,
    claims: &mut Claims,
) -> anyhow::Result<()> {
    let elsewhere = elsewhere.join(format!("elsewhere{sequence}"));
    std::fs::create_dir_all(&elsewhere)?;
    let made = finished(&elsewhere, sequence, CHUNKS)?;
    let name = made.path.file_name().context("a file without a name")?;
    let path = place.join(name);
    // Not `.part`: recovery would complete that by itself, name and all, and hide the mistake.
    let part = path.with_extension("mp4.new");
    let mut file = File::create_new(&part)?;
    file.write_all(&std::fs::read(&made.path)?)?;
    if mistake == Mistake::SkipDirectorySync {
        file.sync_all()?;
    }
    std::fs::rename(&part, &path)?;
    if mistake == Mistake::RenameBeforeFsync {
        durable::sync_dir(place)?;
    }
    closed(disk, &made, claims)
}

fn closed(disk: &LoggedDisk, closed: &Closed, claims: &mut Claims) -> anyhow::Result<()> {
    let name = closed.path.file_name().context("a file without a name")?;
    let path = format!("{PLACE}/{}", name.to_string_lossy());
    let frames = closed.ledger.tracks.first().map_or(0, |track| track.frames);
    let claim = Claim::Closed { file: closed.file_id, path, digest: closed.digest, frames };
    claims.add(disk.position()?, claim);
    Ok(())
}

/// A whole segment of made-up footage; for tests.
///
/// # Errors
/// It can't be written.
pub fn whole_file(directory: &Path, sequence: u64, chunks: u64) -> anyhow::Result<(PathBuf, FileId)> {
    let closed = finished(directory, sequence, chunks)?;
    Ok((closed.path, closed.file_id))
}

fn finished(directory: &Path, sequence: u64, chunks: u64) -> anyhow::Result<Closed> {
    let mut writer = begin(directory, sequence, false)?;
    for chunk in 0..chunks {
        writer.append(&frames(chunk))?;
    }
    Ok(writer.close(CloseReason::Rotation)?)
}

fn begin(directory: &Path, sequence: u64, sync: bool) -> anyhow::Result<Writer> {
    let identity = Identity {
        session: SESSION.to_owned(),
        input: "cam0".to_owned(),
        sequence,
        file_id: FileId::random()?,
        boot_id: BootId([9; 16]),
        start_mono_ns: START_NS,
        start_wall_ns: 1_795_245_303_000_000_000,
        device: "rig".to_owned(),
        software: "powercut".to_owned(),
        previous: None,
        gap_before: None,
    };
    // Nothing decodes it: whether the bytes are there is all that is asked.
    let track = Track {
        codec: Codec::H264 { avcc: vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 0] },
        media: Media::Video { width: 320, height: 180 },
        timescale: 90_000,
    };
    let options = WriteOptions { sync, preallocate_bytes: 0, ..WriteOptions::default() };
    let name = format!("{sequence:06}_20261121T071503Z.mp4");
    Ok(Writer::create(directory, &name, identity, vec![track], &options)?)
}

/// Five pictures; a keyframe begins each chunk.
fn frames(chunk: u64) -> Vec<Frame<Vec<u8>>> {
    (chunk * 5..chunk * 5 + 5)
        .map(|picture| {
            let dts_ns = START_NS + picture * SECOND_NS / 25;
            let data = picture.to_le_bytes().repeat(400);
            Frame { track: 0, dts_ns, pts_ns: dts_ns, duration_ns: SECOND_NS / 25, sync: picture % 5 == 0, data }
        })
        .collect()
}
