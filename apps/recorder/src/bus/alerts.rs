//! `org.holdfast.Recorder1.Alerts`, on the recorder's main object.

use std::sync::Arc;

use holdfast_dbus::{AlertCode, AlertInfo, Error, ErrorCode, Reported};
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::{BusName, UniqueName};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use super::call::{Budget, carry_out, internal, sender};
use super::options::{Dict, invalid, text};
use crate::alerts::Alert;
use crate::facade::Facade;
use crate::reports::{MAX_ALERTS, Report, TooMany};

const MAX_SOURCE_BYTES: usize = 64;
const MAX_TEXT_BYTES: usize = 500;

/// The register of alerts on the bus.
pub struct Alerts {
    facade: Arc<Facade>,
    connection: Connection,
}

impl Alerts {
    pub fn new(facade: Arc<Facade>, connection: Connection) -> Self {
        Self { facade, connection }
    }

    async fn report(&self, reporter: UniqueName<'static>, reported: Vec<Reported>) -> Result<(), Error> {
        if reported.len() > MAX_ALERTS {
            return Err(invalid(format!("{} alerts reported; {MAX_ALERTS} are allowed at a time", reported.len())));
        }
        let reports = reported.into_iter().map(read).collect::<Result<_, _>>()?;
        self.facade.reports.replace(&reporter, reports).map_err(|TooMany| {
            Error::new(
                ErrorCode::Busy,
                "too many programs report alerts; nobody has so many panels: look at who is on the bus",
            )
        })?;
        // It may have left the bus before it was known as a reporter, and its end been overheard.
        let dbus = DBusProxy::new(&self.connection).await.map_err(|error| internal(&error))?;
        if !dbus.name_has_owner(BusName::Unique(reporter.clone())).await.unwrap_or(true) {
            self.facade.reports.gone(&reporter);
        }
        Ok(())
    }
}

/// Checks one reported alert.
fn read(reported: Reported) -> Result<Report, Error> {
    let code = AlertCode::from_name(&reported.code).filter(|code| AlertCode::REPORTED.contains(code));
    let code = code.ok_or_else(|| {
        let codes: Vec<_> = AlertCode::REPORTED.iter().map(|code| code.name()).collect();
        invalid(format!("no alert {:?} can be reported; those that can are: {}", reported.code, codes.join(", ")))
    })?;
    let source = text("source", reported.source, MAX_SOURCE_BYTES)?;
    if source.is_empty() {
        return Err(invalid(format!("the alert {} needs a source: what it is about", code.name())));
    }
    Ok(Report { code, source, text: text("text", reported.text, MAX_TEXT_BYTES)? })
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

    async fn report_alerts(
        &self,
        alerts: Vec<Reported>,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        carry_out(&self.facade, ("Alerts", "ReportAlerts", Budget::Write), &header, options, |call| async {
            call.options.end()?;
            self.report(sender(&header)?, alerts).await
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
