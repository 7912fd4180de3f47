//! Carries out what the session machine decides.
//!
//! One task takes everything in: calls from the mailbox, reports of the supervisors, and the ends of what it began itself. It
//! never waits for a disk, a capture or a client: those are waited for elsewhere and come back as events.

mod calls;
mod reports;
mod resumption;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use holdfast_dbus::{Error, ErrorCode};
use holdfast_link::GapCause;
use holdfast_records::{EndTotals, Tally};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::captures::{Handle, Launcher, Record, Report, Want};
use crate::facade::{Call, News, RecorderView, StartAnswer, StopAnswer, live_totals};
use crate::resume::since_earlier_boot;
use crate::session::{Command, Event, Machine, Request, Session, State, session_in};
use crate::startup::{Continued, Outcome};
use crate::store::{Catalog, Closing, Job, Keeper, Noted};
use crate::{clock, ids, pressure, storage};

/// Inputs have this long to close their files. Less than the 25 s after which a D-Bus client gives up.
const STOP_PATIENCE: Duration = Duration::from_secs(18);

/// An input as the engine knows it.
#[derive(Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its supervisor.
    pub handle: Handle,
}

/// What an input made of a session before this recorder started.
#[derive(Debug, Clone)]
pub struct Before {
    /// What ended processes made.
    pub base: Tally,
    /// The highest number of its files, there still or not.
    pub past_sequence: u64,
    /// End of its last safe frame; of an earlier boot, if the cause says so.
    pub safe_until_mono_ns: u64,
    /// The same as a label; 0 if there is none.
    pub safe_until_wall_ns: i64,
    /// Why it was interrupted.
    pub cause: GapCause,
}

impl Before {
    /// The label, where it is of an earlier boot and can be right together with the clock of now; else 0.
    fn credible_wall_ns(&self) -> i64 {
        let since = since_earlier_boot(self.safe_until_wall_ns, clock::wall_ns(), clock::uptime_ns());
        if self.cause == GapCause::Reboot && since.is_some() { self.safe_until_wall_ns } else { 0 }
    }
}

/// What a session has from before, beyond what its inputs can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// When it began or was taken up in this boot, if that was before this recorder.
    pub since_mono_ns: Option<u64>,
    /// How long it had been in earlier boots.
    pub elapsed_ns: u64,
    /// Frames of inputs that are not configured any more.
    pub safe_frames: u64,
    /// Their bytes.
    pub safe_bytes: u64,
    /// Their losses.
    pub lost_frames: u64,
}

/// All that the engine works with.
pub struct Engine {
    /// All inputs, in the order of the configuration.
    pub inputs: Vec<Input>,
    /// Starts captures.
    pub launcher: Arc<dyn Launcher>,
    /// Writes.
    pub keeper: Keeper,
    /// Knows the sessions.
    pub catalog: Arc<Catalog>,
    /// The storage as last measured.
    pub storage_status: watch::Receiver<storage::Status>,
    /// How hard the box is pressed.
    pub pressure: watch::Receiver<pressure::State>,
    /// The session that is closed because the storage is full.
    pub full: Option<String>,
    /// What is shown.
    pub view: watch::Sender<RecorderView>,
    /// Signals to be sent. Full (256): nobody takes them, and the newest are left out.
    pub news: mpsc::Sender<News>,
    /// Decides.
    pub machine: Machine,
    /// Of the session that goes on from before this recorder started.
    pub before: HashMap<String, Before>,
    /// Takes up what was interrupted.
    pub resumption: Resumption,
    /// What was begun and ends later.
    pub later: FuturesUnordered<BoxFuture<'static, Later>>,
    /// Who waits for which answer.
    pub waiting: HashMap<Request, Waiting>,
    /// The last request's number.
    pub requests: Request,
    /// Of the user action being carried out.
    pub trace: u64,
    /// What the last session amounted to, for those who asked it to stop.
    pub ended: Option<(String, EndTotals)>,
}

/// Something that was begun has ended.
pub enum Later {
    /// For the machine.
    Event(Event),
    /// A session's end is written down.
    Closed(String, EndTotals),
    /// A storage that had come back was looked through.
    Recovered(std::boxed::Box<Outcome>),
    /// A session that waited was looked at once more.
    Resumed(Option<std::boxed::Box<Continued>>, Noted),
    /// A session that waited is closed.
    Dismissed(String, Option<Noted>),
}

/// Who waits for an answer.
pub enum Waiting {
    /// To a Start.
    Start(StartAnswer),
    /// To a Stop.
    Stop(StopAnswer),
    /// To a Mark, with its text.
    Mark(String, Noted),
}

pub use resumption::{RecoveryView, Resumption};

impl Engine {
    /// Runs until nobody can call any more.
    pub async fn run(mut self, mut calls: mpsc::Receiver<Call>, mut reports: mpsc::Receiver<(usize, Report)>) {
        // A session that goes on may find the storage full.
        self.look_at_storage();
        loop {
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => self.take(call),
                    None => return,
                },
                Some((index, report)) = reports.recv() => self.hear(index, report),
                Ok(()) = self.storage_status.changed() => self.look_at_storage(),
                Ok(()) = self.pressure.changed() => self.set_bitrate(),
                Some(later) = self.later.next() => match later {
                    Later::Event(event) => self.feed(event),
                    Later::Closed(id, totals) => self.closed(id, totals),
                    Later::Recovered(outcome) => self.recovered(*outcome),
                    Later::Resumed(continued, answer) => self.resumed(continued.map(|continued| *continued), answer),
                    Later::Dismissed(id, answer) => self.dismissed(&id, answer),
                },
            }
        }
    }

    /// Closes what is recorded while there is room for closing it.
    fn look_at_storage(&mut self) {
        let (level, must_stop, message) = {
            let status = self.storage_status.borrow_and_update();
            (status.level, status.must_stop, status.message.clone())
        };
        if level <= storage::Level::Warn {
            self.feed(Event::StorageFine);
        }
        if level != storage::Level::Unavailable {
            self.storage_is_there();
        } else if let Err(error) = self.keeper.hand(Job::LetGo) {
            warn!("the session's journal is held on to: {error}");
        }
        let running = session_in(self.machine.state()).map(|session| session.id.clone());
        if let (true, Some(id)) =
            (must_stop, running.filter(|_| !matches!(self.machine.state(), State::Stopping { .. })))
        {
            error!(session = id, "the recording is closed: {message}");
            self.full = Some(id.clone());
            self.feed(Event::Stop { request: None, id: Some(id) });
        }
    }

    /// The last thing that is shed, and what comes back.
    fn set_bitrate(&mut self) {
        let percent = u8::try_from(self.pressure.borrow_and_update().bitrate_percent).unwrap_or(100);
        for input in &self.inputs {
            let changed = input.handle.want.send_if_modified(|want| {
                // Nothing said yet is all of it.
                let before = std::mem::replace(&mut want.bitrate_percent, percent);
                before != percent && (before, percent) != (0, 100)
            });
            if changed {
                info!(input = input.name, percent, "bit rate");
            }
        }
    }

    /// At start: lets all supervisors go.
    pub fn release(&self) {
        for input in &self.inputs {
            input.handle.want.send_modify(|want| want.hold = false);
        }
    }

    /// Feeds the machine and carries out what it says.
    pub fn feed(&mut self, event: Event) {
        let before = state_name(self.machine.state());
        for command in self.machine.handle(event) {
            self.carry_out(command);
        }
        let after = state_name(self.machine.state());
        if before != after {
            info!(
                from = before,
                to = after,
                session = session_in(self.machine.state()).map(|session| session.id.as_str()),
                trace = self.trace,
                "state"
            );
        }
        self.show();
    }

    fn show(&self) {
        let state = self.machine.state();
        let session =
            session_in(state).filter(|_| !matches!(state, State::Creating { .. })).map(|session| session.id.clone());
        // What its journal says, once it does; until then, what was found at start.
        let known = session.as_ref().and_then(|id| self.catalog.known(id));
        let boot_id = clock::boot_id().0;
        let since = known.filter(|summary| summary.mono_ns > 0 && summary.boot_id == boot_id);
        let since = since.map(|summary| summary.mono_ns).or(self.resumption.carried.since_mono_ns);
        self.view.send_if_modified(|view| {
            let same = view.session == session;
            let since_mono_ns = match since {
                Some(since) => since,
                _ if same => view.since_mono_ns,
                _ => clock::mono_ns(),
            };
            let new = RecorderView {
                carried: if session.is_some() { self.resumption.carried.clone() } else { view.carried.clone() },
                state: state_name(state),
                message: if let State::Error { error } = state { error.message.clone() } else { String::new() },
                about: session.clone().or_else(|| view.about.clone()),
                session,
                since_mono_ns,
            };
            let changed = *view != new;
            *view = new;
            changed
        });
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Create(session) => {
                self.begins_anew();
                let id = session.id.clone();
                self.job(
                    |done| Job::Create(session, done),
                    move |made| match made {
                        Ok(()) => Event::Created { id },
                        Err(error) => Event::CreateFailed { id, error },
                    },
                );
            }
            Command::Begin(session) => self.begin(&session),
            Command::End(session) => {
                // Written down in two places at once, beside the captures' work: from here on it never goes on again.
                if let Err(error) = self.keeper.hand(Job::StopAsked(session.id.clone())) {
                    warn!(session = session.id, "that it was to be stopped is not written down: {error}");
                }
                let storage_full = self.full.as_deref() == Some(session.id.as_str());
                self.tell(&session.inputs, |want| {
                    want.record = None;
                    want.storage_full = storage_full;
                    want.ended = Some(session.id.clone());
                    want.trace = self.trace;
                });
                let id = session.id;
                self.later.push(Box::pin(async move {
                    tokio::time::sleep(STOP_PATIENCE).await;
                    Later::Event(Event::StopDeadline { id })
                }));
            }
            Command::Abandon { id, inputs } => {
                error!(
                    session = id,
                    inputs = inputs.join(" "),
                    "inputs did not close their files in time; ending their captures"
                );
                self.tell(&inputs, |want| want.abandon = Some(id.clone()));
            }
            Command::Close { session, incomplete } => self.close(&session, incomplete),
            Command::Answer(request, answer) => self.answer(request, answer),
        }
    }

    /// Hands a job to the keeper; how it ended becomes an event.
    fn job(&self, job: impl FnOnce(Noted) -> Job, event: impl FnOnce(Result<(), Error>) -> Event + Send + 'static) {
        let (done, wait) = oneshot::channel();
        let handed = self.keeper.hand(job(done));
        self.later.push(Box::pin(async move {
            let result = match handed {
                Ok(()) => wait.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "the keeper has ended"))),
                Err(busy) => Err(busy),
            };
            Later::Event(event(result))
        }));
    }

    fn tell(&self, names: &[String], change: impl Fn(&mut Want)) {
        for input in self.inputs.iter().filter(|input| names.contains(&input.name)) {
            input.handle.want.send_modify(&change);
        }
    }

    fn begin(&mut self, session: &Session) {
        let mut before = std::mem::take(&mut self.before);
        let resumed = !before.is_empty();
        let trace = self.trace;
        for input in self.inputs.iter().filter(|input| session.inputs.contains(&input.name)) {
            let Some(dir) = ids::session_dir(&session.id) else {
                continue;
            };
            let earlier = before.remove(&input.name);
            let record = Record {
                session: session.id.clone(),
                directory: format!("{dir}/{}", input.name),
                trace,
                past_sequence: earlier.as_ref().map_or(0, |earlier| earlier.past_sequence),
                begun: earlier.is_some(),
                safe_until_mono_ns: earlier.as_ref().map_or(0, |earlier| earlier.safe_until_mono_ns),
                safe_until_wall_ns: earlier.as_ref().map_or(0, Before::credible_wall_ns),
                cause: earlier.as_ref().map_or(GapCause::CaptureDied, |earlier| earlier.cause),
                base: earlier.map(|earlier| earlier.base).unwrap_or_default(),
            };
            input.handle.want.send_modify(|want| {
                want.hold = false;
                want.abandon = None;
                want.record = Some(record);
            });
        }
        let (id, label, inputs) = (session.id.clone(), session.label.clone(), session.inputs.clone());
        info!(session = id, inputs = inputs.join(" "), label, trace, resumed, "session begins");
        self.tell_news(News::Started { session: id, label, inputs, resumed });
    }

    fn close(&mut self, session: &Session, incomplete: Vec<String>) {
        let views = self.inputs.iter().map(|input| &input.handle.view);
        let mut totals = live_totals(views, &session.id);
        let view = self.view.borrow();
        totals.duration_ns = view.duration_ns();
        view.add_carried(&mut totals);
        drop(view);
        totals.incomplete = incomplete;
        let (done, wait) = oneshot::channel();
        let (id, fallback) = (session.id.clone(), totals.clone());
        if let Err(error) = self.keeper.hand(Job::Close(Closing { id: id.clone(), interrupted: None, totals, done })) {
            error!(session = id, "the end is missing from the session's journal: {error}");
        }
        self.later.push(Box::pin(async move {
            let totals = wait.await.unwrap_or(fallback);
            Later::Closed(id, totals)
        }));
    }

    fn closed(&mut self, id: String, totals: EndTotals) {
        info!(
            session = id,
            frames = totals.safe_frames,
            bytes = totals.safe_bytes,
            lost = totals.lost_frames,
            trace = self.trace,
            "session ends"
        );
        self.ended = Some((id.clone(), totals.clone()));
        self.tell_news(News::Stopped { session: id.clone(), totals });
        self.feed(Event::Closed { id });
    }

    fn tell_news(&self, news: News) {
        if self.news.try_send(news).is_err() {
            warn!("a signal is left out: too many wait for the bus");
        }
    }
}

/// As on D-Bus. A session being created is not announced yet, but the recorder is not idle any more.
fn state_name(state: &State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Creating { .. } | State::Starting { .. } => "starting",
        State::Recording { .. } => "recording",
        State::Stopping { .. } => "stopping",
        State::Error { .. } => "error",
    }
}
