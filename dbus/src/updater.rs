//! The updater: names, what it tells, and its client side. `org.holdfast.Updater1.xml` says what each member means.
#![allow(
    missing_docs,
    reason = "documented in the interface XML; the macro makes many items that can't carry documentation"
)]

use std::collections::HashMap;

use zbus::proxy;
use zbus::zvariant::{DeserializeDict, Fd, OwnedValue, SerializeDict, Type, Value};

/// The updater's well-known name.
pub const UPDATER_BUS_NAME: &str = "org.holdfast.Updater1";
/// Its object.
pub const UPDATER_PATH: &str = "/org/holdfast/Updater1";
/// The contract: the interface XML that the service is held against.
pub const UPDATER_INTERFACE_XML: &str = include_str!("../org.holdfast.Updater1.xml");

/// Options of `Install`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct InstallOptions {
    /// download, install or reboot.
    pub until: Option<String>,
    /// Also what did not prove itself before.
    pub force: Option<bool>,
}

/// Options of `OfferStick`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct StickOptions {
    /// The bundle's file name.
    pub name: Option<String>,
    /// Text of the channel file beside it.
    pub channel: Option<String>,
}

/// How an update has ended.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct OutcomeInfo {
    pub number: u64,
    pub version: String,
    pub result: String,
    pub code: String,
    pub text: String,
    pub at: i64,
}

/// What keeps a box from being updated.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct ObstacleInfo {
    pub code: String,
    pub text: String,
}

/// The updater.
#[proxy(
    interface = "org.holdfast.Updater1",
    default_service = "org.holdfast.Updater1",
    default_path = "/org/holdfast/Updater1"
)]
pub trait Updater {
    fn check(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn install(&self, location: &str, options: InstallOptions) -> zbus::Result<()>;
    fn approve(&self, until: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn cancel(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn rollback(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn offer_stick(&self, bundle: Fd<'_>, link: Fd<'_>, options: StickOptions) -> zbus::Result<()>;
    fn refuse_stick(&self, why: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn list_outcomes(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<Vec<OutcomeInfo>>;
    fn list_obstacles(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<Vec<ObstacleInfo>>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn waits_for(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn offered(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn percent(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn message(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn frozen(&self) -> zbus::Result<bool>;
    #[zbus(property)]
    fn throttled(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn booted_slot(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn source(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn turn(&self) -> zbus::Result<i64>;
    #[zbus(property(emits_changed_signal = "const"))]
    fn window(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn notice(&self) -> zbus::Result<String>;

    /// Not by its own name: the property `State` has a method of that name already.
    #[zbus(signal, name = "StateChanged")]
    fn updater_state_changed(&self, old: String, new: String) -> zbus::Result<()>;
    #[zbus(signal)]
    fn ended(&self, outcome: OutcomeInfo) -> zbus::Result<()>;
}
