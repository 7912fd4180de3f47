//! Bit rot, garbage and lies: verification sees any byte that changed, and nothing panics whatever it is given.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/garbage.rs"]
mod garbage;

use common::{chunk, identity, scratch, tracks};
use holdfast_segment::{CloseReason, Gap, GapCause, Mark, WriteOptions, Writer, verify};
use proptest::prelude::*;

/// A closed file with all that can be in one.
fn closed(chunks: u64) -> Vec<u8> {
    let dir = scratch();
    let options = WriteOptions { sync: false, ..WriteOptions::default() };
    let mut writer = Writer::create(dir.path(), "x.mp4", identity(1), tracks(), &options).unwrap();
    for n in 0..chunks {
        writer.note_mark(Mark { mono_ns: n, wall_ns: 0, text: "here".into() });
        writer.append(&chunk(n, 5)).unwrap();
    }
    let gap = Gap { cause: GapCause::SourceLost, start_mono_ns: 1, duration_ns: 1, frames_lost: 1 };
    writer.note_gap(gap);
    std::fs::read(writer.close(CloseReason::Rotation).unwrap().path).unwrap()
}

#[test]
fn a_sound_file_has_no_findings_and_one_changed_byte_anywhere_is_found() {
    let bytes = closed(2);
    let dir = scratch();
    let path = dir.path().join("x.mp4");
    std::fs::write(&path, &bytes).unwrap();
    let report = verify::verify_file(&path);
    assert!(report.findings.is_empty(), "{report}");
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        damaged[at] ^= 0x04;
        std::fs::write(&path, &damaged).unwrap();
        let report = verify::verify_file(&path);
        assert!(!report.findings.is_empty(), "byte {at}");
        assert!(report.findings.iter().all(|finding| finding.path == path && !finding.remedy.is_empty()));
        damaged[at] = bytes[at];
    }
}

#[test]
fn a_file_of_another_program_is_told_apart() {
    let dir = scratch();
    let path = dir.path().join("x.mp4");
    std::fs::write(&path, b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08moov").unwrap();
    let report = verify::verify_file(&path);
    assert!(!report.is_ok() && report.findings[0].what.contains("not a Holdfast segment"), "{report}");
    let report = verify::verify_file(dir.path());
    assert!(report.findings[0].what.contains("not a regular file"), "{report}");
    let report = verify::verify_file(&dir.path().join("none.mp4"));
    assert!(report.findings[0].what.contains("cannot open"), "{report}");
}

/// Found by the property below: recovery put two boxes around two damaged places side by side, and, run again, one.
#[test]
fn neighbouring_holes_stay_the_same_hole() {
    let mut bytes = closed(3);
    let seals: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0xc4, 0xfd, 0x13, 0x21])).collect();
    bytes[seals[0]] ^= 1;
    let moof = (seals[1]..).find(|at| bytes[*at..].starts_with(b"moof")).unwrap();
    bytes[moof] ^= 1;
    garbage::try_everything(scratch().path(), &bytes);
}

/// One way to spoil a file.
#[derive(Clone, Debug)]
enum Spoil {
    Set(prop::sample::Index, u8),
    Word(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    let at = any::<prop::sample::Index>;
    // Numbers that parsers stumble over.
    let word = prop_oneof![Just(0), Just(1), Just(7), Just(8), Just(u32::MAX), Just(1 << 31), 0..100_000_u32];
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Spoil::Set(at, byte)),
        4 => (at(), word).prop_map(|(at, word)| Spoil::Word(at, word)),
        1 => at().prop_map(Spoil::Cut),
        1 => (at(), 1..3000_usize).prop_map(|(at, count)| Spoil::Remove(at, count)),
        1 => (at(), 1..3000_usize).prop_map(|(at, count)| Spoil::Repeat(at, count)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Spoil::Insert(at, bytes)),
    ]
}

fn apply(bytes: &mut Vec<u8>, spoil: &Spoil) {
    let range = |at: &prop::sample::Index, count: usize| {
        let at = at.index(bytes.len() + 1);
        at..(at + count).min(bytes.len())
    };
    match spoil {
        Spoil::Set(at, byte) => {
            let range = range(at, 1);
            bytes[range].fill(*byte);
        }
        Spoil::Word(at, word) => {
            let range = range(at, 4);
            let length = range.len();
            bytes[range].copy_from_slice(&word.to_be_bytes()[..length]);
        }
        Spoil::Cut(at) => bytes.truncate(at.index(bytes.len() + 1)),
        Spoil::Remove(at, count) => drop(bytes.drain(range(at, *count))),
        Spoil::Repeat(at, count) => {
            let range = range(at, *count);
            let copy = bytes[range.clone()].to_vec();
            bytes.splice(range.start..range.start, copy);
        }
        Spoil::Insert(at, some) => {
            let at = range(at, 0).start;
            bytes.splice(at..at, some.iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spoilt_files_harm_nobody(spoils in prop::collection::vec(spoil(), 1..5)) {
        let dir = scratch();
        let mut bytes = closed(3);
        spoils.iter().for_each(|spoil| apply(&mut bytes, spoil));
        garbage::try_everything(dir.path(), &bytes);
    }

    #[test]
    fn garbage_harms_nobody(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        garbage::try_everything(scratch().path(), &bytes);
    }
}
