//! The control thread: the link's socket, signals, and nothing else. It never waits for a peer, and the data plane never
//! waits for it.
//!
//! One thread in one `poll`. Nobody connected: it sleeps until a signal or a connection comes. Somebody connected: a status
//! after every safe chunk, and every [`STATUS_NS`].

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use holdfast_link::{self as link, AlertCode, Event, FromCapture, GapCause, MAX_FRAME_BYTES, ToCapture, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, SocketFlags};

use crate::clock::{self, NS_PER_MS, Wall};
use crate::codes;
use crate::door::Door;
use crate::queue::Queue;
use crate::record::Command;
use crate::service;
use crate::state::{Leaving, Shared, To};
use crate::upkeep::{Duty, Look, Upkeep};

/// A connected peer hears from us at least this often.
pub const STATUS_NS: u64 = 500 * NS_PER_MS;
/// More peers than this are a mistake; further ones are turned away.
const MAX_PEERS: usize = 16;

#[derive(Debug)]
struct Peer {
    id: u64,
    fd: OwnedFd,
    greeted: bool,
}

/// Why a peer is sent away.
#[derive(Debug)]
struct Goodbye(String);

/// See the module.
#[derive(Debug)]
pub struct Control<D> {
    door: Door,
    hello: link::Hello,
    queue: Arc<Queue<D, Command>>,
    shared: Arc<Shared>,
    peers: Vec<Peer>,
    next_id: u64,
    status_due_ns: u64,
    /// Frames were being refused when last looked at.
    refusing: bool,
    /// The end was asked for, and the writer has been told.
    ending: (bool, bool),
    upkeep: Upkeep,
    wall: Wall,
}

impl<D: AsRef<[u8]>> Control<D> {
    /// Ready to serve.
    pub fn new(
        door: Door,
        hello: link::Hello,
        queue: Arc<Queue<D, Command>>,
        shared: Arc<Shared>,
        upkeep: Upkeep,
        wall: Wall,
    ) -> Self {
        Self {
            door,
            hello,
            queue,
            shared,
            peers: Vec::new(),
            next_id: 1,
            status_due_ns: 0,
            refusing: false,
            ending: (false, false),
            upkeep,
            wall,
        }
    }

    /// Serves until `writer_ended` becomes readable. A byte on `signals` asks for the end: files are closed first.
    ///
    /// # Errors
    /// The kernel refuses to poll.
    pub fn run(mut self, signals: BorrowedFd<'_>, writer_ended: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let ready = self.wait(signals, writer_ended)?;
            if ready.signal {
                let mut byte = [0; 16];
                let _ = rustix::io::read(signals, &mut byte);
                self.ending.0 = true;
            }
            for id in ready.peers {
                self.hear(id);
            }
            // After those who left have freed their seats.
            if ready.listener {
                self.accept();
            }
            self.shared.set_has_peers(self.peers.iter().any(|peer| peer.greeted));
            self.look_after();
            self.end_if_asked();
            let now_ns = clock::mono_ns();
            if ready.outbox || now_ns >= self.status_due_ns {
                self.status_due_ns = now_ns + STATUS_NS;
                self.warn_of_drops();
                self.tell_news();
            }
            if ready.ended {
                let events = self.shared.take_events();
                self.deliver(events);
                return Ok(());
            }
        }
    }

    fn wait(&self, signals: BorrowedFd<'_>, writer_ended: BorrowedFd<'_>) -> io::Result<Ready> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(signals, PollFlags::IN),
            PollFd::from_borrowed_fd(writer_ended, PollFlags::IN),
            PollFd::from_borrowed_fd(self.shared.outbox_fd(), PollFlags::IN),
            PollFd::new(&self.door, PollFlags::IN),
        ];
        fds.extend(self.peers.iter().map(|peer| PollFd::new(&peer.fd, PollFlags::IN)));
        let now_ns = clock::mono_ns();
        let status = self
            .peers
            .iter()
            .any(|peer| peer.greeted)
            .then(|| self.status_due_ns.saturating_sub(now_ns).min(STATUS_NS));
        let upkeep = self.upkeep.patience_ns(now_ns, self.shared.recordings().1, !self.peers.is_empty());
        let timeout = status.into_iter().chain(upkeep).min();
        let timeout = timeout.and_then(|rest_ns| Timespec::try_from(Duration::from_nanos(rest_ns)).ok());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno.into()),
        }
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let peers = self.peers.iter().enumerate().filter(|(index, _)| is_ready(4 + index)).map(|(_, peer)| peer.id);
        Ok(Ready {
            signal: is_ready(0),
            ended: is_ready(1),
            outbox: is_ready(2),
            listener: is_ready(3),
            peers: peers.collect(),
        })
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(fd) = rustix::net::accept_with(&self.door, flags) else {
            return;
        };
        if self.peers.len() >= MAX_PEERS {
            tracing::warn!("more than {MAX_PEERS} connections; the newest is turned away");
            return;
        }
        self.peers.push(Peer { id: self.next_id, fd, greeted: false });
        self.next_id += 1;
    }

    fn hear(&mut self, id: u64) {
        let mut buffer = [0; MAX_FRAME_BYTES];
        // A few at a time: a peer that floods us must not keep the others waiting.
        for _ in 0..8 {
            let Some(peer) = self.peers.iter().find(|peer| peer.id == id) else {
                return;
            };
            let length = match rustix::net::recv(peer.fd.as_fd(), &mut buffer[..], RecvFlags::TRUNC) {
                Ok((_, 0)) => return self.drop_peer(id, None),
                Ok((_, length)) => length,
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => return,
                // It went away without reading the last words.
                Err(_) => return self.drop_peer(id, None),
            };
            let message = match buffer.get(..length) {
                Some(datagram) => link::decode::<ToCapture>(datagram),
                None => Err(WireError::TooLong),
            };
            if let Err(goodbye) = self.handle(id, message) {
                return self.drop_peer(id, Some(&goodbye));
            }
        }
    }

    fn handle(&mut self, id: u64, message: Result<ToCapture, WireError>) -> Result<(), Goodbye> {
        let message = message.map_err(|error| {
            match error {
                WireError::Version { .. } => self.send_raw(id, &link::encode_refusal()),
                WireError::RefusedByPeer { .. } => {}
                _ => self.send(id, &refusal(0, codes::INVALID_ARGUMENT, &error.to_string())),
            }
            Goodbye(error.to_string())
        })?;
        let greeted = self.peers.iter().any(|peer| peer.id == id && peer.greeted);
        if !greeted && message != ToCapture::Hello {
            self.send(id, &refusal(0, codes::INVALID_ARGUMENT, "a connection begins with Hello"));
            return Err(Goodbye("it did not begin with Hello".into()));
        }
        let (request, command) = match message {
            ToCapture::Hello => {
                self.send(id, &FromCapture::Hello(self.hello.clone()));
                // What has happened until now is in the status; it is told to the others only.
                let status = self.deliver_news();
                self.send(id, &status);
                for (code, text) in self.shared.alerts.all() {
                    self.send(id, &FromCapture::Event(Event::Alert { code, text }));
                }
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == id) {
                    peer.greeted = true;
                }
                return Ok(());
            }
            ToCapture::Shutdown => {
                self.ending.0 = true;
                return Ok(());
            }
            ToCapture::Arm(armed) => {
                self.shared.set_armed(armed);
                return Ok(());
            }
            ToCapture::Bitrate { percent } => {
                self.shared.ask_bitrate(percent);
                return Ok(());
            }
            ToCapture::Start(start) => {
                (start.request, Command::Start { start, peer: id, arrived_ns: clock::mono_ns() })
            }
            ToCapture::Stop(stop) => (stop.request, Command::Stop { stop, peer: id }),
            ToCapture::Mark(mark) => (0, Command::Mark(mark)),
        };
        if self.queue.command(command).is_err() {
            self.send(id, &refusal(request, codes::BUSY, "too many commands wait; try again in a moment"));
        }
        Ok(())
    }

    /// Asks the writer to close the files and end, as soon as its queue of commands has room.
    fn end_if_asked(&mut self) {
        if self.ending == (true, false) {
            self.ending.1 = self.queue.command(Command::Shutdown).is_ok();
        }
    }

    /// Does what is due beside talking.
    fn look_after(&mut self) {
        let look = Look {
            now_ns: clock::mono_ns(),
            wall_ns: self.wall.now_ns(),
            has_peers: !self.peers.is_empty(),
            recording: self.shared.recordings().1,
            signs: self.shared.signs(),
        };
        for duty in self.upkeep.look(&look) {
            match duty {
                Duty::FeedWatchdog => {
                    let status = service::words(&self.shared);
                    service::feed(&status);
                }
                Duty::EndAlone => {
                    tracing::info!("nothing is recorded and no recorder has been there for a while: ending");
                    self.ending.0 = true;
                }
                Duty::TellStep { by_ns } => self.tell_step(by_ns),
                Duty::LeaveForSource => {
                    let text = "the source hangs: its driver or a library does not come back".to_owned();
                    self.shared.leave(Leaving { cause: GapCause::SourceLost, text });
                }
            }
        }
        if let Some(Leaving { cause, text }) = self.shared.take_leaving() {
            tracing::warn!(?cause, text, "ending, for another process to go on");
            self.shared.tell(To::All, Event::Leaving { cause, text: link::clip(&text) });
            self.ending.0 = true;
        }
    }

    fn tell_step(&self, by_ns: i64) {
        let seconds = (by_ns + by_ns.signum() * 500_000_000) / 1_000_000_000;
        let text = format!(
            "the clock was set by {seconds:+} s. Order and durations of footage do not follow it; files begun from now on \
             carry the new time"
        );
        tracing::warn!(seconds, "the wall clock was set");
        self.shared.tell(To::All, Event::Alert { code: AlertCode::ClockStepped, text: link::clip(&text) });
    }

    /// Tells what has happened, and how it goes after that.
    fn tell_news(&mut self) {
        if self.peers.iter().any(|peer| peer.greeted) {
            let status = self.deliver_news();
            self.broadcast(&status);
        } else {
            drop(self.shared.take_events());
        }
    }

    /// Tells what has happened. Returns how it goes after that.
    fn deliver_news(&mut self) -> FromCapture {
        let (events, status) = self.shared.news(self.queue.level());
        self.deliver(events);
        FromCapture::Status(status)
    }

    /// Once per stall. The writer cannot tell it: it is the one that waits for the disk.
    fn warn_of_drops(&mut self) {
        let level = self.queue.level();
        let begins = level.refusing && !std::mem::replace(&mut self.refusing, level.refusing);
        self.refusing = level.refusing;
        if begins {
            let text = "the disk has been slower for longer than the queue can hold: frames are dropped. \
                        Check the disk (dmesg, smartctl), or raise recording.buffer_mib";
            tracing::error!(queue_bytes = level.bytes, text);
            self.shared.raise(AlertCode::Dropped, text);
        }
    }

    fn deliver(&mut self, events: VecDeque<(To, Event)>) {
        for (to, event) in events {
            match to {
                To::All => self.broadcast(&FromCapture::Event(event)),
                To::Peer(id) => self.send(id, &FromCapture::Event(event)),
            }
        }
    }

    fn broadcast(&mut self, message: &FromCapture) {
        let ids: Vec<u64> = self.peers.iter().filter(|peer| peer.greeted).map(|peer| peer.id).collect();
        for id in ids {
            self.send(id, message);
        }
    }

    fn send(&mut self, id: u64, message: &FromCapture) {
        let mut buffer = [0; MAX_FRAME_BYTES];
        match link::encode(message, &mut buffer) {
            Ok(frame) => self.send_raw(id, frame),
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    fn send_raw(&mut self, id: u64, frame: &[u8]) {
        let Some(peer) = self.peers.iter().find(|peer| peer.id == id) else {
            return;
        };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if let Err(errno) = rustix::net::send(&peer.fd, frame, flags) {
            let deaf = errno == rustix::io::Errno::WOULDBLOCK;
            let goodbye = deaf.then(|| Goodbye("it does not read what it is sent".into()));
            self.drop_peer(id, goodbye.as_ref());
        }
    }

    fn drop_peer(&mut self, id: u64, why: Option<&Goodbye>) {
        if let Some(Goodbye(why)) = why {
            tracing::warn!(peer = id, why, "connection closed");
        }
        self.peers.retain(|peer| peer.id != id);
    }
}

fn refusal(request: u32, code: i32, text: &str) -> FromCapture {
    FromCapture::Event(Event::Refused(link::Refused { request, code, text: link::clip(text) }))
}

#[derive(Debug, Default)]
struct Ready {
    signal: bool,
    ended: bool,
    outbox: bool,
    listener: bool,
    peers: Vec<u64>,
}
