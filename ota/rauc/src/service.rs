//! RAUC as a service: what it can be asked.

use std::collections::HashMap;
use std::fmt;

use rauc::InstallerProxy;
use zbus::fdo::{DBusProxy, PropertiesProxy};
use zbus::names::{BusName, OwnedUniqueName, WellKnownName};
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedValue;
use zbus::{Connection, names::InterfaceName};

use crate::error::{Error, Kind};
use crate::inspect::Bundle;
use crate::install::Installing;
use crate::options::{Access, Options};
use crate::status::{Slot, Status, Untold};

pub(crate) const NAME: &str = "de.pengutronix.rauc";
pub(crate) const INTERFACE: &str = "de.pengutronix.rauc.Installer";

/// RAUC, as the bus has it. Cheap to clone; survives RAUC's restarts.
///
/// No call here has a time limit of its own: looking into a bundle at a slow URL takes as long as it takes. Whoever can't
/// wait puts `tokio::time::timeout` around it.
#[derive(Debug, Clone)]
pub struct Rauc {
    connection: Connection,
}

/// What a slot is marked as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// It may be booted: its attempts are restored.
    Good,
    /// It may not.
    Bad,
    /// It is the next to be booted.
    Active,
}

/// Which slot is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one the box runs from.
    Booted,
    /// The other one. RAUC refuses if there is more than one other.
    Other,
    /// The one of this name, such as `rootfs.1`.
    Named(String),
}

/// What was marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The slot's name.
    pub slot: String,
    /// RAUC's words.
    pub message: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Active => "active",
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booted => out.write_str("the booted slot"),
            Self::Other => out.write_str("the other slot"),
            Self::Named(name) => write!(out, "slot {name}"),
        }
    }
}

impl Rauc {
    /// Finds RAUC on this bus, starting it if the bus can, and sees that it answers.
    ///
    /// # Errors
    /// [`Kind::Absent`] where there is none.
    pub async fn connect(connection: &Connection) -> Result<Self, Error> {
        let rauc = Self { connection: connection.clone() };
        rauc.owner("looking for RAUC").await?;
        rauc.properties("looking for RAUC").await?;
        Ok(rauc)
    }

    /// All that RAUC says of itself and the slots. What it would not tell is listed, and is no error: while it installs it
    /// refuses slots and primary.
    ///
    /// # Errors
    /// RAUC is not there, or does not answer at all.
    pub async fn status(&self) -> Result<Status, Error> {
        let doing = "asking RAUC for its status";
        let mut status = Status::of(self.properties(doing).await?);
        let proxy = self.proxy(doing).await?;
        // Not by the crate's own method: it fails as a whole for one unknown word.
        match proxy.inner().call::<_, _, Vec<(String, HashMap<String, OwnedValue>)>>("GetSlotStatus", &()).await {
            Ok(slots) => status.slots = slots.into_iter().map(|(name, values)| Slot::of(name, values)).collect(),
            Err(error) => status.untold.push(untold("the slots", error)?),
        }
        status.slots.sort_by(|one, other| one.name.cmp(&other.name));
        match proxy.get_primary().await {
            Ok(primary) => status.primary = Some(primary).filter(|name| !name.is_empty()),
            Err(error) => status.untold.push(untold("the primary slot", error)?),
        }
        Ok(status)
    }

    /// Name of the slot that boots next.
    ///
    /// # Errors
    /// RAUC is busy, or the boot loader's side fails.
    pub async fn primary(&self) -> Result<String, Error> {
        let doing = "asking RAUC for the primary slot";
        self.proxy(doing).await?.get_primary().await.map_err(|error| Error::call(doing, error))
    }

    /// Looks into a bundle (an absolute path, or a URL) after checking its signature. With RAUC 1.8 little is told:
    /// [`Bundle::untold`].
    ///
    /// # Errors
    /// RAUC refuses the bundle, or is busy.
    pub async fn inspect(&self, bundle: &str, access: &Access) -> Result<Bundle, Error> {
        let doing = format!("looking into {}", shown(bundle));
        let proxy = self.proxy(&doing).await?;
        let inspected: zbus::Result<HashMap<String, OwnedValue>> =
            proxy.inner().call("InspectBundle", &(bundle, access.to_inspect_args())).await;
        let error = match inspected {
            Ok(values) => return Ok(Bundle::of(values)),
            Err(error) => Error::call(&doing, error),
        };
        if error.kind() != Kind::Unsupported {
            return Err(error.about(bundle));
        }
        let info: zbus::Result<(String, String)> = proxy.inner().call("Info", &(bundle,)).await;
        let error = match info {
            Ok((compatible, version)) => return Ok(Bundle::of_info(compatible, version)),
            Err(error) => Error::call(&doing, error).about(bundle),
        };
        // 1.8 says the same for whatever it is. Whether it is busy it tells elsewhere.
        if error.kind() == Kind::Untold && self.primary().await.is_err_and(|error| error.kind() == Kind::Busy) {
            return Err(Error::new(doing, Kind::Busy, "RAUC is at something else"));
        }
        Err(error)
    }

    /// Begins to install a bundle (an absolute path, or a URL) to the slot the box does not run from, and watches until it
    /// has ended. There is no way to stop RAUC once it has begun.
    ///
    /// # Errors
    /// RAUC is busy, or refuses at once. What goes wrong later is told by [`Installing::finished`].
    pub async fn install(&self, bundle: &str, options: &Options) -> Result<Installing, Error> {
        Installing::begin(self, bundle, options).await
    }

    /// Marks a slot.
    ///
    /// # Errors
    /// RAUC is busy, knows no such slot, or the boot loader's side fails.
    pub async fn mark(&self, mark: Mark, target: &Target) -> Result<Marked, Error> {
        let doing = format!("marking {target} {mark}");
        let proxy = self.proxy(&doing).await?;
        let state = match mark {
            Mark::Good => rauc::MarkState::Good,
            Mark::Bad => rauc::MarkState::Bad,
            Mark::Active => rauc::MarkState::Active,
        };
        let slot = match target {
            Target::Booted => rauc::SlotIdentifier::Booted,
            Target::Other => rauc::SlotIdentifier::Other,
            Target::Named(name) => rauc::SlotIdentifier::Named(name.clone()),
        };
        let info = proxy.mark(state, &slot).await.map_err(|error| Error::call(doing, error))?;
        Ok(Marked { slot: info.slot_name, message: info.message })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Who owns RAUC's name, started if need be.
    pub(crate) async fn owner(&self, doing: &str) -> Result<OwnedUniqueName, Error> {
        let fail = |error: zbus::Error| Error::call(doing, error);
        let bus = DBusProxy::new(&self.connection).await.map_err(fail)?;
        let name = || BusName::from_static_str(NAME).map_err(|error| fail(error.into()));
        if let Ok(owner) = bus.get_name_owner(name()?).await {
            return Ok(owner);
        }
        let service = WellKnownName::from_static_str(NAME).map_err(|error| fail(error.into()))?;
        let started = bus.start_service_by_name(service, 0).await;
        started.map_err(|error| Error::new(doing, Kind::Absent, error.to_string()))?;
        bus.get_name_owner(name()?).await.map_err(|error| Error::new(doing, Kind::Absent, error.to_string()))
    }

    /// Properties are never cached: one that RAUC set without a signal would be read wrongly for ever.
    async fn proxy(&self, doing: &str) -> Result<InstallerProxy<'static>, Error> {
        let built = InstallerProxy::builder(&self.connection).cache_properties(CacheProperties::No).build().await;
        built.map_err(|error| Error::call(doing, error))
    }

    async fn properties(&self, doing: &str) -> Result<HashMap<String, OwnedValue>, Error> {
        let fail = |error: zbus::Error| Error::call(doing, error);
        let proxy = PropertiesProxy::builder(&self.connection)
            .destination(NAME)
            .and_then(|builder| builder.path("/"))
            .map_err(fail)?
            .build()
            .await
            .map_err(fail)?;
        let interface = InterfaceName::from_static_str(INTERFACE).map_err(|error| fail(error.into()))?;
        proxy.get_all(interface.into()).await.map_err(|error| fail(error.into()))
    }
}

/// What RAUC refused to tell; an error where it is not there to be asked.
fn untold(what: &'static str, error: zbus::Error) -> Result<Untold, Error> {
    let error = Error::call(format!("asking RAUC for {what}"), error);
    match error.kind() {
        Kind::Absent | Kind::Gone | Kind::Bus => Err(error),
        _ => Ok(Untold { what, why: error.text().to_owned() }),
    }
}

/// A bundle's place without what may be secret in a URL: credentials and query.
pub(crate) fn shown(bundle: &str) -> String {
    let Some((scheme, rest)) = bundle.split_once("://") else {
        return bundle.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    path.map_or_else(|| format!("{scheme}://{host}"), |path| format!("{scheme}://{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn secrets_in_urls_are_not_shown() {
        assert_eq!(shown("https://me:pass@host:1/a/b.raucb?token=1#x"), "https://host:1/a/b.raucb");
        assert_eq!(shown("https://host?x@y/"), "https://host");
        assert_eq!(shown("/media/a?b@c"), "/media/a?b@c");
    }
}
