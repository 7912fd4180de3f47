//! One track on its way through a decoder: coded bytes go in, pictures (or sound) come out and are told to the judge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use holdfast_segment::decoded::FaultKind as Kind;
use holdfast_segment::{Codec, Media, Sample, Track, ticks_to_ns};

use super::judge::Judge;

/// Coded bytes that wait for the decoder. A keyframe of 4K has one or two megabytes.
const WAITING_BYTES: u64 = 8 * 1024 * 1024;
/// A decoder that takes and gives nothing for that long hangs: pictures take a second each at the very worst, in software, behind all else.
const HANGS: Duration = Duration::from_secs(20);
/// Bounds memory.
const DECODER_THREADS: i32 = 2;
/// How often a full lane is looked at.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(2);
/// Files may begin a little before zero (reordered pictures); GStreamer's times can't.
const BASE_NS: i128 = 10_000_000_000;

/// Why a lane ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The time is over.
    Late,
    /// The decoder hangs: what it holds can't be ended in good order either.
    Hung,
    /// The decoder has given up, which the judge knows.
    Failed,
}

/// See the module.
pub struct Lane {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    bus: gst::Bus,
    judge: Arc<Mutex<Judge>>,
    /// Buffers that came out: pictures, or pieces of sound.
    given: Arc<AtomicU64>,
    /// What the track is decoded by.
    pub decoder: String,
    is_video: bool,
    timescale: u32,
}

pub fn lock(judge: &Mutex<Judge>) -> MutexGuard<'_, Judge> {
    judge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which packages have a decoder, for people.
fn package(codec: &Codec) -> &'static str {
    match codec {
        Codec::H264 { .. } | Codec::H265 { .. } => "gstreamer1.0-libav",
        Codec::Aac { .. } => "gstreamer1.0-libav or gstreamer1.0-plugins-bad (faad)",
        Codec::Pcma | Codec::Pcmu => "gstreamer1.0-plugins-good",
        Codec::Opus { .. } => "gstreamer1.0-plugins-base",
    }
}

/// What the file says of the track, as caps.
fn caps(track: &Track) -> gst::Caps {
    let config = || gst::Buffer::from_slice(track.codec.config().to_vec());
    let builder = match &track.codec {
        Codec::H264 { .. } => gst::Caps::builder("video/x-h264")
            .field("stream-format", "avc")
            .field("alignment", "au")
            .field("codec_data", config()),
        Codec::H265 { .. } => gst::Caps::builder("video/x-h265")
            .field("stream-format", "hvc1")
            .field("alignment", "au")
            .field("codec_data", config()),
        Codec::Aac { .. } => gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("framed", true)
            .field("stream-format", "raw")
            .field("codec_data", config()),
        Codec::Pcma => gst::Caps::builder("audio/x-alaw"),
        Codec::Pcmu => gst::Caps::builder("audio/x-mulaw"),
        Codec::Opus { dops } => gst::Caps::builder("audio/x-opus")
            .field("channel-mapping-family", i32::from(dops.get(10).copied().unwrap_or(0))),
    };
    match track.media {
        Media::Video { width, height } => {
            builder.field("width", i32::from(width)).field("height", i32::from(height)).build()
        }
        Media::Audio { channels, sample_rate } => builder
            .field("channels", i32::from(channels))
            .field("rate", i32::try_from(sample_rate).unwrap_or(i32::MAX))
            .build(),
    }
}

/// The decoder for these caps, and the parser it needs before it. Software comes first: a hardware decoder shares its silicon with
/// the encoder of a recording that may run.
fn decoder(track: &Track, caps: &gst::Caps) -> Option<(gst::ElementFactory, Option<&'static str>)> {
    let kind = match track.codec.is_video() {
        true => gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO,
        false => gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_AUDIO,
    };
    let all = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let is_hardware =
        |factory: &gst::ElementFactory| factory.metadata("klass").is_some_and(|klass| klass.contains("Hardware"));
    let mut all: Vec<_> = all.into_iter().collect();
    // Stable: within each kind by rank, as it came.
    all.sort_by_key(is_hardware);
    if let Some(factory) = all.iter().find(|factory| !is_hardware(factory) && factory.can_sink_all_caps(caps)) {
        return Some((factory.clone(), None));
    }
    let (parser, parsed) = match track.codec {
        Codec::H264 { .. } => ("h264parse", "video/x-h264"),
        Codec::H265 { .. } => ("h265parse", "video/x-h265"),
        Codec::Aac { .. } => ("aacparse", "audio/mpeg,mpegversion=4"),
        Codec::Opus { .. } => ("opusparse", "audio/x-opus"),
        Codec::Pcma | Codec::Pcmu => return None,
    };
    let parsed: gst::Caps = parsed.parse().ok()?;
    all.into_iter().find(|factory| factory.can_sink_any_caps(&parsed)).map(|factory| (factory, Some(parser)))
}

impl Lane {
    /// A lane for a track, running. `Err`: why it can't be decoded here, for people.
    pub fn begin(track: &Track, judge: &Arc<Mutex<Judge>>) -> Result<Self, String> {
        let text = |error: gst::glib::BoolError| error.message.to_string();
        let caps = caps(track);
        let (factory, parser) = decoder(track, &caps).ok_or_else(|| {
            format!("no decoder for {} is installed; it comes with {}", track.codec.name(), package(&track.codec))
        })?;
        let source = gst_app::AppSrc::builder().caps(&caps).format(gst::Format::Time).build();
        // The lane is looked at before it is filled: one that blocks could not be left.
        source.set_property("max-bytes", 0_u64);
        let decoder = factory.create().build().map_err(text)?;
        if decoder.has_property("max-threads") {
            // Each thread of FFmpeg's holds a picture of its own.
            decoder.set_property("max-threads", DECODER_THREADS);
        }
        let sink = gst_app::AppSink::builder().sync(false).max_buffers(2).build();
        let pipeline = gst::Pipeline::new();
        let mut elements: Vec<gst::Element> = vec![source.clone().upcast()];
        if let Some(parser) = parser {
            elements.push(gst::ElementFactory::make(parser).build().map_err(text)?);
        }
        elements.extend([decoder, sink.clone().upcast()]);
        pipeline.add_many(&elements).map_err(text)?;
        gst::Element::link_many(&elements).map_err(text)?;
        let given = Arc::new(AtomicU64::new(0));
        let is_video = track.codec.is_video();
        let (told, counted, info) = (Arc::clone(judge), Arc::clone(&given), OnceLock::new());
        let take = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            counted.fetch_add(1, Ordering::Relaxed);
            if is_video {
                picture(&sample, &info, &told);
            }
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(take).build());
        let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
        pipeline.set_state(gst::State::Playing).map_err(|_| format!("{} does not start", factory.name()))?;
        let decoder = factory.name().to_string();
        Ok(Self {
            pipeline,
            source,
            bus,
            judge: Arc::clone(judge),
            given,
            decoder,
            is_video,
            timescale: track.timescale,
        })
    }

    /// Hands over a frame, as soon as there is room.
    pub fn push(&self, sample: &Sample, data: Vec<u8>, until: Instant) -> Result<(), Stop> {
        let (mut moved, mut level) = (Instant::now(), u64::MAX);
        loop {
            let left = self.source.current_level_bytes();
            if left < level {
                (moved, level) = (Instant::now(), left);
            }
            let is_free = left < WAITING_BYTES;
            self.look(if is_free { gst::ClockTime::ZERO } else { LOOK })?;
            if is_free {
                break;
            }
            self.patience(moved, until)?;
        }
        if Instant::now() >= until {
            return Err(Stop::Late);
        }
        let ns = |ticks: i64| gst_time(ticks, self.timescale);
        let mut buffer = gst::Buffer::from_mut_slice(data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(ns(sample.pts)));
            buffer.set_dts(gst::ClockTime::from_nseconds(ns(i64::try_from(sample.dts).unwrap_or(i64::MAX))));
            if !sample.sync {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if self.is_video {
            let mut judge = lock(&self.judge);
            judge.frame(ns(sample.pts) - base_ns(), ns(i64::from(sample.duration)) - base_ns(), sample.sync);
            if judge.is_starved() {
                judge.fault(Kind::Undecodable, format!("{} takes frames and gives no pictures", self.decoder));
                return Err(Stop::Failed);
            }
        }
        // A decoder that has failed says so on the bus.
        self.source.push_buffer(buffer).map(|_| ()).or_else(|_| self.look(gst::ClockTime::from_seconds(1)))
    }

    /// Ends the track, and waits for what is still in the decoder. Buffers that came out.
    pub fn end(&self, until: Instant) -> Result<u64, Stop> {
        let _ = self.source.end_of_stream();
        let (mut moved, mut seen) = (Instant::now(), u64::MAX);
        loop {
            let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
            let message = self.bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &kinds);
            match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => {
                    self.failed(error);
                    return Err(Stop::Failed);
                }
                Some(_) => return Ok(self.given.load(Ordering::Relaxed)),
                None => {}
            }
            let given = self.given.load(Ordering::Relaxed);
            if given != seen {
                (moved, seen) = (Instant::now(), given);
            }
            self.patience(moved, until)?;
        }
    }

    fn patience(&self, moved: Instant, until: Instant) -> Result<(), Stop> {
        if moved.elapsed() >= HANGS {
            let text = format!("{} has hung for {} s", self.decoder, HANGS.as_secs());
            lock(&self.judge).fault(Kind::Undecodable, text);
            return Err(Stop::Hung);
        }
        if Instant::now() >= until { Err(Stop::Late) } else { Ok(()) }
    }

    fn look(&self, wait: gst::ClockTime) -> Result<(), Stop> {
        let message = self.bus.timed_pop_filtered(wait, &[gst::MessageType::Error]);
        if let Some(gst::MessageView::Error(error)) = message.as_ref().map(|message| message.view()) {
            self.failed(error);
            return Err(Stop::Failed);
        }
        Ok(())
    }

    fn failed(&self, error: &gst::message::Error) {
        let text = format!("{}: {}", self.decoder, error.error().message());
        lock(&self.judge).fault(Kind::Undecodable, text);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn base_ns() -> u64 {
    u64::try_from(BASE_NS).unwrap_or(0)
}

fn gst_time(ticks: i64, timescale: u32) -> u64 {
    u64::try_from(BASE_NS + ticks_to_ns(i128::from(ticks), timescale)).unwrap_or(0)
}

/// A picture has come out of the decoder.
fn picture(sample: &gst::Sample, info: &OnceLock<gst_video::VideoInfo>, judge: &Mutex<Judge>) {
    let Some(buffer) = sample.buffer() else { return };
    if info.get().is_none()
        && let Some(known) = sample.caps().and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok())
    {
        // A file has one format: another one begins another file.
        let _ = info.set(known);
    }
    let number = info.get().and_then(|info| number(buffer, info));
    let mut judge = lock(judge);
    if number.is_none() {
        judge.blind();
    }
    let is_corrupt = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
    let pts_ns = buffer.pts().map(|pts| pts.nseconds().saturating_sub(base_ns()));
    judge.picture(pts_ns, is_corrupt, number.flatten());
}

/// The number in a picture, if it has one. `None`: it has no plane of 8-bit luma that can be looked at, or is too small for numbers.
fn number(buffer: &gst::BufferRef, info: &gst_video::VideoInfo) -> Option<Option<u32>> {
    let format = info.format_info();
    let is_plain = (format.is_yuv() || format.is_gray()) && format.depth().first() == Some(&8);
    if !is_plain || format.pixel_stride().first() != Some(&1) {
        return None;
    }
    let (width, height) = (info.width() as usize, info.height() as usize);
    if width < holdfast_framemark::MIN_WIDTH_PX || height < holdfast_framemark::MIN_HEIGHT_PX {
        return None;
    }
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info).ok()?;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    Some(holdfast_framemark::read(frame.plane_data(0).ok()?, stride, width, height))
}
