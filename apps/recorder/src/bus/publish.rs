//! Tells the bus what has changed: at most four signals a second per object, counters at most once a second.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{ROOT_PATH, SessionStartedInfo, input_path, session_path};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};
use zbus::Connection;
use zbus::names::InterfaceName;
use zbus::object_server::{Interface, SignalEmitter};
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

use super::{alerts, input, leases, load, manager, recording, recovery, storage};
use crate::alerts::Alert;
use crate::facade::{Facade, News, totals_on_bus};

/// The newest sessions are objects. Those in use always are.
const EXPORTED_SESSIONS: usize = 100;
const TICK: Duration = Duration::from_millis(250);
/// Counters are told every so many ticks.
const SLOW_TICKS: u32 = 4;

/// Change with every chunk.
const COUNTERS: &[&str] = &[
    "SafeBytes",
    "SafeFrames",
    "LostFrames",
    "Counts",
    "Dropped",
    "QueueBytes",
    "SyncUsec",
    "PrerollMs",
    "DeletedFiles",
    "DeletedBytes",
];
/// Told without their value.
const INVALIDATED: &[&str] = &["Gaps", "Marks"];
/// Never told: they change all the time.
const UNTOLD: &[&str] = &["DurationUsec"];

type Properties = HashMap<String, OwnedValue>;

/// Sends signals.
pub struct Publisher {
    connection: Connection,
    facade: Arc<Facade>,
    /// By path and interface.
    told: HashMap<(OwnedObjectPath, &'static str), Properties>,
    sessions: BTreeMap<String, ()>,
    state: &'static str,
}

impl Publisher {
    /// Nothing is sent before [`Publisher::run`].
    pub fn new(connection: Connection, facade: Arc<Facade>) -> Self {
        let state = facade.view.borrow().state;
        Self { connection, facade, told: HashMap::new(), sessions: BTreeMap::new(), state }
    }

    /// Makes the newest sessions objects.
    pub async fn export_sessions(&mut self) {
        let facade = Arc::clone(&self.facade);
        let newest = tokio::task::spawn_blocking(move || {
            let ids = facade.catalog.list(EXPORTED_SESSIONS, None);
            ids.into_iter().filter(|id| facade.catalog.get(id).is_some()).collect::<Vec<_>>()
        });
        for id in newest.await.unwrap_or_default() {
            self.export(&id).await;
        }
    }

    async fn export(&mut self, id: &str) {
        if self.sessions.contains_key(id) {
            return;
        }
        let Some(summary) = self.facade.catalog.known(id) else {
            return;
        };
        let object = recording::Session::new(Arc::clone(&self.facade), summary);
        if let Err(error) = self.connection.object_server().at(session_path(id), object).await {
            warn!(session = id, "no object on the bus: {error}");
        }
        self.sessions.insert(id.to_owned(), ());
        while self.sessions.len() > EXPORTED_SESSIONS {
            // Ids sort by time. The current one is the newest.
            let Some((oldest, ())) = self.sessions.pop_first() else {
                break;
            };
            let path = session_path(&oldest);
            self.told.retain(|(told, _), _| *told != path);
            let _ = self.connection.object_server().remove::<recording::Session, _>(&path).await;
        }
    }

    /// Runs until the engine is gone.
    pub async fn run(mut self, mut news: mpsc::Receiver<News>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut view = self.facade.view.clone();
        let mut pressure = self.facade.pressure.clone();
        let mut lent = self.facade.leases.shown.clone();
        // Alerts of before the recorder was on the bus are in the property.
        let mut alerts = self.facade.alerts.news();
        for tick in 0_u32.. {
            tokio::select! {
                _ = ticks.tick() => self.publish(tick % SLOW_TICKS == 0).await,
                changed = view.changed() => match changed {
                    Ok(()) => self.state_changed().await,
                    Err(_) => return,
                },
                Ok(()) = pressure.changed() => self.pressure_changed().await,
                Ok(()) = lent.changed() => self.publish_one::<leases::Leases>(&root_path(), false).await,
                alert = alerts.recv() => match alert {
                    Ok(alert) => self.alert(&alert).await,
                    // The oldest of too many at once went untold; the property has those that hold.
                    Err(error) => debug!("alerts: {error}"),
                },
                item = news.recv() => match item {
                    Some(item) => self.tell(item).await,
                    None => return,
                },
            }
        }
    }

    fn root(&self) -> SignalEmitter<'static> {
        SignalEmitter::from_parts(self.connection.clone(), ObjectPath::from_static_str_unchecked(ROOT_PATH))
    }

    async fn state_changed(&mut self) {
        let state = self.facade.view.borrow().state;
        if state == self.state {
            return;
        }
        let previous = std::mem::replace(&mut self.state, state);
        // First what can be read, then the signal that makes people read it.
        self.publish_one::<manager::Manager>(&root_path(), false).await;
        self.sent(manager::Manager::recorder_state_changed(&self.root(), state, previous).await);
    }

    async fn alert(&mut self, alert: &Alert) {
        // First what can be read, then the signal that makes people read it.
        self.publish_one::<alerts::Alerts>(&root_path(), false).await;
        let (root, info) = (self.root(), alert.info());
        self.sent(if alert.is_active() {
            alerts::Alerts::alert_raised(&root, info).await
        } else {
            alerts::Alerts::alert_cleared(&root, info).await
        });
    }

    async fn pressure_changed(&mut self) {
        let state = self.facade.pressure.borrow().clone();
        self.publish_one::<load::Pressure>(&root_path(), false).await;
        let (causes, shed) = (crate::gauge::names(&state.causes), load::shed(&state));
        self.sent(load::Pressure::changed(&self.root(), state.level.name(), causes, shed).await);
    }

    async fn tell(&mut self, news: News) {
        let root = self.root();
        self.facade.observed.news(&news);
        let sent = match news {
            News::Found => return self.export_sessions().await,
            News::Started { session, label, inputs, resumed } => {
                self.export(&session).await;
                let info = SessionStartedInfo { id: session.clone(), label, inputs, resumed };
                manager::Manager::session_started(&root, session_path(&session).into(), info).await
            }
            News::Stopped { session, totals } => {
                let totals = totals_on_bus(&session, &totals, self.facade.catalog.known(&session).as_deref());
                manager::Manager::session_stopped(&root, session_path(&session).into(), totals).await
            }
            News::FileClosed { session, input, path, info } => {
                manager::Manager::file_closed(&root, session_path(&session).into(), &input, &path, info).await
            }
            News::FileDeleted { session, input, path, info } => {
                storage::Storage::file_deleted(&root, session_path(&session).into(), &input, &path, info).await
            }
            News::SessionDeleted { session } => {
                let path = session_path(&session);
                self.sessions.remove(&session);
                self.told.retain(|(told, _), _| *told != path);
                let _ = self.connection.object_server().remove::<recording::Session, _>(&path).await;
                storage::Storage::session_deleted(&root, path.into()).await
            }
            News::Gap { session, input, cause, info } => {
                manager::Manager::gap_recorded(&root, session_path(&session).into(), &input, cause, info).await
            }
        };
        self.sent(sent);
    }

    fn sent(&self, sent: zbus::Result<()>) {
        if let Err(error) = sent {
            debug!("a signal was not sent: {error}");
        }
    }

    async fn publish(&mut self, counters: bool) {
        self.publish_one::<manager::Manager>(&root_path(), counters).await;
        self.publish_one::<alerts::Alerts>(&root_path(), counters).await;
        self.publish_one::<storage::Storage>(&root_path(), counters).await;
        self.publish_one::<load::Pressure>(&root_path(), counters).await;
        self.publish_one::<recovery::Recovery>(&root_path(), counters).await;
        let facade = Arc::clone(&self.facade);
        for input in &facade.inputs {
            self.publish_one::<input::Input>(&input_path(&input.name), counters).await;
        }
        for id in self.facade.catalog.take_changed() {
            if self.sessions.contains_key(&id) {
                self.publish_one::<recording::Session>(&session_path(&id), true).await;
            }
        }
        let current = self.facade.view.borrow().session.clone();
        if let Some(id) = current {
            self.export(&id).await;
            self.publish_one::<recording::Session>(&session_path(&id), counters).await;
        }
    }

    /// Tells what has changed of one object.
    async fn publish_one<I: Interface>(&mut self, path: &OwnedObjectPath, counters: bool) {
        let Ok(object) = self.connection.object_server().interface::<_, I>(path).await else {
            return;
        };
        let emitter = object.signal_emitter();
        let properties =
            object.get().await.get_all(self.connection.object_server(), &self.connection, None, emitter).await;
        let Ok(mut now) = properties else { return };
        now.retain(|name, _| !UNTOLD.contains(&name.as_str()));
        let key = (path.clone(), std::any::type_name::<I>());
        let Some(told) = self.told.get_mut(&key) else {
            // Nobody can have seen anything older.
            self.told.insert(key, now);
            return;
        };
        let mut changed: HashMap<String, OwnedValue> = HashMap::new();
        let mut invalidated = Vec::new();
        for (name, value) in now {
            if told.get(&name) == Some(&value) || (!counters && COUNTERS.contains(&name.as_str())) {
                continue;
            }
            if let Ok(copy) = value.try_clone() {
                told.insert(name.clone(), copy);
            }
            if INVALIDATED.contains(&name.as_str()) {
                invalidated.push(name);
            } else {
                changed.insert(name, value);
            }
        }
        if changed.is_empty() && invalidated.is_empty() {
            return;
        }
        let changed: HashMap<&str, Value<'_>> =
            changed.iter().map(|(name, value)| (name.as_str(), (**value).clone())).collect();
        let invalidated: Vec<&str> = invalidated.iter().map(String::as_str).collect();
        let interface: InterfaceName<'_> = I::name();
        let sent =
            zbus::fdo::Properties::properties_changed(emitter, interface, changed, Cow::from(&invalidated)).await;
        self.sent(sent);
    }
}

fn root_path() -> OwnedObjectPath {
    ObjectPath::from_static_str_unchecked(ROOT_PATH).into()
}
