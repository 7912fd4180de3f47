//! Probes as `holdfast-probe@<input>.service`: the recorder's own unit sees neither network nor devices.

use std::path::{Path, PathBuf};

use zbus::Connection;

use super::judge::Reach;
use super::run::{Later, Probe, Prober, read};
use crate::captures::Oneshot;

/// Has systemd run probes.
#[derive(Debug)]
pub struct Units {
    system_bus: Connection,
    answers: PathBuf,
}

impl Units {
    /// Over this connection to the system bus. `answers`: where probes leave them, as `<input>.probe`.
    pub fn new(system_bus: Connection, answers: &Path) -> Self {
        Self { system_bus, answers: answers.to_owned() }
    }
}

impl Prober for Units {
    fn begin(&self, input: &str) -> Box<dyn Probe> {
        let name = format!("holdfast-probe@{input}.service");
        let unit = Oneshot::new(self.system_bus.clone(), name);
        Box::new(Unit { unit, answer: self.answers.join(format!("{input}.probe")) })
    }
}

struct Unit {
    unit: Oneshot,
    answer: PathBuf,
}

impl Probe for Unit {
    fn answer(&mut self) -> Later<'_, Option<Reach>> {
        Box::pin(async move {
            // In memory, as all of the runtime directory. What an earlier probe has left is no answer to this one.
            let _ = std::fs::remove_file(&self.answer);
            match self.unit.run().await {
                Ok(result) if result == "timeout" => None,
                Ok(_) => Some(read(&std::fs::read(&self.answer).unwrap_or_default())),
                Err(why) => Some(Reach::Unknown(why)),
            }
        })
    }

    fn end(&mut self) -> Later<'_, ()> {
        Box::pin(self.unit.end())
    }
}
