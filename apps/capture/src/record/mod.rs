//! The writer thread: pre-roll ring, chunks, files, and the commands that begin and end a recording.

mod act;
mod files;
mod gaps;
mod job;
mod jumps;
mod segmenter;
mod sound;
mod tally;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_config::Recording;
use holdfast_link::{self as link, Event, StopReason};
use holdfast_segment::CloseReason;

pub use act::{Act, Limits};
pub use files::{Files, Station, StorageError};
pub use job::Job;
pub use segmenter::Segmenter;
pub use sound::Sound;
pub use tally::Tally;

use crate::clock;
use crate::codes;
use crate::crash;
use crate::packet::Item;
use crate::queue::{Queue, Wake};
use crate::ring::{From, Ring};
use crate::state::{Shared, To};

/// An idle writer looks into the queue this often at the most: it has only the ring to feed.
const IDLE_WAKE_NS: u64 = clock::NS_PER_S;

/// And it takes a turn at least this often.
const IDLE_TURN_NS: u64 = 5 * clock::NS_PER_S;

/// Room for the GOP that is being received, even without pre-roll.
const MIN_RING_BYTES: u64 = 8 * 1024 * 1024;

/// What the control thread asks of the writer.
#[derive(Debug)]
pub enum Command {
    /// Record.
    Start {
        /// As it came.
        start: link::Start,
        /// Who asked.
        peer: u64,
        /// When it came in.
        arrived_ns: u64,
    },
    /// Close the files.
    Stop {
        /// As it came.
        stop: link::Stop,
        /// Who asked.
        peer: u64,
    },
    /// A chapter.
    Mark(link::Mark),
    /// Close the files and end.
    Shutdown,
}

/// See the module.
#[derive(Debug)]
pub struct Recorder<D> {
    queue: Arc<Queue<D, Command>>,
    shared: Arc<Shared>,
    station: Station,
    recording: Recording,
    ring: Ring<D>,
    job: Option<Job<D>>,
    /// Decode time of the newest video packet, for waking while idle.
    newest_ns: u64,
    sound: Sound,
}

impl<D: AsRef<[u8]>> Recorder<D> {
    /// A writer that records nothing yet.
    pub fn new(queue: Arc<Queue<D, Command>>, shared: Arc<Shared>, station: Station, recording: Recording) -> Self {
        let preroll_ns = u64::try_from(recording.preroll.as_nanos()).unwrap_or(u64::MAX);
        let ring = Ring::new(preroll_ns, recording.preroll_bytes.max(MIN_RING_BYTES));
        Self { queue, shared, station, recording, ring, job: None, newest_ns: 0, sound: Sound::default() }
    }

    /// Runs until [`Command::Shutdown`] has been carried out.
    pub fn run(mut self) {
        loop {
            self.shared.writer_turns();
            let mut batch = self.queue.take(self.wake());
            let mut rest_bytes: u64 = batch.items.iter().map(item_cost_bytes).sum();
            while let Some(item) = batch.items.pop_front() {
                rest_bytes -= item_cost_bytes(&item);
                if self.item(item) {
                    let held = self.job.as_ref().map_or(0, Job::pending_bytes);
                    self.queue.set_in_hand(rest_bytes + held);
                }
            }
            if let Some(job) = &mut self.job {
                job.tick(&self.shared, batch.timed_out);
            }
            self.queue.set_in_hand(self.job.as_ref().map_or(0, Job::pending_bytes));
            self.shared.report(|report| report.preroll_ns = self.ring.length_ns());
            for command in batch.commands {
                match command {
                    Command::Start { start, peer, arrived_ns } => self.start(start, peer, arrived_ns),
                    Command::Stop { stop, peer } => self.stop(&stop, peer),
                    Command::Mark(mark) => self.mark(mark),
                    Command::Shutdown => {
                        self.finish(0, CloseReason::Shutdown);
                        return;
                    }
                }
            }
        }
    }

    fn wake(&self) -> Wake {
        match &self.job {
            Some(job) => job.wake(),
            None => Wake {
                any: false,
                video_dts_ns: self.newest_ns + IDLE_WAKE_NS,
                keyframe_dts_ns: u64::MAX,
                // The ring is bounded in bytes; what it will drop anyway need not be held in the queue too.
                bytes: (self.queue.capacity_bytes() / 4).max(1),
                // Idle, it still shows the watchdog that it lives.
                deadline_ns: Some(clock::mono_ns() + IDLE_TURN_NS),
            },
        }
    }

    /// Takes one item in; true if a chunk was written meanwhile.
    fn item(&mut self, item: Item<D>) -> bool {
        match item {
            Item::Packet(packet) => {
                if packet.is_video() {
                    self.newest_ns = packet.dts_ns;
                }
                // Announced before a source's first packet comes.
                self.sound.saw(&packet, self.shared.expects_audio.load(Ordering::Relaxed));
                self.ring.push(packet.clone());
                self.job.as_mut().is_some_and(|job| job.packet(packet, &self.sound, &self.shared))
            }
            Item::Lost(lost) => {
                if let Some(job) = &mut self.job {
                    job.lost(&lost, &self.shared);
                }
                false
            }
            Item::Break(cause) => {
                self.ring.clear();
                self.sound = Sound::default();
                self.job.as_mut().is_some_and(|job| job.broke_off(cause, &self.shared))
            }
        }
    }

    fn start(&mut self, start: link::Start, peer: u64, arrived_ns: u64) {
        if let Some(job) = &mut self.job {
            if job.session() == start.session.as_str() {
                job.start_again(start.request, arrived_ns, &self.shared);
            } else {
                let text = format!("records session {} already; stop it first", job.session());
                self.refuse(peer, start.request, codes::ALREADY_RECORDING, &text);
            }
            return;
        }
        if start.session.is_empty() {
            self.refuse(peer, start.request, codes::INVALID_ARGUMENT, "the session id is empty");
            return;
        }
        let files = match self.shared.at_disk(|| Files::prepare(&self.station, &start)) {
            Ok(files) => files,
            Err(error) => {
                tracing::error!(session = start.session.as_str(), %error, "cannot record");
                self.refuse(peer, start.request, error.code(), &error.to_string());
                return;
            }
        };
        // All that is said from here on is about this session, and about the call that began it.
        holdfast_log::works_on(&start.session, start.trace);
        tracing::info!(session = start.session.as_str(), preroll = start.preroll, "recording begins");
        let from = match &start.resume {
            // Times of an earlier boot say nothing about frames of this one.
            Some(resume) if resume.cause != link::GapCause::Reboot => From::After(resume.safe_until_mono_ns),
            _ if start.preroll => From::Oldest,
            _ => From::NewestKeyframe,
        };
        let preroll = self.ring.packets(from);
        crash::records(Some((&start.session, start.trace)));
        let mut job = Job::new(files, &self.recording, start, arrived_ns, self.sound.clone());
        job.begin(preroll, self.queue.level().refused_frames, &self.shared);
        self.job = Some(job);
        self.shared.set_recording(true);
        self.shared.poke();
    }

    fn stop(&mut self, stop: &link::Stop, peer: u64) {
        match &self.job {
            None => self.refuse(peer, stop.request, codes::NOT_RECORDING, "nothing is being recorded"),
            Some(job) if job.session() != stop.session.as_str() => {
                let text = format!("records session {}, not {}", job.session(), stop.session);
                self.refuse(peer, stop.request, codes::UNKNOWN_SESSION, &text);
            }
            Some(_) => {
                let reason = match stop.reason {
                    StopReason::Operator => CloseReason::Stop,
                    StopReason::StorageCritical => CloseReason::DiskFailed,
                    StopReason::Shutdown => CloseReason::Shutdown,
                };
                holdfast_log::works_on(&stop.session, stop.trace);
                self.finish(stop.request, reason);
            }
        }
    }

    fn finish(&mut self, request: u32, reason: CloseReason) {
        let Some(job) = self.job.take() else { return };
        self.shared.report(|report| report.stopping = true);
        self.shared.poke();
        let refused = self.queue.take_refused();
        let stopped = job.finish(request, reason, refused.map_or(0, |lost| lost.frames), &self.shared);
        self.queue.set_in_hand(0);
        tracing::info!(
            session = stopped.session.as_str(),
            safe = stopped.counts.safe,
            files = stopped.files,
            "recording ended"
        );
        holdfast_log::works_on("", 0);
        self.shared.set_recording(false);
        crash::records(None);
        let at_rest = |report: &mut crate::state::Report| {
            let preroll_ns = report.preroll_ns;
            *report = crate::state::Report { preroll_ns, ..Default::default() };
        };
        self.shared.report_and_tell(at_rest, To::All, Event::Stopped(stopped));
    }

    fn mark(&mut self, mark: link::Mark) {
        match &mut self.job {
            Some(job) => job.mark(mark),
            None => tracing::warn!("a mark came while nothing is being recorded; it is ignored"),
        }
    }

    fn refuse(&self, peer: u64, request: u32, code: i32, text: &str) {
        let refused = link::Refused { request, code, text: link::clip(text) };
        self.shared.tell(To::Peer(peer), Event::Refused(refused));
    }
}

fn item_cost_bytes<D: AsRef<[u8]>>(item: &Item<D>) -> u64 {
    match item {
        Item::Packet(packet) => packet.cost_bytes(),
        Item::Lost(_) | Item::Break(_) => 0,
    }
}
