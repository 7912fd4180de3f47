//! Mounts a stick nowhere: read-only, and so that nothing on it can be run, followed or taken for a device.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// The root of the stick's files. Only who has this descriptor reaches them.
pub fn mount(device: &Path, filesystems: &[String]) -> anyhow::Result<OwnedFd> {
    let mut errors = Vec::new();
    for filesystem in filesystems {
        match of_type(device, filesystem) {
            Ok(root) => return Ok(root),
            // Somebody has it for writing; that is no stick for us.
            Err(Errno::BUSY) => bail!("{} is in use, and not by us", device.display()),
            Err(error) => errors.push(format!("{filesystem}: {error}")),
        }
    }
    bail!("{} can't be mounted ({})", device.display(), errors.join("; "))
}

fn of_type(device: &Path, filesystem: &str) -> Result<OwnedFd, Errno> {
    let context = fsopen(filesystem, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// A directory that plays the stick.
pub fn open(directory: &Path) -> anyhow::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, directory, flags, Mode::empty()).with_context(|| directory.display().to_string())
}
