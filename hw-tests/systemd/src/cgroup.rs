//! A cgroup that holds all of a rig, so that its systemd can't touch the machine's own groups.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PREFIX: &str = "holdfast-rig-";
/// The kernel needs a moment to let go of a group whose last process was killed.
const REMOVE_DEADLINE: Duration = Duration::from_secs(5);

/// A group in the unified hierarchy. Removed with everything below it when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one. Removes those of rigs whose test was killed.
    pub(crate) fn create() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let hierarchy = hierarchy()?;
        remove_orphans(&hierarchy);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = hierarchy.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{} can't be made: {error}", path.display()))?;
        Ok(Self { path })
    }

    /// The file that a process writes its id to in order to enter.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// What can be limited here: `cpu`, `memory`, `io`, …
    pub(crate) fn controllers(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join("cgroup.controllers")).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + REMOVE_DEADLINE;
        while let Err(error) = remove(&self.path) {
            if Instant::now() >= deadline {
                // Nothing depends on it, and the next rig tries again.
                holdfast_aloud::say(format_args!("{} is left behind: {error}", self.path.display()));
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Where the unified hierarchy is mounted: alone, or beside the older ones.
fn hierarchy() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| format!("/proc/self/mounts: {error}"))?;
    mounts
        .lines()
        .find_map(|line| {
            let mut words = line.split(' ').skip(1);
            let path = words.next()?;
            (words.next()? == "cgroup2").then(|| PathBuf::from(path))
        })
        .ok_or_else(|| "no cgroup2 filesystem is mounted".to_owned())
}

fn remove_orphans(hierarchy: &Path) {
    for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Still in use or not: the next rig tries again.
            let _ = remove(&entry.path());
        }
    }
}

/// Groups are removed from below; the files in them go with them.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
