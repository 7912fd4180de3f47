//! Driving a capture that is connected.

mod hearing;

use std::time::Duration;

use holdfast_dbus::AlertCode;
use holdfast_link::{self as link, FromCapture, Hello, Status, Stop, StopReason, ToCapture};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::link::{Link, LinkError};
use super::process::Process;
use super::supervisor::{Supervisor, joined};
use super::view::InputState;
use super::{Record, files};
use crate::clock;
use crate::failsafe::Event;
use crate::health::{SILENCE, SILENCE_ENDS};

/// How long a directory may take to be read before what is known is good enough.
const DIRECTORY_PATIENCE: Duration = Duration::from_millis(500);
/// How long the end of a process is waited for after its socket has closed.
const DEATH_PATIENCE: Duration = Duration::from_millis(500);
/// How long a capture that seems silent is listened to once more.
const HEAR_FIRST: Duration = Duration::from_millis(50);
/// A silent capture that could not be ended is looked at again after this.
const SILENT_AGAIN: Duration = Duration::from_secs(1);
/// Of the bit rate, percent.
const ALL_OF_IT: u8 = 100;
/// Before a connection that was lost is made again.
const RECONNECT: Duration = Duration::from_millis(50);

/// A capture that is connected.
pub(super) struct Attached {
    link: Link,
    hello: Hello,
    process: Option<Process>,
    /// It has been making footage of the session safe since.
    safe_since: Option<Instant>,
    /// It has been doing what is wanted since.
    works_since: Option<Instant>,
    heard: Instant,
    /// It has said nothing for too long; when to decide whether it is ended.
    silent: Option<Instant>,
    status: Option<Status>,
    /// Request that Start was sent with, until it is answered.
    starting: Option<u32>,
    /// Stop was sent and not answered yet.
    stopping: bool,
    /// What it was last told about being armed; it knows the configuration, not what was said since.
    armed: Option<bool>,
    /// What of its bit rate it was last told to record with.
    bitrate_percent: u8,
    /// Shutdown was sent.
    leaving: bool,
    /// It has said that it ends by itself, and why.
    leaves_for: Option<String>,
    /// This process has recorded in the present session and stopped by itself: its pre-roll is on disk already.
    recorded: bool,
}

/// How a connection ended.
enum Ending {
    Died,
    Left,
    Lost(LinkError),
}

impl Attached {
    pub(super) fn new(link: Link, hello: Hello) -> Self {
        Self {
            process: Process::open(link.pid()).ok(),
            link,
            hello,
            safe_since: None,
            works_since: None,
            heard: Instant::now(),
            silent: None,
            status: None,
            starting: None,
            stopping: false,
            armed: None,
            bitrate_percent: ALL_OF_IT,
            leaving: false,
            leaves_for: None,
            recorded: false,
        }
    }

    /// It has failed: what that means for the next attempt.
    fn failed(&self) -> Event {
        Event::Failed { worked_ns: self.safe_since.map_or(0, elapsed_ns) }
    }
}

impl Supervisor {
    /// Drives a capture until its connection ends. `None` when the engine is gone.
    pub(super) async fn stay(&mut self, mut attached: Attached) -> Option<()> {
        let ending = loop {
            if let Err(error) = self.reconcile(&mut attached).await {
                break self.why(&mut attached, error).await;
            }
            let now_ns = clock::mono_ns();
            let (retry, look) = (self.failsafe.due_ns(), self.judge.due_ns(now_ns));
            // A mark that came before the capture was told to start waits for that.
            let is_recording = attached.status.as_ref().is_some_and(|status| status.session.is_some());
            let silence = attached.silent.unwrap_or(attached.heard + SILENCE);
            tokio::select! {
                biased;
                message = attached.link.receive() => match message {
                    Ok(message) => self.heard(&mut attached, message).await,
                    Err(error) => break self.why(&mut attached, error).await,
                },
                changed = self.want.changed() => changed.ok()?,
                Some(mark) = self.marks.recv(), if is_recording => {
                    if let Err(error) = attached.link.send(&ToCapture::Mark(mark)).await {
                        break self.why(&mut attached, error).await;
                    }
                }
                () = died(attached.process.as_ref()) => {
                    // What it said last still waits in the socket.
                    while let Ok(Ok(message)) = timeout(DEATH_PATIENCE, attached.link.receive()).await {
                        self.hear(&mut attached, message).await;
                    }
                    break if attached.leaving { Ending::Left } else { Ending::Died };
                }
                () = due(retry, now_ns) => self.failsafe(Event::Tick, ""),
                () = due(look, now_ns) => self.judge.look(clock::mono_ns()),
                // Held up itself (stopped, starved, asleep), this process wakes to a silence of its own making, and the timers may
                // fire before the sockets: what waits there is heard first.
                () = sleep_until(silence) => match timeout(HEAR_FIRST, attached.link.receive()).await {
                    Ok(Ok(message)) => self.heard(&mut attached, message).await,
                    Ok(Err(error)) => break self.why(&mut attached, error).await,
                    Err(_) => {
                        let next = if attached.silent.is_none() {
                            self.fell_silent(attached.link.pid());
                            attached.heard + SILENCE_ENDS
                        } else {
                            self.end_silent(attached.link.pid(), attached.process.as_ref()).await;
                            Instant::now() + SILENT_AGAIN
                        };
                        attached.silent = Some(next);
                    }
                },
                done = joined(&mut self.recovering) => self.recovered(done).await,
            }
        };
        self.after(&attached, ending).await;
        Some(())
    }

    /// It said something: it is not silent.
    async fn heard(&mut self, attached: &mut Attached, message: FromCapture) {
        attached.heard = Instant::now();
        if attached.silent.take().is_some() {
            self.judge.clear(AlertCode::CaptureSilent);
        }
        self.hear(attached, message).await;
    }

    /// Talking to the capture failed: is the process dead, or has it only closed this connection?
    async fn why(&mut self, attached: &mut Attached, error: LinkError) -> Ending {
        if !matches!(error, LinkError::Closed) {
            return Ending::Lost(error);
        }
        // Where sending failed, what it said last still waits in the socket.
        while let Ok(Ok(message)) = timeout(DEATH_PATIENCE, attached.link.receive()).await {
            self.hear(attached, message).await;
        }
        match timeout(DEATH_PATIENCE, died(attached.process.as_ref())).await {
            Ok(()) if attached.leaving => Ending::Left,
            Ok(()) => Ending::Died,
            Err(_) if attached.process.is_none() => Ending::Died,
            Err(_) => Ending::Lost(error),
        }
    }

    async fn after(&mut self, attached: &Attached, ending: Ending) {
        match ending {
            Ending::Left => {
                info!(input = self.name, pid = attached.link.pid(), "the capture has ended");
                self.show(|view| view.gone(InputState::Off));
            }
            Ending::Died => {
                let pid = attached.link.pid();
                warn!(input = self.name, pid, "the capture died");
                let why = match &attached.leaves_for {
                    Some(why) => format!("the capture (process {pid}) ended by itself: {why}"),
                    None if attached.silent.is_some() => {
                        format!("the capture (process {pid}) died after it had said nothing any more")
                    }
                    None => format!("the capture (process {pid}) died"),
                };
                if self.asked.0.is_some() || self.asked.1 {
                    self.judge.raise(AlertCode::CaptureDied, why.as_str());
                }
                self.failsafe(attached.failed(), &why);
                if let Some(engaged) = &mut self.engaged {
                    engaged.ended(true);
                }
                self.show(|view| {
                    view.gone(InputState::Failed);
                    view.restarts += 1;
                });
            }
            Ending::Lost(error) => {
                // It goes on recording; we only have to find it again.
                warn!(input = self.name, pid = attached.link.pid(), "connection lost: {error}");
                self.show(|view| view.error = error.to_string());
                tokio::time::sleep(RECONNECT).await;
            }
        }
    }

    /// Acts on the difference between what is wanted and what is.
    async fn reconcile(&mut self, attached: &mut Attached) -> Result<(), LinkError> {
        let want = self.wanted();
        self.show(|view| view.armed = want.armed);
        let Some(status) = attached.status.clone() else {
            return Ok(());
        };
        if want.hold {
            return Ok(());
        }
        // What is about to record is not switched off first: that would leave a hole behind its pre-roll.
        let is_about_to_record = want.record.is_some() && status.session.is_none();
        if attached.armed != Some(want.armed) && (want.armed || !is_about_to_record) {
            attached.armed = Some(want.armed);
            attached.link.send(&ToCapture::Arm(want.armed)).await?;
        }
        let percent = if want.bitrate_percent == 0 { ALL_OF_IT } else { want.bitrate_percent };
        if attached.bitrate_percent != percent {
            attached.bitrate_percent = percent;
            attached.link.send(&ToCapture::Bitrate { percent }).await?;
        }
        let starting = attached.starting.is_some();
        if status.session.is_none() && !starting || self.engaged.is_none() {
            self.engage(&want).await;
        }
        match (&want.record, status.session.as_deref()) {
            (Some(record), Some(session)) if record.session == session => Ok(()),
            (_, Some(session)) if want.abandon.as_deref() == Some(session) => {
                warn!(input = self.name, session, "the capture did not close its files in time; ending it");
                attached.process.as_ref().map_or(Ok(()), Process::kill).map_err(LinkError::Io)
            }
            (_, Some(session)) => self.stop(attached, session, want.record.as_ref()).await,
            (Some(record), None) => self.start(attached, record.clone()).await,
            (None, None) if starting => {
                // The order to start is on its way; the one to stop follows it.
                let session = self.engaged.as_ref().map(|engaged| engaged.record.session.clone()).unwrap_or_default();
                self.stop(attached, &session, None).await
            }
            (None, None) => {
                let stale = attached.hello.config_digest != self.digest;
                if (!want.armed || stale) && !attached.leaving {
                    info!(input = self.name, stale_configuration = stale, "ending the idle capture");
                    attached.leaving = true;
                    attached.link.send(&ToCapture::Shutdown).await?;
                }
                Ok(())
            }
        }
    }

    async fn start(&mut self, attached: &mut Attached, record: Record) -> Result<(), LinkError> {
        if attached.starting.is_some() || attached.leaving || self.failsafe.due_ns().is_some() {
            return Ok(());
        }
        let dir = self.shared.root.join(&record.directory);
        let reading = tokio::task::spawn_blocking(move || files::newest(&dir));
        // A stalled disk must not keep the capture from filling its buffer.
        let on_disk = timeout(DIRECTORY_PATIENCE, reading).await.ok().and_then(Result::ok).unwrap_or_default();
        let Some(engaged) = &mut self.engaged else {
            return Ok(());
        };
        let resume = engaged.resume(on_disk);
        let sequence = engaged.next_sequence(resume.as_ref(), on_disk);
        let request = self.next_request();
        let (Ok(session), Ok(directory)) = (record.session.as_str().try_into(), record.directory.as_str().try_into())
        else {
            error!(input = self.name, session = record.session, "a session id or directory too long for the link");
            return Ok(());
        };
        let preroll = !attached.recorded;
        info!(
            input = self.name,
            session = record.session,
            sequence,
            resumed = resume.is_some(),
            trace = record.trace,
            "start"
        );
        let start = link::Start { request, session, directory, sequence, preroll, resume, trace: record.trace };
        attached.starting = Some(request);
        attached.link.send(&ToCapture::Start(start)).await
    }

    async fn stop(&mut self, attached: &mut Attached, session: &str, record: Option<&Record>) -> Result<(), LinkError> {
        if attached.stopping {
            return Ok(());
        }
        let Ok(id) = session.try_into() else { return Ok(()) };
        if record.is_some() {
            warn!(input = self.name, session, "the capture records another session; closing that one");
        }
        let trace = self.want.borrow().trace;
        info!(input = self.name, session, trace, "stop");
        attached.stopping = true;
        let reason = if self.wanted().storage_full { StopReason::StorageCritical } else { StopReason::Operator };
        let stop = Stop { request: self.next_request(), session: id, reason, trace };
        attached.link.send(&ToCapture::Stop(stop)).await
    }
}

async fn died(process: Option<&Process>) {
    match process {
        Some(process) => process.died().await,
        None => std::future::pending().await,
    }
}

/// Returns when it is due; never if it is not.
async fn due(when_ns: Option<u64>, now_ns: u64) {
    match when_ns {
        Some(when_ns) => sleep(Duration::from_nanos(when_ns.saturating_sub(now_ns))).await,
        None => std::future::pending().await,
    }
}

fn elapsed_ns(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
