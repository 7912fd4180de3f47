//! A simulated camera: `holdfast-simcam`, a real RTSP server in a process of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A running camera; killed when dropped.
pub struct Camera {
    child: Child,
    pub url: String,
}

impl Camera {
    /// Starts one; `None` (told on stderr) where the program has not been built.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_at("127.0.0.1:0", arguments)
    }

    pub fn start_at(listen: &str, arguments: &[&str]) -> Option<Self> {
        let program = program()?;
        let mut child = Command::new(program)
            .args(["--listen", listen])
            .args(arguments)
            .arg("--end-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Some(Self { child, url })
    }

    /// `host:port` it listens on.
    pub fn address(&self) -> String {
        self.url.split('/').nth(2).unwrap().to_owned()
    }

    /// `mute`, `unmute`, `drop`, `switch`.
    pub fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Built on demand: cargo does not build other packages' programs for a package's tests.
fn program() -> Option<PathBuf> {
    static BUILT: std::sync::OnceLock<Option<PathBuf>> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let directory = PathBuf::from(env!("CARGO_BIN_EXE_holdfast-capture")).parent().unwrap().to_owned();
            let built = Command::new(env!("CARGO"))
                .args(["build", "-q", "-p", "holdfast-simcam"])
                .args(super::profile())
                .status();
            let program = directory.join("holdfast-simcam");
            if built.is_ok_and(|status| status.success()) || program.exists() {
                return Some(program);
            }
            holdfast_aloud::skip("holdfast-simcam cannot be built");
            None
        })
        .clone()
}
