//! The task that keeps one input's capture process doing what is wanted.

mod part;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::AlertCode;
use holdfast_link as link;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

pub(super) use part::joined;

use super::attached::Attached;
use super::engaged::Engaged;
use super::judge::Judge;
use super::launch::{Exit, LaunchError, Launcher};
use super::link::{Link, LinkError};
use super::view::{InputState, InputView};
use super::{Recovered, Report, Want};
use crate::alerts::Alerts;
use crate::clock;
use crate::failsafe::{Alarm, Event, Failsafe};
use crate::guard::trouble::Trouble;
use crate::probing::Way;

/// A capture that was started listens within this time, or it is killed by nobody but tried again.
const START_PATIENCE: Duration = Duration::from_secs(15);
/// How often a socket that is about to appear is tried.
const SOCKET_POLL: Duration = Duration::from_millis(5);

/// What all supervisors share.
pub struct Shared {
    /// Starts captures.
    pub launcher: Arc<dyn Launcher>,
    /// `<runtime>/capture`: sockets.
    pub socket_dir: PathBuf,
    /// The storage root.
    pub root: PathBuf,
    /// Blocks of files that were never written.
    pub pool: PathBuf,
    /// Reports of all inputs. Full (256): the supervisors wait, and with them only news about captures, never a capture.
    pub reports: mpsc::Sender<(usize, Report)>,
    /// One recovery at a time: it reads whole files, and the recordings need the disk.
    pub recovery: Semaphore,
    /// Where what is wrong is told.
    pub alerts: Alerts,
    /// Who looks after the storage, to look at it when a capture says that it refuses, or takes footage again.
    pub storage: Trouble,
    /// `/proc`
    pub proc: PathBuf,
}

/// One input's supervisor. [`Supervisor::run`] it in a task of its own.
pub struct Supervisor {
    index: usize,
    pub(super) name: String,
    pub(super) digest: u64,
    pub(super) shared: Arc<Shared>,
    /// Keeps probes away from the source while a capture has it.
    way: Arc<Way>,
    pub(super) want: watch::Receiver<Want>,
    pub(super) marks: mpsc::Receiver<link::Mark>,
    view: watch::Sender<InputView>,
    pub(super) engaged: Option<Engaged>,
    pub(super) recovering: Option<Recovering>,
    requests: u32,
    /// When what has failed is tried again.
    pub(super) failsafe: Failsafe,
    pub(super) judge: Judge,
    /// The session that was wanted last, and whether it was to be armed.
    pub(super) asked: (Option<String>, bool),
    /// Something listens on the capture's socket and has not answered since.
    pub(super) mute_since: Option<Instant>,
    pub(super) found_told: bool,
    /// When the last session was to end, on the monotonic clock, and whether its source delivered nothing just then.
    over: (u64, bool),
    /// The last session that `Report::Ended` was sent for.
    ended_told: Option<String>,
}

/// A recovery under way: which session's files, and what became of them.
pub(super) type Recovering = (String, JoinHandle<Vec<Recovered>>);

/// What is found on a capture's socket.
enum Found {
    Capture(Box<Attached>),
    Mute(Link),
    Nothing,
}

/// How the engine reaches a supervisor.
#[derive(Debug)]
pub struct Handle {
    /// The latest word counts.
    pub want: watch::Sender<Want>,
    /// Chapters. Full (16): the capture does not take them; the session's journal has them anyway.
    pub marks: mpsc::Sender<link::Mark>,
    /// What is shown.
    pub view: watch::Receiver<InputView>,
}

impl Supervisor {
    /// A supervisor that holds still until it is told otherwise. `digest`: of the input's configuration.
    pub fn new(
        index: usize,
        name: String,
        digest: u64,
        armed: bool,
        way: Arc<Way>,
        shared: Arc<Shared>,
    ) -> (Self, Handle) {
        let (want_sender, want) = watch::channel(Want { hold: true, armed, ..Want::default() });
        let (marks_sender, marks) = mpsc::channel(16);
        let (view, view_receiver) = watch::channel(InputView { armed, ..InputView::default() });
        let judge = Judge::new(shared.alerts.clone(), name.clone());
        let supervisor = Self {
            index,
            name,
            digest,
            shared,
            way,
            judge,
            want,
            marks,
            view,
            engaged: None,
            recovering: None,
            requests: 0,
            failsafe: Failsafe::default(),
            asked: (None, false),
            mute_since: None,
            found_told: false,
            over: (0, false),
            ended_told: None,
        };
        (supervisor, Handle { want: want_sender, marks: marks_sender, view: view_receiver })
    }

    /// Runs until the engine is gone.
    pub async fn run(mut self) {
        loop {
            let goes_on = match self.find().await {
                Found::Capture(attached) => self.stay(*attached).await,
                Found::Mute(link) => self.mute(&link).await,
                Found::Nothing => self.pause_or_launch().await,
            };
            if goes_on.is_none() {
                return;
            }
        }
    }

    pub(super) fn wanted(&mut self) -> Want {
        let want = self.want.borrow_and_update().clone();
        let asked = (want.record.as_ref().map(|record| record.session.clone()), want.armed);
        if asked != self.asked {
            let wants_more = (asked.0.is_some() && asked.0 != self.asked.0) || (asked.1 && !self.asked.1);
            let wants_nothing = asked.0.is_none() && !asked.1;
            if asked.0 != self.asked.0 {
                let source_waits = self.view.borrow().source_state == "waiting"
                    || self.shared.alerts.holds(AlertCode::SourceStalled, &self.name);
                self.over = (clock::mono_ns(), source_waits);
            }
            self.asked = asked;
            if wants_nothing {
                self.failsafe(Event::Unwanted, "");
                self.judge.clear(AlertCode::CaptureDied);
            } else if wants_more {
                self.failsafe(Event::Asked, "");
            }
        }
        want
    }

    /// Feeds the failsafe. `why` it failed, for people.
    pub(super) fn failsafe(&mut self, event: Event, why: &str) {
        match self.failsafe.handle(clock::mono_ns(), event) {
            Some(Alarm::Raise) => {
                let failures = self.failsafe.failures();
                error!(input = self.name, failures, "the input keeps failing; it is tried slowly from now on: {why}");
                let text = format!("{failures} attempts in a row have failed, the last one: {why}");
                self.judge.raise(AlertCode::InputFailing, text);
            }
            Some(Alarm::Clear) => self.judge.clear(AlertCode::InputFailing),
            None => (),
        }
    }

    pub(super) fn show(&self, change: impl FnOnce(&mut InputView)) {
        self.view.send_if_modified(|view| {
            let before = view.clone();
            change(view);
            *view != before
        });
    }

    pub(super) async fn report(&self, report: Report) {
        // The engine has ended: so will we.
        let _ = self.shared.reports.send((self.index, report)).await;
    }

    fn socket(&self) -> PathBuf {
        self.shared.socket_dir.join(format!("{}.sock", self.name))
    }

    pub(super) fn next_request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1).max(1);
        self.requests
    }

    // --- no capture connected -------------------------------------------------------------------------------------------

    /// Connects to a capture that runs.
    async fn find(&mut self) -> Found {
        let Ok(link) = Link::connect(&self.socket()) else {
            self.mute_since = None;
            return Found::Nothing;
        };
        match link.greet(&self.name).await {
            Ok(hello) => {
                self.way.take();
                self.mute_since = None;
                self.judge.meet();
                self.show(|view| {
                    view.pid = link.pid();
                    view.error.clear();
                });
                Found::Capture(Box::new(Attached::new(link, hello)))
            }
            Err(LinkError::Closed) => Found::Nothing,
            Err(LinkError::Silent) => Found::Mute(link),
            Err(error) => {
                error!(input = self.name, pid = link.pid(), "refused what answers on the capture's socket: {error}");
                self.show(|view| view.error = error.to_string());
                Found::Nothing
            }
        }
    }

    /// Nothing runs: waits until something is wanted, then starts it. `None` when the engine is gone.
    async fn pause_or_launch(&mut self) -> Option<()> {
        if !self.found_told {
            self.found_told = true;
            self.report(Report::Found { session: None, recording: false }).await;
        }
        let want = self.wanted();
        if want.hold {
            return self.want.changed().await.ok();
        }
        let socket = self.socket();
        if let Some(part) = self.engaged.as_mut().filter(|part| part.begun) {
            // It may have died while we had no connection to see it by.
            if Link::connect(&socket).is_err() {
                part.ended(true);
            }
        }
        self.engage(&want).await;
        self.judge.gone();
        if want.record.is_none() && !want.armed {
            self.show(|view| view.gone(InputState::Off));
            // Whatever changes ends a probe that is under way.
            let _free = self.way.free();
            return self.want.changed().await.ok();
        }
        if let Some(due_ns) = self.failsafe.due_ns() {
            tokio::select! {
                () = sleep(Duration::from_nanos(due_ns.saturating_sub(clock::mono_ns()))) => self.failsafe(Event::Tick, ""),
                changed = self.want.changed() => changed.ok()?,
            }
            return Some(());
        }
        match self.launch().await {
            Ok(()) => (),
            Err(error) => {
                self.failsafe(Event::Failed { worked_ns: 0 }, &error.to_string());
                error!(input = self.name, failures = self.failsafe.failures(), "{error}");
                self.show(|view| {
                    view.gone(InputState::Failed);
                    view.error = error.to_string();
                });
            }
        }
        Some(())
    }

    /// Starts the capture and waits until it listens.
    async fn launch(&mut self) -> Result<(), LaunchError> {
        self.show(|view| {
            let state = if view.session.is_some() { InputState::Starting } else { InputState::Connecting };
            view.gone(state);
        });
        self.way.take();
        if !self.way.cleared().await {
            warn!(
                input = self.name,
                "a probe of the source hangs and can't be ended; the capture is started beside it"
            );
        }
        let mut exit = self.shared.launcher.launch(&self.name).await?;
        let socket = self.socket();
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if Link::connect(&socket).is_ok() {
                return Ok(());
            }
            let ended = ended(&mut exit, SOCKET_POLL).await;
            let why = match ended {
                Some(how) => format!("it ended before it listened ({how}); its log says why"),
                None if Instant::now() >= deadline => {
                    format!("it does not listen on {} after {} s", socket.display(), START_PATIENCE.as_secs())
                }
                None => continue,
            };
            return Err(LaunchError::Spawn { program: format!("the capture of {}", self.name), why });
        }
    }
}

/// How a process that was started ended, if it does within `patience`.
async fn ended(exit: &mut Option<Exit>, patience: Duration) -> Option<String> {
    match exit {
        Some(receiver) => match timeout(patience, receiver).await {
            Ok(how) => {
                *exit = None;
                Some(how.unwrap_or_default())
            }
            Err(_) => None,
        },
        None => {
            tokio::time::sleep(patience).await;
            None
        }
    }
}
