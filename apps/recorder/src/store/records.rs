//! Records of the journals. Postcard: variants and their fields are never changed, only variants added at the end.

use serde::{Deserialize, Serialize};

use crate::captures::Tally;

/// Name of a session's journal in its directory: `session.journal`.
pub const SESSION_JOURNAL: &str = "session";
/// Schema of [`Record`].
pub const SESSION_SCHEMA: u32 = 2;
/// Name of the recorder's own state: `recorder.journal` in the state directory.
pub const STATE_JOURNAL: &str = "recorder";
/// Schema of [`StateRecord`].
pub const STATE_SCHEMA: u32 = 2;

/// What happened in a session. The files hold all footage and its accounts; this is the story around them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// First record: who, what, when.
    Created {
        /// Session id.
        id: String,
        /// Text for people.
        label: String,
        /// Idempotency token or empty.
        token: String,
        /// Which inputs.
        inputs: Vec<String>,
        /// Unix time.
        wall_ns: i64,
        /// Monotonic time.
        mono_ns: u64,
        /// Of this boot.
        boot_id: [u8; 16],
    },
    /// A file was begun.
    FileOpened {
        /// Of this input.
        input: String,
        /// Its place.
        sequence: u64,
        /// Its id.
        file_id: [u8; 16],
        /// Its name.
        file: String,
    },
    /// A file got its final name.
    FileClosed {
        /// Of this input.
        input: String,
        /// Its place.
        sequence: u64,
        /// Its name.
        file: String,
        /// Video frames.
        frames: u64,
        /// Its length.
        bytes: u64,
        /// Its duration.
        duration_ms: u64,
        /// By recovery.
        recovered: bool,
    },
    /// A hole.
    Gap {
        /// Of this input.
        input: String,
        /// As on D-Bus.
        cause: String,
        /// When it began.
        start_mono_ns: u64,
        /// How long it was.
        duration_ms: u64,
        /// Frames that had come in.
        frames_lost: u64,
        /// When it was noted.
        wall_ns: i64,
    },
    /// A chapter.
    Mark {
        /// What was said.
        text: String,
        /// Unix time.
        wall_ns: i64,
        /// Monotonic time.
        mono_ns: u64,
    },
    /// Guarded against deletion, or no longer.
    Protected(bool),
    /// What the processes before the present one made of an input's part. The latest counts.
    Base {
        /// The input.
        input: String,
        /// All of it.
        base: Tally,
    },
    /// The recorder found the session interrupted and takes it up again.
    Resumed {
        /// Unix time.
        wall_ns: i64,
        /// Of this boot.
        boot_id: [u8; 16],
    },
    /// The recorder found the session interrupted and has closed it.
    Interrupted {
        /// Why it does not go on, for people.
        why: String,
        /// Unix time.
        wall_ns: i64,
        /// What it amounted to.
        totals: EndTotals,
    },
    /// The end.
    Stopped {
        /// Unix time.
        wall_ns: i64,
        /// What it amounted to.
        totals: EndTotals,
    },
    /// Retention gives this file up. Written before it goes, so a file may still be there.
    Deleted {
        /// Of this input.
        input: String,
        /// Its place.
        sequence: u64,
        /// Its name.
        file: String,
        /// Video frames.
        frames: u64,
        /// Its length.
        bytes: u64,
        /// As on D-Bus: age, total, free or emergency.
        cause: String,
        /// Unix time.
        wall_ns: i64,
    },
    /// Somebody asked for the end; `Stopped` follows when the files are closed. From here on it never goes on again.
    StopAsked {
        /// Unix time.
        wall_ns: i64,
    },
    /// The recorder found the session interrupted. What becomes of it follows.
    Interruption(Interruption),
    /// The session goes on after an interruption. (Before, `Resumed` said so.)
    ResumedAt {
        /// Unix time.
        wall_ns: i64,
        /// Of this boot.
        boot_id: [u8; 16],
        /// Monotonic time of this boot.
        mono_ns: u64,
        /// How long the session had been when it was interrupted, over all boots before this one.
        elapsed_ns: u64,
    },
    /// The first footage after an interruption is safe.
    SafeAgain {
        /// Unix time.
        wall_ns: i64,
        /// Since the kernel was started (`CLOCK_BOOTTIME`).
        boottime_ns: u64,
        /// Since the recorder was started.
        recorder_ns: u64,
    },
    /// The wall clock was set: labels of this boot from before are wrong by so much.
    ClockStepped {
        /// Unix time after it.
        wall_ns: i64,
        /// Monotonic time.
        mono_ns: u64,
        /// Of this boot.
        boot_id: [u8; 16],
        /// Forward, or backward if negative.
        by_ns: i64,
    },
    /// The journal was damaged. What it had lost and the files still knew was added to it before this.
    Rebuilt {
        /// Unix time.
        wall_ns: i64,
        /// What was found.
        why: String,
        /// Where the damaged files are.
        set_aside: Vec<String>,
    },
}

/// That a session was interrupted, and as far as it is known, why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// panic, oom, watchdog, kernel-panic, power, operator, killed, crash, storage or unknown.
    pub reason: String,
    /// How that is known, or why it is not, for people.
    pub evidence: String,
    /// The box has been started again since.
    pub rebooted: bool,
    /// When the last footage before it was safe, Unix time as it was then; 0 if there was none.
    pub safe_until_wall_ns: i64,
    /// When it was found, Unix time.
    pub found_wall_ns: i64,
    /// How long it had been then; `None` where the clocks can't tell.
    pub since_ns: Option<u64>,
}

/// What a session amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndTotals {
    /// Monotonic, from the first Start to the end.
    pub duration_ns: u64,
    /// Video frames on disk.
    pub safe_frames: u64,
    /// Bytes on disk.
    pub safe_bytes: u64,
    /// Frames that came in and could not be kept.
    pub lost_frames: u64,
    /// Files.
    pub files: u64,
    /// Inputs that did not close their files themselves.
    pub incomplete: Vec<String>,
}

/// The recorder's own state: what a restart must know before it has looked at the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StateRecord {
    /// An input was armed or disarmed at run time; overrides the configuration.
    Armed {
        /// The input.
        input: String,
        /// Armed?
        armed: bool,
    },
    /// The session being recorded.
    Session(Option<String>),
    /// The session being recorded, with all that its own journal's first record says: the one is the other's copy.
    Current(Checkpoint),
    /// This session was stopped, or closed, and never goes on by itself.
    Ended(String),
    /// A recorder was started.
    RunBegan(Run),
    /// The last recorder ended in good order.
    RunEnded {
        /// Unix time.
        wall_ns: i64,
    },
}

/// What a session is: enough to go on with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its id.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Idempotency token or empty.
    pub token: String,
    /// Which inputs.
    pub inputs: Vec<String>,
    /// Unix time of its start.
    pub wall_ns: i64,
    /// Monotonic time of its start.
    pub mono_ns: u64,
    /// Boot of its start.
    pub boot_id: [u8; 16],
}

impl Checkpoint {
    /// The first record of a session's journal.
    pub fn created(&self) -> Record {
        Record::Created {
            id: self.id.clone(),
            label: self.label.clone(),
            token: self.token.clone(),
            inputs: self.inputs.clone(),
            wall_ns: self.wall_ns,
            mono_ns: self.mono_ns,
            boot_id: self.boot_id,
        }
    }
}

/// One life of the recorder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// During this boot.
    pub boot_id: [u8; 16],
    /// When it began, Unix time.
    pub wall_ns: i64,
    /// Its process.
    pub pid: u32,
    /// Processes that the kernel had killed for want of memory by then, since the boot.
    pub oom_kills: Option<u64>,
}
