//! Starting capture processes: the seam between a PC (detached children) and systemd.

use std::fs::OpenOptions;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;

use tokio::process::Command;
use tokio::sync::oneshot;

/// Told how a process ended, when that can be known.
pub type Exit = oneshot::Receiver<String>;
/// What [`Launcher::launch`] returns.
pub type Launching<'a> = Pin<Box<dyn Future<Output = Result<Option<Exit>, LaunchError>> + Send + 'a>>;

/// Starts captures.
pub trait Launcher: Send + Sync {
    /// Whether it could start one at all: asked before a session is begun.
    ///
    /// # Errors
    /// What is missing.
    fn check(&self) -> Result<(), LaunchError>;

    /// Starts the capture of an input so that it outlives this process.
    fn launch<'a>(&'a self, input: &'a str) -> Launching<'a>;
}

/// Why a capture could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error("the capture program {program} is not there; install it, or set recorder.capture_program")]
    Missing {
        /// What was looked for.
        program: String,
    },
    /// The kernel refused.
    #[error("cannot start {program}: {why}")]
    Spawn {
        /// What was started.
        program: String,
        /// Why not.
        why: String,
    },
    /// systemd refused.
    #[error("systemd cannot start {unit}: {why}; see `systemctl status {unit}`")]
    Unit {
        /// Which unit.
        unit: String,
        /// What it said.
        why: String,
    },
}

/// A log of a spawned capture is begun anew beyond this size.
const LOG_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Starts captures as detached children: own process group, no terminal, nothing that ends them with the recorder.
#[derive(Debug)]
pub struct Spawn {
    program: PathBuf,
    config: PathBuf,
    log_dir: PathBuf,
}

impl Spawn {
    /// `program`: as configured. `config`: the file handed on, absolute. `log_dir`: for `<input>.log`.
    pub fn new(program: &Path, config: PathBuf, log_dir: PathBuf) -> Self {
        Self { program: find(program), config, log_dir }
    }

    fn missing(&self) -> LaunchError {
        LaunchError::Missing { program: self.program.display().to_string() }
    }

    fn spawn(&self, input: &str) -> Result<Exit, LaunchError> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => self.missing(),
            _ => LaunchError::Spawn { program: self.program.display().to_string(), why: error.to_string() },
        };
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["--input", input]).current_dir("/");
        // An own process group: a Ctrl-C for the recorder is none for the recording.
        command.process_group(0).kill_on_drop(false).stdin(Stdio::null());
        match self.log(input) {
            Ok((out, err)) => command.stdout(out).stderr(err),
            // No log is no reason not to record.
            Err(_) => command.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        let mut child = command.spawn().map_err(failed)?;
        let (tell, exit) = oneshot::channel();
        // Reaps it. If the recorder ends first, init does.
        tokio::spawn(async move {
            let text = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            let _ = tell.send(text);
        });
        Ok(exit)
    }

    fn log(&self, input: &str) -> std::io::Result<(Stdio, Stdio)> {
        std::fs::create_dir_all(&self.log_dir)?;
        let path = self.log_dir.join(format!("{input}.log"));
        let full = path.metadata().is_ok_and(|metadata| metadata.len() > LOG_LIMIT_BYTES);
        let file = OpenOptions::new().create(true).append(!full).write(true).truncate(full).open(path)?;
        Ok((file.try_clone()?.into(), file.into()))
    }
}

impl Launcher for Spawn {
    fn check(&self) -> Result<(), LaunchError> {
        if self.program.is_file() { Ok(()) } else { Err(self.missing()) }
    }

    fn launch<'a>(&'a self, input: &'a str) -> Launching<'a> {
        Box::pin(async move { self.spawn(input).map(Some) })
    }
}

/// A name without `/` is looked for beside this program, then in `PATH`.
pub fn find(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.to_owned();
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(program));
    beside.into_iter().chain(in_path).find(|candidate| candidate.is_file()).unwrap_or_else(|| program.to_owned())
}
