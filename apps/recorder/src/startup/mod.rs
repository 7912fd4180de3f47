//! From a cold start to a recorder that serves: what is running is found, what was left open is closed, what was interrupted
//! goes on. Nothing new is written before that. The same is done once more when a storage that was missing comes back.

mod candidate;
mod disk;
pub mod evidence;
mod files;
pub mod reason;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_config::Storage;
use holdfast_dbus::AlertCode;
use holdfast_link::GapCause;
use holdfast_records::{EndTotals, Interruption, Record, Tally};
use holdfast_segment::CloseReason;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::alerts::Alerts;
use crate::captures::Report;
use crate::engine::{Before, Carried};
use crate::resume::{Facts, Fate, Policy, Why, Witness, fate};
use crate::session::Session;
use crate::store::state::State;
use crate::store::{Catalog, Closing, Deleted, End, Job, Keeper, Summary};
use crate::{clock, guard, storage};
use candidate::Candidate;
use disk::Survey;
use files::{note_of, note_unheard_files, recover_files};
use reason::Evidence;

/// Captures that run answer within this time; later ones are found when they do.
const FIND_PATIENCE: Duration = Duration::from_secs(3);
/// How far back interrupted sessions are looked for.
const LOOK_BACK: usize = 50;

/// Sessions whose tokens are remembered over a restart.
const REMEMBERED_TOKENS: usize = 256;

/// What runs, by input.
pub type Found = HashMap<usize, (Option<String>, bool)>;

/// Hears what each supervisor finds.
pub async fn find(inputs: usize, reports: &mut mpsc::Receiver<(usize, Report)>) -> Found {
    let deadline = Instant::now() + FIND_PATIENCE;
    let mut found = Found::new();
    while found.len() < inputs {
        match timeout_at(deadline, reports.recv()).await {
            Ok(Some((index, Report::Found { session, recording }))) => drop(found.insert(index, (session, recording))),
            Ok(Some(_)) => (),
            Ok(None) => break,
            Err(_) => {
                warn!("{} of {inputs} inputs did not say what they do; going on without", inputs - found.len());
                break;
            }
        }
    }
    found
}

/// A session that goes on.
#[derive(Debug)]
pub struct Continued {
    /// The session.
    pub session: Session,
    /// What its inputs made of it before.
    pub before: HashMap<String, Before>,
    /// What it has beyond what its inputs can tell.
    pub carried: Carried,
    /// Captures are recording it right now.
    pub recording: bool,
    /// It was to be stopped: that is done now.
    pub stop: bool,
    /// It had been interrupted.
    pub interruption: Option<Interruption>,
}

/// What a look at the storage has led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The session that goes on.
    pub continued: Option<Continued>,
    /// The session that waits for a person.
    pub waiting: Option<String>,
    /// The storage was not there: to be done again when it is.
    pub postponed: bool,
    /// Tokens of the newest sessions, oldest first.
    pub tokens: Vec<(String, String)>,
}

/// All that recovery needs to know. What it does blocks on the disk.
pub struct Recovery {
    /// Knows the sessions.
    pub catalog: Arc<Catalog>,
    /// Writes.
    pub keeper: Keeper,
    /// Told what was found.
    pub alerts: Alerts,
    /// Where footage is.
    pub storage: Storage,
    /// Where blocks that were never written go back to.
    pub pool: PathBuf,
    /// The configured inputs.
    pub names: Vec<String>,
    /// What the configuration wants.
    pub policy: Policy,
    /// What the last recorder left.
    pub state: State,
    /// What is known of its end.
    pub evidence: Evidence,
}

impl Recovery {
    /// Closes what a crash left open, and decides what becomes of the sessions that were interrupted.
    pub fn run(&self, found: &Found) -> Outcome {
        let status = storage::measure(&self.storage);
        if status.level == storage::Level::Unavailable {
            error!("the storage is not available, nothing is recovered before it is: {}", status.message);
            return Outcome { postponed: true, ..Outcome::default() };
        }
        // Closing files takes room, and the disk may be why they were not closed.
        guard::make_room(&self.storage);
        let recovered = recover_files(self.catalog.root(), &self.pool);
        let candidates: Vec<Candidate> = self
            .catalog
            .list(LOOK_BACK, None)
            .iter()
            .filter_map(|id| self.catalog.get(id))
            .filter_map(|summary| self.mended(summary))
            .map(|summary| self.candidate(summary))
            .collect();
        for (session, input, file) in &recovered {
            if self.catalog.get(session).is_some() {
                self.keeper.note(session, note_of(input, file));
            }
        }
        let running: BTreeSet<&str> = found.values().filter_map(|(session, _)| session.as_deref()).collect();
        let last = self.last(&candidates, &running);
        let mut outcome = Outcome { tokens: self.tokens(), ..Outcome::default() };
        for candidate in &candidates {
            let id = candidate.summary.id.as_str();
            let facts = self.facts(candidate, last.as_deref() == Some(id), running.contains(id));
            let fate = fate(&facts, &self.policy);
            if fate != Fate::Rests {
                info!(session = id, ?fate, age_s = facts.age_ns.map(|age| age / 1_000_000_000), "found without an end");
            }
            match fate {
                Fate::Rests => (),
                // Of several that are being recorded, the newest goes on; the others' captures are told to close them.
                Fate::GoesOn | Fate::IsStopped if last.as_deref() != Some(id) => {
                    self.close(candidate, Some(Why::Another))
                }
                Fate::GoesOn => outcome.continued = self.take_up(candidate, found, None, false),
                Fate::IsStopped => outcome.continued = self.take_up(candidate, found, None, true),
                Fate::Resumes => {
                    let interruption = self.interruption(candidate, &facts, "it goes on");
                    outcome.continued = self.take_up(candidate, found, Some(interruption), false);
                }
                Fate::Waits => {
                    self.interruption(candidate, &facts, "it waits for somebody to decide");
                    let text = format!("session {id} was interrupted and waits: resume or dismiss it");
                    self.alerts.raise(AlertCode::ResumeWaiting, id, text);
                    outcome.waiting = Some(id.to_owned());
                }
                Fate::EndsAsStopped(witness) => {
                    info!(session = id, ?witness, "it was stopped before it could be written down");
                    self.close(candidate, None);
                }
                Fate::Closes(why) => {
                    self.interruption(candidate, &facts, why.text());
                    self.close(candidate, Some(why));
                }
            }
        }
        outcome
    }

    fn tokens(&self) -> Vec<(String, String)> {
        let ids = self.catalog.list(REMEMBERED_TOKENS, None).into_iter().rev();
        let sessions = ids.filter_map(|id| self.catalog.get(&id)).filter(|session| !session.token.is_empty());
        sessions.map(|session| (session.token.clone(), session.id.clone())).collect()
    }

    /// A session that waits is taken up after all. `None` if it is not there any more.
    pub fn resume(&self, id: &str) -> Option<Continued> {
        let candidate = self.candidate(self.catalog.get(id)?);
        let interruption = candidate.summary.interruptions.last().cloned();
        self.take_up(&candidate, &Found::new(), Some(interruption.unwrap_or_default()), false)
    }

    /// A session that waits is closed.
    pub fn dismiss(&self, id: &str, why: Why) {
        if let Some(summary) = self.catalog.get(id) {
            self.close(&self.candidate(summary), Some(why));
        }
        self.alerts.clear(AlertCode::ResumeWaiting, id);
    }

    /// A damaged journal is mended before anything is decided by it.
    fn mended(&self, summary: Arc<Summary>) -> Option<Arc<Summary>> {
        let Some(damage) = &summary.damage else { return Some(summary) };
        warn!(session = summary.id, "{damage}");
        let (done, mended) = tokio::sync::oneshot::channel();
        match self.keeper.hand(Job::Mend(summary.id.clone(), done)) {
            Ok(()) => drop(mended.blocking_recv()),
            Err(error) => warn!(session = summary.id, "not mended now: {error}"),
        }
        self.catalog.get(&summary.id)
    }

    fn candidate(&self, summary: Arc<Summary>) -> Candidate {
        let ended = matches!(summary.end, End::Stopped | End::Interrupted);
        let dir = self.catalog.dir(&summary.id).unwrap_or_default();
        // Of sessions that have ended, nobody asks.
        let inputs = if ended { Vec::new() } else { crate::store::directories(&dir) };
        let mut surveys: BTreeMap<_, _> =
            inputs.into_iter().map(|input| (input.clone(), disk::survey(&dir.join(input)))).collect();
        // What retention is at may be of a session that waits.
        let summary = self.catalog.get(&summary.id).unwrap_or(summary);
        if !ended {
            // Also those of whose files none is left.
            for input in summary.deleted.keys() {
                surveys.entry(input.clone()).or_default();
            }
        }
        for (input, survey) in &mut surveys {
            survey.add_up(summary.deleted.get(input).unwrap_or(&Deleted::default()));
        }
        Candidate { summary, surveys }
    }

    /// Which session was being recorded last.
    fn last(&self, candidates: &[Candidate], running: &BTreeSet<&str>) -> Option<String> {
        // What captures record goes first, whatever else is remembered; ids sort by time.
        if let Some(id) = running.last() {
            return Some((*id).to_owned());
        }
        let mut open = candidates.iter().filter(|candidate| candidate.is_cut_off()).map(|found| &found.summary.id);
        let remembered = self.state.session.as_ref();
        open.clone().find(|id| Some(*id) == remembered).or_else(|| open.next()).cloned()
    }

    fn facts(&self, candidate: &Candidate, is_last: bool, recorded_now: bool) -> Facts {
        let summary = &candidate.summary;
        let stopped_file = |survey: &Survey| survey.last.as_ref().is_some_and(|last| last.reason == CloseReason::Stop);
        let stop = match () {
            () if summary.stop_asked || summary.end == End::Stopped => Some(Witness::Journal),
            () if self.state.ended.contains(&summary.id) => Some(Witness::State),
            () if candidate.surveys.values().any(stopped_file) => Some(Witness::Files),
            () => None,
        };
        let names = candidate.surveys.keys().chain(&summary.inputs);
        Facts {
            recorded_now,
            stop,
            has_ended: matches!(summary.end, End::Stopped | End::Interrupted),
            was_cut_off: candidate.is_cut_off(),
            is_last,
            has_inputs: names.clone().any(|name| self.names.contains(name)),
            age_ns: candidate.age_ns(),
        }
    }

    /// Writes down that a session was interrupted, and tells whoever should know.
    fn interruption(&self, candidate: &Candidate, facts: &Facts, what: &str) -> Interruption {
        let summary = &candidate.summary;
        let safe_until_wall_ns = candidate.last().map_or(0, |last| last.end_wall_ns);
        let reason = reason::judge(&self.evidence, safe_until_wall_ns);
        let boot_id = candidate.last().map_or(summary.boot_id, |last| last.boot_id);
        let interruption = Interruption {
            reason: reason.name.to_owned(),
            evidence: reason.evidence.clone(),
            rebooted: boot_id != clock::boot_id().0,
            safe_until_wall_ns,
            found_wall_ns: clock::wall_ns(),
            since_ns: facts.age_ns,
        };
        // One that waits is found at each start; it was interrupted once.
        let known = summary.interruptions.last();
        if known.is_none_or(|known| known.safe_until_wall_ns != safe_until_wall_ns) {
            let (done, noted) = tokio::sync::oneshot::channel();
            let record = Record::Interruption(interruption.clone());
            match self.keeper.hand(Job::Note(summary.id.clone(), record, Some(done))) {
                // Whoever asks first must find it.
                Ok(()) => drop(noted.blocking_recv()),
                Err(error) => warn!(session = summary.id, "not noted: {error}"),
            }
        }
        let since = match facts.age_ns {
            Some(age_ns) => format!("{} s ago", age_ns / 1_000_000_000),
            None => "nobody knows how long ago".to_owned(),
        };
        let text = format!(
            "session {} was interrupted {since}; reason: {} ({}); {what}",
            summary.id, reason.name, reason.evidence
        );
        self.alerts.raise(AlertCode::SessionInterrupted, &summary.id, text);
        interruption
    }

    fn take_up(
        &self,
        candidate: &Candidate,
        found: &Found,
        interruption: Option<Interruption>,
        stop: bool,
    ) -> Option<Continued> {
        let summary = &candidate.summary;
        let dir = self.catalog.dir(&summary.id)?;
        let boot_id = clock::boot_id().0;
        // A session without a journal is known by its files alone; what records it belongs to it.
        let recorded_now =
            |index: usize| found.get(&index).is_some_and(|(session, _)| session.as_deref() == Some(&summary.id));
        let takes_part = |name: &String| summary.inputs.contains(name) || candidate.surveys.contains_key(name);
        let (mut inputs, mut before, mut recording) = (Vec::new(), HashMap::new(), false);
        for (index, name) in
            self.names.iter().enumerate().filter(|(index, name)| takes_part(name) || recorded_now(*index))
        {
            let is_recorded = recorded_now(index);
            recording |= is_recorded && found.get(&index).is_some_and(|(_, recording)| *recording);
            note_unheard_files(&self.keeper, summary, name, &dir.join(name));
            let survey = candidate.surveys.get(name);
            let last = survey.and_then(|survey| survey.last.as_ref());
            let base = match survey {
                _ if is_recorded => summary.bases.get(name).cloned().unwrap_or_default(),
                Some(survey) => survey.tally.clone(),
                None => Tally::default(),
            };
            let earlier = Before {
                base,
                past_sequence: summary.past_sequence(name),
                safe_until_mono_ns: last.filter(|_| !is_recorded).map_or(0, |last| last.end_mono_ns),
                cause: match last {
                    Some(last) if last.boot_id != boot_id && !is_recorded => GapCause::Reboot,
                    _ => GapCause::CaptureDied,
                },
                safe_until_wall_ns: last.map_or(0, |last| last.end_wall_ns),
            };
            before.insert(name.clone(), earlier);
            inputs.push(name.clone());
        }
        if inputs.is_empty() {
            self.close(candidate, Some(Why::NoInputs));
            return None;
        }
        let gone: Vec<_> = candidate.surveys.iter().filter(|(name, _)| !inputs.contains(name)).collect();
        if !gone.is_empty() {
            let names: Vec<_> = gone.iter().map(|(name, _)| name.as_str()).collect();
            warn!(session = summary.id, inputs = names.join(" "), "not configured any more; it goes on without");
        }
        let carried = Carried {
            since_mono_ns: (summary.boot_id == boot_id && summary.mono_ns > 0).then_some(summary.mono_ns),
            elapsed_ns: if summary.boot_id == boot_id { summary.elapsed_ns } else { candidate.elapsed_ns() },
            safe_frames: gone.iter().map(|(_, survey)| survey.tally.safe).sum(),
            safe_bytes: gone.iter().map(|(_, survey)| survey.tally.safe_bytes).sum(),
            lost_frames: gone.iter().filter_map(|(name, _)| summary.bases.get(*name)).map(Tally::lost).sum(),
        };
        info!(session = summary.id, recording, inputs = inputs.join(" "), "the session goes on");
        let session =
            Session { id: summary.id.clone(), label: summary.label.clone(), token: summary.token.clone(), inputs };
        Some(Continued { session, before, carried, recording, stop, interruption })
    }

    /// Ends a session that does not go on: as interrupted, or, without a why, as stopped.
    fn close(&self, candidate: &Candidate, why: Option<Why>) {
        let summary = &candidate.summary;
        if let Some(why) = why {
            warn!(session = summary.id, "the session was interrupted and is closed: {}", why.text());
        }
        let tallies = || candidate.surveys.values().map(|survey| &survey.tally);
        let totals = EndTotals {
            safe_frames: tallies().map(|tally| tally.safe).sum(),
            safe_bytes: tallies().map(|tally| tally.safe_bytes).sum(),
            duration_ns: candidate.elapsed_ns(),
            lost_frames: summary.bases.values().map(Tally::lost).sum(),
            ..EndTotals::default()
        };
        let (done, kept) = tokio::sync::oneshot::channel();
        let interrupted = why.map(|why| why.text().to_owned());
        let closing = Closing { id: summary.id.clone(), interrupted, totals, done };
        match self.keeper.hand(Job::Close(closing)) {
            // Whoever asks first must not find the session without what was recovered.
            Ok(()) => drop(kept.blocking_recv()),
            Err(error) => warn!(session = summary.id, "not noted: {error}"),
        }
    }
}
