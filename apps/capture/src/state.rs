//! What the threads of a capture know of each other: counters, the source's state, the writer's report, and the outbox of
//! events for whoever is connected.

mod names;
mod signs;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_link::{self as link, DropReason, Event, GapCause, Phase, SourceState};

pub use names::{link_cause, segment_cause, segment_reason};
pub use signs::Signs;

use crate::alerts::Alerts;
use crate::clock;
use crate::queue::Level;

/// This many events wait for the control thread. It sends or discards them at once, so more means that it hangs: then the
/// oldest go. Nothing is lost by that but news; what the files hold is the truth.
const MAX_EVENTS: usize = 256;

/// Who a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Everyone connected.
    All,
    /// One connection, if it is still there.
    Peer(u64),
}

/// What the writer tells, renewed after every chunk.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The session it records.
    pub session: Option<link::Id>,
    /// A chunk of it is safe.
    pub started: bool,
    /// It is closing the last file.
    pub stopping: bool,
    /// [`Shared::source_frames`] before the recording's first frame.
    pub source_base: u64,
    /// [`Shared::encoded_frames`] before the recording's first frame.
    pub encoded_base: u64,
    /// Video frames put into chunks.
    pub muxed: u64,
    /// Video frames safe.
    pub safe: u64,
    /// Video frames lost, by reason, as far as the writer has come.
    pub drops: Vec<(DropReason, u64)>,
    /// What the queue had refused when the recording began.
    pub refused_base: u64,
    /// Bytes safe.
    pub safe_bytes: u64,
    /// End of the last safe video frame.
    pub safe_until_ns: u64,
    /// Capture time of the recording's first frame.
    pub first_ns: u64,
    /// The open file.
    pub file_sequence: u64,
    /// Its id.
    pub file_id: [u8; 16],
    /// Its name.
    pub file: link::Path,
    /// Length of the ring.
    pub preroll_ns: u64,
    /// Write and sync of the last chunk.
    pub sync_ns: u64,
    /// The slowest since the last status.
    pub sync_max_ns: u64,
    /// [`Shared::late`] when the recording began.
    pub late_base: u64,
}

/// What is told, under one lock: so a status is never ahead of an event or behind one.
#[derive(Debug, Default)]
struct Told {
    report: Report,
    outbox: VecDeque<(To, Event)>,
}

impl Told {
    fn queue(&mut self, to: To, event: Event) {
        if self.outbox.len() >= MAX_EVENTS {
            self.outbox.pop_front();
        }
        self.outbox.push_back((to, event));
    }
}

#[derive(Debug)]
struct Wanted {
    armed: bool,
    recording: bool,
    shutdown: bool,
    /// Recordings that have ended.
    ended: u64,
}

/// Why the process wants to end by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// The cause of the gap that follows.
    pub cause: GapCause,
    /// For people.
    pub text: String,
}

/// See the module.
#[derive(Debug)]
pub struct Shared {
    /// Video frames that came from the source since the process began.
    pub source_frames: AtomicU64,
    /// Video frames that left the encoder or parser since the process began.
    pub encoded_frames: AtomicU64,
    /// The source announced sound.
    pub expects_audio: AtomicBool,
    /// Pictures that came late since the process began; see [`link::Late`].
    pub late: AtomicU64,
    /// The longest of their intervals since a recording began, milliseconds.
    pub late_longest_ms: AtomicU64,
    /// What holds and somebody should know.
    pub alerts: Alerts,
    /// The share of the configured bit rate that is asked for, and the one that holds, percent.
    bitrate: (AtomicU8, AtomicU8),
    /// Failures of encoders in this recording, and whether the one in use is not the first choice.
    encoder_failures: AtomicU32,
    encoder_fallback: AtomicBool,
    /// When the writer has begun a turn of its loop last.
    writer_turn_ns: AtomicU64,
    /// When the writer has gone to the disk; 0 while it is not there.
    disk_since_ns: AtomicU64,
    /// When the source's thread has begun something that must come to an end by itself; 0 while it waits for something.
    source_busy_ns: AtomicU64,
    /// Somebody is connected who would start this process again.
    has_peers: AtomicBool,
    leaving: Mutex<Option<Leaving>>,
    source: Mutex<(SourceState, u64)>,
    encoder: Mutex<link::Id>,
    told: Mutex<Told>,
    outbox_ready: OwnedFd,
    wanted: Mutex<Wanted>,
    wanted_changed: Condvar,
    /// Called when the source should look at [`Shared::source_is_wanted`] at once.
    interrupt: Mutex<Option<Interrupt>>,
}

struct Interrupt(Box<dyn Fn() + Send>);

impl std::fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Interrupt")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic ends the process, so a poisoned lock is never seen.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// `armed`: the source runs even when nothing is recorded.
    ///
    /// # Errors
    /// The kernel gives no eventfd.
    pub fn new(armed: bool) -> std::io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self {
            source_frames: AtomicU64::new(0),
            encoded_frames: AtomicU64::new(0),
            expects_audio: AtomicBool::new(false),
            late: AtomicU64::new(0),
            late_longest_ms: AtomicU64::new(0),
            alerts: Alerts::default(),
            bitrate: (AtomicU8::new(100), AtomicU8::new(100)),
            encoder_failures: AtomicU32::new(0),
            encoder_fallback: AtomicBool::new(false),
            writer_turn_ns: AtomicU64::new(clock::mono_ns()),
            disk_since_ns: AtomicU64::new(0),
            source_busy_ns: AtomicU64::new(0),
            has_peers: AtomicBool::new(false),
            leaving: Mutex::new(None),
            source: Mutex::new((SourceState::Connecting, 0)),
            encoder: Mutex::new(link::clip("")),
            told: Mutex::new(Told::default()),
            outbox_ready: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            wanted: Mutex::new(Wanted { armed, recording: false, shutdown: false, ended: 0 }),
            wanted_changed: Condvar::new(),
            interrupt: Mutex::new(None),
        })
    }

    /// Queues an event for the control thread.
    pub fn tell(&self, to: To, event: Event) {
        lock(&self.told).queue(to, event);
        self.poke();
    }

    /// Changes the writer's report and tells the event that this is, in one step: see [`Shared::news`].
    pub fn report_and_tell(&self, change: impl FnOnce(&mut Report), to: To, event: Event) {
        let mut told = lock(&self.told);
        change(&mut told.report);
        told.queue(to, event);
        drop(told);
        self.poke();
    }

    /// Wakes the control thread: the status has changed.
    pub fn poke(&self) {
        // It fails only when 2^64 - 2 pokes wait; the thread wakes for those.
        let _ = rustix::io::write(&self.outbox_ready, &1_u64.to_ne_bytes());
    }

    /// Readable when there is something to tell.
    pub fn outbox_fd(&self) -> BorrowedFd<'_> {
        self.outbox_ready.as_fd()
    }

    /// All events that wait, and resets [`Shared::outbox_fd`].
    pub fn take_events(&self) -> VecDeque<(To, Event)> {
        self.quiet();
        std::mem::take(&mut lock(&self.told).outbox)
    }

    fn quiet(&self) {
        let _ = rustix::io::read(&self.outbox_ready, &mut [0; 8]);
    }

    /// All events that wait, and how it goes after them. Told in this order, no status is ahead of an event or behind one: who hears
    /// that nothing is recorded has heard what the recording came to.
    pub fn news(&self, queue: Level) -> (VecDeque<(To, Event)>, link::Status) {
        self.quiet();
        let mut told = lock(&self.told);
        let events = std::mem::take(&mut told.outbox);
        let report = told.report.clone();
        // From now on the slowest sync is a new one.
        told.report.sync_max_ns = told.report.sync_ns;
        drop(told);
        (events, self.status(report, &queue))
    }

    /// Changes the writer's report.
    pub fn report<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut lock(&self.told).report)
    }

    /// The source's state; `next_attempt_ns` counts for [`SourceState::Waiting`].
    pub fn set_source(&self, state: SourceState, next_attempt_ns: u64) {
        *lock(&self.source) = (state, next_attempt_ns);
        self.poke();
    }

    /// The source's state, with the time to the next attempt as of now.
    pub fn source(&self) -> SourceState {
        let (mut state, next_attempt_ns) = lock(&self.source).clone();
        if let SourceState::Waiting { retry_ms, .. } = &mut state {
            let rest_ms = next_attempt_ns.saturating_sub(clock::mono_ns()) / clock::NS_PER_MS;
            *retry_ms = u32::try_from(rest_ms).unwrap_or(u32::MAX);
        }
        state
    }

    /// Names the encoder in use.
    pub fn set_encoder(&self, name: &str) {
        *lock(&self.encoder) = link::clip(name);
    }

    /// The encoder in use.
    pub fn encoder(&self) -> link::Id {
        lock(&self.encoder).clone()
    }

    /// The writer records, or not any more.
    pub fn set_recording(&self, recording: bool) {
        let mut wanted = lock(&self.wanted);
        wanted.ended += u64::from(wanted.recording && !recording);
        wanted.recording = recording;
        drop(wanted);
        self.changed();
    }

    /// How many recordings have ended, and whether another is under way.
    pub fn recordings(&self) -> (u64, bool) {
        let wanted = lock(&self.wanted);
        (wanted.ended, wanted.recording)
    }

    /// Whether the source runs even when nothing is recorded.
    pub fn set_armed(&self, armed: bool) {
        lock(&self.wanted).armed = armed;
        self.changed();
    }

    /// Everything ends.
    pub fn set_shutdown(&self) {
        lock(&self.wanted).shutdown = true;
        self.changed();
    }

    fn changed(&self) {
        self.wanted_changed.notify_all();
        if let Some(Interrupt(interrupt)) = &*lock(&self.interrupt) {
            interrupt();
        }
    }

    /// Registers what wakes a running source.
    pub fn set_interrupt(&self, interrupt: Option<Box<dyn Fn() + Send>>) {
        *lock(&self.interrupt) = interrupt.map(Interrupt);
    }

    /// Whether the source should run.
    pub fn source_is_wanted(&self) -> bool {
        let wanted = lock(&self.wanted);
        !wanted.shutdown && (wanted.armed || wanted.recording)
    }

    /// Waits until the source should run; false: the process ends.
    pub fn wait_until_wanted(&self) -> bool {
        let wanted = lock(&self.wanted);
        let wanted = self
            .wanted_changed
            .wait_while(wanted, |wanted| !wanted.shutdown && !wanted.armed && !wanted.recording)
            .unwrap_or_else(PoisonError::into_inner);
        !wanted.shutdown
    }

    /// Waits for the end.
    pub fn wait_for_shutdown(&self) {
        let wanted = lock(&self.wanted);
        let _ended = self.wanted_changed.wait_while(wanted, |wanted| !wanted.shutdown);
    }

    /// Sleeps between two attempts, or until the source is not wanted any more.
    pub fn pause(&self, pause: Duration) {
        let wanted = lock(&self.wanted);
        let _ = self
            .wanted_changed
            .wait_timeout_while(wanted, pause, |wanted| !wanted.shutdown && (wanted.armed || wanted.recording));
    }

    /// How it goes.
    fn status(&self, report: Report, queue: &Level) -> link::Status {
        let source = self.source();
        let recording = report.session.is_some();
        let since = |counter: &AtomicU64, base| counter.load(Ordering::Relaxed).saturating_sub(base);
        let micros = |ns: u64| u32::try_from(ns / 1000).unwrap_or(u32::MAX);
        // Before the first frame is known, nothing has been recorded yet.
        let counted = recording && report.first_ns != 0;
        let drops = drops(&report, queue).collect();
        let late = link::Late {
            frames: if counted { since(&self.late, report.late_base) } else { 0 },
            longest_ms: if counted {
                u32::try_from(self.late_longest_ms.load(Ordering::Relaxed)).unwrap_or(u32::MAX)
            } else {
                0
            },
        };
        link::Status {
            mono_ns: clock::mono_ns(),
            phase: phase(&report, &source),
            session: report.session,
            encoder: self.encoder(),
            counts: link::Counts {
                source: if counted { since(&self.source_frames, report.source_base) } else { 0 },
                encoded: if counted { since(&self.encoded_frames, report.encoded_base) } else { 0 },
                muxed: report.muxed,
                safe: report.safe,
            },
            drops,
            safe_bytes: report.safe_bytes,
            safe_until_mono_ns: report.safe_until_ns,
            first_mono_ns: report.first_ns,
            file_sequence: report.file_sequence,
            file_id: report.file_id,
            file: report.file,
            queue_bytes: queue.bytes,
            queue_capacity_bytes: queue.capacity_bytes,
            preroll_ms: u32::try_from(report.preroll_ns / clock::NS_PER_MS).unwrap_or(u32::MAX),
            sync_us: micros(report.sync_ns),
            sync_max_us: micros(report.sync_max_ns),
            late,
            encoder_failures: self.encoder_failures.load(Ordering::Relaxed),
            encoder_fallback: self.encoder_fallback.load(Ordering::Relaxed),
            bitrate_percent: self.bitrate.1.load(Ordering::Relaxed),
            source,
        }
    }
}

/// The writer's losses, but the queue's own as of now: a writer that waits for the disk cannot tell how long it has waited.
fn drops(report: &Report, queue: &Level) -> impl Iterator<Item = link::DropCount> {
    let refused = queue.refused_frames.saturating_sub(report.refused_base);
    let others = report.drops.iter().filter(|(reason, _)| *reason != DropReason::DiskStall).copied();
    let stall = (refused > 0 && report.session.is_some()).then_some((DropReason::DiskStall, refused));
    stall.into_iter().chain(others).map(|(reason, frames)| link::DropCount { reason, frames })
}

fn phase(report: &Report, source: &SourceState) -> Phase {
    let streaming = *source == SourceState::Streaming;
    match (&report.session, streaming) {
        _ if report.stopping => Phase::Stopping,
        (_, false) => Phase::Connecting,
        (None, true) => Phase::Armed,
        (Some(_), true) if report.started => Phase::Recording,
        (Some(_), true) => Phase::Starting,
    }
}
