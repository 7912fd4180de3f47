//! Captures as `holdfast-capture@<input>.service`.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, WellKnownName};
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use super::launch::{Exit, LaunchError, Launcher, Launching};

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Unit", default_service = "org.freedesktop.systemd1")]
trait Unit {
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
}

#[zbus::proxy(interface = "org.freedesktop.systemd1.Service", default_service = "org.freedesktop.systemd1")]
trait Service {
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn exec_main_status(&self) -> zbus::Result<i32>;
}

/// How often a unit that is coming up is looked at: only until its capture listens, well under a second as a rule.
const LOOK: Duration = Duration::from_millis(100);

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

    async fn start(&self, unit: &str) -> zbus::Result<Exit> {
        let manager = ManagerProxy::new(&self.system_bus).await?;
        // Fails when this connection has subscribed before.
        let _ = manager.subscribe().await;
        let mut removed = manager.receive_job_removed().await?;
        // A unit that died too often is not started again until its count is reset; an input is never given up here. The call
        // fails for units that have not failed.
        let _ = manager.reset_failed_unit(unit).await;
        let job = manager.start_unit(unit, "replace").await?;
        let path = manager.load_unit(unit).await?;
        let (mut tell, exit) = oneshot::channel();
        let (system_bus, name) = (self.system_bus.clone(), unit.to_owned());
        tokio::spawn(async move {
            let ended = async {
                // Until the start is over the unit's state is that of its last life.
                while let Some(signal) = removed.next().await {
                    if signal.args().is_ok_and(|args| args.job == job) {
                        break;
                    }
                }
                ended(&system_bus, &name, path).await
            };
            tokio::select! {
                how = ended => drop(tell.send(how.unwrap_or_else(|error| error.to_string()))),
                // It listens: nobody asks any more.
                () = tell.closed() => (),
            }
        });
        Ok(exit)
    }
}

/// What to say when systemd did not take the order.
pub async fn refusal(system_bus: &Connection, error: zbus::Error) -> String {
    let text = error.to_string();
    let refused = matches!(&error, zbus::Error::MethodError(name, ..)
        if ["org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"]
            .contains(&name.as_str()));
    if !refused {
        return text;
    }
    let polkit = async {
        let bus = DBusProxy::new(system_bus).await.ok()?;
        let name = BusName::from(WellKnownName::from_static_str_unchecked("org.freedesktop.PolicyKit1"));
        bus.name_has_owner(name).await.ok()
    };
    match timeout(Duration::from_secs(1), polkit).await {
        Ok(Some(true)) => format!("{text}; polkit has no rule that allows it: install org.holdfast.rules"),
        _ => format!("{text}; that takes polkit, which does not run: install it"),
    }
}

/// Returns how the unit ended, once it has.
async fn ended(system_bus: &Connection, name: &str, path: OwnedObjectPath) -> zbus::Result<String> {
    let unit = UnitProxy::builder(system_bus).path(&path)?.cache_properties(CacheProperties::No).build().await?;
    loop {
        let state = unit.active_state().await?;
        if state == "failed" || state == "inactive" {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let service = ServiceProxy::builder(system_bus).path(&path)?.cache_properties(CacheProperties::No).build().await?;
    Ok(format!(
        "{}, status {}: `systemctl status {name}` says more",
        service.result().await?,
        service.exec_main_status().await?
    ))
}

impl Launcher for Systemd {
    fn check(&self) -> Result<(), LaunchError> {
        Ok(())
    }

    fn launch<'a>(&'a self, input: &'a str) -> Launching<'a> {
        Box::pin(async move {
            let unit = format!("holdfast-capture@{input}.service");
            match self.start(&unit).await {
                Ok(exit) => Ok(Some(exit)),
                Err(error) => Err(LaunchError::Unit { why: refusal(&self.system_bus, error).await, unit }),
            }
        })
    }
}
