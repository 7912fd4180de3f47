//! Judges what a capture says of itself: alerts for its input, raised and cleared.

use holdfast_dbus::AlertCode;
use holdfast_link::{AlertCode as Told, DropReason, Phase, SourceState, Status};

use crate::alerts::Alerts;
use crate::health::rate::{Change, Mishaps, Rate, Verdict};
use crate::health::stages::{Stage, Stages};

/// About a capture that runs. They end with it.
const OF_THE_CAPTURE: &[AlertCode] = &[
    AlertCode::CaptureSilent,
    AlertCode::SourceFailed,
    AlertCode::EncoderFailed,
    AlertCode::InputConfiguration,
    AlertCode::PriorityDenied,
];
/// About a recording. They end with it.
const OF_THE_RECORDING: &[AlertCode] = &[
    AlertCode::SourceStalled,
    AlertCode::EncoderStalled,
    AlertCode::MuxerStalled,
    AlertCode::DiskStalled,
    AlertCode::EncoderFallback,
    AlertCode::WriteFailed,
    AlertCode::StorageCritical,
    AlertCode::StorageUnavailable,
    AlertCode::FramesDropped,
    AlertCode::FramesLate,
    AlertCode::RateLow,
];

/// The judge of one input, over all its captures.
#[derive(Debug)]
pub(super) struct Judge {
    alerts: Alerts,
    input: String,
    recording: Option<Recording>,
}

/// What is known of the recording under way, in one process.
#[derive(Debug)]
struct Recording {
    session: String,
    stages: Stages,
    stalled: Option<Stage>,
    dropped: Mishaps,
    late: Mishaps,
    rate: Rate,
    safe_bytes: u64,
    /// Frames wait for the writer.
    queued: bool,
}

impl Judge {
    pub(super) fn new(alerts: Alerts, input: String) -> Self {
        Self { alerts, input, recording: None }
    }

    /// It has happened (again).
    pub(super) fn raise(&self, code: AlertCode, text: impl Into<String>) {
        self.alerts.raise(code, &self.input, text);
    }

    /// It no longer holds.
    pub(super) fn clear(&self, code: AlertCode) {
        self.alerts.clear(code, &self.input);
    }

    /// A capture was found or started: what it recorded before is not known, and what it has lost already is no news.
    pub(super) fn meet(&mut self) {
        self.recording = None;
    }

    /// No capture runs.
    pub(super) fn gone(&mut self) {
        self.recording = None;
        self.alerts.clear_all(OF_THE_CAPTURE, &self.input);
        self.alerts.clear_all(OF_THE_RECORDING, &self.input);
    }

    /// How it goes.
    pub(super) fn status(&mut self, now_ns: u64, status: &Status) {
        match &status.source {
            SourceState::Streaming => {
                for code in [AlertCode::SourceFailed, AlertCode::EncoderFailed, AlertCode::InputConfiguration] {
                    self.clear(code);
                }
            }
            // What was told before this recorder started is not told again.
            SourceState::Waiting { error, .. } if !self.knows_why_it_waits() => {
                self.raise(AlertCode::SourceFailed, error.as_str());
            }
            SourceState::Waiting { .. } | SourceState::Connecting => (),
        }
        let session = status.session.as_deref().filter(|_| status.phase != Phase::Stopping);
        if self.recording.as_ref().map(|recording| recording.session.as_str()) != session {
            self.recording = session.map(|session| Recording::new(now_ns, session, status));
            self.alerts.clear_all(OF_THE_RECORDING, &self.input);
        }
        let Some(recording) = &mut self.recording else { return };
        let counts = [status.counts.source, status.counts.encoded, status.counts.muxed, status.counts.safe];
        recording.stages.hear(now_ns, counts);
        let dropped = recording.dropped.hear(now_ns, lost(status));
        let late = recording.late.hear(now_ns, status.late.frames);
        let rate = recording.rate.hear(now_ns, status.safe_bytes);
        let writes = status.safe_bytes > recording.safe_bytes;
        recording.safe_bytes = status.safe_bytes;
        recording.queued = status.queue_bytes > 0;
        if writes {
            // The capture says so as well; but perhaps to a recorder that was not there.
            for code in [AlertCode::WriteFailed, AlertCode::StorageCritical, AlertCode::StorageUnavailable] {
                self.clear(code);
            }
        }
        self.alerts.set(status.encoder_fallback, AlertCode::EncoderFallback, &self.input, || {
            format!("it records with {}, after {} failures of an encoder", status.encoder, status.encoder_failures)
        });
        self.mishaps(AlertCode::FramesDropped, dropped, |by| format!("{by} more frames could not be kept"));
        let longest_ms = status.late.longest_ms;
        self.mishaps(AlertCode::FramesLate, late, |by| {
            format!("{by} more frames came late; the longest interval of this recording was {longest_ms} ms")
        });
        match rate {
            Some(Verdict::Low(now, usual)) => {
                self.raise(AlertCode::RateLow, format!("{now} bytes/s, where {usual} are usual for this recording"));
            }
            Some(Verdict::Well) => self.clear(AlertCode::RateLow),
            None => (),
        }
        self.look(now_ns);
    }

    fn knows_why_it_waits(&self) -> bool {
        let holds = |code| self.alerts.holds(code, &self.input);
        holds(AlertCode::SourceFailed) || holds(AlertCode::EncoderFailed) || holds(AlertCode::InputConfiguration)
    }

    fn mishaps(&self, code: AlertCode, change: Option<Change>, text: impl FnOnce(u64) -> String) {
        match change {
            Some(Change::Rose(by)) => self.raise(code, text(by)),
            Some(Change::Rested) => self.clear(code),
            None => (),
        }
    }

    /// Whether a stage stands still, heard of or not.
    pub(super) fn look(&mut self, now_ns: u64) {
        let Some(recording) = &mut self.recording else { return };
        let stalled = recording.stages.stalled(now_ns).map(|(stage, for_ns)| match stage {
            // A writer that waits in write(2) makes no chunks either; one that waits for a keyframe empties its queue.
            Stage::Muxer if recording.queued => (Stage::Disk, for_ns),
            stage => (stage, for_ns),
        });
        let before = std::mem::replace(&mut recording.stalled, stalled.map(|(stage, _)| stage));
        let Some((stage, for_ns)) = stalled else {
            return before.into_iter().for_each(|stage| self.clear(stage.alert()));
        };
        if before != Some(stage) {
            before.into_iter().for_each(|stage| self.clear(stage.alert()));
            self.raise(stage.alert(), stage.text(for_ns));
        }
    }

    /// When to [`Judge::look`] if nothing is heard until then.
    pub(super) fn due_ns(&self, now_ns: u64) -> Option<u64> {
        self.recording.as_ref()?.stages.due_ns(now_ns)
    }

    /// The capture raises an alert.
    pub(super) fn told(&self, code: Told, text: &str) {
        match alert_code(code) {
            Some(code) => self.raise(code, text),
            None => tracing::info!(input = self.input, ?code, "{text}"),
        }
    }

    /// The capture clears an alert.
    pub(super) fn untold(&self, code: Told) {
        if let Some(code) = alert_code(code) {
            self.clear(code);
        }
    }
}

impl Recording {
    fn new(now_ns: u64, session: &str, status: &Status) -> Self {
        Self {
            session: session.to_owned(),
            stages: Stages::new(now_ns),
            stalled: None,
            dropped: Mishaps::from(lost(status)),
            late: Mishaps::from(status.late.frames),
            rate: Rate::default(),
            safe_bytes: status.safe_bytes,
            queued: false,
        }
    }
}

/// Frames lost since the process began recording. Those before the first keyframe could never have been decoded.
fn lost(status: &Status) -> u64 {
    status.drops.iter().filter(|drop| drop.reason != DropReason::NoKeyframe).map(|drop| drop.frames).sum()
}

/// What a capture's alert is called in the register. The clock is watched by the recorder itself, once for all inputs.
fn alert_code(code: Told) -> Option<AlertCode> {
    Some(match code {
        Told::Source => AlertCode::SourceFailed,
        Told::Encoder => AlertCode::EncoderFailed,
        Told::EncoderFallback => AlertCode::EncoderFallback,
        Told::Storage | Told::StorageReadOnly => AlertCode::StorageUnavailable,
        Told::StorageFull => AlertCode::StorageCritical,
        Told::WriteFailed => AlertCode::WriteFailed,
        Told::Dropped => AlertCode::FramesDropped,
        Told::Configuration => AlertCode::InputConfiguration,
        Told::Priority => AlertCode::PriorityDenied,
        Told::ClockStepped => return None,
    })
}
