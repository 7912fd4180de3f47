//! Power cuts and kills: what was safe is there, and nothing else is.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{chunk, identity, scratch, tracks};
use holdfast_segment::recover::{self, Outcome};
use holdfast_segment::{CloseReason, Error, Identity, Mark, Pool, Reader, WriteOptions, Writer, verify};
use proptest::prelude::*;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "000001_20261121T071503Z.mp4";

/// A recording that is not closed: its bytes, and where each chunk ends.
fn recording(identity: Identity, chunks: u64, fill: u8) -> (Vec<u8>, Vec<usize>) {
    let dir = scratch();
    let options = WriteOptions { sync: false, ..WriteOptions::default() };
    let mut writer = Writer::create(dir.path(), NAME, identity, tracks(), &options).unwrap();
    let ends = (0..chunks).map(|n| writer.append(&chunk(n, fill)).unwrap().file_bytes.try_into().unwrap()).collect();
    (std::fs::read(writer.part_path()).unwrap(), ends)
}

/// A fresh `.part` with these bytes.
fn part(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join(format!("{NAME}.part"));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The file holds exactly the first `chunks` chunks of a recording with that fill, byte for byte.
fn holds(path: &Path, chunks: u64, fill: u8) {
    let reader = Reader::open(path).unwrap();
    let read: Vec<_> = reader.chunks().map(Result::unwrap).collect();
    assert_eq!(read.len() as u64, chunks);
    let mut data = Vec::new();
    for (n, read) in (0..).zip(&read) {
        let mut frames = chunk(n, fill);
        frames.sort_by_key(|frame| frame.track);
        assert_eq!(read.samples.len(), frames.len());
        for (sample, frame) in read.samples.iter().zip(&frames) {
            reader.read_sample(sample, &mut data).unwrap();
            assert_eq!(data, frame.data);
        }
    }
    let ledger = reader.ledger().unwrap();
    assert_eq!((ledger.chunks, ledger.frames()), (chunks, chunks * 15));
}

/// Recovers and checks that exactly these chunks are there; with none, that the bytes were set aside untouched.
fn recovers_to(bytes: &[u8], chunks: u64, fill: u8) {
    let dir = scratch();
    let recovered = recover::recover(&part(dir.path(), bytes), None).unwrap();
    if chunks > 0 {
        assert_eq!(recovered.path, dir.path().join(NAME));
        holds(&recovered.path, chunks, fill);
        let report = verify::verify_file(&recovered.path);
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.closed, Some(CloseReason::Recovered));
        assert_eq!(report.digest, recovered.digest);
    } else {
        assert!(matches!(recovered.outcome, Outcome::Empty | Outcome::Unrecoverable { .. }), "{recovered}");
        assert_eq!(std::fs::read(&recovered.path).unwrap(), bytes);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// These bytes as they are in the pool.
fn retired(bytes: &[u8]) -> Vec<u8> {
    let dir = scratch();
    let pool = Pool::open(&dir.path().join("pool")).unwrap();
    pool.retire(&part(dir.path(), bytes)).unwrap();
    std::fs::read(&pool.files().unwrap()[0].0).unwrap()
}

fn whole_chunks(ends: &[usize], length: usize) -> u64 {
    ends.iter().filter(|end| **end <= length).count() as u64
}

#[test]
fn a_cut_at_every_byte_of_a_chunk_leaves_exactly_the_chunks_before_it() {
    let (bytes, ends) = recording(identity(1), 3, 0x55);
    for length in (0..ends[0]).step_by(13).chain(ends[1] - 3..=ends[2]) {
        recovers_to(&bytes[..length], whole_chunks(&ends, length), 0x55);
    }
}

#[test]
fn what_was_cut_stands_in_the_ledger() {
    let (bytes, ends) = recording(identity(1), 4, 1);
    let dir = scratch();
    let recovered = recover::recover(&part(dir.path(), &bytes[..ends[3] - 1]), None).unwrap();
    let Outcome::Cut(cut) = recovered.outcome else { panic!("{recovered}") };
    assert_eq!((cut.offset, cut.bytes), (ends[2] as u64, (ends[3] - 1 - ends[2]) as u64));
    assert_eq!(cut.frames, 15);
    assert_eq!(recovered.ledger.unwrap().cut, Some(cut));
    assert_eq!(Reader::open(&recovered.path).unwrap().ledger().unwrap().cut, Some(cut));
}

#[test]
fn old_footage_that_begins_exactly_where_the_new_ends_never_passes() {
    // The same frames but for their bytes, the same head but for its id: the old chunk 4 stands exactly where a new
    // chunk 4 would, with the same number and a digest that is right.
    let (old, old_ends) = recording(identity(1), 8, 0x11);
    let (new, ends) = recording(identity(1), 3, 0x22);
    assert_eq!(old_ends[..3], ends);
    let torn: Vec<u8> = [&new[..], &old[ends[2]..]].concat();
    recovers_to(&torn, 3, 0x22);
    // Nor when the new chunk 4 had begun to overwrite it.
    let (newer, newer_ends) = recording(identity(1), 4, 0x22);
    let cut = newer_ends[3] - 100;
    let torn = [&newer[..cut], &old[cut..]].concat();
    recovers_to(&torn, 3, 0x22);
    // Nor when the reader looks at it before recovery does.
    let dir = scratch();
    assert_eq!(Reader::open(&part(dir.path(), &torn)).unwrap().chunks().map(Result::unwrap).count(), 3);
    // Nor when a whole old file with its ledger and index stands there.
    let mut writer = Writer::create(dir.path(), "old.mp4", identity(1), tracks(), &WriteOptions::default()).unwrap();
    (0..8).for_each(|n| drop(writer.append(&chunk(n, 0x11))));
    let closed = std::fs::read(writer.close(CloseReason::Stop).unwrap().path).unwrap();
    recovers_to(&[&new[..], &closed[ends[2]..]].concat(), 3, 0x22);
}

#[test]
fn a_crash_while_closing_or_recovering_ends_in_the_same_file() {
    let (bytes, ends) = recording(identity(1), 5, 3);
    let torn = &bytes[..ends[4] - 10];
    let dir = scratch();
    let path = recover::recover(&part(dir.path(), torn), None).unwrap().path;
    let recovered = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // The tail is written over the torn chunk: any part of it may be on disk, with the file cut to length or not.
    for written in (ends[3]..=recovered.len()).step_by(7).chain([recovered.len()]) {
        let rest = torn.get(written..).unwrap_or_default();
        for bytes in [[&recovered[..written], rest].concat(), recovered[..written].to_vec()] {
            let again = recover::recover(&part(dir.path(), &bytes), None).unwrap();
            holds(&again.path, 4, 3);
            if written == recovered.len() {
                assert_eq!(std::fs::read(&again.path).unwrap(), recovered);
            }
            std::fs::remove_file(&again.path).unwrap();
        }
    }
}

#[test]
fn a_file_that_was_complete_but_for_its_name_keeps_its_ledger() {
    let dir = scratch();
    let mut writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &WriteOptions::default()).unwrap();
    writer.append(&chunk(0, 9)).unwrap();
    writer.note_mark(Mark { mono_ns: 1, wall_ns: 1, text: "after the last chunk".into() });
    let closed = writer.close(CloseReason::Stop).unwrap();
    let bytes = std::fs::read(&closed.path).unwrap();
    std::fs::remove_file(&closed.path).unwrap();
    let again = recover::recover(&part(dir.path(), &[&bytes[..], &[0xaa; 99]].concat()), None).unwrap();
    assert_eq!(again.outcome, Outcome::Closed);
    assert_eq!(again.digest, Some(closed.digest));
    assert_eq!(std::fs::read(&again.path).unwrap(), bytes);
}

#[test]
fn damage_in_the_middle_costs_no_chunk_behind_it() {
    let (bytes, ends) = recording(identity(1), 6, 4);
    // In the seal, the moof and the media of chunk 3 (from 1).
    for (at, chunks) in [(ends[1] + 40, 5), (ends[1] + 250, 5), (ends[2] - 5, 6)] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let dir = scratch();
        let recovered = recover::recover(&part(dir.path(), &damaged), None).unwrap();
        let ledger = recovered.ledger.unwrap();
        assert_eq!(ledger.holes.len(), 1, "at {at}");
        assert_eq!(ledger.holes[0].offset, ends[1] as u64);
        let report = verify::verify_file(&recovered.path);
        assert!(!report.is_ok() && ledger.chunks >= chunks, "{report}");
        let reader = Reader::open(&recovered.path).unwrap();
        assert!(reader.chunks().filter_map(Result::ok).count() as u64 >= 5);
        assert!(reader.chunks().filter_map(Result::ok).any(|chunk| chunk.sequence == 6));
    }
}

#[test]
fn parts_without_footage_are_set_aside_or_given_back() {
    let dir = scratch();
    let pool = Pool::open(&dir.path().join("pool")).unwrap();
    let aside = |bytes: &[u8], name: &str| {
        let recovered = recover::recover(&part(dir.path(), bytes), Some(&pool)).unwrap();
        assert_eq!(recovered.path, dir.path().join(name), "{recovered}");
        assert_eq!(std::fs::read(&recovered.path).unwrap(), bytes);
        recovered.outcome
    };
    let (bytes, ends) = recording(identity(1), 1, 4);
    assert_eq!(aside(&[], &format!("{NAME}.empty")), Outcome::Empty);
    assert_eq!(aside(&[0; 9000], &format!("{NAME}.1.empty")), Outcome::Empty);
    assert_eq!(aside(&bytes[..ends[0] - 1], &format!("{NAME}.2.empty")), Outcome::Empty);
    let garbage = aside(&bytes[1..], &format!("{NAME}.unrecoverable"));
    assert!(matches!(garbage, Outcome::Unrecoverable { .. }));

    // Taken from the pool, and the power went.
    let closed = part(dir.path(), &bytes);
    pool.retire(&closed).unwrap();
    let options = WriteOptions { recycle: Some(pool.clone()), ..WriteOptions::default() };
    let writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &options).unwrap();
    assert!(writer.is_recycled() && pool.files().unwrap().is_empty());
    let taken = writer.part_path().to_owned();
    assert!(matches!(recover::recover(&taken, Some(&pool)), Err(Error::Busy { .. })));
    drop(writer);
    assert_eq!(recover::scan_tree(dir.path()).unwrap(), std::slice::from_ref(&taken));
    assert_eq!(recover::recover(&taken, Some(&pool)).unwrap().outcome, Outcome::Recycled);
    assert_eq!(pool.files().unwrap().len(), 1);
    // Taken, and nothing came: closing gives it back too.
    let writer = Writer::create(dir.path(), NAME, identity(1), tracks(), &options).unwrap();
    assert!(writer.is_recycled());
    assert!(matches!(writer.close(CloseReason::Stop), Err(Error::Empty { .. })));
    assert_eq!(pool.files().unwrap().len(), 1);
}

/// The disk is unmounted while it is written to: what is open can still be written, what has a name can't be reached.
#[test]
fn a_chunk_that_was_never_safe_does_not_come_back_when_its_directory_does() {
    let scratch = scratch();
    let (there, gone) = (scratch.path().join("there"), scratch.path().join("gone"));
    let pool = Pool::open(&scratch.path().join("pool")).unwrap();
    let options = WriteOptions { recycle: Some(pool.clone()), ..WriteOptions::default() };
    let (bytes, _) = recording(identity(1), 3, 4);
    for recycled in [false, true] {
        std::fs::create_dir(&there).unwrap();
        if recycled {
            pool.retire(&part(scratch.path(), &bytes)).unwrap();
        }
        let mut writer = Writer::create(&there, NAME, identity(1), tracks(), &options).unwrap();
        assert_eq!(writer.is_recycled(), recycled);
        // A name that came from the pool is durable: the chunk is safe, and stays.
        std::fs::rename(&there, &gone).unwrap();
        assert_eq!(writer.append(&chunk(0, 4)).is_ok(), recycled);
        assert!(matches!(writer.close(CloseReason::DiskFailed), Err(Error::Io { .. })));
        std::fs::rename(&gone, &there).unwrap();
        let recovered = recover::recover(&there.join(format!("{NAME}.part")), None).unwrap();
        match recycled {
            true => holds(&recovered.path, 1, 4),
            false => assert_eq!(recovered.outcome, Outcome::Empty, "{recovered}"),
        }
        std::fs::remove_dir_all(&there).unwrap();
    }
}

#[test]
fn a_retirement_that_was_cut_short_is_finished() {
    let dir = scratch();
    let pool = dir.path().join("pool");
    let (bytes, _) = recording(identity(1), 2, 4);
    std::fs::create_dir(&pool).unwrap();
    std::fs::write(pool.join("aa.retiring"), &bytes).unwrap();
    // Somebody's file, put there by hand.
    std::fs::write(pool.join("bb.blocks"), &bytes).unwrap();
    let pool = Pool::open(&pool).unwrap();
    assert_eq!(pool.files().unwrap().len(), 2);
    let options = WriteOptions { recycle: Some(pool.clone()), ..WriteOptions::default() };
    let create = |name| Writer::create(dir.path(), name, identity(1), tracks(), &options).unwrap();
    let writers = [create("a.mp4"), create("b.mp4")];
    assert_eq!(writers.each_ref().map(Writer::is_recycled), [true, false]);
    assert_eq!(std::fs::read(&pool.files().unwrap()[0].0).unwrap(), bytes);
}

#[test]
fn recovery_never_replaces_a_file() {
    let dir = scratch();
    let (bytes, _) = recording(identity(1), 2, 4);
    std::fs::write(dir.path().join(NAME), "precious").unwrap();
    let part = part(dir.path(), &bytes);
    assert!(matches!(recover::recover(&part, None), Err(Error::Exists { .. })));
    assert_eq!(std::fs::read(dir.path().join(NAME)).unwrap(), b"precious");
    std::fs::remove_file(dir.path().join(NAME)).unwrap();
    holds(&recover::recover(&part, None).unwrap().path, 2, 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// New footage over old footage, cut anywhere: what is recovered is new, whole, and all of it.
    #[test]
    fn a_recycled_file_recovers_to_exactly_the_new_chunks(
        old_chunks in 1_u64..12, new_chunks in 1_u64..6, cut in any::<prop::sample::Index>(), same_head in any::<bool>(),
    ) {
        let mut new_identity = identity(2);
        if !same_head {
            new_identity.session.push_str("-longer");
        }
        let (old, _) = recording(identity(2), old_chunks, 0x11);
        let (new, ends) = recording(new_identity, new_chunks, 0x22);
        let cut = cut.index(new.len()) + 1;
        let mut file = retired(&old);
        file.resize(file.len().max(cut), 0);
        file[..cut].copy_from_slice(&new[..cut]);
        let expected = whole_chunks(&ends, cut);
        // A head torn in the middle leaves nothing that could be footage, old or new.
        recovers_to(&file, expected, 0x22);
    }

    /// Sectors reach the disk in any order: chunks are taken if whole, and old sectors in between never.
    #[test]
    fn sectors_that_never_reached_the_disk_cost_only_their_chunk(lost in prop::collection::vec(any::<bool>(), 64)) {
        const SECTOR: usize = 512;
        let (new, ends) = recording(identity(1), 6, 0x22);
        let (old, _) = recording(identity(1), 9, 0x11);
        let mut file = old;
        for (n, sector) in new.chunks(SECTOR).enumerate() {
            // Head and first two chunks were synced.
            if n * SECTOR < ends[1] || !lost[n % lost.len()] {
                file[n * SECTOR..n * SECTOR + sector.len()].copy_from_slice(sector);
            }
        }
        let dir = scratch();
        let recovered = recover::recover(&part(dir.path(), &file), None).unwrap();
        let reader = Reader::open(&recovered.path).unwrap();
        let mut data = Vec::new();
        let mut last = 0;
        for read in reader.chunks().filter_map(Result::ok) {
            prop_assert!(read.sequence > last);
            last = read.sequence;
            let end = ends[usize::try_from(read.sequence).unwrap() - 1];
            let begin = usize::try_from(read.offset).unwrap();
            // A chunk with lost sectors in its media may stand in the middle: it is in the list of holes.
            if file[begin..end] == new[begin..end] {
                for sample in &read.samples {
                    reader.read_sample(sample, &mut data).unwrap();
                    let fill = if sample.track == 1 { 0x22 } else { data[0] };
                    prop_assert!(data.iter().all(|byte| *byte == fill));
                }
            } else {
                let ledger = reader.ledger().unwrap();
                prop_assert!(ledger.holes.iter().any(|hole| hole.offset == read.offset));
            }
        }
        prop_assert!(last >= 2);
    }
}

/// Not a test of its own: what the kill test runs in another process. Records until it dies, and says what is safe.
#[test]
fn record_until_killed() {
    let Ok(dir) = std::env::var("HOLDFAST_TEST_RECORD_INTO") else {
        return;
    };
    let pool = Pool::open(&Path::new(&dir).join("pool")).unwrap();
    let options = WriteOptions { recycle: Some(pool), preallocate_bytes: 1 << 20, ..WriteOptions::default() };
    let mut writer = Writer::create(Path::new(&dir), NAME, identity(1), tracks(), &options).unwrap();
    for n in 0..1_000_000 {
        let safe = writer.append(&chunk(n, 0x77)).unwrap();
        println!("safe {}", safe.sequence);
    }
}

#[test]
fn a_recorder_killed_at_any_moment_leaves_all_that_it_called_safe() {
    let program = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::open(&dir.path().join("pool")).unwrap();
    for round in 0..12_u64 {
        let mut child = Command::new(&program)
            .args(["--exact", "record_until_killed", "--nocapture"])
            .env("HOLDFAST_TEST_RECORD_INTO", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut safe = 0;
        let mut hear = |line: &str| {
            if let Some(n) = line.trim().strip_prefix("safe ") {
                safe = n.parse().unwrap();
            }
            safe
        };
        // Different moments: after so many chunks, plus wherever the child has got to by then.
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            if hear(&line) > round * 7 {
                break;
            }
            line.clear();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        lines.read_to_string(&mut rest).unwrap();
        // The last line may be torn.
        for line in rest.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            hear(line);
        }

        let [part] = &recover::scan_tree(dir.path()).unwrap()[..] else { panic!("one file was left open") };
        let recovered = recover::recover(part, Some(&pool)).unwrap();
        let chunks = recovered.ledger.as_ref().unwrap().chunks;
        assert!(chunks == safe || chunks == safe + 1, "{safe} chunks were called safe, {chunks} are there");
        holds(&recovered.path, chunks, 0x77);
        assert!(verify::verify_file(&recovered.path).is_ok());
        // Every other round overwrites the blocks of the one before.
        if round % 2 == 0 {
            pool.retire(&recovered.path).unwrap();
        } else {
            std::fs::remove_file(&recovered.path).unwrap();
        }
    }
}
