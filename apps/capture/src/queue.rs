//! The queue between the sources' threads and the writer.
//!
//! Bounded by bytes, and sized for a disk that stalls for ten seconds and more. When it is full, frames are refused at the
//! *new* end, from the first that does not fit up to the next keyframe that does: what is in the queue stays decodable, and
//! the sources' threads never wait. What was refused stands in the queue as one [`Lost`], in its place.
//!
//! The writer says what it is waiting for ([`Wake`]), so that it sleeps through frames it has no use for yet: one wake-up
//! per chunk, not one per frame.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_link::DropReason;
use holdfast_segment::GapCause;

use crate::clock;
use crate::packet::{Item, Lost, Packet};

/// No more commands wait than this; a peer that sends more is told to slow down.
pub const MAX_COMMANDS: usize = 64;

/// What the writer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// Any item will do.
    pub any: bool,
    /// A video packet with this decode time or a later one.
    pub video_dts_ns: u64,
    /// A keyframe with this decode time or a later one.
    pub keyframe_dts_ns: u64,
    /// This much in the queue.
    pub bytes: u64,
    /// This time on the monotonic clock; `None`: wait for ever.
    pub deadline_ns: Option<u64>,
}

impl Wake {
    /// Wakes for the next item, whatever it is.
    pub const ANY: Self = Self { any: true, video_dts_ns: 0, keyframe_dts_ns: 0, bytes: 0, deadline_ns: None };
}

/// What the writer took.
#[derive(Debug)]
pub struct Batch<D, C> {
    /// Frames and gaps, in order.
    pub items: VecDeque<Item<D>>,
    /// Commands, to be carried out after the items: they were given when these frames were already in.
    pub commands: Vec<C>,
    /// Nothing that was waited for came; the deadline did.
    pub timed_out: bool,
}

/// How full the queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How many bytes wait, those in the writer's hands included.
    pub bytes: u64,
    /// How many may.
    pub capacity_bytes: u64,
    /// Video frames refused since the process began.
    pub refused_frames: u64,
    /// Frames are being refused now.
    pub refusing: bool,
}

#[derive(Debug)]
struct Inner<D, C> {
    items: VecDeque<Item<D>>,
    commands: Vec<C>,
    /// In `items`.
    bytes: u64,
    /// Taken by the writer and not yet safe.
    in_hand_bytes: u64,
    refusing: Option<Lost>,
    refused_frames: u64,
    wake: Wake,
    due: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Queue<D, C> {
    inner: Mutex<Inner<D, C>>,
    ready: Condvar,
    capacity_bytes: u64,
}

impl<D: AsRef<[u8]>, C> Queue<D, C> {
    /// An empty queue for `capacity_bytes`, counting what the writer holds in its hands.
    pub fn new(capacity_bytes: u64) -> Self {
        let inner = Inner {
            items: VecDeque::new(),
            commands: Vec::new(),
            bytes: 0,
            in_hand_bytes: 0,
            refusing: None,
            refused_frames: 0,
            wake: Wake::ANY,
            due: false,
        };
        Self { inner: Mutex::new(inner), ready: Condvar::new(), capacity_bytes }
    }

    /// How many bytes may wait.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// How full it is.
    pub fn level(&self) -> Level {
        let inner = self.lock();
        Level {
            bytes: inner.bytes + inner.in_hand_bytes,
            capacity_bytes: self.capacity_bytes,
            refused_frames: inner.refused_frames,
            refusing: inner.refusing.is_some(),
        }
    }

    /// Puts a frame in, or counts it as lost. Never waits for the writer. Returns false if it was refused.
    pub fn push(&self, packet: Packet<D>) -> bool {
        let mut inner = self.lock();
        let cost = packet.cost_bytes();
        let fits = inner.bytes + inner.in_hand_bytes + cost <= self.capacity_bytes;
        match inner.refusing.take() {
            Some(lost) if fits && packet.is_keyframe() => inner.items.push_back(Item::Lost(lost)),
            Some(mut lost) => {
                lost.frames += u64::from(packet.is_video());
                inner.refused_frames += u64::from(packet.is_video());
                inner.refusing = Some(lost);
                return false;
            }
            None if fits => {}
            None => {
                let frames = u64::from(packet.is_video());
                inner.refused_frames += frames;
                inner.refusing = Some(Lost { reason: DropReason::DiskStall, frames, start_ns: packet.dts_ns });
                inner.due = true;
                self.ready.notify_one();
                return false;
            }
        }
        let wake = inner.wake;
        inner.bytes += cost;
        let due = wake.any
            || inner.bytes >= wake.bytes
            || packet.is_video() && packet.dts_ns >= wake.video_dts_ns
            || packet.is_keyframe() && packet.dts_ns >= wake.keyframe_dts_ns;
        inner.items.push_back(Item::Packet(Arc::new(packet)));
        self.wake_if(inner, due);
        true
    }

    /// Notes frames that were lost before they could become packets.
    pub fn push_lost(&self, lost: Lost) {
        let mut inner = self.lock();
        match inner.items.back_mut() {
            // Merged, so that a source that sends nothing but losses cannot fill the memory.
            Some(Item::Lost(last)) if last.reason == lost.reason => last.frames += lost.frames,
            _ => inner.items.push_back(Item::Lost(lost)),
        }
    }

    /// Notes that the source broke off.
    pub fn push_break(&self, cause: GapCause) {
        let mut inner = self.lock();
        if let Some(lost) = inner.refusing.take() {
            inner.items.push_back(Item::Lost(lost));
        }
        if !matches!(inner.items.back(), Some(Item::Break(_))) {
            inner.items.push_back(Item::Break(cause));
        }
        self.wake_if(inner, true);
    }

    /// Hands a command to the writer; `Err` gives it back when too many wait.
    ///
    /// # Errors
    /// The command itself, if [`MAX_COMMANDS`] are waiting.
    pub fn command(&self, command: C) -> Result<(), C> {
        let mut inner = self.lock();
        if inner.commands.len() >= MAX_COMMANDS {
            return Err(command);
        }
        inner.commands.push(command);
        self.wake_if(inner, true);
        Ok(())
    }

    /// Waits for what `wake` describes (or a command) and takes all there is. What is taken counts as in hand.
    pub fn take(&self, wake: Wake) -> Batch<D, C> {
        let mut inner = self.lock();
        inner.wake = wake;
        inner.due |= !inner.commands.is_empty() || inner.items.iter().any(|item| is_due(item, &wake));
        let mut timed_out = false;
        while !inner.due && (wake.any || inner.bytes < wake.bytes) {
            inner = match wake.deadline_ns {
                None => self.ready.wait(inner).unwrap_or_else(PoisonError::into_inner),
                Some(deadline_ns) => {
                    let now_ns = clock::mono_ns();
                    if now_ns >= deadline_ns {
                        timed_out = true;
                        break;
                    }
                    let rest = Duration::from_nanos(deadline_ns - now_ns);
                    self.ready.wait_timeout(inner, rest).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        inner.due = false;
        inner.in_hand_bytes += std::mem::take(&mut inner.bytes);
        Batch { items: std::mem::take(&mut inner.items), commands: std::mem::take(&mut inner.commands), timed_out }
    }

    /// The writer says how much of what it took is not safe yet.
    pub fn set_in_hand(&self, bytes: u64) {
        self.lock().in_hand_bytes = bytes;
    }

    /// Frames refused since the last keyframe, for a writer that stops now and will not see them come by.
    pub fn take_refused(&self) -> Option<Lost> {
        let mut inner = self.lock();
        let lost = inner.refusing.as_mut()?;
        let taken = lost.clone();
        lost.frames = 0;
        Some(taken)
    }

    fn wake_if(&self, mut inner: MutexGuard<'_, Inner<D, C>>, due: bool) {
        if due && !inner.due {
            inner.due = true;
            drop(inner);
            self.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<D, C>> {
        // A panic ends the process, so a poisoned lock is never seen.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_due<D>(item: &Item<D>, wake: &Wake) -> bool {
    match item {
        Item::Packet(packet) => {
            wake.any
                || packet.is_video() && packet.dts_ns >= wake.video_dts_ns
                || packet.is_keyframe() && packet.dts_ns >= wake.keyframe_dts_ns
        }
        Item::Lost(_) => wake.any,
        Item::Break(_) => true,
    }
}
