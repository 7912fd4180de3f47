//! V4L2 devices: HDMI-in, USB and MIPI cameras, with ALSA sound beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::Picture;

use super::encode::Encoders;
use super::{Built, Failure, Source, Trouble, audio, chain, explain_plainly, make};
use crate::encoders::Job;
use crate::intake::Feed;

/// A device that gives raw pictures only slower than this is asked for Motion JPEG, if it has that.
const LEAST_RAW_FRAMERATE: i32 = 15;
/// `GST_BUFFER_OFFSET_NONE`: the driver does not number its pictures.
const NO_NUMBER: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub struct V4l2Source {
    device: PathBuf,
    audio_device: Option<String>,
    picture: Picture,
    encoders: Encoders,
}

impl V4l2Source {
    /// `audio_device` is an ALSA name, or nothing for no sound.
    #[must_use]
    pub fn new(device: &Path, audio_device: Option<String>, picture: Picture, encoders: Encoders) -> Self {
        Self { device: device.to_owned(), audio_device, picture, encoders }
    }

    fn failure(&self, text: impl std::fmt::Display) -> Failure {
        Failure::source(format!("{}: {text}", self.device.display()))
    }

    /// Asks the device what it can do, and chooses.
    fn negotiate(&self, device: &gst::Element) -> Result<gst::Caps, Failure> {
        if device.set_state(gst::State::Ready).is_err() {
            return Err(self.failure(why_not_open(&self.device)));
        }
        let offered = device.static_pad("src").map_or_else(gst::Caps::new_empty, |pad| pad.query_caps(None));
        choose(&offered, &self.picture)
            .ok_or_else(|| self.failure(format!("has no such picture ({:?}). It offers {offered}", self.picture)))
    }
}

impl Source for V4l2Source {
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure> {
        let device = make("v4l2src")?;
        device.set_property("device", self.device.to_string_lossy().as_ref());
        let caps = self.negotiate(&device)?;
        let job = job(&caps, self.encoders.bitrate_kbps()).ok_or_else(|| self.failure("gives no picture size"))?;
        let pipeline = gst::Pipeline::new();
        let filter = make("capsfilter")?;
        filter.set_property("caps", &caps);
        chain(&pipeline, &[&device, &filter])?;
        count_overruns(&device, feed);
        let is_jpeg = caps.structure(0).is_some_and(|structure| structure.name() == "image/jpeg");
        let raw = if is_jpeg {
            let decoder = make("jpegdec")?;
            chain(&pipeline, &[&filter, &decoder])?;
            decoder
        } else {
            filter
        };
        let encoder = self.encoders.attach(&pipeline, &raw, &job, feed)?;
        tracing::info!(device = %self.device.display(), %caps, encoder, "captures");
        feed.expect_audio(false);
        if let Some(name) = &self.audio_device {
            let microphone = make("alsasrc")?;
            microphone.set_property("device", name);
            // The frames are timed by the system's clock; the sound follows it.
            microphone.set_property("provide-clock", false);
            audio::attach(&pipeline, &microphone, feed)?;
        }
        Ok(Built { pipeline, encoder: encoder.to_owned() })
    }

    /// Opens the device and asks what it is (VIDIOC_QUERYCAP), no more: it streams to one program at a time.
    fn look(&self) -> Result<(), Failure> {
        if !self.device.exists() {
            return Err(self.failure(why_not_open(&self.device)));
        }
        gst::init().map_err(|error| Failure::configuration(format!("GStreamer does not start: {error}")))?;
        let device = make("v4l2src")?;
        device.set_property("device", self.device.to_string_lossy().as_ref());
        let opened = device.set_state(gst::State::Ready);
        let _ = device.set_state(gst::State::Null);
        opened.map(drop).map_err(|_| self.failure(why_not_open(&self.device)))
    }

    fn explain(&self, trouble: &Trouble) -> Failure {
        if self.encoders.is_from_encoder(trouble) {
            return self.encoders.explain(&self.device.display().to_string(), trouble);
        }
        match trouble.factory.as_str() {
            "v4l2src" => self.failure(format!("{} ({})", why_not_open(&self.device), trouble.error.message())),
            "alsasrc" => {
                let name = self.audio_device.as_deref().unwrap_or_default();
                Failure::source(format!("the sound device {name}: {}. See arecord -L", trouble.error.message()))
            }
            _ => explain_plainly(&self.device.display().to_string(), trouble),
        }
    }

    fn ended(&mut self, _: &gst::Pipeline) -> Result<(), Failure> {
        Err(self.failure("the device ended its stream; it was unplugged, or lost its signal. Check the cable"))
    }

    fn encoders(&mut self) -> Option<&mut Encoders> {
        Some(&mut self.encoders)
    }
}

/// One fixed format: raw if it is fast enough, else Motion JPEG.
fn choose(offered: &gst::Caps, wanted: &Picture) -> Option<gst::Caps> {
    let number = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    let with = |name: &str, least_framerate: i32| {
        let mut caps = gst::Caps::builder(name);
        if let Some(width) = wanted.width {
            caps = caps.field("width", number(width));
        }
        if let Some(height) = wanted.height {
            caps = caps.field("height", number(height));
        }
        caps = match wanted.framerate {
            Some(rate) => caps.field("framerate", gst::Fraction::new(number(rate), 1)),
            None => caps.field(
                "framerate",
                gst::FractionRange::new(gst::Fraction::new(least_framerate, 1), gst::Fraction::new(i32::MAX, 1)),
            ),
        };
        caps.build()
    };
    let tries = [with("video/x-raw", LEAST_RAW_FRAMERATE), with("image/jpeg", 1), with("video/x-raw", 1)];
    tries.iter().find_map(|caps| {
        let mut both = offered.intersect_with_mode(caps, gst::CapsIntersectMode::First);
        (!both.is_empty()).then(|| {
            both.truncate();
            let both = both.make_mut();
            for structure in both.iter_mut() {
                // Where the device leaves a choice, the best it has, but not what nobody asked for.
                structure.fixate_field_nearest_int("width", 1920);
                structure.fixate_field_nearest_int("height", 1080);
                structure.fixate_field_nearest_fraction("framerate", gst::Fraction::new(30, 1));
            }
            let mut fixed = both.to_owned();
            fixed.fixate();
            fixed
        })
    })
}

fn job(caps: &gst::Caps, bitrate_kbps: u32) -> Option<Job> {
    let structure = caps.structure(0)?;
    let size = |field| structure.get::<i32>(field).ok().and_then(|value| u32::try_from(value).ok());
    let rate = structure.get::<gst::Fraction>("framerate").ok()?;
    // Rounded up, so that a GOP of so many frames is never shorter than the keyframe distance it stands for.
    let framerate = u32::try_from((rate.numer() + rate.denom() - 1) / rate.denom().max(1)).ok()?;
    Some(Job { width: size("width")?, height: size("height")?, framerate: framerate.max(1), bitrate_kbps })
}

fn why_not_open(device: &Path) -> String {
    match std::fs::File::open(device) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            "is not there. Connect the device; v4l2-ctl --list-devices shows what is".to_owned()
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "may not be opened by this user. Add the user to the group video".to_owned()
        }
        Err(error) => format!("cannot be opened: {error}"),
        Ok(_) => {
            "cannot be used; another program may hold it (fuser -v shows which), or it is no capture device".to_owned()
        }
    }
}

/// The driver numbers its pictures; a jump means that it had to throw some away.
fn count_overruns(device: &gst::Element, feed: &Arc<Feed>) {
    let Some(pad) = device.static_pad("src") else { return };
    let (feed, next) = (feed.clone(), AtomicU64::new(u64::MAX));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let number = info.buffer().map_or(NO_NUMBER, |buffer| buffer.offset());
        if number != NO_NUMBER {
            let expected = next.swap(number + 1, Ordering::Relaxed);
            if expected != u64::MAX && number > expected {
                feed.source_overrun(number - expected);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::{choose, job};
    use gstreamer as gst;
    use holdfast_config::Picture;

    const ANY: Picture = Picture { width: None, height: None, framerate: None };

    fn offered(text: &str) -> gst::Caps {
        gst::init().unwrap();
        text.parse().unwrap()
    }

    #[test]
    fn prefers_raw_where_it_is_fast_enough() {
        let webcam = offered(
            "video/x-raw,format=YUY2,width=640,height=480,framerate=30/1;\
             video/x-raw,format=YUY2,width=1920,height=1080,framerate=5/1;\
             image/jpeg,width=1920,height=1080,framerate=30/1",
        );
        let chosen = choose(&webcam, &ANY).unwrap();
        assert_eq!(chosen.structure(0).unwrap().name(), "video/x-raw");
        let full_hd = Picture { width: Some(1920), height: Some(1080), framerate: None };
        let chosen = choose(&webcam, &full_hd).unwrap();
        assert_eq!(chosen.structure(0).unwrap().name(), "image/jpeg");
        assert_eq!(job(&chosen, 4000).unwrap().framerate, 30);
        assert!(choose(&webcam, &Picture { width: Some(333), ..ANY }).is_none());
    }

    #[test]
    fn fixes_what_a_device_leaves_open() {
        let hdmi = offered("video/x-raw,format={NV12,NV24},width=[16,3840],height=[16,2160],framerate=[1/1,60/1]");
        let chosen = choose(&hdmi, &ANY).unwrap();
        let job = job(&chosen, 8000).unwrap();
        assert_eq!((job.width, job.height, job.framerate), (1920, 1080, 30));
        assert!(chosen.is_fixed());
    }
}
