//! Signs of life, wishes and news that the threads leave for each other in [`Shared`].

use std::sync::atomic::Ordering;

use holdfast_link::{self as link, AlertCode, Event};

use super::{Leaving, Shared, To, lock};
use crate::clock;

/// What the writer and the source are at; for the watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// The writer's last turn.
    pub writer_turn_ns: u64,
    /// Since when it waits for the disk; 0: it does not.
    pub disk_since_ns: u64,
    /// Since when the source's thread is busy with something that should have an end; 0: it is not.
    pub source_busy_ns: u64,
}

impl Shared {
    /// The writer has begun another turn.
    pub fn writer_turns(&self) {
        self.writer_turn_ns.store(clock::mono_ns(), Ordering::Relaxed);
    }

    /// Does what may have to wait for the disk.
    pub fn at_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.disk_since_ns.store(clock::mono_ns(), Ordering::Relaxed);
        let done = work();
        self.disk_since_ns.store(0, Ordering::Relaxed);
        self.writer_turns();
        done
    }

    /// The source's thread is busy with something that must come to an end by itself, or is not any more.
    pub fn set_source_busy(&self, busy: bool) {
        self.source_busy_ns.store(if busy { clock::mono_ns() } else { 0 }, Ordering::Relaxed);
    }

    /// What they are at.
    pub fn signs(&self) -> Signs {
        Signs {
            writer_turn_ns: self.writer_turn_ns.load(Ordering::Relaxed),
            disk_since_ns: self.disk_since_ns.load(Ordering::Relaxed),
            source_busy_ns: self.source_busy_ns.load(Ordering::Relaxed),
        }
    }

    /// Tells everybody, now and whoever connects later, until it is [cleared](Shared::clear). Telling the same again is no news.
    pub fn raise(&self, code: AlertCode, text: &str) {
        let text = link::clip(text);
        if self.alerts.raise(code, &text) {
            self.tell(To::All, Event::Alert { code, text });
        }
    }

    /// It holds no longer.
    pub fn clear(&self, code: AlertCode) {
        if self.alerts.clear(code) {
            self.tell(To::All, Event::AlertCleared { code });
        }
    }

    /// Somebody asks for this share of the bit rate.
    pub fn ask_bitrate(&self, percent: u8) {
        self.bitrate.0.store(percent.clamp(1, 100), Ordering::Relaxed);
        self.changed();
    }

    /// The share that is asked for.
    pub fn asked_bitrate(&self) -> u8 {
        self.bitrate.0.load(Ordering::Relaxed)
    }

    /// This share holds.
    pub fn set_bitrate(&self, percent: u8) {
        if self.bitrate.1.swap(percent, Ordering::Relaxed) != percent {
            self.poke();
        }
    }

    /// How it stands with encoders in this recording.
    pub fn set_ladder(&self, failures: u32, fallback: bool) {
        self.encoder_failures.store(failures, Ordering::Relaxed);
        self.encoder_fallback.store(fallback, Ordering::Relaxed);
    }

    /// Whether somebody is connected who would start this process again.
    pub fn set_has_peers(&self, has_peers: bool) {
        self.has_peers.store(has_peers, Ordering::Relaxed);
    }

    /// Whether this process may end by itself, because somebody would start it again.
    pub fn has_peers(&self) -> bool {
        self.has_peers.load(Ordering::Relaxed)
    }

    /// Asks for the end of this process: only another can help.
    pub fn leave(&self, leaving: Leaving) {
        lock(&self.leaving).get_or_insert(leaving);
        self.poke();
    }

    /// Why the process is to end, once.
    pub fn take_leaving(&self) -> Option<Leaving> {
        lock(&self.leaving).take()
    }
}
