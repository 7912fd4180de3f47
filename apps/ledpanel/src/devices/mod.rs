//! What a panel is wired to. One seam: a [`Device`] is opened and runs until it fails, and whoever runs it tries again.

pub mod display;
pub mod evdev;
pub mod gpio;
pub mod leds;
pub mod mcu;
pub mod modbus;
pub mod raspberry;
pub mod supervise;
pub mod terminal;
pub mod wired;

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::model::{Edge, Frame};

/// Why a device does not work (any more). It says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}. {remedy}")]
pub struct DeviceError {
    /// What failed, with the name of the chip, line, port or address.
    pub what: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl DeviceError {
    /// With words for people.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}

/// What a running device is connected to.
#[derive(Debug, Clone)]
pub struct Io {
    /// The newest frame. Show it at once, and each one that follows.
    pub frames: watch::Receiver<Frame>,
    /// Where edges go. Full (64): wait; nobody can press so fast, and an edge that is left out would be a button that never comes up.
    pub edges: mpsc::Sender<Edge>,
    /// Told `true` once the device works: opened, and whatever it is wired to has answered.
    pub works: watch::Sender<bool>,
}

/// Something with buttons, lights or both.
pub trait Device: Send + Sync {
    /// Opens it and works until it fails. Dropped at any point: lets go of what it holds.
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>>;

    /// Leaves the lights as they should be when nobody drives them any more: showing a fault, never a frozen recording. Called in a
    /// process of its own after the panel's death; blocks shortly.
    ///
    /// # Errors
    /// It can't be reached.
    fn leave_in_fault(&self) -> Result<(), DeviceError>;
}
