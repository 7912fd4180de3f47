//! Where frames come from. A source builds a pipeline; [`attempt`] runs it once, [`supervise`] for ever.

pub mod attempt;
pub mod audio;
pub mod encode;
pub mod file;
pub mod interleaved;
mod memory;
pub mod needs;
pub mod offer;
pub mod packages;
pub mod rtsp;
pub mod supervise;
pub mod test;
pub mod v4l2;

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_link::AlertCode;
use holdfast_segment::GapCause;

use crate::intake::Feed;
use encode::Encoders;

/// What kind of failure, which decides what is told and what is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The source: camera, line, file.
    Source,
    /// The encoder.
    Encoder,
    /// The configuration cannot work on this box as it is.
    Configuration,
}

impl FailureKind {
    /// The alert for it.
    #[must_use]
    pub fn alert(self) -> AlertCode {
        match self {
            Self::Source => AlertCode::Source,
            Self::Encoder => AlertCode::Encoder,
            Self::Configuration => AlertCode::Configuration,
        }
    }

    /// The cause of the gap it leaves.
    #[must_use]
    pub fn gap(self) -> GapCause {
        match self {
            Self::Source | Self::Configuration => GapCause::SourceLost,
            Self::Encoder => GapCause::EncoderFailed,
        }
    }

    /// The same, as the link names it.
    #[must_use]
    pub fn link_gap(self) -> holdfast_link::GapCause {
        crate::state::link_cause(self.gap())
    }
}

/// Why a source does not deliver, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// For people; ends with a remedy.
    pub text: String,
}

impl Failure {
    /// The source's fault.
    pub fn source(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Source, text: text.into() }
    }

    /// The encoder's fault.
    pub fn encoder(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Encoder, text: text.into() }
    }

    /// Something on this box has to be changed.
    pub fn configuration(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Configuration, text: text.into() }
    }
}

/// An error that a pipeline posted.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The element that posted it.
    pub element: String,
    /// Its factory.
    pub factory: String,
    /// The error.
    pub error: gst::glib::Error,
    /// What it says for engineers.
    pub debug: String,
}

/// Kinds of sources. The seam between what is recorded and how frames are got.
pub trait Source: Send {
    /// Builds a pipeline that hands its frames to `feed`. It is not running yet.
    ///
    /// # Errors
    /// What is missing, or why it cannot work.
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure>;

    /// The pipeline runs now.
    fn started(&mut self) {}

    /// The pipeline is about to be stopped. What the source has started beside it ends here.
    fn stop(&mut self) {}

    /// Says in people's words what an error of its pipeline means.
    fn explain(&self, trouble: &Trouble) -> Failure;

    /// The end of the stream was reached.
    fn ended(&mut self, pipeline: &gst::Pipeline) -> Result<(), Failure> {
        let _ = pipeline;
        Err(Failure::source("the source ended its stream; a live source never does that. Check the device"))
    }

    /// Whether it could be recorded from, as far as that shows without doing it: nothing is begun, changed or kept open. It may
    /// take as long as whatever is asked takes; whoever calls this has the deadline ([`crate::reach`]).
    ///
    /// # Errors
    /// Why it can't be reached.
    fn look(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Its encoders, if it has to encode.
    fn encoders(&mut self) -> Option<&mut Encoders> {
        None
    }
}

/// A pipeline, ready to run.
#[derive(Debug)]
pub struct Built {
    /// The pipeline.
    pub pipeline: gst::Pipeline,
    /// The encoder in use, or `copy`.
    pub encoder: String,
}

/// Makes an element, or says which package has it.
///
/// # Errors
/// The element is not installed.
pub fn make(factory: &str) -> Result<gst::Element, Failure> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        let package = packages::package_of(factory);
        Failure::configuration(format!("the GStreamer element {factory} is not installed. Install {package}"))
    })
}

/// Puts elements into the pipeline and links them in this order.
///
/// # Errors
/// They do not fit together.
pub fn chain(pipeline: &gst::Pipeline, elements: &[&gst::Element]) -> Result<(), Failure> {
    let names = || elements.iter().map(|element| element.name().to_string()).collect::<Vec<_>>().join(" → ");
    let broken = |what: &str| Failure::configuration(format!("GStreamer cannot {what} {}", names()));
    for element in elements {
        if element.parent().is_none() {
            pipeline.add(*element).map_err(|_| broken("add"))?;
        }
    }
    gst::Element::link_many(elements.iter().copied()).map_err(|_| broken("link"))
}

/// Like [`chain`], in a pipeline that runs already, behind `pad`.
///
/// # Errors
/// They do not fit together.
pub fn chain_behind(pipeline: &gst::Pipeline, pad: &gst::Pad, elements: &[&gst::Element]) -> Result<(), Failure> {
    chain(pipeline, elements)?;
    let first = elements.first().and_then(|element| element.static_pad("sink"));
    let broken = || Failure::configuration(format!("GStreamer cannot link what follows {}", pad.name()));
    // From the back to the front, so that nobody gets data before it is ready for them.
    for element in elements.iter().rev() {
        element.sync_state_with_parent().map_err(|_| broken())?;
    }
    pad.link(&first.ok_or_else(broken)?).map_err(|_| broken())?;
    Ok(())
}

/// What an error of any pipeline means, where the source has no better words.
#[must_use]
pub fn explain_plainly(what: &str, trouble: &Trouble) -> Failure {
    let message = trouble.error.message();
    tracing::debug!(element = trouble.element, debug = trouble.debug, "pipeline error");
    Failure::source(format!("{what}: {} ({})", message.trim_end_matches('.'), trouble.factory))
}
