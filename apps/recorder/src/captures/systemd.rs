//! Captures as `holdfast-capture@<input>.service`.

use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

use super::launch::{LaunchError, Launcher, Launching};

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
}

/// Has systemd start captures, each in its own cgroup.
#[derive(Debug)]
pub struct Systemd {
    system_bus: Connection,
}

impl Systemd {
    /// Over this connection to the system bus.
    pub fn new(system_bus: Connection) -> Self {
        Self { system_bus }
    }

    async fn start(&self, input: &str) -> Result<(), LaunchError> {
        let unit = format!("holdfast-capture@{input}.service");
        let failed = |error: zbus::Error| LaunchError::Unit {
            unit: unit.clone(),
            why: error.to_string(),
        };
        let manager = ManagerProxy::new(&self.system_bus).await.map_err(failed)?;
        // A unit that died too often is not started again until its count is reset; an input is never given up here. The call
        // fails for units that have not failed.
        let _ = manager.reset_failed_unit(&unit).await;
        manager.start_unit(&unit, "replace").await.map_err(failed)?;
        Ok(())
    }
}

impl Launcher for Systemd {
    fn check(&self) -> Result<(), LaunchError> {
        Ok(())
    }

    fn launch<'a>(&'a self, input: &'a str) -> Launching<'a> {
        Box::pin(async move { self.start(input).await.map(|()| None) })
    }
}
