//! An orderly reboot: through systemd-logind, which asks whoever holds it back, stops services in order and syncs. Never `reboot(2)`.

use std::path::Path;

use anyhow::{Context as _, bail};
use zbus::Connection;

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Login {
    fn reboot(&self, interactive: bool) -> zbus::Result<()>;
}

/// Reboots, or runs the program that does so on boxes without logind.
///
/// # Errors
/// Somebody holds it back (a recording does), or it is not possible.
pub async fn now(connection: &Connection, program: Option<&Path>) -> anyhow::Result<()> {
    let Some(program) = program else {
        return LoginProxy::new(connection)
            .await?
            .reboot(false)
            .await
            .context("systemd-logind does not reboot the box");
    };
    let status = tokio::process::Command::new(program).status().await;
    match status.with_context(|| format!("{} can't be run", program.display()))? {
        status if status.success() => Ok(()),
        status => bail!("{}: {status}", program.display()),
    }
}
