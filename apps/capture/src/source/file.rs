//! A media file, played in a loop as if it were live. H.264, H.265 and AAC are copied.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use super::{Built, Failure, Source, Trouble, chain, chain_behind, explain_plainly, make};
use crate::intake::Feed;
use crate::packet::Medium;

/// See the module.
#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    audio: bool,
    feed: Option<Arc<Feed>>,
    sinks: Arc<Mutex<Vec<gst::Pad>>>,
}

impl FileSource {
    /// `path` is an MP4, MOV or Matroska file.
    #[must_use]
    pub fn new(path: &Path, audio: bool) -> Self {
        Self { path: path.to_owned(), audio, feed: None, sinks: Arc::default() }
    }

    fn failure(&self, text: impl std::fmt::Display) -> Failure {
        Failure::configuration(format!("{}: {text}", self.path.display()))
    }

    /// The demuxer for what the file is, whatever it is called.
    fn demuxer(&self) -> Result<&'static str, Failure> {
        let mut head = Head::default();
        let mut file =
            File::open(&self.path).map_err(|error| self.failure(format!("cannot be opened: {error}. Check path")))?;
        file.read_exact(&mut head).map_err(|error| self.failure(format!("cannot be read: {error}. Check path")))?;
        demuxer_for(&head).ok_or_else(|| self.failure("is no MP4, MOV or Matroska file; only those can be played in a loop. Convert it: ffmpeg -i FILE -c copy FILE.mp4"))
    }
}

/// All demuxers that there is a use for.
pub const DEMUXERS: [&str; 2] = ["qtdemux", "matroskademux"];

/// As much of a file as says what it is.
type Head = [u8; 12];

fn demuxer_for(head: &Head) -> Option<&'static str> {
    match head {
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(DEMUXERS[0]),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(DEMUXERS[1]),
        _ => None,
    }
}

/// The demuxer for this file, as far as it can be read.
#[must_use]
pub fn demuxer_of(path: &Path) -> Option<&'static str> {
    let mut head = Head::default();
    File::open(path).and_then(|mut file| file.read_exact(&mut head)).ok()?;
    demuxer_for(&head)
}

impl Source for FileSource {
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure> {
        let demuxer = make(self.demuxer()?)?;
        let reader = make("filesrc")?;
        reader.set_property("location", self.path.as_os_str().to_string_lossy().as_ref());
        let pipeline = gst::Pipeline::new();
        chain(&pipeline, &[&reader, &demuxer])?;
        self.feed = Some(feed.clone());
        self.sinks = Arc::default();
        feed.expect_audio(false);

        let (weak, to, sinks, audio) = (pipeline.downgrade(), feed.clone(), self.sinks.clone(), self.audio);
        demuxer.connect_pad_added(move |demuxer, pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            let mut sinks = sinks.lock().unwrap_or_else(PoisonError::into_inner);
            match attach(&pipeline, pad, &to, audio) {
                Ok(Some(sink)) => sinks.push(sink),
                Ok(None) => {}
                Err(failure) => gst::element_error!(demuxer, gst::CoreError::MissingPlugin, ("{}", failure.text)),
            }
        });
        demuxer.connect_no_more_pads(move |demuxer| {
            let codecs: Vec<String> = demuxer.src_pads().iter().map(codec).collect();
            if !codecs.iter().any(|codec| video_parser(codec).is_some()) {
                let text = format!("holds {}; H.264 and H.265 video can be played", codecs.join(", "));
                gst::element_error!(demuxer, gst::StreamError::CodecNotFound, ("{text}"));
            }
        });
        Ok(Built { pipeline, encoder: "copy".to_owned() })
    }

    fn look(&self) -> Result<(), Failure> {
        self.demuxer().map(drop)
    }

    fn explain(&self, trouble: &Trouble) -> Failure {
        if trouble.error.matches(gst::StreamError::CodecNotFound)
            || trouble.error.matches(gst::CoreError::MissingPlugin)
        {
            return self.failure(trouble.error.message());
        }
        explain_plainly(&self.path.display().to_string(), trouble)
    }

    /// Begins again, with times that go on where the last pass ended.
    fn ended(&mut self, pipeline: &gst::Pipeline) -> Result<(), Failure> {
        let Some(feed) = &self.feed else {
            return Err(self.failure("ended before it began"));
        };
        let end = i64::try_from(feed.newest_running_ns()).map_err(|_| self.failure("has been played for too long"))?;
        for pad in self.sinks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            pad.set_offset(end);
        }
        let seek = pipeline.seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO);
        seek.map_err(|_| self.failure("cannot be played again from its beginning"))
    }
}

fn codec(pad: &gst::Pad) -> String {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    caps.structure(0).map(|structure| structure.name().to_string()).unwrap_or_default()
}

fn video_parser(codec: &str) -> Option<(&'static str, &'static str, &'static str)> {
    match codec {
        "video/x-h264" => Some(("h264parse", "h264timestamper", "video/x-h264,stream-format=avc,alignment=au")),
        "video/x-h265" => Some(("h265parse", "h265timestamper", "video/x-h265,stream-format=hvc1,alignment=au")),
        _ => None,
    }
}

/// Puts a sink behind the first video and the first AAC stream; the sink paces the file. Returns its pad.
fn attach(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    feed: &Arc<Feed>,
    audio: bool,
) -> Result<Option<gst::Pad>, Failure> {
    let codec = codec(pad);
    let taken = |name| pipeline.by_name(name).is_some();
    let mut elements = Vec::new();
    let medium = match (video_parser(&codec), codec.as_str()) {
        (Some((parser, timestamper, caps)), _) if !taken("video") => {
            let is_mp4 =
                pad.parent_element().and_then(|demuxer| demuxer.factory()).is_some_and(|f| f.name() == "qtdemux");
            let as_is = pad.current_caps().is_some_and(|caps| {
                let format = caps.structure(0).and_then(|structure| structure.get::<String>("stream-format").ok());
                matches!(format.as_deref(), Some("avc" | "hvc1"))
            });
            // What an MP4 holds is what an MP4 takes; other containers lack decode times.
            if !(is_mp4 && as_is) {
                let filter = make("capsfilter")?;
                filter.set_property("caps", caps.parse::<gst::Caps>().unwrap_or_else(|_| gst::Caps::new_any()));
                elements.extend([make(parser)?, filter, make(timestamper)?]);
            }
            Medium::Video
        }
        (None, "audio/mpeg") if audio && !taken("audio") => {
            feed.expect_audio(true);
            Medium::Audio
        }
        (_, other) => {
            tracing::info!(codec = other, "a stream of the file is not played");
            return Ok(None);
        }
    };
    let sink = feed.sink(medium);
    sink.set_sync(true);
    let sink_pad = sink.static_pad("sink");
    elements.push(sink.upcast());
    chain_behind(pipeline, pad, &elements.iter().collect::<Vec<_>>())?;
    Ok(sink_pad)
}
