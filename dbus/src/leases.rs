//! Leases, from the client's side: asking, waiting, yielding.
#![allow(
    missing_docs,
    reason = "documented in the interface XML; the macro makes many items that can't carry documentation"
)]

use std::collections::HashMap;

use zbus::proxy;
use zbus::zvariant::{DeserializeDict, OwnedObjectPath, OwnedValue, SerializeDict, Type};

/// Options of `RequestLease`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct LeaseOptions {
    /// For how long at most; the kind's default when missing.
    pub duration_s: Option<u32>,
    /// Wait if need be (when missing: yes). Otherwise the request is refused.
    pub queue: Option<bool>,
    /// Whatever is being recorded. For root.
    #[zvariant(rename = "override")]
    pub overrides: Option<bool>,
    /// Follows the call through all logs.
    pub trace: Option<String>,
}

/// One row of `ListLeases`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct LeaseInfo {
    /// Its number.
    pub id: u64,
    /// Its object.
    pub object: OwnedObjectPath,
    /// heavy-cpu, heavy-io, download, install, install-beside or reboot.
    pub kind: String,
    /// For people.
    pub reason: String,
    /// queued, granted, revoked or overdue.
    pub state: String,
    /// Unique bus name of the owner.
    pub owner: String,
    /// Its process; 0 if the bus does not know.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// It yields to no recording.
    #[zvariant(rename = "override")]
    pub overrides: bool,
    /// When it was asked for, microseconds of Unix time.
    pub since: i64,
    /// Until when it is granted, microseconds of the monotonic clock; 0 while it waits.
    pub deadline_usec: u64,
    /// Once revoked: until when it should have ended, likewise; else 0.
    pub yield_by_usec: u64,
    /// Why it waits, for people; empty if it does not.
    pub waits_for: String,
}

/// All leases.
#[proxy(
    interface = "org.holdfast.Recorder1.Leases",
    default_service = "org.holdfast.Recorder1",
    default_path = "/org/holdfast/Recorder1"
)]
pub trait Leases {
    fn request_lease(&self, kind: &str, reason: &str, options: LeaseOptions) -> zbus::Result<(OwnedObjectPath, bool)>;
    fn list_leases(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<Vec<LeaseInfo>>;
    fn revoke_lease(&self, lease: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;

    #[zbus(property)]
    fn leases(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    #[zbus(signal)]
    fn lease_granted(&self, lease: OwnedObjectPath, kind: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn lease_revoked(&self, lease: OwnedObjectPath, kind: String, why: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn lease_ended(&self, lease: OwnedObjectPath, kind: String, why: String) -> zbus::Result<()>;
}

/// A lease.
#[proxy(
    interface = "org.holdfast.Recorder1.Lease",
    default_service = "org.holdfast.Recorder1",
    assume_defaults = false
)]
pub trait Lease {
    fn release(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn kind(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn reason(&self) -> zbus::Result<String>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn owner(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn deadline_usec(&self) -> zbus::Result<u64>;

    #[zbus(signal)]
    fn granted(&self) -> zbus::Result<()>;
    #[zbus(signal)]
    fn revoked(&self, why: String) -> zbus::Result<()>;
}
