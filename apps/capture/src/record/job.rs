//! One recording under way: carries out what the segmenter decides, counts, and tells.

mod refused;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_config::Recording;
use holdfast_link::{self as link, AlertCode, DropReason, Event, FileClosed, FileLeft, Started};
use holdfast_segment::{CloseReason, Gap, GapCause, Mark, Safe, Track};

use super::act::{Act, Limits};
use super::files::{Files, StorageError};
use super::gaps::{Gaps, Hole, cause_of};
use super::jumps::Jumps;
use super::segmenter::Segmenter;
use super::sound::Sound;
use super::tally::Tally;
use super::trouble::Trouble;
use crate::clock::{self, NS_PER_MS};
use crate::packet::{Lost, Packet};
use crate::queue::Wake;
use crate::state::{Shared, To, link_cause};

/// See the module.
#[derive(Debug)]
pub struct Job<D> {
    start: link::Start,
    /// The request that [`Event::Started`] answers, and when it came in.
    request: (u32, u64),
    segmenter: Segmenter<D>,
    files: Files,
    tally: Tally,
    gaps: Gaps,
    jumps: Jumps,
    /// Marks that came while no file was open.
    marks: Vec<Mark>,
    started: Option<Started>,
    first_ns: u64,
    safe_until_ns: u64,
    safe_bytes: u64,
    /// Bytes safe in the files before the open one.
    earlier_bytes: u64,
    /// The open file has not been announced.
    unannounced: bool,
    trouble: Trouble,
    /// The hole before the open file, as long as nothing of the file is safe.
    opening: Option<(Gap, Hole)>,
    acts: Vec<Act<D>>,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl<D: AsRef<[u8]>> Job<D> {
    /// Ready for its first frame.
    pub fn new(files: Files, recording: &Recording, start: link::Start, arrived_ns: u64, sound: Sound) -> Self {
        let limits = Limits {
            sync_interval_ns: nanos(recording.sync_interval),
            rotation_ns: nanos(recording.rotation),
            rotation_bytes: recording.rotation_bytes,
        };
        let gaps = Gaps::resumed(start.resume.as_ref(), files.mono_zero_wall_ns());
        let mut segmenter = Segmenter::new(limits, sound.is_expected());
        if let Some(track) = sound.format() {
            segmenter.know_audio(track.clone());
        }
        Self {
            request: (start.request, arrived_ns),
            start,
            segmenter,
            files,
            tally: Tally::default(),
            gaps,
            jumps: Jumps::default(),
            marks: Vec::new(),
            started: None,
            first_ns: 0,
            safe_until_ns: 0,
            safe_bytes: 0,
            earlier_bytes: 0,
            unannounced: false,
            trouble: Trouble::default(),
            opening: None,
            acts: Vec::new(),
        }
    }

    /// The session it records.
    pub fn session(&self) -> &str {
        self.start.session.as_str()
    }

    /// Bytes that wait for their chunk to be complete.
    pub fn pending_bytes(&self) -> u64 {
        self.segmenter.pending_bytes()
    }

    /// Writes the pre-roll. `refused`: how many frames the queue has refused so far.
    pub fn begin(&mut self, preroll: Vec<Arc<Packet<D>>>, refused: u64, shared: &Shared) {
        let session = self.start.session.clone();
        let sequence = self.start.sequence;
        shared.report(|report| {
            report.session = Some(session);
            report.file_sequence = sequence;
            report.refused_base = refused;
            report.late_base = shared.late.load(Ordering::Relaxed);
        });
        shared.late_longest_ms.store(0, Ordering::Relaxed);
        for packet in preroll.iter().filter(|packet| packet.is_video()) {
            self.saw(packet, shared);
        }
        self.segmenter.begin(preroll, clock::mono_ns(), &mut self.acts);
        self.carry_out(shared);
    }

    /// The same Start again: it is answered, nothing else happens.
    pub fn start_again(&mut self, request: u32, arrived_ns: u64, shared: &Shared) {
        match &self.started {
            Some(started) => {
                shared.tell(To::All, Event::Started(Started { request, latency_us: 0, ..started.clone() }))
            }
            None => self.request = (request, arrived_ns),
        }
    }

    /// Takes one packet; true if something was written.
    pub fn packet(&mut self, packet: Arc<Packet<D>>, sound: &Sound, shared: &Shared) -> bool {
        // What comes before the first keyframe is not part of the recording.
        if packet.is_video() && (self.first_ns != 0 || packet.sync) {
            self.saw(&packet, shared);
        }
        self.segmenter.expect_audio(sound.is_expected());
        self.segmenter.packet(packet, clock::mono_ns(), &mut self.acts);
        self.carry_out(shared)
    }

    /// What is due by time. `timed_out`: nothing has come for longer than a chunk takes.
    pub fn tick(&mut self, shared: &Shared, timed_out: bool) {
        self.segmenter.tick(clock::mono_ns(), &mut self.acts);
        if timed_out && self.acts.is_empty() {
            self.segmenter.flush(&mut self.acts);
        }
        self.carry_out(shared);
    }

    /// What to wait for.
    pub fn wake(&self) -> Wake {
        let mut wake = self.segmenter.wake();
        if !wake.any {
            wake.deadline_ns = Some(clock::mono_ns() + self.segmenter.patience_ns());
        }
        wake
    }

    /// Frames were lost on their way here.
    pub fn lost(&mut self, lost: &Lost, shared: &Shared) {
        if self.first_ns == 0 {
            return;
        }
        self.lose(lost.reason, lost.frames, lost.start_ns);
        // Until a frame comes that is numbered behind them.
        self.tally.trailing(lost.frames);
        let drops = self.tally.drops();
        shared.report(|report| report.drops = drops);
    }

    /// The source is gone for now: what there is becomes safe.
    pub fn broke_off(&mut self, cause: GapCause, shared: &Shared) -> bool {
        self.segmenter.settle(clock::mono_ns(), &mut self.acts);
        let written = self.carry_out(shared);
        if self.first_ns != 0 {
            self.gaps.begin(cause, self.safe_until_ns);
        }
        written
    }

    /// A chapter.
    pub fn mark(&mut self, mark: link::Mark) {
        let mark = Mark { mono_ns: mark.mono_ns, wall_ns: mark.wall_ns, text: mark.text.as_str().to_owned() };
        if self.files.is_open() {
            self.files.note_mark(mark);
        } else {
            self.marks.push(mark);
        }
    }

    /// Writes what is pending, completes the file and says what there was.
    pub fn finish(mut self, request: u32, reason: CloseReason, refused: u64, shared: &Shared) -> link::Stopped {
        self.tally.trailing(refused);
        self.tally.lost(DropReason::DiskStall, refused);
        self.segmenter.stop(reason, clock::mono_ns(), &mut self.acts);
        self.carry_out(shared);
        // Nothing more is written, so nothing more can fail.
        shared.clear(AlertCode::Dropped);
        if let Some(code) = self.trouble.over() {
            shared.clear(code);
        }
        link::Stopped {
            request,
            session: self.start.session.clone(),
            counts: self.tally.final_counts(),
            safe_bytes: self.safe_bytes,
            files: self.files.closed(),
        }
    }

    fn saw(&mut self, packet: &Packet<D>, shared: &Shared) {
        let is_first = self.tally.first().is_none();
        self.tally.saw(packet.source_number, packet.encoded_number);
        if is_first {
            self.first_ns = packet.pts_ns;
            self.safe_until_ns = packet.dts_ns;
            let first_ns = self.first_ns;
            shared.report(|report| {
                report.source_base = packet.source_number - 1;
                report.encoded_base = packet.encoded_number - 1;
                report.first_ns = first_ns;
            });
        }
    }

    fn lose(&mut self, reason: DropReason, frames: u64, start_ns: u64) {
        self.tally.lost(reason, frames);
        if self.first_ns != 0 {
            self.gaps.lost(cause_of(reason), start_ns, frames);
        }
    }

    /// Does what the segmenter decided; true if something was written.
    fn carry_out(&mut self, shared: &Shared) -> bool {
        let mut written = false;
        for act in std::mem::take(&mut self.acts) {
            match act {
                Act::Open { video, audio, start_ns } => self.open(&video, audio.as_ref(), start_ns, shared),
                Act::Append(packets) => {
                    written = true;
                    self.append(&packets, shared);
                }
                Act::Close(reason) => self.close(reason, shared),
                Act::Lost(reason) if self.first_ns != 0 => self.lose(reason, 1, self.safe_until_ns),
                Act::Lost(_) => {}
            }
        }
        written
    }

    fn open(&mut self, video: &Arc<Track>, audio: Option<&Arc<Track>>, start_ns: u64, shared: &Shared) {
        if !self.trouble.may_try(clock::mono_ns()) {
            let unwritten = self.segmenter.abandon();
            self.lose_unwritten(unwritten.iter());
            return;
        }
        self.tally.next_file();
        let gap = self.gaps.ended_by(start_ns).map(|gap| self.jumps.reach_back(gap));
        match shared.at_disk(|| self.files.open(video, audio, start_ns, gap.clone())) {
            Ok(()) => {
                self.jumps.next_file();
                if let Some(gap) = gap {
                    self.jumps.explained(start_ns);
                    self.opening = self.gaps.close().map(|hole| (gap, hole));
                }
                self.unannounced = true;
                for mark in std::mem::take(&mut self.marks) {
                    self.files.note_mark(mark);
                }
            }
            Err(error) => self.storage_failed(&error, shared),
        }
    }

    fn append(&mut self, packets: &[Arc<Packet<D>>], shared: &Shared) {
        let frames = packets.iter().filter(|packet| packet.is_video()).count() as u64;
        let Some(first_ns) = packets.first().map(|packet| packet.dts_ns) else {
            return;
        };
        if !self.files.is_open() {
            self.lose_unwritten(packets.iter());
            return;
        }
        self.note_gaps(packets, shared);
        self.tally.muxed(frames);
        // Told before the disk is asked: what is in a chunk and does not become safe is what the disk does not take.
        let (muxed, _) = self.tally.written();
        shared.report(|report| report.muxed = muxed);
        self.files.note_counts(self.tally.file_counts());
        match shared.at_disk(|| self.files.append(packets)) {
            Ok(safe) => self.safe(&safe, frames, packets, shared),
            Err(error) => {
                self.lose(DropReason::WriteFailed, frames, first_ns);
                self.storage_failed(&error, shared);
            }
        }
    }

    /// What is missing before and between these packets goes on record with them.
    fn note_gaps(&mut self, packets: &[Arc<Packet<D>>], shared: &Shared) {
        // Pictures first: they say what the hole is, and sound has it too.
        let (video, audio): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.is_video());
        for packet in video.into_iter().chain(audio) {
            let ended = if packet.is_video() { self.gaps.ended_by(packet.dts_ns) } else { None };
            let ended = ended.map(|gap| self.jumps.reach_back(gap));
            if ended.is_some() {
                self.gaps.close();
                self.jumps.explained(packet.dts_ns);
            }
            let jumped = self.jumps.before(packet.is_video(), packet.dts_ns, packet.duration_ns, self.gaps.is_open());
            for gap in ended.into_iter().chain(jumped) {
                tell_gap(&gap, shared);
                self.files.note_gap(gap);
            }
        }
    }

    fn safe(&mut self, safe: &Safe, frames: u64, packets: &[Arc<Packet<D>>], shared: &Shared) {
        self.tally.safe(frames);
        let ends = packets.iter().filter(|packet| packet.is_video()).map(|packet| packet.dts_ns + packet.duration_ns);
        self.safe_until_ns = ends.max().unwrap_or(self.safe_until_ns);
        self.safe_bytes = self.earlier_bytes + safe.file_bytes;
        shared.clear(AlertCode::Dropped);
        if let Some(code) = self.trouble.over() {
            tracing::info!("the storage takes footage again");
            shared.clear(code);
        }
        if let Some((gap, _)) = self.opening.take() {
            tell_gap(&gap, shared);
        }
        let opened = if self.unannounced { self.files.current() } else { None };
        self.unannounced = false;
        let (muxed, safe_frames) = self.tally.written();
        let drops = self.tally.drops();
        shared.report(|report| {
            report.started = true;
            report.muxed = muxed;
            report.safe = safe_frames;
            report.drops = drops;
            report.safe_bytes = self.safe_bytes;
            report.safe_until_ns = self.safe_until_ns;
            // A disk that is slow, or stands still, may hold up either.
            report.sync_ns = safe.write_ns.saturating_add(safe.sync_ns);
            report.sync_max_ns = report.sync_max_ns.max(report.sync_ns);
            if let Some(opened) = &opened {
                report.file_sequence = opened.sequence;
                report.file_id = opened.file_id;
                report.file = opened.file.clone();
            }
        });
        if let Some(opened) = opened {
            shared.tell(To::All, Event::FileOpened(opened));
        }
        if self.started.is_none() {
            let (request, arrived_ns) = self.request;
            let started = Started {
                request,
                session: self.start.session.clone(),
                latency_us: u32::try_from(clock::mono_ns().saturating_sub(arrived_ns) / 1000).unwrap_or(u32::MAX),
                preroll_ms: u32::try_from(arrived_ns.saturating_sub(self.first_ns) / NS_PER_MS).unwrap_or(u32::MAX),
            };
            self.started = Some(started.clone());
            shared.tell(To::All, Event::Started(started));
        }
        shared.poke();
    }

    fn close(&mut self, reason: CloseReason, shared: &Shared) {
        if !self.files.is_open() {
            return;
        }
        self.files.note_counts(self.tally.file_counts());
        if let Some(gap) = self.jumps.unexplained() {
            tell_gap(&gap, shared);
            self.files.note_gap(gap);
        }
        let sequence = self.files.sequence();
        match shared.at_disk(|| self.files.close(reason)) {
            Ok(closed) => {
                self.earlier_bytes += closed.file_bytes;
                self.safe_bytes = self.earlier_bytes;
                let name = closed.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let event = FileClosed {
                    sequence,
                    file_id: closed.file_id.0,
                    file: link::clip(name),
                    digest: closed.digest.0,
                    frames: closed.ledger.tracks.first().map_or(0, |video| video.frames),
                    bytes: closed.file_bytes,
                    duration_ms: closed.ledger.duration_ns / NS_PER_MS,
                };
                shared.tell(To::All, Event::FileClosed(event));
            }
            Err(StorageError::Segment { source: holdfast_segment::Error::Empty { .. } }) => {}
            Err(error) => {
                tracing::error!(session = self.session(), %error, "a file could not be completed; recovery will");
                let bytes = self.safe_bytes - self.earlier_bytes;
                self.earlier_bytes = self.safe_bytes;
                let left = FileLeft { sequence, frames: self.tally.file_counts().safe, bytes };
                shared.tell(To::All, Event::FileLeft(left));
            }
        }
    }
}

fn tell_gap(gap: &Gap, shared: &Shared) {
    let report = link::GapReport {
        cause: link_cause(gap.cause),
        start_mono_ns: gap.start_mono_ns,
        duration_ms: gap.duration_ns / NS_PER_MS,
        frames_lost: gap.frames_lost,
    };
    tracing::warn!(cause = ?gap.cause, duration_ms = report.duration_ms, frames_lost = gap.frames_lost, "gap");
    shared.tell(To::All, Event::Gap(report));
}
