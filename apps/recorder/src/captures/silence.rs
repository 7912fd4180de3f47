//! A capture that says nothing: told, and in the end replaced.

use std::time::Duration;

use holdfast_dbus::AlertCode;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

use super::Report;
use super::link::Link;
use super::process::Process;
use super::supervisor::Supervisor;
use crate::health::{SILENCE_ENDS, process};

/// How long a look at a silent capture may take.
const STUCK_PATIENCE: Duration = Duration::from_millis(500);
/// Before a capture that does not answer is greeted again.
const MUTE_PAUSE: Duration = Duration::from_millis(250);

impl Supervisor {
    /// Something listens and does not answer: a capture that hangs. Another one can't take its place while it lives.
    pub(super) async fn mute(&mut self, link: &Link) -> Option<()> {
        if !self.found_told {
            self.found_told = true;
            self.report(Report::Found { session: None, recording: false }).await;
        }
        let since = *self.mute_since.get_or_insert_with(Instant::now);
        self.fell_silent(link.pid());
        if self.wanted().hold {
            return self.want.changed().await.ok();
        }
        if since.elapsed() >= SILENCE_ENDS {
            self.end_silent(link.pid(), Process::open(link.pid()).ok().as_ref()).await;
        }
        sleep(MUTE_PAUSE).await;
        Some(())
    }

    /// The capture says nothing any more.
    pub(super) fn fell_silent(&mut self, pid: u32) {
        if self.shared.alerts.holds(AlertCode::CaptureSilent, &self.name) {
            return;
        }
        warn!(input = self.name, pid, "the capture says nothing any more");
        let text = format!("the capture (process {pid}) says nothing any more");
        self.show(|view| view.error.clone_from(&text));
        self.judge.raise(AlertCode::CaptureSilent, text);
    }

    /// Ends a capture that has been silent for too long, unless that would be in vain and worse than waiting: a thread that waits
    /// for the disk can't be killed before the wait is over, and then it would have gone on by itself, with all its footage.
    pub(super) async fn end_silent(&mut self, pid: u32, held: Option<&Process>) {
        let proc = self.shared.proc.clone();
        let look = tokio::task::spawn_blocking(move || process::stuck(&proc, pid));
        let stuck = match timeout(STUCK_PATIENCE, look).await {
            Ok(Ok(stuck)) => stuck,
            _ => Some("of which the kernel does not tell".to_owned()),
        };
        if let Some(thread) = stuck {
            let text = format!(
                "the capture (process {pid}) says nothing: its thread {thread} waits in the kernel, as for a disk"
            );
            self.shared.alerts.set(true, AlertCode::CaptureSilent, &self.name, || text);
            return;
        }
        let Some(held) = held else { return };
        error!(input = self.name, pid, silent_s = SILENCE_ENDS.as_secs(), "the capture stays silent; ending it");
        if let Err(failure) = held.kill() {
            error!(input = self.name, pid, "it can't be ended: {failure}");
        }
    }
}
