//! Peers that are not our code: pymodbus on a socket or a serial line, and a line that can be disturbed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Longer than anything here should ever take, on a busy machine too.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The Python that has pymodbus: the distribution's, or another to test with another release of it. `None`: said aloud.
pub fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let find = || {
        let python = std::env::var("PYMODBUS_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
        let there = Blocking::new(&python).args(["-c", "import pymodbus.server"]).stderr(Stdio::null()).status();
        there.is_ok_and(|status| status.success()).then_some(python)
    };
    let found = PYTHON.get_or_init(find).as_deref();
    if found.is_none() {
        holdfast_aloud::skip("no python3-pymodbus, so Modbus has no peer that is not our code");
    }
    found
}

/// A module made of pymodbus.
pub struct Module {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub version: String,
}

impl Module {
    pub async fn tcp(python: &str, port: u16) -> Self {
        Self::start(python, "tcp", &port.to_string()).await
    }

    pub async fn rtu(python: &str, tty: &Path) -> Self {
        Self::start(python, "rtu", &tty.to_string_lossy()).await
    }

    async fn start(python: &str, how: &str, place: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/modbus/server.py");
        let mut command = Command::new(python);
        command.args([script, how, place]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut module = Self { stdin: child.stdin.take().unwrap(), child, lines, version: String::new() };
        module.version = module.line("ready ").await;
        holdfast_aloud::say(format_args!("peer: pymodbus {} ({how})", module.version));
        module
    }

    /// The rest of the next line that begins like this; lines before it are of no interest.
    pub async fn line(&mut self, begins: &str) -> String {
        let found = async {
            loop {
                let line = self.lines.next_line().await.unwrap().expect("pymodbus has ended");
                if let Some(rest) = line.strip_prefix(begins) {
                    return rest.to_owned();
                }
            }
        };
        timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no {begins:?} from pymodbus"))
    }

    async fn tell(&mut self, what: &str) {
        self.stdin.write_all(format!("{what}\n").as_bytes()).await.unwrap();
    }

    /// Sets a point as the world outside would. When, monotonic nanoseconds.
    pub async fn set(&mut self, table: &str, address: u16, value: bool) -> u64 {
        self.tell(&format!("set {table} {address} {}", u8::from(value))).await;
        self.line("set ").await.parse().unwrap()
    }

    /// How often a table was read, and how many points the last time.
    pub async fn reads(&mut self, table: &str) -> (u64, u64) {
        self.tell(&format!("reads {table}")).await;
        let told = self.line("reads ").await;
        let (requests, count) = told.split_once(' ').unwrap();
        (requests.parse().unwrap(), count.parse().unwrap())
    }

    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What happens to answers on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Weather {
    Clear,
    /// Of eight answers one comes after rubbish and one has a bit turned.
    Noise,
    /// Nothing comes through: a cut wire.
    Cut,
}

/// A serial line: two ttys, joined by us.
pub struct Line {
    pub ours: PathBuf,
    pub theirs: PathBuf,
    weather: Arc<AtomicU8>,
    /// Kept open: a tty that nobody has open hangs up.
    _open: [File; 2],
}

impl Line {
    pub fn new() -> Self {
        let (near, ours, near_open) = pty();
        let (far, theirs, far_open) = pty();
        let weather = Arc::new(AtomicU8::new(Weather::Clear as u8));
        let clear = Arc::new(AtomicU8::new(Weather::Clear as u8));
        pump(near.try_clone().unwrap(), far.try_clone().unwrap(), clear);
        pump(far, near, Arc::clone(&weather));
        Self { ours, theirs, weather, _open: [near_open, far_open] }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.store(weather as u8, Ordering::Relaxed);
    }
}

fn pty() -> (File, PathBuf, File) {
    let master: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = PathBuf::from(ptsname(&master, vec![]).unwrap().into_string().unwrap());
    let slave = File::options().read(true).write(true).open(&path).unwrap();
    let mut termios = tcgetattr(&slave).unwrap();
    termios.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &termios).unwrap();
    (File::from(master), path, slave)
}

/// Carries bytes until the test process ends.
fn pump(mut from: File, mut to: File, weather: Arc<AtomicU8>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[0]
        };
        let mut answers = 0_u32;
        while let Ok(n) = from.read(&mut bytes) {
            let weather = weather.load(Ordering::Relaxed);
            if weather == Weather::Cut as u8 {
                continue;
            }
            if weather == Weather::Noise as u8 {
                answers += 1;
                match answers % 8 {
                    // The longer one is more than a decoder puts up with.
                    3 => {
                        let rubbish = [8, 40][usize::from(answers % 16 > 8)];
                        to.write_all(&(0..rubbish).map(|_| random()).collect::<Vec<_>>()).unwrap();
                    }
                    7 => bytes[usize::from(random()) % n] ^= 1 << (random() % 8),
                    _ => {}
                }
            }
            to.write_all(&bytes[..n]).unwrap();
        }
    });
}
