//! Records of a session's journal. Postcard: variants and their fields are never changed, only variants added at the end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    #[must_use]
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

/// What was made of a session: video frames per stage, losses by reason, bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Came from the source.
    pub source: u64,
    /// Left the encoder.
    pub encoded: u64,
    /// Put into chunks.
    pub muxed: u64,
    /// On disk.
    pub safe: u64,
    /// On disk, bytes.
    pub safe_bytes: u64,
    /// Lost, by reason.
    pub dropped: BTreeMap<String, u64>,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.source += other.source;
        sum.encoded += other.encoded;
        sum.muxed += other.muxed;
        sum.safe += other.safe;
        sum.safe_bytes += other.safe_bytes;
        for (reason, frames) in &other.dropped {
            *sum.dropped.entry(reason.clone()).or_default() += frames;
        }
        sum
    }

    /// All losses.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}
