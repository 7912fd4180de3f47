//! What is shown of an input.

use holdfast_link::{DropReason, GapCause, Phase, SourceState, Status};
use holdfast_records::Tally;

const NS_PER_S: u64 = 1_000_000_000;

/// An input as it is now. Cheap to clone and compare.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputView {
    /// What it is doing.
    pub state: InputState,
    /// Kept running between recordings.
    pub armed: bool,
    /// The encoder in use.
    pub encoder: String,
    /// connecting, streaming, waiting or empty.
    pub source_state: &'static str,
    /// What fails: source, capture process or its start.
    pub error: String,
    /// That is a refusal to record, which holds until it records, however well its source delivers.
    pub refused: bool,
    /// The session it takes part in.
    pub session: Option<String>,
    /// The session that `tally` is about: the present or the last one.
    pub tally_session: Option<String>,
    /// What it made of it.
    pub tally: Tally,
    /// Times its capture was started again after a death.
    pub restarts: u32,
    /// Its process.
    pub pid: u32,
    /// Below the storage root.
    pub current_file: String,
    /// Pre-roll held.
    pub preroll_ms: u32,
    /// Waiting for the disk.
    pub queue_bytes: u64,
    /// How much may wait.
    pub queue_capacity_bytes: u64,
    /// The last sync.
    pub sync_us: u32,
    /// The slowest since the last word of the capture.
    pub sync_max_us: u32,
    /// The slowest of the last seconds: for who looks now and then, and would miss most of its words.
    pub slowest: SlowestSync,
}

/// The slowest sync, second by second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SlowestSync {
    second: u64,
    us: u32,
    before_us: u32,
}

impl SlowestSync {
    /// One took so long.
    pub fn note(&mut self, now_ns: u64, us: u32) {
        let second = now_ns / NS_PER_S;
        if second > self.second {
            let before_us = self.last_second(now_ns);
            *self = Self { second, us: 0, before_us };
        }
        self.us = self.us.max(us);
    }

    /// Of the last whole second before this one.
    pub fn last_second(&self, now_ns: u64) -> u32 {
        match (now_ns / NS_PER_S).saturating_sub(self.second) {
            0 => self.before_us,
            1 => self.us,
            _ => 0,
        }
    }
}

/// What an input is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum InputState {
    /// No process, none wanted.
    #[default]
    Off,
    /// The source does not deliver yet, or again.
    Connecting,
    /// Ready, with pre-roll.
    Armed,
    /// Recording was asked for; nothing is safe yet.
    Starting,
    /// Recording.
    Recording,
    /// Closing its files.
    Stopping,
    /// Its process died or can't be started; it is tried again.
    Failed,
}

impl InputState {
    /// As on D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Connecting => "connecting",
            Self::Armed => "armed",
            Self::Starting => "starting",
            Self::Recording => "recording",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

impl InputView {
    /// Takes over what a capture says of itself.
    pub fn update(&mut self, status: &Status, directory: Option<&str>) {
        self.state = match status.phase {
            Phase::Connecting if self.session.is_some() => InputState::Starting,
            Phase::Connecting => InputState::Connecting,
            Phase::Armed => InputState::Armed,
            Phase::Starting => InputState::Starting,
            Phase::Recording => InputState::Recording,
            Phase::Stopping => InputState::Stopping,
        };
        replace(&mut self.encoder, &status.encoder);
        self.refused &= status.session.is_none();
        match &status.source {
            SourceState::Connecting => self.source_state = "connecting",
            SourceState::Streaming => {
                self.source_state = "streaming";
                if !self.refused {
                    self.error.clear();
                }
            }
            SourceState::Waiting { error, .. } => {
                self.source_state = "waiting";
                replace(&mut self.error, error);
            }
        }
        match directory {
            Some(directory) if !status.file.is_empty() => {
                let file = format!("{directory}/{}.part", status.file.trim_end_matches(".part"));
                replace(&mut self.current_file, &file);
            }
            _ => self.current_file.clear(),
        }
        self.preroll_ms = status.preroll_ms;
        self.queue_bytes = status.queue_bytes;
        self.queue_capacity_bytes = status.queue_capacity_bytes;
        self.sync_us = status.sync_us;
        self.sync_max_us = status.sync_max_us;
        self.slowest.note(crate::clock::mono_ns(), status.sync_max_us);
    }

    /// No process runs (any longer).
    pub fn gone(&mut self, state: InputState) {
        self.state = state;
        self.refused = false;
        self.pid = 0;
        self.source_state = "";
        self.current_file.clear();
        self.preroll_ms = 0;
        self.queue_bytes = 0;
    }
}

/// Keeps the allocation when nothing has changed, which is nearly always.
fn replace(text: &mut String, new: &str) {
    if text != new {
        new.clone_into(text);
    }
}

/// As on D-Bus and in the journal.
pub fn cause_name(cause: GapCause) -> &'static str {
    match cause {
        GapCause::CaptureDied => "capture-died",
        GapCause::SourceLost => "source-lost",
        GapCause::DiskStall => "disk-stall",
        GapCause::EncoderFailed => "encoder-failed",
        GapCause::Reboot => "reboot",
        GapCause::Operator => "operator",
        GapCause::FormatChange => "format-change",
        GapCause::Unknown => "unknown",
        GapCause::DiskFailed => "disk-failed",
    }
}

/// The same, of a cause as files tell it.
pub fn segment_cause_name(cause: holdfast_segment::GapCause) -> &'static str {
    use holdfast_segment::GapCause as Cause;
    match cause {
        Cause::CaptureDied => "capture-died",
        Cause::SourceLost => "source-lost",
        Cause::DiskStall => "disk-stall",
        Cause::DiskFailed => "disk-failed",
        Cause::EncoderFailed => "encoder-failed",
        Cause::Reboot => "reboot",
        Cause::Operator => "operator",
        Cause::FormatChange => "format-change",
        // It may be of a newer version.
        _ => "unknown",
    }
}

/// As on D-Bus and in the journal.
pub fn drop_name(reason: DropReason) -> &'static str {
    match reason {
        DropReason::DiskStall => "disk-stall",
        DropReason::WriteFailed => "write-failed",
        DropReason::Encoder => "encoder",
        DropReason::NoKeyframe => "no-keyframe",
        DropReason::Corrupt => "corrupt",
        DropReason::Overload => "overload",
    }
}

#[cfg(test)]
mod tests {
    use super::{NS_PER_S, SlowestSync};

    #[test]
    fn who_looks_once_a_second_sees_the_slowest_sync_of_each() {
        let mut slowest = SlowestSync::default();
        let at = |tenths: u64| tenths * NS_PER_S / 10;
        // What stood still is over, and the chunks that had waited follow at once.
        for (tenths, us) in [(100, 700_000), (100, 300), (101, 200), (113, 400), (118, 650_000), (119, 90)] {
            slowest.note(at(tenths), us);
        }
        assert_eq!(slowest.last_second(at(119)), 700_000);
        assert_eq!(slowest.last_second(at(125)), 650_000);
        assert_eq!(slowest.last_second(at(135)), 0, "nothing was written");
        slowest.note(at(140), 5);
        assert_eq!(slowest.last_second(at(140)), 0, "nor in the second before");
    }
}
