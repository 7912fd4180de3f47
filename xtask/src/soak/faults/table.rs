//! What a fault is made of: what is recorded, what is done, what must be noticed, and what it may cost.

use std::future::Future;
use std::pin::Pin;

use holdfast_dbus::AlertCode;

use super::disk::Disk;
use super::stage::{Stage, Times};
use super::wall::Wall;

/// What is recorded, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub source: Source,
    /// A disk of its own of so many bytes, which takes root and loop devices.
    pub disk: Option<u64>,
    /// Lines of `[storage]`; the lenient ones if there are none.
    pub storage: &'static [&'static str],
    /// More tables of the configuration.
    pub tables: &'static str,
    /// A wall clock that can be set, which takes libfaketime.
    pub wall: bool,
}

impl Scene {
    /// Why it can't be set on this machine, if so.
    pub fn impossible(&self) -> Option<&'static str> {
        let disk = if self.disk.is_some() { Disk::impossible() } else { None };
        disk.or_else(|| if self.wall { Wall::impossible() } else { None })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Test pictures.
    Test,
    /// Test pictures, encoded by this.
    Encoder(&'static str),
    /// A simulated camera behind a proxy.
    Camera,
}

/// What must hold.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// From the fault to the notice.
    pub detected_ms: u64,
    /// To the next safe frame: from the fault, or, where something has to be mended, from then.
    pub recovered_ms: u64,
    /// All of them with their reason on record.
    pub frames_lost: u64,
}

/// A running fault.
pub type Play<'s> = Pin<Box<dyn Future<Output = anyhow::Result<Times>> + 's>>;

/// A row.
#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    /// What Holdfast does about it, for people.
    pub action: &'static str,
    /// Any of these is the notice. None: it is noticed in another way, or there is nothing to notice.
    pub alerts: &'static [AlertCode],
    pub bound: Bound,
    pub scene: Scene,
    /// It must keep the pace of a recording that nothing happens to.
    pub compared: bool,
    /// So often for the page: what is held to a percentile.
    pub repeat: u32,
    /// Part of CI.
    pub quick: bool,
    pub play: for<'s, 'a> fn(&'s mut Stage<'a>) -> Play<'s>,
}
