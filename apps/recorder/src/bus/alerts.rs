//! `org.holdfast.Recorder1.Alerts`, on the recorder's main object.

use std::sync::Arc;

use holdfast_dbus::{AlertInfo, Error};
use zbus::interface;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use super::call::{Budget, carry_out};
use super::options::Dict;
use crate::alerts::Alert;
use crate::facade::Facade;

/// The register of alerts on the bus.
pub struct Alerts {
    facade: Arc<Facade>,
}

impl Alerts {
    pub fn new(facade: Arc<Facade>) -> Self {
        Self { facade }
    }
}

#[interface(name = "org.holdfast.Recorder1.Alerts", introspection_docs = false)]
impl Alerts {
    #[zbus(out_args("alerts"))]
    async fn list_alerts(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<Vec<AlertInfo>, Error> {
        carry_out(&self.facade, ("Alerts", "ListAlerts", Budget::Read), &header, options, |call| async {
            call.options.end()?;
            Ok(self.facade.alerts.list().iter().rev().map(Alert::info).collect())
        })
        .await
    }

    #[zbus(property)]
    fn active(&self) -> Vec<AlertInfo> {
        let alerts = self.facade.alerts.list();
        alerts.iter().filter(|alert| alert.is_active()).map(Alert::info).collect()
    }

    #[zbus(signal)]
    pub async fn alert_raised(emitter: &SignalEmitter<'_>, alert: AlertInfo) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn alert_cleared(emitter: &SignalEmitter<'_>, alert: AlertInfo) -> zbus::Result<()>;
}
