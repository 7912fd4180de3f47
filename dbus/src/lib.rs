//! The D-Bus contract of Holdfast: names, errors with their numbers, typed options and results, client proxies; and how a service
//! reads the [`options`] of its methods.
//!
//! `org.holdfast.Recorder1.xml` beside this crate is the contract itself and says what everything means; these types follow it.

mod alert;
mod error;
mod leases;
mod names;
pub mod options;
pub mod panel;
mod proxies;
mod types;
pub mod updater;

pub use alert::{AlertCode, AlertInfo, AlertLevel, Reported};
pub use error::{Detail, Error, ErrorCode};
pub use leases::{
    GrantedStream, LeaseEndedStream, LeaseGrantedStream, LeaseInfo, LeaseOptions, LeaseProxy, LeaseRevokedStream,
    LeasesProxy, Revoked, RevokedStream,
};
pub use names::{
    BUS_NAME, NO_OBJECT, ROOT_PATH, input_name_of, input_path, lease_id_of, lease_path, session_id_of, session_path,
};
pub use proxies::{
    AlertCleared, AlertClearedArgs, AlertClearedStream, AlertRaised, AlertRaisedArgs, AlertRaisedStream, FileClosed,
    FileClosedArgs, FileClosedStream, GapRecorded, GapRecordedArgs, GapRecordedStream, SessionStarted,
    SessionStartedArgs, SessionStartedStream, SessionStopped, SessionStoppedArgs, SessionStoppedStream, StateChanged,
    StateChangedArgs, StateChangedStream,
};
pub use proxies::{AlertsProxy, InputProxy, PressureProxy, RecorderProxy, RecoveryProxy, SessionProxy, StorageProxy};
pub use types::{
    CheckInfo, CheckOptions, CheckedFile, FileClosedInfo, FileDeletedInfo, FileInfo, FilesOptions, GapInfo,
    GapSignalInfo, InterruptedInfo, InterruptedOptions, LastResume, ListOptions, MarkInfo, SessionInfo,
    SessionStartedInfo, SetAsideInfo, StartOptions, StopOptions, StorageInfo, Totals,
};

/// The contract: the interface XML that the service is held against.
pub const INTERFACE_XML: &str = include_str!("../org.holdfast.Recorder1.xml");
