//! One attempt at a source: from building the pipeline to its end. Never retries; see [`super::supervise`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_link::{AlertCode, SourceState};
use holdfast_segment::GapCause;

use super::{Failure, FailureKind, Source, Trouble};
use crate::clock::{self, NS_PER_MS, NS_PER_S};
use crate::intake::{Feed, Intake};
use crate::state::Shared;

/// A source that delivers nothing for so long has failed.
pub const SILENCE_NS: u64 = 5 * NS_PER_S;
/// The first picture may take longer: a camera wakes up, a keyframe is waited for.
const FIRST_PICTURE_NS: u64 = 10 * NS_PER_S;
/// How often liveness is looked at.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// The same where there is an encoder, which may stall by itself.
const ENCODER_LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(250);
/// An encoder that has owed a picture, or given only damaged ones, for so long has failed, if it still does at the next look: a
/// process that was stopped for a while, or a box that was, is not its fault. So it is found out within 2 s.
pub const ENCODER_SILENCE_NS: u64 = 1500 * NS_PER_MS;
/// Its first picture may take longer: hardware wakes up.
const ENCODER_FIRST_NS: u64 = 5 * NS_PER_S;
/// A pipeline that takes longer than this to end hangs.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended {
    /// It was not wanted any more.
    Unwanted,
    /// A better encoder works again.
    Better,
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// For so long it had delivered.
        ran: Duration,
        /// Its pipeline does not even end: something in it hangs.
        stuck: bool,
    },
}

impl Ended {
    fn failed(failure: Failure) -> Self {
        Self::Failed { failure, ran: Duration::ZERO, stuck: false }
    }

    fn cause(&self) -> GapCause {
        match self {
            Self::Unwanted | Self::Better => GapCause::Operator,
            Self::Failed { failure, .. } => failure.kind.gap(),
        }
    }
}

/// Runs `source` until it fails or is not wanted any more.
pub fn run_once(source: &mut dyn Source, intake: &Intake) -> Ended {
    let clock = gst::SystemClock::obtain();
    let feed = Feed::new(intake, clock.time().nseconds());
    let built = match source.build(&feed) {
        Ok(built) => built,
        Err(failure) => {
            intake.queue.push_break(failure.kind.gap());
            return Ended::failed(failure);
        }
    };
    intake.shared.set_encoder(&built.encoder);
    let pipeline = built.pipeline;
    // Running time counts from a moment we know, on the clock that all frames are timed by: no element chooses another.
    pipeline.use_clock(Some(&clock));
    pipeline.set_start_time(gst::ClockTime::NONE);
    pipeline.set_base_time(gst::ClockTime::from_nseconds(feed.base_ns()));

    let mut ended = match pipeline.bus() {
        Some(bus) => watch(source, &pipeline, &bus, &feed, intake),
        None => Ended::failed(Failure::source("the pipeline has no bus")),
    };
    intake.shared.set_interrupt(None);
    intake.shared.set_source_busy(true);
    source.stop();
    let in_time = stop(&pipeline);
    if let Ended::Failed { stuck, .. } = &mut ended {
        *stuck = !in_time;
    }
    // From here on nothing of it goes into the queue, even if it wakes up.
    feed.close();
    intake.queue.push_break(ended.cause());
    feed.abandon();
    ended
}

/// Ends a pipeline. One that hangs is left behind; false then.
fn stop(pipeline: &gst::Pipeline) -> bool {
    // Never full: one word is all that is ever said in it.
    let (tell, told) = sync_channel(1);
    let ending = pipeline.clone();
    let spawned = std::thread::Builder::new().name("stop".to_owned()).spawn(move || {
        let _ = tell.try_send(ending.set_state(gst::State::Null));
    });
    let stopped = match spawned {
        Ok(_) => told.recv_timeout(STOP_PATIENCE),
        Err(_) => Ok(pipeline.set_state(gst::State::Null)),
    };
    match &stopped {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => tracing::warn!("the pipeline does not stop cleanly"),
        Err(_) => tracing::error!(patience = ?STOP_PATIENCE, "the pipeline hangs and is left behind"),
    }
    stopped.is_ok()
}

fn watch(
    source: &mut dyn Source,
    pipeline: &gst::Pipeline,
    bus: &gst::Bus,
    feed: &Arc<Feed>,
    intake: &Intake,
) -> Ended {
    let shared = &intake.shared;
    let interrupt_bus = bus.clone();
    shared.set_interrupt(Some(Box::new(move || {
        let message = gst::message::Application::new(gst::Structure::new_empty("interrupt"));
        let _ = interrupt_bus.post(message);
    })));
    let begun_ns = clock::mono_ns();
    let first = first_picture(feed, bus);
    let mut streaming_since_ns = None;
    let mut suspected = false;
    let look = if source.encoders().is_some() { ENCODER_LOOK } else { LOOK };
    let failed = |failure, since: Option<u64>| {
        let ran_ns = since.map_or(0, |since_ns: u64| clock::mono_ns() - since_ns);
        Ended::Failed { failure, ran: Duration::from_nanos(ran_ns), stuck: false }
    };
    if pipeline.set_state(gst::State::Playing).is_err() {
        // The element that refused has posted why.
        let posted = bus.pop_filtered(&[gst::MessageType::Error]).and_then(|message| trouble(&message));
        let failure = posted.map_or_else(
            || Failure::source("the pipeline does not start. Look into the log with GST_DEBUG=3"),
            |trouble| source.explain(&trouble),
        );
        return failed(failure, None);
    }
    source.started();
    shared.set_source_busy(false);
    let types =
        [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::SegmentDone, gst::MessageType::Application];
    loop {
        if !shared.source_is_wanted() {
            return Ended::Unwanted;
        }
        if source.encoders().is_some_and(|encoders| encoders.follow(shared)) {
            return Ended::Better;
        }
        let message = bus.timed_pop_filtered(look, &types);
        if streaming_since_ns.is_none() && first.load(Ordering::Relaxed) {
            streaming_since_ns = Some(clock::mono_ns());
            shared.set_source(SourceState::Streaming, 0);
            streams(source, shared);
        }
        let failure = match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(_)) => {
                message.as_ref().and_then(trouble).map(|trouble| source.explain(&trouble))
            }
            Some(gst::MessageView::Eos(_) | gst::MessageView::SegmentDone(_)) => source.ended(pipeline).err(),
            Some(_) => None,
            None => {
                let failure = silence(feed, begun_ns);
                let is_encoders = failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Encoder);
                let is_first = is_encoders && !std::mem::replace(&mut suspected, is_encoders);
                suspected = is_encoders;
                failure.filter(|_| !is_first)
            }
        };
        if let Some(failure) = failure {
            return failed(failure, streaming_since_ns);
        }
    }
}

/// What was wrong is not any more.
fn streams(source: &mut dyn Source, shared: &Shared) {
    for code in [AlertCode::Source, AlertCode::Encoder, AlertCode::Configuration] {
        shared.clear(code);
    }
    match source.encoders().is_some_and(|encoders| encoders.is_fallback()) {
        true => {
            let text = format!(
                "{} is used because the first choice has failed; holdfast doctor shows which encoders work",
                shared.encoder()
            );
            shared.raise(AlertCode::EncoderFallback, &text);
        }
        false => shared.clear(AlertCode::EncoderFallback),
    }
}

/// Posts a message when the first picture has come, so that nobody has to look for it.
fn first_picture(feed: &Arc<Feed>, bus: &gst::Bus) -> Arc<AtomicBool> {
    let first = Arc::new(AtomicBool::new(false));
    let (flag, bus) = (first.clone(), bus.clone());
    feed.on_first_picture(Box::new(move || {
        flag.store(true, Ordering::Relaxed);
        let _ = bus.post(gst::message::Application::new(gst::Structure::new_empty("streaming")));
    }));
    first
}

fn trouble(message: &gst::Message) -> Option<Trouble> {
    let gst::MessageView::Error(error) = message.view() else {
        return None;
    };
    let element = error.src().and_then(|object| object.downcast_ref::<gst::Element>().cloned());
    let factory = element.as_ref().and_then(|element| element.factory()).map(|factory| factory.name().to_string());
    Some(Trouble {
        element: error.src().map(|object| object.path_string().to_string()).unwrap_or_default(),
        factory: factory.unwrap_or_default(),
        error: error.error(),
        debug: error.debug().map(|debug| debug.to_string()).unwrap_or_default(),
    })
}

/// Looks at which stage has stopped.
fn silence(feed: &Feed, begun_ns: u64) -> Option<Failure> {
    let (owed_ns, damaged_ns, first) = feed.encoder_trouble_ns();
    if owed_ns >= if first { ENCODER_FIRST_NS } else { ENCODER_SILENCE_NS } {
        let ms = owed_ns / NS_PER_MS;
        return Some(Failure::encoder(format!(
            "the source delivers, but nothing has come out of the encoder for {ms} ms"
        )));
    }
    if damaged_ns >= ENCODER_SILENCE_NS {
        let ms = damaged_ns / NS_PER_MS;
        return Some(Failure::encoder(format!("the encoder has given nothing but damaged pictures for {ms} ms")));
    }
    let now_ns = clock::mono_ns();
    let (frame_ns, source_ns) = feed.last_seen_ns();
    let quiet = |since_ns: u64, limit_ns: u64| now_ns.saturating_sub(since_ns) >= limit_ns;
    if frame_ns == 0 {
        return quiet(begun_ns, FIRST_PICTURE_NS).then(|| {
            if source_ns == 0 {
                Failure::source("no picture came within 10 s. Check the source and what it is connected with")
            } else {
                Failure::encoder("the source delivers, but no picture came out of the encoder within 10 s")
            }
        });
    }
    if !quiet(frame_ns, SILENCE_NS) {
        return None;
    }
    Some(Failure::source("no picture has come for 5 s. Check the source and what it is connected with"))
}
