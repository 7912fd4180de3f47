//! Where GStreamer ends: buffers of a pipeline become packets of the queue.
//!
//! Runs in the streaming threads, once per frame, and never waits. Buffers are mapped, not copied.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use holdfast_link::DropReason;
use holdfast_segment::{Codec, Media, Track};

use crate::caps;
use crate::clock::{self, NS_PER_MS, NS_PER_S};
use crate::encoding::Encoding;
use crate::nal;
use crate::packet::{Lost, Medium, Packet};
use crate::queue::Queue;
use crate::record::Command;
use crate::state::Shared;

/// The coded bytes of a frame, as GStreamer holds them.
pub type Data = gst::MappedBuffer<gst::buffer::Readable>;
/// The queue of a capture.
pub type CaptureQueue = Queue<Data, Command>;

/// A picture that comes this long after the one before is late.
const LATE_NS: u64 = 500 * NS_PER_MS;
/// A raw picture that is older than this when it reaches the encoder is not encoded any more: the box is too slow for it, and
/// what waits longer only makes the next ones later still. Well above what encoders and drivers hold back by themselves.
const TOO_OLD_NS: u64 = 3 * NS_PER_S;
/// So old may be the first picture that is encoded again: one hole now and then, not one for every picture.
const YOUNG_AGAIN_NS: u64 = NS_PER_S;
/// Assumed for a frame whose length nothing tells.
const DEFAULT_FRAME_NS: u64 = NS_PER_S / 30;
/// The same for sound: Opus packets of cameras, AAC frames of 1024 samples at 48 kHz.
const DEFAULT_SOUND_NS: u64 = 20_000_000;

/// What outlives pipelines.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Frames go in here.
    pub queue: Arc<CaptureQueue>,
    /// And are counted here.
    pub shared: Arc<Shared>,
}

/// One pipeline's way into the queue.
#[derive(Debug)]
pub struct Feed {
    intake: Intake,
    /// What running time 0 of the pipeline is on the monotonic clock.
    base_ns: u64,
    /// When the last frame came out, on the monotonic clock; 0 before the first.
    last_frame_ns: AtomicU64,
    last_source_ns: AtomicU64,
    /// Running time of the end of the newest frame of all.
    newest_running_ns: AtomicU64,
    /// The pictures that are in the encoder.
    encoding: Mutex<Encoding>,
    encodes: AtomicBool,
    /// Pictures reach the encoder too old, and are dropped until it has caught up.
    overloaded: AtomicBool,
    /// Since when only damaged pictures come out of the encoder; 0: they are fine.
    damaged_since_ns: AtomicU64,
    closed: AtomicBool,
    first_picture: Mutex<Option<Callback>>,
}

/// What is called once, when the first coded picture has come.
pub type OnFirstPicture = Box<dyn FnOnce() + Send>;

struct Callback(OnFirstPicture);

impl std::fmt::Debug for Callback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callback")
    }
}

impl Feed {
    /// For a pipeline whose base time is `base_ns`.
    #[must_use]
    pub fn new(intake: &Intake, base_ns: u64) -> Arc<Self> {
        Arc::new(Self {
            intake: intake.clone(),
            base_ns,
            last_frame_ns: AtomicU64::new(0),
            last_source_ns: AtomicU64::new(0),
            newest_running_ns: AtomicU64::new(0),
            encoding: Mutex::new(Encoding::default()),
            encodes: AtomicBool::new(false),
            overloaded: AtomicBool::new(false),
            damaged_since_ns: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            first_picture: Mutex::new(None),
        })
    }

    /// The base time of the pipeline, `CLOCK_MONOTONIC` nanoseconds.
    #[must_use]
    pub fn base_ns(&self) -> u64 {
        self.base_ns
    }

    /// What all threads share.
    #[must_use]
    pub fn shared(&self) -> &Shared {
        &self.intake.shared
    }

    /// Takes nothing in any more: the pipeline has ended, or should have.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// When the last coded picture came, and when the last picture came from the source; 0 before the first.
    #[must_use]
    pub fn last_seen_ns(&self) -> (u64, u64) {
        (self.last_frame_ns.load(Ordering::Relaxed), self.last_source_ns.load(Ordering::Relaxed))
    }

    /// Running time of the end of the newest frame that came.
    #[must_use]
    pub fn newest_running_ns(&self) -> u64 {
        self.newest_running_ns.load(Ordering::Relaxed)
    }

    /// Registers what is called, once, when the first coded picture has come.
    pub fn on_first_picture(&self, call: OnFirstPicture) {
        *self.first_picture.lock().unwrap_or_else(PoisonError::into_inner) = Some(Callback(call));
    }

    fn saw_picture(&self) {
        if self.last_frame_ns.swap(clock::mono_ns(), Ordering::Relaxed) == 0
            && let Some(Callback(call)) = self.first_picture.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            call();
        }
    }

    /// The source said whether it has sound.
    pub fn expect_audio(&self, expect: bool) {
        self.intake.shared.expects_audio.store(expect, Ordering::Relaxed);
    }

    /// A sink that puts coded frames into the queue. Not for raw ones.
    #[must_use]
    pub fn sink(self: &Arc<Self>, medium: Medium) -> gst_app::AppSink {
        let mut tap =
            Tap { feed: self.clone(), medium, format: None, last_dts_ns: 0, awaits_keyframe: medium == Medium::Video };
        let callbacks = gst_app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                tap.take(sink, &sample)
            })
            .build();
        let sink = gst_app::AppSink::builder()
            .name(if medium == Medium::Video { "video" } else { "audio" })
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .qos(false)
            .callbacks(callbacks)
            .build();
        sink.set_wait_on_eos(false);
        sink
    }

    /// Counts raw pictures on their way into the encoder, so that those it swallows are told.
    pub fn watch_encoder_input(self: &Arc<Self>, pad: &gst::Pad) {
        self.encodes.store(true, Ordering::Relaxed);
        let feed = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            if feed.closed.load(Ordering::Relaxed) {
                return gst::PadProbeReturn::Drop;
            }
            if let Some(running_ns) = info.buffer().and_then(|buffer| running_time(pad, buffer.pts())) {
                let now_ns = clock::mono_ns();
                feed.saw_source(now_ns, info.buffer().and_then(|buffer| buffer.duration()));
                let old_ns = now_ns.saturating_sub(feed.base_ns + running_ns);
                let limit_ns = if feed.overloaded.load(Ordering::Relaxed) { YOUNG_AGAIN_NS } else { TOO_OLD_NS };
                feed.overloaded.store(old_ns > limit_ns, Ordering::Relaxed);
                if old_ns > limit_ns {
                    feed.intake.shared.source_frames.fetch_add(1, Ordering::Relaxed);
                    feed.lose(DropReason::Overload, 1, feed.base_ns + running_ns);
                    return gst::PadProbeReturn::Drop;
                }
                let mut encoding = feed.encoding.lock().unwrap_or_else(PoisonError::into_inner);
                // Under the lock, so that frames counted and frames inside always fit together.
                feed.intake.shared.source_frames.fetch_add(1, Ordering::Relaxed);
                let lost = encoding.enter(running_ns, now_ns);
                drop(encoding);
                if lost {
                    feed.lose(DropReason::Encoder, 1, feed.base_ns + running_ns);
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Counts pictures that the source itself had to throw away because nobody fetched them in time.
    pub fn source_overrun(&self, frames: u64) {
        self.intake.shared.source_frames.fetch_add(frames, Ordering::Relaxed);
        self.lose(DropReason::Encoder, frames, clock::mono_ns());
    }

    /// Counts a picture that came in with parts missing and was not handed on.
    pub fn source_corrupt(&self, at_ns: u64) {
        self.intake.shared.source_frames.fetch_add(1, Ordering::Relaxed);
        self.lose(DropReason::Corrupt, 1, at_ns);
    }

    /// How long the encoder has owed us a picture, and how long it has given only damaged ones; 0: it has not. True: it has
    /// given none at all so far.
    #[must_use]
    pub fn encoder_trouble_ns(&self) -> (u64, u64, bool) {
        let now_ns = clock::mono_ns();
        let (owed_ns, first) = self.encoding.lock().unwrap_or_else(PoisonError::into_inner).owes_since(now_ns);
        let damaged_since_ns = self.damaged_since_ns.load(Ordering::Relaxed);
        let damaged_ns = if damaged_since_ns == 0 { 0 } else { now_ns.saturating_sub(damaged_since_ns) };
        (owed_ns, damaged_ns, first)
    }

    /// The pipeline has ended: what is still in the encoder will not come any more.
    pub fn abandon(&self) {
        let rest = self.encoding.lock().unwrap_or_else(PoisonError::into_inner).abandon();
        if let Some((frames, first_ns)) = rest {
            self.lose(DropReason::Encoder, frames, self.base_ns + first_ns);
        }
    }

    /// A picture has come from the source. Those that come late are counted.
    fn saw_source(&self, now_ns: u64, duration: Option<gst::ClockTime>) {
        let before_ns = self.last_source_ns.swap(now_ns, Ordering::Relaxed);
        let limit_ns = LATE_NS.max(duration.map_or(0, |duration| duration.nseconds().saturating_mul(3)));
        let interval_ns = now_ns.saturating_sub(before_ns);
        if before_ns != 0 && interval_ns > limit_ns {
            let shared = &self.intake.shared;
            shared.late.fetch_add(1, Ordering::Relaxed);
            shared.late_longest_ms.fetch_max(interval_ns / NS_PER_MS, Ordering::Relaxed);
        }
    }

    fn lose(&self, reason: DropReason, frames: u64, start_ns: u64) {
        self.intake.queue.push_lost(Lost { reason, frames, start_ns });
    }

    /// Numbers a coded picture at both stages, and notes what the encoder swallowed before it.
    fn number(&self, pts_running_ns: u64) -> (u64, u64) {
        let shared = &self.intake.shared;
        let encoded = shared.encoded_frames.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.encodes.load(Ordering::Relaxed) {
            return (shared.source_frames.fetch_add(1, Ordering::Relaxed) + 1, encoded);
        }
        let mut encoding = self.encoding.lock().unwrap_or_else(PoisonError::into_inner);
        let swallowed = encoding.leave(pts_running_ns, clock::mono_ns());
        let source = shared.source_frames.load(Ordering::Relaxed).saturating_sub(encoding.inside());
        drop(encoding);
        if swallowed > 0 {
            tracing::warn!(swallowed, "the encoder took pictures and gave nothing back");
            self.lose(DropReason::Encoder, swallowed, self.base_ns + pts_running_ns);
        }
        (source, encoded)
    }
}

fn running_time(pad: &gst::Pad, time: Option<gst::ClockTime>) -> Option<u64> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    Some(segment.to_running_time(time?)?.nseconds())
}

/// The state of one sink.
struct Tap {
    feed: Arc<Feed>,
    medium: Medium,
    format: Option<(gst::Caps, Arc<Track>)>,
    last_dts_ns: u64,
    /// Frames before the first keyframe cannot be decoded.
    awaits_keyframe: bool,
}

impl Tap {
    fn take(&mut self, sink: &gst_app::AppSink, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        if self.feed.closed.load(Ordering::Relaxed) {
            return Err(gst::FlowError::Flushing);
        }
        let track = self.track(sink, sample)?;
        let (Some(buffer), Some(segment)) = (sample.buffer_owned(), sample.segment()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let Some(segment) = segment.downcast_ref::<gst::ClockTime>() else {
            return Err(gst::FlowError::Error);
        };
        let Some(times) = self.times(segment, &buffer, &track) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        self.feed.newest_running_ns.fetch_max(times.pts_running_ns + times.duration_ns, Ordering::Relaxed);
        let sync = self.medium == Medium::Audio || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let (source_number, encoded_number) = match self.medium {
            Medium::Video => self.feed.number(times.pts_running_ns),
            Medium::Audio => (0, 0),
        };
        if self.medium == Medium::Video {
            if !self.feed.encodes.load(Ordering::Relaxed) {
                self.feed.saw_source(clock::mono_ns(), Some(gst::ClockTime::from_nseconds(times.duration_ns)));
            } else if !self.is_intact(&buffer, &track, sync) {
                self.feed.lose(DropReason::Encoder, 1, times.dts_ns);
                self.awaits_keyframe = true;
                return Ok(gst::FlowSuccess::Ok);
            }
            self.feed.saw_picture();
        }
        if self.awaits_keyframe && !sync {
            self.feed.lose(DropReason::NoKeyframe, 1, times.dts_ns);
            return Ok(gst::FlowSuccess::Ok);
        }
        self.awaits_keyframe = false;
        let Ok(data) = buffer.into_mapped_buffer_readable() else {
            if self.medium == Medium::Video {
                self.feed.lose(DropReason::Corrupt, 1, times.dts_ns);
                self.awaits_keyframe = true;
            }
            return Ok(gst::FlowSuccess::Ok);
        };
        self.feed.intake.queue.push(Packet {
            medium: self.medium,
            track,
            dts_ns: times.dts_ns,
            pts_ns: times.pts_ns,
            duration_ns: times.duration_ns,
            sync,
            source_number,
            encoded_number,
            data,
        });
        Ok(gst::FlowSuccess::Ok)
    }

    /// Whether the encoder has given a picture at all. Cameras are not judged: they may know units that we don't.
    fn is_intact(&self, buffer: &gst::Buffer, track: &Track, sync: bool) -> bool {
        let intact = buffer.map_readable().is_ok_and(|bytes| nal::is_intact(&track.codec, &bytes, sync));
        let since_ns = &self.feed.damaged_since_ns;
        match intact {
            true => since_ns.store(0, Ordering::Relaxed),
            // The first of them stays.
            false => drop(since_ns.compare_exchange(0, clock::mono_ns(), Ordering::Relaxed, Ordering::Relaxed)),
        }
        intact
    }

    fn track(&mut self, sink: &gst_app::AppSink, sample: &gst::Sample) -> Result<Arc<Track>, gst::FlowError> {
        let caps = sample.caps().ok_or(gst::FlowError::NotNegotiated)?;
        // Caps of consecutive samples are the same object; comparing them in depth is for the rare change.
        if let Some((known, track)) = &self.format
            && (std::ptr::eq(known.as_ref(), caps) || known.as_ref() == caps)
        {
            return Ok(track.clone());
        }
        match caps::track(caps) {
            Ok(track) => {
                tracing::info!(codec = track.codec.name(), media = ?track.media, "format");
                let track = match &self.format {
                    // Other caps fields (frame rate, profile) may change without the file noticing.
                    Some((_, known)) if **known == track => known.clone(),
                    _ => Arc::new(track),
                };
                self.format = Some((caps.to_owned(), track.clone()));
                Ok(track)
            }
            Err(error) => {
                gst::element_error!(sink, gst::StreamError::Format, ("{error}"));
                Err(gst::FlowError::NotNegotiated)
            }
        }
    }

    fn times(
        &mut self,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        buffer: &gst::Buffer,
        track: &Track,
    ) -> Option<Times> {
        let on_clock = |time: gst::ClockTime| -> Option<u64> {
            let base_ns = self.feed.base_ns;
            Some(match segment.to_running_time_full(time)? {
                gst::Signed::Positive(after) => base_ns + after.nseconds(),
                gst::Signed::Negative(before) => base_ns.saturating_sub(before.nseconds()),
            })
        };
        let pts_ns = on_clock(buffer.pts().or(buffer.dts())?)?;
        let dts_ns = on_clock(buffer.dts_or_pts()?)?;
        // A clock correction of the camera must not turn time around.
        let dts_ns = dts_ns.max(self.last_dts_ns + 1);
        let duration_ns =
            buffer.duration().map_or_else(|| usual_duration_ns(track, buffer.size()), gst::ClockTime::nseconds);
        self.last_dts_ns = dts_ns;
        Some(Times {
            dts_ns,
            pts_ns: pts_ns.max(dts_ns),
            pts_running_ns: pts_ns.saturating_sub(self.feed.base_ns),
            duration_ns,
        })
    }
}

/// How long a frame lasts that does not say so itself.
fn usual_duration_ns(track: &Track, bytes: usize) -> u64 {
    match (&track.codec, track.media) {
        (Codec::Pcma | Codec::Pcmu, Media::Audio { channels, sample_rate }) => {
            let bytes_per_s = u64::from(channels) * u64::from(sample_rate);
            (bytes as u64 * NS_PER_S).checked_div(bytes_per_s).unwrap_or(0)
        }
        (_, Media::Audio { .. }) => DEFAULT_SOUND_NS,
        (_, Media::Video { .. }) => DEFAULT_FRAME_NS,
    }
}

struct Times {
    dts_ns: u64,
    pts_ns: u64,
    pts_running_ns: u64,
    duration_ns: u64,
}
