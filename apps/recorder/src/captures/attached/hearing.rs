//! What a capture says, and what follows from it.

use holdfast_dbus::AlertCode;
use holdfast_link::{AlertCode as Told, Event, FromCapture, Phase, Status};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Attached, elapsed_ns};
use crate::captures::Report;
use crate::captures::supervisor::Supervisor;
use crate::clock;
use crate::failsafe::{self, HEALTHY_NS};

impl Supervisor {
    pub(super) async fn hear(&mut self, attached: &mut Attached, message: FromCapture) {
        match message {
            FromCapture::Hello(_) => (),
            FromCapture::Status(status) => self.hear_status(attached, status).await,
            FromCapture::Event(event) => self.hear_event(attached, event).await,
        }
    }

    async fn hear_status(&mut self, attached: &mut Attached, status: Status) {
        if !self.found_told {
            self.found_told = true;
            info!(
                input = self.name,
                pid = attached.link.pid(),
                session = status.session.as_deref(),
                "found a running capture"
            );
            let session = status.session.as_ref().map(|id| id.as_str().to_owned());
            self.report(Report::Found { session, recording: status.phase == Phase::Recording }).await;
        }
        let mut is_safe = false;
        let ours = self.engaged.as_mut().filter(|part| status.session.as_deref() == Some(&part.record.session));
        let directory = ours.as_ref().map(|part| part.record.directory.clone());
        if let Some(part) = ours {
            part.status(&status);
            if status.phase == Phase::Recording && status.safe_bytes > 0 && attached.starting.is_none() {
                is_safe = true;
            }
        }
        let tally = self.engaged.as_ref().map(|part| (part.record.session.clone(), part.tally()));
        self.show(|view| {
            view.update(&status, directory.as_deref());
            if let Some((session, tally)) = tally {
                view.tally_session = Some(session);
                view.tally = tally;
            }
        });
        self.judge.status(clock::mono_ns(), &status);
        self.works(attached, &status);
        if attached.status.is_none() {
            // An earlier recorder may have asked for less.
            attached.bitrate_percent = status.bitrate_percent;
        }
        attached.status = Some(status);
        if is_safe {
            attached.safe_since = attached.safe_since.or(Some(Instant::now()));
            self.safe().await;
        }
    }

    /// Whether it does what is wanted of it, and for how long. A camera that is away is no failure of its capture.
    fn works(&mut self, attached: &mut Attached, status: &Status) {
        let works = self.asked.0.is_none() || self.asked.0.as_deref() == status.session.as_deref();
        if !works {
            attached.works_since = None;
            return;
        }
        let for_ns = elapsed_ns(*attached.works_since.get_or_insert_with(Instant::now));
        if for_ns >= HEALTHY_NS {
            self.failsafe(failsafe::Event::Works { for_ns }, "");
            self.judge.clear(AlertCode::CaptureDied);
        }
    }

    /// Footage of the session is safe: tells so once, and recovers what an earlier process left.
    async fn safe(&mut self) {
        let Some(part) = &mut self.engaged else { return };
        let session = part.record.session.clone();
        if !std::mem::replace(&mut part.safe_told, true) {
            self.report(Report::Safe { session }).await;
        }
        self.recover();
    }

    /// A capture meets a storage that refuses, or takes footage again, before the guard looks the next time.
    fn look_at_storage(&self, told: Told) {
        if matches!(told, Told::Storage | Told::StorageFull | Told::StorageReadOnly | Told::WriteFailed) {
            self.shared.storage.poke();
        }
    }

    async fn hear_event(&mut self, attached: &mut Attached, event: Event) {
        let session = self.engaged.as_ref().map(|part| part.record.session.clone());
        match event {
            Event::Started(started) => {
                info!(
                    input = self.name,
                    session,
                    latency_us = started.latency_us,
                    preroll_ms = started.preroll_ms,
                    trace = self.engaged.as_ref().map_or(0, |part| part.record.trace),
                    "recording"
                );
                attached.starting = None;
                if let Some(status) = &mut attached.status {
                    // The next status will say so too; until then no second Start must be sent.
                    status.session = Some(started.session);
                }
                attached.recorded = true;
                // Told to the engine with the status that follows: whoever hears of it then finds the safe frames counted.
            }
            Event::Stopped(stopped) => {
                let by_itself = !attached.stopping;
                attached.stopping = false;
                attached.starting = None;
                if let Some(status) = &mut attached.status {
                    status.session = None;
                }
                if let Some(part) = self.engaged.as_mut().filter(|part| part.record.session == stopped.session.as_str())
                {
                    part.stopped(&stopped, by_itself);
                    if by_itself {
                        warn!(input = self.name, session, "the capture stopped by itself");
                        // One that leaves has failed once, when it is gone.
                        if attached.leaves_for.is_none() {
                            self.failsafe(attached.failed(), "the capture stopped recording by itself");
                            attached.safe_since = None;
                        }
                    }
                }
            }
            Event::Refused(refused) => {
                warn!(input = self.name, code = refused.code, "the capture refused: {}", refused.text);
                let is_start = attached.starting.take_if(|request| *request == refused.request).is_some();
                if is_start {
                    self.failsafe(attached.failed(), &refused.text);
                } else {
                    // A stop of what is not recorded: then it has stopped.
                    attached.stopping = false;
                    if let Some(status) = &mut attached.status {
                        status.session = None;
                    }
                }
                let text = refused.text.as_str().to_owned();
                self.show(|view| (view.error, view.refused) = (text, is_start));
            }
            Event::FileOpened(file) => {
                if let (Some(part), Some(session)) = (&mut self.engaged, session) {
                    part.opened(&file);
                    self.report(Report::FileOpened { session, file }).await;
                }
            }
            Event::FileClosed(file) => {
                if let (Some(part), Some(session)) = (&mut self.engaged, session) {
                    part.closed(&file);
                    self.report(Report::FileClosed { session, file }).await;
                }
            }
            Event::FileLeft(file) => {
                if let Some(part) = &mut self.engaged {
                    part.left(&file);
                }
            }
            Event::Gap(gap) => {
                if let Some(session) = session {
                    self.report(Report::Gap { session, gap }).await;
                }
            }
            Event::Alert { code, text } => {
                self.look_at_storage(code);
                self.judge.told(code, &text);
            }
            Event::AlertCleared { code } => {
                self.look_at_storage(code);
                self.judge.untold(code);
            }
            Event::Leaving { cause, text } => {
                warn!(input = self.name, ?cause, "the capture ends by itself: {text}");
                attached.leaves_for = Some(text.as_str().to_owned());
                if let Some(part) = &mut self.engaged {
                    part.leaves_for(cause);
                }
            }
        }
    }
}
