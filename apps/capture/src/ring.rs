//! The pre-roll: the newest frames of an input, encoded, always beginning at a keyframe.
//!
//! Bounded by time and by bytes. It holds the GOP that is being received even when no pre-roll is asked for, so that a
//! recording can begin at once and not only at the next keyframe.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::packet::{Packet, same_format};

/// See the module.
#[derive(Debug)]
pub struct Ring<D> {
    packets: VecDeque<Arc<Packet<D>>>,
    /// Decode times of the keyframes in `packets`.
    keyframes: VecDeque<u64>,
    bytes: u64,
    max_ns: u64,
    max_bytes: u64,
}

/// Which part of the ring a recording begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// All of it: the pre-roll.
    Oldest,
    /// The newest keyframe.
    NewestKeyframe,
    /// The first keyframe captured after this time: a resumed recording repeats nothing.
    After(u64),
}

impl<D: AsRef<[u8]>> Ring<D> {
    /// An empty ring for `max_ns` and `max_bytes`, whichever is reached first.
    pub fn new(max_ns: u64, max_bytes: u64) -> Self {
        Self { packets: VecDeque::new(), keyframes: VecDeque::new(), bytes: 0, max_ns, max_bytes }
    }

    /// Adds the newest packet and forgets what is too old.
    pub fn push(&mut self, packet: Arc<Packet<D>>) {
        if packet.is_keyframe() {
            if self
                .packets
                .iter()
                .find(|held| held.is_video())
                .is_some_and(|held| !same_format(&held.track, &packet.track))
            {
                self.clear();
            }
            self.keyframes.push_back(packet.dts_ns);
        } else if self.keyframes.is_empty() {
            return;
        }
        let newest_ns = packet.dts_ns;
        self.bytes += packet.cost_bytes();
        self.packets.push_back(packet);
        while self.first_gop_is_superfluous(newest_ns) {
            self.drop_first_gop();
        }
    }

    /// Forgets everything: what comes next does not continue what was before.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.keyframes.clear();
        self.bytes = 0;
    }

    /// How much it holds, in nanoseconds.
    pub fn length_ns(&self) -> u64 {
        match (self.packets.front(), self.packets.back()) {
            (Some(first), Some(last)) => (last.dts_ns + last.duration_ns).saturating_sub(first.dts_ns),
            _ => 0,
        }
    }

    /// How much memory it holds, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The packets from there on, beginning with a keyframe; empty if there is none.
    pub fn packets(&self, from: From) -> Vec<Arc<Packet<D>>> {
        let first = match from {
            From::Oldest => self.keyframes.front(),
            From::NewestKeyframe => self.keyframes.back(),
            From::After(ns) => self.keyframes.iter().find(|dts_ns| **dts_ns >= ns),
        };
        let Some(&first_ns) = first else { return Vec::new() };
        self.packets.iter().skip_while(|held| !(held.is_keyframe() && held.dts_ns == first_ns)).cloned().collect()
    }

    fn first_gop_is_superfluous(&self, newest_ns: u64) -> bool {
        if self.bytes > self.max_bytes {
            return true;
        }
        // The second GOP alone must reach back far enough.
        self.keyframes.get(1).is_some_and(|second_ns| newest_ns.saturating_sub(*second_ns) >= self.max_ns)
    }

    fn drop_first_gop(&mut self) {
        self.keyframes.pop_front();
        let next_ns = self.keyframes.front().copied();
        while let Some(first) = self.packets.front() {
            if first.is_keyframe() && Some(first.dts_ns) == next_ns {
                break;
            }
            self.bytes -= first.cost_bytes();
            self.packets.pop_front();
        }
    }
}
