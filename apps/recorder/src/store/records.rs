//! Records of the recorder's own journal. Postcard: variants and their fields are never changed, only variants added at the end.

use holdfast_records::Checkpoint;
use serde::{Deserialize, Serialize};

/// Name of the recorder's own state: `recorder.journal` in the state directory.
pub const STATE_JOURNAL: &str = "recorder";
/// Schema of [`StateRecord`].
pub const STATE_SCHEMA: u32 = 2;

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
