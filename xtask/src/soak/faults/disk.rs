//! A disk of our own for footage, which can be made to fail: ext4 on a partition of a loop device.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};

const BLOCK: u64 = 4096;
const SECTOR: u64 = 512;
const FIRST_SECTOR: u64 = 2048;

/// Unmounted and detached when dropped.
#[derive(Debug)]
pub struct Disk {
    mount: PathBuf,
    device: String,
    bytes: u64,
    /// Inodes, bitmaps and journal lie below this; what fails above is footage, and its directories.
    metadata_bytes: u64,
    /// What was in its place before.
    replaced: Vec<String>,
    frozen: bool,
    directory: PathBuf,
}

impl Disk {
    /// Why there can be none on this machine, if so.
    pub fn impossible() -> Option<&'static str> {
        crate::bench::device_impossible()
    }

    /// A new one of so many bytes, mounted below `directory`.
    pub fn new(directory: &Path, bytes: u64) -> anyhow::Result<Self> {
        let mount = directory.join("disk");
        std::fs::create_dir_all(&mount).context("no mount point")?;
        let mut disk = Self {
            mount,
            device: String::new(),
            bytes,
            metadata_bytes: 0,
            replaced: Vec::new(),
            frozen: false,
            directory: directory.to_owned(),
        };
        disk.device = disk.make()?;
        let said = say(Command::new("dumpe2fs").arg(format!("{}p1", disk.device)))?;
        // The first line of the kind is the sum; those of the groups are ranges.
        let free = said.lines().find_map(|line| Some(line.trim().strip_prefix("Free blocks: ")?.split_once('-')?.0));
        disk.metadata_bytes = BLOCK * free.context("dumpe2fs tells no free blocks")?.parse::<u64>()?;
        disk.mount()?;
        Ok(disk)
    }

    fn make(&self) -> anyhow::Result<String> {
        let image = self.directory.join(format!("disk{}.img", self.replaced.len()));
        File::create_new(&image).and_then(|file| file.set_len(self.bytes)).context("no image for a disk")?;
        let device = say(Command::new("losetup").args(["--find", "--show", "--partscan"]).arg(&image))?;
        let made = (|| {
            let length = (self.bytes / SECTOR - FIRST_SECTOR).to_string();
            say(Command::new("addpart").arg(&device).args(["1", &FIRST_SECTOR.to_string(), &length]))?;
            let layout = "lazy_itable_init=0,lazy_journal_init=0,packed_meta_blocks=1";
            let format = ["-q", "-F", "-E", layout, "-J", "size=16", "-N", "4096", "-O", "^resize_inode"];
            say(Command::new("mkfs.ext4").args(format).arg(format!("{device}p1")))
        })();
        if made.is_err() {
            drop(say(Command::new("losetup").args(["--detach", &device])));
        }
        made.map(|_| device)
    }

    fn mount(&self) -> anyhow::Result<()> {
        say(Command::new("mount").args(["-o", "noatime", &format!("{}p1", self.device)]).arg(&self.mount)).map(drop)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Takes it away, as if it had never been mounted. Nothing may be open on it.
    pub fn unmount(&self) -> anyhow::Result<()> {
        say(Command::new("umount").arg(&self.mount)).map(drop)
    }

    /// And back.
    pub fn mount_again(&self) -> anyhow::Result<()> {
        self.mount()
    }

    /// All that writes waits.
    pub fn freeze(&mut self, freeze: bool) -> anyhow::Result<()> {
        say(Command::new("fsfreeze").arg(if freeze { "--freeze" } else { "--unfreeze" }).arg(&self.mount))?;
        self.frozen = freeze;
        Ok(())
    }

    /// Writing footage fails with an I/O error: the sectors are beyond the end of the partition, for now.
    pub fn break_sectors(&self, broken: bool) -> anyhow::Result<()> {
        let bytes = if broken { self.metadata_bytes } else { self.bytes - FIRST_SECTOR * SECTOR };
        say(Command::new("resizepart").arg(&self.device).args(["1", &(bytes / SECTOR).to_string()])).map(drop)
    }

    /// As ext4 does it by itself when its metadata is damaged. There is no way back but a new mount.
    pub fn turn_read_only(&self) -> anyhow::Result<()> {
        // The kernel does as told, and says that it could not.
        drop(say(Command::new("mount").args(["-o", "remount,abort"]).arg(&self.mount)));
        let probe = File::create(self.mount.join("probe"));
        if probe.is_ok() {
            bail!("{} could not be made read-only", self.mount.display());
        }
        Ok(())
    }

    /// A new disk in the place of this one, which stays for whoever still has it open.
    pub fn replace(&mut self) -> anyhow::Result<()> {
        say(Command::new("umount").arg("--lazy").arg(&self.mount))?;
        self.replaced.push(self.device.clone());
        self.device = self.make()?;
        self.mount()
    }

    /// Mounts what was replaced, once nobody has it open any more.
    pub fn replaced(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut mounts = Vec::new();
        for (number, device) in self.replaced.iter().enumerate() {
            let mount = self.directory.join(format!("replaced{number}"));
            std::fs::create_dir_all(&mount).context("no mount point")?;
            say(Command::new("mount").arg(format!("{device}p1")).arg(&mount))?;
            mounts.push(mount);
        }
        Ok(mounts)
    }

    /// Fills it up to the last byte; what the filler is called.
    pub fn fill(&self) -> anyhow::Result<PathBuf> {
        let filler = self.mount.join("filler");
        let file = File::create(&filler)?;
        take_all(&file, 0).context("the disk can't be filled")?;
        Ok(filler)
    }

    /// The same, and every block that becomes free is taken at once, until what is returned is dropped.
    pub fn fill_for_good(&self) -> anyhow::Result<Filler> {
        let path = self.mount.join("filler");
        let file = File::create(&path)?;
        let mut taken = take_all(&file, 0).context("the disk can't be filled")?;
        let end = Arc::new(AtomicBool::new(false));
        let (end_too, mount) = (Arc::clone(&end), self.mount.clone());
        let thread = std::thread::spawn(move || {
            while !end_too.load(Ordering::Relaxed) {
                // Trying in vain makes the filesystem search, and others wait.
                if rustix::fs::statvfs(&mount).is_ok_and(|stat| stat.f_bfree > 0) {
                    taken = take_all(&file, taken).unwrap_or(taken);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Ok(Filler { path, end, thread: Some(thread) })
    }
}

/// Takes what is free for a file that is so long already; how long it is then.
fn take_all(file: &File, length: u64) -> rustix::io::Result<u64> {
    let (mut step, mut at) = (1 << 40, length);
    // In halves: what others write meanwhile takes its share.
    while step >= BLOCK {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), at, step) {
            Ok(()) => at += step,
            Err(rustix::io::Errno::NOSPC) => step /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(at)
}

/// See [`Disk::fill_for_good`].
#[derive(Debug)]
pub struct Filler {
    path: PathBuf,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can't have failed: it does nothing that may.
            let _ = thread.join();
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            crate::terminal::fail(&format!("{}: {error}", self.path.display()));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.frozen {
            drop(self.freeze(false));
        }
        for number in 0..self.replaced.len() {
            drop(say(Command::new("umount").arg(self.directory.join(format!("replaced{number}")))));
        }
        // Lazily: what a capture still holds goes with it.
        drop(say(Command::new("umount").arg("--lazy").arg(&self.mount)));
        for device in self.replaced.iter().chain([&self.device]) {
            if let Err(error) = say(Command::new("losetup").args(["--detach", device])) {
                crate::terminal::fail(&format!("{error:#}"));
            }
        }
    }
}

/// Runs a command and returns what it says.
fn say(command: &mut Command) -> anyhow::Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let output = command.output().with_context(|| format!("{line} does not start"))?;
    if !output.status.success() {
        bail!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
