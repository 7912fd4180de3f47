//! What the threads of a capture know of each other: counters, the source's state, the writer's report, and the outbox of
//! events for whoever is connected.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_link::{self as link, DropReason, Event, GapCause, Phase, SourceState};

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
    /// The last sync.
    pub sync_ns: u64,
    /// The slowest since the last status.
    pub sync_max_ns: u64,
}

#[derive(Debug)]
struct Wanted {
    armed: bool,
    recording: bool,
    shutdown: bool,
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
    source: Mutex<(SourceState, u64)>,
    encoder: Mutex<link::Id>,
    report: Mutex<Report>,
    outbox: Mutex<VecDeque<(To, Event)>>,
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
            source: Mutex::new((SourceState::Connecting, 0)),
            encoder: Mutex::new(link::clip("")),
            report: Mutex::new(Report::default()),
            outbox: Mutex::new(VecDeque::new()),
            outbox_ready: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            wanted: Mutex::new(Wanted { armed, recording: false, shutdown: false }),
            wanted_changed: Condvar::new(),
            interrupt: Mutex::new(None),
        })
    }

    /// Queues an event for the control thread.
    pub fn tell(&self, to: To, event: Event) {
        let mut outbox = lock(&self.outbox);
        if outbox.len() >= MAX_EVENTS {
            outbox.pop_front();
        }
        outbox.push_back((to, event));
        drop(outbox);
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
        let _ = rustix::io::read(&self.outbox_ready, &mut [0; 8]);
        std::mem::take(&mut lock(&self.outbox))
    }

    /// Changes the writer's report.
    pub fn report<T>(&self, change: impl FnOnce(&mut Report) -> T) -> T {
        change(&mut lock(&self.report))
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
        lock(&self.wanted).recording = recording;
        self.changed();
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

    /// Sleeps between two attempts, or until the source is not wanted any more.
    pub fn pause(&self, pause: Duration) {
        let wanted = lock(&self.wanted);
        let _ = self
            .wanted_changed
            .wait_timeout_while(wanted, pause, |wanted| !wanted.shutdown && (wanted.armed || wanted.recording));
    }

    /// How it goes.
    pub fn status(&self, queue: Level) -> link::Status {
        let source = self.source();
        let report = {
            let mut report = lock(&self.report);
            let copy = report.clone();
            report.sync_max_ns = report.sync_ns;
            copy
        };
        let recording = report.session.is_some();
        let since = |counter: &AtomicU64, base| counter.load(Ordering::Relaxed).saturating_sub(base);
        let micros = |ns: u64| u32::try_from(ns / 1000).unwrap_or(u32::MAX);
        // Before the first frame is known, nothing has been recorded yet.
        let counted = recording && report.first_ns != 0;
        let drops = drops(&report, &queue).collect();
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
            late: link::Late::default(),
            encoder_failures: 0,
            encoder_fallback: false,
            bitrate_percent: 100,
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

/// The cause of a gap, as segment files name it.
#[must_use]
pub fn segment_cause(cause: GapCause) -> holdfast_segment::GapCause {
    use holdfast_segment::GapCause as Segment;
    match cause {
        GapCause::CaptureDied => Segment::CaptureDied,
        GapCause::SourceLost => Segment::SourceLost,
        GapCause::DiskStall => Segment::DiskStall,
        GapCause::EncoderFailed => Segment::EncoderFailed,
        GapCause::Reboot => Segment::Reboot,
        GapCause::Operator => Segment::Operator,
        GapCause::FormatChange => Segment::FormatChange,
        GapCause::Unknown => Segment::Unknown,
        GapCause::DiskFailed => Segment::DiskFailed,
    }
}

/// The cause of a gap, as the link names it.
#[must_use]
pub fn link_cause(cause: holdfast_segment::GapCause) -> GapCause {
    use holdfast_segment::GapCause as Segment;
    match cause {
        Segment::CaptureDied => GapCause::CaptureDied,
        Segment::SourceLost => GapCause::SourceLost,
        Segment::DiskStall => GapCause::DiskStall,
        Segment::DiskFailed => GapCause::DiskFailed,
        Segment::EncoderFailed => GapCause::EncoderFailed,
        Segment::Reboot => GapCause::Reboot,
        Segment::Operator => GapCause::Operator,
        Segment::FormatChange => GapCause::FormatChange,
        _ => GapCause::Unknown,
    }
}

/// The reason of a loss, as segment files name it.
#[must_use]
pub fn segment_reason(reason: DropReason) -> holdfast_segment::DropReason {
    use holdfast_segment::DropReason as Segment;
    match reason {
        DropReason::DiskStall => Segment::QueueFull,
        DropReason::WriteFailed => Segment::WriteFailed,
        DropReason::Encoder => Segment::EncoderDropped,
        DropReason::NoKeyframe => Segment::NoKeyframe,
        DropReason::Corrupt => Segment::Malformed,
    }
}
