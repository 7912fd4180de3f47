//! Listens to what the captures report: another client on their sockets, beside the recorder.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use holdfast_link::{Event, FromCapture, MAX_FRAME_BYTES, SOCKET_DIRECTORY, ToCapture, VERSION};
use holdfast_segment::{Digest, FileId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use crate::claims::{Claim, Claims};
use crate::disk::{Meter, Position};
use crate::process::POLL;

/// What an input said, and where the log stood after it was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Of the log.
    pub position: Position,
    /// Who spoke.
    pub input: String,
    /// Its process, as it told itself.
    pub pid: u32,
    /// What it said.
    pub message: FromCapture,
}

/// Listens to the captures of some inputs until it is dropped, over restarts of theirs.
#[derive(Debug)]
pub struct Witness {
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Witness {
    /// `meters`: one for each input.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(runtime: &Path, inputs: Vec<(String, Meter)>) -> anyhow::Result<Self> {
        let (heard, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut threads = Vec::new();
        for (input, meter) in inputs {
            let socket = runtime.join(SOCKET_DIRECTORY).join(format!("{input}.sock"));
            let ear = Ear { input, meter, socket, heard: Arc::clone(&heard), stop: Arc::clone(&stop) };
            threads.push(std::thread::Builder::new().spawn(move || ear.listen()).context("no thread")?);
        }
        Ok(Self { heard, stop, threads })
    }

    /// All that was heard by now.
    #[must_use]
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest status of an input: its process and the frames that are safe.
    #[must_use]
    pub fn latest(&self, input: &str) -> Option<(u32, u64)> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().rev().filter(|heard| heard.input == input).find_map(|heard| match &heard.message {
            FromCapture::Status(status) => Some((heard.pid, status.counts.safe)),
            _ => None,
        })
    }

    /// Ends it.
    ///
    /// # Errors
    /// It could not hear everything.
    pub fn end(mut self) -> anyhow::Result<Vec<Heard>> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow::anyhow!("a listener panicked"))??;
        }
        Ok(self.heard())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Ear {
    input: String,
    meter: Meter,
    socket: PathBuf,
    heard: Arc<Mutex<Vec<Heard>>>,
    stop: Arc<AtomicBool>,
}

impl Ear {
    fn listen(&self) -> anyhow::Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            match connect(&self.socket) {
                Ok(socket) => self.hear_out(&socket)?,
                // None runs, or none yet.
                Err(_) => std::thread::sleep(POLL),
            }
        }
        Ok(())
    }

    /// Until the capture is gone.
    fn hear_out(&self, socket: &OwnedFd) -> anyhow::Result<()> {
        let mut pid = 0;
        let mut buffer = [0; MAX_FRAME_BYTES];
        let hello = holdfast_link::encode(&ToCapture::Hello, &mut buffer)?;
        if rustix::net::send(socket, hello, SendFlags::NOSIGNAL).is_err() {
            return Ok(());
        }
        while !self.stop.load(Ordering::Relaxed) {
            let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            if poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)).unwrap_or(0) == 0 {
                continue;
            }
            let Ok((length, _)) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) else { break };
            if length == 0 {
                break;
            }
            // After hearing, not before: see `claims`.
            let position = self.meter.position()?;
            let message = holdfast_link::decode(&buffer[..length])
                .with_context(|| format!("the capture does not speak link version {VERSION}"))?;
            if let FromCapture::Hello(hello) = &message {
                pid = hello.pid;
            }
            let heard = Heard { position, input: self.input.clone(), pid, message };
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        }
        Ok(())
    }
}

fn connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Makes promises of what was heard. Captures count what is safe over all files since they began a session; a promise is
/// about a file: what the files before it hold is taken off.
///
/// # Errors
/// What was heard makes no sense.
pub fn promises(heard: &[Heard], claims: &mut Claims) -> anyhow::Result<()> {
    /// What the closed files of a process and session hold, by their number.
    type Closed = BTreeMap<u64, u64>;
    let mut lives: BTreeMap<(u32, String), Closed> = BTreeMap::new();
    let mut sessions: BTreeMap<u32, String> = BTreeMap::new();
    for one in heard {
        match &one.message {
            FromCapture::Status(status) => {
                if let Some(session) = &status.session {
                    sessions.insert(one.pid, session.as_str().to_owned());
                }
            }
            FromCapture::Event(Event::FileClosed(file)) => {
                let session = sessions.get(&one.pid).context("a file was closed in no session")?.clone();
                lives.entry((one.pid, session)).or_default().insert(file.sequence, file.frames);
            }
            _ => {}
        }
    }
    sessions.clear();
    for one in heard {
        match &one.message {
            FromCapture::Status(status) => {
                let Some(session) = &status.session else { continue };
                sessions.insert(one.pid, session.as_str().to_owned());
                let closed = lives.get(&(one.pid, session.as_str().to_owned()));
                let before: u64 = closed
                    .into_iter()
                    .flat_map(|closed| closed.range(..status.file_sequence))
                    .map(|(_, frames)| frames)
                    .sum();
                let frames = status.counts.safe.saturating_sub(before);
                if frames > 0 && status.file_id != [0; 16] {
                    let name = format!("{session}/{}/{}", one.input, status.file_sequence);
                    claims.add(one.position, Claim::Frames { file: FileId(status.file_id), name, frames });
                }
            }
            FromCapture::Event(Event::FileClosed(file)) => {
                let session = sessions.get(&one.pid).context("a file was closed in no session")?;
                let path = format!("{}/{session}/{}/{}", date_of(session)?, one.input, file.file);
                let (id, digest) = (FileId(file.file_id), Digest(file.digest));
                claims.add(one.position, Claim::Closed { file: id, path, digest, frames: file.frames });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `20261121T071503Z-…` lies below `2026-11-21`.
fn date_of(session: &str) -> anyhow::Result<String> {
    match (session.get(..4), session.get(4..6), session.get(6..8)) {
        (Some(year), Some(month), Some(day)) => Ok(format!("{year}-{month}-{day}")),
        _ => bail!("{session} is no session id"),
    }
}
