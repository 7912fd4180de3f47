//! A connection to a camera. Blocks; whoever wants it back shuts the socket down.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use rtsp_types::headers::{
    ACCEPT, CONTENT_BASE, CONTENT_LOCATION, CSEQ, HeaderName, LOCATION, PUBLIC, RANGE, SESSION, TRANSPORT,
};
use rtsp_types::{Empty, Method, Request, Response, StatusCode, Url, Version};

use crate::Error;
use crate::request::{Credentials, Requests};
use crate::sdp::{self, Presentation};
use crate::wire::{Event, Wire};

const DEFAULT_PORT: u16 = 554;
/// How long one read waits, and so how exact the deadlines are.
const READ_TIMEOUT: Duration = Duration::from_millis(250);
/// A camera that does not take a request for so long has gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// What RTSP says where the camera does not.
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// Packets that overtake the answer to PLAY.
const MAX_EARLY_BYTES: usize = 8 * 1024 * 1024;
const MAX_REDIRECTS: usize = 3;

/// How to connect.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who we say we are.
    pub user_agent: String,
    /// If the camera asks.
    pub credentials: Option<Credentials>,
    /// Per address.
    pub connect_timeout: Duration,
    /// Per request.
    pub answer_timeout: Duration,
    /// While playing.
    pub silence_timeout: Duration,
}

/// What came on a channel that SETUP has agreed upon.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// In the order of SETUP.
    pub track: usize,
    /// RTCP, not RTP.
    pub control: bool,
    /// The packet.
    pub bytes: &'a [u8],
}

/// A connection, and at most one session on it.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    address: SocketAddr,
    wire: Wire,
    requests: Requests,
    options: Options,
    url: Url,
    /// Where PLAY, TEARDOWN and signs of life go to.
    control: Url,
    /// Channel of RTP and of RTCP per track.
    channels: Vec<(u8, u8)>,
    early: VecDeque<(u8, Vec<u8>)>,
    early_bytes: usize,
    alive_method: Method,
    alive_every: Duration,
    alive_last: Instant,
    alive_sequence: Option<u32>,
    heard: Instant,
}

/// Connects, follows redirections, and asks what the camera has.
///
/// `watch` is given each socket before it is used, so that another thread can shut it down.
///
/// # Errors
/// See [`Error`].
pub fn open(url: &str, options: &Options, watch: &mut dyn FnMut(&TcpStream)) -> Result<(Client, Presentation), Error> {
    let bad = |why: String| Error::BadUrl { why };
    let mut url = Url::parse(url).map_err(|error| bad(error.to_string()))?;
    for _ in 0..=MAX_REDIRECTS {
        let mut client = Client::connect(&url, options.clone())?;
        watch(&client.stream);
        client.options()?;
        match client.describe() {
            Ok(presentation) => return Ok((client, presentation)),
            Err(Error::Redirected { location }) => {
                let next = Url::parse(&location).ok().filter(|next| next.scheme() == "rtsp");
                url = next.ok_or(Error::Redirected { location })?;
            }
            Err(error) => return Err(error),
        }
    }
    let location = url.to_string();
    Err(Error::Redirected { location })
}

impl Client {
    /// Connects to the camera of a URL `rtsp://host[:port]/path`.
    ///
    /// # Errors
    /// No such host, or nobody answers.
    pub fn connect(url: &Url, options: Options) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadUrl { why: why.to_owned() };
        if url.scheme() != "rtsp" {
            return Err(bad("it does not begin with rtsp://"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it has no host"))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let resolved = (host.as_str(), port).to_socket_addrs();
        let addresses: Vec<_> = resolved.map_err(|source| Error::Resolve { host: host.clone(), source })?.collect();
        let mut failed = Error::Resolve { host, source: ErrorKind::NotFound.into() };
        for address in addresses {
            match TcpStream::connect_timeout(&address, options.connect_timeout) {
                Ok(stream) => return Self::over(stream, address, url, options),
                Err(source) => failed = Error::Connect { address, source },
            }
        }
        Err(failed)
    }

    fn over(stream: TcpStream, address: SocketAddr, url: &Url, options: Options) -> Result<Self, Error> {
        // The receive buffer is left to the kernel: it grows by itself, which a size set by hand would forbid.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        // Who we are does not belong into requests' URLs.
        let mut url = url.clone();
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self {
            stream,
            address,
            wire: Wire::default(),
            requests: Requests::new(&options.user_agent, options.credentials.clone()),
            options,
            control: url.clone(),
            url,
            channels: Vec::new(),
            early: VecDeque::new(),
            early_bytes: 0,
            alive_method: Method::Options,
            alive_every: DEFAULT_SESSION_TIMEOUT / 2,
            alive_last: Instant::now(),
            alive_sequence: None,
            heard: Instant::now(),
        })
    }

    /// OPTIONS: only to learn how to show signs of life. A refusal is no reason to give up.
    ///
    /// # Errors
    /// The camera does not speak RTSP, or not with us.
    pub fn options(&mut self) -> Result<(), Error> {
        let url = self.url.clone();
        match self.exchange(&Method::Options, &url, &[]) {
            Ok(response) => {
                let public = response.header(&PUBLIC).map_or("", |value| value.as_str());
                if public.split(',').any(|method| method.trim() == "GET_PARAMETER") {
                    self.alive_method = Method::GetParameter;
                }
                Ok(())
            }
            Err(Error::Refused { .. } | Error::NotFound { .. } | Error::Forbidden | Error::Full { .. }) => Ok(()),
            // It hangs up, or talks, without a word of RTSP.
            Err(Error::Closed | Error::Garbage { .. }) => Err(Error::NotRtsp { address: self.address }),
            Err(Error::NoAnswer { .. }) if self.wire.skipped_bytes() > 0 => {
                Err(Error::NotRtsp { address: self.address })
            }
            Err(error) => Err(error),
        }
    }

    /// DESCRIBE.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn describe(&mut self) -> Result<Presentation, Error> {
        let url = self.url.clone();
        let accept = (ACCEPT, "application/sdp".to_owned());
        let response = self.exchange(&Method::Describe, &url, &[accept])?;
        let header = |name| response.header(&name).map(|value| value.as_str().trim().to_owned());
        let base = header(CONTENT_BASE).or_else(|| header(CONTENT_LOCATION));
        let base = base.and_then(|base| Url::parse(&base).ok()).unwrap_or(url);
        let presentation = sdp::parse(response.body(), &base)?;
        self.control = presentation.control.clone();
        Ok(presentation)
    }

    /// SETUP; tracks are numbered in the order of calls.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn setup(&mut self, control: &Url) -> Result<usize, Error> {
        let track = self.channels.len();
        let rtp = u8::try_from(track * 2).unwrap_or(u8::MAX - 1);
        let transport = format!("RTP/AVP/TCP;unicast;interleaved={rtp}-{}", rtp + 1);
        let response = self.exchange(&Method::Setup, control, &[(TRANSPORT, transport)])?;
        let unusable = |why: &str| Error::BadAnswer { method: "SETUP", why: why.to_owned() };
        let session = response.header(&SESSION).map_or("", |value| value.as_str());
        let mut parts = session.split(';').map(str::trim);
        let id = parts.next().filter(|id| !id.is_empty());
        let id = id.or(self.requests.session()).ok_or_else(|| unusable("it names no session"))?;
        let id = id.to_owned();
        let timeout = parts.find_map(|part| part.strip_prefix("timeout=")?.trim().parse::<u64>().ok());
        let timeout = timeout.filter(|seconds| *seconds > 0).map_or(DEFAULT_SESSION_TIMEOUT, Duration::from_secs);
        self.alive_every = (timeout / 2).clamp(Duration::from_secs(1), DEFAULT_SESSION_TIMEOUT);
        self.requests.set_session(id);

        let agreed = response.header(&TRANSPORT).map_or("", |value| value.as_str());
        let channels = match agreed.split(';').find_map(|part| part.trim().strip_prefix("interleaved=")) {
            Some(channels) => {
                let mut numbers = channels.split('-').map(|number| number.trim().parse::<u8>().ok());
                let first = numbers.next().flatten().ok_or_else(|| unusable("it names no channel"))?;
                (first, numbers.next().flatten().unwrap_or(first.wrapping_add(1)))
            }
            None if agreed.to_ascii_uppercase().contains("TCP") || agreed.is_empty() => (rtp, rtp + 1),
            None => return Err(Error::NoTcp),
        };
        self.channels.push(channels);
        let highest = self.channels.iter().map(|(rtp, rtcp)| *rtp.max(rtcp)).max();
        self.wire.expect_channels(highest.unwrap_or(0).saturating_add(1));
        Ok(track)
    }

    /// PLAY.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn play(&mut self) -> Result<(), Error> {
        let control = self.control.clone();
        self.exchange(&Method::Play, &control, &[(RANGE, "npt=0.000-".to_owned())])?;
        self.alive_last = Instant::now();
        self.heard = Instant::now();
        Ok(())
    }

    /// Says good-bye, waits for no answer, and closes the connection.
    pub fn teardown(mut self) {
        if self.requests.session().is_some() {
            let control = self.control.clone();
            let _ = self.send(&Method::Teardown, &control, &[]);
        }
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Sends an RTCP packet.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_rtcp(&mut self, track: usize, packet: &[u8]) -> Result<(), Error> {
        let (Some((_, channel)), Ok(length)) = (self.channels.get(track), u16::try_from(packet.len())) else {
            return Ok(());
        };
        let [high, low] = length.to_be_bytes();
        let bytes = [&[b'$', *channel, high, low], packet].concat();
        Ok(self.stream.write_all(&bytes)?)
    }

    /// Waits for packets, for a quarter of a second at most, and hands on all that came. Shows signs of life in between.
    ///
    /// # Errors
    /// The camera is silent, has closed the connection, or has forgotten us.
    pub fn receive(&mut self, take: &mut dyn FnMut(Packet<'_>)) -> Result<(), Error> {
        while let Some((channel, bytes)) = self.early.pop_front() {
            hand_on(&self.channels, channel, &bytes, take);
        }
        self.early_bytes = 0;
        if self.dispatch(take)? {
            return Ok(());
        }
        if self.alive_last.elapsed() >= self.alive_every {
            let (method, control) = (self.alive_method.clone(), self.control.clone());
            self.alive_sequence = Some(self.send(&method, &control, &[])?);
            self.alive_last = Instant::now();
        }
        if self.read()? == 0 {
            let after = self.options.silence_timeout;
            return if self.heard.elapsed() > after { Err(Error::Silent { after }) } else { Ok(()) };
        }
        self.heard = Instant::now();
        self.dispatch(take)?;
        Ok(())
    }

    /// Hands on what is whole in the buffer; true if that was anything.
    fn dispatch(&mut self, take: &mut dyn FnMut(Packet<'_>)) -> Result<bool, Error> {
        let mut any = false;
        loop {
            match self.wire.next().map_err(|garbage| Error::Garbage { bytes: garbage.0 })? {
                None => return Ok(any),
                Some(Event::Data { channel, payload }) => hand_on(&self.channels, channel, payload, take),
                Some(Event::Request(request)) => answer(&mut self.stream, &request)?,
                Some(Event::Response(response)) => self.is_alive(&response)?,
            }
            any = true;
        }
    }

    /// An answer while playing can only be one to a sign of life.
    fn is_alive(&mut self, response: &Response<Vec<u8>>) -> Result<(), Error> {
        let number = sequence(response);
        if number.is_some() && number != self.alive_sequence {
            return Ok(());
        }
        match response.status() {
            StatusCode::Unauthorized => {
                // Its nonce has grown old; the next sign of life has to come at once.
                self.requests.challenged(response)?;
                if self.alive_sequence.take().is_some() {
                    let (method, control) = (self.alive_method.clone(), self.control.clone());
                    self.send(&method, &control, &[])?;
                }
            }
            StatusCode::SessionNotFound => return Err(Error::SessionLost),
            status if !status.is_success() => self.alive_method = Method::Options,
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, method: &Method, url: &Url, headers: &[(HeaderName, String)]) -> Result<u32, Error> {
        let (bytes, number) = self.requests.request(method, url, headers)?;
        self.stream.write_all(&bytes)?;
        Ok(number)
    }

    /// Asks, and asks once more with a proof if the camera wants one.
    fn exchange(
        &mut self,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, String)],
    ) -> Result<Response<Vec<u8>>, Error> {
        let number = self.send(method, url, headers)?;
        let mut response = self.answer_to(method, number)?;
        if response.status() == StatusCode::Unauthorized {
            self.requests.challenged(&response)?;
            let number = self.send(method, url, headers)?;
            response = self.answer_to(method, number)?;
        }
        judge(method, response)
    }

    fn answer_to(&mut self, method: &Method, number: u32) -> Result<Response<Vec<u8>>, Error> {
        let after = self.options.answer_timeout;
        let deadline = Instant::now() + after;
        loop {
            while let Some(event) = self.wire.next().map_err(|garbage| Error::Garbage { bytes: garbage.0 })? {
                match event {
                    // Cameras that don't number their answers give them in order.
                    Event::Response(response) if sequence(&response).is_none_or(|given| given == number) => {
                        return Ok(response);
                    }
                    Event::Response(_) => {}
                    Event::Request(request) => answer(&mut self.stream, &request)?,
                    Event::Data { channel, payload } => {
                        if self.early_bytes + payload.len() <= MAX_EARLY_BYTES {
                            self.early_bytes += payload.len();
                            self.early.push_back((channel, payload.to_vec()));
                        }
                    }
                }
            }
            if Instant::now() >= deadline {
                let method = name(method);
                return Err(Error::NoAnswer { method, after });
            }
            self.read()?;
        }
    }

    /// Bytes read; 0 when none came in time.
    fn read(&mut self) -> Result<usize, Error> {
        match self.stream.read(self.wire.space()) {
            Ok(0) => Err(Error::Closed),
            Ok(bytes) => {
                self.wire.filled(bytes);
                Ok(bytes)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
            {
                Ok(0)
            }
            // A camera that is restarted does not say good-bye.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {
                Err(Error::Closed)
            }
            Err(source) => Err(Error::Io { source }),
        }
    }
}

fn hand_on(channels: &[(u8, u8)], channel: u8, bytes: &[u8], take: &mut dyn FnMut(Packet<'_>)) {
    let found = channels.iter().position(|(rtp, rtcp)| *rtp == channel || *rtcp == channel);
    if let Some(track) = found {
        let control = channels.get(track).is_some_and(|(rtp, _)| *rtp != channel);
        take(Packet { track, control, bytes });
    }
}

fn sequence(response: &Response<Vec<u8>>) -> Option<u32> {
    response.header(&CSEQ)?.as_str().trim().parse().ok()
}

/// Cameras ask little, and what they ask can be declined.
fn answer(stream: &mut TcpStream, request: &Request<Vec<u8>>) -> Result<(), Error> {
    let status = match request.method() {
        Method::Options | Method::GetParameter | Method::SetParameter => StatusCode::Ok,
        _ => StatusCode::NotImplemented,
    };
    let mut response = Response::<Empty>::builder(Version::V1_0, status);
    if let Some(number) = request.header(&CSEQ) {
        response = response.header(CSEQ, number.as_str());
    }
    let mut bytes = Vec::new();
    // Into memory, so this does not fail.
    let _ = response.empty().write(&mut bytes);
    Ok(stream.write_all(&bytes)?)
}

fn judge(method: &Method, response: Response<Vec<u8>>) -> Result<Response<Vec<u8>>, Error> {
    let status = u16::from(response.status());
    Err(match status {
        200..=299 => return Ok(response),
        300..=399 => {
            Error::Redirected { location: response.header(&LOCATION).map_or("", |value| value.as_str()).to_owned() }
        }
        401 => Error::WrongPassword,
        403 => Error::Forbidden,
        404 | 410 => Error::NotFound { status },
        453 | 503 => Error::Full { status },
        454 => Error::SessionLost,
        461 => Error::NoTcp,
        _ => Error::Refused { method: name(method), status, reason: response.reason_phrase().to_owned() },
    })
}

fn name(method: &Method) -> &'static str {
    match method {
        Method::Options => "OPTIONS",
        Method::Describe => "DESCRIBE",
        Method::Setup => "SETUP",
        Method::Play => "PLAY",
        _ => "a request",
    }
}
