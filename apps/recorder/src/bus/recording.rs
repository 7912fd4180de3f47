//! `org.holdfast.Recorder1.Session`.

use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::{CheckInfo, Error, ErrorCode, FileInfo, GapInfo, MarkInfo};
use holdfast_records::EndTotals;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use zbus::interface;
use zbus::message::Header;

use super::call::{Budget, carry_out};
use super::options::{Dict, invalid};
use crate::checking::Wanted;
use crate::facade::Facade;
use crate::store::{Summary, list_files};

/// A disk that does not answer is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(22);
/// Less than the 25 s after which D-Bus clients give up.
const WITHIN_MS: u32 = 20_000;
const MOST_WITHIN_MS: u32 = 600_000;

/// A session's object.
pub struct Session {
    facade: Arc<Facade>,
    /// As it was when it was exported: what never changes, and what is shown once memory has let go of it.
    exported: Arc<Summary>,
}

impl Session {
    /// The object of a session.
    pub fn new(facade: Arc<Facade>, exported: Arc<Summary>) -> Self {
        Self { facade, exported }
    }

    fn summary(&self) -> Arc<Summary> {
        self.facade.catalog.known(&self.exported.id).unwrap_or_else(|| Arc::clone(&self.exported))
    }

    fn totals(&self) -> EndTotals {
        self.facade.live(&self.exported.id).map_or_else(|| self.summary().totals.clone(), |(_, totals)| totals)
    }
}

/// What a look at the disk finds of the session; nothing if it is gone.
async fn on_the_disk<T>(looking: JoinHandle<Option<T>>) -> Result<T, Error> {
    timeout(PATIENCE, looking)
        .await
        .map_err(|_| Error::new(ErrorCode::Timeout, "the disk does not answer"))?
        .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?
        .ok_or_else(|| Error::new(ErrorCode::UnknownSession, "the session is no longer on the storage"))
}

#[interface(name = "org.holdfast.Recorder1.Session", introspection_docs = false)]
impl Session {
    #[zbus(out_args("files"))]
    async fn list_files(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<Vec<FileInfo>, Error> {
        carry_out(&self.facade, ("Session", "ListFiles", Budget::Read), &header, options, |call| async {
            let mut options = call.options;
            let limit = options.number("limit", 10_000)?.unwrap_or(1000);
            let offset = options.number("offset", u32::MAX)?.unwrap_or(0);
            options.end()?;
            let (facade, id) = (Arc::clone(&self.facade), self.exported.id.clone());
            let listing = tokio::task::spawn_blocking(move || {
                let [offset, limit] = [offset, limit].map(|number| usize::try_from(number).unwrap_or(usize::MAX));
                let dir = facade.catalog.dir(&id).filter(|dir| dir.is_dir())?;
                Some(list_files(facade.catalog.root(), &dir, offset, limit))
            });
            on_the_disk(listing).await
        })
        .await
    }

    #[zbus(out_args("result"))]
    async fn check(&self, options: Dict, #[zbus(header)] header: Header<'_>) -> Result<CheckInfo, Error> {
        carry_out(&self.facade, ("Session", "Check", Budget::Write), &header, options, |mut call| async {
            let last_seconds = call.options.number("last_seconds", u32::MAX)?;
            let within_ms = call.options.number("within_ms", MOST_WITHIN_MS)?.unwrap_or(WITHIN_MS);
            let numbered = call.options.flag("numbered")?.unwrap_or(false);
            let call = call.end()?;
            if last_seconds == Some(0) {
                return Err(invalid("the option last_seconds is 0; leave it out for all of the session"));
            }
            let (facade, id) = (Arc::clone(&self.facade), self.exported.id.clone());
            let looking = tokio::task::spawn_blocking(move || facade.catalog.dir(&id).filter(|dir| dir.is_dir()));
            let session = on_the_disk(looking).await?;
            let within = Duration::from_millis(within_ms.into());
            let wanted = Wanted { session, last_seconds, within, numbered };
            call.waits(self.facade.checker.check(&wanted)).await
        })
        .await
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> &str {
        &self.exported.id
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn label(&self) -> &str {
        &self.exported.label
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn token(&self) -> &str {
        &self.exported.token
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn inputs(&self) -> Vec<String> {
        self.exported.inputs.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn path(&self) -> String {
        self.facade.catalog.dir(&self.exported.id).unwrap_or_default().display().to_string()
    }

    #[zbus(property)]
    fn started_at(&self) -> i64 {
        self.summary().wall_ns / 1000
    }

    #[zbus(property)]
    fn state(&self) -> &'static str {
        self.facade.live(&self.exported.id).map_or_else(|| self.summary().end.name(), |(state, _)| state)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn duration_usec(&self) -> u64 {
        self.totals().duration_ns / 1000
    }

    #[zbus(property)]
    fn safe_bytes(&self) -> u64 {
        self.totals().safe_bytes
    }

    #[zbus(property)]
    fn safe_frames(&self) -> u64 {
        self.totals().safe_frames
    }

    #[zbus(property)]
    fn lost_frames(&self) -> u64 {
        self.totals().lost_frames
    }

    #[zbus(property)]
    fn file_count(&self) -> u64 {
        self.totals().files
    }

    #[zbus(property)]
    fn deleted_files(&self) -> u64 {
        self.summary().deleted_files()
    }

    #[zbus(property)]
    fn deleted_frames(&self) -> u64 {
        self.summary().deleted_frames()
    }

    #[zbus(property)]
    fn deleted_bytes(&self) -> u64 {
        self.summary().deleted_bytes()
    }

    #[zbus(property)]
    fn gap_count(&self) -> u32 {
        self.summary().gap_count
    }

    #[zbus(property)]
    fn protected(&self) -> bool {
        self.summary().protected
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn gaps(&self) -> Vec<GapInfo> {
        self.summary().gaps.clone()
    }

    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn marks(&self) -> Vec<MarkInfo> {
        self.summary().marks.clone()
    }
}
