//! Which GStreamer elements an input needs, so that what is missing is known before somebody presses record.

use gstreamer as gst;
use holdfast_config::{Input, RtspTransport, Source};
use serde::Serialize;

use super::{offer, package_of};

/// An element that an input needs and this box lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The element.
    pub element: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

/// What `input` needs and is not installed; encoders apart, which [`crate::probe`] tries. GStreamer must be initialised.
#[must_use]
pub fn missing(input: &Input) -> Vec<Missing> {
    let mut needed = elements(input);
    needed.retain(|element| gst::ElementFactory::find(element).is_none());
    let missing = |element| Missing { element, package: package_of(element) };
    needed.into_iter().map(missing).collect()
}

/// Every element that the input may need: of a camera, for all it might send.
fn elements(input: &Input) -> Vec<&'static str> {
    let encoded_audio = if input.audio { vec!["audioconvert", "audioresample"] } else { Vec::new() };
    let mut needed = vec!["capsfilter", "appsink"];
    match &input.source {
        Source::Rtsp { url, transport, .. } => {
            let ours = *transport == RtspTransport::Tcp && url.starts_with("rtsp://");
            needed.push(if ours { "appsrc" } else { "rtspsrc" });
            needed.extend(offer::all_elements(ours, input.audio));
        }
        Source::V4l2 { audio_device, .. } => {
            needed.extend(["v4l2src", "jpegdec"]);
            if audio_device.is_some() {
                needed.push("alsasrc");
                needed.extend(encoded_audio);
            }
        }
        Source::Test { .. } => {
            needed.push("videotestsrc");
            if input.audio {
                needed.push("audiotestsrc");
                needed.extend(encoded_audio);
            }
        }
        Source::File { .. } => {
            needed.extend(["filesrc", "qtdemux", "matroskademux"]);
            needed.extend(["h264parse", "h264timestamper", "h265parse", "h265timestamper"]);
        }
    }
    needed
}
