//! A place of our own: mounts and processes that nobody else sees, and that are gone when we are, however we go.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::Context;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;

use crate::process::{run, until};

/// What this program is told when it is inside.
pub const INSIDE: &str = "HOLDFAST_POWERCUT_INSIDE";

/// Programs without which there is no rig.
const PROGRAMS: [&str; 6] = ["qemu-storage-daemon", "mkfs.ext4", "e2fsck", "losetup", "unshare", "setpriv"];

/// Why there can be no rig on this machine, if so.
#[must_use]
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("mounting takes root".to_owned());
    }
    for (path, what) in [("/dev/fuse", "FUSE"), ("/dev/loop-control", "loop devices")] {
        if !Path::new(path).exists() {
            return Some(format!("this kernel or container has no {what} ({path})"));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &str| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .any(|directory| directory.join(program).is_file())
    };
    PROGRAMS
        .iter()
        .find(|program| !found(program))
        .map(|program| format!("{program} is not installed (`cargo xtask setup` installs it)"))
}

/// Runs this program again with the same arguments, inside: mounts, processes and loop devices go with it.
///
/// # Errors
/// The kernel refuses.
pub fn enter() -> anyhow::Result<ExitStatus> {
    // Whoever started us and is gone wants nothing any more.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("no signal when the parent ends")?;
    let directory = tempfile::Builder::new().prefix("powercut-").tempdir().context("no temporary directory")?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .args([
            "unshare",
            "--mount",
            "--pid",
            "--mount-proc",
            "--propagation",
            "private",
            "--fork",
            "--kill-child=KILL",
        ])
        .arg(std::env::current_exe().context("this program is nowhere")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, directory.path())
        .stdin(Stdio::null());
    command.status().context("setpriv does not start")
}

/// The working directory when we are inside: in memory, so that it leaves nothing and costs no disk.
///
/// # Errors
/// The kernel refuses to mount.
pub fn inside() -> anyhow::Result<Option<PathBuf>> {
    let Some(directory) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        return Ok(None);
    };
    rustix::mount::mount("powercut", &directory, "tmpfs", MountFlags::NOATIME, Some(c"mode=0755"))
        .with_context(|| format!("{}: no tmpfs", directory.display()))?;
    Ok(Some(directory))
}

/// A mounted image file. Its loop device goes with the mount.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts an ext4 image; the journal is replayed.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn image(image: &Path, at: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(at).with_context(|| format!("{} can't be made", at.display()))?;
        let mut mount = Command::new("mount");
        run(mount.args(["-t", "ext4", "-o", "loop,noatime"]).arg(image).arg(at))?;
        Ok(Self(at.to_owned()))
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Unmounts, now if possible, else as soon as nobody uses it any more.
pub fn unmount(path: &Path) {
    // A program that another thread is just starting has our files open until its exec.
    let unmounted = until("it is unmounted", || match rustix::mount::unmount(path, UnmountFlags::empty()) {
        Err(Errno::BUSY) => Ok(None),
        done => Ok(Some(done)),
    });
    if !matches!(unmounted, Ok(Ok(()))) {
        // If this fails too the namespace takes it along.
        let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
    }
}
