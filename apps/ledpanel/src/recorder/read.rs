//! Reads a [`Snapshot`] from the recorder's properties.

use std::collections::HashMap;

use holdfast_dbus::updater::UpdaterProxy;
use holdfast_dbus::{AlertsProxy, InputProxy, NO_OBJECT, RecorderProxy, input_name_of};
use zbus::Connection;
use zbus::proxy::CacheProperties;

use crate::clock;
use crate::snapshot::{AlertRank, InputSnapshot, Snapshot, State, StorageLevel, Update};

/// Proxies of the recorder that is there now. One call asks whether it still answers, two of each input that records how much is
/// safe; all else is kept up to date by signals.
#[derive(Debug)]
pub struct View {
    connection: Connection,
    /// `None` until it has been reached.
    proxies: Option<Proxies>,
}

/// The updater, which a box may have or not.
#[derive(Debug)]
pub struct Updates {
    updater: UpdaterProxy<'static>,
    /// Looking must not start it.
    pub is_there: bool,
}

impl Updates {
    /// What is told over this connection.
    ///
    /// # Errors
    /// The bus does not take the subscription.
    pub async fn new(connection: &Connection) -> zbus::Result<Self> {
        let updater = UpdaterProxy::builder(connection).cache_properties(CacheProperties::Lazily).build().await?;
        Ok(Self { updater, is_there: false })
    }

    /// What a panel shows of it. One that does not answer is shown as none: its update is not what the lights are for.
    pub async fn now(&self) -> Update {
        if !self.is_there {
            return Update::None;
        }
        match self.updater.state().await.as_deref() {
            // Somebody is there who waits for an answer. What servers offer may stand for days, and would hide what is worse.
            Ok("available") if self.updater.source().await.is_ok_and(|source| source == "usb") => Update::Available,
            Ok("downloading") if self.updater.source().await.is_ok_and(|source| source == "usb") => Update::Copying,
            Ok("installing" | "activating" | "awaiting-reboot") => Update::Installing,
            Ok("trial" | "reverting") => Update::Trial,
            _ => Update::None,
        }
    }
}

#[derive(Debug)]
struct Proxies {
    recorder: RecorderProxy<'static>,
    alerts: AlertsProxy<'static>,
    inputs: Vec<(String, InputProxy<'static>)>,
}

impl View {
    /// Reads over this connection.
    pub fn new(connection: Connection) -> Self {
        Self { connection, proxies: None }
    }

    /// The next one may be another recorder.
    pub fn forget(&mut self) {
        self.proxies = None;
    }

    /// The recorder now.
    ///
    /// # Errors
    /// It is not there, or does not answer.
    pub async fn read(&mut self) -> zbus::Result<Snapshot> {
        if self.proxies.is_none() {
            self.proxies = Some(Proxies::meet(&self.connection).await?);
        }
        match &self.proxies {
            Some(proxies) => proxies.read().await,
            None => Err(zbus::Error::InterfaceNotFound),
        }
    }
}

impl Proxies {
    async fn meet(connection: &Connection) -> zbus::Result<Self> {
        let recorder = RecorderProxy::builder(connection).cache_properties(CacheProperties::Yes).build().await?;
        let alerts = AlertsProxy::builder(connection).cache_properties(CacheProperties::Yes).build().await?;
        let mut inputs = Vec::new();
        for path in recorder.inputs().await? {
            let name = input_name_of(path.as_str()).unwrap_or_default();
            // Their changes are told once a second at most: too seldom for a light that believes for two seconds.
            let proxy = InputProxy::builder(connection).path(path)?.uncached_properties(&["SafeFrames", "SafeBytes"]);
            inputs.push((name, proxy.build().await?));
        }
        Ok(Self { recorder, alerts, inputs })
    }

    async fn read(&self) -> zbus::Result<Snapshot> {
        // Computed when read, so never from the cache: this is what shows that the recorder still answers.
        let duration_usec = self.recorder.duration_usec().await?;
        let session = self.recorder.current_session().await?;
        let session = (session.as_str() != NO_OBJECT).then(|| session.to_string());
        let mut inputs = Vec::new();
        for (name, input) in &self.inputs {
            let state = input.state().await?;
            let in_session = session.is_some() && Some(input.session().await?.to_string()) == session;
            // Asked of the recorder, so only where it matters.
            let (safe_frames, safe_bytes) =
                if in_session { (input.safe_frames().await?, input.safe_bytes().await?) } else { (0, 0) };
            inputs.push(InputSnapshot {
                name: name.clone(),
                in_session,
                ready: matches!(state.as_str(), "armed" | "recording"),
                failed: state == "failed" || input.source_state().await? == "waiting",
                safe_frames,
                safe_bytes,
            });
        }
        let alerts = self.alerts.active().await?;
        let rank = |level: &str| match level {
            "critical" => AlertRank::Critical,
            "warning" => AlertRank::Warning,
            _ => AlertRank::None,
        };
        let storage = storage_level(&self.recorder.storage_level().await?);
        let seconds_left = match storage {
            StorageLevel::Ok => None,
            // Measured when asked, so only where it is shown.
            _ => self.recorder.get_storage_info(HashMap::new()).await?.seconds_left,
        };
        Ok(Snapshot {
            at_ns: clock::mono_ns(),
            state: state_of(&self.recorder.state().await?),
            session,
            inputs,
            storage,
            seconds_left,
            duration_usec,
            alert: alerts.iter().map(|alert| rank(&alert.level)).max().unwrap_or_default(),
            update: Update::None,
        })
    }
}

fn state_of(state: &str) -> State {
    match state {
        "idle" => State::Idle,
        "starting" => State::Starting,
        "recording" => State::Recording,
        "stopping" => State::Stopping,
        // What a newer recorder may say: nothing that a light could promise.
        _ => State::Error,
    }
}

fn storage_level(level: &str) -> StorageLevel {
    match level {
        "ok" => StorageLevel::Ok,
        "warn" => StorageLevel::Warn,
        "low" => StorageLevel::Low,
        "critical" => StorageLevel::Critical,
        _ => StorageLevel::Unavailable,
    }
}
