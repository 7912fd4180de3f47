//! Keeps the box from being shut down or put to sleep while something is being recorded: a block inhibitor of systemd-logind.
//!
//! Root can shut down all the same (`systemctl poweroff -i`), and files are closed then; this is against the press of a wrong
//! button and the update that thinks nobody needs the box.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::zvariant::OwnedFd;

use crate::facade::RecorderView;
use crate::leases::{Kind, State};
use crate::lessor::{LeaseView, is_busy};

const NAME: &str = "org.freedesktop.login1";
/// A logind that does not answer is tried again later.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a refusal is tried again, while a recording goes on.
const AGAIN: Duration = Duration::from_secs(60);

#[zbus::proxy(
    interface = "org.freedesktop.login1.Manager",
    default_service = "org.freedesktop.login1",
    default_path = "/org/freedesktop/login1"
)]
trait Manager {
    fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::Result<OwnedFd>;
}

/// Holds the inhibitor while it is needed. Runs until the engine is gone.
pub async fn run(
    bus: Connection,
    mut view: watch::Receiver<RecorderView>,
    mut leases: watch::Receiver<Arc<Vec<LeaseView>>>,
) {
    let mut inhibitor = Inhibitor { bus, held: None, refused: None, told: false };
    // A logind that comes (back) later is asked then.
    let mut owners = match DBusProxy::new(&inhibitor.bus).await {
        Ok(dbus) => dbus.receive_name_owner_changed_with_args(&[(0, NAME)]).await.ok(),
        Err(_) => None,
    };
    loop {
        let wanted = {
            let view = view.borrow_and_update();
            let session = view.session.clone().filter(|_| is_busy(view.state));
            // Whoever may override has decided that the box goes down.
            session.filter(|_| !leases.borrow_and_update().iter().any(takes_the_box_down))
        };
        match wanted {
            Some(session) => inhibitor.hold(&session).await,
            None => inhibitor.release(),
        }
        let again = inhibitor.refused.as_ref().map(|(_, when)| *when + AGAIN);
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            changed = leases.changed() => if changed.is_err() { return },
            change = next(&mut owners) => match change {
                Some(change) if change.args().is_ok_and(|args| args.new_owner().is_some()) => inhibitor.refused = None,
                // What it held back logind remembers by itself when it is restarted.
                Some(_) => debug!("logind has gone"),
                None => owners = None,
            },
            () = due(again) => inhibitor.refused = None,
        }
    }
}

fn takes_the_box_down(view: &LeaseView) -> bool {
    let lease = &view.lease;
    lease.kind == Kind::Reboot && lease.overrides && lease.state == State::Granted
}

async fn next<S: futures_util::Stream + Unpin>(stream: &mut Option<S>) -> Option<S::Item> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}

async fn due(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

struct Inhibitor {
    bus: Connection,
    /// Open as long as it holds.
    held: Option<OwnedFd>,
    /// For which session it was refused last, and when.
    refused: Option<(String, Instant)>,
    told: bool,
}

impl Inhibitor {
    async fn hold(&mut self, session: &str) {
        if self.held.is_some() || self.refused.as_ref().is_some_and(|(refused, _)| refused == session) {
            return;
        }
        let why = format!("session {session} is being recorded");
        let asking =
            async { ManagerProxy::new(&self.bus).await?.inhibit("shutdown:sleep", "Holdfast", &why, "block").await };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(fd)) => {
                info!(session, "shutdown and sleep are held back while recording");
                self.held = Some(fd);
                self.told = false;
                return;
            }
            Ok(Err(error)) => self.tell(name_of(&error), &error.to_string()),
            Err(_) => self.tell("", &format!("no answer within {} s", PATIENCE.as_secs())),
        }
        self.refused = Some((session.to_owned(), Instant::now()));
    }

    fn release(&mut self) {
        self.refused = None;
        if self.held.take().is_some() {
            info!("shutdown and sleep are possible again");
        }
    }

    /// Once, until it works: nothing changes by saying it with every recording.
    fn tell(&mut self, error: &str, text: &str) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        match error {
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => {
                warn!(
                    "shutdown and sleep can't be held back while recording: {text}; install org.holdfast.rules for polkit"
                );
            }
            _ => info!("shutdown and sleep are not held back while recording: no logind on the bus ({text})"),
        }
    }
}

fn name_of(error: &zbus::Error) -> &str {
    match error {
        zbus::Error::MethodError(name, ..) => name.as_str(),
        _ => "",
    }
}
