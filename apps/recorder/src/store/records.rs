//! Records of the journals. Postcard: variants and their fields are never changed, only variants added at the end.

use serde::{Deserialize, Serialize};

use crate::captures::Tally;

/// Name of a session's journal in its directory: `session.journal`.
pub const SESSION_JOURNAL: &str = "session";
/// Schema of [`Record`].
pub const SESSION_SCHEMA: u32 = 1;
/// Name of the recorder's own state: `recorder.journal` in the state directory.
pub const STATE_JOURNAL: &str = "recorder";
/// Schema of [`StateRecord`].
pub const STATE_SCHEMA: u32 = 1;

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
}
