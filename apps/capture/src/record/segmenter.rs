//! Decides how the stream of packets is cut into chunks and files. Pure: packets and times in, [`Act`]s out.
//!
//! - A **chunk** ends before the first video frame that lies `sync_interval` behind its first; a keyframe a little earlier
//!   is preferred, so that chunks tend to begin with one.
//! - A **file** ends before the first keyframe behind the rotation target, less half a chunk, so that a target which is a
//!   multiple of the keyframe distance is met and not overshot by a whole GOP. All tracks are cut at that keyframe's time: sound
//!   from before still goes into the old file, so for a moment ([`Turn`]) both files' packets arrive mixed.
//! - Another format is another file: at the keyframe that brings it, or at the next one if it is the sound's.
//! - Sound is never waited for longer than [`FORMAT_WAIT_NS`] before the first file, [`AUDIO_WAIT_NS`] at a cut; video is never held back by it
//!   after that.

use std::sync::Arc;

use holdfast_link::DropReason;
use holdfast_segment::{CloseReason, Track};

use super::act::{Act, Limits};
use crate::clock::NS_PER_MS;
use crate::packet::{Packet, same_format};
use crate::queue::Wake;

/// How long an old file waits for sound from before the cut.
pub const AUDIO_WAIT_NS: u64 = 250 * NS_PER_MS;
/// How long the first file waits for the sound's format, if sound is expected: without it the file would have no track for it,
/// and would have to end at the next keyframe.
pub const FORMAT_WAIT_NS: u64 = 750 * NS_PER_MS;
/// The first chunk of a recording is short, so that something is safe soon.
pub const FIRST_CHUNK_NS: u64 = 100 * NS_PER_MS;
/// A source that delivers late or not at all does not keep its last frames from becoming safe for longer than this on top.
const SLACK_NS: u64 = 200 * NS_PER_MS;

#[derive(Debug)]
struct OpenFile {
    video: Arc<Track>,
    audio: Option<Arc<Track>>,
    start_ns: u64,
    bytes: u64,
}

/// The time between the keyframe that begins the next file and the end of the old one.
#[derive(Debug)]
struct Turn<D> {
    at_ns: u64,
    reason: CloseReason,
    next: Vec<Arc<Packet<D>>>,
    deadline_ns: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Segmenter<D> {
    limits: Limits,
    file: Option<OpenFile>,
    /// Not yet written packets of the open file, or of the one to be opened.
    pending: Vec<Arc<Packet<D>>>,
    pending_bytes: u64,
    /// When the oldest pending packet came in, by the monotonic clock.
    pending_since_ns: u64,
    /// Decode time at which the present chunk began.
    chunk_start_ns: u64,
    /// A shorter first chunk is due.
    first: bool,
    turn: Option<Turn<D>>,
    /// Newest format of the sound and the end of its newest packet.
    audio: Option<(Arc<Track>, u64)>,
    expect_audio: bool,
    last_video_duration_ns: u64,
}

impl<D: AsRef<[u8]>> Segmenter<D> {
    /// Ready for a recording's first keyframe. `expect_audio`: the source has sound, though none may have come yet.
    pub fn new(limits: Limits, expect_audio: bool) -> Self {
        Self {
            limits,
            file: None,
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since_ns: 0,
            chunk_start_ns: 0,
            first: true,
            turn: None,
            audio: None,
            expect_audio,
            last_video_duration_ns: 0,
        }
    }

    /// The sound is known to come (or not); see [`Segmenter::new`].
    pub fn expect_audio(&mut self, expect: bool) {
        self.expect_audio = expect;
    }

    /// The sound's format is known already, from before the recording.
    pub fn know_audio(&mut self, track: Arc<Track>) {
        self.audio = Some((track, 0));
    }

    /// Bytes it holds, the budget's way of counting.
    pub fn pending_bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Takes one packet.
    pub fn packet(&mut self, packet: Arc<Packet<D>>, now_ns: u64, acts: &mut Vec<Act<D>>) {
        if packet.is_video() {
            self.video(packet, now_ns, acts);
        } else {
            self.sound(packet, now_ns, acts);
        }
    }

    /// Does what is due at `now_ns`, see [`Segmenter::wake`].
    pub fn tick(&mut self, now_ns: u64, acts: &mut Vec<Act<D>>) {
        if self.turn.as_ref().is_some_and(|turn| now_ns >= turn.deadline_ns) {
            self.finish_turn(now_ns, acts);
        }
        if self.file.is_none() && !self.pending.is_empty() && now_ns >= self.pending_since_ns + FORMAT_WAIT_NS {
            self.open(acts);
        }
        if now_ns >= self.flush_deadline_ns() {
            self.flush(acts);
        }
    }

    /// Writes what is pending now: the recording stops, breaks off, or must become safe.
    pub fn flush(&mut self, acts: &mut Vec<Act<D>>) {
        if self.file.is_some() && !self.pending.is_empty() {
            let chunk = std::mem::take(&mut self.pending);
            self.pending_bytes = self.turn.as_ref().map_or(0, |turn| turn.next.iter().map(|p| p.cost_bytes()).sum());
            if let Some(last) = chunk.iter().rev().find(|packet| packet.is_video()) {
                self.chunk_start_ns = last.dts_ns + last.duration_ns;
                self.first = false;
            }
            if let Some(file) = &mut self.file {
                file.bytes += chunk.iter().map(|packet| packet.data.as_ref().len() as u64).sum::<u64>();
            }
            acts.push(Act::Append(chunk));
        }
    }

    /// Opens what waits for sound, then writes what is pending: a recording begins with its pre-roll in one chunk.
    pub fn begin(&mut self, preroll: Vec<Arc<Packet<D>>>, now_ns: u64, acts: &mut Vec<Act<D>>) {
        for packet in preroll {
            if packet.is_video() {
                self.keep(packet, now_ns);
            } else {
                self.audio = Some((packet.track.clone(), packet.dts_ns + packet.duration_ns));
                self.keep(packet, now_ns);
            }
        }
        self.open_when_ready(acts);
        self.flush(acts);
    }

    /// Writes all there is, waiting for nothing: the source broke off, or the recording stops.
    pub fn settle(&mut self, now_ns: u64, acts: &mut Vec<Act<D>>) {
        if self.turn.is_some() {
            self.finish_turn(now_ns, acts);
        }
        if self.file.is_none() && !self.pending.is_empty() {
            self.open(acts);
        }
        self.flush(acts);
    }

    /// Writes all and completes the file.
    pub fn stop(&mut self, reason: CloseReason, now_ns: u64, acts: &mut Vec<Act<D>>) {
        self.settle(now_ns, acts);
        if self.file.take().is_some() {
            acts.push(Act::Close(reason));
        }
    }

    /// The open file is gone (it could not be written): go on at the next keyframe, in a new one.
    pub fn abandon(&mut self) -> Vec<Arc<Packet<D>>> {
        self.file = None;
        let mut lost = std::mem::take(&mut self.pending);
        if let Some(turn) = self.turn.take() {
            lost.extend(turn.next);
        }
        self.pending_bytes = 0;
        lost
    }

    /// What to wake for.
    pub fn wake(&self) -> Wake {
        if self.turn.is_some() || self.file.is_none() {
            let deadline_ns = match &self.turn {
                Some(turn) => Some(turn.deadline_ns),
                None if self.pending.is_empty() => None,
                None => Some(self.pending_since_ns + FORMAT_WAIT_NS),
            };
            return Wake { deadline_ns, ..Wake::ANY };
        }
        let interval_ns = self.interval_ns();
        Wake {
            any: false,
            video_dts_ns: (self.chunk_start_ns + interval_ns).saturating_sub(self.last_video_duration_ns / 2),
            keyframe_dts_ns: self.chunk_start_ns + interval_ns / 4 * 3,
            bytes: u64::MAX,
            deadline_ns: None,
        }
    }

    /// When pending packets are written even if no frame comes that would end their chunk.
    fn flush_deadline_ns(&self) -> u64 {
        match (&self.file, self.pending.is_empty()) {
            (Some(_), false) => self.pending_since_ns + self.interval_ns() + SLACK_NS,
            _ => u64::MAX,
        }
    }

    /// Like [`Segmenter::wake`], for a queue that may hold packets this has not seen: the writer looks in at least this often
    /// while a recording runs, so that a source that falls silent leaves nothing unsafe.
    pub fn patience_ns(&self) -> u64 {
        self.interval_ns() + SLACK_NS
    }

    fn interval_ns(&self) -> u64 {
        let interval_ns = self.limits.sync_interval_ns;
        if self.first { interval_ns.min(FIRST_CHUNK_NS) } else { interval_ns }
    }

    fn video(&mut self, packet: Arc<Packet<D>>, now_ns: u64, acts: &mut Vec<Act<D>>) {
        self.last_video_duration_ns = packet.duration_ns;
        if let Some(turn) = &mut self.turn {
            let late = packet.dts_ns >= turn.at_ns + AUDIO_WAIT_NS;
            self.pending_bytes += packet.cost_bytes();
            turn.next.push(packet);
            if late {
                self.finish_turn(now_ns, acts);
            }
            return;
        }
        let Some(file) = &self.file else {
            if self.pending.is_empty() && !packet.sync {
                acts.push(Act::Lost(DropReason::NoKeyframe));
                return;
            }
            self.keep(packet, now_ns);
            self.open_when_ready(acts);
            return;
        };
        let same = same_format(&file.video, &packet.track);
        if packet.sync {
            if let Some(reason) = self.file_is_due(file, same, &packet) {
                self.begin_turn(packet, reason, now_ns, acts);
                return;
            }
        } else if !same {
            acts.push(Act::Lost(DropReason::NoKeyframe));
            return;
        }
        if self.chunk_is_due(&packet) {
            let ahead = self.take_ahead(packet.dts_ns);
            self.flush(acts);
            self.chunk_start_ns = packet.dts_ns;
            for packet in ahead {
                self.keep(packet, now_ns);
            }
        }
        self.keep(packet, now_ns);
    }

    fn sound(&mut self, packet: Arc<Packet<D>>, now_ns: u64, acts: &mut Vec<Act<D>>) {
        self.audio = Some((packet.track.clone(), packet.dts_ns + packet.duration_ns));
        if let Some(turn) = &mut self.turn {
            let fits =
                self.file.as_ref().and_then(|file| file.audio.as_ref()).is_some_and(|t| same_format(t, &packet.track));
            if fits && packet.dts_ns < turn.at_ns {
                self.keep(packet, now_ns);
            } else {
                self.pending_bytes += packet.cost_bytes();
                turn.next.push(packet);
                self.finish_turn(now_ns, acts);
            }
            return;
        }
        match &self.file {
            // A track for it comes with the next keyframe.
            Some(file) if !file.audio.as_ref().is_some_and(|track| same_format(track, &packet.track)) => {}
            Some(file) if packet.dts_ns < file.start_ns => {}
            Some(_) => self.keep(packet, now_ns),
            None => {
                let starts_ns = self.pending.first().map(|first| first.dts_ns);
                if starts_ns.is_some_and(|start_ns| packet.dts_ns >= start_ns) {
                    self.keep(packet, now_ns);
                }
                self.open_when_ready(acts);
            }
        }
    }

    fn keep(&mut self, packet: Arc<Packet<D>>, now_ns: u64) {
        if self.pending.is_empty() {
            self.pending_since_ns = now_ns;
        }
        self.pending_bytes += packet.cost_bytes();
        self.pending.push(packet);
    }

    /// Takes out the pending sound from `at_ns` on. It goes beside the pictures of its time, which may be another file's.
    fn take_ahead(&mut self, at_ns: u64) -> Vec<Arc<Packet<D>>> {
        let all = std::mem::take(&mut self.pending);
        let (now, ahead) = all.into_iter().partition(|packet| packet.is_video() || packet.dts_ns < at_ns);
        self.pending = now;
        self.pending_bytes = self.pending.iter().map(|packet| packet.cost_bytes()).sum();
        ahead
    }

    fn chunk_is_due(&self, packet: &Packet<D>) -> bool {
        let elapsed_ns = packet.dts_ns.saturating_sub(self.chunk_start_ns);
        let interval_ns = self.interval_ns();
        elapsed_ns + packet.duration_ns / 2 >= interval_ns || packet.sync && elapsed_ns >= interval_ns / 4 * 3
    }

    fn file_is_due(&self, file: &OpenFile, same_video: bool, packet: &Packet<D>) -> Option<CloseReason> {
        let same_audio = match (&file.audio, &self.audio) {
            (_, None) => true,
            (Some(has), Some((wants, _))) => same_format(has, wants),
            (None, Some(_)) => false,
        };
        if !same_video || !same_audio {
            return Some(CloseReason::FormatChange);
        }
        let target_ns = self.limits.rotation_ns.saturating_sub(self.limits.sync_interval_ns / 2);
        let pending: u64 = self.pending.iter().map(|packet| packet.data.as_ref().len() as u64).sum();
        let due = packet.dts_ns.saturating_sub(file.start_ns) >= target_ns
            || file.bytes + pending >= self.limits.rotation_bytes;
        due.then_some(CloseReason::Rotation)
    }

    fn begin_turn(&mut self, packet: Arc<Packet<D>>, reason: CloseReason, now_ns: u64, acts: &mut Vec<Act<D>>) {
        let at_ns = packet.dts_ns;
        let mut next = self.take_ahead(at_ns);
        next.push(packet);
        self.flush(acts);
        self.pending_bytes = next.iter().map(|packet| packet.cost_bytes()).sum();
        self.turn = Some(Turn { at_ns, reason, next, deadline_ns: now_ns + AUDIO_WAIT_NS });
        let file_has_sound = self.file.as_ref().is_some_and(|file| file.audio.is_some());
        let sound_is_complete = self.audio.as_ref().is_none_or(|(_, end_ns)| *end_ns >= at_ns);
        if !file_has_sound || sound_is_complete {
            self.finish_turn(now_ns, acts);
        }
    }

    fn finish_turn(&mut self, now_ns: u64, acts: &mut Vec<Act<D>>) {
        let Some(turn) = self.turn.take() else { return };
        self.flush(acts);
        acts.push(Act::Close(turn.reason));
        self.file = None;
        self.pending.clear();
        self.pending_bytes = 0;
        for packet in turn.next {
            self.keep(packet, now_ns);
        }
        // The next file waits for nothing: what sound there is has shown its format by now.
        self.open(acts);
    }

    fn open_when_ready(&mut self, acts: &mut Vec<Act<D>>) {
        let (Some(first), Some(last)) =
            (self.pending.first(), self.pending.iter().rev().find(|packet| packet.is_video()))
        else {
            return;
        };
        let waited_ns = last.dts_ns.saturating_sub(first.dts_ns);
        if !self.expect_audio || self.audio.is_some() || waited_ns >= FORMAT_WAIT_NS {
            self.open(acts);
        }
    }

    fn open(&mut self, acts: &mut Vec<Act<D>>) {
        let Some(first) = self.pending.iter().find(|packet| packet.is_keyframe()).cloned() else {
            return;
        };
        let audio = self.audio.as_ref().map(|(track, _)| track.clone());
        // Sound of another format than the file's, or from before its first picture, has no place in it.
        let keep = |packet: &Arc<Packet<D>>| {
            packet.is_video()
                || packet.dts_ns >= first.dts_ns
                    && audio.as_ref().is_some_and(|track| same_format(track, &packet.track))
        };
        self.pending.retain(keep);
        self.pending_bytes = self.pending.iter().map(|packet| packet.cost_bytes()).sum();
        self.chunk_start_ns = first.dts_ns;
        let (video, start_ns) = (first.track.clone(), first.dts_ns);
        acts.push(Act::Open { video: video.clone(), audio: audio.clone(), start_ns });
        self.file = Some(OpenFile { video, audio, start_ns, bytes: 0 });
    }
}
