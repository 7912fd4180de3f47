//! Alerts: what an operator should know, each with a code that never changes its meaning and a remedy.
//!
//! The table is part of the contract: the recorder raises these, `holdfast doctor` and panels know them by name.

use serde::{Deserialize, Serialize};
use zbus::zvariant::{DeserializeDict, OwnedValue, SerializeDict, Type, Value};

/// How bad it is. Ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertLevel {
    /// Good to know; nothing needs to be done.
    Info,
    /// It records, but somebody should look.
    Warning,
    /// Footage is not being recorded, or is about to be lost.
    Critical,
}

impl AlertLevel {
    /// As on D-Bus.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

macro_rules! alerts {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $level:ident, $remedy:literal;)+) => {
        /// What is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum AlertCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl AlertCode {
            /// All codes, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As on D-Bus.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            /// How bad it is.
            #[must_use]
            pub const fn level(self) -> AlertLevel {
                match self { $(Self::$name => AlertLevel::$level,)+ }
            }

            /// What it means, for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// What to do about it, for people.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

alerts! {
    /// A capture process ended while its input was wanted. Cleared when its successor records.
    CaptureDied = "capture-died", Warning, "nothing: it is restarted at once. If it comes again, look at why: journalctl -u 'holdfast-capture@*'";
    /// A capture is alive and says nothing.
    CaptureSilent = "capture-silent", Warning, "nothing: it is replaced when it stays silent. Look at the load of the box and at dmesg";
    /// So many attempts failed that the input is tried only now and then.
    InputFailing = "input-failing", Critical, "look at what the capture says: journalctl -u 'holdfast-capture@*'; it is tried again for ever, and goes on by itself";
    /// No frames come from the source.
    SourceStalled = "source-stalled", Critical, "check the camera, its cable and its power";
    /// Frames come in, none leave the encoder.
    EncoderStalled = "encoder-stalled", Critical, "nothing: the encoder is restarted, then replaced. If it comes again, look at dmesg and name another encoder";
    /// Frames leave the encoder, none become chunks.
    MuxerStalled = "muxer-stalled", Critical, "report it with the log: journalctl -u 'holdfast-capture@*'";
    /// Chunks wait for the disk.
    DiskStalled = "disk-stalled", Critical, "check the disk: dmesg, smartctl -a; find what else writes: iotop";
    /// The source fails; attempts go on.
    SourceFailed = "source-failed", Critical, "the text says what failed; check address, credentials, cable and power of the camera";
    /// An encoder failed; the next one on the ladder is tried.
    EncoderFailed = "encoder-failed", Warning, "look at dmesg; holdfast doctor shows which encoders work";
    /// Recording goes on with an encoder that is not the first choice.
    EncoderFallback = "encoder-fallback", Warning, "holdfast doctor shows which encoders work; stop and start the recording to try the first again";
    /// Frames could not be kept.
    FramesDropped = "frames-dropped", Warning, "holdfast show tells how many and why; a slow disk or an overloaded encoder are the usual causes";
    /// Frames came late: an interval of more than 500 ms.
    FramesLate = "frames-late", Warning, "check the network to the camera, or its exposure time in the dark";
    /// Less is written than the input should yield.
    RateLow = "rate-low", Warning, "check the picture: a covered lens or a frozen camera yields little";
    /// The input can't work on this box as it is configured.
    InputConfiguration = "input-configuration", Critical, "mend the configuration; holdfast doctor shows what is missing";
    /// An input that nobody records can't be reached: a recording of it would have no pictures.
    InputUnreachable = "input-unreachable", Warning, "the text says what is missing; check address, credentials, cable and power of the camera before you record";
    /// A capture uses more memory than it should. It is not killed for it.
    MemoryHigh = "memory-high", Warning, "report it with the log; stop and start the recording when it is convenient";
    /// A capture uses more of the CPU than it should.
    CpuHigh = "cpu-high", Warning, "use a hardware encoder, a smaller picture, or a camera that encodes by itself";
    /// A process has ended and is not collected.
    Zombie = "zombie", Info, "report it with the log";
    /// A process could not be given its priority.
    PriorityDenied = "priority-denied", Warning, "run under systemd with the units that come with Holdfast, or as root";
    /// The wall clock was set while something was recorded. Order and durations are not touched.
    ClockStepped = "clock-stepped", Info, "nothing: names and times of footage are labels; the ledger has the correction";
    /// The clock can't be right.
    ClockWrong = "clock-wrong", Warning, "set the clock: timedatectl set-ntp true; footage is ordered without it";
    /// The box is hot.
    TemperatureHigh = "temperature-high", Warning, "give it air; check fan and dust filter";
    /// The box is so hot that it slows itself down.
    TemperatureCritical = "temperature-critical", Critical, "give it air now; load is being shed, the recording's bit rate last";
    /// The storage fills.
    StorageWarn = "storage-warn", Warning, "free space soon: delete or move sessions, or let retention do it (storage.keep_days)";
    /// So full that recordings are not started.
    StorageLow = "storage-low", Critical, "delete or move sessions now, or let retention do it (storage.keep_free_percent)";
    /// So full that recordings are closed.
    StorageCritical = "storage-critical", Critical, "delete or move sessions now";
    /// Missing, on the wrong filesystem or read-only.
    StorageUnavailable = "storage-unavailable", Critical, "the text says what is wrong; check the disk and its mount";
    /// The disk refused a write.
    WriteFailed = "write-failed", Critical, "check the disk: dmesg, smartctl -a; replace it if it reports errors";
    /// The disk is slow, but nothing is lost yet.
    DiskSlow = "disk-slow", Warning, "find what else writes (iotop); check the disk: smartctl -a; a worn card should be replaced";
    /// Retention wants to delete and may not.
    RetentionBlocked = "retention-blocked", Warning, "unprotect sessions (holdfast unprotect), archive them, or give the storage more room";
    /// Footage was deleted ahead of its time to keep recording.
    EmergencyCleanup = "emergency-cleanup", Warning, "give the storage more room, or keep less (storage.keep_days)";
    /// A session was interrupted, and why.
    SessionInterrupted = "session-interrupted", Warning, "holdfast recovery shows what was interrupted and what was recovered";
    /// An interrupted session waits for somebody to decide.
    ResumeWaiting = "resume-waiting", Critical, "holdfast recovery resume, or holdfast recovery dismiss";
    /// The recorder or a capture has crashed.
    Crashed = "crashed", Warning, "report it with the log: journalctl -b -1 -u 'holdfast-*'";
    /// State was damaged, set aside and rebuilt from the files.
    StateCorrupt = "state-corrupt", Warning, "holdfast recovery shows what was set aside; check the disk: smartctl -a";
    /// The owner of a lease was told to come to an end and has not said that it has.
    LeaseOverdue = "lease-overdue", Warning, "holdfast leases shows whose it is; holdfast leases revoke takes it away, ending the program is up to you";
    /// Something heavy runs beside a recording because somebody wanted it so.
    LeaseOverride = "lease-override", Warning, "holdfast leases shows whose it is, holdfast leases revoke ends it";
    /// The box is under pressure and sheds load.
    PressureHigh = "pressure-high", Warning, "find what loads the box: systemd-cgtop; recording comes first";
    /// The box is under such pressure that the recording's bit rate is lowered.
    PressureCritical = "pressure-critical", Critical, "find what loads the box: systemd-cgtop; the bit rate comes back by itself";
    /// A device of the front panel does not answer: buttons and lights that it carries are dead.
    PanelDevice = "panel-device", Warning, "the text says which and why; check its cable, power and address in panel.toml. Recordings are not touched, and holdfast start and stop work";
    /// A button of the front panel is stuck or chatters, and means nothing until it is well.
    PanelButton = "panel-button", Warning, "look at its contact and wire; holdfast start and stop work meanwhile";
}

impl AlertCode {
    /// Those that are reported by other programs of Holdfast (`ReportAlerts`), and not found by the recorder itself.
    pub const REPORTED: &[Self] = &[Self::PanelDevice, Self::PanelButton];

    /// The code of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// An alert as it crosses the bus.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct AlertInfo {
    /// [`AlertCode::name`]; a client may meet codes that are newer than itself.
    pub code: String,
    /// info, warning or critical.
    pub level: String,
    /// What it is about: the name of an input, `storage`, `recorder`, `clock`, …
    pub source: String,
    /// What happened, for people.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
    /// When it was raised, microseconds of Unix time.
    pub since: i64,
    /// When it was raised or repeated last.
    pub last: i64,
    /// How often since.
    pub count: u32,
    /// It still holds.
    pub active: bool,
    /// When it was cleared; 0 while it holds.
    pub cleared: i64,
}

/// An alert that another program of Holdfast reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Type)]
pub struct Reported {
    /// Name of one of [`AlertCode::REPORTED`].
    pub code: String,
    /// What it is about, such as `panel/front`; 1 to 64 bytes.
    pub source: String,
    /// What happened, for people; up to 500 bytes.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::AlertCode;

    #[test]
    fn names_are_unique_and_every_alert_has_a_remedy() {
        for code in AlertCode::ALL {
            assert_eq!(AlertCode::from_name(code.name()), Some(*code));
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(code.name().chars().all(plain), "{}", code.name());
            assert!(code.remedy().len() > 5, "{}", code.name());
            assert!(code.meaning().ends_with('.'), "{}: {}", code.name(), code.meaning());
        }
    }

    #[test]
    fn the_page_shows_every_code() {
        let page = include_str!("../../docs/alerts.md");
        let row = |code: &AlertCode| {
            let (name, level) = (code.name(), code.level().name());
            format!("| `{name}` | {level} | {} | {} |", code.meaning().trim_end_matches('.'), code.remedy())
        };
        let wanted: Vec<String> = AlertCode::ALL.iter().map(row).collect();
        let lines = page.lines().skip_while(|line| !line.starts_with("| code | level |"));
        let found: Vec<&str> = lines.take_while(|line| line.starts_with('|')).skip(2).collect();
        assert_eq!(found, wanted, "docs/alerts.md should have:\n{}", wanted.join("\n"));
    }
}
