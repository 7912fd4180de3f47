//! Taking up what was interrupted: at start, when a missing storage comes back, or when somebody has decided.

use std::collections::HashMap;
use std::sync::Arc;

use holdfast_dbus::{AlertCode, Error, ErrorCode};
use holdfast_records::{Interruption, Record};
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::{Carried, Engine, Later};
use crate::clock;
use crate::facade::{Call, News};
use crate::resume::{Why, since_earlier_boot};
use crate::session::{Event, session_in};
use crate::startup::{Continued, Found, Outcome, Recovery};
use crate::store::{Job, Noted};

/// Calls that come while a storage is looked through are kept until that is done. More are told to come back.
const MAX_HELD: usize = 64;

/// What was interrupted, for whoever wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryView {
    /// The session that waits for a person.
    pub waiting: Option<String>,
    /// The last one that went on.
    pub last: Option<Resumed>,
}

/// How a session went on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Which.
    pub session: String,
    /// As far as it is known, why it was interrupted.
    pub interruption: Interruption,
    /// From the start of the kernel to the first safe footage.
    pub boot_to_safe_ns: u64,
    /// From the start of the recorder to the first safe footage.
    pub recorder_to_safe_ns: u64,
    /// When, Unix time.
    pub wall_ns: i64,
}

/// What the engine needs for it.
pub struct Resumption {
    /// Looks through the storage.
    pub recovery: Arc<Recovery>,
    /// What is shown of it.
    pub view: watch::Sender<RecoveryView>,
    /// When this recorder was started (`CLOCK_BOOTTIME`).
    pub started_boottime_ns: u64,
    /// The storage was missing: it is looked through when it is there.
    pub postponed: bool,
    /// It is being looked through now.
    pub under_way: bool,
    /// Calls that wait for that. At most [`MAX_HELD`].
    pub held: Vec<Call>,
    /// A session goes on, and nothing is safe yet.
    pub not_safe_yet: Option<(String, Interruption)>,
    /// Of the session that goes on: end of its last safe frame by input, as a label.
    pub safe_until_wall_ns: HashMap<String, i64>,
    /// What it has beyond what its inputs can tell.
    pub carried: Carried,
}

impl Resumption {
    /// Nothing is under way.
    pub fn new(recovery: Arc<Recovery>, view: watch::Sender<RecoveryView>, started_boottime_ns: u64) -> Self {
        Self {
            recovery,
            view,
            started_boottime_ns,
            postponed: false,
            under_way: false,
            held: Vec::new(),
            not_safe_yet: None,
            safe_until_wall_ns: HashMap::new(),
            carried: Carried::default(),
        }
    }
}

impl Engine {
    /// Acts on what a look through the storage has led to.
    pub fn recovered(&mut self, outcome: Outcome) {
        self.machine.learn(outcome.tokens);
        // Sessions that nobody could see before.
        self.tell_news(News::Found);
        let state = &mut self.resumption;
        (state.postponed, state.under_way) = (outcome.postponed, false);
        state
            .view
            .send_if_modified(|view| std::mem::replace(&mut view.waiting, outcome.waiting.clone()) != outcome.waiting);
        if let Some(continued) = outcome.continued {
            self.take_up(continued);
        }
        for call in std::mem::take(&mut self.resumption.held) {
            self.take(call);
        }
    }

    /// Takes up a session; the machine must be at rest.
    fn take_up(&mut self, continued: Continued) {
        let Continued { session, before, carried, recording, stop, interruption } = continued;
        let state = &mut self.resumption;
        let labels = before.iter().map(|(input, before)| (input.clone(), before.safe_until_wall_ns));
        state.safe_until_wall_ns = labels.collect();
        // Of this boot: its journal goes on counting from there.
        let elapsed_ns = carried.since_mono_ns.is_none().then_some(carried.elapsed_ns);
        state.carried = carried;
        state.not_safe_yet = interruption.map(|interruption| (session.id.clone(), interruption));
        self.before = before;
        let (done, _) = oneshot::channel();
        if let Err(error) = self.keeper.hand(Job::Reopen(session.clone(), elapsed_ns, done)) {
            warn!(session = session.id, "its journal is not taken up: {error}");
        }
        let id = session.id.clone();
        self.feed(Event::Continue { session, recording });
        if stop {
            info!(session = id, "it was to be stopped before the recorder ended; that is done now");
            self.feed(Event::Stop { request: None, id: Some(id) });
        }
    }

    /// A storage that was missing at start is there: what is on it is recovered, and goes on.
    pub fn storage_is_there(&mut self) {
        if !self.resumption.postponed || self.resumption.under_way {
            return;
        }
        if session_in(self.machine.state()).is_some() {
            // A recording that was begun meanwhile has decided it.
            self.resumption.postponed = false;
            return;
        }
        info!("the storage is there; looking for what was interrupted");
        self.resumption.under_way = true;
        let recovery = Arc::clone(&self.resumption.recovery);
        let looking = tokio::task::spawn_blocking(move || recovery.run(&Found::new()));
        self.later.push(Box::pin(async move {
            let outcome = looking.await.unwrap_or_else(|_| Outcome { postponed: true, ..Outcome::default() });
            Later::Recovered(Box::new(outcome))
        }));
    }

    /// While a storage is looked through, commands wait for what is found: a Start might be for the session that goes on.
    pub(super) fn held(&mut self, call: Call) -> Option<Call> {
        let waits = matches!(call, Call::Start { .. } | Call::Resume { .. } | Call::Dismiss { .. });
        if !self.resumption.under_way || !waits || self.resumption.held.len() >= MAX_HELD {
            return Some(call);
        }
        self.resumption.held.push(call);
        None
    }

    /// Somebody wants a session that waits to go on.
    pub(super) fn resume(&mut self, id: String, answer: Noted) {
        if let Err(error) = self.is_waiting(&id) {
            return drop(answer.send(Err(error)));
        }
        if let Some(running) = session_in(self.machine.state()) {
            let text = format!("session {} is being recorded; stop it first", running.id);
            let error = Error::new(ErrorCode::AlreadyRecording, text).with("session", running.id.clone());
            return drop(answer.send(Err(error)));
        }
        self.resumption.under_way = true;
        let recovery = Arc::clone(&self.resumption.recovery);
        let looking = tokio::task::spawn_blocking(move || recovery.resume(&id));
        self.later.push(Box::pin(async move {
            let continued = looking.await.ok().flatten();
            Later::Resumed(continued.map(Box::new), answer)
        }));
    }

    pub(super) fn resumed(&mut self, continued: Option<Continued>, answer: Noted) {
        self.resumption.under_way = false;
        let result = match continued {
            Some(continued) => {
                let id = continued.session.id.clone();
                self.waits_no_more(&id);
                self.take_up(continued);
                Ok(())
            }
            None => Err(Error::new(ErrorCode::UnknownSession, "none of its inputs is configured, or it is gone")),
        };
        let _ = answer.send(result);
        for call in std::mem::take(&mut self.resumption.held) {
            self.take(call);
        }
    }

    /// Somebody does not want it to go on.
    pub(super) fn dismiss(&mut self, id: String, answer: Noted) {
        match self.is_waiting(&id) {
            Ok(()) => self.close_waiting(id, Why::Dismissed, Some(answer)),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn close_waiting(&mut self, id: String, why: Why, answer: Option<Noted>) {
        self.waits_no_more(&id);
        let recovery = Arc::clone(&self.resumption.recovery);
        let closed = id.clone();
        let closing = tokio::task::spawn_blocking(move || recovery.dismiss(&closed, why));
        self.later.push(Box::pin(async move {
            let _ = closing.await;
            Later::Dismissed(id, answer)
        }));
    }

    pub(super) fn dismissed(&mut self, id: &str, answer: Option<Noted>) {
        info!(session = id, "closed as interrupted");
        self.resumption.recovery.alerts.clear(AlertCode::SessionInterrupted, id);
        if let Some(answer) = answer {
            let _ = answer.send(Ok(()));
        }
    }

    fn is_waiting(&self, id: &str) -> Result<(), Error> {
        match &self.resumption.view.borrow().waiting {
            Some(waiting) if waiting == id => Ok(()),
            Some(waiting) => {
                let text = format!("session {id} does not wait to be resumed, session {waiting} does");
                Err(Error::new(ErrorCode::UnknownSession, text).with("session", waiting.clone()))
            }
            None => Err(Error::new(ErrorCode::UnknownSession, "no session waits to be resumed")),
        }
    }

    fn waits_no_more(&self, id: &str) {
        self.resumption.view.send_modify(|view| view.waiting = None);
        self.resumption.recovery.alerts.clear(AlertCode::ResumeWaiting, id);
    }

    /// A new session begins: what was told of earlier ones is history, and one that waits was decided about.
    pub(super) fn begins_anew(&mut self) {
        self.resumption.carried = Carried::default();
        self.resumption.safe_until_wall_ns.clear();
        self.resumption.not_safe_yet = None;
        let alerts = &self.resumption.recovery.alerts;
        for alert in alerts.list().iter().filter(|alert| alert.is_active()) {
            if matches!(alert.code, AlertCode::SessionInterrupted | AlertCode::Crashed) {
                alerts.clear(alert.code, &alert.source);
            }
        }
        let waiting = self.resumption.view.borrow().waiting.clone();
        if let Some(waiting) = waiting {
            self.close_waiting(waiting, Why::Superseded, None);
        }
    }

    /// The first footage after an interruption is safe: how long that took is written down and told.
    pub(super) fn safe_again(&mut self, session: &str) {
        let waited = self.resumption.not_safe_yet.take_if(|(id, _)| id == session);
        let Some((session, interruption)) = waited else { return };
        let (wall_ns, boottime_ns) = (clock::wall_ns(), clock::uptime_ns());
        let recorder_ns = boottime_ns.saturating_sub(self.resumption.started_boottime_ns);
        info!(
            session,
            boot_to_safe_ms = boottime_ns / 1_000_000,
            recorder_to_safe_ms = recorder_ns / 1_000_000,
            reason = interruption.reason,
            rebooted = interruption.rebooted,
            "recording again"
        );
        self.keeper.note(&session, Record::SafeAgain { wall_ns, boottime_ns, recorder_ns });
        let resumed =
            Resumed { session, interruption, boot_to_safe_ns: boottime_ns, recorder_to_safe_ns: recorder_ns, wall_ns };
        self.resumption.view.send_modify(|view| view.last = Some(resumed));
    }

    /// How long an input's gap over a restart of the box was, by the wall clocks; 0 where they can't tell.
    pub(super) fn gap_over_reboot_ms(&self, session: &str, input: &str) -> u64 {
        let is_current = session_in(self.machine.state()).is_some_and(|current| current.id == session);
        let until = self.resumption.safe_until_wall_ns.get(input).filter(|_| is_current);
        let gap_ns = until.and_then(|until| since_earlier_boot(*until, clock::wall_ns(), clock::uptime_ns()));
        gap_ns.map_or(0, |gap_ns| gap_ns / 1_000_000)
    }

    /// The wall clock was set: the journal of the session says so, and its labels are put right.
    pub(super) fn clock_stepped(&self, by_ns: i64) {
        warn!(by_ms = by_ns / 1_000_000, "the wall clock was set; durations and order are not touched");
        let Some(session) = session_in(self.machine.state()) else { return };
        let record = Record::ClockStepped {
            wall_ns: clock::wall_ns(),
            mono_ns: clock::mono_ns(),
            boot_id: clock::boot_id().0,
            by_ns,
        };
        self.keeper.note(&session.id, record);
    }
}
