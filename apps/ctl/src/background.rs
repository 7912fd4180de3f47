//! Work that can wait for a recording.

use std::path::Path;
use std::time::Duration;

use rustix::process::{geteuid, nice};
use zbus::Connection;
use zbus::zvariant::Value;

/// systemd answers at once, or is not worth waiting for.
const PATIENCE: Duration = Duration::from_secs(2);
const LOWEST: i32 = 19;

/// From here on this process gets the CPU and the disk that nobody else wants, and where root runs it under systemd it moves
/// into `holdfast-background.slice`. What of that is refused is no reason not to do the work.
pub fn give_way() {
    // The kernel derives the priority at the disk from it: the lowest there too.
    let _ = nice(LOWEST);
    // Who is not root stays in the slice of the own login; polkit lets nobody else make a scope of the system.
    if geteuid().is_root() && Path::new("/run/systemd/system").is_dir() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let moved =
            runtime.map(|runtime| runtime.block_on(async { tokio::time::timeout(PATIENCE, move_away()).await }));
        drop(moved);
    }
}

async fn move_away() -> zbus::Result<()> {
    let process = std::process::id();
    let properties = [
        ("PIDs", Value::from(vec![process])),
        ("Slice", Value::from("holdfast-background.slice")),
        ("Description", Value::from("Holdfast: work of the command line")),
    ];
    let no_more: &[(&str, Vec<(&str, Value<'_>)>)] = &[];
    let scope = format!("holdfast-work-{process}.scope");
    Connection::system()
        .await?
        .call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "StartTransientUnit",
            &(scope.as_str(), "fail", &properties[..], no_more),
        )
        .await
        .map(drop)
}
