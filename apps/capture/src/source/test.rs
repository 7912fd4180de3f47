//! The test source: pictures that carry their number, and a tone.
//!
//! The number is `CLOCK_MONOTONIC` divided by the frame duration, so that it goes on over restarts of the process and a gap can
//! be counted from the pictures alone.

use std::sync::{Arc, OnceLock};

use gst_video::prelude::*;
use gstreamer as gst;
use gstreamer_video as gst_video;
use holdfast_config::Picture;

use super::encode::Encoders;
use super::{Built, Failure, Source, Trouble, audio, chain};
use crate::clock::NS_PER_S;
use crate::encoders::Job;
use crate::intake::Feed;

const DEFAULT_WIDTH: u32 = 1280;
const DEFAULT_HEIGHT: u32 = 720;
const DEFAULT_FRAMERATE: u32 = 30;
/// Ten wake-ups a second instead of 47; the encoder cuts its own frames.
const SAMPLES_PER_BUFFER: i32 = 4800;

/// See the module.
#[derive(Debug)]
pub struct TestSource {
    name: String,
    picture: Picture,
    audio: bool,
    encoders: Encoders,
}

impl TestSource {
    /// `name` is drawn into the picture.
    #[must_use]
    pub fn new(name: &str, picture: Picture, audio: bool, encoders: Encoders) -> Self {
        Self { name: name.to_owned(), picture, audio, encoders }
    }
}

impl Source for TestSource {
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure> {
        let job = Job {
            width: self.picture.width.unwrap_or(DEFAULT_WIDTH),
            height: self.picture.height.unwrap_or(DEFAULT_HEIGHT),
            framerate: self.picture.framerate.unwrap_or(DEFAULT_FRAMERATE).max(1),
            bitrate_kbps: self.encoders.bitrate_kbps(),
        };
        let pipeline = gst::Pipeline::new();
        let pictures = pictures(&job)?;
        let filter = filter(&job)?;
        number(&filter, &job, feed.base_ns(), self.name.clone());
        chain(&pipeline, &[&pictures, &filter])?;
        let encoder = self.encoders.attach(&pipeline, &filter, &job, feed)?;
        feed.expect_audio(false);
        if self.audio {
            let tone = gst::ElementFactory::make("audiotestsrc")
                .property("is-live", true)
                .property("samplesperbuffer", SAMPLES_PER_BUFFER)
                .property("volume", 0.1_f64)
                .build();
            let tone = tone.map_err(|_| not_installed("audiotestsrc"))?;
            audio::attach(&pipeline, &tone, feed)?;
        }
        Ok(Built { pipeline, encoder: encoder.to_owned() })
    }

    fn explain(&self, trouble: &Trouble) -> Failure {
        self.encoders.explain("the test source failed", trouble)
    }

    fn encoders(&mut self) -> Option<&mut Encoders> {
        Some(&mut self.encoders)
    }
}

fn not_installed(element: &str) -> Failure {
    Failure::configuration(format!(
        "the GStreamer element {element} is not installed. Install gstreamer1.0-plugins-base"
    ))
}

fn pictures(_job: &Job) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make("videotestsrc")
        .property("is-live", true)
        .property_from_str("pattern", "smpte")
        .build()
        .map_err(|_| not_installed("videotestsrc"))
}

fn filter(job: &Job) -> Result<gst::Element, Failure> {
    let pixels = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let caps = gst::Caps::builder("video/x-raw")
        // Both begin with a plane of 8-bit luma, which the number is written into.
        .field("format", gst::List::new(["I420", "NV12"]))
        .field("width", pixels(job.width))
        .field("height", pixels(job.height))
        .field("framerate", gst::Fraction::new(pixels(job.framerate), 1))
        .build();
    let filter = gst::ElementFactory::make("capsfilter").property("caps", caps).build();
    filter.map_err(|_| Failure::configuration("GStreamer's core elements are missing"))
}

/// Writes the number into every picture that leaves `element`.
fn number(element: &gst::Element, job: &Job, base_ns: u64, label: String) {
    let framerate = u64::from(job.framerate);
    let info: OnceLock<gst_video::VideoInfo> = OnceLock::new();
    let origin: OnceLock<(u64, u64)> = OnceLock::new();
    let Some(pad) = element.static_pad("src") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, probe| {
        let Some(buffer) = probe.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        if info.get().is_none()
            && let Some(known) = pad.current_caps().and_then(|caps| gst_video::VideoInfo::from_caps(&caps).ok())
        {
            // Set once: the caps are ours, they do not change.
            let _ = info.set(known);
        }
        let (Some(info), Some(pts)) = (info.get(), buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let pts_ns = pts.nseconds();
        // Counted from the first picture, so that rounding never gives two pictures one number.
        let (first_number, first_ns) = *origin.get_or_init(|| (frame_number(base_ns + pts_ns, framerate), pts_ns));
        let number = first_number + frames_between(first_ns, pts_ns, framerate);
        let number = u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        let buffer = buffer.make_mut();
        if let Ok(mut frame) = gst_video::VideoFrameRef::from_buffer_ref_writable(buffer, info) {
            let (width, height) = (info.width() as usize, info.height() as usize);
            let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(0);
            if let Ok(luma) = frame.plane_data_mut(0) {
                holdfast_framemark::stamp(luma, stride, width, height, number, &label);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn frame_number(mono_ns: u64, framerate: u64) -> u64 {
    u64::try_from(u128::from(mono_ns) * u128::from(framerate) / u128::from(NS_PER_S)).unwrap_or(0)
}

fn frames_between(first_ns: u64, pts_ns: u64, framerate: u64) -> u64 {
    let distance = u128::from(pts_ns.saturating_sub(first_ns)) * u128::from(framerate);
    u64::try_from((distance + u128::from(NS_PER_S / 2)) / u128::from(NS_PER_S)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{frame_number, frames_between};

    #[test]
    fn numbers_go_on_over_restarts_and_never_repeat() {
        assert_eq!(frame_number(1_000_000_000, 30), 30);
        let picture = |index: u64| index * 1_000_000_000 / 30;
        for index in 0..10_000 {
            assert_eq!(frames_between(picture(7), picture(7 + index), 30), index);
        }
        // Weeks of uptime at 60 pictures a second do not overflow.
        assert_eq!(frame_number(90 * 86_400 * 1_000_000_000, 60), 90 * 86_400 * 60);
    }
}
