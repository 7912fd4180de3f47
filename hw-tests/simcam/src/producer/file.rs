//! Footage from a file, played in a loop at its own pace. Nothing is decoded or encoded: it costs next to nothing.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

use crate::hub::{Hub, Payload};

/// A file being played.
pub struct File {
    tracks: Vec<Payload>,
}

struct Unit {
    track: usize,
    sample: gst::Sample,
    /// When it is due and when it is shown, from the beginning of the file.
    dts: gst::ClockTime,
    pts: gst::ClockTime,
}

impl File {
    pub fn start(path: &Path, hub: &Arc<Hub>) -> anyhow::Result<Self> {
        let (tracks, units, duration) = load(path).with_context(|| format!("{} can't be played", path.display()))?;
        let hub = Arc::clone(hub);
        std::thread::Builder::new()
            .name("player".to_owned())
            .spawn(move || play(&hub, &units, duration))
            .context("no thread to play from")?;
        Ok(Self { tracks })
    }

    pub fn tracks(&self) -> &[Payload] {
        &self.tracks
    }
}

fn play(hub: &Hub, units: &[Unit], duration: gst::ClockTime) {
    let clock = gst::SystemClock::obtain();
    let mut loop_start = clock.time();
    loop {
        for unit in units {
            let due = loop_start + unit.dts;
            if let Some(wait) = due.checked_sub(clock.time()) {
                std::thread::sleep(wait.into());
            }
            if let (Some(caps), Some(buffer)) = (unit.sample.caps(), unit.sample.buffer()) {
                hub.publish(unit.track, caps, buffer, loop_start + unit.pts);
            }
        }
        loop_start += duration;
    }
}

/// Reads the whole file: the access units of all tracks in the order they are due, and how long a round is.
fn load(path: &Path) -> anyhow::Result<(Vec<Payload>, Vec<Unit>, gst::ClockTime)> {
    let pipeline = gst::Pipeline::new();
    let make =
        |element: &str| gst::ElementFactory::make(element).build().with_context(|| format!("{element} is missing"));
    let (source, demux) = (make("filesrc")?, make("qtdemux")?);
    source.set_property("location", path);
    pipeline.add_many([&source, &demux])?;
    source.link(&demux)?;
    let weak = pipeline.downgrade();
    demux.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade()
            && let Err(error) = take_pad(&pipeline, pad)
        {
            gst::element_error!(pipeline, gst::StreamError::WrongType, ("{error:#}"));
        }
    });
    pipeline.set_state(gst::State::Playing).context("the file does not open")?;
    let bus = pipeline.bus().context("a pipeline without a bus")?;
    let end =
        bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error]);
    let failure = match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => None,
        Some(gst::MessageView::Error(error)) => Some(format!("{} ({:?})", error.error(), error.debug())),
        _ => Some("reading it took longer than 60 s".to_owned()),
    };

    let mut sinks: Vec<AppSink> =
        pipeline.iterate_recurse().into_iter().flatten().filter_map(|s| s.downcast().ok()).collect();
    // "0…" for video, "1…" for audio: the hub's tracks begin with the video.
    sinks.sort_by_key(gst::prelude::GstObjectExt::name);
    let mut tracks = Vec::new();
    let mut units = Vec::new();
    let mut duration = gst::ClockTime::ZERO;
    if failure.is_none() {
        for sink in &sinks {
            let mut end = gst::ClockTime::ZERO;
            while let Some(sample) = sink.try_pull_sample(gst::ClockTime::ZERO) {
                let unit = unit(tracks.len(), sample)?;
                let frame = unit.sample.buffer().and_then(gst::BufferRef::duration);
                end = end.max(unit.pts.max(unit.dts) + frame.unwrap_or_default());
                units.push(unit);
            }
            tracks.push(payload(sink)?);
            // The video decides how long a round is; audio that outlasts it would overlap itself.
            if tracks.len() == 1 {
                duration = end;
            }
        }
    }
    pipeline.set_state(gst::State::Null).context("the file does not close")?;
    if let Some(failure) = failure {
        bail!(failure);
    }
    units.retain(|unit| unit.dts < duration);
    units.sort_by_key(|unit| unit.dts);
    if units.is_empty() || duration.is_zero() {
        bail!("there is no H.264 or H.265 video in it");
    }
    Ok((tracks, units, duration))
}

fn take_pad(pipeline: &gst::Pipeline, pad: &gst::Pad) -> anyhow::Result<()> {
    let caps = pad.current_caps().context("a track without a format")?;
    let format = caps.structure(0).map_or_else(String::new, |s| s.name().to_string());
    let (name, chain) = match format.as_str() {
        "video/x-h264" => {
            ("0h264", "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au ! ")
        }
        "video/x-h265" => {
            ("0h265", "h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au ! ")
        }
        "audio/mpeg" => ("1aac", "aacparse ! audio/mpeg,mpegversion=4,stream-format=raw ! "),
        "audio/x-alaw" => ("1pcma", ""),
        "audio/x-mulaw" => ("1pcmu", ""),
        "audio/x-opus" => ("1opus", "opusparse ! "),
        // Subtitles, time codes and the like are left out.
        _ => ("", "fakesink name=rest async=false"),
    };
    let sink = if name.is_empty() {
        String::new()
    } else {
        format!("appsink name={name} sync=false async=false wait-on-eos=false")
    };
    let bin = gst::parse::bin_from_description(
        &format!("queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! {chain}{sink}"),
        true,
    )?;
    pipeline.add(&bin)?;
    bin.sync_state_with_parent()?;
    let target = bin.static_pad("sink").context("a chain without an entrance")?;
    pad.link(&target)?;
    Ok(())
}

fn unit(track: usize, sample: gst::Sample) -> anyhow::Result<Unit> {
    let buffer = sample.buffer().context("an empty sample")?;
    let segment = sample.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()).context("a track without times")?;
    let pts = segment.to_running_time(buffer.pts()).context("a frame without a time")?;
    // A DTS before the beginning (edit lists) is due at the beginning.
    let dts = match buffer.dts() {
        Some(dts) => segment.to_running_time(dts).unwrap_or_default(),
        None => pts,
    };
    Ok(Unit { track, dts, pts, sample })
}

fn payload(sink: &AppSink) -> anyhow::Result<Payload> {
    Ok(match sink.name().as_str() {
        "0h264" => Payload::H264,
        "0h265" => Payload::H265,
        "1aac" => Payload::Aac,
        "1pcma" => Payload::Pcma,
        "1pcmu" => Payload::Pcmu,
        "1opus" => Payload::Opus,
        other => bail!("an unknown track {other}"),
    })
}
