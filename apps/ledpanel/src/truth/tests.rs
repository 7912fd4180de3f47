use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn input(name: &str, count: u64) -> InputSnapshot {
    InputSnapshot {
        name: name.to_owned(),
        in_session: true,
        ready: true,
        failed: false,
        safe_frames: count,
        safe_bytes: count * 1000,
    }
}

fn recording(at_ns: u64, counts: &[u64]) -> Snapshot {
    Snapshot {
        at_ns,
        state: State::Recording,
        session: Some("/s/1".to_owned()),
        inputs: counts.iter().enumerate().map(|(i, count)| input(&format!("cam{i}"), *count)).collect(),
        duration_usec: at_ns / 1000,
        ..Snapshot::default()
    }
}

fn idle(at_ns: u64, ready: &[bool]) -> Snapshot {
    let inputs = recording(at_ns, &vec![0; ready.len()]).inputs;
    let inputs =
        inputs.into_iter().zip(ready).map(|(i, ready)| InputSnapshot { ready: *ready, in_session: false, ..i });
    Snapshot { at_ns, inputs: inputs.collect(), ..Snapshot::default() }
}

fn truth(snapshots: impl IntoIterator<Item = Snapshot>) -> Truth {
    let mut truth = Truth::new();
    snapshots.into_iter().for_each(|snapshot| truth.hear(snapshot));
    truth
}

fn whole(truth: &mut Truth, now_ns: u64) -> Vec<Condition> {
    truth.conditions(now_ns).whole.into_keys().collect()
}

fn of_input(truth: &mut Truth, name: &str, now_ns: u64) -> Option<Condition> {
    truth.conditions(now_ns).inputs[name].keys().next().copied()
}

#[test]
fn nothing_heard_yet_is_a_fault() {
    let mut truth = Truth::new();
    assert_eq!(whole(&mut truth, 0), [Condition::Fault]);
    assert_eq!(truth.due_ns(0), None, "and stays one");
}

#[test]
fn silence_is_a_fault_within_two_seconds() {
    const { assert!(SILENCE_NS < 2 * SECOND) };
    let mut truth = truth([idle(SECOND, &[true])]);
    assert_eq!(whole(&mut truth, SECOND + SILENCE_NS - 1), [Condition::Ready, Condition::Armed]);
    assert_eq!(truth.due_ns(SECOND), Some(SECOND + SILENCE_NS));
    assert_eq!(whole(&mut truth, SECOND + SILENCE_NS), [Condition::Fault]);
    assert_eq!(truth.conditions(3 * SECOND).inputs, BTreeMap::new(), "nothing is known of inputs then");
    assert_eq!(truth.due_ns(3 * SECOND), None);
    truth.hear(idle(5 * SECOND, &[true]));
    assert_eq!(whole(&mut truth, 5 * SECOND), [Condition::Ready, Condition::Armed]);
}

#[test]
fn it_records_only_once_both_counts_were_seen_to_grow() {
    let mut truth = truth([recording(SECOND, &[100])]);
    assert_eq!(whole(&mut truth, SECOND), [Condition::Starting], "counts from before this panel looked are no proof");
    let mut half = recording(2 * SECOND, &[100]);
    half.inputs[0].safe_frames = 150;
    truth.hear(half);
    assert_eq!(whole(&mut truth, 2 * SECOND), [Condition::Starting], "frames alone are no proof");
    truth.hear(recording(2 * SECOND + 500 * MS, &[160]));
    assert_eq!(whole(&mut truth, 2 * SECOND + 500 * MS), [Condition::Recording]);
}

#[test]
fn one_count_that_stands_still_for_two_seconds_is_a_stall() {
    for frozen in ["frames", "bytes"] {
        let mut truth = truth([recording(SECOND, &[1]), recording(2 * SECOND, &[2])]);
        for half_seconds in 5..8 {
            let mut snapshot = recording(half_seconds * 500 * MS, &[half_seconds]);
            match frozen {
                "frames" => snapshot.inputs[0].safe_frames = 2,
                _ => snapshot.inputs[0].safe_bytes = 2000,
            }
            truth.hear(snapshot);
        }
        assert_eq!(whole(&mut truth, 4 * SECOND - 1), [Condition::Recording], "{frozen}");
        assert_eq!(truth.due_ns(3 * SECOND + 500 * MS), Some(4 * SECOND), "{frozen}");
        assert_eq!(whole(&mut truth, 4 * SECOND), [Condition::Stalled], "{frozen}");
    }
}

#[test]
fn the_worst_input_that_takes_part_counts() {
    let mut truth = truth([recording(SECOND, &[1, 1]), recording(2 * SECOND, &[2, 2])]);
    assert_eq!(whole(&mut truth, 2 * SECOND), [Condition::Recording]);
    truth.hear(recording(3 * SECOND, &[3, 2]));
    truth.hear(recording(4 * SECOND, &[4, 2]));
    assert_eq!(whole(&mut truth, 4 * SECOND), [Condition::Stalled]);
    assert_eq!(of_input(&mut truth, "cam0", 4 * SECOND), Some(Condition::Recording));
    assert_eq!(of_input(&mut truth, "cam1", 4 * SECOND), Some(Condition::Stalled));
    let mut without = recording(4 * SECOND + 1, &[5, 2]);
    without.inputs[1].in_session = false;
    truth.hear(without);
    assert_eq!(whole(&mut truth, 4 * SECOND + 1), [Condition::Recording], "who does not take part does not count");
    assert_eq!(of_input(&mut truth, "cam1", 4 * SECOND + 1), Some(Condition::Armed));
}

#[test]
fn an_input_known_to_have_failed_is_stalled_at_once() {
    let mut failed = recording(2 * SECOND, &[2]);
    failed.inputs[0].failed = true;
    let mut truth = truth([recording(SECOND, &[1]), failed]);
    assert_eq!(whole(&mut truth, 2 * SECOND), [Condition::Stalled]);
}

#[test]
fn a_camera_may_take_a_while_to_begin_but_not_for_ever() {
    let mut truth = Truth::new();
    for second in 1..=11 {
        truth.hear(recording(second * SECOND, &[second, 0]));
    }
    assert_eq!(whole(&mut truth, 11 * SECOND - 1), [Condition::Starting]);
    assert_eq!(whole(&mut truth, 11 * SECOND), [Condition::Stalled]);
}

#[test]
fn another_session_and_counts_that_go_back_prove_nothing() {
    let mut truth = truth([recording(SECOND, &[1]), recording(2 * SECOND, &[2])]);
    truth.hear(Snapshot { session: Some("/s/2".to_owned()), ..recording(2 * SECOND + 1, &[3]) });
    assert_eq!(whole(&mut truth, 2 * SECOND + 1), [Condition::Starting]);
    truth.hear(Snapshot { session: Some("/s/2".to_owned()), ..recording(2 * SECOND + 2, &[2]) });
    assert_eq!(whole(&mut truth, 2 * SECOND + 2), [Condition::Starting]);
}

#[test]
fn a_snapshot_that_comes_late_changes_nothing() {
    let mut truth = truth([recording(2 * SECOND, &[2]), recording(SECOND, &[3])]);
    assert_eq!(whole(&mut truth, 2 * SECOND), [Condition::Starting]);
}

#[test]
fn starting_and_stopping_are_never_taken_for_recording() {
    for (state, condition) in [(State::Starting, Condition::Starting), (State::Stopping, Condition::Stopping)] {
        let mut truth = truth((1..4).map(|i| Snapshot { state, ..recording(i * SECOND, &[i]) }));
        assert_eq!(whole(&mut truth, 3 * SECOND), [condition]);
    }
    let mut truth = truth([Snapshot { session: None, ..recording(SECOND, &[1]) }]);
    assert_eq!(whole(&mut truth, SECOND), [Condition::Starting], "a recording without a session");
    let mut truth = truth_of_empty_session();
    assert_eq!(whole(&mut truth, 11 * SECOND), [Condition::Stalled], "a session in which nothing takes part");
}

fn truth_of_empty_session() -> Truth {
    truth([recording(SECOND, &[]), recording(10 * SECOND, &[])])
}

#[test]
fn what_makes_a_press_useless_is_told_before_it() {
    let not_possible = |snapshot: Snapshot| whole(&mut truth([snapshot]), SECOND).contains(&Condition::NotPossible);
    assert!(!not_possible(idle(SECOND, &[true, false])));
    assert!(!not_possible(idle(SECOND, &[false])), "it only rests");
    for storage in [StorageLevel::Low, StorageLevel::Critical, StorageLevel::Unavailable] {
        assert!(not_possible(Snapshot { storage, ..idle(SECOND, &[true]) }), "{storage:?}");
    }
    assert!(!not_possible(Snapshot { storage: StorageLevel::Warn, ..idle(SECOND, &[true]) }));
    assert!(not_possible(Snapshot { state: State::Error, ..idle(SECOND, &[true]) }));
    assert!(not_possible(idle(SECOND, &[])), "no input at all");
    let mut failed = idle(SECOND, &[false, true]);
    failed.inputs[0].failed = true;
    assert!(!not_possible(failed.clone()), "one is left");
    assert_eq!(of_input(&mut truth([failed.clone()]), "cam0", SECOND), Some(Condition::NotPossible));
    assert_eq!(whole(&mut truth([failed.clone()]), SECOND), [Condition::Ready, Condition::Armed, Condition::Warning]);
    failed.inputs[1].failed = true;
    assert!(not_possible(failed));
}

#[test]
fn the_rest_of_what_a_box_says() {
    let with = |change: fn(&mut Snapshot)| {
        let mut snapshot = idle(SECOND, &[true]);
        change(&mut snapshot);
        whole(&mut truth([snapshot]), SECOND)
    };
    assert!(with(|s| s.alert = AlertRank::Warning).contains(&Condition::Warning));
    assert!(with(|s| s.alert = AlertRank::Critical).contains(&Condition::Critical));
    assert!(with(|s| s.update = Update::Installing).contains(&Condition::Updating));
    assert!(with(|s| s.update = Update::Available).contains(&Condition::UpdateAvailable));
    assert!(with(|s| s.update = Update::Copying).contains(&Condition::UpdateCopying));
    assert!(with(|s| s.update = Update::Trial).contains(&Condition::TrialBoot));
    assert!(with(|s| s.storage = StorageLevel::Warn).contains(&Condition::StorageLow(Hours::Unknown)));
    assert_eq!(with(|s| s.inputs[0].ready = false), [Condition::Resting]);
    let recording = |storage| Snapshot { storage, seconds_left: Some(7201), ..recording(SECOND, &[1]) };
    let low = whole(&mut truth([recording(StorageLevel::Low)]), SECOND);
    assert_eq!(low, [Condition::StorageLow(Hours::Three), Condition::Starting]);
    let critical = whole(&mut truth([recording(StorageLevel::Critical)]), SECOND);
    assert_eq!(critical, [Condition::Starting, Condition::Critical]);
}

#[test]
fn hours_that_have_begun() {
    let hours = [(0, Hours::One), (3600, Hours::One), (3601, Hours::Two), (14_400, Hours::Four), (14_401, Hours::More)];
    for (seconds, is) in hours {
        assert_eq!(Hours::of_seconds(Some(seconds)), is, "{seconds}");
    }
    assert_eq!(Hours::of_seconds(None), Hours::Unknown);
}

#[test]
fn what_goes_on_keeps_its_beginning() {
    let mut truth = truth([idle(SECOND, &[true])]);
    assert_eq!(truth.conditions(SECOND).whole[&Condition::Ready], SECOND);
    truth.hear(idle(2 * SECOND, &[true]));
    assert_eq!(truth.conditions(2 * SECOND).whole[&Condition::Ready], SECOND);
    assert_eq!(truth.conditions(2 * SECOND).inputs["cam0"][&Condition::Armed], SECOND);
    assert_eq!(truth.conditions(9 * SECOND).whole[&Condition::Fault], 9 * SECOND);
    truth.hear(idle(10 * SECOND, &[true]));
    assert_eq!(truth.conditions(10 * SECOND).whole[&Condition::Ready], 10 * SECOND, "it was not so meanwhile");
}

#[test]
fn the_sessions_time_does_not_jitter() {
    let mut truth = truth([recording(5 * SECOND, &[1])]);
    assert_eq!(truth.conditions(5 * SECOND).session_since_ns, Some(0));
    truth.hear(Snapshot { duration_usec: 5_900_000, ..recording(6 * SECOND, &[1]) });
    assert_eq!(truth.conditions(6 * SECOND).session_since_ns, Some(0));
    truth.hear(Snapshot { duration_usec: 9_000_000, ..recording(7 * SECOND, &[1]) });
    assert_eq!(truth.conditions(7 * SECOND).session_since_ns, Some(0), "saturated at the boot of the box");
    truth.hear(Snapshot { duration_usec: 1_000_000, ..recording(7 * SECOND, &[1]) });
    assert_eq!(truth.conditions(7 * SECOND).session_since_ns, Some(6 * SECOND));
}

/// After so many milliseconds; state, session, and of each input what it makes safe more, whether it takes part and
/// is well; counts go back.
type Step = (u64, State, u8, Vec<(u64, u64, (bool, bool))>, bool);

/// Random snapshots, at most 2.5 s apart.
pub(crate) fn histories() -> impl Strategy<Value = Vec<Snapshot>> {
    let count = prop_oneof![3 => 1_u64..50, 1 => Just(0)];
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.95));
    let one = (count.clone(), count, flags);
    let state = prop_oneof![
        8 => Just(State::Recording),
        1 => Just(State::Starting),
        1 => Just(State::Stopping),
        1 => Just(State::Idle),
        1 => Just(State::Error)
    ];
    let session = prop_oneof![12 => Just(1), 1 => Just(2), 1 => Just(0)];
    let step = (1_u64..2500, state, session, vec(one, 2), prop::bool::weighted(0.03));
    vec(step, 1..30).prop_map(|steps| {
        let (mut at_ns, mut frames, mut bytes) = (0, [0; 2], [0; 2]);
        let step = |(after_ms, state, session, more, back): Step| {
            at_ns += after_ms * MS;
            let inputs = more.into_iter().enumerate().map(|(i, (more_frames, more_bytes, (in_session, well)))| {
                frames[i] = if back { frames[i] / 2 } else { frames[i] + more_frames };
                bytes[i] += more_bytes;
                InputSnapshot {
                    name: format!("cam{i}"),
                    in_session,
                    ready: well,
                    failed: !well,
                    safe_frames: frames[i],
                    safe_bytes: bytes[i],
                }
            });
            let inputs = inputs.collect();
            let session = (session > 0).then(|| format!("/s/{session}"));
            Snapshot { at_ns, state, session, inputs, duration_usec: at_ns / 1000, ..Snapshot::default() }
        };
        steps.into_iter().map(step).collect()
    })
}

/// Whether both safe counts of an input were seen to grow in the two seconds before `now_ns`, by looking at all that
/// was told.
pub(crate) fn advanced(history: &[Snapshot], name: &str, now_ns: u64) -> bool {
    let of = |s: &Snapshot| s.inputs.iter().find(|i| i.name == name && i.in_session).cloned();
    let recent = |count: fn(&InputSnapshot) -> u64| {
        history.windows(2).any(|pair| {
            let young = now_ns - pair[1].at_ns < 2 * SECOND && pair[0].session == pair[1].session;
            young && of(&pair[0]).zip(of(&pair[1])).is_some_and(|(before, after)| count(&after) > count(&before))
        })
    };
    recent(|i| i.safe_frames) && recent(|i| i.safe_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_due_is_when_it_changes(history in histories(), after_ms in 0_u64..2500) {
        let mut truth = truth(history.clone());
        let now_ns = history.last().unwrap().at_ns + after_ms * MS;
        let holds = |truth: &mut Truth, at: u64| {
            let conditions = truth.conditions(at);
            (conditions.whole.into_keys().collect::<Vec<_>>(), conditions.inputs.into_keys().collect::<Vec<_>>())
        };
        let now = holds(&mut truth, now_ns);
        match truth.due_ns(now_ns) {
            Some(due_ns) => {
                prop_assert!(due_ns > now_ns);
                prop_assert_eq!(now, holds(&mut truth, due_ns - 1));
            }
            None => prop_assert_eq!(now, holds(&mut truth, now_ns + 3600 * SECOND)),
        }
    }
}
