//! The simulated panel: [`Board`] as on a microcontroller, with a pseudo-terminal for its UART and a thread for its
//! main loop.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use holdfast_link::clip;
use holdfast_link::panel::{About, Board, Do, Lines, Show};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// What kind of panel it is.
#[derive(Debug, Clone)]
pub struct Traits {
    /// What it says of itself.
    pub about: About,
    /// It hears, and says nothing.
    pub mute: bool,
    /// It answers whatever comes with these bytes: firmware of another making.
    pub parrot: Option<Vec<u8>>,
}

impl Default for Traits {
    fn default() -> Self {
        let about = About { name: clip("sim-mcu"), lights: 4, buttons: 2, display: true, buzzer: true };
        Self { about, mute: false, parrot: None }
    }
}

/// What it is told by those who play with it.
#[derive(Debug)]
pub enum Order {
    /// A button goes down or comes up; the main loop sees it so much later.
    Edge { button: u8, pressed: bool, ago: Duration },
    /// The same, but its frame is lost on the line.
    LostEdge { button: u8, pressed: bool },
    /// Says nothing (any more).
    Mute(bool),
    /// These bytes come over the line, from wherever.
    Bytes(Vec<u8>),
    /// From now on nothing but noise: as much again with each of these.
    Noise,
}

/// What a person in front of it sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    Shown(Show),
    Text(Lines),
    Fault,
}

/// A panel that runs. Dropped: its cable is pulled.
#[derive(Debug)]
pub struct Panel {
    /// Its tty.
    pub path: PathBuf,
    pub orders: SyncSender<Order>,
    /// What is seen, and when.
    pub seen: Receiver<(Instant, Sight)>,
}

impl Panel {
    pub fn start(traits: Traits) -> anyhow::Result<Self> {
        let uart = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&uart)?;
        unlockpt(&uart)?;
        let path = PathBuf::from(ptsname(&uart, Vec::new())?.into_string()?);
        // Else it would send back what is sent before the host has opened it.
        let mut raw = tcgetattr(&uart)?;
        raw.make_raw();
        tcsetattr(&uart, OptionalActions::Now, &raw)?;
        rustix::io::ioctl_fionbio(&uart, true)?;
        // Full: whoever gives orders waits; whoever looks away too long misses what comes then.
        let (orders, ordered) = sync_channel(16);
        // Full: see above.
        let (sees, seen) = sync_channel(4096);
        std::thread::Builder::new()
            .name("sim-mcu".into())
            .spawn(move || Firmware { traits, uart, sees }.run(&ordered))?;
        Ok(Self { path, orders, seen })
    }
}

struct Firmware {
    traits: Traits,
    uart: OwnedFd,
    sees: SyncSender<(Instant, Sight)>,
}

impl Firmware {
    /// The main loop: what the UART has, what the buttons did, what the clock says.
    fn run(mut self, ordered: &Receiver<Order>) {
        let start = Instant::now();
        let now_us = || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut board = Board::new(self.traits.about.clone());
        let mut buffer = [0_u8; 64];
        loop {
            // A millisecond is how long this hardware takes for a round.
            let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let mut readable = [PollFd::new(&self.uart, PollFlags::IN)];
            let _ = poll(&mut readable, Some(&wait));
            if readable[0].revents().contains(PollFlags::HUP) {
                // Nobody has it open; poll does not wait then.
                std::thread::sleep(Duration::from_millis(1));
            }
            let length = rustix::io::read(&self.uart, &mut buffer[..]).unwrap_or(0);
            if let (Some(cry), true) = (self.traits.parrot.clone(), length > 0) {
                self.write(&cry);
                continue;
            }
            for byte in buffer.iter().take(length) {
                let act = board.receive(*byte, now_us());
                self.act(act);
            }
            match ordered.try_recv() {
                Ok(Order::Edge { button, pressed, ago }) => {
                    let now_us = now_us();
                    let ago_us = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
                    let act = board.edge(button, pressed, now_us.saturating_sub(ago_us), now_us);
                    self.act(act);
                }
                Ok(Order::LostEdge { button, pressed }) => drop(board.edge(button, pressed, now_us(), now_us())),
                Ok(Order::Mute(mute)) => self.traits.mute = mute,
                Ok(Order::Bytes(bytes)) => self.write(&bytes),
                Ok(Order::Noise) => {
                    self.traits.mute = false;
                    self.write(b"\x00noise\x00");
                    self.traits.mute = true;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            while let Some(act) = board.tick(now_us()) {
                self.act(Some(act));
            }
        }
    }

    fn act(&self, act: Option<Do>) {
        let sight = match act {
            Some(Do::Show(show)) => Sight::Shown(show),
            Some(Do::Text(lines)) => Sight::Text(lines),
            Some(Do::Fault) => Sight::Fault,
            Some(Do::Write(frame)) => return self.write(&frame),
            None => return,
        };
        // Full, or nobody looks: it shines all the same.
        let _ = self.sees.try_send((Instant::now(), sight));
    }

    /// As a UART does: what nobody takes is lost.
    fn write(&self, bytes: &[u8]) {
        if !self.traits.mute {
            let _ = rustix::io::write(&self.uart, bytes);
        }
    }
}
