//! What is written reads back, to the bit and to the tick.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{SECOND_NS, START_NS, chunk, identity, tracks};
use holdfast_segment::{
    CloseReason, Counts, DropReason, Error, Gap, GapCause, Mark, Pool, Reader, WriteOptions, Writer, ns_to_ticks,
};

const NAME: &str = "000001_20261121T071503Z.mp4";

fn gap() -> Gap {
    Gap { cause: GapCause::SourceLost, start_mono_ns: START_NS, duration_ns: 5, frames_lost: 2 }
}

#[test]
fn frames_marks_gaps_and_counts_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &WriteOptions::default()).unwrap();
    let counts = Counts { source: 20, safe: 18, dropped: vec![(DropReason::QueueFull, 2)], ..Counts::default() };
    let mut file_bytes = 0;
    for n in 0..6 {
        if n == 3 {
            writer.note_gap(gap());
            writer.note_mark(Mark { mono_ns: 1, wall_ns: 2, text: "ä".repeat(1000) });
            writer.note_counts(counts.clone());
        }
        let safe = writer.append(&chunk(n, 7)).unwrap();
        assert_eq!((safe.sequence, safe.frames), (n + 1, 15));
        assert!(safe.file_bytes > file_bytes + safe.bytes);
        file_bytes = safe.file_bytes;
    }
    writer.note_mark(Mark { mono_ns: 3, wall_ns: 4, text: "end".into() });
    let closed = writer.close(CloseReason::Rotation).unwrap();
    assert_eq!(closed.path, dir.path().join(NAME));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let reader = Reader::open(&closed.path).unwrap();
    assert_eq!(reader.tracks(), tracks());
    assert_eq!(reader.ledger(), Some(&closed.ledger));
    assert_eq!(reader.digest(), Some(closed.digest));
    assert_eq!(closed.ledger.tracks.iter().map(|track| track.frames).collect::<Vec<_>>(), [30, 60]);
    assert_eq!(closed.ledger.tracks[0].sync_frames, 2);
    assert_eq!(closed.ledger.duration_ns, 6 * SECOND_NS / 5);
    assert_eq!(closed.ledger.counts, counts);
    assert_eq!(closed.ledger.gaps, [gap()]);
    assert_eq!(closed.ledger.marks.len(), 2);
    assert_eq!(closed.ledger.marks[0].text, "ä".repeat(512));

    let mut data = Vec::new();
    for (n, read) in reader.chunks().enumerate() {
        let read = read.unwrap();
        let n = n as u64;
        assert_eq!(read.notes.counts.is_some(), n == 3);
        let mut frames = chunk(n, 7);
        frames.sort_by_key(|frame| frame.track);
        assert_eq!(read.samples.len(), frames.len());
        for (sample, frame) in read.samples.iter().zip(frames) {
            reader.read_sample(sample, &mut data).unwrap();
            assert_eq!(data, frame.data);
            let timescale = tracks()[frame.track].timescale;
            let ticks = |ns: u64| ns_to_ticks(i128::from(ns - START_NS), timescale);
            assert_eq!((sample.track, sample.sync), (frame.track, frame.sync));
            assert_eq!(i128::from(sample.dts), ticks(frame.dts_ns));
            assert_eq!(i128::from(sample.pts), ticks(frame.pts_ns));
            assert!(reader.mono_ns(sample.track, sample.pts).abs_diff(frame.pts_ns) <= SECOND_NS / 8000);
        }
    }
    assert_eq!(reader.chunks().count(), 6);
}

#[test]
fn the_start_is_the_smallest_time_of_the_first_chunk_and_the_wall_clock_moves_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut given = identity(1);
    given.start_mono_ns = START_NS + SECOND_NS;
    let wall = given.start_wall_ns;
    let mut writer = Writer::create(dir.path(), NAME, given, tracks(), &WriteOptions::default()).unwrap();
    let mut frames = chunk(0, 0);
    // Sound may begin before the picture: one base for both keeps them together.
    frames.iter_mut().filter(|frame| frame.track == 0).for_each(|frame| frame.dts_ns += 7);
    writer.append(&frames).unwrap();
    assert_eq!(writer.identity().start_mono_ns, START_NS);
    let closed = writer.close(CloseReason::Stop).unwrap();
    let reader = Reader::open(&closed.path).unwrap();
    assert_eq!(reader.identity().start_mono_ns, START_NS);
    assert_eq!(reader.identity().start_wall_ns, wall - 1_000_000_000);
}

#[test]
fn a_file_that_is_being_written_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &WriteOptions::default()).unwrap();
    let part = writer.part_path().to_owned();
    assert!(matches!(Reader::open(&part), Err(Error::Empty { .. })));
    for n in 0..3 {
        writer.append(&chunk(n, 1)).unwrap();
        let reader = Reader::open(&part).unwrap();
        assert!(reader.ledger().is_none());
        assert_eq!(reader.chunks().map(Result::unwrap).count() as u64, n + 1);
    }
}

#[test]
fn times_never_drift_and_gaps_between_chunks_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &WriteOptions::default()).unwrap();
    // Off the tick at every frame, by another part of one, and a hole of 3 s in the middle.
    let time = |n: u64| START_NS + n * 33_333_333 + n % 7 * 1111 + if n >= 50 { 3 * SECOND_NS } else { 0 };
    for n in 0..100 {
        let frame = |n: u64| holdfast_segment::Frame {
            track: 0,
            dts_ns: time(n),
            pts_ns: time(n),
            duration_ns: 33_333_333,
            sync: true,
            data: [0; 8],
        };
        writer.append(&[frame(2 * n), frame(2 * n + 1)]).unwrap();
    }
    let closed = writer.close(CloseReason::Stop).unwrap();
    let reader = Reader::open(&closed.path).unwrap();
    let samples: Vec<_> = reader.chunks().flat_map(|chunk| chunk.unwrap().samples).collect();
    for (n, sample) in (0..).zip(&samples) {
        assert_eq!(i128::from(sample.dts), ns_to_ticks(i128::from(time(n) - START_NS), 90_000));
    }
    let end = |n: usize| samples[n].dts + u64::from(samples[n].duration);
    assert_eq!(samples[50].dts - end(49), 270_000);
    assert!((0..199).filter(|n| *n != 49).all(|n| samples[n + 1].dts.abs_diff(end(n)) <= 1));
}

#[test]
fn what_cannot_be_written_is_refused_before_anything_is() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name| Writer::create(dir.path(), name, identity(1), tracks(), &WriteOptions::default());
    let mut writer = create("a.mp4").unwrap();
    assert!(matches!(create("a.mp4"), Err(Error::Exists { .. })));
    let refused = |writer: &mut Writer, frames: &[holdfast_segment::Frame<Vec<u8>>], why: &str| {
        let error = writer.append(frames).unwrap_err();
        assert!(error.to_string().contains(why) && error.to_string().contains("a.mp4"), "{error}");
    };
    refused(&mut writer, &[], "0 frames");
    refused(&mut writer, &chunk(1, 0), "keyframe");
    let mut frames = chunk(0, 0);
    frames[4].track = 2;
    refused(&mut writer, &frames, "only 2 tracks");
    let mut frames = chunk(0, 0);
    frames[3].dts_ns = 1;
    refused(&mut writer, &frames, "before the frame before it");
    let mut frames = chunk(0, 0);
    frames[3].pts_ns += 100_000 * SECOND_NS;
    refused(&mut writer, &frames, "too far apart");
    assert_eq!(writer.part_path().metadata().unwrap().len(), 0);
    writer.append(&chunk(1 - 1, 0)).unwrap();
    refused(&mut writer, &chunk(0, 0), "before the frame before it");
    writer.append(&chunk(1, 0)).unwrap();
    writer.close(CloseReason::Stop).unwrap();
    assert!(matches!(create("a.mp4"), Err(Error::Exists { .. })));

    assert!(matches!(create("b.mp4").unwrap().close(CloseReason::Stop), Err(Error::Empty { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let none = Writer::create(dir.path(), "c.mp4", identity(1), vec![], &WriteOptions::default());
    assert!(matches!(none, Err(Error::BadTrack { .. })));
}

#[test]
fn a_recycled_file_holds_the_new_footage_only() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::open(&dir.path().join(".holdfast/recycle")).unwrap();
    let options = WriteOptions { recycle: Some(pool.clone()), ..WriteOptions::default() };
    let record = |name: &str, chunks: u64, fill| {
        let mut writer = Writer::create(dir.path(), name, identity(1), tracks(), &options).unwrap();
        for n in 0..chunks {
            writer.append(&chunk(n, fill)).unwrap();
        }
        (writer.is_recycled(), writer)
    };
    let (recycled, writer) = record("a.mp4", 20, 1);
    assert!(!recycled);
    let old = writer.close(CloseReason::Stop).unwrap();
    pool.retire(&old.path).unwrap();
    assert!(!old.path.exists());
    let [(blocks, bytes)] = &pool.files().unwrap()[..] else { panic!("one file in the pool") };
    assert_eq!(*bytes, old.file_bytes);
    assert!(matches!(Reader::open(blocks), Err(Error::Recycled { .. })));

    let (recycled, writer) = record("b.mp4", 5, 2);
    assert!(recycled);
    assert_eq!(writer.part_path().metadata().unwrap().len(), old.file_bytes);
    // The old chunks stand right behind the new ones.
    assert_eq!(Reader::open(writer.part_path()).unwrap().chunks().map(Result::unwrap).count(), 5);
    let new = writer.close(CloseReason::Stop).unwrap();
    assert_eq!(new.path.metadata().unwrap().len(), new.file_bytes);
    assert!(new.file_bytes < old.file_bytes);
    assert_eq!(Reader::open(&new.path).unwrap().chunks().map(Result::unwrap).count(), 5);
    assert!(pool.files().unwrap().is_empty());
}
