//! What everyone may see and ask: the seam between the engine and those who talk to it (D-Bus today).

use std::sync::Arc;

use holdfast_config::Config;
use holdfast_dbus::{Error, ErrorCode, Totals, session_path};
use holdfast_records::EndTotals;
use tokio::sync::{mpsc, oneshot, watch};

use crate::alerts::Alerts;
use crate::captures::InputView;
use crate::checking::Checker;
use crate::engine::{Carried, RecoveryView};
use crate::guard::{ballast, cleaner};
use crate::lessor::Desk;
use crate::metrics::Observed;
use crate::probing::Reach;
use crate::reports::Reports;
use crate::store::{Catalog, Noted, Summary};
use crate::{pressure, storage};

/// Where a Start is answered: session id, and whether it is new.
pub type StartAnswer = oneshot::Sender<Result<(String, bool), Error>>;
/// Where a Stop is answered: session id and what it amounted to.
pub type StopAnswer = oneshot::Sender<Result<(String, EndTotals), Error>>;

/// What can be asked of the engine. All commands go through one mailbox, in order.
#[derive(Debug)]
pub enum Call {
    /// Record.
    Start {
        /// Which inputs; all when empty.
        inputs: Vec<String>,
        /// Text for people.
        label: String,
        /// Idempotency token or empty.
        token: String,
        /// Follows this call through all logs.
        trace: u64,
        /// The answer.
        answer: StartAnswer,
    },
    /// Stop recording.
    Stop {
        /// Only this session.
        session: Option<String>,
        /// Follows this call through all logs.
        trace: u64,
        /// The answer.
        answer: StopAnswer,
    },
    /// Note a chapter.
    Mark {
        /// What to say.
        text: String,
        /// The answer.
        answer: Noted,
    },
    /// Keep inputs running between recordings, or let them rest.
    Arm {
        /// Which; all when empty.
        inputs: Vec<String>,
        /// Armed?
        armed: bool,
        /// The answer.
        answer: Noted,
    },
    /// Take up a session that waits.
    Resume {
        /// Which.
        session: String,
        /// The answer.
        answer: Noted,
    },
    /// Close a session that waits.
    Dismiss {
        /// Which.
        session: String,
        /// The answer.
        answer: Noted,
    },
    /// The wall clock was set.
    ClockStepped {
        /// By so much.
        by_ns: i64,
    },
    /// Guard a session against deletion, or no longer.
    Protect {
        /// Which.
        session: String,
        /// Guarded?
        protected: bool,
        /// The answer.
        answer: Noted,
    },
}

/// News for whoever listens. What is lost here is still in properties, journals and files.
#[derive(Debug, Clone)]
pub enum News {
    /// A session began or goes on.
    Started {
        /// Which.
        session: String,
        /// Text for people.
        label: String,
        /// Its inputs.
        inputs: Vec<String>,
        /// It had been interrupted.
        resumed: bool,
    },
    /// A storage was looked through: there may be sessions that were not known.
    Found,
    /// A session ended.
    Stopped {
        /// Which.
        session: String,
        /// What it amounted to.
        totals: EndTotals,
    },
    /// A file is durable.
    FileClosed {
        /// Of which session.
        session: String,
        /// Of which input.
        input: String,
        /// Below the root.
        path: String,
        /// More.
        info: holdfast_dbus::FileClosedInfo,
    },
    /// Retention has given up a file.
    FileDeleted {
        /// Of which session.
        session: String,
        /// Of which input.
        input: String,
        /// Below the root.
        path: String,
        /// More.
        info: holdfast_dbus::FileDeletedInfo,
    },
    /// Retention has given up the last file of a session.
    SessionDeleted {
        /// Which.
        session: String,
    },
    /// A hole.
    Gap {
        /// In which session.
        session: String,
        /// Of which input.
        input: String,
        /// Why.
        cause: &'static str,
        /// More.
        info: holdfast_dbus::GapSignalInfo,
    },
}

/// The recorder as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderView {
    /// As on D-Bus.
    pub state: &'static str,
    /// Set in the error state.
    pub message: String,
    /// The session being recorded.
    pub session: Option<String>,
    /// The present or last session: what its totals are about.
    pub about: Option<String>,
    /// Start of the present session, monotonic; or when it was taken up in this boot.
    pub since_mono_ns: u64,
    /// What the present or last session has from before.
    pub carried: Carried,
}

impl RecorderView {
    /// How long the present session is, without breaks over a restart of the box.
    pub fn duration_ns(&self) -> u64 {
        let in_this_boot = crate::clock::mono_ns().saturating_sub(self.since_mono_ns);
        self.carried.elapsed_ns.saturating_add(in_this_boot)
    }

    /// Adds what its inputs can't tell.
    pub fn add_carried(&self, totals: &mut EndTotals) {
        totals.safe_frames += self.carried.safe_frames;
        totals.safe_bytes += self.carried.safe_bytes;
        totals.lost_frames += self.carried.lost_frames;
    }
}

/// An input and what is shown of it.
#[derive(Debug)]
pub struct InputEntry {
    /// Its name.
    pub name: String,
    /// What it records, for people.
    pub source: String,
    /// What it does.
    pub view: watch::Receiver<InputView>,
    /// Whether its source can be reached, while no capture serves it.
    pub reach: watch::Receiver<Reach>,
}

/// What everyone may see and ask. Reading never waits for the engine or a disk.
#[derive(Debug)]
pub struct Facade {
    /// As it was at start.
    pub config: Config,
    /// Sessions.
    pub catalog: Arc<Catalog>,
    /// Inputs in the order of the configuration.
    pub inputs: Vec<InputEntry>,
    /// The whole.
    pub view: watch::Receiver<RecorderView>,
    /// The storage as last measured.
    pub storage: watch::Receiver<storage::Status>,
    /// What was interrupted, and goes on or waits.
    pub recovery: watch::Receiver<RecoveryView>,
    /// Bytes per second that are being made safe, over the last seconds.
    pub rate: watch::Receiver<u64>,
    /// What became of the space that is held back.
    pub ballast: watch::Receiver<ballast::State>,
    /// What retention does.
    pub cleaning: watch::Receiver<cleaner::View>,
    /// How hard the box is pressed, and what is shed for it.
    pub pressure: watch::Receiver<pressure::State>,
    /// What an operator should know.
    pub alerts: Alerts,
    /// The same, as other programs find it.
    pub reports: Reports,
    /// Where leases are asked for.
    pub leases: Desk,
    /// Checks footage by decoding it.
    pub checker: Checker,
    /// What is counted as it happens.
    pub observed: Observed,
    /// The mailbox. Full (64): the caller is told Busy.
    pub calls: mpsc::Sender<Call>,
}

impl Facade {
    /// Puts a call into the mailbox.
    ///
    /// # Errors
    /// [`ErrorCode::Busy`] if it is full.
    pub fn call(&self, call: Call) -> Result<(), Error> {
        self.calls
            .try_send(call)
            .map_err(|_| Error::new(ErrorCode::Busy, "too many commands at once; try again in a moment"))
    }

    /// What a session amounts to so far, from what its inputs say.
    pub fn live_totals(&self, session: &str) -> EndTotals {
        let mut totals = live_totals(self.inputs.iter().map(|input| &input.view), session);
        let view = self.view.borrow();
        if view.session.as_deref() == Some(session) {
            totals.duration_ns = view.duration_ns();
        }
        if view.about.as_deref() == Some(session) {
            view.add_carried(&mut totals);
        }
        totals.files = self.catalog.known(session).map_or(0, |summary| summary.files);
        totals
    }

    /// A session's state and totals if it is being recorded.
    pub fn live(&self, session: &str) -> Option<(&'static str, EndTotals)> {
        let state = {
            let view = self.view.borrow();
            if view.session.as_deref() != Some(session) {
                return None;
            }
            view.state
        };
        Some((state, self.live_totals(session)))
    }
}

/// Sums over all inputs that take (or took) part in a session.
pub fn live_totals<'a>(inputs: impl Iterator<Item = &'a watch::Receiver<InputView>>, session: &str) -> EndTotals {
    let mut totals = EndTotals::default();
    for input in inputs {
        let view = input.borrow();
        if view.tally_session.as_deref() == Some(session) {
            totals.safe_frames += view.tally.safe;
            totals.safe_bytes += view.tally.safe_bytes;
            totals.lost_frames += view.tally.lost();
        }
    }
    totals
}

/// Totals as they go over the bus.
pub fn totals_on_bus(id: &str, totals: &EndTotals, summary: Option<&Summary>) -> Totals {
    Totals {
        session: session_path(id),
        id: id.to_owned(),
        duration_usec: totals.duration_ns / 1000,
        safe_frames: totals.safe_frames,
        safe_bytes: totals.safe_bytes,
        lost_frames: totals.lost_frames,
        files: totals.files,
        gaps: summary.map_or(0, |summary| summary.gap_count),
        incomplete: totals.incomplete.clone(),
    }
}
