//! Space that is held back, so that a full disk still lets files be closed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use holdfast_config::Storage;
use holdfast_segment::{Pool, durable};
use rustix::fs::FallocateFlags;
use tracing::{info, warn};

use crate::storage::{Status, ballast_file, pool_dir};

const MIB: u64 = 1024 * 1024;
/// With less than this nothing can be relied on any more.
const LAST_BYTES: u64 = 4 * MIB;

/// What became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// None is wanted.
    Off,
    /// It is there.
    Kept,
    /// The disk was full; it comes back when there is room.
    GivenUp,
    /// This filesystem can't hold space back.
    Impossible,
}

impl State {
    /// As on D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Off => "off",
            Self::Kept => "kept",
            Self::GivenUp => "given-up",
            Self::Impossible => "impossible",
        }
    }
}

/// The ballast of a storage.
#[derive(Debug)]
pub struct Ballast {
    path: PathBuf,
    pool: PathBuf,
    bytes: u64,
    stop_bytes: u64,
}

impl Ballast {
    /// As configured.
    pub fn of(storage: &Storage) -> Self {
        Self {
            path: ballast_file(&storage.root),
            pool: pool_dir(&storage.root),
            bytes: storage.ballast_bytes,
            stop_bytes: storage.floors.stop_bytes,
        }
    }

    /// Below this much the disk counts as full.
    fn low_bytes(&self) -> u64 {
        (self.bytes / 4).max(LAST_BYTES)
    }

    /// From here on the ballast can be made (again): what is left then is well above where recordings are closed.
    fn make_at_bytes(&self) -> u64 {
        self.stop_bytes.saturating_add(self.bytes.saturating_mul(3))
    }

    /// Gives up what waits in the pool, and then the ballast, when the disk is full; makes the ballast when there is room. True if
    /// anything changed. Blocks on the disk.
    pub fn see_to(&self, status: &Status, full: bool) -> (State, bool) {
        let really_free = status.free_bytes.saturating_sub(status.pool_bytes);
        // Blocks that wait are no help to files that grow.
        let pool_to_go = full || really_free < self.low_bytes().max(self.stop_bytes / 4);
        let emptied = pool_to_go && status.pool_bytes > 0 && self.empty_pool();
        let held = fs::metadata(&self.path).ok().map(|metadata| metadata.len());
        let (state, changed) = match held {
            None if self.bytes == 0 => (State::Off, false),
            Some(_) if self.bytes == 0 => (State::Off, self.give_up("none is wanted any more")),
            Some(held) if held != self.bytes => (State::GivenUp, self.give_up("another size is wanted")),
            Some(_) if !emptied && (full || really_free < self.low_bytes()) => {
                (State::GivenUp, self.give_up("the disk is full"))
            }
            Some(_) => (State::Kept, false),
            None if !full && really_free >= self.make_at_bytes() => self.make(),
            None => (State::GivenUp, false),
        };
        (state, changed || emptied)
    }

    /// Nothing in the pool is footage.
    fn empty_pool(&self) -> bool {
        let files = Pool::open(&self.pool).and_then(|pool| pool.files()).unwrap_or_default();
        let mut bytes = 0;
        for (path, length) in files {
            // A capture that takes it at this moment finds another, or none.
            if fs::remove_file(&path).is_ok() {
                bytes += length;
            }
        }
        if bytes > 0 {
            info!(bytes, "the disk is nearly full: blocks that waited to be written again are free");
        }
        bytes > 0
    }

    fn give_up(&self, why: &str) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => {
                warn!(bytes = self.bytes, "the ballast is given up: {why}");
                true
            }
            Err(error) => {
                warn!("the ballast {} can't be given up: {error}", self.path.display());
                false
            }
        }
    }

    fn make(&self) -> (State, bool) {
        match self.try_make() {
            Ok(()) => {
                info!(bytes = self.bytes, "ballast is held back for closing files on a full disk");
                (State::Kept, true)
            }
            Err(error) => {
                let _ = fs::remove_file(&self.path);
                let unable =
                    matches!(error.raw_os_error(), Some(code) if code == rustix::io::Errno::OPNOTSUPP.raw_os_error());
                if !unable {
                    warn!("no ballast {}: {error}", self.path.display());
                }
                (if unable { State::Impossible } else { State::GivenUp }, false)
            }
        }
    }

    fn try_make(&self) -> io::Result<()> {
        let dir = self.path.parent().unwrap_or(&self.path);
        durable::create_dir_all(dir).map_err(io::Error::other)?;
        let file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&self.path)?;
        loop {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, self.bytes) {
                Err(rustix::io::Errno::INTR) => (),
                done => break done?,
            }
        }
        file.sync_all()
    }
}
