//! Keeps probes and the capture of one input apart: the capture always goes first.
//!
//! Its supervisor says whose the source is; a probe looks only while it is nobody's, and a supervisor that is about to start a
//! capture waits (for a moment, not longer) until a probe that was under way has gone.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How long a capture waits for a probe that is being ended. A probe that does not go within that hangs in the kernel, and nobody
/// can tell for how long: the capture is started all the same, and tries its source for ever anyway.
const PATIENCE: Duration = Duration::from_millis(250);

/// Whose an input's source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nobody's yet: it is being decided.
    Held,
    /// Nobody's: it may be looked at.
    Free,
    /// A capture's, or it is about to be.
    Taken,
}

/// See the module.
#[derive(Debug)]
pub struct Way {
    right: watch::Sender<Right>,
    /// A probe is under way.
    busy: watch::Sender<bool>,
}

impl Default for Way {
    fn default() -> Self {
        Self { right: watch::Sender::new(Right::Held), busy: watch::Sender::new(false) }
    }
}

/// As long as it is there, the source may be looked at.
#[derive(Debug)]
pub struct Free<'a>(&'a Way);

/// A probe under way.
#[derive(Debug)]
pub struct Busy<'a>(&'a Way);

impl Way {
    /// No capture runs, and none is wanted.
    pub fn free(&self) -> Free<'_> {
        self.say(Right::Free);
        Free(self)
    }

    /// A capture serves the input, or is about to be started. A probe that is under way is ended.
    pub fn take(&self) {
        self.say(Right::Taken);
    }

    /// Waits until no probe is under way; false if one would not go.
    pub async fn cleared(&self) -> bool {
        timeout(PATIENCE, self.busy.subscribe().wait_for(|busy| !busy)).await.is_ok()
    }

    fn say(&self, right: Right) {
        self.right.send_if_modified(|said| std::mem::replace(said, right) != right);
    }

    /// Whose the source is, as it changes.
    pub fn right(&self) -> watch::Receiver<Right> {
        self.right.subscribe()
    }

    /// A probe begins, if it may. Said first and asked then: whoever takes the source sees the one or forbids the other.
    pub fn enter(&self) -> Option<Busy<'_>> {
        self.busy.send_replace(true);
        let busy = Busy(self);
        (*self.right.borrow() == Right::Free).then_some(busy)
    }
}

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.say(Right::Held);
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.send_replace(false);
    }
}
