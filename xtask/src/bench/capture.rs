//! A capture of our own, driven over its socket: what the recorder does, without the recorder.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_link::{Event, FromCapture, MAX_FRAME_BYTES, Start, Status, Stop, StopReason, Stopped, ToCapture};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::process::Guarded;
use crate::rig::Place;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running capture. Ended when dropped.
#[derive(Debug)]
pub struct Capture {
    process: Guarded,
    socket: OwnedFd,
    input: String,
    requests: u32,
}

impl Capture {
    /// Starts `program` for an input of `config` and connects to it.
    pub fn start(program: &mut Command, place: &Place, input: &str) -> anyhow::Result<Self> {
        let log = place.logs.join(format!("{input}.log"));
        let log = std::fs::File::create(&log).with_context(|| format!("{} can't be made", log.display()))?;
        program
            .arg("--config")
            .arg(&place.config)
            .args(["--input", input])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut process = Guarded::spawn(program)?;
        let path = place.runtime.join(holdfast_link::SOCKET_DIRECTORY).join(format!("{input}.sock"));
        let deadline = Instant::now() + PATIENCE;
        let socket = loop {
            match connect(&path) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| path.display().to_string());
                }
                Err(_) => process.must_run().context("see its log")?,
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let capture = Self { process, socket, input: input.to_owned(), requests: 0 };
        capture.send(&ToCapture::Hello)?;
        Ok(capture)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Records into `directory` below the storage root, and waits for the first safe chunk.
    pub fn record(&mut self, session: &str, directory: &str) -> anyhow::Result<()> {
        self.requests += 1;
        let request = self.requests;
        let text = |what: &str| anyhow::anyhow!("{what} is too long");
        self.send(&ToCapture::Start(Start {
            request,
            session: session.try_into().map_err(|_| text(session))?,
            directory: directory.try_into().map_err(|_| text(directory))?,
            sequence: 1,
            preroll: false,
            resume: None,
            trace: 0,
        }))?;
        self.wait("its first chunk is safe", |message| match message {
            FromCapture::Event(Event::Started(started)) if started.request == request => Some(()),
            _ => None,
        })
    }

    /// Closes the files.
    pub fn stop(&mut self, session: &str) -> anyhow::Result<Stopped> {
        self.requests += 1;
        let request = self.requests;
        let session = session.try_into().map_err(|_| anyhow::anyhow!("{session} is too long"))?;
        self.send(&ToCapture::Stop(Stop { request, session, reason: StopReason::Operator, trace: 0 }))?;
        self.wait("its files are closed", |message| match message {
            FromCapture::Event(Event::Stopped(stopped)) if stopped.request == request => Some(stopped),
            _ => None,
        })
    }

    /// Reads what it has told until now, so that its socket does not fill, and returns the last status.
    pub fn drain(&mut self) -> anyhow::Result<Option<Box<Status>>> {
        let mut last = None;
        while let Some(message) = self.receive(Duration::ZERO)? {
            if let FromCapture::Status(status) = message {
                last = Some(Box::new(status));
            }
        }
        Ok(last)
    }

    fn wait<T>(&mut self, what: &str, mut wanted: impl FnMut(FromCapture) -> Option<T>) -> anyhow::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(message) = self.receive(left)? else {
                bail!("{}: {} s went by and not yet: {what}", self.input, PATIENCE.as_secs())
            };
            if let FromCapture::Event(Event::Refused(refused)) = &message {
                bail!("{}: refused ({}): {}", self.input, refused.code, refused.text);
            }
            if let Some(found) = wanted(message) {
                return Ok(found);
            }
        }
    }

    fn send(&self, message: &ToCapture) -> anyhow::Result<()> {
        let mut buffer = [0; MAX_FRAME_BYTES];
        let frame = holdfast_link::encode(message, &mut buffer)?;
        rustix::net::send(&self.socket, frame, SendFlags::NOSIGNAL).context("the capture is gone")?;
        Ok(())
    }

    fn receive(&mut self, timeout: Duration) -> anyhow::Result<Option<FromCapture>> {
        let timeout = Timespec { tv_sec: i64::try_from(timeout.as_secs())?, tv_nsec: timeout.subsec_nanos().into() };
        if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout))? == 0 {
            return Ok(None);
        }
        let mut buffer = [0; MAX_FRAME_BYTES];
        let (length, _) = rustix::net::recv(&self.socket, &mut buffer, RecvFlags::empty())?;
        if length == 0 {
            self.process.must_run()?;
            bail!("{}: the capture closed the connection", self.input);
        }
        Ok(Some(holdfast_link::decode(&buffer[..length])?))
    }
}

fn connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
