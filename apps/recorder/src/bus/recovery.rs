//! `org.holdfast.Recorder1.Recovery`, on the recorder's main object.

use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{Error, ErrorCode, InterruptedInfo, LastResume, SetAsideInfo, session_id_of, session_path};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::info;
use zbus::interface;
use zbus::message::Header;
use zbus::zvariant::OwnedObjectPath;

use super::call::{Budget, carry_out};
use super::options::Dict;
use crate::facade::{Call, Facade};
use crate::ids;
use crate::store::{Noted, trash};

/// Less than the 25 s after which D-Bus clients give up: they hear why.
const PATIENCE: Duration = Duration::from_secs(22);

/// What was interrupted, recovered and set aside.
pub struct Recovery {
    facade: Arc<Facade>,
}

impl Recovery {
    pub fn new(facade: Arc<Facade>) -> Self {
        Self { facade }
    }

    async fn ask(&self, call: impl FnOnce(Noted) -> Call) -> Result<(), Error> {
        let (answer, wait) = oneshot::channel();
        self.facade.call(call(answer))?;
        match timeout(PATIENCE, wait).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Error::new(ErrorCode::Internal, "the engine dropped the call; see the log")),
            Err(_) => Err(Error::new(ErrorCode::Timeout, "it is not done yet and goes on; the disk may have stalled")),
        }
    }

    /// Works on the disk, on a thread of its own.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Facade) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let facade = Arc::clone(&self.facade);
        timeout(PATIENCE, tokio::task::spawn_blocking(move || work(&facade)))
            .await
            .map_err(|_| Error::new(ErrorCode::Timeout, "the disk does not answer"))?
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?
    }
}

fn session_id(path_or_id: &str) -> Option<String> {
    session_id_of(path_or_id).filter(|id| ids::is_session_id(id))
}

fn known(path_or_id: &str) -> Result<String, Error> {
    session_id(path_or_id).ok_or_else(|| Error::new(ErrorCode::UnknownSession, format!("{path_or_id:?} is no session")))
}

/// What speaks against moving a session out of the way.
fn may_discard(facade: &Facade, id: &str) -> Result<(), Error> {
    let summary = facade.catalog.get(id);
    let summary = summary
        .ok_or_else(|| Error::new(ErrorCode::UnknownSession, format!("there is no session {id} on this storage")))?;
    if facade.live(id).is_some() {
        return Err(Error::new(ErrorCode::Busy, format!("session {id} is being recorded; stop it first")));
    }
    if facade.recovery.borrow().waiting.as_deref() == Some(id) {
        return Err(Error::new(ErrorCode::Busy, format!("session {id} waits to be resumed; dismiss it first")));
    }
    if summary.protected {
        let text = format!("session {id} is protected; take that guard away first (holdfast unprotect)");
        return Err(Error::new(ErrorCode::Protected, text));
    }
    if summary.interruption_count == 0 {
        let text = format!("session {id} was never interrupted; this is no way to delete recordings");
        return Err(Error::new(ErrorCode::InvalidArgument, text));
    }
    Ok(())
}

/// Sessions that were interrupted, newest first.
fn interrupted(facade: &Facade, limit: usize) -> Vec<InterruptedInfo> {
    let waiting = facade.recovery.borrow().waiting.clone();
    let describe = |id: &String| {
        let summary = facade.catalog.get(id)?;
        let last = summary.interruptions.last()?;
        let state = match facade.live(id) {
            Some((state, _)) => state,
            None if waiting.as_ref() == Some(id) => "waiting",
            None => summary.end.name(),
        };
        Some(InterruptedInfo {
            id: id.clone(),
            label: summary.label.clone(),
            inputs: summary.inputs.clone(),
            state: state.to_owned(),
            reason: last.reason.clone(),
            evidence: last.evidence.clone(),
            rebooted: last.rebooted,
            safe_until: last.safe_until_wall_ns / 1000,
            found_at: last.found_wall_ns / 1000,
            since_usec: last.since_ns.map(|since| since / 1000),
            times: summary.interruption_count,
            protected: summary.protected,
        })
    };
    facade.catalog.list(usize::MAX, None).iter().filter_map(describe).take(limit).collect()
}

fn discard(facade: &Facade, what: &str) -> Result<String, Error> {
    let moved = match session_id(what) {
        Some(id) => {
            may_discard(facade, &id)?;
            trash::discard_session(&facade.catalog, &id)?
        }
        None => trash::discard_set_aside(&facade.catalog, &facade.config.recorder.state_dir, what)?,
    };
    Ok(moved.display().to_string())
}

#[interface(name = "org.holdfast.Recorder1.Recovery", introspection_docs = false)]
impl Recovery {
    #[zbus(out_args("sessions"))]
    async fn list_interrupted(
        &self,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<InterruptedInfo>, Error> {
        let what = ("Recovery", "ListInterrupted", Budget::Read);
        carry_out(&self.facade, what, &header, options, async |mut call| {
            let limit = call.options.number("limit", 1000)?.unwrap_or(100);
            call.end()?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            self.on_disk(move |facade| Ok(interrupted(facade, limit))).await
        })
        .await
    }

    #[zbus(out_args("object"))]
    async fn resume_session(
        &self,
        session: &str,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<OwnedObjectPath, Error> {
        let what = ("Recovery", "ResumeSession", Budget::Close);
        carry_out(&self.facade, what, &header, options, async |call| {
            call.end()?;
            let id = known(session)?;
            self.ask(|answer| Call::Resume { session: id.clone(), answer }).await?;
            Ok(session_path(&id))
        })
        .await
    }

    async fn dismiss_session(
        &self,
        session: &str,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<(), Error> {
        let what = ("Recovery", "DismissSession", Budget::Close);
        carry_out(&self.facade, what, &header, options, async |call| {
            call.end()?;
            let session = known(session)?;
            self.ask(|answer| Call::Dismiss { session, answer }).await
        })
        .await
    }

    #[zbus(out_args("things"))]
    async fn list_set_aside(
        &self,
        options: Dict,
        #[zbus(header)] header: Header<'_>,
    ) -> Result<Vec<SetAsideInfo>, Error> {
        let what = ("Recovery", "ListSetAside", Budget::Read);
        carry_out(&self.facade, what, &header, options, async |call| {
            call.end()?;
            self.on_disk(|facade| Ok(trash::list(&facade.catalog, &facade.config.recorder.state_dir))).await
        })
        .await
    }

    #[zbus(out_args("moved"))]
    async fn discard(&self, what: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<String, Error> {
        let named = ("Recovery", "Discard", Budget::Write);
        carry_out(&self.facade, named, &header, options, async |call| {
            call.end()?;
            info!(what, "to be discarded");
            let what = what.to_owned();
            self.on_disk(move |facade| discard(facade, &what)).await
        })
        .await
    }

    async fn restore(&self, what: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        carry_out(&self.facade, ("Recovery", "Restore", Budget::Write), &header, options, async |call| {
            call.end()?;
            let id = known(what)?;
            info!(session = id, "to be restored");
            self.on_disk(move |facade| trash::restore(&facade.catalog, &id)).await
        })
        .await
    }

    async fn purge(&self, what: &str, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        carry_out(&self.facade, ("Recovery", "Purge", Budget::Close), &header, options, async |call| {
            call.end()?;
            info!(what, "to be deleted for good");
            let what = what.to_owned();
            self.on_disk(move |facade| trash::purge(&facade.catalog, &facade.config.recorder.state_dir, &what)).await
        })
        .await
    }

    #[zbus(property)]
    fn waiting(&self) -> String {
        self.facade.recovery.borrow().waiting.clone().unwrap_or_default()
    }

    #[zbus(property)]
    fn last_resume(&self) -> LastResume {
        let view = self.facade.recovery.borrow();
        view.last.as_ref().map_or_else(LastResume::default, |last| LastResume {
            id: Some(last.session.clone()),
            reason: Some(last.interruption.reason.clone()),
            rebooted: Some(last.interruption.rebooted),
            boot_to_safe_usec: Some(last.boot_to_safe_ns / 1000),
            recorder_to_safe_usec: Some(last.recorder_to_safe_ns / 1000),
            at: Some(last.wall_ns / 1000),
        })
    }
}
