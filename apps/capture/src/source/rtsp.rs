//! RTSP cameras: H.264 and H.265 as they come, never re-encoded.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use holdfast_config::{RtspTransport, credentials};

use super::offer::{self, Offer};
use super::{Built, Failure, Source, Trouble, chain_behind, explain_plainly, make};
use crate::intake::Feed;
use crate::packet::Medium;

/// Over TCP nothing comes late or out of order, so nothing is waited for: what arrives is handed on.
const TCP_LATENCY_MS: u32 = 0;
/// Over UDP packets overtake each other.
const UDP_LATENCY_MS: u32 = 200;
/// A connection that says nothing for so long is dead.
const TIMEOUT_US: u64 = 5_000_000;
/// For finding out why there is no connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);
/// And for finding out whether there would be one, where no more can be asked.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_PORT: u16 = 554;
/// Of `rtsps`.
const DEFAULT_TLS_PORT: u16 = 322;

/// See the module.
#[derive(Debug)]
pub struct RtspSource {
    url: String,
    credentials_file: Option<PathBuf>,
    transport: RtspTransport,
    audio: bool,
    offer: Arc<Mutex<Offer>>,
}

impl RtspSource {
    /// `url` is without user and password; those are in the file.
    #[must_use]
    pub fn new(url: &str, credentials_file: Option<PathBuf>, transport: RtspTransport, audio: bool) -> Self {
        Self { url: url.to_owned(), credentials_file, transport, audio, offer: Arc::default() }
    }

    fn element(&self) -> Result<gst::Element, Failure> {
        let (protocols, latency_ms) = match self.transport {
            RtspTransport::Tcp => ("tcp", TCP_LATENCY_MS),
            RtspTransport::Udp => ("udp", UDP_LATENCY_MS),
        };
        let mut camera = gst::ElementFactory::make("rtspsrc")
            .property("location", &self.url)
            .property_from_str("protocols", protocols)
            .property("latency", latency_ms)
            .property("drop-on-latency", false)
            .property_from_str("buffer-mode", "slave")
            .property("timeout", TIMEOUT_US)
            .property("tcp-timeout", TIMEOUT_US)
            .property("user-agent", crate::SOFTWARE);
        if let Some(path) = &self.credentials_file {
            // Read at each attempt, so that a corrected file counts without a restart.
            let known = credentials::read(path).map_err(|error| Failure::configuration(error.to_string()))?;
            camera = camera.property("user-id", known.user).property("user-pw", known.password);
        }
        camera.build().map_err(|_| make("rtspsrc").map_or_else(|missing| missing, |_| no_rtspsrc()))
    }
}

fn no_rtspsrc() -> Failure {
    Failure::configuration("this version of rtspsrc does not take our settings")
}

impl Source for RtspSource {
    fn build(&mut self, feed: &Arc<Feed>) -> Result<Built, Failure> {
        self.offer = Arc::default();
        let camera = self.element()?;
        let pipeline = gst::Pipeline::new();
        pipeline.add(&camera).map_err(|_| Failure::configuration("GStreamer cannot add rtspsrc"))?;

        let (offer, audio) = (self.offer.clone(), self.audio);
        camera.connect("select-stream", false, move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let chosen = caps.is_some_and(|caps| {
                let (media, encoding) = names(&caps);
                lock(&offer).add(&media, &encoding, audio)
            });
            Some(chosen.to_value())
        });

        let (weak, offer, to) = (pipeline.downgrade(), self.offer.clone(), feed.clone());
        camera.connect_pad_added(move |camera, pad| {
            let Some(pipeline) = weak.upgrade() else { return };
            to.expect_audio(lock(&offer).has("audio"));
            if let Err(failure) = attach(&pipeline, pad, &to) {
                gst::element_error!(camera, gst::CoreError::MissingPlugin, ("{}", failure.text));
            }
        });

        let offer = self.offer.clone();
        camera.connect_no_more_pads(move |camera| {
            let offer = lock(&offer);
            if let Some(text) = offer.no_video() {
                gst::element_error!(camera, gst::StreamError::CodecNotFound, ("{text}"));
            } else if let Some(sent) = offer.unrecordable_audio().filter(|_| audio) {
                tracing::warn!(sent, "the camera's sound is not recorded; AAC, PCMA, PCMU and Opus can be");
            }
        });
        Ok(Built { pipeline, encoder: "copy".to_owned() })
    }

    /// Inside TLS nothing can be asked without GStreamer and its time: there a connection has to do.
    fn look(&self) -> Result<(), Failure> {
        if self.url.starts_with("rtsp://") {
            return super::interleaved::look(&self.url, self.credentials_file.as_deref());
        }
        dial(&self.url, LOOK_TIMEOUT).map(drop).map_err(|why| Failure::source(format!("{}: {why}", self.url)))
    }

    fn explain(&self, trouble: &Trouble) -> Failure {
        let url = &self.url;
        let offer = lock(&self.offer);
        if let Some(text) = offer.no_video().filter(|_| !offer.is_empty()) {
            return Failure::source(format!("{url}: {text}"));
        }
        drop(offer);
        let error = &trouble.error;
        if error.matches(gst::CoreError::MissingPlugin) {
            return Failure::configuration(error.message());
        }
        if error.matches(gst::ResourceError::NotAuthorized) {
            let remedy = match &self.credentials_file {
                Some(path) => format!("Check user and password in {}", path.display()),
                None => "Put user and password into a file and name it as credentials_file".to_owned(),
            };
            return Failure::source(format!("{url}: the camera refuses access (401). {remedy}"));
        }
        if error.matches(gst::ResourceError::NotFound) {
            return Failure::source(format!("{url}: the camera has no such stream (404). Check the path in the URL"));
        }
        if error.matches(gst::ResourceError::OpenReadWrite) || error.matches(gst::ResourceError::OpenRead) {
            return Failure::source(format!("{url}: {}", why_no_connection(url)));
        }
        explain_plainly(url, trouble)
    }

    fn ended(&mut self, _: &gst::Pipeline) -> Result<(), Failure> {
        Err(Failure::source(format!("{}: the camera ended the stream. Check the camera", self.url)))
    }
}

fn lock(offer: &Mutex<Offer>) -> MutexGuard<'_, Offer> {
    offer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Medium and encoding of a stream of the SDP.
fn names(caps: &gst::CapsRef) -> (String, String) {
    let text = |field| caps.structure(0).and_then(|structure| structure.get::<String>(field).ok()).unwrap_or_default();
    (text("media"), text("encoding-name"))
}

/// Puts what a stream needs behind its pad.
fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, feed: &Arc<Feed>) -> Result<(), Failure> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let (media, encoding) = names(&caps);
    let Some((factories, filter_caps)) = offer::elements(&media, &encoding) else {
        return Ok(());
    };
    let mut elements = Vec::new();
    for factory in factories {
        let element = if *factory == offer::CAPS { make("capsfilter")? } else { make(factory)? };
        if *factory == offer::CAPS {
            element.set_property("caps", filter_caps.parse::<gst::Caps>().unwrap_or_else(|_| gst::Caps::new_any()));
        }
        elements.push(element);
    }
    let medium = if media == "video" { Medium::Video } else { Medium::Audio };
    elements.push(feed.sink(medium).upcast());
    chain_behind(pipeline, pad, &elements.iter().collect::<Vec<_>>())
}

/// Tries what GStreamer has tried, for a better answer than "generic error".
fn why_no_connection(url: &str) -> String {
    match dial(url, DIAL_TIMEOUT) {
        Ok(address) => format!("{address} answers, but not as an RTSP server. Check the port in the URL"),
        Err(why) => why,
    }
}

/// Connects, and hangs up. Returns who answered, or why nobody does.
fn dial(url: &str, patience: Duration) -> Result<SocketAddr, String> {
    let (host, port) = host_and_port(url).ok_or("this is no address of a camera")?;
    let addresses = (host.as_str(), port).to_socket_addrs();
    let mut addresses = addresses
        .map_err(|_| format!("the name {host} cannot be resolved. Check the host in the URL and the network's DNS"))?;
    let address =
        addresses.next().ok_or_else(|| format!("the name {host} has no address. Check the host in the URL"))?;
    match TcpStream::connect_timeout(&address, patience) {
        Ok(_) => Ok(address),
        Err(error) => {
            Err(format!("{address} cannot be reached: {error}. Check the address, the cable and the camera's power"))
        }
    }
}

fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let default_port = if scheme == "rtsps" { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
    let authority = rest.split(['/', '?']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (authority, default_port),
    };
    Some((host.trim_matches(['[', ']']).to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn finds_host_and_port() {
        let found = |url| host_and_port(url).unwrap();
        assert_eq!(found("rtsp://10.0.0.7/stream1"), ("10.0.0.7".into(), 554));
        assert_eq!(found("rtsp://cam.lan:8554/a?b=rtsp://x:1"), ("cam.lan".into(), 8554));
        assert_eq!(found("rtsp://[fe80::1]:8554/a"), ("fe80::1".into(), 8554));
        assert_eq!(found("rtsp://[fe80::1]/a"), ("fe80::1".into(), 554));
        assert_eq!(found("rtsps://cam.lan/a"), ("cam.lan".into(), 322));
        assert_eq!(host_and_port("nonsense"), None);
    }
}
