//! What must survive cuts, flipped bits, garbage and half-done compactions.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use holdfast_journal::{Error, Journal, Opened, Source, read};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Event {
    Started { input: String, at_ns: u64 },
    Bytes(Vec<u8>),
    Stopped,
}

fn event(n: u64) -> Event {
    match n % 3 {
        0 => Event::Started { input: format!("cam{n}"), at_ns: n.wrapping_mul(1_000_000_007) },
        1 => Event::Bytes(vec![n as u8; n as usize % 40]),
        _ => Event::Stopped,
    }
}

fn events(n: u64) -> Vec<Event> {
    (0..n).map(event).collect()
}

fn open(dir: &Path) -> Opened<Event> {
    Journal::open(dir, "session", 1).unwrap()
}

const CURRENT: &str = "session.journal";
const PREVIOUS: &str = "session.journal.prev";

/// A directory as names and bytes, so that any state a crash could leave can be put together.
type State = BTreeMap<String, Vec<u8>>;

fn state_of(dir: &Path) -> State {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn dir_of(state: &State) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in state {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn written(records: &[Event]) -> State {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path()).journal;
    records.iter().for_each(|record| journal.append(record).unwrap());
    state_of(dir.path())
}

fn with(state: &State, name: &str, bytes: Vec<u8>) -> State {
    let mut state = state.clone();
    state.insert(name.to_owned(), bytes);
    state
}

/// Whatever was found, the journal goes on: it takes a record, and the next opening is clean and has it.
fn goes_on(dir: &Path, mut records: Vec<Event>, mut journal: Journal<Event>) {
    let extra = Event::Bytes(b"after the damage".to_vec());
    journal.append(&extra).unwrap();
    drop(journal);
    records.push(extra);
    let again = open(dir);
    assert_eq!(again.records, records);
    assert!(again.report.damage.is_empty() && again.report.torn_tail_bytes == 0, "{}", again.report);
}

#[test]
fn what_was_appended_is_there() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).report.source, Source::New);
    for n in 0..20 {
        let Opened { mut journal, records, report } = open(dir.path());
        assert_eq!((records, report.is_clean()), (events(n), true));
        journal.append(&event(n)).unwrap();
    }
}

#[test]
fn cut_at_every_byte() {
    let records = events(12);
    let whole = written(&records)[CURRENT].clone();
    let ends: Vec<usize> = (0..=12).map(|n| written(&records[..n])[CURRENT].len()).collect();
    for cut in 0..=whole.len() {
        let dir = dir_of(&with(&State::new(), CURRENT, whole[..cut].to_vec()));
        let expected = ends.iter().rposition(|end| *end <= cut).unwrap_or(0);
        let only_read = read::<Event>(dir.path(), "session", 1).unwrap();
        assert_eq!(fs::read(dir.path().join(CURRENT)).unwrap(), whole[..cut], "reading changes nothing");

        let Opened { journal, records: found, report } = open(dir.path());
        assert_eq!(found, records[..expected], "cut at {cut}");
        assert_eq!(only_read.records, found);
        assert_eq!(report.is_clean(), ends.contains(&cut), "cut at {cut}: {report}");
        if cut >= ends[0] {
            assert_eq!(report.torn_tail_bytes as usize, cut - ends[expected], "a torn tail is not damage: {report}");
            assert!(report.damage.is_empty() && report.set_aside.is_empty());
        }
        goes_on(dir.path(), found, journal);
    }
}

#[test]
fn a_tail_of_zeros_is_torn() {
    let records = events(5);
    let mut bytes = written(&records)[CURRENT].clone();
    bytes.resize(bytes.len() + 9_000, 0);
    let dir = dir_of(&with(&State::new(), CURRENT, bytes));
    let Opened { journal, records: found, report } = open(dir.path());
    assert_eq!((&found, report.torn_tail_bytes), (&records, 9_000));
    assert!(report.damage.is_empty());
    goes_on(dir.path(), found, journal);
}

#[test]
fn flip_any_bit() {
    let records = events(12);
    let whole = written(&records)[CURRENT].clone();
    let ends: Vec<usize> = (0..=12).map(|n| written(&records[..n])[CURRENT].len()).collect();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let dir = dir_of(&with(&State::new(), CURRENT, bytes.clone()));
        let Opened { journal, records: found, report } = open(dir.path());
        // One copy of the header may go without any loss; in a record, those before it stay.
        let expected = ends.iter().rposition(|end| *end <= bit / 8).unwrap_or(12);
        assert_eq!(found, records[..expected], "bit {bit}");
        assert_eq!(report.damage.len(), 1, "bit {bit}: {report}");
        assert_eq!(fs::read(&report.set_aside[0]).unwrap(), bytes, "the damaged file is kept as it was");
        if bit % 8 == 0 {
            goes_on(dir.path(), found, journal);
        }
    }
}

#[test]
fn records_cannot_be_left_out_repeated_swapped_or_taken_from_elsewhere() {
    // Records of equal length, so that nothing but the chain can tell.
    let records: Vec<Event> = (0..6).map(|n| Event::Bytes(vec![n; 8])).collect();
    let whole = written(&records)[CURRENT].clone();
    let other = written(&records)[CURRENT].clone();
    let start = written(&[])[CURRENT].len();
    let size = (whole.len() - start) / 6;
    let record = |bytes: &[u8], n: usize| bytes[start + n * size..start + (n + 1) * size].to_vec();
    let tampered = |order: &[Vec<u8>]| [&whole[..start], &order.concat()].concat();
    let mine = |n| record(&whole, n);
    for (name, bytes, expected) in [
        ("left out", tampered(&[mine(0), mine(1), mine(3), mine(4)]), 2),
        ("repeated", tampered(&[mine(0), mine(1), mine(1), mine(2)]), 2),
        ("swapped", tampered(&[mine(0), mine(2), mine(1), mine(3)]), 1),
        ("from another journal", tampered(&[mine(0), mine(1), mine(2), record(&other, 3)]), 3),
    ] {
        let dir = dir_of(&with(&State::new(), CURRENT, bytes));
        let opened = open(dir.path());
        assert_eq!(opened.records, records[..expected], "{name}");
        assert_eq!(opened.report.damage.len(), 1, "{name}");
        assert_eq!(opened.report.damage[0].offset_bytes as usize, start + expected * size, "{name}");
    }
}

/// Before: nine records, compacted to the last four, two more appended; now compacted again, to three.
fn around_a_compaction() -> (State, State, Vec<Event>, Vec<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path()).journal;
    events(9).iter().for_each(|record| journal.append(record).unwrap());
    journal.compact(&events(9)[5..]).unwrap();
    events(2).iter().for_each(|record| journal.append(record).unwrap());
    let before = state_of(dir.path());
    let old = [&events(9)[5..], &events(2)[..]].concat();
    let new = vec![event(100), event(101), event(102)];
    let compacted = journal.compact(new.clone()).unwrap();
    assert_eq!((compacted.records, compacted.generation), (3, 3));
    (before, state_of(dir.path()), old, new)
}

/// Every state between two system calls of a compaction, with the new file at every length.
#[test]
fn a_crash_anywhere_in_a_compaction_leaves_the_old_state_or_the_new() {
    let (before, after, old, new) = around_a_compaction();
    assert_eq!(after[PREVIOUS], before[CURRENT], "the generation before is kept");
    assert_eq!(after.len(), 2, "nothing else is left behind");
    let (tmp, link) = ("session.journal.tmp", "session.journal.prev-tmp");
    let mut old_states: Vec<State> =
        (0..=after[CURRENT].len()).map(|bytes| with(&before, tmp, after[CURRENT][..bytes].to_vec())).collect();
    let written = with(&before, tmp, after[CURRENT].clone());
    let linked = with(&written, link, before[CURRENT].clone());
    let replaced = with(&written, PREVIOUS, before[CURRENT].clone());
    let replaced_but_both_names = with(&linked, PREVIOUS, before[CURRENT].clone());
    old_states.extend([before, linked, replaced, replaced_but_both_names]);
    for (state, expected) in old_states.iter().map(|state| (state, &old)).chain([(&after, &new)]) {
        let dir = dir_of(state);
        let Opened { mut journal, records, report } = open(dir.path());
        assert!(report.is_clean(), "{report}");
        assert_eq!(&records, expected);
        // What was left behind is in nobody's way.
        journal.compact(records.iter().chain([&event(7)])).unwrap();
        drop(journal);
        goes_on(dir.path(), [records, vec![event(7)]].concat(), open(dir.path()).journal);
    }
}

/// A killed opener is a crash too: between setting aside and replacing.
#[test]
fn a_crash_while_setting_aside_leaves_one_corrupt_file() {
    let mut bytes = written(&events(6))[CURRENT].clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 0x10;
    let dir = dir_of(&with(&State::new(), CURRENT, bytes.clone()));
    fs::hard_link(dir.path().join(CURRENT), dir.path().join("session.journal.corrupt-1")).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.records, events(5));
    assert_eq!(opened.report.set_aside, [dir.path().join("session.journal.corrupt-1")]);
    drop(opened);

    // And a second damage gets a number of its own.
    let mut second = fs::read(dir.path().join(CURRENT)).unwrap();
    second[200] ^= 1;
    fs::write(dir.path().join(CURRENT), &second).unwrap();
    assert_eq!(open(dir.path()).report.set_aside, [dir.path().join("session.journal.corrupt-2")]);
    assert_eq!(fs::read(dir.path().join("session.journal.corrupt-1")).unwrap(), bytes);
}

#[test]
fn the_generation_before_is_used_where_it_gives_more() {
    let (_, after, old, new) = around_a_compaction();
    let base = 192;
    for bit in 0..after[CURRENT].len() * 8 {
        let mut damaged = after.clone();
        damaged.get_mut(CURRENT).unwrap()[bit / 8] ^= 1 << (bit % 8);
        let dir = dir_of(&damaged);
        let Opened { journal, records, report } = open(dir.path());
        // Half of a compacted state is no state: all of the one before is worth more.
        let (expected, source) = if bit / 8 < base { (&new, Source::Current) } else { (&old, Source::Previous) };
        assert_eq!((&records, report.source), (expected, source), "bit {bit}: {report}");
        assert!(report.complete && !report.is_clean() && report.set_aside.len() == 1);
        if bit % 64 == 0 {
            goes_on(dir.path(), records, journal);
        }
    }

    // Damage in what was appended later costs only what comes after it.
    let dir = dir_of(&after);
    let mut journal = open(dir.path()).journal;
    events(3).iter().for_each(|record| journal.append(record).unwrap());
    drop(journal);
    let path = dir.path().join(CURRENT);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.records, [new, events(2)].concat());
    assert_eq!((opened.report.source, opened.report.complete), (Source::Current, true));
}

#[test]
fn a_missing_journal_is_made_from_the_generation_before() {
    let (_, mut after, old, _) = around_a_compaction();
    after.remove(CURRENT);
    let dir = dir_of(&after);
    let Opened { journal, records, report } = open(dir.path());
    assert_eq!((&records, report.source, report.is_clean()), (&old, Source::Previous, false));
    goes_on(dir.path(), records, journal);
}

#[test]
fn half_a_state_says_so_until_the_next_compaction() {
    let (_, mut after, _, new) = around_a_compaction();
    after.remove(PREVIOUS);
    let last = after[CURRENT].len() - 1;
    after.get_mut(CURRENT).unwrap()[last] ^= 1;
    let dir = dir_of(&after);
    let Opened { mut journal, records, report } = open(dir.path());
    assert_eq!((&records[..], report.complete), (&new[..2], false));
    for _ in 0..5 {
        journal.append(&event(1)).unwrap();
    }
    drop(journal);
    let Opened { mut journal, report, .. } = open(dir.path());
    assert!(!report.complete && !report.is_clean(), "{report}");
    journal.compact([event(1)]).unwrap();
    drop(journal);
    assert!(open(dir.path()).report.is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any bytes in any of the files: no panic, reading changes nothing, and the journal goes on.
    #[test]
    fn garbage_never_panics(
        current in garbage(), previous in garbage(), tmp in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)),
    ) {
        let mut state = State::new();
        for (name, bytes) in [(CURRENT, current), (PREVIOUS, previous), ("session.journal.tmp", tmp)] {
            state.extend(bytes.map(|bytes| (name.to_owned(), bytes)));
        }
        let dir = dir_of(&state);
        let only_read = read::<Event>(dir.path(), "session", 1);
        prop_assert_eq!(&state_of(dir.path()), &state);
        match Journal::<Event>::open(dir.path(), "session", 1) {
            Ok(Opened { journal, records, report }) => {
                if report.source != Source::New {
                    prop_assert_eq!(&only_read.unwrap().records, &records);
                }
                prop_assert!(!report.to_string().is_empty());
                goes_on(dir.path(), records, journal);
            }
            Err(error) => {
                prop_assert!(matches!(error, Error::NewerFormat { .. } | Error::Undecodable { .. }), "{error}");
                for (name, bytes) in &state {
                    prop_assert_eq!(&fs::read(dir.path().join(name)).unwrap(), bytes, "the files are left as they were");
                }
            }
        }
    }

    /// Any records come back, whatever was compacted between them.
    #[test]
    fn any_history_reads_back(steps in proptest::collection::vec((any::<u64>(), 0..8u8), 0..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = open(dir.path()).journal;
        let mut model: Vec<Event> = vec![];
        for (n, kind) in steps {
            match kind {
                0 => {
                    model = model.split_off(model.len() / 2);
                    journal.compact(&model).unwrap();
                }
                1 => {
                    drop(journal);
                    let opened = open(dir.path());
                    prop_assert_eq!(&opened.records, &model);
                    prop_assert!(opened.report.is_clean());
                    journal = opened.journal;
                }
                _ => {
                    journal.append(&event(n >> 16)).unwrap();
                    model.push(event(n >> 16));
                }
            }
        }
        prop_assert_eq!(journal.records() as usize, model.len());
        drop(journal);
        prop_assert_eq!(open(dir.path()).records, model);
    }
}

/// Nothing, noise, or a real file with some bytes changed.
fn garbage() -> impl Strategy<Value = Option<Vec<u8>>> {
    let damaged = (0..8u64, proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)).prop_map(
        |(records, changes)| {
            let mut bytes = written(&events(records))[CURRENT].clone();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            Some(bytes)
        },
    );
    prop_oneof![Just(None), proptest::collection::vec(any::<u8>(), 0..600).prop_map(Some), damaged]
}
