//! `org.holdfast.Recorder1.Leases`, on the recorder's main object, and `org.holdfast.Recorder1.Lease`, an object for each lease.

use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{Error, ErrorCode, LeaseInfo, ROOT_PATH, lease_id_of, lease_path};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{debug, warn};
use zbus::fdo::DBusProxy;
use zbus::message::Header;
use zbus::names::{BusName, UniqueName};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, interface};

use super::call::{Budget, carry_out, internal, sender};
use super::options::{Dict, invalid, text};
use crate::facade::Facade;
use crate::leases::{Id, KINDS, Kind, Request, State};
use crate::lessor::{Ask, Client, LeaseNews, LeaseView};

/// The task that owns the leases never waits for anything; this is for a box that is all but stuck.
const PATIENCE: Duration = Duration::from_secs(20);
const MAX_REASON_BYTES: usize = 256;

/// All leases.
pub struct Leases {
    facade: Arc<Facade>,
    connection: Connection,
}

impl Leases {
    pub fn new(facade: Arc<Facade>, connection: Connection) -> Self {
        Self { facade, connection }
    }

    async fn request(
        &self,
        call: super::call::Call,
        kind: &str,
        reason: String,
        owner: UniqueName<'static>,
    ) -> Result<(OwnedObjectPath, bool), Error> {
        let (mut options, trace) = (call.options, call.trace);
        let kind = Kind::from_name(kind).ok_or_else(|| {
            let kinds: Vec<_> = KINDS.iter().map(|rule| rule.name).collect();
            invalid(format!("there is no lease of kind {kind:?}; there are: {}", kinds.join(", ")))
        })?;
        let reason = text("reason", reason, MAX_REASON_BYTES)?;
        if reason.trim().is_empty() {
            return Err(invalid("a lease needs a reason: an operator who wonders why the box is busy will read it"));
        }
        let duration_s = options.number("duration_s", 86_400)?;
        let queue = options.flag("queue")?.unwrap_or(true);
        let overrides = options.flag("override")?.unwrap_or(false);
        options.end()?;
        if duration_s == Some(0) {
            return Err(invalid("a lease of no duration").with("option", "duration_s"));
        }
        let dbus = DBusProxy::new(&self.connection).await.map_err(|error| internal(&error))?;
        let credentials = dbus.get_connection_credentials(BusName::Unique(owner.clone())).await;
        let credentials = credentials.map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
        let uid = credentials.unix_user_id();
        let client = Client { pid: credentials.process_id().unwrap_or(0), uid: uid.unwrap_or(u32::MAX) };
        let ours = rustix::process::geteuid().as_raw();
        let request = Request {
            kind,
            reason,
            owner: owner.to_string(),
            duration_ns: duration_s.map(|seconds| u64::from(seconds) * 1_000_000_000),
            queue,
            overrides,
            may_override: uid.is_some_and(|uid| uid == 0 || uid == ours),
        };
        let (id, state) = self.ask(|answer| Ask::Request { request, client, trace, answer }).await?;
        self.export(id).await;
        // It may have left the bus before it was in the list, and its end been overheard.
        if !dbus.name_has_owner(BusName::Unique(owner.clone())).await.unwrap_or(true) {
            let _ = self.facade.leases.asks.send(Ask::Gone(owner.to_string())).await;
        }
        Ok((lease_path(id), state == State::Granted))
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask) -> Result<T, Error> {
        put(&self.facade, ask).await
    }

    /// Whoever is given the path may use it at once.
    async fn export(&self, id: Id) {
        export(&self.connection, &self.facade, id).await;
    }
}

async fn put<T>(facade: &Facade, ask: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Ask) -> Result<T, Error> {
    let (answer, wait) = oneshot::channel();
    facade
        .leases
        .asks
        .try_send(ask(answer))
        .map_err(|_| Error::new(ErrorCode::Busy, "too many calls at once; try again in a moment"))?;
    match timeout(PATIENCE, wait).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::new(ErrorCode::Internal, "the call was dropped; see the log")),
        Err(_) => Err(Error::new(ErrorCode::Timeout, "the box does not get to it")),
    }
}

async fn export(connection: &Connection, facade: &Arc<Facade>, id: Id) {
    let Some(view) = find(facade, id) else { return };
    let object = Lease { facade: Arc::clone(facade), first: view };
    // It may be there already: that is no error.
    if let Err(error) = connection.object_server().at(lease_path(id), object).await {
        warn!(lease = id, "no object on the bus: {error}");
    }
    if find(facade, id).is_none() {
        // It ended in between, and nobody would take the object away any more.
        let _ = connection.object_server().remove::<Lease, _>(lease_path(id)).await;
    }
}

fn find(facade: &Facade, id: Id) -> Option<LeaseView> {
    facade.leases.shown.borrow().iter().find(|view| view.lease.id == id).cloned()
}

fn info(view: &LeaseView) -> LeaseInfo {
    let lease = &view.lease;
    LeaseInfo {
        id: lease.id,
        object: lease_path(lease.id),
        kind: lease.kind.name().to_owned(),
        reason: lease.reason.clone(),
        state: lease.state.name().to_owned(),
        owner: lease.owner.clone(),
        pid: view.client.pid,
        uid: view.client.uid,
        overrides: lease.overrides,
        since: view.since_wall_ns / 1000,
        deadline_usec: lease.deadline_ns / 1000,
        yield_by_usec: lease.yield_by_ns / 1000,
        waits_for: view.waits_for.clone(),
    }
}

#[interface(name = "org.holdfast.Recorder1.Leases", introspection_docs = false)]
impl Leases {
    #[zbus(out_args("lease", "granted"))]
    async fn request_lease(
        &self,
        kind: &str,
        reason: String,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(OwnedObjectPath, bool), Error> {
        let method = ("Leases", "RequestLease", Budget::Write);
        carry_out(&self.facade, method, &header, options, |call| async {
            self.request(call, kind, reason, sender(&header)?).await
        })
        .await
    }

    #[zbus(out_args("leases"))]
    async fn list_leases(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<Vec<LeaseInfo>, Error> {
        carry_out(&self.facade, ("Leases", "ListLeases", Budget::Read), &header, options, |call| async {
            call.options.end()?;
            Ok(self.facade.leases.shown.borrow().iter().map(info).collect())
        })
        .await
    }

    async fn revoke_lease(&self, lease: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        carry_out(&self.facade, ("Leases", "RevokeLease", Budget::Write), &header, options, |call| async {
            call.options.end()?;
            let id = lease_id_of(lease)
                .ok_or_else(|| Error::new(ErrorCode::UnknownLease, format!("{lease:?} is no lease")))?;
            let by = sender(&header)?.to_string();
            self.ask(|answer| Ask::Revoke { id, by, answer }).await
        })
        .await
    }

    /// All of them, oldest first.
    #[zbus(property)]
    fn leases(&self) -> Vec<OwnedObjectPath> {
        self.facade.leases.shown.borrow().iter().map(|view| lease_path(view.lease.id)).collect()
    }

    #[zbus(signal)]
    async fn lease_granted(emitter: &SignalEmitter<'_>, lease: ObjectPath<'_>, kind: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn lease_revoked(
        emitter: &SignalEmitter<'_>,
        lease: ObjectPath<'_>,
        kind: &str,
        why: &str,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn lease_ended(emitter: &SignalEmitter<'_>, lease: ObjectPath<'_>, kind: &str, why: &str)
    -> zbus::Result<()>;
}

/// A lease's object.
pub struct Lease {
    facade: Arc<Facade>,
    /// As it was when it was exported.
    first: LeaseView,
}

impl Lease {
    fn now(&self) -> LeaseView {
        find(&self.facade, self.first.lease.id).unwrap_or_else(|| self.first.clone())
    }
}

#[interface(name = "org.holdfast.Recorder1.Lease", introspection_docs = false)]
impl Lease {
    async fn release(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        carry_out(&self.facade, ("Lease", "Release", Budget::Write), &header, options, |call| async {
            call.options.end()?;
            let (id, owner) = (self.first.lease.id, sender(&header)?.to_string());
            put(&self.facade, |answer| Ask::Release { id, owner, answer }).await
        })
        .await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> &'static str {
        self.first.lease.kind.name()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn reason(&self) -> &str {
        &self.first.lease.reason
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> &str {
        &self.first.lease.owner
    }

    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.now().lease.state.name()
    }

    #[zbus(property)]
    fn deadline_usec(&self) -> u64 {
        self.now().lease.deadline_ns / 1000
    }

    #[zbus(signal)]
    async fn granted(emitter: &SignalEmitter<'_>) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn revoked(emitter: &SignalEmitter<'_>, why: &str) -> zbus::Result<()>;
}

/// Tells the bus what happens to leases. Runs until there is no more news.
pub async fn tell(connection: Connection, facade: Arc<Facade>, mut news: mpsc::Receiver<LeaseNews>) {
    while let Some(item) = news.recv().await {
        if let Err(error) = tell_one(&connection, &facade, item).await {
            debug!("a signal was not sent: {error}");
        }
    }
}

async fn tell_one(connection: &Connection, facade: &Arc<Facade>, news: LeaseNews) -> zbus::Result<()> {
    let root = SignalEmitter::new(connection, ROOT_PATH)?;
    let (LeaseNews::Granted(id, kind) | LeaseNews::Revoked(id, kind, _) | LeaseNews::Ended(id, kind, _)) = news;
    let (path, kind) = (lease_path(id), kind.name());
    export(connection, facade, id).await;
    let own = SignalEmitter::new(connection, path.clone())?;
    if let Ok(object) = connection.object_server().interface::<_, Lease>(&path).await {
        // First what can be read, then the signal that makes people read it.
        let object = object.get().await;
        object.deadline_usec_changed(&own).await?;
        object.state_changed(&own).await?;
    }
    match news {
        LeaseNews::Granted(..) => {
            Lease::granted(&own).await?;
            Leases::lease_granted(&root, path.as_ref(), kind).await
        }
        LeaseNews::Revoked(_, _, why) => {
            Lease::revoked(&own, why.name()).await?;
            Leases::lease_revoked(&root, path.as_ref(), kind, why.name()).await
        }
        LeaseNews::Ended(_, _, why) => {
            if crate::lessor::is_taken_away(why) {
                Lease::revoked(&own, why.name()).await?;
            }
            let sent = Leases::lease_ended(&root, path.as_ref(), kind, why.name()).await;
            let _ = connection.object_server().remove::<Lease, _>(&path).await;
            sent
        }
    }
}
