//! This process as a service of systemd: what it says of itself, and its watchdog. Without systemd nobody hears it.

use std::time::Duration;

use holdfast_link::SourceState;
use sd_notify::NotifyState;

use crate::state::Shared;

/// It serves its socket.
pub fn ready() {
    say(&[NotifyState::Ready]);
}

/// All threads get on, and this is what they do.
pub fn feed(status: &str) {
    say(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// It closes its files.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

/// When the watchdog bites, if there is one.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// Whether systemd has started this very process. What a unit starts inherits its environment, so that it names the socket is not
/// enough, unless systemd is too old (before 248) to say more.
#[must_use]
pub fn is_unit() -> bool {
    match std::env::var("SYSTEMD_EXEC_PID") {
        Ok(pid) => pid == std::process::id().to_string(),
        Err(_) => std::env::var_os("NOTIFY_SOCKET").is_some(),
    }
}

/// For `systemctl status`.
#[must_use]
pub fn words(shared: &Shared) -> String {
    let (session, safe) = shared.report(|report| (report.session.clone(), report.safe));
    match (session, shared.source()) {
        (Some(session), _) => format!("recording {session}, {safe} frames are safe"),
        (None, SourceState::Streaming) => "ready".to_owned(),
        (None, SourceState::Connecting) => "connecting".to_owned(),
        (None, SourceState::Waiting { error, .. }) => error.replace('\n', " "),
    }
}

fn say(state: &[NotifyState<'_>]) {
    if !is_unit() {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}
