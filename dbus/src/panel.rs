//! The panel: names, what it tells, and its client side. `org.holdfast.Panel1.xml` says what each member means.
#![allow(
    missing_docs,
    reason = "documented in the interface XML; the macro makes many items that can't carry documentation"
)]

use std::collections::HashMap;

use zbus::proxy;
use zbus::zvariant::{DeserializeDict, OwnedValue, SerializeDict, Type, Value};

/// The panel's well-known name.
pub const PANEL_BUS_NAME: &str = "org.holdfast.Panel1";
/// Its object.
pub const PANEL_PATH: &str = "/org/holdfast/Panel1";
/// The contract: the interface XML that the service is held against.
pub const PANEL_INTERFACE_XML: &str = include_str!("../org.holdfast.Panel1.xml");

/// What a light tells.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct LightInfo {
    pub name: String,
    pub condition: String,
    pub colour: String,
    pub meaning: String,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct ButtonInfo {
    pub name: String,
    pub pressed: bool,
    pub stuck: bool,
    pub chatters: bool,
    pub presses: u64,
}

/// Something that the panel is wired to.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct DeviceInfo {
    pub name: String,
    pub kind: String,
    pub works: bool,
    pub error: String,
}

/// The panel.
#[proxy(
    interface = "org.holdfast.Panel1",
    default_service = "org.holdfast.Panel1",
    default_path = "/org/holdfast/Panel1"
)]
pub trait Panel {
    fn identify(&self, seconds: u32, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn lamp_test(&self, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn set_brightness(&self, percent: u32, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;
    fn press_button(&self, button: &str, options: HashMap<String, OwnedValue>) -> zbus::Result<()>;

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn lights(&self) -> zbus::Result<Vec<LightInfo>>;
    #[zbus(property)]
    fn buttons(&self) -> zbus::Result<Vec<ButtonInfo>>;
    #[zbus(property)]
    fn devices(&self) -> zbus::Result<Vec<DeviceInfo>>;
    #[zbus(property)]
    fn brightness(&self) -> zbus::Result<u32>;
    #[zbus(property)]
    fn recorder_present(&self) -> zbus::Result<bool>;

    #[zbus(signal)]
    fn button_pressed(&self, button: String, gesture: String) -> zbus::Result<()>;
}
