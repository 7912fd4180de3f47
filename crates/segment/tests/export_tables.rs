//! Export, read back with a small parser of its own: every byte of every frame, in order, at its time, whatever the
//! segments look like. Needs no ffmpeg.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "tests"
)]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use common::{START_NS, identity, tracks};
use holdfast_segment::export::{Export, Gaps, Options};
use holdfast_segment::{CloseReason, Frame, WriteOptions, Writer};
use proptest::prelude::*;

/// A sample as a player sees it. Times in ticks of the track, on the movie's timeline.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    dts: i64,
    pts: i64,
    sync: bool,
    data: Vec<u8>,
}

fn number(data: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(data[at..at + 4].try_into().unwrap())
}

/// The content of the boxes of a kind directly inside `data`.
fn boxes<'a>(data: &'a [u8], kind: &[u8; 4]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= data.len() {
        let size = number(data, at) as usize;
        assert!(size >= 8 && at + size <= data.len(), "box of {size} bytes at {at} of {}", data.len());
        if &data[at + 4..at + 8] == kind {
            found.push(&data[at + 8..at + size]);
        }
        at += size;
    }
    found
}

fn only<'a>(data: &'a [u8], path: &[&[u8; 4]]) -> &'a [u8] {
    path.iter().fold(data, |data, kind| boxes(data, kind)[0])
}

/// Pairs `(count, value)` of stts and ctts, written out.
fn runs(table: &[u8]) -> Vec<i64> {
    let pairs = (0..number(table, 4) as usize).map(|n| (number(table, 8 + 8 * n), number(table, 12 + 8 * n)));
    pairs.flat_map(|(count, value)| std::iter::repeat_n(i64::from(value), count as usize)).collect()
}

/// All samples of a track, by its tables alone.
fn samples(file: &[u8], trak: &[u8]) -> Vec<Seen> {
    let stbl = only(trak, &[b"mdia", b"minf", b"stbl"]);
    let stsz = only(stbl, &[b"stsz"]);
    let count = number(stsz, 8) as usize;
    let sizes: Vec<usize> = match number(stsz, 4) {
        0 => (0..count).map(|n| number(stsz, 12 + 4 * n) as usize).collect(),
        same => vec![same as usize; count],
    };
    let deltas = runs(only(stbl, &[b"stts"]));
    let offsets = boxes(stbl, b"ctts").first().map_or_else(|| vec![0; count], |table| runs(table));
    assert_eq!((deltas.len(), offsets.len()), (count, count));
    let stss = boxes(stbl, b"stss");
    let syncs: Option<Vec<usize>> =
        stss.first().map(|table| (0..number(table, 4) as usize).map(|n| number(table, 8 + 4 * n) as usize).collect());
    let (lead, begin) = edits(trak);

    let stco = only(stbl, &[b"stco"]);
    let stsc = only(stbl, &[b"stsc"]);
    let chunks = number(stco, 4) as usize;
    let entries: Vec<(usize, usize)> = (0..number(stsc, 4) as usize)
        .map(|n| (number(stsc, 8 + 12 * n) as usize, number(stsc, 12 + 12 * n) as usize))
        .collect();
    let mut seen = Vec::new();
    let mut dts = lead - begin;
    for chunk in 1..=chunks {
        let per_chunk = entries.iter().rfind(|(first, _)| *first <= chunk).unwrap().1;
        let mut at = number(stco, 8 + 4 * (chunk - 1)) as usize;
        for _ in 0..per_chunk {
            let n = seen.len();
            seen.push(Seen {
                dts,
                pts: dts + offsets[n],
                sync: syncs.as_ref().is_none_or(|syncs| syncs.contains(&(n + 1))),
                data: file[at..at + sizes[n]].to_vec(),
            });
            at += sizes[n];
            dts += deltas[n];
        }
    }
    assert_eq!(seen.len(), count);
    seen
}

/// How late the track begins, and at which of its media times; in ticks of the track.
fn edits(trak: &[u8]) -> (i64, i64) {
    let timescale = i64::from(number(only(trak, &[b"mdia", b"mdhd"]), 12));
    let Some(edts) = boxes(trak, b"edts").first().copied() else {
        return (0, 0);
    };
    let elst = only(edts, &[b"elst"]);
    assert_eq!(elst[0], 0, "short recordings need no wide edits");
    let entry = |n: usize| (i64::from(number(elst, 8 + 12 * n)), number(elst, 12 + 12 * n));
    let rounded = |movie: i64| (movie * timescale + 45_000) / 90_000;
    match number(elst, 4) {
        1 => (0, i64::from(entry(0).1)),
        _ => {
            assert_eq!(entry(0).1, u32::MAX, "the first of two edits is empty");
            (rounded(entry(0).0), i64::from(entry(1).1))
        }
    }
}

/// What one segment of the property holds.
#[derive(Debug, Clone)]
struct Shape {
    /// Pause before it, in milliseconds.
    pause_ms: u64,
    /// Chunks: pictures, reorder depth, packets of sound.
    chunks: Vec<(u8, u8, u8)>,
    /// Sound runs behind pictures by so much.
    skew_us: u32,
    still_open: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let chunk = (1_u8..8, 0_u8..3, 0_u8..6);
    (0_u64..3000, proptest::collection::vec(chunk, 1..5), 0_u32..90_000, any::<bool>())
        .prop_map(|(pause_ms, chunks, skew_us, still_open)| Shape { pause_ms, chunks, skew_us, still_open })
}

const PICTURE_NS: u64 = 33_333_333;
const PACKET_NS: u64 = 20_000_000;

/// Writes the segments; all frames in order.
fn record(dir: &Path, shapes: &[Shape]) -> Vec<Frame<Vec<u8>>> {
    let mut all = Vec::new();
    let mut now_ns = START_NS;
    for (sequence, shape) in (1..).zip(shapes) {
        now_ns += shape.pause_ms * 1_000_000;
        let options = WriteOptions { preallocate_bytes: 0, recycle: None, sync: false };
        let name = format!("{sequence:06}_20261121T071503Z.mp4");
        let mut writer = Writer::create(dir, &name, identity(sequence), tracks(), &options).unwrap();
        let mut sound_ns = now_ns + u64::from(shape.skew_us) * 1000;
        let mut first = true;
        for (pictures, reorder, packets) in &shape.chunks {
            let mut frames = Vec::new();
            for n in 0..u64::from(*pictures) {
                let size = 1 + (all.len() + frames.len()) * 7 % 90;
                let late = if *reorder > 0 { n % u64::from(*reorder) } else { 0 };
                frames.push(Frame {
                    track: 0,
                    dts_ns: now_ns,
                    pts_ns: now_ns + (1 + late) * PICTURE_NS,
                    duration_ns: PICTURE_NS,
                    sync: std::mem::take(&mut first),
                    data: vec![all.len() as u8 ^ n as u8; size],
                });
                now_ns += PICTURE_NS;
            }
            for n in 0..*packets {
                frames.push(Frame {
                    track: 1,
                    dts_ns: sound_ns,
                    pts_ns: sound_ns,
                    duration_ns: PACKET_NS,
                    sync: true,
                    data: vec![n; 160],
                });
                sound_ns += PACKET_NS;
            }
            writer.append(&frames).unwrap();
            all.extend(frames);
        }
        // Sound of the next file begins behind this one's.
        now_ns = now_ns.max(sound_ns);
        if !shape.still_open {
            writer.close(CloseReason::Rotation).unwrap();
        }
    }
    all
}

fn export(dir: &Path, gaps: Gaps) -> (Vec<u8>, Export) {
    let segments: Vec<PathBuf> = holdfast_segment::export::find_segments(dir).unwrap();
    let export = Export::plan(&segments, &Options { gaps, chapters: true }).unwrap();
    let out = dir.parent().unwrap().join(format!("{gaps:?}.mp4"));
    export.write(&out, |_| ControlFlow::Continue(())).unwrap();
    (std::fs::read(out).unwrap(), export)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_frame_arrives_in_order_and_in_time(shapes in proptest::collection::vec(shape(), 1..5)) {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("cam0");
        std::fs::create_dir(&dir).unwrap();
        let all = record(&dir, &shapes);
        let zero_ns = all.iter().map(|frame| frame.pts_ns).min().unwrap();
        for gaps in [Gaps::Keep, Gaps::Cut] {
            let (file, export) = export(&dir, gaps);
            prop_assert_eq!(file.len() as u64, export.summary().bytes);
            let moov = only(&file, &[b"moov"]);
            let traks = boxes(moov, b"trak");
            let present: Vec<usize> = (0..2).filter(|track| all.iter().any(|frame| frame.track == *track)).collect();
            prop_assert_eq!(traks.len(), present.len());
            let mut removed = Vec::new();
            for (trak, track) in traks.iter().zip(&present) {
                let timescale = i128::from(tracks()[*track].timescale);
                let slack_ticks = 3 + timescale / 8000;
                let wanted: Vec<_> = all.iter().filter(|frame| frame.track == *track).collect();
                let seen = samples(&file, trak);
                prop_assert_eq!(seen.len(), wanted.len());
                for (n, (seen, wanted)) in seen.iter().zip(&wanted).enumerate() {
                    prop_assert!(seen.data == wanted.data, "bytes of sample {}", n);
                    prop_assert_eq!(seen.sync, wanted.sync);
                    let ticks = |ns: u64| (i128::from(ns) - i128::from(zero_ns)) * timescale / 1_000_000_000;
                    // Two roundings on the way in, one for the edit; and the movie begins with a track, on a tick of it,
                    // be that as coarse as sound at 8000 Hz.
                    let off = i128::from(seen.pts) - ticks(wanted.pts_ns);
                    match gaps {
                        Gaps::Keep => prop_assert!(off.abs() <= slack_ticks, "pts of sample {} is off by {}", n, off),
                        Gaps::Cut => prop_assert!(off <= slack_ticks, "a cut never delays: sample {} by {}", n, off),
                    }
                    removed.push((wanted.pts_ns, -off * 1_000_000_000 / timescale));
                }
                prop_assert!(seen.windows(2).all(|pair| pair[0].dts <= pair[1].dts));
            }
            // What is cut is cut for pictures and sound alike: the shift only grows with time.
            removed.sort_unstable();
            let slack_ns = 1_000_000;
            prop_assert!(removed.windows(2).all(|pair| pair[0].1 <= pair[1].1 + slack_ns), "{:?}", removed);
        }
    }
}
