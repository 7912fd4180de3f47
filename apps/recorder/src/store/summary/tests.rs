//! Clocks that are set, boots that follow each other: durations never run backwards, labels are put right.

use holdfast_records::{EndTotals, Record};
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::{End, Summary};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

fn created(wall_ns: i64, mono_ns: u64) -> Record {
    Record::Created {
        id: "s".into(),
        label: String::new(),
        token: String::new(),
        inputs: vec!["cam0".into()],
        wall_ns,
        mono_ns,
        boot_id: [1; 16],
    }
}

fn mark(wall_ns: i64, mono_ns: u64) -> Record {
    Record::Mark { text: String::new(), wall_ns, mono_ns }
}

fn stepped(boot: u8, by_ns: i64) -> Record {
    Record::ClockStepped { wall_ns: 0, mono_ns: 0, boot_id: [boot; 16], by_ns }
}

fn resumed(boot: u8, mono_ns: u64, elapsed_ns: u64) -> Record {
    Record::ResumedAt { wall_ns: 0, boot_id: [boot; 16], mono_ns, elapsed_ns }
}

#[test]
fn a_clock_that_is_set_later_corrects_the_labels_of_its_boot_only() {
    // No RTC: begun in 1970. The network sets the clock two marks later; then the box is restarted and it is 1970 again.
    let really = 1_795_245_303 * SECOND;
    let records = [
        created(10 * SECOND, 10_000_000_000),
        mark(12 * SECOND, 12_000_000_000),
        stepped(1, really - 13 * SECOND),
        mark(really + 2 * SECOND, 15_000_000_000),
        resumed(2, 5_000_000_000, 20_000_000_000),
        mark(7 * SECOND, 7_000_000_000),
        stepped(2, really + HOUR),
        stepped(9, HOUR),
    ];
    let summary = Summary::of(&records);
    assert_eq!(summary.wall_ns, really - 3 * SECOND);
    let at: Vec<_> = summary.marks.iter().map(|mark| mark.at * 1000).collect();
    assert_eq!(at, [really - SECOND, really + 2 * SECOND, really + HOUR + 7 * SECOND]);
    let offsets: Vec<_> = summary.marks.iter().map(|mark| mark.offset_usec / 1_000_000).collect();
    assert_eq!(offsets, [2, 5, 22], "counted on, without the break");
}

#[test]
fn the_highest_number_of_an_input_is_known_also_when_its_file_has_gone() {
    let closed = |input: &str, sequence| Record::FileClosed {
        input: input.into(),
        sequence,
        file: String::new(),
        frames: 1,
        bytes: 1,
        duration_ms: 1,
        recovered: false,
    };
    let deleted = |input: &str, sequence| Record::Deleted {
        input: input.into(),
        sequence,
        file: String::new(),
        frames: 1,
        bytes: 1,
        cause: "free".into(),
        wall_ns: 0,
    };
    let records = [created(0, 0), closed("cam0", 1), closed("cam0", 2), closed("cam1", 1), deleted("cam0", 1)];
    let mut summary = Summary::of(&records);
    assert_eq!(["cam0", "cam1", "cam2"].map(|input| summary.past_sequence(input)), [2, 1, 0]);
    // One that was closed by a recovery whose word got lost.
    summary.note(&deleted("cam0", 3));
    assert_eq!(summary.past_sequence("cam0"), 3);
}

#[test]
fn a_session_that_goes_on_is_open_again_and_stays_stopped_once_it_was() {
    let mut summary = Summary::of(&[created(0, 1)]);
    summary.note(&Record::Interrupted { why: String::new(), wall_ns: 0, totals: EndTotals::default() });
    assert_eq!(summary.end, End::Interrupted);
    summary.note(&resumed(2, 1, 0));
    assert_eq!((summary.end, summary.stop_asked), (End::Open, false));
    summary.note(&Record::StopAsked { wall_ns: 0 });
    assert_eq!((summary.end, summary.stop_asked), (End::Open, true));
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        3 => (any::<i64>(), any::<u64>()).prop_map(|(wall, mono)| mark(wall, mono)),
        1 => (any::<i64>(), 0..4_u8).prop_map(|(by, boot)| stepped(boot, by)),
        1 => (0..4_u8, any::<u64>(), any::<u64>()).prop_map(|(boot, mono, elapsed)| resumed(boot, mono, elapsed)),
        1 => any::<(i64, u64, u64)>().prop_map(|(wall_ns, start_mono_ns, duration_ms)| Record::Gap {
            input: "cam0".into(),
            cause: "reboot".into(),
            start_mono_ns,
            duration_ms,
            frames_lost: 0,
            wall_ns,
        }),
        1 => Just(Record::StopAsked { wall_ns: 0 }),
    ]
}

proptest! {
    /// Whatever the clocks say, however often they are set: nothing overflows, nothing is lost, nothing is counted twice.
    #[test]
    fn no_clock_breaks_a_summary(records in proptest::collection::vec(record(), 0..300), wall in any::<i64>()) {
        let mut all = vec![created(wall, 5)];
        all.extend(records);
        let summary = Summary::of(&all);
        let count = |is: fn(&Record) -> bool| all.iter().filter(|record| is(record)).count();
        assert_eq!(summary.mark_count as usize, count(|record| matches!(record, Record::Mark { .. })));
        assert_eq!(summary.gap_count as usize, count(|record| matches!(record, Record::Gap { .. })));
        assert!(summary.marks.len() <= 100 && summary.gaps.len() <= 100);
    }
}
