//! Whether the safe counts of one input advance.

use super::{BEGINNING_NS, PATIENCE_NS};
use crate::snapshot::InputSnapshot;

/// One input in one session.
#[derive(Debug, Clone)]
pub(super) struct Track {
    frames: Count,
    bytes: Count,
    /// First heard of, or its counts went back: until it advances it has made nothing safe that this panel has seen.
    seen_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    value: u64,
    /// When it was last seen to have grown.
    grew_ns: Option<u64>,
}

/// What that comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was seen to become safe yet, and that is not worrying yet.
    Begins,
    /// Footage becomes safe.
    Advances,
    /// It doesn't.
    Stalled,
}

impl Count {
    /// One that goes back (a recorder that counts anew) has not grown.
    fn becomes(&mut self, value: u64, at_ns: u64) {
        if value > self.value {
            self.grew_ns = Some(at_ns);
        }
        self.value = value;
    }
}

impl Track {
    pub(super) fn begin(input: &InputSnapshot, at_ns: u64) -> Self {
        let count = |value| Count { value, grew_ns: None };
        Self { frames: count(input.safe_frames), bytes: count(input.safe_bytes), seen_ns: at_ns }
    }

    pub(super) fn counts(&mut self, input: &InputSnapshot, at_ns: u64) {
        self.frames.becomes(input.safe_frames, at_ns);
        self.bytes.becomes(input.safe_bytes, at_ns);
    }

    pub(super) fn progress(&self, now_ns: u64) -> Progress {
        match (self.advanced_ns(), now_ns < self.lapses_ns()) {
            (Some(_), true) => Progress::Advances,
            (None, true) => Progress::Begins,
            (_, false) => Progress::Stalled,
        }
    }

    /// When it counts as stalled if nothing more is heard.
    pub(super) fn lapses_ns(&self) -> u64 {
        let (from_ns, patience_ns) = match self.advanced_ns() {
            Some(advanced_ns) => (advanced_ns, PATIENCE_NS),
            // It had begun before this panel looked: then it advances at once, or is stalled.
            None if self.frames.value > 0 || self.bytes.value > 0 => (self.seen_ns, PATIENCE_NS),
            None => (self.seen_ns, BEGINNING_NS),
        };
        from_ns.saturating_add(patience_ns)
    }

    /// When both were last seen to grow: the older of the two.
    fn advanced_ns(&self) -> Option<u64> {
        Some(self.frames.grew_ns?.min(self.bytes.grew_ns?))
    }
}
