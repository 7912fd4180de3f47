//! The recorder's leave, from the asking side. What is asked for is asked again for as long as nobody can answer: a box whose recorder
//! is away is not one on which nothing is recorded. Only to leave a system whose recorder never comes up systemd's word is enough: that no
//! capture runs.

use std::time::Duration;

use futures_util::StreamExt as _;
use holdfast_dbus::{BUS_NAME, LeaseOptions, LeaseProxy, LeasesProxy};
use holdfast_update_plan::{Event, LeaseNews, Permit};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::proxy::CacheProperties;
use zbus::zvariant::OwnedObjectPath;

use crate::services;

/// Before a recorder that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// How long a recorder that is to be left with its system may stay away before systemd is asked in its stead.
const ABSENCE: Duration = Duration::from_secs(30);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(25);

/// The recorder's kind of lease. `beside`: an installation may go on beside a recording, throttled.
fn kind(permit: Permit, beside: bool) -> &'static str {
    match permit {
        Permit::Download => "download",
        Permit::Install if beside => "install-beside",
        Permit::Install => "install",
        Permit::Reboot => "reboot",
    }
}

/// What it is waited for, in words that are true of the kind that is asked for.
pub fn words(waits_for: &str, beside: bool) -> &str {
    match waits_for {
        "leave to install: nothing may be recorded" if beside => "leave to install: the box may not be pressed",
        other => other,
    }
}

/// At most one at a time, as the plan wants it.
#[derive(Debug)]
pub struct Leases {
    connection: Connection,
    beside: bool,
    /// Full (64): the engine is busy; the task waits.
    events: mpsc::Sender<Event>,
    held: Option<(Permit, oneshot::Sender<()>)>,
}

impl Leases {
    /// Asks over this connection; what comes of it goes there. `beside`: an installation may go on beside a recording.
    pub fn new(connection: Connection, beside: bool, events: mpsc::Sender<Event>) -> Self {
        Self { connection, beside, events, held: None }
    }

    /// Asks for one. `leaving`: to leave a system that has not proven itself.
    pub fn ask(&mut self, permit: Permit, reason: String, leaving: bool) {
        let (release, released) = oneshot::channel();
        self.held = Some((permit, release));
        let wanted = Wanted { permit, kind: kind(permit, self.beside), reason, leaving };
        tokio::spawn(hold(self.connection.clone(), wanted, self.events.clone(), released));
    }

    /// It is no longer needed. One that is not held any more is no matter.
    pub fn release(&mut self, permit: Permit) {
        // The task hears of it by the end of the channel.
        self.held.take_if(|(held, _)| *held == permit);
    }
}

/// What is asked for.
struct Wanted {
    permit: Permit,
    kind: &'static str,
    reason: String,
    leaving: bool,
}

/// Holds one lease until it is released or gone.
async fn hold(
    connection: Connection,
    wanted: Wanted,
    events: mpsc::Sender<Event>,
    mut released: oneshot::Receiver<()>,
) {
    let (mut told, mut told_of_captures) = (false, false);
    let began = Instant::now();
    loop {
        let error = tokio::select! {
            _ = &mut released => return,
            asked = timeout(PATIENCE, ask(&connection, &wanted)) => match asked {
                Ok(Ok(lease)) => return follow(&connection, &wanted, lease, &events, released).await,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            },
        };
        if !std::mem::replace(&mut told, true) {
            warn!("the recorder gives no leave to {}, asked again until it answers: {error}", wanted.kind);
        }
        // A system whose recorder does not come up would never be left otherwise.
        if wanted.leaving && began.elapsed() >= ABSENCE {
            if services::nothing_records(&connection).await {
                warn!("the recorder does not answer, and no capture runs: the system is left without its leave");
                let _ = events.send(Event::Lease(wanted.permit, LeaseNews::Granted)).await;
                let _ = released.await;
                return;
            }
            if !std::mem::replace(&mut told_of_captures, true) {
                warn!("the recorder does not answer, and a capture may run: the system is not left while it does");
            }
        }
        tokio::select! {
            _ = &mut released => return,
            () = sleep(RETRY) => {}
        }
    }
}

/// A lease, and how to hear of it: subscribed to before it was asked for.
struct Lease {
    path: OwnedObjectPath,
    granted: bool,
    grants: holdfast_dbus::LeaseGrantedStream,
    revocations: holdfast_dbus::LeaseRevokedStream,
    ends: holdfast_dbus::LeaseEndedStream,
    owners: zbus::fdo::NameOwnerChangedStream,
}

async fn ask(connection: &Connection, wanted: &Wanted) -> zbus::Result<Lease> {
    let leases = LeasesProxy::builder(connection).cache_properties(CacheProperties::No).build().await?;
    let (grants, revocations, ends) = (
        leases.receive_lease_granted().await?,
        leases.receive_lease_revoked().await?,
        leases.receive_lease_ended().await?,
    );
    let owners = DBusProxy::new(connection).await?.receive_name_owner_changed_with_args(&[(0, BUS_NAME)]).await?;
    let (path, granted) = leases.request_lease(wanted.kind, &wanted.reason, LeaseOptions::default()).await?;
    Ok(Lease { path, granted, grants, revocations, ends, owners })
}

async fn follow(
    connection: &Connection,
    wanted: &Wanted,
    mut lease: Lease,
    events: &mpsc::Sender<Event>,
    mut released: oneshot::Receiver<()>,
) {
    let tell = async |news| {
        info!(lease = wanted.kind, ?news, "the recorder");
        let _ = events.send(Event::Lease(wanted.permit, news)).await;
    };
    // The answer and the signal say the same: it is told once.
    let mut is_granted = lease.granted;
    if is_granted {
        tell(LeaseNews::Granted).await;
    }
    loop {
        tokio::select! {
            biased;
            _ = &mut released => return release(connection, &lease.path).await,
            Some(change) = lease.owners.next() => {
                // Whoever comes next knows nothing of it.
                debug!(?change, "the recorder's name has changed hands");
                return tell(LeaseNews::Lost).await;
            }
            Some(revoked) = lease.revocations.next() => {
                if revoked.args().is_ok_and(|args| args.lease == lease.path) {
                    tell(LeaseNews::Revoked).await;
                }
            }
            Some(ended) = lease.ends.next() => {
                if ended.args().is_ok_and(|args| args.lease == lease.path) {
                    return tell(LeaseNews::Lost).await;
                }
            }
            Some(granted) = lease.grants.next() => {
                let is_ours = granted.args().is_ok_and(|args| args.lease == lease.path);
                if is_ours && !std::mem::replace(&mut is_granted, true) {
                    tell(LeaseNews::Granted).await;
                }
            }
            else => return tell(LeaseNews::Lost).await,
        }
    }
}

async fn release(connection: &Connection, path: &OwnedObjectPath) {
    let released = async {
        let lease = LeaseProxy::builder(connection).path(path.clone())?.cache_properties(CacheProperties::No);
        lease.build().await?.release(std::collections::HashMap::new()).await
    };
    // One that is gone already is as good.
    if let Err(error) = released.await {
        debug!("a lease was not released: {error}");
    }
}
