//! The device or file of the slot that is to be written.

use std::fs::{self, File, Metadata};
use std::io::{Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// It may be written, and holds so many bytes.
    Free {
        /// Its size.
        bytes: u64,
    },
    /// It is not there, or can't be looked at: why.
    Missing(String),
    /// The kernel lets nobody write it.
    ReadOnly,
    /// It is mounted there.
    Mounted(String),
    /// Another device is built on it (device mapper, RAID, loop): which.
    Held(String),
}

impl Target {
    /// Looks at it, as the kernel has it.
    pub fn look(device: &Path) -> Self {
        let metadata = match fs::metadata(device) {
            Ok(metadata) => metadata,
            Err(error) => return Self::Missing(error.to_string()),
        };
        if metadata.file_type().is_block_device() {
            if let Some(trouble) = trouble(&metadata) {
                return trouble;
            }
        } else if !metadata.is_file() {
            return Self::Missing("it is neither a block device nor a file".to_owned());
        }
        match File::open(device).and_then(|mut file| file.seek(SeekFrom::End(0))) {
            Ok(bytes) => Self::Free { bytes },
            Err(error) => Self::Missing(error.to_string()),
        }
    }
}

/// What keeps a block device from being written.
fn trouble(metadata: &Metadata) -> Option<Target> {
    let number = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let number = format!("{}:{}", number.0, number.1);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if let Some(place) = mounted(&mounts, &number) {
        return Some(Target::Mounted(place));
    }
    let sysfs = Path::new("/sys/dev/block").join(&number);
    let holder = fs::read_dir(sysfs.join("holders")).into_iter().flatten().flatten().next();
    if let Some(holder) = holder {
        return Some(Target::Held(holder.file_name().to_string_lossy().into_owned()));
    }
    fs::read_to_string(sysfs.join("ro")).is_ok_and(|ro| ro.trim() == "1").then_some(Target::ReadOnly)
}

/// The third word of a line is the device's number, the fifth the mount point: proc_pid_mountinfo(5).
fn mounted(mounts: &str, number: &str) -> Option<String> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(number))?;
    line.split(' ').nth(4).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::{Target, mounted};

    /// Let go when dropped.
    struct Loop(PathBuf);

    impl Loop {
        /// `None`, aloud, where there can be none.
        fn of(file: &Path, more: &[&str]) -> Option<Self> {
            let output = Command::new("losetup").args(["--find", "--show"]).args(more).arg(file).output().ok();
            let Some(output) = output.filter(|output| output.status.success()) else {
                holdfast_aloud::skip("no loop device can be had here: block devices are not looked at");
                return None;
            };
            Some(Self(String::from_utf8(output.stdout).unwrap().trim().into()))
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let detached = Command::new("losetup").arg("-d").arg(&self.0).status();
            assert!(detached.is_ok_and(|status| status.success()) || std::thread::panicking());
        }
    }

    #[test]
    fn real_devices_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("slot");
        std::fs::write(&file, vec![0; 1 << 20]).unwrap();
        assert_eq!(Target::look(&file), Target::Free { bytes: 1 << 20 });
        assert!(matches!(Target::look(&dir.path().join("none")), Target::Missing(_)));
        assert!(matches!(Target::look(dir.path()), Target::Missing(_)));
        let Some(device) = Loop::of(&file, &[]) else { return };
        assert_eq!(Target::look(&device.0), Target::Free { bytes: 1 << 20 });
        let formatted = Command::new("mkfs.ext4").arg("-q").arg(&device.0).status();
        if !formatted.is_ok_and(|status| status.success()) {
            return holdfast_aloud::skip("mkfs.ext4 is not here: nothing is mounted");
        }
        let place = dir.path().join("place");
        std::fs::create_dir(&place).unwrap();
        if Command::new("mount").arg(&device.0).arg(&place).status().is_ok_and(|status| status.success()) {
            let seen = Target::look(&device.0);
            assert!(Command::new("umount").arg(&place).status().unwrap().success());
            assert_eq!(seen, Target::Mounted(place.display().to_string()));
        } else {
            holdfast_aloud::skip("nothing can be mounted here");
        }
        drop(device);
        let Some(device) = Loop::of(&file, &["--read-only"]) else { return };
        assert_eq!(Target::look(&device.0), Target::ReadOnly);
    }

    #[test]
    fn a_mount_is_found_by_the_number_of_its_device() {
        let mounts = "21 1 179:1 / / ro - ext4 /dev/root ro\n33 21 179:12 / /mnt/a\\040b rw - ext4 /dev/x rw\n";
        assert_eq!(mounted(mounts, "179:12").as_deref(), Some("/mnt/a\\040b"));
        assert_eq!(mounted(mounts, "179:2"), None);
    }
}
