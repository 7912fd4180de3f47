//! RTSP cameras over plain TCP, with a client of our own (`holdfast-rtsp`) instead of `rtspsrc`: see decision 0005.
//!
//! One thread reads the connection, takes the frames out of RTP, and pushes them through the parsers into the queue itself;
//! nothing is handed from thread to thread before the writer. What the client does not know is left to `rtspsrc`.

use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::{RtspTransport, credentials};
use holdfast_rtsp::depay::{self, Depacketizer};
use holdfast_rtsp::sdp::Stream;
use holdfast_rtsp::{Credentials, Error, Options, Output, Player, client};

use super::offer::{self, Offer};
use super::rtsp::RtspSource;
use super::{Built, Failure, Source, Trouble, explain_plainly, make};
use crate::clock;
use crate::intake::Feed;
use crate::packet::Medium;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a look at the camera: for connecting, and for each answer.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than pictures may be missing: who looks after those has better words.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct InterleavedSource {
    url: String,
    credentials_file: Option<PathBuf>,
    audio: bool,
    /// Built, and not running yet.
    ready: Option<Session>,
    running: Option<(Arc<Stop>, JoinHandle<()>)>,
    failure: Arc<Mutex<Option<Failure>>>,
    /// For what the client does not know.
    rtspsrc: RtspSource,
    use_rtspsrc: Arc<AtomicBool>,
}

impl InterleavedSource {
    /// `url` is without user and password; those are in the file.
    #[must_use]
    pub fn new(url: &str, credentials_file: Option<PathBuf>, audio: bool) -> Self {
        Self {
            url: url.to_owned(),
            credentials_file: credentials_file.clone(),
            audio,
            ready: None,
            running: None,
            failure: Arc::default(),
            rtspsrc: RtspSource::new(url, credentials_file, RtspTransport::Tcp, audio),
            use_rtspsrc: Arc::default(),
        }
    }
}

impl Source for InterleavedSource {
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure> {
        if self.use_rtspsrc.load(Ordering::Relaxed) {
            return self.rtspsrc.build(feed);
        }
        let pipeline = gst::Pipeline::new();
        let options = options(self.credentials_file.as_deref(), CONNECT_TIMEOUT, ANSWER_TIMEOUT)?;
        self.failure = Arc::default();
        self.ready = Some(Session {
            url: self.url.clone(),
            credentials_file: self.credentials_file.clone(),
            options,
            audio: self.audio,
            pipeline: pipeline.clone(),
            feed: feed.clone(),
            failure: self.failure.clone(),
            use_rtspsrc: self.use_rtspsrc.clone(),
            stop: Arc::default(),
        });
        Ok(Built { pipeline, encoder: "copy".to_owned() })
    }

    fn started(&mut self) {
        let Some(session) = self.ready.take() else { return };
        let (stop, failure, pipeline) = (session.stop.clone(), session.failure.clone(), session.pipeline.clone());
        match thread::Builder::new().name("camera".to_owned()).spawn(move || session.run()) {
            Ok(thread) => self.running = Some((stop, thread)),
            Err(error) => tell(&pipeline, &failure, Failure::source(format!("cannot start a thread: {error}"))),
        }
    }

    fn stop(&mut self) {
        self.ready = None;
        if let Some((stop, thread)) = self.running.take()
            && stop.request()
        {
            // It reads no more, and says good-bye. A thread that panicked has ended the process already.
            let _ = thread.join();
        }
        // Else it is still looking for the camera; it sees that it is not wanted before it touches the pipeline.
    }

    fn look(&self) -> Result<(), Failure> {
        look(&self.url, self.credentials_file.as_deref())
    }

    fn explain(&self, trouble: &Trouble) -> Failure {
        if self.use_rtspsrc.load(Ordering::Relaxed) && self.ready.is_none() && self.running.is_none() {
            return self.rtspsrc.explain(trouble);
        }
        if let Some(failure) = lock(&self.failure).take() {
            return failure;
        }
        if trouble.error.matches(gst::CoreError::MissingPlugin) {
            return Failure::configuration(trouble.error.message());
        }
        explain_plainly(&self.url, trouble)
    }

    fn ended(&mut self, pipeline: &gst::Pipeline) -> Result<(), Failure> {
        self.rtspsrc.ended(pipeline)
    }
}

/// Asks a camera what it has, and says good-bye: no stream is set up, so it counts as no viewer.
pub(super) fn look(url: &str, credentials_file: Option<&Path>) -> Result<(), Failure> {
    let options = options(credentials_file, LOOK_TIMEOUT, LOOK_TIMEOUT)?;
    let (client, _) =
        client::open(url, &options, &mut |_| ()).map_err(|error| explain(url, credentials_file, &error))?;
    client.teardown();
    Ok(())
}

/// Who we are is read at each attempt, so that a corrected file counts without a restart.
fn options(credentials_file: Option<&Path>, connect: Duration, answer: Duration) -> Result<Options, Failure> {
    let known = match credentials_file {
        Some(path) => Some(credentials::read(path).map_err(|error| Failure::configuration(error.to_string()))?),
        None => None,
    };
    Ok(Options {
        user_agent: crate::SOFTWARE.to_owned(),
        credentials: known.map(|known| Credentials { user: known.user, password: known.password }),
        connect_timeout: connect,
        answer_timeout: answer,
        silence_timeout: SILENCE_TIMEOUT,
    })
}

fn explain(url: &str, credentials_file: Option<&Path>, error: &Error) -> Failure {
    match (error, credentials_file) {
        (Error::WrongPassword, Some(path)) => Failure::source(format!("{url}: {error} in {}", path.display())),
        _ => Failure::source(format!("{url}: {error}")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the failure where [`InterleavedSource::explain`] finds it, and wakes whoever asks for it.
fn tell(pipeline: &gst::Pipeline, place: &Mutex<Option<Failure>>, failure: Failure) {
    let text = failure.text.clone();
    *lock(place) = Some(failure);
    let message = gst::message::Error::builder(gst::ResourceError::Failed, &text).src(pipeline).build();
    let _ = pipeline.post_message(message);
}

/// How the thread is brought to an end.
#[derive(Debug, Default)]
struct Stop(Mutex<Stopping>);

#[derive(Debug, Default)]
struct Stopping {
    requested: bool,
    socket: Option<TcpStream>,
}

impl Stop {
    /// Returns whether the thread has a connection, so that it ends soon.
    fn request(&self) -> bool {
        let mut stopping = lock(&self.0);
        stopping.requested = true;
        let socket = stopping.socket.take();
        // Only reading: it still says good-bye.
        socket.is_some_and(|socket| socket.shutdown(Shutdown::Read).is_ok() || stopping.requested)
    }

    fn watch(&self, socket: &TcpStream) {
        let mut stopping = lock(&self.0);
        if stopping.requested {
            let _ = socket.shutdown(Shutdown::Read);
        } else {
            stopping.socket = socket.try_clone().ok();
        }
    }

    fn requested(&self) -> bool {
        lock(&self.0).requested
    }

    /// Does it, unless it is not wanted any more; nobody can stop in between.
    fn unless_requested<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let stopping = lock(&self.0);
        (!stopping.requested).then(work)
    }
}

/// One connection, on a thread of its own.
#[derive(Debug)]
struct Session {
    url: String,
    credentials_file: Option<PathBuf>,
    options: Options,
    audio: bool,
    pipeline: gst::Pipeline,
    feed: Arc<Feed>,
    failure: Arc<Mutex<Option<Failure>>>,
    use_rtspsrc: Arc<AtomicBool>,
    stop: Arc<Stop>,
}

impl Session {
    fn run(self) {
        if let Err(failure) = self.play()
            && !self.stop.requested()
        {
            tell(&self.pipeline, &self.failure, failure);
        }
    }

    fn play(&self) -> Result<(), Failure> {
        let failed = |error| explain(&self.url, self.credentials_file.as_deref(), &error);
        let opened = client::open(&self.url, &self.options, &mut |socket| self.stop.watch(socket));
        let (client, presentation) = opened.map_err(failed)?;
        let chosen = self.choose(&presentation.streams)?;
        let attached = self.stop.unless_requested(|| {
            let mut inlets = Vec::new();
            for stream in chosen.iter().filter_map(|n| presentation.streams.get(*n)) {
                inlets.push(Inlet::attach(&self.pipeline, stream, &self.feed)?);
            }
            Ok(inlets)
        });
        let Some(inlets) = attached else {
            client.teardown();
            return Ok(());
        };
        let inlets = inlets?;
        let mut player = Player::play(client, &presentation, &chosen).map_err(failed)?;
        let ended = self.pump(&mut player, &inlets);
        for (number, stream) in chosen.iter().filter_map(|n| presentation.streams.get(*n)).enumerate() {
            let (received, lost) = player.packets(number);
            tracing::debug!(media = stream.media, received, lost, "packets");
        }
        player.teardown();
        ended.map_err(failed)
    }

    /// Hands frames on until the camera or the pipeline ends.
    fn pump(&self, player: &mut Player, inlets: &[Inlet]) -> Result<(), Error> {
        let mut flowing = true;
        while flowing && !self.stop.requested() {
            player.receive(&clock::mono_ns, &mut |output| match output {
                Output::Frame(frame) => {
                    if let Some(inlet) = inlets.get(frame.track) {
                        // Whoever refuses has told the bus why.
                        flowing &= inlet.push(frame.data, frame.at_ns).is_ok();
                    }
                }
                Output::Broken { track, at_ns } => {
                    if inlets.get(track).is_some_and(|inlet| inlet.medium == Medium::Video) {
                        self.feed.source_corrupt(at_ns);
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Which streams are recorded.
    fn choose(&self, streams: &[Stream]) -> Result<Vec<usize>, Failure> {
        let mut offer = Offer::default();
        let mut chosen = Vec::new();
        for (number, stream) in streams.iter().enumerate() {
            if !offer.add(&stream.media, &stream.encoding, self.audio) {
                continue;
            }
            if Depacketizer::new(stream).is_none() {
                self.use_rtspsrc.store(true, Ordering::Relaxed);
                return Err(Failure::source(format!(
                    "{}: the camera's {} is packed in a way that only GStreamer's client knows; connecting again with it",
                    self.url, stream.encoding
                )));
            }
            chosen.push(number);
        }
        if let Some(text) = offer.no_video() {
            return Err(Failure::source(format!("{}: {text}", self.url)));
        }
        if let Some(sent) = offer.unrecordable_audio().filter(|_| self.audio) {
            tracing::warn!(sent, "the camera's sound is not recorded; AAC, PCMA, PCMU and Opus can be");
        }
        self.feed.expect_audio(offer.has("audio"));
        Ok(chosen)
    }
}

/// Where a stream's frames go into the pipeline. Pushing runs all that follows, up to the queue.
#[derive(Debug)]
struct Inlet {
    pad: gst::Pad,
    medium: Medium,
    base_ns: u64,
}

impl Inlet {
    fn attach(pipeline: &gst::Pipeline, stream: &Stream, feed: &Arc<Feed>) -> Result<Self, Failure> {
        let broken = || Failure::configuration(format!("GStreamer cannot link what {} needs", stream.encoding));
        let (factories, filter_caps) = offer::parsers(&stream.media, &stream.encoding).ok_or_else(broken)?;
        let mut elements = Vec::new();
        for factory in factories {
            if *factory == offer::CAPS {
                let filter = make("capsfilter")?;
                filter.set_property("caps", filter_caps.parse::<gst::Caps>().map_err(|_| broken())?);
                elements.push(filter);
            } else {
                elements.push(make(factory)?);
            }
        }
        let medium = if stream.media == "video" { Medium::Video } else { Medium::Audio };
        elements.push(feed.sink(medium).upcast());
        super::chain(pipeline, &elements.iter().collect::<Vec<_>>())?;
        for element in elements.iter().rev() {
            element.sync_state_with_parent().map_err(|_| broken())?;
        }
        let first = elements.first().and_then(|element| element.static_pad("sink"));
        let pad = gst::Pad::builder(gst::PadDirection::Src).name(&stream.media).build();
        pad.set_active(true).map_err(|_| broken())?;
        pad.link(&first.ok_or_else(broken)?).map_err(|_| broken())?;
        let caps = caps(stream).ok_or_else(broken)?;
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        let greeted = pad.push_event(gst::event::StreamStart::new(&stream.media))
            && pad.push_event(gst::event::Caps::new(&caps))
            && pad.push_event(gst::event::Segment::new(&segment));
        if !greeted {
            return Err(broken());
        }
        Ok(Self { pad, medium, base_ns: feed.base_ns() })
    }

    fn push(&self, data: Vec<u8>, at_ns: u64) -> Result<gst::FlowSuccess, gst::FlowError> {
        let mut buffer = gst::Buffer::from_mut_slice(data);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_nseconds(at_ns.saturating_sub(self.base_ns)));
        }
        self.pad.push(buffer)
    }
}

/// What the parsers are told about a stream.
fn caps(stream: &Stream) -> Option<gst::Caps> {
    let rate = i32::try_from(stream.clock_rate_hz).ok()?;
    let channels = i32::from(stream.channels);
    let caps = match stream.encoding.as_str() {
        "H264" | "H265" => gst::Caps::builder(if stream.encoding == "H264" { "video/x-h264" } else { "video/x-h265" })
            .field("stream-format", "byte-stream")
            .field("alignment", "au"),
        "MPEG4-GENERIC" => gst::Caps::builder("audio/mpeg")
            .field("mpegversion", 4)
            .field("stream-format", "raw")
            .field("framed", true)
            .field("rate", rate)
            .field("channels", channels)
            .field("codec_data", gst::Buffer::from_slice(depay::aac::config(stream)?)),
        "PCMA" | "PCMU" => gst::Caps::builder(if stream.encoding == "PCMA" { "audio/x-alaw" } else { "audio/x-mulaw" })
            .field("rate", rate)
            .field("channels", channels),
        "OPUS" => gst::Caps::builder("audio/x-opus")
            .field("channel-mapping-family", 0)
            .field("rate", rate)
            .field("channels", if stream.parameter("sprop-stereo") == Some("0") { 1 } else { 2 }),
        _ => return None,
    };
    Some(caps.build())
}

#[cfg(test)]
#[path = "interleaved_tests.rs"]
mod tests;
