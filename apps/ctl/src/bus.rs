//! The way to the recorder.

use std::time::Duration;

use holdfast_config::{Bus, Config};
use holdfast_dbus::{BUS_NAME, RecorderProxy};
use zbus::Connection;
use zbus::names::BusName;

use crate::args::Global;
use crate::failure::{Exit, Failure};

/// A recorder that does not answer for so long is told as such. Stop may take as long as a slow disk needs.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection, and what to call the bus in messages.
#[derive(Debug)]
pub struct Link {
    pub connection: Connection,
    pub name: String,
}

/// Which bus: the option, else the configuration (which heeds `HOLDFAST_BUS`), else the environment, else the system bus.
pub fn choose(global: &Global) -> Bus {
    let named = |name: &str| match name {
        "system" => Bus::System,
        "session" => Bus::Session,
        address => Bus::Address(address.to_owned()),
    };
    if let Some(bus) = &global.bus {
        return named(bus);
    }
    // A configuration that can't be read is no reason not to ask a recorder that runs.
    if let Ok(config) = Config::load(&global.config) {
        return config.recorder.bus;
    }
    std::env::var("HOLDFAST_BUS").ok().filter(|bus| !bus.is_empty()).map_or(Bus::System, |bus| named(&bus))
}

pub fn name(bus: &Bus) -> String {
    match bus {
        Bus::System => "the system bus".to_owned(),
        Bus::Session => "the session bus".to_owned(),
        Bus::Address(address) => format!("the bus at {address}"),
    }
}

/// Connects to the bus; the recorder need not be there.
pub async fn connect(global: &Global) -> Result<Link, Failure> {
    let bus = choose(global);
    let name = name(&bus);
    let builder = match &bus {
        Bus::System => zbus::connection::Builder::system(),
        Bus::Session => zbus::connection::Builder::session(),
        Bus::Address(address) => zbus::connection::Builder::address(address.as_str()),
    };
    let connect = async { builder?.method_timeout(TIMEOUT).build().await };
    match tokio::time::timeout(Duration::from_secs(10), connect).await {
        Ok(Ok(connection)) => Ok(Link { connection, name }),
        Ok(Err(error)) => Err(unreachable(&name, &error.to_string())),
        Err(_) => Err(unreachable(&name, "no answer within 10 seconds")),
    }
}

fn unreachable(name: &str, why: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("{name} can't be reached: {why}"),
        "check that the bus runs and that --bus, recorder.bus or HOLDFAST_BUS names the right one",
    )
}

/// Is the recorder on the bus? Asking does not start it.
pub async fn is_running(link: &Link) -> Result<bool, Failure> {
    let bus = zbus::fdo::DBusProxy::new(&link.connection).await.map_err(|error| failure(link, &error))?;
    let name = BusName::try_from(BUS_NAME).map_err(|error| Failure::failed(error.to_string(), ""))?;
    bus.name_has_owner(name).await.map_err(|error| failure(link, &error.into()))
}

/// Would the bus start the recorder for whoever calls it?
async fn is_activatable(link: &Link) -> Result<bool, Failure> {
    let bus = zbus::fdo::DBusProxy::new(&link.connection).await.map_err(|error| failure(link, &error))?;
    let names = bus.list_activatable_names().await;
    let names = names.map_err(|error| failure(link, &error.into()))?;
    Ok(names.iter().any(|name| name.as_str() == BUS_NAME))
}

/// The recorder, which must be running, or be started by the bus for this.
pub async fn recorder(link: &Link) -> Result<RecorderProxy<'static>, Failure> {
    if !is_running(link).await? && !is_activatable(link).await? {
        return Err(not_running(link));
    }
    RecorderProxy::new(&link.connection).await.map_err(|error| failure(link, &error))
}

fn not_running(link: &Link) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("the recorder is not running on {}", link.name),
        "start it (systemctl start holdfast-recorder); holdfast doctor finds out what keeps it from running",
    )
}

/// What an error on the bus means to the user.
pub fn failure(link: &Link, error: &zbus::Error) -> Failure {
    if let Some(refusal) = holdfast_dbus::Error::from_zbus(error) {
        return Failure::refused(refusal.code, refusal.message, "").with("details", refusal.details);
    }
    let (name, text) = match error {
        zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone().unwrap_or_default()),
        zbus::Error::FDO(fdo) => match &**fdo {
            zbus::fdo::Error::ServiceUnknown(text) => {
                ("org.freedesktop.DBus.Error.ServiceUnknown".to_owned(), text.clone())
            }
            zbus::fdo::Error::AccessDenied(text) => {
                ("org.freedesktop.DBus.Error.AccessDenied".to_owned(), text.clone())
            }
            other => (String::new(), other.to_string()),
        },
        other => (String::new(), other.to_string()),
    };
    match name.rsplit('.').next().unwrap_or_default() {
        "AccessDenied" => Failure::new(
            Exit::NotPermitted,
            "the bus does not let this user control the recorder",
            "run it as root, or join the group: sudo usermod -aG holdfast \"$USER\", then log in again",
        )
        .with("bus_message", text),
        "ServiceUnknown" | "NameHasNoOwner" => not_running(link),
        // The bus, or systemd for it, tried to start the recorder (dbus-daemon's Spawn errors, systemd's of jobs and units).
        _ if ["org.freedesktop.DBus.Error.Spawn", "org.freedesktop.systemd1."]
            .iter()
            .any(|prefix| name.starts_with(prefix)) =>
        {
            Failure::new(
                Exit::Unreachable,
                format!("{} could not start the recorder: {text}", link.name),
                "look at what it said: journalctl -u holdfast-recorder",
            )
        }
        "NoReply" | "Timeout" | "TimedOut" => Failure::new(
            Exit::Unreachable,
            format!("the recorder on {} does not answer", link.name),
            "look at its log: journalctl -u holdfast-recorder",
        ),
        _ if matches!(error, zbus::Error::InputOutput(io) if io.kind() == std::io::ErrorKind::TimedOut) => {
            Failure::new(
                Exit::Unreachable,
                format!("the recorder on {} does not answer", link.name),
                "look at its log: journalctl -u holdfast-recorder",
            )
        }
        _ => Failure::failed(
            format!(
                "the recorder's answer can't be understood: {}",
                if text.is_empty() { error.to_string() } else { text }
            ),
            "recorder and command line may be of different versions: compare holdfast --version with holdfast status",
        ),
    }
}
