//! One supervisor per input: finds, starts, drives and replaces its capture process.
//!
//! The engine says what it [`Want`]s (the latest word counts); the supervisor compares that with what its capture says of
//! itself and acts on the difference, so that it makes no difference whether the capture was just started, had been running
//! for a week under an earlier recorder, or died a moment ago. What happens is told in [`Report`]s and shown in an [`InputView`].

mod attached;
mod engaged;
mod files;
mod judge;
mod launch;
mod link;
mod oneshot;
mod process;
mod silence;
mod supervisor;
mod systemd;
mod view;

pub use files::{Recovered, recover_parts, sequence_of, summary};
pub use launch::{Launcher, Spawn, find};
pub use oneshot::Oneshot;
pub use supervisor::{Handle, Shared, Supervisor};
pub use systemd::Systemd;
pub use view::{InputState, InputView, cause_name, segment_cause_name};

use holdfast_link::{FileClosed, FileOpened, GapCause, GapReport};
use holdfast_records::Tally;

#[cfg(test)]
mod tests;

/// What the engine wants of an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Want {
    /// At start: only look what is running, touch nothing.
    pub hold: bool,
    /// Keep it running between recordings.
    pub armed: bool,
    /// Record this.
    pub record: Option<Record>,
    /// The last session that was to end: `Report::Ended` is owed for it. Only the latest word is heard, so a supervisor may learn of
    /// the end of a session whose beginning it has missed.
    pub ended: Option<String>,
    /// That session ends because the storage is full.
    pub storage_full: bool,
    /// What of its bit rate the input records with, while the box is pressed; 0 counts as all of it.
    pub bitrate_percent: u8,
    /// Follows the call that this is the answer to through all logs; 0 for none.
    pub trace: u64,
    /// End the capture at once if it still records this session: it did not close its files in time.
    pub abandon: Option<String>,
}

/// A session that an input takes part in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The session.
    pub session: String,
    /// `<date>/<session>/<input>` below the root.
    pub directory: String,
    /// Follows one user action through all logs.
    pub trace: u64,
    /// What earlier processes made of this session, when the recorder has restarted.
    pub base: Tally,
    /// The highest number that one of its files is known to have had, there still or not; 0 if none is known.
    pub past_sequence: u64,
    /// The input has recorded in this session before: it resumes, with a gap.
    pub begun: bool,
    /// If so: the end of its last safe frame, as far as is known.
    pub safe_until_mono_ns: u64,
    /// The same in Unix time, if it was in an earlier boot and the clocks of then and now can both be right; else 0.
    pub safe_until_wall_ns: i64,
    /// If so: why. With [`GapCause::Reboot`] the time above is on the clock of an earlier boot.
    pub cause: GapCause,
}

/// What a supervisor tells the engine.
#[derive(Debug)]
pub enum Report {
    /// Once, at start: what was running.
    Found {
        /// The session its capture records, if any.
        session: Option<String>,
        /// It records right now.
        recording: bool,
    },
    /// The first chunk is safe.
    Safe {
        /// Session.
        session: String,
    },
    /// All files of this input are closed, or recovered.
    Ended {
        /// Session.
        session: String,
    },
    /// What processes before the present one made of the session.
    Base {
        /// Session.
        session: String,
        /// All of it.
        base: Tally,
    },
    /// A file was begun.
    FileOpened {
        /// Session.
        session: String,
        /// The file.
        file: FileOpened,
    },
    /// A file is durable under its final name.
    FileClosed {
        /// Session.
        session: String,
        /// The file.
        file: FileClosed,
    },
    /// A file that a dead capture left open was closed.
    FileRecovered {
        /// Session.
        session: String,
        /// The file.
        file: Recovered,
    },
    /// The recording has a hole.
    Gap {
        /// Session.
        session: String,
        /// The hole.
        gap: GapReport,
    },
}
