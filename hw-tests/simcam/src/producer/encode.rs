//! Test pictures with burnt-in numbers and a tone, encoded live.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_video as gst_video;

use crate::args::{Args, Audio, Sound, Video};
use crate::hub::{Hub, Payload};

/// A running encoder.
pub struct Encode {
    pipeline: gst::Pipeline,
    size_filter: gst::Element,
    video_sink: AppSink,
    tracks: Vec<Payload>,
    full: (u32, u32),
    halved: AtomicBool,
    failure: Arc<Mutex<Option<String>>>,
    // Dropping the guard removes the watch.
    bus_watch: Mutex<Option<gst::bus::BusWatchGuard>>,
}

impl Encode {
    pub fn start(args: &Args, hub: &Arc<Hub>) -> anyhow::Result<Self> {
        let (video_payload, video) = video_chain(args)?;
        let mut tracks = vec![video_payload];
        let mut launch = format!(
            "videotestsrc is-live=true pattern=smpte horizontal-speed=4 ! capsfilter name=size ! {video} ! appsink name=track0 sync=false"
        );
        if let Some((payload, audio)) = audio_chain(args.audio)? {
            tracks.push(payload);
            let wave = match args.sound {
                Sound::Ticks => "ticks",
                Sound::Noise => "pink-noise",
            };
            launch += &format!(
                " audiotestsrc is-live=true wave={wave} volume=0.3 ! {audio} ! appsink name=track1 sync=false"
            );
        }
        let pipeline = gst::parse::launch(&launch)
            .with_context(|| format!("GStreamer can't build \"{launch}\""))?
            .downcast::<gst::Pipeline>()
            .map_err(|_| anyhow::anyhow!("GStreamer built no pipeline"))?;
        // Frame numbers follow the monotonic clock; no element may choose another.
        let clock = gst::SystemClock::obtain();
        pipeline.use_clock(Some(&clock));

        let by_name = |name: &str| pipeline.by_name(name).with_context(|| format!("the pipeline lost its {name}"));
        let size_filter = by_name("size")?;
        size_filter.set_property("caps", raw_caps(args.size, args.fps));
        let numbered = size_filter.static_pad("src").context("a capsfilter without a pad")?;
        number_frames(&numbered, args.fps);

        let sink = |track: usize| -> anyhow::Result<AppSink> {
            by_name(&format!("track{track}"))?.downcast().map_err(|_| anyhow::anyhow!("track{track} is no appsink"))
        };
        for track in 0..tracks.len() {
            publish_samples(&sink(track)?, track, hub);
        }
        let encode = Self {
            video_sink: sink(0)?,
            size_filter,
            tracks,
            full: args.size,
            halved: AtomicBool::new(false),
            failure: Arc::default(),
            bus_watch: Mutex::default(),
            pipeline,
        };
        encode.pipeline.set_state(gst::State::Playing).context("the encoder does not start")?;
        Ok(encode)
    }

    pub fn tracks(&self) -> &[Payload] {
        &self.tracks
    }

    pub fn force_keyframe(&self) {
        let event = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true).build();
        // An encoder that ignores it sends its next keyframe when it is due.
        let _ = self.video_sink.send_event(event);
    }

    pub fn switch_size(&self) {
        let halve = !self.halved.fetch_xor(true, Ordering::Relaxed);
        let (width, height) = self.full;
        let size = if halve { (width / 4 * 2, height / 4 * 2) } else { self.full };
        let fps = self
            .size_filter
            .property::<gst::Caps>("caps")
            .structure(0)
            .and_then(|caps| caps.get::<gst::Fraction>("framerate").ok())
            .map_or(30, |fps| fps.numer().unsigned_abs());
        self.size_filter.set_property("caps", raw_caps(size, fps));
    }

    pub fn quit_on_error(&self, main_loop: &glib::MainLoop) {
        let (main_loop, failure) = (main_loop.clone(), Arc::clone(&self.failure));
        let watch = self.pipeline.bus().and_then(|bus| {
            bus.add_watch(move |_, message| {
                let text = match message.view() {
                    gst::MessageView::Error(error) => format!("{}: {:?}", error.error(), error.debug()),
                    gst::MessageView::Eos(_) => "the encoder ended by itself".to_owned(),
                    _ => return glib::ControlFlow::Continue,
                };
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                main_loop.quit();
                glib::ControlFlow::Break
            })
            .ok()
        });
        *self.bus_watch.lock().unwrap_or_else(PoisonError::into_inner) = watch;
    }

    pub fn stop(&self) -> anyhow::Result<()> {
        self.pipeline.set_state(gst::State::Null).context("the encoder does not stop")?;
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failure) => bail!("the encoder failed: {failure}"),
            None => Ok(()),
        }
    }
}

fn raw_caps((width, height): (u32, u32), fps: u32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", i32::try_from(width).unwrap_or(i32::MAX))
        .field("height", i32::try_from(height).unwrap_or(i32::MAX))
        .field("framerate", gst::Fraction::new(i32::try_from(fps).unwrap_or(30), 1))
        .build()
}

fn video_chain(args: &Args) -> anyhow::Result<(Payload, String)> {
    let Args { bitrate_kbps, bframes, fps, gop_ms, .. } = args;
    let gop = (u64::from(*gop_ms) * u64::from(*fps) / 1000).max(1);
    // Without B-frames nothing may wait in the encoder; with them a look-ahead as short as they allow.
    let tune = if *bframes == 0 { "tune=zerolatency" } else { "sync-lookahead=0 rc-lookahead=0" };
    Ok(match args.codec {
        Video::H264 if exists("x264enc") => (
            Payload::H264,
            format!(
                "x264enc {tune} speed-preset=ultrafast b-adapt=false bframes={bframes} key-int-max={gop} bitrate={bitrate_kbps} \
                 option-string=scenecut=0 ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
            ),
        ),
        Video::H264 if exists("openh264enc") && *bframes == 0 => (
            Payload::H264,
            format!(
                "openh264enc gop-size={gop} bitrate={} complexity=low ! h264parse config-interval=-1 ! \
                 video/x-h264,stream-format=byte-stream,alignment=au",
                bitrate_kbps * 1000
            ),
        ),
        Video::H265 if exists("x265enc") => {
            let tune = if *bframes == 0 { "tune=zerolatency" } else { "" };
            (
                Payload::H265,
                format!(
                    "x265enc {tune} speed-preset=ultrafast key-int-max={gop} bitrate={bitrate_kbps} \
                     option-string=\"bframes={bframes}:b-adapt=0:scenecut=0:open-gop=0:log-level=error\" ! h265parse config-interval=-1 ! \
                     video/x-h265,stream-format=byte-stream,alignment=au"
                ),
            )
        }
        Video::Mjpeg => (Payload::Jpeg, "jpegenc".to_owned()),
        Video::H264 => {
            bail!("neither x264enc nor openh264enc (without B-frames) is installed: `cargo xtask setup` installs them")
        }
        Video::H265 => bail!("x265enc is not installed: `cargo xtask setup` installs it (gstreamer1.0-plugins-bad)"),
    })
}

fn audio_chain(audio: Audio) -> anyhow::Result<Option<(Payload, String)>> {
    let (payload, chain) = match audio {
        Audio::None => return Ok(None),
        Audio::Aac => {
            let Some(encoder) = ["fdkaacenc", "voaacenc", "avenc_aac"].into_iter().find(|name| exists(name)) else {
                bail!("none of fdkaacenc, voaacenc, avenc_aac is installed: `cargo xtask setup` installs one");
            };
            let chain = format!(
                "audioconvert ! audio/x-raw,rate=48000,channels=1 ! {encoder} ! aacparse ! audio/mpeg,mpegversion=4,stream-format=raw"
            );
            (Payload::Aac, chain)
        }
        Audio::Pcma => (Payload::Pcma, "audio/x-raw,rate=8000,channels=1 ! alawenc".to_owned()),
        Audio::Pcmu => (Payload::Pcmu, "audio/x-raw,rate=8000,channels=1 ! mulawenc".to_owned()),
        Audio::Opus => (Payload::Opus, "audio/x-raw,rate=48000,channels=2 ! opusenc".to_owned()),
    };
    Ok(Some((payload, chain)))
}

fn exists(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some()
}

/// Burns the number into every picture that passes.
fn number_frames(pad: &gst::Pad, fps: u32) {
    #[derive(Default)]
    struct State {
        info: Option<gst_video::VideoInfo>,
        segment: gst::FormattedSegment<gst::ClockTime>,
        first: Option<(u64, u64)>,
    }
    let state = Mutex::new(State::default());
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, probe| {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = probe.event() {
            match event.view() {
                gst::EventView::Caps(caps) => state.info = gst_video::VideoInfo::from_caps(caps.caps()).ok(),
                gst::EventView::Segment(event) => {
                    if let Some(segment) = event.segment().downcast_ref() {
                        state.segment = segment.clone();
                    }
                }
                _ => {}
            }
            return gst::PadProbeReturn::Ok;
        }
        let base = pad.parent_element().and_then(|element| element.base_time());
        let (Some(buffer), Some(base)) = (probe.buffer_mut(), base) else {
            return gst::PadProbeReturn::Ok;
        };
        let Some(running) = state.segment.to_running_time(buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mono_ns = (base + running).nseconds();
        // Rounded from the first frame on, so that a phase near a frame boundary never doubles or skips a number.
        let (first_ns, first_number) = *state.first.get_or_insert((mono_ns, scale(mono_ns, fps, 0)));
        let number = first_number + scale(mono_ns.saturating_sub(first_ns), fps, 500_000_000);
        let number = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        if let Some(info) = &state.info
            && let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer.make_mut(), info)
        {
            let (width, height) = (info.width() as usize, info.height() as usize);
            let stride = usize::try_from(info.stride()[0]).unwrap_or(0);
            if let Ok(luma) = frame.plane_data_mut(0) {
                holdfast_framemark::stamp(luma, stride, width, height, number, "simcam");
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// How many frames `ns` are, with `half` (in nanoseconds × frames per second) added for rounding.
fn scale(ns: u64, fps: u32, half: u128) -> u64 {
    u64::try_from((u128::from(ns) * u128::from(fps) + half) / 1_000_000_000).unwrap_or(u64::MAX)
}

fn publish_samples(sink: &AppSink, track: usize, hub: &Arc<Hub>) {
    let hub = Arc::clone(hub);
    // The sink is emptied as fast as it fills: the hub never blocks.
    sink.set_callbacks(
        AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                let (Some(caps), Some(buffer), Some(base)) = (sample.caps(), sample.buffer(), sink.base_time()) else {
                    return Ok(gst::FlowSuccess::Ok);
                };
                let running = sample
                    .segment()
                    .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
                    .and_then(|segment| segment.to_running_time(buffer.pts()));
                if let Some(running) = running {
                    hub.publish(track, caps, buffer, base + running);
                }
                Ok(gst::FlowSuccess::Ok)
            })
            .build(),
    );
}
