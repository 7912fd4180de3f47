//! Sound that has to be encoded: which encoder, and the chain before it.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use super::{Failure, chain, make};
use crate::encoders::set;
use crate::intake::Feed;
use crate::packet::Medium;

struct AudioRow {
    element: &'static str,
    parser: &'static str,
    /// Samples per second it is given.
    rate: i32,
    settings: &'static [(&'static str, &'static str)],
}

/// Best first. AAC before Opus, because every player and editor opens AAC in MP4.
const AUDIO_TABLE: &[AudioRow] = &[
    AudioRow { element: "fdkaacenc", parser: "aacparse", rate: 48_000, settings: &[("bitrate", "128000")] },
    AudioRow { element: "avenc_aac", parser: "aacparse", rate: 48_000, settings: &[("bitrate", "128000")] },
    AudioRow { element: "voaacenc", parser: "aacparse", rate: 48_000, settings: &[("bitrate", "128000")] },
    AudioRow { element: "opusenc", parser: "opusparse", rate: 48_000, settings: &[("bitrate", "96000")] },
];

/// What stands before every encoder.
pub const BESIDE_ENCODER: [&str; 2] = ["audioconvert", "audioresample"];

/// The encoder to install where there is none: Debian has it in its main section.
const OBTAINABLE: &str = "avenc_aac";

/// The encoder that is lacking, or `None` if there is one.
pub fn lacking(is_there: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    AUDIO_TABLE.iter().all(|row| !is_there(row.element)).then_some(OBTAINABLE)
}

/// The parser of the encoder that is taken here.
pub fn parser(is_there: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    AUDIO_TABLE.iter().find(|row| is_there(row.element)).map(|row| row.parser)
}

/// Puts the best audio encoder and the sink behind `raw`. False if none is installed: the recording is silent then.
///
/// # Errors
/// An element is missing that comes with GStreamer itself.
pub fn attach(pipeline: &gst::Pipeline, raw: &gst::Element, feed: &Arc<Feed>) -> Result<bool, Failure> {
    let Some((row, encoder)) =
        AUDIO_TABLE.iter().find_map(|row| Some((row, gst::ElementFactory::make(row.element).build().ok()?)))
    else {
        tracing::warn!("no audio encoder is installed (gstreamer1.0-libav has one); recording without sound");
        return Ok(false);
    };
    for (property, value) in row.settings {
        set(&encoder, property, value);
    }
    let (convert, resample) = (make("audioconvert")?, make("audioresample")?);
    let caps = gst::Caps::builder("audio/x-raw").field("rate", row.rate).field("channels", gst::IntRange::new(1, 2));
    let filter = gst::ElementFactory::make("capsfilter").property("caps", caps.build()).build();
    let filter = filter.map_err(|_| Failure::configuration("GStreamer's core elements are missing"))?;
    let parser = make(row.parser)?;
    let sink = feed.sink(Medium::Audio);
    chain(pipeline, &[raw, &convert, &resample, &filter, &encoder, &parser, sink.upcast_ref()])?;
    feed.expect_audio(true);
    Ok(true)
}
