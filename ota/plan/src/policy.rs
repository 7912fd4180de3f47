//! How far an update goes by itself.

use crate::record::Wish;
use crate::window::Window;

/// What an operator has configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How far an update goes that nobody of this box has asked for.
    pub automatic: Wish,
    /// When it may do that; `None`: at any time.
    pub window: Option<Window>,
    /// How often an installation that may yet succeed is tried.
    pub attempts: u8,
    /// After one that failed, nanoseconds.
    pub retry_ns: u64,
    /// A new system that has not proven itself by then goes, nanoseconds.
    pub trial_ns: u64,
    /// How many boots a trial may take: a new system that crashes may be let in again by its boot loader.
    pub trial_boots: u8,
    /// A box that still runs so long after it was told to reboot does not reboot, nanoseconds.
    pub reboot_ns: u64,
    /// After a failure to ask for anything, nanoseconds.
    pub pause_ns: u64,
}

impl Default for Policy {
    fn default() -> Self {
        const S: u64 = 1_000_000_000;
        Self {
            automatic: Wish::Tell,
            window: None,
            attempts: 3,
            retry_ns: 5 * 60 * S,
            trial_ns: 10 * 60 * S,
            trial_boots: 3,
            reboot_ns: 5 * 60 * S,
            pause_ns: 30 * S,
        }
    }
}
