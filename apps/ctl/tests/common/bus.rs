//! A bus of a test's own, and the real recorder with a real capture on it.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Run, Shelf, built, json, run_with};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// A process that ends with the test.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

pub struct Bus {
    pub shelf: Shelf,
    pub address: String,
    /// Written once: programs that run meanwhile read it whenever they like.
    config: String,
    _daemon: Process,
}

impl Bus {
    /// `None` where there is no dbus-daemon.
    pub fn start() -> Option<Self> {
        let shelf = Shelf::new();
        let address = format!("unix:path={}", shelf.path("bus").display());
        let daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1", "--address"])
            .arg(&address)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut daemon) = daemon else {
            holdfast_aloud::skip("dbus-daemon is not installed");
            return None;
        };
        // It says its address once it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "{line}");
        let dir = |name: &str| shelf.path(name).display().to_string();
        let config = shelf.config(&format!(
            "[recorder]\nbus = \"{}\"\nruntime_dir = \"{}\"\nstate_dir = \"{}\"\nsupervisor = \"spawn\"\n\
             capture_program = \"{}\"\n[[input]]\nname = \"cam-0\"\nsource = \"test\"\nwidth = 320\nheight = 240\nframerate = 30\n",
            address,
            dir("run"),
            dir("state"),
            // Where it can't be built there is no recorder either.
            built("holdfast-capture").unwrap_or_default().display(),
        ));
        Some(Self { shelf, address, config, _daemon: Process(daemon) })
    }

    pub fn config(&self) -> String {
        self.config.clone()
    }

    pub fn protect(&self, lines: &str) {
        self.more("protection.toml", &format!("[protection]\n{lines}\n"));
    }

    /// A drop-in of the configuration.
    pub fn more(&self, name: &str, lines: &str) {
        let path = self.shelf.path("holdfast.toml.d");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join(name), lines).unwrap();
    }

    pub fn holdfast(&self, arguments: &[&str]) -> Run {
        run_with(arguments, &[("HOLDFAST_CONFIG", &self.config())])
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let run = self.holdfast(&[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.out, run.err);
        json(&run.out)
    }

    /// Watches until what is shown is as wanted.
    pub fn wait(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["watch", "--json", "--config", &self.config()]).stdout(Stdio::piped());
        let mut watch = Process(command.spawn().unwrap());
        // Full (64): the reader waits, and with it the program that says more than anybody looks at.
        let (tell, lines) = mpsc::sync_channel(64);
        let output = BufReader::new(watch.0.stdout.take().unwrap());
        // Ends with the program, at the latest when it is dropped.
        std::thread::spawn(move || output.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let (begun, mut last) = (Instant::now(), Value::Null);
        // Also where nothing is said at all: there is no recorder then.
        while let Ok(line) = lines.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
            last = json(&line);
            if wanted(&last) {
                return last;
            }
        }
        panic!("still not: {last}");
    }
}

/// The recorder, and the captures it leaves running when it ends.
pub struct Recorder<'a> {
    bus: &'a Bus,
    process: Process,
}

impl<'a> Recorder<'a> {
    /// With its one input armed, or recording what goes on. `None`, said aloud, where the programs can't be built.
    pub fn start(bus: &'a Bus) -> Option<Self> {
        Self::start_with(bus, &[])
    }

    /// The same, on a box that nothing else presses: however busy the machine is, no lease waits or ends for it.
    pub fn start_at_ease(bus: &'a Bus) -> Option<Self> {
        let proc = bus.shelf.path("proc");
        std::fs::create_dir_all(&proc).unwrap();
        Self::start_with(bus, &["--proc", &proc.display().to_string()])
    }

    fn start_with(bus: &'a Bus, arguments: &[&str]) -> Option<Self> {
        let recorder = Command::new(built("holdfast-recorder")?)
            .args(["--config", &bus.config()])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let recorder = Self { bus, process: Process(recorder) };
        bus.wait(|shown| matches!(shown["inputs"][0]["state"].as_str(), Some("armed" | "recording")));
        Some(recorder)
    }

    /// It dies with its captures, as in a crash of both: the recorder first, so that nothing is put down in order.
    pub fn dies(mut self) {
        let captures = self.captures();
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        captures.into_iter().for_each(|pid| kill_process(pid, Signal::KILL).unwrap());
    }

    fn captures(&self) -> Vec<Pid> {
        let inputs = self.bus.holdfast(&["inputs", "--json"]);
        let inputs: Value = serde_json::from_str(&inputs.out).unwrap_or_default();
        let pids = inputs.as_array().into_iter().flatten().filter_map(|input| input["pid"].as_i64());
        pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).collect()
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        let captures = self.captures();
        drop(self.process.0.kill());
        for pid in captures {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}
