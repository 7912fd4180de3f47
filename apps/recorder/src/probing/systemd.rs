//! Probes as `holdfast-probe@<input>.service`: the recorder's own unit sees neither network nor devices.

use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

use super::judge::Reach;
use super::run::{Later, Probe, Prober, read};
use crate::captures::{JobRemovedStream, ManagerProxy, refusal};

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
        Box::new(Unit {
            system_bus: self.system_bus.clone(),
            name: format!("holdfast-probe@{input}.service"),
            answer: self.answers.join(format!("{input}.probe")),
            runs: None,
        })
    }
}

struct Unit {
    system_bus: Connection,
    name: String,
    answer: PathBuf,
    /// It was asked for, and has not ended as far as is known.
    runs: Option<(ManagerProxy<'static>, JobRemovedStream)>,
}

impl Unit {
    /// How the start ended, which for a unit of this type (oneshot) is how the probe did.
    async fn run(&mut self) -> zbus::Result<String> {
        let manager = ManagerProxy::new(&self.system_bus).await?;
        // Fails when this connection has subscribed before.
        let _ = manager.subscribe().await;
        let removed = manager.receive_job_removed().await?;
        // From here on it may run, whether we hear of it or not.
        let (manager, removed) = self.runs.insert((manager, removed));
        let job = manager.start_unit(&self.name, "replace").await?;
        let result = ended(removed, &job).await;
        self.runs = None;
        Ok(result)
    }
}

impl Probe for Unit {
    fn answer(&mut self) -> Later<'_, Option<Reach>> {
        Box::pin(async move {
            // In memory, as all of the runtime directory. What an earlier probe has left is no answer to this one.
            let _ = std::fs::remove_file(&self.answer);
            match self.run().await {
                Ok(result) if result == "timeout" => None,
                Ok(_) => Some(read(&std::fs::read(&self.answer).unwrap_or_default())),
                Err(error) => {
                    let why = refusal(&self.system_bus, error).await;
                    Some(Reach::Unknown(format!("systemd cannot start {}: {why}", self.name)))
                }
            }
        })
    }

    fn end(&mut self) -> Later<'_, ()> {
        Box::pin(async move {
            let Some((manager, mut removed)) = self.runs.take() else { return };
            // Refused, or not there: then it ends by its own deadline.
            if let Ok(job) = manager.stop_unit(&self.name, "replace").await {
                ended(&mut removed, &job).await;
            }
        })
    }
}

/// Waits until a job is done, and returns how.
async fn ended(removed: &mut JobRemovedStream, job: &OwnedObjectPath) -> String {
    while let Some(signal) = removed.next().await {
        if let Ok(args) = signal.args()
            && args.job == *job
        {
            return args.result;
        }
    }
    String::new()
}
