//! What is true of the recorder now, as far as a panel tells it: only what is *safe* counts, and only as long as it
//! is heard of.
//!
//! A pure core: [`Snapshot`]s and the time in, [`Conditions`] out. It believes no state alone. That an input records
//! is true while both its safe frames and its safe bytes have advanced within [`PATIENCE_NS`]; that the recorder is
//! well is true while a snapshot is younger than [`SILENCE_NS`]. The panel therefore shows a stall at the latest
//! [`PATIENCE_NS`] after the last snapshot that told of something newly safe.

mod condition;
#[cfg(test)]
pub(crate) mod tests;
mod track;

use std::collections::BTreeMap;

pub use self::condition::{Condition, Hours};
use self::track::{Progress, Track};
use crate::snapshot::{AlertRank, InputSnapshot, Snapshot, State, StorageLevel, Update};

/// So long a light believes what was safe last: without newly safe footage it shows a stall then.
pub const PATIENCE_NS: u64 = 2_000_000_000;
/// So long it believes without news of the recorder; then it shows a fault. A little less than the two seconds that are promised, in
/// which the light itself has to change.
pub const SILENCE_NS: u64 = 1_800_000_000;
/// So long an input that has made nothing safe yet in this session may take to begin: a camera that was not armed
/// connects first.
pub const BEGINNING_NS: u64 = 10_000_000_000;
/// The session's time shown is anchored anew only when it is off by so much: reading it takes a moment, now longer,
/// now shorter.
const CLOCK_SLACK_NS: u64 = 500_000_000;

/// Conditions that hold, each with the moment since when (monotonic nanoseconds).
pub type Standing = BTreeMap<Condition, u64>;

/// All that holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Of the whole box.
    pub whole: Standing,
    /// Of each configured input by its name. Empty while nothing is heard of the recorder.
    pub inputs: BTreeMap<String, Standing>,
    /// When the session being recorded began, monotonic nanoseconds.
    pub session_since_ns: Option<u64>,
    /// Until recordings are closed for want of room, seconds, where it is known.
    pub seconds_left: Option<u64>,
}

/// Remembers what was heard.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    last: Option<Snapshot>,
    session: Option<Session>,
    told: Conditions,
}

#[derive(Debug, Clone)]
struct Session {
    path: String,
    /// First heard of.
    seen_ns: u64,
    /// Began, as far as its duration tells.
    since_ns: u64,
    tracks: BTreeMap<String, Track>,
}

impl Truth {
    /// Nothing heard yet: that is a fault until the first snapshot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The recorder was read. One that is not newer than the last is left out.
    pub fn hear(&mut self, snapshot: Snapshot) {
        if self.last.as_ref().is_some_and(|last| snapshot.at_ns < last.at_ns) {
            return;
        }
        self.session = match (snapshot.session.as_deref(), self.session.take()) {
            (None, _) => None,
            (Some(path), Some(session)) if session.path == path => Some(session.goes_on(&snapshot)),
            (Some(path), _) => Some(Session::begins(path, &snapshot)),
        };
        self.last = Some(snapshot);
    }

    /// What holds at `now_ns`. What held the last time this was asked keeps its beginning.
    pub fn conditions(&mut self, now_ns: u64) -> Conditions {
        let mut new = self.judge(now_ns);
        keep_beginnings(&mut new.whole, &self.told.whole);
        for (name, standing) in &mut new.inputs {
            if let Some(before) = self.told.inputs.get(name) {
                keep_beginnings(standing, before);
            }
        }
        self.told = new.clone();
        new
    }

    /// When the conditions change next if nothing is heard until then; `None`: they don't.
    #[must_use]
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let last = self.last.as_ref()?;
        let silent = last.at_ns.saturating_add(SILENCE_NS);
        let session = self.session.as_ref();
        let lapses = session.into_iter().flat_map(|s| s.tracks.values().map(Track::lapses_ns).chain([s.lapses_ns()]));
        if silent <= now_ns { None } else { lapses.chain([silent]).filter(|at| *at > now_ns).min() }
    }

    fn judge(&self, now_ns: u64) -> Conditions {
        let mut new = Conditions::default();
        let Some(last) = self.last.as_ref().filter(|last| now_ns < last.at_ns.saturating_add(SILENCE_NS)) else {
            new.whole.insert(Condition::Fault, now_ns);
            return new;
        };
        let barred = barred(last);
        let records = records(last.state);
        for input in &last.inputs {
            let condition = match (&self.session, records && input.in_session) {
                (Some(session), true) => Some(session.input(last.state, input, now_ns)),
                _ if barred || input.failed => Some(Condition::NotPossible),
                _ => input.ready.then_some(Condition::Armed),
            };
            new.inputs.insert(input.name.clone(), condition.map(|c| (c, now_ns)).into_iter().collect());
        }
        let holds = match &self.session {
            Some(session) if records => vec![session.whole(last, &new.inputs, now_ns)],
            // It says that it records, but not what: nothing that could be shown as safe.
            None if records => {
                vec![if last.state == State::Stopping { Condition::Stopping } else { Condition::Starting }]
            }
            _ if barred => vec![Condition::NotPossible],
            _ if last.inputs.iter().any(|input| input.ready) => vec![Condition::Armed, Condition::Ready],
            _ => vec![Condition::Resting],
        };
        let more = [
            storage(last, records),
            match last.alert {
                AlertRank::None if !records && last.inputs.iter().any(|input| input.failed) => Some(Condition::Warning),
                AlertRank::None => None,
                AlertRank::Warning => Some(Condition::Warning),
                AlertRank::Critical => Some(Condition::Critical),
            },
            match last.update {
                Update::None => None,
                Update::Available => Some(Condition::UpdateAvailable),
                Update::Copying => Some(Condition::UpdateCopying),
                Update::Installing => Some(Condition::Updating),
                Update::Trial => Some(Condition::TrialBoot),
            },
        ];
        new.whole = holds.into_iter().chain(more.into_iter().flatten()).map(|c| (c, now_ns)).collect();
        new.session_since_ns = self.session.as_ref().map(|session| session.since_ns);
        new.seconds_left = last.seconds_left;
        new
    }
}

impl Session {
    fn begins(path: &str, snapshot: &Snapshot) -> Self {
        let mut session = Self {
            path: path.to_owned(),
            seen_ns: snapshot.at_ns,
            since_ns: began_ns(snapshot),
            tracks: BTreeMap::new(),
        };
        session.count(snapshot);
        session
    }

    fn goes_on(mut self, snapshot: &Snapshot) -> Self {
        let began_ns = began_ns(snapshot);
        if began_ns.abs_diff(self.since_ns) > CLOCK_SLACK_NS {
            self.since_ns = began_ns;
        }
        self.count(snapshot);
        self
    }

    /// Inputs that have left the session are forgotten: one that comes back has to prove itself anew.
    fn count(&mut self, snapshot: &Snapshot) {
        self.tracks.retain(|name, _| snapshot.inputs.iter().any(|input| input.in_session && input.name == *name));
        for input in snapshot.inputs.iter().filter(|input| input.in_session) {
            match self.tracks.get_mut(&input.name) {
                Some(track) => track.counts(input, snapshot.at_ns),
                None => {
                    self.tracks.insert(input.name.clone(), Track::begin(input, snapshot.at_ns));
                }
            }
        }
    }

    /// A session in which nothing takes part makes nothing safe.
    fn lapses_ns(&self) -> u64 {
        self.seen_ns.saturating_add(BEGINNING_NS)
    }

    fn input(&self, state: State, input: &InputSnapshot, now_ns: u64) -> Condition {
        let progress = self.tracks.get(&input.name).map_or(Progress::Stalled, |track| track.progress(now_ns));
        match progress {
            _ if state == State::Stopping => Condition::Stopping,
            _ if input.failed => Condition::Stalled,
            Progress::Stalled => Condition::Stalled,
            Progress::Begins => Condition::Starting,
            Progress::Advances => Condition::Recording,
        }
    }

    /// The worst input that takes part.
    fn whole(&self, last: &Snapshot, inputs: &BTreeMap<String, Standing>, now_ns: u64) -> Condition {
        let part = last.inputs.iter().filter(|input| input.in_session);
        let worst = part.filter_map(|input| inputs.get(&input.name)?.keys().max().copied()).max();
        match (last.state, worst) {
            (State::Stopping, _) => Condition::Stopping,
            (_, None) if now_ns >= self.lapses_ns() => Condition::Stalled,
            (_, None) => Condition::Starting,
            // The recorder does not call anything safe yet, whatever the counts say.
            (State::Starting, Some(worst)) => worst.max(Condition::Starting),
            (_, Some(worst)) => worst,
        }
    }
}

fn records(state: State) -> bool {
    match state {
        State::Starting | State::Recording | State::Stopping => true,
        State::Idle | State::Error => false,
    }
}

/// A press would be refused, or nothing would come of it.
fn barred(last: &Snapshot) -> bool {
    last.state == State::Error || last.storage >= StorageLevel::Low || last.inputs.iter().all(|input| input.failed)
}

fn storage(last: &Snapshot, records: bool) -> Option<Condition> {
    match last.storage {
        StorageLevel::Ok => None,
        StorageLevel::Warn | StorageLevel::Low => Some(Condition::StorageLow(Hours::of_seconds(last.seconds_left))),
        StorageLevel::Critical | StorageLevel::Unavailable if records => Some(Condition::Critical),
        StorageLevel::Critical | StorageLevel::Unavailable => None,
    }
}

fn began_ns(snapshot: &Snapshot) -> u64 {
    snapshot.at_ns.saturating_sub(snapshot.duration_usec.saturating_mul(1000))
}

fn keep_beginnings(new: &mut Standing, before: &Standing) {
    for (condition, since_ns) in new {
        if let Some(began_ns) = before.get(condition) {
            *since_ns = *began_ns;
        }
    }
}
