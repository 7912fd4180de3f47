//! Running a decoder: the seam between a PC (a child) and systemd (a unit). Either way it is `holdfast-capture decode`, which puts
//! itself behind everything else.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use holdfast_dbus::{Error, ErrorCode};
use tokio::process::Command;
use zbus::Connection;

use super::JOB;
use crate::captures::{Oneshot, find};
use crate::probing::Later;

/// The unit; see `apps/capture/systemd`.
const UNIT: &str = "holdfast-decode.service";

/// Begins to decode what the job's file says.
pub trait Decoder: std::fmt::Debug + Send + Sync {
    /// Waits for nothing.
    ///
    /// # Errors
    /// It can't be begun.
    fn begin(&self) -> Result<Box<dyn Decoding>, Error>;
}

/// Decoding under way.
pub trait Decoding: Send {
    /// Returns once it has ended, and how, for people.
    fn ended(&mut self) -> Later<'_, Result<String, Error>>;

    /// Ends it, if it has not ended, and returns once it has.
    fn end(&mut self) -> Later<'_, ()>;
}

fn failed(text: String) -> Error {
    Error::new(ErrorCode::CaptureFailed, text)
}

/// As a child.
#[derive(Debug)]
pub struct Child {
    program: PathBuf,
    config: PathBuf,
}

impl Child {
    /// `program`: the capture program, as configured. `config`: the file handed on, absolute.
    pub fn new(program: &Path, config: PathBuf) -> Self {
        Self { program: find(program), config }
    }
}

impl Decoder for Child {
    fn begin(&self) -> Result<Box<dyn Decoding>, Error> {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&self.config).args(["decode", "--job", JOB]).current_dir("/");
        // It is of no use without a recorder, so it ends with it.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn();
        let child = child.map_err(|error| failed(format!("cannot start {}: {error}", self.program.display())))?;
        Ok(Box::new(Spawned(child)))
    }
}

struct Spawned(tokio::process::Child);

impl Decoding for Spawned {
    fn ended(&mut self) -> Later<'_, Result<String, Error>> {
        Box::pin(async move {
            let status = self.0.wait().await.map_err(|error| failed(error.to_string()))?;
            Ok(status.to_string())
        })
    }

    fn end(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            // Fails only if it has ended.
            let _ = self.0.start_kill();
            let _ = self.0.wait().await;
        })
    }
}

/// As `holdfast-decode.service`: with the devices that the recorder does not see, and without the network.
#[derive(Debug)]
pub struct Unit {
    system_bus: Connection,
}

impl Unit {
    /// Over this connection to the system bus.
    pub fn new(system_bus: Connection) -> Self {
        Self { system_bus }
    }
}

impl Decoder for Unit {
    fn begin(&self) -> Result<Box<dyn Decoding>, Error> {
        Ok(Box::new(Started(Oneshot::new(self.system_bus.clone(), UNIT.to_owned()))))
    }
}

struct Started(Oneshot);

impl Decoding for Started {
    fn ended(&mut self) -> Later<'_, Result<String, Error>> {
        Box::pin(async move {
            let result = self.0.run().await.map_err(failed)?;
            Ok(format!("{result}; systemctl status {UNIT} says more"))
        })
    }

    fn end(&mut self) -> Later<'_, ()> {
        Box::pin(self.0.end())
    }
}
