//! `org.holdfast.Recorder1`.

use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{
    Error, ErrorCode, FileClosedInfo, GapSignalInfo, NO_OBJECT, SessionInfo, SessionStartedInfo, StorageInfo, Totals,
    input_path, session_id_of, session_path,
};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{info, warn};
use zbus::interface;
use zbus::message::Header;
use zbus::object_server::{ObjectServer, SignalEmitter};
use zbus::zvariant::{ObjectPath, OwnedObjectPath};

use super::call::{Budget, carry_out};
use super::options::{Dict, invalid, text};
use crate::facade::{Call, Facade, totals_on_bus};
use crate::storage;

/// Less than the 25 s after which D-Bus clients give up: they hear why.
const PATIENCE: Duration = Duration::from_secs(22);
const MAX_TEXT_BYTES: usize = 256;
const MAX_TOKEN_BYTES: usize = 64;
/// This interface in figures and logs.
const ROOT: &str = "Recorder";

/// The recorder's main object.
pub struct Manager {
    facade: Arc<Facade>,
}

impl Manager {
    pub fn new(facade: Arc<Facade>) -> Self {
        Self { facade }
    }

    /// Sends a call to the engine and waits for its answer.
    async fn ask<T>(
        &self,
        what: &'static str,
        call: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Call,
    ) -> Result<T, Error> {
        let (answer, wait) = oneshot::channel();
        self.facade.call(call(answer))?;
        match timeout(PATIENCE, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(ErrorCode::Internal, "the engine dropped the call; see the log")),
            Err(_) => Err(Error::new(
                ErrorCode::Timeout,
                format!("{what} is not done after {} s and goes on; the disk may have stalled", PATIENCE.as_secs()),
            )),
        }
    }

    async fn set_protected(
        &self,
        method: &'static str,
        header: &Header<'_>,
        options: Dict,
        session: &str,
        protected: bool,
    ) -> Result<(), Error> {
        carry_out(&self.facade, (ROOT, method, Budget::Write), header, options, |call| async {
            call.options.end()?;
            let session = known_session(session)?;
            self.ask(method, |answer| Call::Protect { session, protected, answer }).await
        })
        .await
    }

    async fn set_armed(
        &self,
        method: &'static str,
        header: &Header<'_>,
        options: Dict,
        inputs: Vec<String>,
        armed: bool,
    ) -> Result<(), Error> {
        carry_out(&self.facade, (ROOT, method, Budget::Write), header, options, |call| async {
            call.options.end()?;
            self.ask(method, |answer| Call::Arm { inputs, armed, answer }).await
        })
        .await
    }

    async fn storage_info(&self) -> StorageInfo {
        let storage = self.facade.config.storage.clone();
        let looking = tokio::task::spawn_blocking(move || storage::measure(&storage));
        let status = match timeout(Duration::from_secs(2), looking).await {
            Ok(Ok(status)) => status,
            // A disk that does not answer: what was seen last.
            _ => self.facade.storage.borrow().clone(),
        };
        let storage = &self.facade.config.storage;
        // The meter looks once a second; a recording that has ended since has no rate any more.
        let recording = self.facade.view.borrow().session.is_some();
        let rate = if recording { *self.facade.rate.borrow() } else { 0 };
        let used_percent = match status.total_bytes {
            0 => 0.0,
            _ => f64::from(status.used_percent),
        };
        StorageInfo {
            level: status.level.name().to_owned(),
            root: storage.root.display().to_string(),
            total_bytes: status.total_bytes,
            free_bytes: status.free_bytes,
            used_percent,
            warn_percent: u32::from(storage.warn_percent),
            block_percent: u32::from(storage.block_percent),
            warn_floor_bytes: storage.floors.warn_bytes,
            start_floor_bytes: storage.floors.start_bytes,
            stop_floor_bytes: storage.floors.stop_bytes,
            rate_bytes_per_second: rate,
            seconds_left: crate::storage::seconds_left(storage, &status, rate),
            message: status.message,
        }
    }

    /// The session whose totals the properties show.
    fn about(&self) -> holdfast_records::EndTotals {
        let about = self.facade.view.borrow().about.clone();
        about.map(|session| self.facade.live_totals(&session)).unwrap_or_default()
    }
}

fn known_session(path_or_id: &str) -> Result<String, Error> {
    session_id_of(path_or_id)
        .filter(|id| crate::ids::is_session_id(id))
        .ok_or_else(|| Error::new(ErrorCode::UnknownSession, format!("{path_or_id:?} is no session")))
}

impl Manager {
    /// Who is given a session's path may use it at once: the publisher, which goes by the news, may be a moment behind.
    async fn publish_session(&self, id: &str, server: &ObjectServer) {
        let Ok(summary) = timeout(Duration::from_secs(1), self.facade.catalog.known_soon(id)).await else {
            return;
        };
        // It may have been published meanwhile: that is no error.
        let object = super::recording::Session::new(Arc::clone(&self.facade), summary);
        if let Err(error) = server.at(session_path(id), object).await {
            warn!(session = id, "no object on the bus: {error}");
        }
    }
}

#[interface(name = "org.holdfast.Recorder1", introspection_docs = false)]
impl Manager {
    #[zbus(out_args("session", "created"))]
    async fn start(
        &self,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
        #[zbus(object_server)] server: &ObjectServer,
    ) -> Result<(OwnedObjectPath, bool), Error> {
        carry_out(&self.facade, (ROOT, "Start", Budget::Write), &header, options, |mut call| async {
            let options = &mut call.options;
            let inputs = options.strings("inputs")?.unwrap_or_default();
            let label = text("label", options.string("label")?.unwrap_or_default(), MAX_TEXT_BYTES)?;
            let token = options.string("token")?;
            let wait_ms = options.number("wait_ms", 20_000)?;
            let call = call.end()?;
            let token = match token {
                Some(token) if token.is_empty() => return Err(invalid("an empty token; leave it out for none")),
                token => text("token", token.unwrap_or_default(), MAX_TOKEN_BYTES)?,
            };
            let trace = call.trace.0;
            info!(caller = header.sender().map(|name| name.as_str()), label, "Start");
            let (id, created) = self.ask("Start", |answer| Call::Start { inputs, label, token, trace, answer }).await?;
            if let Some(wait_ms) = wait_ms {
                let mut view = self.facade.view.clone();
                let safe =
                    view.wait_for(|view| view.session.as_deref() != Some(id.as_str()) || view.state != "starting");
                // After that long the session is answered as it is; it goes on starting.
                let _ = call.waits(timeout(Duration::from_millis(u64::from(wait_ms)), safe)).await;
            }
            self.publish_session(&id, server).await;
            Ok((session_path(&id), created))
        })
        .await
    }

    #[zbus(out_args("totals"))]
    async fn stop(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<Totals, Error> {
        carry_out(&self.facade, (ROOT, "Stop", Budget::Close), &header, options, |mut call| async {
            let session = call.options.session("session")?;
            let trace = call.end()?.trace.0;
            info!(caller = header.sender().map(|name| name.as_str()), "Stop");
            let (id, totals) = self.ask("Stop", |answer| Call::Stop { session, trace, answer }).await?;
            Ok(totals_on_bus(&id, &totals, self.facade.catalog.known(&id).as_deref()))
        })
        .await
    }

    async fn mark(&self, text: String, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        carry_out(&self.facade, (ROOT, "Mark", Budget::Write), &header, options, |call| async {
            call.options.end()?;
            let text = super::options::text("text", text, MAX_TEXT_BYTES)?;
            if text.trim().is_empty() {
                return Err(invalid("the text of a mark is empty; say what the chapter is"));
            }
            self.ask("Mark", |answer| Call::Mark { text, answer }).await
        })
        .await
    }

    async fn arm(&self, inputs: Vec<String>, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.set_armed("Arm", &header, options, inputs, true).await
    }

    async fn disarm(
        &self,
        inputs: Vec<String>,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        self.set_armed("Disarm", &header, options, inputs, false).await
    }

    #[zbus(out_args("sessions"))]
    async fn list_sessions(
        &self,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<SessionInfo>, Error> {
        carry_out(&self.facade, (ROOT, "ListSessions", Budget::Read), &header, options, |call| async {
            let mut options = call.options;
            let limit = options.number("limit", 1000)?.unwrap_or(100);
            let before = options.session("before")?;
            options.end()?;
            if limit == 0 {
                return Err(invalid("the option limit is 0; 1 to 1000 are allowed"));
            }
            // A page that begins nowhere would be the first page again, for ever.
            if let Some(before) = before.as_deref().filter(|before| !crate::ids::is_session_id(before)) {
                return Err(invalid(format!("the option before is {before:?}, which is no session's id")));
            }
            let facade = Arc::clone(&self.facade);
            let listing = tokio::task::spawn_blocking(move || {
                let ids = facade.catalog.list(usize::try_from(limit).unwrap_or(usize::MAX), before.as_deref());
                let describe = |id: &String| {
                    let summary = facade.catalog.get(id)?;
                    let live = facade.live(id);
                    let live = live.as_ref().map(|(state, totals)| (*state, totals));
                    Some(summary.info(&facade.catalog.dir(id)?, live))
                };
                ids.iter().filter_map(describe).collect::<Vec<_>>()
            });
            timeout(PATIENCE, listing)
                .await
                .map_err(|_| Error::new(ErrorCode::Timeout, "the disk does not answer"))?
                .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))
        })
        .await
    }

    async fn protect(&self, session: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.set_protected("Protect", &header, options, session, true).await
    }

    async fn unprotect(&self, session: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        self.set_protected("Unprotect", &header, options, session, false).await
    }

    #[zbus(out_args("info"))]
    async fn get_storage_info(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<StorageInfo, Error> {
        carry_out(&self.facade, (ROOT, "GetStorageInfo", Budget::Read), &header, options, |call| async {
            call.options.end()?;
            Ok(self.storage_info().await)
        })
        .await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.facade.view.borrow().state
    }

    #[zbus(property)]
    fn state_message(&self) -> String {
        self.facade.view.borrow().message.clone()
    }

    #[zbus(property)]
    fn current_session(&self) -> OwnedObjectPath {
        let none = || ObjectPath::from_static_str_unchecked(NO_OBJECT).into();
        self.facade.view.borrow().session.as_deref().map_or_else(none, session_path)
    }

    #[zbus(property)]
    fn inputs(&self) -> Vec<OwnedObjectPath> {
        self.facade.inputs.iter().map(|input| input_path(&input.name)).collect()
    }

    #[zbus(property)]
    fn storage_level(&self) -> &'static str {
        self.facade.storage.borrow().level.name()
    }

    #[zbus(property)]
    fn safe_bytes(&self) -> u64 {
        self.about().safe_bytes
    }

    #[zbus(property)]
    fn safe_frames(&self) -> u64 {
        self.about().safe_frames
    }

    #[zbus(property)]
    fn lost_frames(&self) -> u64 {
        self.about().lost_frames
    }

    #[zbus(property)]
    fn gap_count(&self) -> u32 {
        let about = self.facade.view.borrow().about.clone();
        about.and_then(|id| self.facade.catalog.known(&id)).map_or(0, |summary| summary.gap_count)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn duration_usec(&self) -> u64 {
        let view = self.facade.view.borrow();
        if view.session.is_some() { view.duration_ns() / 1000 } else { 0 }
    }

    // Named unlike the change signal of the property State.
    #[zbus(signal, name = "StateChanged")]
    pub async fn recorder_state_changed(emitter: &SignalEmitter<'_>, state: &str, previous: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn session_started(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        info: SessionStartedInfo,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn session_stopped(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        totals: Totals,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn file_closed(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        input: &str,
        path: &str,
        info: FileClosedInfo,
    ) -> zbus::Result<()>;

    #[zbus(signal)]
    pub async fn gap_recorded(
        emitter: &SignalEmitter<'_>,
        session: ObjectPath<'_>,
        input: &str,
        cause: &str,
        info: GapSignalInfo,
    ) -> zbus::Result<()>;
}
