//! The leases against random histories, and the cases worth naming.

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::{Command, Event, Id, KINDS, Kind, Leases, Refusal, Request, State, Strain, Why, WhyNot};

const S: u64 = 1_000_000_000;
const GRACE: u64 = 10 * S;

fn request(kind: Kind, owner: &str) -> Request {
    Request {
        kind,
        reason: "a test".into(),
        owner: owner.into(),
        duration_ns: None,
        queue: true,
        overrides: false,
        may_override: false,
    }
}

/// Leases whose first grace is over, at this time.
fn quiet() -> (Leases, u64) {
    (Leases::new(0, GRACE), GRACE)
}

fn ask(leases: &mut Leases, now: u64, kind: Kind) -> Vec<Command> {
    leases.handle(now, Event::Request(request(kind, ":1.1")))
}

fn states(leases: &Leases) -> Vec<(Id, State)> {
    leases.list().map(|lease| (lease.id, lease.state)).collect()
}

#[test]
fn what_excludes_is_excluded_and_the_table_is_sane() {
    for (index, rule) in KINDS.iter().enumerate() {
        assert_eq!(rule.kind.rule().name, KINDS[index].name);
        assert_eq!(Kind::from_name(rule.name), Some(rule.kind));
        assert!(rule.default_ns <= rule.longest_ns && rule.wind_down_ns > 0, "{rule:?}");
        for other in &KINDS {
            assert_eq!(rule.excludes(other.kind), other.excludes(rule.kind), "{} and {}", rule.name, other.name);
        }
        // Two of one kind at once were never thought through.
        assert!(rule.excludes(rule.kind));
        assert!(Kind::Reboot.rule().excludes(rule.kind), "nothing goes on while the box goes down");
    }
    assert_eq!(Kind::from_name("coffee"), None);
}

#[test]
fn it_is_granted_at_rest_and_after_the_grace() {
    let mut leases = Leases::new(0, GRACE);
    assert_eq!(ask(&mut leases, S, Kind::Install), [Command::Taken(1)]);
    assert_eq!(leases.why_not(1, S), Some(WhyNot::Grace));
    assert_eq!(leases.next_due_ns(S), Some(GRACE));
    assert_eq!(leases.handle(GRACE - 1, Event::Tick), []);
    assert_eq!(leases.handle(GRACE, Event::Tick), [Command::Granted(1)]);
    assert_eq!(leases.get(1).unwrap().deadline_ns, GRACE + Kind::Install.rule().default_ns);
    assert_eq!((leases.why_not(1, GRACE), leases.next_due_ns(GRACE)), (None, Some(GRACE + 30 * 60 * S)));
    // What may run beside a recording need not wait.
    assert_eq!(ask(&mut Leases::new(0, GRACE), 0, Kind::Download), [Command::Taken(1), Command::Granted(1)]);
}

#[test]
fn a_recording_takes_back_what_it_can_not_stand() {
    let (mut leases, now) = quiet();
    ask(&mut leases, now, Kind::HeavyCpu);
    ask(&mut leases, now, Kind::HeavyIo);
    ask(&mut leases, now, Kind::Download);
    assert!(leases.list().all(|lease| lease.state == State::Granted));
    let revoked = leases.handle(now + S, Event::Recording(true));
    assert_eq!(revoked, [Command::Revoked(1, Why::Recording), Command::Revoked(2, Why::Recording)]);
    assert_eq!(states(&leases), [(1, State::Revoked), (2, State::Revoked), (3, State::Granted)]);
    // Told once.
    assert_eq!(leases.handle(now + S, Event::Recording(true)), []);

    // One yields, the other does not.
    let release = Event::Release { id: 1, owner: ":1.1".into() };
    assert!(matches!(&leases.handle(now + 2 * S, release)[..], [Command::Ended(_, Why::Released)]));
    assert_eq!(leases.next_due_ns(now + 2 * S), Some(now + 3 * S));
    assert_eq!(leases.handle(now + 3 * S, Event::Tick), [Command::Overdue(2)]);
    assert_eq!(leases.handle(now + 4 * S, Event::Tick), []);

    // The end of the recording gives nothing back; what was revoked stays so until it is released.
    assert_eq!(leases.handle(now + 5 * S, Event::Recording(false)), []);
    assert_eq!(ask(&mut leases, now + 6 * S, Kind::HeavyIo), [Command::Taken(4)]);
    assert_eq!(leases.why_not(4, now + 6 * S), Some(WhyNot::Grace));
    assert_eq!(leases.handle(now + 15 * S, Event::Tick), []);
    assert_eq!(leases.why_not(4, now + 15 * S), Some(WhyNot::Lease(2, Kind::HeavyIo)));
    let gone = leases.handle(now + 16 * S, Event::Release { id: 2, owner: ":1.1".into() });
    assert!(matches!(&gone[..], [Command::Ended(_, Why::Released), Command::Granted(4)]), "{gone:?}");
}

#[test]
fn the_queue_is_in_order_and_nobody_starves() {
    let (mut leases, now) = quiet();
    ask(&mut leases, now, Kind::HeavyIo);
    assert_eq!(ask(&mut leases, now, Kind::Reboot), [Command::Taken(2)]);
    // It could run beside heavy-io, but would keep the reboot waiting longer.
    assert_eq!(ask(&mut leases, now, Kind::HeavyCpu), [Command::Taken(3)]);
    assert_eq!(leases.why_not(3, now), Some(WhyNot::Lease(2, Kind::Reboot)));
    let over = leases.handle(now, Event::Release { id: 1, owner: ":1.1".into() });
    assert!(matches!(&over[..], [Command::Ended(..), Command::Granted(2)]), "{over:?}");
    let over = leases.handle(now, Event::Release { id: 2, owner: ":1.1".into() });
    assert!(matches!(&over[..], [Command::Ended(..), Command::Granted(3)]), "{over:?}");

    // One that the recorder itself keeps waiting lets others pass.
    let (mut leases, now) = quiet();
    leases.handle(now, Event::Recording(true));
    assert_eq!(ask(&mut leases, now, Kind::Reboot), [Command::Taken(1)]);
    assert_eq!(ask(&mut leases, now, Kind::Download), [Command::Taken(2), Command::Granted(2)]);
}

#[test]
fn it_ends_with_its_owner_its_time_or_an_operators_word() {
    let (mut leases, now) = quiet();
    let short = Request { duration_ns: Some(3 * S), ..request(Kind::HeavyIo, ":1.7") };
    leases.handle(now, Event::Request(short));
    leases.handle(now, Event::Request(request(Kind::HeavyIo, ":1.8")));
    let over = leases.handle(now + 3 * S, Event::Tick);
    assert!(
        matches!(&over[..], [Command::Ended(lease, Why::Deadline), Command::Granted(2)] if lease.id == 1),
        "{over:?}"
    );
    leases.handle(now, Event::Request(request(Kind::Install, ":1.8")));
    leases.handle(now, Event::Request(request(Kind::HeavyCpu, ":1.9")));
    let gone = leases.handle(now + 4 * S, Event::OwnerGone(":1.8".into()));
    assert!(matches!(&gone[..], [Command::Ended(..), Command::Ended(..), Command::Granted(4)]), "{gone:?}");

    // First asked, then taken.
    assert_eq!(leases.handle(now + 5 * S, Event::Revoke { id: 4 }), [Command::Revoked(4, Why::Operator)]);
    let taken = leases.handle(now + 5 * S, Event::Revoke { id: 4 });
    assert!(matches!(&taken[..], [Command::Ended(_, Why::Operator)]), "{taken:?}");
    assert_eq!(leases.handle(now, Event::Revoke { id: 4 }), [Command::Refused(Refusal::Unknown)]);
    // A waiting one has nothing to wind down.
    leases.handle(now, Event::Recording(true));
    ask(&mut leases, now, Kind::Reboot);
    let taken = leases.handle(now, Event::Revoke { id: 5 });
    assert!(matches!(&taken[..], [Command::Ended(_, Why::Operator)]), "{taken:?}");
}

#[test]
fn refusals_name_their_reason() {
    let (mut leases, now) = quiet();
    let refused = |leases: &mut Leases, request| match &leases.handle(now, Event::Request(request))[..] {
        [Command::Refused(refusal)] => *refusal,
        [Command::Taken(_), Command::Refused(refusal)] => *refusal,
        other => panic!("{other:?}"),
    };
    let plain = request(Kind::Reboot, ":1.1");
    let long = Request { duration_ns: Some(16 * 60 * S), ..plain.clone() };
    assert_eq!(refused(&mut leases, long), Refusal::TooLong);
    assert_eq!(refused(&mut leases, Request { overrides: true, ..plain.clone() }), Refusal::MayNotOverride);
    leases.handle(now, Event::Recording(true));
    let now_or_never = Request { queue: false, ..plain.clone() };
    assert!(matches!(refused(&mut leases, now_or_never), Refusal::NotNow(_, WhyNot::Recording)));
    assert_eq!(leases.list().count(), 0);
    for _ in 0..8 {
        leases.handle(now, Event::Request(plain.clone()));
    }
    assert_eq!(refused(&mut leases, plain), Refusal::TooMany);
    for owner in 0..7 {
        for _ in 0..8 {
            leases.handle(now, Event::Request(request(Kind::Reboot, &format!(":2.{owner}"))));
        }
    }
    assert_eq!(refused(&mut leases, request(Kind::Reboot, ":9.9")), Refusal::TooMany);
    let first = leases.list().next().unwrap().id;
    let not_yours = leases.handle(now, Event::Release { id: first, owner: ":9.9".into() });
    assert_eq!(not_yours, [Command::Refused(Refusal::NotYours)]);
}

#[test]
fn an_override_beats_recording_and_pressure_but_no_other_lease() {
    let (mut leases, now) = quiet();
    leases.handle(now, Event::Recording(true));
    leases.handle(now, Event::Strain(Strain::Most));
    let force = |kind| Request { overrides: true, may_override: true, ..request(kind, ":1.1") };
    assert_eq!(leases.handle(now, Event::Request(force(Kind::Install))), [Command::Taken(1), Command::Granted(1)]);
    assert_eq!(leases.handle(now, Event::Request(force(Kind::Reboot))), [Command::Taken(2)]);
    assert_eq!(leases.why_not(2, now), Some(WhyNot::Lease(1, Kind::Install)));
    // And no recording takes it back.
    leases.handle(now, Event::Recording(false));
    assert_eq!(leases.handle(now, Event::Recording(true)), []);
}

#[test]
fn an_installation_beside_a_recording_stays_and_goes_with_pressure_and_excludes_the_other_kind() {
    let (mut leases, now) = quiet();
    leases.handle(now, Event::Recording(true));
    assert_eq!(ask(&mut leases, now, Kind::InstallBeside), [Command::Taken(1), Command::Granted(1)]);
    // Neither the end of a recording nor the beginning of one is a reason to take it back.
    assert_eq!(leases.handle(now, Event::Recording(false)), []);
    for (id, kind) in [(2, Kind::Install), (3, Kind::InstallBeside), (4, Kind::Reboot)] {
        ask(&mut leases, now + GRACE, kind);
        assert_eq!(leases.why_not(id, now + GRACE), Some(WhyNot::Lease(1, Kind::InstallBeside)), "{kind:?}");
    }
    assert_eq!(leases.handle(now + GRACE, Event::Recording(true)), []);
    assert_eq!(leases.handle(now + GRACE, Event::Strain(Strain::Some)), []);
    assert_eq!(leases.handle(now + GRACE, Event::Strain(Strain::Much)), [Command::Revoked(1, Why::Pressure)]);
}

#[test]
fn pressure_takes_back_what_costs_most_first() {
    let (mut leases, now) = quiet();
    ask(&mut leases, now, Kind::HeavyIo);
    ask(&mut leases, now, Kind::Download);
    assert_eq!(leases.handle(now, Event::Strain(Strain::Some)), [Command::Revoked(1, Why::Pressure)]);
    assert_eq!(leases.handle(now, Event::Strain(Strain::Much)), [Command::Revoked(2, Why::Pressure)]);
    assert_eq!(ask(&mut leases, now, Kind::HeavyCpu), [Command::Taken(3)]);
    assert_eq!(leases.handle(now, Event::Strain(Strain::None)), [Command::Granted(3)]);
}

#[derive(Debug, Clone)]
enum Act {
    Request { kind: usize, owner: u8, queue: bool, overrides: bool, seconds: Option<u64> },
    Release { id: Id, owner: u8 },
    Revoke { id: Id },
    Gone(u8),
    Recording(bool),
    Strain(u8),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..KINDS.len(), 0..4_u8, any::<bool>(), 0..10_u8, prop_oneof![Just(None), (1..900_u64).prop_map(Some)]).prop_map(
            |(kind, owner, queue, overrides, seconds)| Act::Request { kind, owner, queue, overrides: overrides == 0, seconds }
        ),
        4 => (1..30_u64, 0..4_u8).prop_map(|(id, owner)| Act::Release { id, owner }),
        1 => (1..30_u64).prop_map(|id| Act::Revoke { id }),
        1 => (0..4_u8).prop_map(Act::Gone),
        2 => any::<bool>().prop_map(Act::Recording),
        1 => (0..4_u8).prop_map(Act::Strain),
        4 => (1..2000_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever happens: nothing runs that must not, nothing is kept for ever, and nothing waits that could run.
    #[test]
    fn no_history_breaks_the_rules(acts in proptest::collection::vec(act(), 1..80)) {
        let mut now = 0;
        let mut leases = Leases::new(now, GRACE);
        let (mut recording, mut strain) = (false, Strain::None);
        for act in acts {
            let owner = |owner: u8| format!(":1.{owner}");
            let event = match act {
                Act::Request { kind, owner: who, queue, overrides, seconds } => Event::Request(Request {
                    duration_ns: seconds.map(|seconds| seconds * S),
                    queue,
                    overrides,
                    may_override: true,
                    ..request(KINDS[kind].kind, &owner(who))
                }),
                Act::Release { id, owner: who } => Event::Release { id, owner: owner(who) },
                Act::Revoke { id } => Event::Revoke { id },
                Act::Gone(who) => Event::OwnerGone(owner(who)),
                Act::Recording(on) => { recording = on; Event::Recording(on) }
                Act::Strain(level) => {
                    strain = [Strain::None, Strain::Some, Strain::Much, Strain::Most][usize::from(level)];
                    Event::Strain(strain)
                }
                Act::Pass(ms) => {
                    // Time passes from one due moment to the next, as the task that drives it lets it.
                    let until = now + ms * S / 10;
                    while let Some(due) = leases.next_due_ns(now).filter(|due| *due <= until) {
                        now = due.max(now);
                        leases.handle(now, Event::Tick);
                        assert!(leases.next_due_ns(now).is_none_or(|next| next > now), "a tick that is due for ever");
                    }
                    now = until;
                    Event::Tick
                }
            };
            let was_granted: Vec<Id> = leases.list().filter(|lease| lease.state == State::Granted).map(|lease| lease.id).collect();
            let commands = leases.handle(now, event);
            for id in was_granted {
                // Nobody loses a lease without being told.
                let told = commands.iter().any(|command| match command {
                    Command::Revoked(told, _) => *told == id,
                    Command::Ended(lease, _) => lease.id == id,
                    _ => false,
                });
                assert!(told || leases.get(id).is_some_and(|lease| lease.state == State::Granted));
            }
            let all: Vec<_> = leases.list().collect();
            for lease in &all {
                let rule = lease.kind.rule();
                if lease.state == State::Granted {
                    assert!(lease.overrides || rule.beside_recording || !recording, "{lease:?}");
                    assert!(lease.overrides || strain <= rule.bears, "{lease:?}");
                    assert!(lease.deadline_ns > now && lease.deadline_ns <= now + rule.longest_ns, "{lease:?}");
                }
                if lease.state == State::Queued {
                    assert!(leases.why_not(lease.id, now).is_some(), "waits for nothing: {lease:?}");
                }
                for other in all.iter().filter(|other| other.id != lease.id) {
                    let run = |state| state != State::Queued;
                    let both = run(lease.state) && run(other.state);
                    assert!(!(both && rule.excludes(other.kind)), "{lease:?} beside {other:?}");
                }
            }
        }
        // In the end all time runs out.
        while let Some(due) = leases.next_due_ns(now) {
            now = due.max(now);
            leases.handle(now, Event::Tick);
        }
        assert!(leases.list().all(|lease| lease.state == State::Queued), "kept for ever");
    }
}
