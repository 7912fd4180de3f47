//! A place of our own: mounts and processes that nobody else sees, and that are gone when we are, however we go.
//!
//! They go in order. A kernel (6.18) was seen to keep a file system for ever, and its loop device with it, when everything was
//! killed in the moment in which it was being mounted. So the inside is not killed with the outside: it notices, at the end
//! of its standard input, that the outside is gone, and unmounts.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::Signal;

use crate::process::{POLL, patiently, run, stop, stopped};

/// What this program is told when it is inside.
pub const INSIDE: &str = "HOLDFAST_POWERCUT_INSIDE";

/// Programs without which there is no rig.
const PROGRAMS: [&str; 5] = ["qemu-storage-daemon", "mkfs.ext4", "e2fsck", "losetup", "unshare"];

/// How long the inside may take to end in order.
const GRACE: Duration = Duration::from_secs(90);

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
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM)).context("no signal when the parent ends")?;
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop()).context("no signal handler")?;
    }
    let directory = tempfile::Builder::new().prefix("powercut-").tempdir().context("no temporary directory")?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--mount-proc", "--propagation", "private", "--fork", "--kill-child=KILL"])
        .arg(std::env::current_exe().context("this program is nowhere")?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, directory.path())
        .stdin(Stdio::piped())
        // Ctrl-C is for the outside alone.
        .process_group(0);
    let mut child = command.spawn().context("unshare does not start")?;
    let mut lifeline = child.stdin.take();
    loop {
        if let Some(status) = child.try_wait().context("the inside can't be waited for")? {
            return Ok(status);
        }
        if stopped() {
            drop(lifeline.take());
        }
        std::thread::sleep(POLL);
    }
}

/// The working directory when we are inside: in memory, so that it leaves nothing and costs no disk.
///
/// # Errors
/// The kernel refuses to mount.
pub fn inside() -> anyhow::Result<Option<PathBuf>> {
    let Some(directory) = std::env::var_os(INSIDE).map(PathBuf::from) else {
        return Ok(None);
    };
    std::thread::Builder::new().spawn(hold_the_lifeline).context("no thread")?;
    rustix::mount::mount("powercut", &directory, "tmpfs", MountFlags::NOATIME, Some(c"mode=0755"))
        .with_context(|| format!("{}: no tmpfs", directory.display()))?;
    Ok(Some(directory))
}

/// Until the outside is gone, or wants us to be.
fn hold_the_lifeline() {
    // Nothing ever comes; an error is as much of an end as the end.
    let _ = std::io::stdin().read(&mut [0]);
    stop().store(true, std::sync::atomic::Ordering::Relaxed);
    std::thread::sleep(GRACE);
    // We are the init of this place: all goes with us.
    eprintln!("holdfast-powercut: did not end in {} s", GRACE.as_secs());
    std::process::exit(1);
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
    let unmounted = patiently("it is unmounted", || match rustix::mount::unmount(path, UnmountFlags::empty()) {
        Err(Errno::BUSY) => Ok(None),
        done => Ok(Some(done)),
    });
    if !matches!(unmounted, Ok(Ok(()))) {
        // If this fails too the namespace takes it along.
        let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
    }
}
