//! The panel in a terminal, over a real pseudo-terminal: what is typed becomes presses, what is shown is drawn, and the
//! terminal is given back on every way out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// For what takes milliseconds on an idle machine.
const SOON: Duration = Duration::from_secs(20);
/// Nothing that a program draws.
const LAST: &[u8] = b"-- this is all --";

/// The program in a terminal of its own; the test is the terminal.
struct Session {
    child: Child,
    terminal: File,
    slave: File,
    /// What it writes to the terminal, and what it tells on standard error.
    screen: Receiver<Vec<u8>>,
    told: Receiver<String>,
    seen: Vec<u8>,
}

/// What a terminal says of itself when it is asked.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// It tells when a key is let go (kitty's protocol).
    Modern,
    /// It does not, and says what it is.
    Plain,
}

impl Session {
    fn start(kind: Kind) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
        let slave = open(&name);
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        // A session of its own: the terminal that the tests run in is none of its business.
        let mut child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(example())
            .env("TERM", "xterm-256color")
            .stdin(open(&name))
            .stdout(open(&name))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = lines(child.stderr.take().unwrap());
        let terminal = File::from(master);
        let screen = bytes(terminal.try_clone().unwrap());
        let mut session = Self { child, terminal, slave, screen, told, seen: Vec::new() };
        // It asks for the keyboard's protocol, then for what every terminal answers.
        session.until_seen(b"\x1b[?u\x1b[c");
        session.type_in(if kind == Kind::Modern { b"\x1b[?0u\x1b[?62;22c" } else { b"\x1b[?62;22c" });
        session.until_told("works");
        session
    }

    fn type_in(&mut self, bytes: &[u8]) {
        self.terminal.write_all(bytes).unwrap();
    }

    /// Waits for this on the screen. Words only: what is between them is not drawn.
    fn until_seen(&mut self, what: &[u8]) {
        let deadline = Instant::now() + SOON;
        while !self.seen.windows(what.len()).any(|window| window == what) {
            match self.screen.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(more) => self.seen.extend(more),
                Err(_) => panic!("{:?} was not shown: {:?}", shown(what), shown(&self.seen)),
            }
        }
    }

    fn until_told(&mut self, what: &str) {
        let line = self.told.recv_timeout(SOON);
        assert_eq!(line.as_deref(), Ok(what), "the screen: {:?}", shown(&self.seen));
    }

    fn raw(&self) -> bool {
        !tcgetattr(&self.slave).unwrap().local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits for its end and for all that it has written.
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // A terminal keeps the order: what comes before this is all that the program has written.
                self.slave.write_all(LAST).unwrap();
                self.until_seen(LAST);
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end; the screen: {:?}", shown(&self.seen));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The terminal is as it was: another screen, a cursor, lines and echo.
    fn assert_given_back(&self) {
        let place = |what: &[u8]| self.seen.windows(what.len()).rposition(|window| window == what);
        assert!(place(b"\x1b[?1049l") > place(b"\x1b[?1049h"), "the screen is not given back: {:?}", shown(&self.seen));
        assert!(place(b"\x1b[?25h") > place(b"\x1b[?25l"), "the cursor is not shown: {:?}", shown(&self.seen));
        assert!(place(b"\x1b[?1004l") > place(b"\x1b[?1004h"), "focus is still told: {:?}", shown(&self.seen));
        assert_eq!(place(b"\x1b[<1u").is_some(), place(b"\x1b[>11u").is_some(), "{:?}", shown(&self.seen));
        assert!(!self.raw(), "the terminal is left raw");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn open(path: &Path) -> File {
    use rustix::fs::{Mode, OFlags};
    let file: OwnedFd = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    File::from(file)
}

/// Reads until the terminal is closed. Full: it waits, and so does the program.
fn bytes(mut from: File) -> Receiver<Vec<u8>> {
    let (to, received) = sync_channel(1024);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if to.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    received
}

/// Line by line. Full: it waits.
fn lines(from: ChildStderr) -> Receiver<String> {
    let (to, received) = sync_channel(1024);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    received
}

/// The end of it, for people.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(600)..]).into_owned()
}

/// The example of this package, built on demand: cargo builds examples only when all tests are run.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["build", "--quiet", "--package", "holdfast-panel", "--example", "terminal"];
        assert!(Command::new(cargo).args(arguments).status().unwrap().success());
        Path::new(env!("CARGO_BIN_EXE_holdfast-panel")).with_file_name("examples").join("terminal")
    })
}

#[test]
fn keys_are_presses_and_lights_are_shown_in_a_plain_terminal() {
    let mut session = Session::start(Kind::Plain);
    assert!(session.raw());
    for part in ["Holdfast", "record", " ● ", "terminal", "long", "quit"] {
        session.until_seen(part.as_bytes());
    }
    session.type_in(b" ");
    session.until_told("record down");
    session.until_told("record up");
    let pressed = Instant::now();
    session.type_in(b"s");
    session.until_told("record down");
    session.until_told("record up");
    assert!(pressed.elapsed() >= Duration::from_millis(1500), "{:?} is no long press", pressed.elapsed());
    session.type_in(b"q");
    session.until_told("quit");
    assert!(session.end().success());
    session.assert_given_back();
}

#[test]
fn a_key_is_held_as_a_button_in_a_terminal_that_tells() {
    let mut session = Session::start(Kind::Modern);
    session.until_seen(b"\x1b[>11u");
    session.until_seen(b"hold");
    session.type_in(b"\x1b[32;1:1u");
    session.until_told("record down");
    session.type_in(b"\x1b[32;1:2u\x1b[32;1:2u\x1b[32;1:3u");
    session.until_told("record up");
    // Held while the window loses the focus: nobody would tell that it comes up.
    session.type_in(b"\x1b[114;1:1u");
    session.until_told("record down");
    session.type_in(b"\x1b[O");
    session.until_told("record up");
    // As control-c arrives with this protocol.
    session.type_in(b"\x1b[99;5u");
    session.until_told("quit");
    assert!(session.end().success());
    session.assert_given_back();
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    for kind in [Kind::Plain, Kind::Modern] {
        let mut session = Session::start(kind);
        session.type_in(if kind == Kind::Modern { b"\x1b[120;1:1u" } else { b"x" });
        assert!(!session.end().success());
        session.assert_given_back();
        let told: Vec<String> = session.told.iter().collect();
        assert!(told.iter().any(|line| line.contains("asked to")), "{told:?}");
    }
}

/// As under ssh whose other end has gone away: nobody reads any more.
#[test]
fn a_terminal_that_takes_nothing_holds_nothing_up() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = PathBuf::from(ptsname(&master, Vec::new()).unwrap().into_string().unwrap());
    let slave = open(&name);
    let mut child = Command::new("setsid")
        .args(["--ctty", "--wait"])
        .arg(example())
        .env("TERM", "xterm-256color")
        .stdin(open(&name))
        .stdout(open(&name))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let told = lines(child.stderr.take().unwrap());
    let mut terminal = File::from(master);
    terminal.write_all(b"\x1b[?62;22c").unwrap();
    assert_eq!(told.recv_timeout(SOON).as_deref(), Ok("works"));
    // Its other end fills up with what is drawn: nobody reads it. Then it is full.
    let filler = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let mut filler = File::from(rustix::fs::open(&name, filler, rustix::fs::Mode::empty()).unwrap());
    // The kernel moves what is written on to the other end as long as that has room: full is what stays full.
    let settled = Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    while poll(&mut [PollFd::new(&filler, PollFlags::OUT)], Some(&settled)).unwrap() > 0 {
        while filler.write(b".").is_ok() {}
    }
    for _ in 0..3 {
        terminal.write_all(b" ").unwrap();
        assert_eq!(told.recv_timeout(SOON).as_deref(), Ok("record down"));
        assert_eq!(told.recv_timeout(SOON).as_deref(), Ok("record up"));
    }
    terminal.write_all(b"q").unwrap();
    assert_eq!(told.recv_timeout(SOON).as_deref(), Ok("quit"));
    let deadline = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(tcgetattr(&slave).unwrap().local_modes.contains(LocalModes::ICANON), "the terminal is left raw");
}
