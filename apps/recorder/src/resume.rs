//! What becomes of a session that was interrupted: the pure core. Facts in, a fate out; nothing here looks at files or clocks.

use std::time::Duration;

use holdfast_config::Resume;

/// What the configuration wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of an interrupted session.
    pub resume: Resume,
    /// An older one does not go on by itself.
    pub within: Duration,
}

/// What is known of a session that did not end by itself, or of which that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Captures record it at this moment.
    pub recorded_now: bool,
    /// Who says that somebody asked for its end. One witness is enough: a session that was stopped never goes on.
    pub stop: Option<Witness>,
    /// It has ended, and its journal says so.
    pub has_ended: bool,
    /// It was cut off: its journal is without an end, or a file of it had to be closed by recovery just now.
    pub was_cut_off: bool,
    /// It is the one that was being recorded last.
    pub is_last: bool,
    /// At least one of its inputs is still configured.
    pub has_inputs: bool,
    /// How long ago its last safe frame was; `None` where the clocks can't tell.
    pub age_ns: Option<u64>,
}

/// Who knows that a session was stopped. Three witnesses on two file systems: whatever is lost of one, the others tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its own journal.
    Journal,
    /// The recorder's state.
    State,
    /// The newest file of one of its inputs, which was closed because of a stop.
    Files,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its captures have never stopped: it goes on as if nothing had happened.
    GoesOn,
    /// Its captures still record it, but it was to be stopped: that is done now.
    IsStopped,
    /// It is taken up again.
    Resumes,
    /// It waits for a person to decide.
    Waits,
    /// It is written down as stopped, which it was.
    EndsAsStopped(Witness),
    /// It is closed as interrupted.
    Closes(Why),
    /// Nothing is to be done about it.
    Rests,
}

/// Why an interrupted session does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A newer one was being recorded.
    Another,
    /// Nothing that it recorded is configured.
    NoInputs,
    /// The configuration wants it so.
    Policy,
    /// It is older than the configuration allows.
    TooOld,
    /// A person said so.
    Dismissed,
    /// A person began another one instead.
    Superseded,
}

impl Why {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Another => "another session was being recorded",
            Self::NoInputs => "none of its inputs is configured any more",
            Self::Policy => "protection.resume = \"never\"",
            Self::TooOld => "it is older than protection.resume_within_hours",
            Self::Dismissed => "it was dismissed",
            Self::Superseded => "another recording was started instead",
        }
    }
}

/// Decides.
pub fn fate(facts: &Facts, policy: &Policy) -> Fate {
    match facts {
        Facts { recorded_now: true, stop: Some(_), .. } => Fate::IsStopped,
        Facts { recorded_now: true, .. } => Fate::GoesOn,
        Facts { has_ended: true, .. } => Fate::Rests,
        Facts { was_cut_off: false, .. } => Fate::Rests,
        Facts { stop: Some(witness), .. } => Fate::EndsAsStopped(*witness),
        Facts { is_last: false, .. } => Fate::Closes(Why::Another),
        Facts { has_inputs: false, .. } => Fate::Closes(Why::NoInputs),
        Facts { age_ns, .. } => match policy.resume {
            Resume::Never => Fate::Closes(Why::Policy),
            Resume::Ask => Fate::Waits,
            // Where nobody can know the age, footage counts more than order.
            Resume::Always if age_ns.is_some_and(|age| u128::from(age) > policy.within.as_nanos()) => {
                Fate::Closes(Why::TooOld)
            }
            Resume::Always => Fate::Resumes,
        },
    }
}

const SECOND_NS: u64 = 1_000_000_000;
/// Clocks of two boots may differ by so much and still be believed.
const SLACK_NS: u64 = 5 * SECOND_NS;
/// No recording is older.
const PLAUSIBLE_NS: u64 = 10 * 366 * 24 * 3600 * SECOND_NS;
/// 2020-01-01: a clock that says less was never set.
const SET_WALL_NS: i64 = 1_577_836_800_000_000_000;

/// How long ago something of an earlier boot was, by the wall clocks of then and now; `None` if they can't both be right.
///
/// It was before this boot, so it is at least as long ago as this boot is old.
pub fn since_earlier_boot(then_wall_ns: i64, now_wall_ns: i64, uptime_ns: u64) -> Option<u64> {
    if then_wall_ns < SET_WALL_NS || now_wall_ns < SET_WALL_NS {
        return None;
    }
    let since_ns = u64::try_from(now_wall_ns.checked_sub(then_wall_ns)?).ok()?;
    (since_ns.saturating_add(SLACK_NS) >= uptime_ns && since_ns <= PLAUSIBLE_NS).then_some(since_ns)
}

#[cfg(test)]
mod tests {
    use super::{Facts, Fate, Policy, SECOND_NS, SET_WALL_NS, Why, Witness, fate, since_earlier_boot};
    use holdfast_config::Resume;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use std::time::Duration;

    const HOUR_NS: u64 = 3600 * SECOND_NS;

    fn policy(resume: Resume) -> Policy {
        Policy { resume, within: Duration::from_secs(24 * 3600) }
    }

    fn cut_off() -> Facts {
        Facts {
            recorded_now: false,
            stop: None,
            has_ended: false,
            was_cut_off: true,
            is_last: true,
            has_inputs: true,
            age_ns: Some(HOUR_NS),
        }
    }

    #[test]
    fn each_policy_has_its_fate() {
        let with = |change: fn(&mut Facts), resume| {
            let mut facts = cut_off();
            change(&mut facts);
            fate(&facts, &policy(resume))
        };
        let same = |_: &mut Facts| ();
        assert_eq!(with(same, Resume::Always), Fate::Resumes);
        assert_eq!(with(same, Resume::Ask), Fate::Waits);
        assert_eq!(with(same, Resume::Never), Fate::Closes(Why::Policy));
        let old = |facts: &mut Facts| facts.age_ns = Some(25 * HOUR_NS);
        assert_eq!(with(old, Resume::Always), Fate::Closes(Why::TooOld));
        assert_eq!(with(old, Resume::Ask), Fate::Waits);
        let ageless = |facts: &mut Facts| facts.age_ns = None;
        assert_eq!(with(ageless, Resume::Always), Fate::Resumes);
        let foreign = |facts: &mut Facts| facts.has_inputs = false;
        assert_eq!(with(foreign, Resume::Ask), Fate::Closes(Why::NoInputs));
        let earlier = |facts: &mut Facts| facts.is_last = false;
        assert_eq!(with(earlier, Resume::Always), Fate::Closes(Why::Another));
        let whole = |facts: &mut Facts| facts.was_cut_off = false;
        assert_eq!(with(whole, Resume::Always), Fate::Rests);
    }

    fn facts() -> impl Strategy<Value = Facts> {
        let witness = prop_oneof![
            Just(None),
            Just(Some(Witness::Journal)),
            Just(Some(Witness::State)),
            Just(Some(Witness::Files))
        ];
        (any::<(bool, bool, bool, bool, bool)>(), witness, any::<Option<u64>>()).prop_map(
            |((recorded_now, has_ended, was_cut_off, is_last, has_inputs), stop, age_ns)| Facts {
                recorded_now,
                stop,
                has_ended,
                was_cut_off,
                is_last,
                has_inputs,
                age_ns,
            },
        )
    }

    fn resume() -> impl Strategy<Value = Resume> {
        prop_oneof![Just(Resume::Always), Just(Resume::Ask), Just(Resume::Never)]
    }

    proptest! {
        /// Whatever else is known or lost: what was stopped is not recorded again, what is recorded is not cut off.
        #[test]
        fn stopped_stays_stopped_and_running_stays_running(facts in facts(), resume in resume()) {
            let fate = fate(&facts, &policy(resume));
            if facts.stop.is_some() || facts.has_ended && !facts.recorded_now {
                assert!(!matches!(fate, Fate::GoesOn | Fate::Resumes | Fate::Waits), "{fate:?}");
            }
            if facts.recorded_now {
                assert!(matches!(fate, Fate::GoesOn | Fate::IsStopped), "{fate:?}");
            }
            if resume == Resume::Never {
                assert!(!matches!(fate, Fate::Resumes | Fate::Waits));
            }
        }

        /// Clocks that can't be right give no number, and no number is ever less than the boot is old.
        #[test]
        fn ages_over_a_boot_are_plausible_or_unknown(then in any::<i64>(), now in any::<i64>(), uptime in any::<u64>()) {
            if let Some(age) = since_earlier_boot(then, now, uptime) {
                assert!(then >= SET_WALL_NS && now >= then && age.saturating_add(super::SLACK_NS) >= uptime);
            }
        }
    }

    #[test]
    fn clocks_that_cannot_be_right_tell_no_age() {
        let then = SET_WALL_NS + 1_000_000_000_000_000_000;
        let after = |seconds: i64| then + seconds * 1_000_000_000;
        assert_eq!(since_earlier_boot(then, after(60), 40 * SECOND_NS), Some(60 * SECOND_NS));
        // No RTC: 1970 until somebody sets it.
        assert_eq!(since_earlier_boot(then, 12_000_000_000, 12 * SECOND_NS), None);
        assert_eq!(since_earlier_boot(12_000_000_000, after(0), 12 * SECOND_NS), None);
        // Set back, or less long ago than the box has been up.
        assert_eq!(since_earlier_boot(then, after(-3600), 40 * SECOND_NS), None);
        assert_eq!(since_earlier_boot(then, after(10), 40 * SECOND_NS), None);
        assert_eq!(since_earlier_boot(then, then + i64::try_from(super::PLAUSIBLE_NS).unwrap() + 1, 1), None);
        assert_eq!(since_earlier_boot(i64::MIN, i64::MAX, 1), None);
    }
}
