//! Whether the box can be updated, as the updater knows: the same that it looks at before it writes.

use std::collections::HashMap;

use holdfast_dbus::updater::{UPDATER_BUS_NAME, UpdaterProxy};
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::proxy::CacheProperties;

use super::{Check, Level};
use crate::bus::Link;

const NAME: &str = "updates";

pub async fn check(link: &Link) -> Vec<Check> {
    match obstacles(link).await {
        Ok(None) => vec![Check::skipped(NAME, "no updater runs here")],
        Ok(Some(found)) if found.is_empty() => vec![Check::ok(NAME, "nothing keeps this box from being updated")],
        Ok(Some(found)) => found
            .into_iter()
            .map(|text| {
                let (message, remedy) = text.split_once("; ").unwrap_or((&text, ""));
                // It records all the same.
                Check::new(NAME, Level::Warning, message, remedy)
            })
            .collect(),
        Err(error) => vec![Check::skipped(NAME, &format!("the updater does not tell: {error}"))],
    }
}

async fn obstacles(link: &Link) -> zbus::Result<Option<Vec<String>>> {
    let dbus = DBusProxy::new(&link.connection).await?;
    if !dbus.name_has_owner(BusName::from_static_str(UPDATER_BUS_NAME)?).await? {
        return Ok(None);
    }
    let updater = UpdaterProxy::builder(&link.connection).cache_properties(CacheProperties::No).build().await?;
    let found = updater.list_obstacles(HashMap::new()).await?;
    Ok(Some(found.into_iter().map(|obstacle| obstacle.text).collect()))
}
