//! Keeps the box from being shut down or put to sleep while something is being recorded: a block inhibitor of systemd-logind.
//!
//! Root can shut down all the same (`systemctl poweroff -i`), and files are closed then; this is against the press of a wrong
//! button and the update that thinks nobody needs the box.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::timeout;
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
    let mut inhibitor = Inhibitor { bus, held: None, told: false };
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
        let missing = wanted.is_some() && inhibitor.held.is_none();
        match wanted {
            Some(session) => inhibitor.hold(&session).await,
            None => inhibitor.release(),
        }
        let refused = missing && inhibitor.held.is_none();
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            changed = leases.changed() => if changed.is_err() { return },
            change = next(&mut owners) => {
                if change.is_some_and(|change| change.args().is_ok_and(|args| args.new_owner().is_none())) {
                    debug!("logind has gone; what it held back is remembered by it, not by us");
                }
            }
            () = tokio::time::sleep(AGAIN), if refused => (),
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

struct Inhibitor {
    bus: Connection,
    /// Open as long as it holds.
    held: Option<OwnedFd>,
    told: bool,
}

impl Inhibitor {
    async fn hold(&mut self, session: &str) {
        if self.held.is_some() {
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
            }
            Ok(Err(error)) => self.tell(name_of(&error), &error.to_string()),
            Err(_) => self.tell("", &format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    fn release(&mut self) {
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
