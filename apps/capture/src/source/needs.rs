//! Which GStreamer elements an input needs, so that what is missing is known before somebody presses record.

use gstreamer as gst;
use holdfast_config::{Encoding, Input, RtspTransport, Source};
use serde::Serialize;

use super::packages::package_of;
use super::{audio, file, offer};
use crate::encoders;

/// An element that an input needs and this box lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The element.
    pub element: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What there is not without it.
    pub costs: Costs,
}

/// What is not had for want of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Costs {
    /// Nothing is recorded.
    Recording,
    /// It is recorded without sound.
    Sound,
}

/// What `input` needs and is not installed; encoders of pictures apart, which [`crate::probe`] tries. GStreamer must be initialised.
#[must_use]
pub fn missing(input: &Input) -> Vec<Missing> {
    lacking(input, &|element| gst::ElementFactory::find(element).is_some())
}

/// The same for a box on which `is_there` says what is installed.
fn lacking(input: &Input, is_there: &dyn Fn(&str) -> bool) -> Vec<Missing> {
    let missing = |costs| move |element| Missing { element, package: package_of(element), costs };
    let mut found: Vec<Missing> = elements(input, is_there)
        .into_iter()
        .filter(|element| !is_there(element))
        .map(missing(Costs::Recording))
        .collect();
    if encodes_sound(input) {
        found.extend(audio::lacking(is_there).into_iter().map(missing(Costs::Sound)));
    }
    found
}

/// Sound that comes raw has to be encoded.
fn encodes_sound(input: &Input) -> bool {
    match &input.source {
        Source::V4l2 { audio_device, .. } => audio_device.is_some(),
        Source::Test { .. } => input.audio,
        Source::Rtsp { .. } | Source::File { .. } => false,
    }
}

/// Every element without which the input may not record: of a camera, for all it might send.
fn elements(input: &Input, is_there: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    let mut needed = vec!["capsfilter", "appsink"];
    match &input.source {
        Source::Rtsp { url, transport, .. } => {
            let ours = *transport == RtspTransport::Tcp && url.starts_with("rtsp://");
            needed.push(if ours { "appsrc" } else { "rtspsrc" });
            needed.extend(offer::all_elements(ours, input.audio));
        }
        Source::V4l2 { audio_device, .. } => {
            needed.extend(["v4l2src", "jpegdec"]);
            needed.extend(audio_device.as_ref().map(|_| "alsasrc"));
            needed.extend(beside_encoder(&input.encoding, is_there));
        }
        Source::Test { .. } => {
            needed.push("videotestsrc");
            needed.extend(input.audio.then_some("audiotestsrc"));
            needed.extend(beside_encoder(&input.encoding, is_there));
        }
        Source::File { path } => {
            needed.push("filesrc");
            // Of a file that is not there yet, nobody knows what it will be.
            needed.extend(file::demuxer_of(path).map_or(file::DEMUXERS.to_vec(), |demuxer| vec![demuxer]));
            needed.extend(["h264parse", "h264timestamper", "h265parse", "h265timestamper"]);
        }
    }
    if encodes_sound(input) {
        needed.extend(audio::BESIDE_ENCODER);
        needed.extend(audio::parser(is_there));
    }
    needed
}

/// What the encoder that is named is used with; or, where none is, what each of those installed is used with, unless one of them
/// lacks nothing.
fn beside_encoder(encoding: &Encoding, is_there: &dyn Fn(&str) -> bool) -> Vec<&'static str> {
    if let Some(named) = &encoding.encoder {
        // That there is none of this name is for the encoders' own check to say.
        return encoders::row(named).map(encoders::Row::helpers).unwrap_or_default();
    }
    let mut needed = Vec::new();
    for row in encoders::rows(encoding.codec).filter(|row| is_there(row.factory())) {
        let helpers = row.helpers();
        if helpers.iter().all(|element| is_there(element)) {
            return Vec::new();
        }
        needed.extend(helpers.into_iter().filter(|element| !needed.contains(element)).collect::<Vec<_>>());
    }
    needed
}

#[cfg(test)]
mod tests;
