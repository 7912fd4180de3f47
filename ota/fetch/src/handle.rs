//! What a caller can do with a running fetch, and what it sees of it.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// What the caller wants now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// Bytes per second; `None`: as fast as it goes; 0: not at all.
    pub cap: Option<u64>,
    pub paused: bool,
    pub cancelled: bool,
}

impl Order {
    pub fn stands_still(&self) -> bool {
        self.paused || self.cap == Some(0)
    }
}

/// Steers a [`Fetcher`](crate::Fetcher); clones steer the same one.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Only the newest order counts.
    pub(crate) order: watch::Sender<Order>,
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Handle {
    /// Caps what is read from the network, in bytes per second; 0 pauses, `None` lifts the cap. Acts at once.
    pub fn cap(&self, bytes_per_second: Option<u64>) {
        self.order.send_modify(|order| order.cap = bytes_per_second);
    }

    /// Stops reading until [`resume`](Self::resume), such as while a lease is not given. What has come is made safe.
    ///
    /// A RAUC that streams through a [`Proxy`](crate::Proxy) meanwhile gives up after 300 s: where pauses may be longer, let it have
    /// the finished file.
    pub fn pause(&self) {
        self.order.send_modify(|order| order.paused = true);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.order.send_modify(|order| order.paused = false);
    }

    /// Ends the fetch with [`Error::Cancelled`](crate::Error::Cancelled). What has come is made safe, and stays.
    pub fn cancel(&self) {
        self.order.send_modify(|order| order.cancelled = true);
    }

    /// What has been done; the newest state only, a reader that is slow misses those between.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

/// What a fetch does at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not begun.
    #[default]
    Idle,
    /// Asks the server or reads from it.
    Fetching,
    /// By order of the caller.
    Paused,
    /// After a failure, before the next attempt.
    Waiting,
    /// All is there; the SHA-256 of the whole is taken.
    Verifying,
    /// Done; the file is whole.
    Complete,
    /// Ended without; see the result.
    Ended,
}

/// How far a fetch is. Counts are of this run of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Bytes on disk, of earlier runs too.
    pub safe_bytes: u64,
    /// Length of the file, once it is known.
    pub total_bytes: Option<u64>,
    /// Bytes per second over the last second or so.
    pub rate: u64,
    /// Requests sent, redirects too.
    pub requests: u64,
    /// Bytes of the file received.
    pub received_bytes: u64,
    /// Those of them that had been received before in this run, or that a damaged chunk had cost.
    pub redownloaded_bytes: u64,
    /// Failed attempts.
    pub failures: u64,
    /// How often the file was begun anew because it was another, and why the last time.
    pub anew: u64,
    /// Why it was begun anew, or why the last attempt failed.
    pub note: Option<String>,
}

/// The rate over the last while.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    bytes: u64,
}

impl Meter {
    pub fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// The rate where a second is full.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a display"
    )]
    pub fn count(&mut self, bytes: u64) -> Option<u64> {
        self.bytes += bytes;
        let passed = self.since.elapsed();
        if passed < Duration::from_secs(1) {
            return None;
        }
        let rate = (self.bytes as f64 / passed.as_secs_f64()) as u64;
        *self = Self::new();
        Some(rate)
    }
}
