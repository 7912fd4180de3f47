//! When an input that has failed is tried again: at once, then three times after a cooldown, then slowly, for ever.
//!
//! A pure core: one `match (state, event)`. The time is handed in, in nanoseconds of the monotonic clock; the supervisor carries
//! out what is due. An input is never given up. Its breaker only keeps a fault that does not go away from eating the box.

const SECOND_NS: u64 = 1_000_000_000;

/// Before each of the attempts that follow the first, which is made at once.
pub const COOLDOWN_NS: u64 = 5 * SECOND_NS;
/// Attempts after a cooldown before the breaker opens.
pub const ATTEMPTS: u32 = 3;
/// An open breaker lets an attempt through this often.
pub const PROBE_NS: u64 = 30 * SECOND_NS;
/// Who has done what is wanted for so long is well: the next failure is a first one again.
pub const HEALTHY_NS: u64 = 10 * SECOND_NS;
/// Who has made footage safe for so long before it failed is tried again at once, however often it fails: every wait would lose
/// more than the attempt.
pub const WORTHWHILE_NS: u64 = SECOND_NS;

/// More failures in a row open the breaker.
const LIMIT: u32 = 1 + ATTEMPTS;

/// How an input stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing has failed of late.
    #[default]
    Well,
    /// After so many failures in a row an attempt may be made, or is under way.
    Trying {
        /// In a row.
        failures: u32,
    },
    /// After so many failures in a row the next attempt is not due yet.
    Cooling {
        /// In a row.
        failures: u32,
        /// When it is.
        due_ns: u64,
    },
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It died, could not be started, refused to record, or stopped by itself.
    Failed {
        /// For how long it had made footage safe.
        worked_ns: u64,
    },
    /// It does what is wanted of it.
    Works {
        /// For how long.
        for_ns: u64,
    },
    /// Somebody asks for something new: a session, or that it be armed. What failed before does not keep that waiting.
    Asked,
    /// Time passes.
    Tick,
    /// Nothing is wanted of it any more.
    Unwanted,
}

/// What follows for the alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm {
    /// The breaker opens.
    Raise,
    /// It closes.
    Clear,
}

/// One input's failsafe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failsafe {
    state: State,
}

impl Failsafe {
    /// Feeds an event.
    pub fn handle(&mut self, now_ns: u64, event: Event) -> Option<Alarm> {
        let was_open = self.is_open();
        self.state = next(self.state, event, now_ns);
        match (was_open, self.is_open()) {
            (false, true) => Some(Alarm::Raise),
            (true, false) => Some(Alarm::Clear),
            _ => None,
        }
    }

    /// When the next attempt is due; `None`: it may be made now.
    pub fn due_ns(&self) -> Option<u64> {
        match self.state {
            State::Cooling { due_ns, .. } => Some(due_ns),
            State::Well | State::Trying { .. } => None,
        }
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        match self.state {
            State::Well => 0,
            State::Trying { failures } | State::Cooling { failures, .. } => failures,
        }
    }

    /// So many attempts have failed that it is tried only now and then.
    pub fn is_open(&self) -> bool {
        self.failures() > LIMIT
    }
}

fn next(state: State, event: Event, now_ns: u64) -> State {
    match (state, event) {
        (State::Well, Event::Failed { worked_ns }) => failed(1, worked_ns, now_ns),
        (State::Trying { failures }, Event::Failed { worked_ns }) => {
            failed(failures.saturating_add(1), worked_ns, now_ns)
        }
        // No attempt was made meanwhile that could have failed.
        (State::Cooling { .. }, Event::Failed { .. }) => state,
        (_, Event::Works { for_ns }) if for_ns >= HEALTHY_NS => State::Well,
        (State::Cooling { failures, due_ns }, Event::Tick) if now_ns >= due_ns => State::Trying { failures },
        (State::Cooling { failures, .. }, Event::Asked) => State::Trying { failures },
        (_, Event::Unwanted) => State::Well,
        (State::Well | State::Trying { .. }, Event::Asked | Event::Tick) | (_, Event::Works { .. } | Event::Tick) => {
            state
        }
    }
}

fn failed(failures: u32, worked_ns: u64, now_ns: u64) -> State {
    let wait_ns = match failures {
        _ if worked_ns >= WORTHWHILE_NS => 0,
        0 | 1 => 0,
        2..=LIMIT => COOLDOWN_NS,
        _ => PROBE_NS,
    };
    match wait_ns {
        0 => State::Trying { failures },
        wait_ns => State::Cooling { failures, due_ns: now_ns.saturating_add(wait_ns) },
    }
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPTS, Alarm, COOLDOWN_NS, Event, Failsafe, HEALTHY_NS, PROBE_NS, SECOND_NS, WORTHWHILE_NS};
    use proptest::prelude::{Just, Strategy, any, prop_oneof};
    use proptest::{collection, proptest};

    const FAILED: Event = Event::Failed { worked_ns: 0 };

    /// Waits until an attempt may be made; returns how long that took.
    fn wait(failsafe: &mut Failsafe, now_ns: &mut u64) -> u64 {
        let began_ns = *now_ns;
        if let Some(due_ns) = failsafe.due_ns() {
            assert_eq!(failsafe.handle(due_ns - 1, Event::Tick), None);
            assert!(failsafe.due_ns().is_some(), "too early");
            *now_ns = due_ns;
            failsafe.handle(due_ns, Event::Tick);
        }
        assert_eq!(failsafe.due_ns(), None);
        *now_ns - began_ns
    }

    #[test]
    fn at_once_then_three_cooldowns_then_slowly_for_ever() {
        let (mut failsafe, mut now_ns) = (Failsafe::default(), 0);
        let mut waits = Vec::new();
        let mut alarms = Vec::new();
        for _ in 0..8 {
            alarms.push(failsafe.handle(now_ns, FAILED));
            waits.push(wait(&mut failsafe, &mut now_ns) / SECOND_NS);
        }
        assert_eq!(waits, [0, 5, 5, 5, 30, 30, 30, 30]);
        assert_eq!(alarms[4], Some(Alarm::Raise));
        assert!(alarms.iter().enumerate().all(|(place, alarm)| place == 4 || alarm.is_none()), "{alarms:?}");
        // A stretch of health ends it, and nothing is held against it.
        assert_eq!(failsafe.handle(now_ns, Event::Works { for_ns: HEALTHY_NS - 1 }), None);
        assert_eq!(failsafe.handle(now_ns, Event::Works { for_ns: HEALTHY_NS }), Some(Alarm::Clear));
        assert_eq!(failsafe, Failsafe::default());
    }

    #[test]
    fn what_made_footage_is_tried_again_at_once_and_told_all_the_same() {
        let mut failsafe = Failsafe::default();
        for count in 1..20 {
            let alarm = failsafe.handle(0, Event::Failed { worked_ns: WORTHWHILE_NS });
            assert_eq!(failsafe.due_ns(), None);
            assert_eq!(alarm == Some(Alarm::Raise), count == ATTEMPTS + 2);
        }
    }

    #[test]
    fn a_new_wish_is_tried_at_once_and_no_wish_forgets() {
        let mut failsafe = Failsafe::default();
        for _ in 0..6 {
            failsafe.handle(0, FAILED);
            failsafe.handle(u64::MAX, Event::Tick);
        }
        failsafe.handle(0, FAILED);
        assert_eq!(failsafe.due_ns(), Some(PROBE_NS));
        assert_eq!(failsafe.handle(1, Event::Asked), None);
        assert_eq!((failsafe.due_ns(), failsafe.is_open()), (None, true));
        assert_eq!(failsafe.handle(1, Event::Unwanted), Some(Alarm::Clear));
        assert_eq!(failsafe, Failsafe::default());
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..3 * WORTHWHILE_NS).prop_map(|worked_ns| Event::Failed { worked_ns }),
            2 => (0..2 * HEALTHY_NS).prop_map(|for_ns| Event::Works { for_ns }),
            1 => Just(Event::Asked),
            8 => Just(Event::Tick),
            1 => Just(Event::Unwanted),
        ]
    }

    proptest! {
        /// Whatever happens: it is never given up, never tried in a tight loop, and the alert is true.
        #[test]
        fn never_given_up_never_hammered(events in collection::vec((event(), any::<bool>(), 0..8 * SECOND_NS), 1..200)) {
            let mut failsafe = Failsafe::default();
            let (mut now_ns, mut raised) = (0_u64, false);
            // Attempts without any yield since the last health, wish or waste of time.
            let mut barren: Vec<u64> = Vec::new();
            for (event, wait_for_due, step_ns) in events {
                now_ns += step_ns;
                if wait_for_due {
                    now_ns = now_ns.max(failsafe.due_ns().unwrap_or(0));
                    failsafe.handle(now_ns, Event::Tick);
                }
                let may_fail = failsafe.due_ns().is_none();
                let before = failsafe.failures();
                match failsafe.handle(now_ns, event) {
                    Some(Alarm::Raise) => { assert!(!raised); raised = true; }
                    Some(Alarm::Clear) => { assert!(raised); raised = false; }
                    None => (),
                }
                assert_eq!(raised, failsafe.is_open());
                // Never given up: an attempt is due at the latest a probe's time from now.
                assert!(failsafe.due_ns().is_none_or(|due_ns| due_ns <= now_ns + PROBE_NS));
                match event {
                    Event::Failed { worked_ns } if may_fail => {
                        assert_eq!(failsafe.failures(), before + 1);
                        if worked_ns >= WORTHWHILE_NS || before == 0 {
                            assert_eq!(failsafe.due_ns(), None);
                        } else {
                            assert!(failsafe.due_ns() >= Some(now_ns + COOLDOWN_NS));
                        }
                        if worked_ns < WORTHWHILE_NS { barren.push(now_ns) } else { barren.clear() }
                    }
                    Event::Asked | Event::Unwanted | Event::Works { .. } => barren.clear(),
                    _ => (),
                }
                // Two failures in a row may be close together (the attempt at once); any third is a cooldown away.
                if let [.., first, _, third] = barren[..] {
                    assert!(third - first >= COOLDOWN_NS, "{barren:?}");
                }
            }
        }
    }
}
