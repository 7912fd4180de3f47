//! A disk that writes down what is asked of it.
//!
//! `qemu-storage-daemon` with `blklogwrites` behind a FUSE export, a loop device on that, ext4 on that. Every write and flush
//! that the file system hands to the device is logged in the order in which it came; the answer goes back after it is in the log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use rustix::process::Signal;

use crate::log::{self, Log};
use crate::namespace::unmount;
use crate::process::{Guarded, run, until};
use crate::replay::Disk;

/// Small, so that it wraps during a run: what is written back from the journal is part of what is tested.
const JOURNAL_MIB: u32 = 8;
/// Room for the log. Sparse.
const LOG_BYTES: u64 = 16 << 30;

/// The running disk. Unmounted and ended when dropped.
#[derive(Debug)]
pub struct LoggedDisk {
    // The order matters: first the mount, then what is below it.
    mounted: Mount,
    daemon: Guarded,
    base: PathBuf,
    log_path: PathBuf,
    log: File,
}

#[derive(Debug)]
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Where a log stood at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Position(pub u64);

/// Reads how long the log of a running disk is; for other threads.
#[derive(Debug)]
pub struct Meter(File);

impl Meter {
    /// Entries counted by now. See [`log::counted_entries`] for what that means.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn position(&self) -> anyhow::Result<Position> {
        log::counted_entries(&self.0).map(Position)
    }
}

impl LoggedDisk {
    /// Starts a disk of so many bytes in `directory`, with a fresh ext4 mounted on it.
    ///
    /// # Errors
    /// One of the parts does not work.
    pub fn start(directory: &Path, bytes: u64) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
        let [base, disk, log_path, export, mount] =
            ["base.img", "disk.img", "log.img", "export.img", "data"].map(|name| directory.join(name));
        File::create(&base).and_then(|file| file.set_len(bytes)).context("no image")?;
        // All of it is initialised now: later on nothing is to be written in the background.
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-N", "4096", "-J", &format!("size={JOURNAL_MIB}")])
            .args(["-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"])
            .arg(&base))?;
        run(Command::new("cp").arg("--sparse=always").arg(&base).arg(&disk))?;
        File::create(&log_path).and_then(|file| file.set_len(LOG_BYTES)).context("no log")?;
        File::create(&export).context("no file to export to")?;
        std::fs::create_dir(&mount).context("no mount point")?;

        let mut daemon = Command::new("qemu-storage-daemon");
        let file = |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
        daemon
            .args(["--blockdev", &file("base", &disk), "--blockdev", &file("logfile", &log_path)])
            .args(["--blockdev", "driver=blklogwrites,node-name=logged,file=base,log=logfile,log-sector-size=512"])
            .arg("--export")
            .arg(format!(
                "type=fuse,id=logged,node-name=logged,mountpoint={},writable=on,growable=off",
                export.display()
            ));
        let mut daemon = Guarded::spawn(&mut daemon)?;
        until("the disk is there", || {
            daemon.must_run()?;
            Ok((export.metadata().is_ok_and(|data| data.len() == bytes)).then_some(()))
        })?;
        let device = run(Command::new("losetup").args(["--find", "--show"]).arg(&export))?;
        let mounted = run(Command::new("mount").args(["-t", "ext4", "-o", "noatime", &device]).arg(&mount));
        // While it is mounted this only marks it: it goes with the mount, whatever becomes of us.
        run(Command::new("losetup").args(["--detach", &device]))?;
        mounted?;
        let mounted = Mount(mount);
        let log = File::open(&log_path).context("no log")?;
        Ok(Self { mounted, daemon, base, log_path, log })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mounted.0
    }

    /// Entries counted by now.
    ///
    /// # Errors
    /// The log can't be read.
    pub fn position(&self) -> anyhow::Result<Position> {
        log::counted_entries(&self.log).map(Position)
    }

    /// The same for another thread.
    ///
    /// # Errors
    /// The log can't be opened.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        Ok(Meter(File::open(&self.log_path).context("no log")?))
    }

    /// Bytes of log written by now, flushed or not.
    ///
    /// # Errors
    /// The log can't be examined.
    pub fn written_bytes(&self) -> anyhow::Result<u64> {
        log::written_bytes(&self.log)
    }

    /// Unmounts and ends it. What was logged from here on (by unmounting) is none of the run: `usize` is where it ended.
    ///
    /// # Errors
    /// The log or the base can't be read.
    pub fn finish(self) -> anyhow::Result<(Disk, Log, usize)> {
        let end = self.written_bytes()?;
        let Self { mounted, mut daemon, base, log_path, .. } = self;
        drop(mounted);
        daemon.end(Signal::TERM);
        let log = Log::read(&log_path)?;
        let end = log.entries_before(end);
        let base = Disk::load(&base)?;
        std::fs::remove_file(&log_path).context("the log can't be removed")?;
        Ok((base, log, end))
    }
}
