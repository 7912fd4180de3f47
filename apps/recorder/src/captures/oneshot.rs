//! A unit of type oneshot that is started, ended and waited for: what the recorder has done by a process of its own.

use futures_util::StreamExt as _;
use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

use super::systemd::{JobRemovedStream, ManagerProxy, refusal};

/// See the module.
pub struct Oneshot {
    system_bus: Connection,
    name: String,
    /// It was asked for, and has not ended as far as is known.
    runs: Option<(ManagerProxy<'static>, JobRemovedStream)>,
}

impl Oneshot {
    /// The unit of this name, over this connection to the system bus.
    pub fn new(system_bus: Connection, name: String) -> Self {
        Self { system_bus, name, runs: None }
    }

    /// Starts it, and returns how the start ended, which for a unit of this type is how its process did: `done`, `failed`, `timeout`.
    /// `Err`: why systemd can't start it, for people.
    pub async fn run(&mut self) -> Result<String, String> {
        match self.try_run().await {
            Ok(result) => Ok(result),
            Err(error) => {
                let why = refusal(&self.system_bus, error).await;
                Err(format!("systemd cannot start {}: {why}", self.name))
            }
        }
    }

    async fn try_run(&mut self) -> zbus::Result<String> {
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

    /// Ends it, if it has not ended, and returns once it has.
    pub async fn end(&mut self) {
        let Some((manager, mut removed)) = self.runs.take() else { return };
        // Refused, or not there: then it ends by its own deadline.
        if let Ok(job) = manager.stop_unit(&self.name, "replace").await {
            ended(&mut removed, &job).await;
        }
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
