//! Client side. The XML beside this crate says what each member means.
#![allow(
    missing_docs,
    reason = "documented in the interface XML; the macro makes many items that can't carry documentation"
)]

use std::collections::HashMap;

use zbus::proxy;
use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::alert::{AlertInfo, Reported};
use crate::types::{
    CheckInfo, CheckOptions, FileClosedInfo, FileDeletedInfo, FileInfo, FilesOptions, GapInfo, GapSignalInfo,
    InterruptedInfo, InterruptedOptions, LastResume, ListOptions, MarkInfo, SessionInfo, SessionStartedInfo,
    SetAsideInfo, StartOptions, StopOptions, StorageInfo, Totals,
};

/// The recorder.
#[proxy(
    interface = "org.holdfast.Recorder1",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Recorder {
    fn start(&self, options: StartOptions) -> zbus::Result<(OwnedObjectPath, bool)>;
    fn stop(&self, options: StopOptions) -> zbus::Result<Totals>;
    fn mark(&self, text: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn arm(&self, inputs: &[String], options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn disarm(&self, inputs: &[String], options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn list_sessions(&self, options: ListOptions) -> zbus::Result<Vec<SessionInfo>>;
    fn protect(&self, session: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn unprotect(&self, session: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn get_storage_info(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<StorageInfo>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state_message(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn current_session(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property)]
    fn inputs(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
    #[zbus(property)]
    fn storage_level(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn safe_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn safe_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn lost_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn gap_count(&self) -> zbus::Result<u32>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn duration_usec(&self) -> zbus::Result<u64>;

    // Named unlike the change stream of the property State.
    #[zbus(signal, name = "StateChanged")]
    fn recorder_state_changed(&self, state: String, previous: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn session_started(&self, session: OwnedObjectPath, info: SessionStartedInfo) -> zbus::Result<()>;
    #[zbus(signal)]
    fn session_stopped(&self, session: OwnedObjectPath, totals: Totals) -> zbus::Result<()>;
    #[zbus(signal)]
    fn file_closed(
        &self,
        session: OwnedObjectPath,
        input: String,
        path: String,
        info: FileClosedInfo,
    ) -> zbus::Result<()>;
    #[zbus(signal)]
    fn gap_recorded(
        &self,
        session: OwnedObjectPath,
        input: String,
        cause: String,
        info: GapSignalInfo,
    ) -> zbus::Result<()>;
}

/// What an operator should know; on the recorder's object.
#[proxy(
    interface = "org.holdfast.Recorder1.Alerts",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Alerts {
    fn list_alerts(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<Vec<AlertInfo>>;
    fn report_alerts(&self, alerts: &[Reported], options: HashMap<String, OwnedValue>) -> zbus::Result<()>;

    #[zbus(property)]
    fn active(&self) -> zbus::Result<Vec<AlertInfo>>;

    #[zbus(signal)]
    fn alert_raised(&self, alert: AlertInfo) -> zbus::Result<()>;
    #[zbus(signal)]
    fn alert_cleared(&self, alert: AlertInfo) -> zbus::Result<()>;
}

/// Retention and ballast, on the main object.
#[proxy(
    interface = "org.holdfast.Recorder1.Storage",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Storage {
    #[zbus(property)]
    fn retention(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn deleted_files(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn deleted_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn ballast(&self) -> zbus::Result<String>;

    #[zbus(signal)]
    fn file_deleted(
        &self,
        session: OwnedObjectPath,
        input: String,
        path: String,
        info: FileDeletedInfo,
    ) -> zbus::Result<()>;
    #[zbus(signal)]
    fn session_deleted(&self, session: OwnedObjectPath) -> zbus::Result<()>;
}

/// How hard the box is pressed, on the main object.
#[proxy(
    interface = "org.holdfast.Recorder1.Pressure",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Pressure {
    #[zbus(property)]
    fn level(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn causes(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn shed(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property)]
    fn bitrate_percent(&self) -> zbus::Result<u32>;

    // Named unlike the change streams of the properties.
    #[zbus(signal, name = "Changed")]
    fn pressure_changed(&self, level: String, causes: Vec<String>, shed: Vec<String>) -> zbus::Result<()>;
}

/// What was interrupted, recovered and set aside.
#[proxy(
    interface = "org.holdfast.Recorder1.Recovery",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Recovery {
    fn list_interrupted(&self, options: InterruptedOptions) -> zbus::Result<Vec<InterruptedInfo>>;
    fn resume_session(&self, session: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<OwnedObjectPath>;
    fn dismiss_session(&self, session: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn list_set_aside(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<Vec<SetAsideInfo>>;
    fn discard(&self, what: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<String>;
    fn restore(&self, what: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn purge(&self, what: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;

    #[zbus(property)]
    fn waiting(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn last_resume(&self) -> zbus::Result<LastResume>;
}

/// An input.
#[proxy(
    interface = "org.holdfast.Recorder1.Input",
    default_service = "org.holdfast.Recorder1",
    assume_defaults = false
)]
pub trait Input {
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn source(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn armed(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn encoder(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn source_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn source_error(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn reachable(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn reach_error(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn session(&self) -> zbus::Result<OwnedObjectPath>;
    #[zbus(property)]
    fn safe_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn safe_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn dropped(&self) -> zbus::Result<HashMap<String, u64>>;
    #[zbus(property)]
    fn counts(&self) -> zbus::Result<HashMap<String, u64>>;
    #[zbus(property)]
    fn restarts(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn pid(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn current_file(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn preroll_ms(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn queue_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn queue_capacity_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn sync_usec(&self) -> zbus::Result<u32>;
}

/// A session.
#[proxy(
    interface = "org.holdfast.Recorder1.Session",
    default_service = "org.holdfast.Recorder1",
    assume_defaults = false
)]
pub trait Session {
    fn list_files(&self, options: FilesOptions) -> zbus::Result<Vec<FileInfo>>;
    fn check(&self, options: CheckOptions) -> zbus::Result<CheckInfo>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn id(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn label(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn token(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn inputs(&self) -> zbus::Result<Vec<String>>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn path(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn started_at(&self) -> zbus::Result<i64>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn duration_usec(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn safe_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn safe_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn lost_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn file_count(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn gap_count(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn deleted_files(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn deleted_frames(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn deleted_bytes(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn protected(&self) -> zbus::Result<bool>;
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn gaps(&self) -> zbus::Result<Vec<GapInfo>>;
    #[zbus(property(emits_changed_signal = "invalidates"))]
    fn marks(&self) -> zbus::Result<Vec<MarkInfo>>;
}
