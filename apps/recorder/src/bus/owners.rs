//! Who leaves the bus, and what goes with them: their leases, and the alerts that only they could take back.

use std::sync::Arc;

use futures_util::StreamExt;
use zbus::Connection;
use zbus::fdo::{DBusProxy, NameOwnerChangedStream};

use crate::facade::Facade;
use crate::lessor::Ask;

/// Hears of everyone who leaves the bus.
///
/// # Errors
/// The bus does not take the subscription.
pub async fn departures(connection: &Connection) -> zbus::Result<NameOwnerChangedStream> {
    DBusProxy::new(connection).await?.receive_name_owner_changed_with_args(&[(2, "")]).await
}

/// Ends what belongs to those who leave. Runs until the bus is gone.
pub async fn watch(facade: Arc<Facade>, mut departures: NameOwnerChangedStream) {
    while let Some(change) = departures.next().await {
        let Ok(args) = change.args() else { continue };
        let name = args.name();
        if args.new_owner().is_none() && name.starts_with(':') {
            facade.reports.gone(name);
            let is_owner = facade.leases.shown.borrow().iter().any(|view| view.lease.owner == name.as_str());
            // An owner whose request is not in the list yet is asked for when it is: see `Leases::request`.
            if is_owner && facade.leases.asks.send(Ask::Gone(name.to_string())).await.is_err() {
                return;
            }
        }
    }
}
