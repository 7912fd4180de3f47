use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Blocked, Cause, File, Limits, Plan, Session, plan};

const NOW: i64 = 1_800_000_000;

fn file(input: &str, sequence: u64, bytes: u64, age_s: i64) -> File {
    File { input: input.into(), sequence, bytes, ended_s: NOW - age_s, open: false, archived: false }
}

fn session(id: &str, files: Vec<File>) -> Session {
    Session { id: id.into(), files, ..Session::default() }
}

fn names(sessions: &[Session], plan: &Plan) -> Vec<(String, String, u64, Cause)> {
    let name = |victim: &super::Victim| {
        let session = &sessions[victim.session];
        let file = &session.files[victim.file];
        (session.id.clone(), file.input.clone(), file.sequence, victim.cause)
    };
    plan.victims.iter().map(name).collect()
}

#[test]
fn without_a_limit_nothing_goes_however_full_it_is() {
    let sessions = [session("a", vec![file("x", 1, 100, 1_000_000_000)])];
    let limits = Limits { stop_floor_bytes: 1000, ..Limits::default() };
    assert_eq!(plan(&sessions, &limits, 0, Some(NOW)), Plan::default());
}

#[test]
fn the_oldest_goes_first_and_no_more_than_must() {
    let sessions = [
        // Two inputs, cut at different moments.
        session("a", vec![file("x", 1, 10, 900), file("x", 2, 10, 700), file("y", 1, 10, 800), file("y", 2, 10, 600)]),
        session("b", vec![file("x", 1, 10, 500)]),
    ];
    let limits = Limits { free_bytes: 130, ..Limits::default() };
    let free = Cause::Free;
    let expected = [("a", "x", 1, free), ("a", "y", 1, free), ("a", "x", 2, free)];
    let expected: Vec<_> =
        expected.iter().map(|(id, input, n, why)| ((*id).into(), (*input).into(), *n, *why)).collect();
    assert_eq!(names(&sessions, &plan(&sessions, &limits, 100, Some(NOW))), expected);
    assert!(plan(&sessions, &limits, 130, Some(NOW)).victims.is_empty());
}

#[test]
fn age_total_and_emergency_are_told_apart() {
    let sessions = [session("a", (1..=6).map(|n| file("x", n, 10, 1000 - 100 * n as i64)).collect())];
    let limits = Limits { age_s: 750, total_bytes: 45, stop_floor_bytes: 100, ..Limits::default() };
    let causes = |free_bytes, now| {
        let plan = plan(&sessions, &limits, free_bytes, now);
        (plan.victims.iter().map(|victim| victim.cause).collect::<Vec<_>>(), plan.blocked.map(|blocked| blocked.cause))
    };
    let (age, total, emergency) = (Cause::Age, Cause::Total, Cause::Emergency);
    // 900 and 800 s are too old; 20 of 60 bytes are gone then, which is enough for 45.
    assert_eq!(causes(1000, Some(NOW)), (vec![age, age], None));
    // Without a clock only the bytes count.
    assert_eq!(causes(1000, None), (vec![total, total], None));
    // 80 are below one and a half times the floor: up to twice the floor goes, and there is not that much.
    assert_eq!(causes(60, Some(NOW)), (vec![age, age, emergency, emergency, emergency, emergency], Some(emergency)));
    assert_eq!(causes(130, Some(NOW)).0.len(), 2, "20 bytes by age bring it to 150");
}

#[test]
fn a_running_session_gives_up_its_oldest_but_not_its_newest_closed_file() {
    let mut files: Vec<File> = (1..=4).map(|n| file("x", n, 10, 1000 - 100 * n as i64)).collect();
    files.push(File { open: true, ..file("x", 5, 10, 0) });
    files.push(File { open: true, ..file("y", 1, 10, 0) });
    let sessions = [Session { recording: true, ..session("a", files) }];
    let limits = Limits { free_bytes: 1000, ..Limits::default() };
    let plan = plan(&sessions, &limits, 0, Some(NOW));
    assert_eq!(
        names(&sessions, &plan).iter().map(|(_, input, n, _)| (input.as_str(), *n)).collect::<Vec<_>>(),
        [("x", 1), ("x", 2), ("x", 3)]
    );
    assert_eq!(plan.blocked.map(|blocked| blocked.missing_bytes), Some(970));
}

#[test]
fn what_is_in_the_way_is_told() {
    let sessions = [
        Session { protected: true, ..session("a", vec![file("x", 1, 10, 900)]) },
        Session { unreadable: true, ..session("b", vec![file("x", 1, 20, 900)]) },
        session("c", vec![file("x", 1, 30, 900), File { archived: true, ..file("x", 2, 40, 900) }]),
    ];
    let limits = Limits { free_bytes: 100, archive: true, ..Limits::default() };
    let blocked = plan(&sessions, &limits, 0, Some(NOW));
    assert!(blocked.victims.is_empty(), "the archived one is behind one that is not: {blocked:?}");
    assert_eq!(
        blocked.blocked,
        Some(Blocked {
            cause: Cause::Free,
            missing_bytes: 100,
            protected_bytes: 10,
            unarchived_bytes: 30,
            unreadable_bytes: 20
        })
    );
}

fn a_file() -> impl Strategy<Value = File> {
    ("[xyz]", 1_u64..12, 1_u64..50, 0_i64..2000, prop::bool::weighted(0.1), any::<bool>()).prop_map(
        |(input, sequence, bytes, age_s, open, archived)| File {
            open,
            archived,
            ..file(&input, sequence, bytes, age_s)
        },
    )
}

fn a_session() -> impl Strategy<Value = Session> {
    (vec(a_file(), 0..12), prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(
        |(mut files, protected, unreadable, recording)| {
            files.sort_by_key(|file| (file.input.clone(), file.sequence));
            files.dedup_by_key(|file| (file.input.clone(), file.sequence));
            Session { id: String::new(), protected, unreadable, recording, files }
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    (0_u64..2000, 0_u64..400, 0_u64..400, 0_u64..100, any::<bool>(), 0_u8..8).prop_map(
        |(age_s, total_bytes, free_bytes, stop_floor_bytes, archive, on)| Limits {
            age_s: if on & 1 == 0 { 0 } else { age_s },
            total_bytes: if on & 2 == 0 { 0 } else { total_bytes },
            free_bytes: if on & 4 == 0 { 0 } else { free_bytes },
            stop_floor_bytes,
            archive,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Never what must stay; of each input the oldest; no more than must; the target, or why not.
    #[test]
    fn retention_keeps_its_word(
        sessions in vec(a_session(), 0..6),
        limits in limits(),
        free in 0_u64..300,
        clock in any::<bool>(),
    ) {
        let now = clock.then_some(NOW);
        let Plan { victims, blocked } = plan(&sessions, &limits, free, now);
        let of = |victim: &super::Victim| &sessions[victim.session].files[victim.file];
        let mut gone: BTreeMap<(usize, &str), Vec<u64>> = BTreeMap::new();
        for victim in &victims {
            let session = &sessions[victim.session];
            let file = of(victim);
            prop_assert!(limits.is_on());
            prop_assert!(!file.open && !session.protected && !session.unreadable);
            prop_assert!(file.archived || !limits.archive);
            if victim.cause == Cause::Age {
                prop_assert!(clock && NOW - file.ended_s > i64::try_from(limits.age_s).unwrap());
            }
            let list = gone.entry((victim.session, &file.input)).or_default();
            prop_assert!(!list.contains(&file.sequence), "twice");
            list.push(file.sequence);
        }
        for ((session, input), list) in &gone {
            let session = &sessions[*session];
            let all = session.files.iter().filter(|file| file.input == **input);
            // A prefix of the input's chain, and of a running one not all.
            let mut expected: Vec<u64> = all.clone().map(|file| file.sequence).collect();
            expected.sort_unstable();
            let mut sorted = list.clone();
            sorted.sort_unstable();
            prop_assert_eq!(&sorted[..], &expected[..list.len()]);
            if session.recording {
                let closed = all.filter(|file| !file.open).map(|file| file.sequence).max();
                prop_assert!(!list.contains(&closed.unwrap()));
            }
        }
        // Nothing of a later session goes for room while something of an earlier one may stay.
        let for_room: Vec<_> = victims.iter().filter(|victim| victim.cause != Cause::Age).collect();
        prop_assert!(for_room.windows(2).all(|pair| pair[0].session <= pair[1].session));

        let freed: u64 = victims.iter().map(|victim| of(victim).bytes).sum();
        let all: u64 = sessions.iter().flat_map(|session| &session.files).map(|file| file.bytes).sum();
        let met = |freed: u64| {
            (limits.total_bytes == 0 || all - freed <= limits.total_bytes) && free + freed >= limits.free_bytes
        };
        if limits.is_on() {
            let safe = free + freed >= limits.emergency_below_bytes();
            prop_assert_eq!(blocked.is_none(), met(freed) && safe, "{:?}", victims);
        }
        // Exactly: without the last one a target would be missed.
        if let Some(last) = victims.last().filter(|last| last.cause != Cause::Age) {
            let without = freed - of(last).bytes;
            let emergency = last.cause == Cause::Emergency && free + without < limits.emergency_target_bytes();
            prop_assert!(!met(without) || emergency);
        }
    }
}
