//! Choice of an encoder for a raw source, and the ladder it climbs down when one fails.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::{Codec, Encoding};

use super::{Failure, Trouble, chain};
use crate::encoders::{self, Job, Row};
use crate::intake::Feed;
use crate::packet::Medium;
use crate::probe::Probe;

/// Which encoder to use.
#[derive(Debug)]
pub struct Ladder {
    encoding: Encoding,
    probe: Probe,
    /// Encoders that failed while recording, with how often.
    failures: Vec<(&'static str, u32)>,
}

/// An encoder that fails twice in a row makes room for the next.
const SECOND_CHANCES: u32 = 1;

impl Ladder {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(encoding: Encoding, probe: Probe) -> Self {
        Self { encoding, probe, failures: Vec::new() }
    }

    /// The encoder for the next attempt: the configured one, or the first of the table that has shown that it works.
    ///
    /// # Errors
    /// There is none.
    pub fn choose(&mut self, job: &Job) -> Result<&'static Row, Failure> {
        if let Some(name) = &self.encoding.encoder {
            let row = encoders::row(name).map_err(|error| Failure::configuration(error.to_string()))?;
            // A missing element says so when the chain is built, with its package.
            return Ok(row);
        }
        let mut evidence = Vec::new();
        for skip_failed in [true, false] {
            for row in encoders::rows(self.encoding.codec).filter(|row| row.is_installed()) {
                if skip_failed && self.failures_of(row) > SECOND_CHANCES {
                    continue;
                }
                match self.probe.works(row, job) {
                    Ok(()) => return Ok(row),
                    Err(reason) => evidence.push(format!("{}: {reason}", row.element)),
                }
            }
            if self.failures.is_empty() {
                break;
            }
            // All have failed: begin at the top again, one of them has to do.
            self.failures.clear();
            evidence.clear();
        }
        let packages = match self.encoding.codec {
            Codec::H264 => "gstreamer1.0-plugins-ugly (x264enc)",
            Codec::H265 => "gstreamer1.0-plugins-bad (x265enc)",
        };
        let tried = if evidence.is_empty() { "none is installed".to_owned() } else { evidence.join("; ") };
        Err(Failure::configuration(format!(
            "no encoder for {:?} works on this box ({tried}). Install {packages}, or the board's own encoder",
            self.encoding.codec
        )))
    }

    /// The encoder failed while it was used.
    pub fn failed(&mut self, element: &'static str) {
        match self.failures.iter_mut().find(|(known, _)| *known == element) {
            Some((_, count)) => *count += 1,
            None => self.failures.push((element, 1)),
        }
    }

    fn failures_of(&self, row: &Row) -> u32 {
        self.failures.iter().find(|(known, _)| *known == row.element).map_or(0, |(_, count)| *count)
    }

    /// Target bit rate in kbit/s.
    #[must_use]
    pub fn bitrate_kbps(&self) -> u32 {
        self.encoding.bitrate_kbps
    }
}

/// Puts `row`'s encoder and the sink behind `raw`, whose source pad gives pictures as `job` says.
///
/// # Errors
/// An element is missing.
pub fn attach(
    pipeline: &gst::Pipeline,
    raw: &gst::Element,
    row: &'static Row,
    job: &Job,
    feed: &Arc<Feed>,
) -> Result<(), Failure> {
    let encoder = row.bin(job).map_err(|error| Failure::configuration(error.to_string()))?;
    let sink = feed.sink(Medium::Video);
    chain(pipeline, &[raw, encoder.upcast_ref(), sink.upcast_ref()])?;
    if let Some(pad) = raw.static_pad("src") {
        feed.watch_encoder_input(&pad);
    }
    Ok(())
}

/// Whether an error came from the encoder.
#[must_use]
pub fn is_from(row: &Row, trouble: &Trouble) -> bool {
    trouble.factory == row.element
}
