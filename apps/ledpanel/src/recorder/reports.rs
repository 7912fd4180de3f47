//! What the panel reports to the recorder: again whenever it changes, and to each recorder that comes.

use std::collections::HashMap;

use holdfast_dbus::{AlertsProxy, Reported};
use tokio::time::timeout;
use tracing::{debug, warn};
use zbus::Connection;
use zbus::proxy::CacheProperties;

use super::PATIENCE;

/// See the module.
pub(super) struct Reporter {
    alerts: AlertsProxy<'static>,
    /// What this recorder knows.
    told: Vec<Reported>,
    /// It does not take reports: it is older than this panel.
    refuses: bool,
}

impl Reporter {
    pub(super) async fn new(connection: &Connection) -> zbus::Result<Self> {
        let alerts = AlertsProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
        Ok(Self { alerts, told: Vec::new(), refuses: false })
    }

    /// Another recorder knows nothing yet.
    pub(super) fn forget(&mut self) {
        self.told.clear();
        self.refuses = false;
    }

    /// Tells what it does not know. What fails is told with the next look.
    pub(super) async fn report(&mut self, wanted: Vec<Reported>) {
        if self.refuses || self.told == wanted {
            return;
        }
        match timeout(PATIENCE, self.alerts.report_alerts(&wanted, HashMap::new())).await {
            Ok(Ok(())) => self.told = wanted,
            Ok(Err(zbus::Error::MethodError(name, text, _))) if !is_passing(&name) => {
                warn!("the recorder does not take the panel's alerts: {name} {}", text.unwrap_or_default());
                self.refuses = true;
            }
            Ok(Err(error)) => debug!("the panel's alerts are not reported yet: {error}"),
            Err(_) => debug!("the recorder does not take the panel's alerts in time"),
        }
    }
}

/// It may be otherwise in half a second.
fn is_passing(name: &str) -> bool {
    const PASSING: [&str; 5] = [
        "org.holdfast.Error.Busy",
        "org.holdfast.Error.Internal",
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.NoReply",
    ];
    PASSING.contains(&name)
}
