//! Whether the services of this system run, as systemd says. A recorder that is up only because somebody has started it by hand, or a
//! panel that dies again and again, is no system to be kept.

use holdfast_update_plan::Reason;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};
use zbus::Connection;

use crate::gate::{LOOK, PATIENCE};

/// Services that a box may have. One that is not enabled (a box without a panel) is no fault.
const SERVICES: [&str; 2] = ["holdfast-recorder.service", "holdfast-panel.service"];

/// What records; they outlive the recorder that has started them.
const CAPTURES: &str = "holdfast-capture@*.service";

/// A row of `ListUnitsByPatterns`, org.freedesktop.systemd1(5).
type Unit = (
    String,
    String,
    String,
    String,
    String,
    String,
    zbus::zvariant::OwnedObjectPath,
    u32,
    String,
    zbus::zvariant::OwnedObjectPath,
);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<Unit>>;
}

/// Waits until all that are enabled run. Where there is no systemd on the bus nobody knows, and nothing is waited for.
///
/// # Errors
/// One of them does not come up.
pub async fn up(connection: &Connection, until: Instant) -> Result<(), Reason> {
    loop {
        let Some(units) = look(connection, &SERVICES).await else {
            info!("there is no systemd on the bus that could say which services run");
            return Ok(());
        };
        let down = units.iter().find(|(_, state)| !is_well(state));
        let Some((name, state)) = down else {
            debug!(?units, "the services run");
            return Ok(());
        };
        if Instant::now() >= until {
            let text = format!("{name} is {state}, not active; journalctl -u {name} says why");
            return Err(Reason::new("service-down", text));
        }
        sleep(LOOK).await;
    }
}

/// Whether systemd knows that no capture runs. False where nobody knows.
pub async fn nothing_records(connection: &Connection) -> bool {
    let captures = look(connection, &[CAPTURES]).await;
    captures.is_some_and(|captures| captures.iter().all(|(_, state)| matches!(state.as_str(), "inactive" | "failed")))
}

/// Names and states; `None`: nobody knows.
async fn look(connection: &Connection, patterns: &[&str]) -> Option<Vec<(String, String)>> {
    let asked = async {
        let manager = ManagerProxy::new(connection).await?;
        manager.list_units_by_patterns(&[], patterns).await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(units)) => Some(units.into_iter().map(|unit| (unit.0, unit.3)).collect()),
        Ok(Err(error)) => {
            debug!("systemd: {error}");
            None
        }
        Err(_) => None,
    }
}

/// `activating` is also what waits for its next start after a crash; `inactive` is not enabled, or stopped by somebody.
fn is_well(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "inactive")
}

#[cfg(test)]
mod tests {
    use super::is_well;

    #[test]
    fn what_crashes_again_and_again_is_not_well() {
        assert!(["active", "reloading", "inactive"].into_iter().all(is_well));
        assert!(!["activating", "failed", "deactivating"].into_iter().any(is_well));
    }
}
