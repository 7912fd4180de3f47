//! What the tests share: a running capture, and a client of its socket.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod camera;
pub mod frames;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_link::{self as link, Event, FromCapture, MAX_FRAME_BYTES, Status, ToCapture};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

/// Generous: it only bounds how long a broken build hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration in a directory of its own.
pub struct Box_ {
    pub directory: tempfile::TempDir,
    pub config: PathBuf,
}

impl Box_ {
    /// `recording`: lines for `[recording]`; `input`: lines for the input, whose name is `cam0`.
    pub fn new(recording: &str, input: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("holdfast-capture-").tempdir().unwrap();
        Self::in_directory(directory, recording, input)
    }

    pub fn in_directory(directory: tempfile::TempDir, recording: &str, input: &str) -> Self {
        let root = directory.path().join("footage");
        std::fs::create_dir(&root).unwrap();
        Self::with_root(directory, &root, recording, input)
    }

    pub fn with_root(directory: tempfile::TempDir, root: &Path, recording: &str, input: &str) -> Self {
        let config = directory.path().join("holdfast.toml");
        let text = format!(
            "[storage]\nroot = {root:?}\nfilesystem = \"any\"\nwarn_percent = 98\nblock_percent = 99\n\
             [recording]\n{recording}\n\
             [recorder]\nruntime_dir = {:?}\nstate_dir = {:?}\n\
             [[input]]\nname = \"cam0\"\n{input}\n",
            directory.path().join("run"),
            directory.path().join("state"),
        );
        std::fs::create_dir_all(directory.path().join("run")).unwrap();
        std::fs::write(&config, text).unwrap();
        Self { directory, config }
    }

    pub fn root(&self) -> PathBuf {
        self.directory.path().join("footage")
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/capture/cam0.sock")
    }

    /// Starts a capture and waits until its socket answers.
    pub fn capture(&self) -> Capture {
        self.greet(self.spawn(Stdio::inherit()))
    }

    /// The same with files as short as one likes, which the configuration does not allow.
    pub fn capture_with_rotation(&self, rotation_ms: u32) -> Capture {
        let child = self.command(&example("short-rotation")).args(["--rotation-ms", &rotation_ms.to_string()]).spawn();
        self.greet(child.unwrap())
    }

    /// The same with another clock, or other things that the real one has not: see `examples/tampered.rs`.
    pub fn tampered(&self, arguments: &[&str], stderr: Stdio) -> Capture {
        self.greet(self.command(&example("tampered")).args(arguments).stderr(stderr).spawn().unwrap())
    }

    /// Waits until the socket of a capture that was started answers.
    pub fn greet(&self, child: Child) -> Capture {
        let mut capture = Capture { child, client: None };
        capture.client = Some(Client::connect_within(&self.socket(), PATIENCE));
        capture
    }

    pub fn spawn(&self, stderr: Stdio) -> Child {
        self.command(Path::new(env!("CARGO_BIN_EXE_holdfast-capture"))).stderr(stderr).spawn().unwrap()
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(["--input", "cam0", "--config"]).arg(&self.config);
        command.env("HOLDFAST_LOG", std::env::var("HOLDFAST_LOG").unwrap_or_else(|_| "warn".into()));
        command
    }

    /// Verifies a session's files as `holdfast verify` does.
    pub fn verify(&self, session: &str) -> holdfast_segment::verify::SessionReport {
        let report = holdfast_segment::verify::verify_session(&self.root().join("2026-11-21").join(session)).unwrap();
        assert!(report.is_ok(), "{report}");
        report
    }

    /// The files of the session's input, by name.
    pub fn files(&self, session: &str) -> Vec<PathBuf> {
        let directory = self.root().join(format!("2026-11-21/{session}/cam0"));
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
            .map(|all| all.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        // What recovery found nothing in is set aside under another name.
        files.retain(|file| file.extension().is_none_or(|extension| extension != "empty"));
        files.sort();
        files
    }
}

/// What makes cargo build in the profile that this test was built in.
pub fn profile() -> Option<&'static str> {
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast-capture"));
    program.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release")
}

/// An example of this package, built on demand: cargo builds examples only when all tests are run.
pub fn example(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "-q", "-p", "holdfast-capture", "--example", name]);
    build.args(profile());
    assert!(build.status().unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_holdfast-capture")).with_file_name("examples").join(name)
}

/// A capture process; killed when dropped.
pub struct Capture {
    pub child: Child,
    client: Option<Client>,
}

impl Capture {
    pub fn client(&mut self) -> &mut Client {
        self.client.as_mut().unwrap()
    }

    /// Ends it as an operator would, and waits for it.
    pub fn shut_down(mut self) -> std::process::ExitStatus {
        self.client().send(&ToCapture::Shutdown);
        self.child.wait().unwrap()
    }

    pub fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Hangs up.
    pub fn leave(&mut self) {
        self.client = None;
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A peer on the capture's socket.
pub struct Client {
    fd: OwnedFd,
    pub hello: Option<link::Hello>,
    pub status: Option<Status>,
    pub events: Vec<Event>,
}

impl Client {
    /// Connects as soon as somebody listens.
    pub fn connect_within(socket: &Path, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        let fd = loop {
            match Self::dial(socket) {
                Ok(fd) => break fd,
                Err(error) if Instant::now() > deadline => panic!("nobody listens on {}: {error}", socket.display()),
                // There is no event to wait for before the socket exists.
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut client = Self { fd, hello: None, status: None, events: Vec::new() };
        client.send(&ToCapture::Hello);
        client.until("the greeting", patience, |client| client.hello.is_some() && client.status.is_some());
        client
    }

    pub fn dial(socket: &Path) -> rustix::io::Result<OwnedFd> {
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(socket)?)?;
        Ok(fd)
    }

    pub fn send(&mut self, message: &ToCapture) {
        let mut buffer = [0; MAX_FRAME_BYTES];
        let frame = link::encode(message, &mut buffer).unwrap();
        rustix::net::send(&self.fd, frame, SendFlags::NOSIGNAL).unwrap();
    }

    /// Reads one message; false when none comes in time.
    pub fn read(&mut self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).unwrap();
        if poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)).unwrap() == 0 {
            return false;
        }
        let mut buffer = [0; MAX_FRAME_BYTES];
        let (_, length) = rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::empty()).unwrap();
        assert!(length > 0, "the capture closed the connection");
        match link::decode(&buffer[..length]).unwrap() {
            FromCapture::Hello(hello) => self.hello = Some(hello),
            FromCapture::Status(status) => self.status = Some(status),
            FromCapture::Event(event) => self.events.push(event),
        }
        true
    }

    pub fn until(&mut self, what: &str, patience: Duration, done: impl Fn(&Self) -> bool) {
        let in_time = self.try_until(patience, done);
        assert!(in_time, "waited {patience:?} for {what}; status {:?}; events {:?}", self.status, self.events);
    }

    /// False when it did not come true in time.
    pub fn try_until(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while !done(self) {
            let rest = deadline.saturating_duration_since(Instant::now());
            if !self.read(rest) {
                return false;
            }
        }
        true
    }

    pub fn status(&self) -> &Status {
        self.status.as_ref().unwrap()
    }

    /// Waits for an event and takes it.
    pub fn event<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> T {
        self.until(what, PATIENCE, |client| client.events.iter().any(|event| pick(event).is_some()));
        let index = self.events.iter().position(|event| pick(event).is_some()).unwrap();
        pick(&self.events.remove(index)).unwrap()
    }

    pub fn start(&mut self, start: link::Start) {
        self.send(&ToCapture::Start(start));
    }

    pub fn started(&mut self) -> link::Started {
        self.event("Started", |event| match event {
            Event::Started(started) => Some(started.clone()),
            Event::Refused(refused) => panic!("{refused:?}"),
            _ => None,
        })
    }

    pub fn refused(&mut self) -> link::Refused {
        self.event("Refused", |event| if let Event::Refused(refused) = event { Some(refused.clone()) } else { None })
    }

    pub fn stop(&mut self, session: &str) -> link::Stopped {
        self.send(&ToCapture::Stop(link::Stop {
            request: 99,
            session: link::clip(session),
            reason: link::StopReason::Operator,
            trace: 0,
        }));
        self.event("Stopped", |event| if let Event::Stopped(stopped) = event { Some(stopped.clone()) } else { None })
    }

    /// Waits until so many frames of the recording are safe.
    pub fn until_safe(&mut self, frames: u64) {
        self.until("safe frames", PATIENCE, |client| client.status().counts.safe >= frames);
    }

    pub fn until_armed_with(&mut self, preroll_ms: u32) {
        self.until("pre-roll", PATIENCE, |client| {
            client.status().phase == link::Phase::Armed && client.status().preroll_ms >= preroll_ms
        });
    }
}

/// A Start as the recorder would send it.
pub fn start(session: &str) -> link::Start {
    link::Start {
        request: 1,
        session: link::clip(session),
        directory: link::clip(&format!("2026-11-21/{session}/cam0")),
        sequence: 1,
        preroll: false,
        resume: None,
        trace: 7,
    }
}
