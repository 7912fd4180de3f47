//! Is the storage root where it should be? A missing mount must be an error, not a directory on the root disk.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Mode, OFlags, StatVfsMountFlags};

use crate::{Filesystem, Storage};

/// A storage root that may be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootStatus {
    /// The root, as configured.
    pub root: PathBuf,
    /// Device number of its filesystem (`st_dev`); another number later means that the mount has gone or changed.
    pub device: u64,
    /// Where that filesystem is mounted, what it is mounted from and its type, if the kernel tells.
    pub mount: Option<Mount>,
    /// How full it is.
    pub usage: Usage,
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// `ext4`, `btrfs`, …
    pub kind: String,
    /// `/dev/nvme0n1p5`, …
    pub source: PathBuf,
}

/// How full a filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// All of it.
    pub total_bytes: u64,
    /// What an unprivileged program may still use.
    pub free_bytes: u64,
    /// As `df` counts: used of what an unprivileged program may use at all, rounded up.
    pub used_percent: u8,
}

/// Why the storage root may not be written to.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// There is nothing.
    #[error("the storage root {} does not exist. Mount the recordings disk, or make the directory: install -d -o holdfast -g holdfast {0}", root.display())]
    Missing {
        /// The root.
        root: PathBuf,
    },
    /// It is not a directory.
    #[error("the storage root {} is not a directory. Set storage.root to a directory", root.display())]
    NotADirectory {
        /// The root.
        root: PathBuf,
    },
    /// The kernel refuses.
    #[error("the storage root {} can't be examined: {source}. Check its permissions and its disk (dmesg)", root.display())]
    Io {
        /// The root.
        root: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not writable for this user.
    #[error("the storage root {} may not be written to by this user. Give it to the service: chown holdfast:holdfast {0}", root.display())]
    NotWritable {
        /// The root.
        root: PathBuf,
    },
    /// Mounted read-only.
    #[error("the storage root {} is mounted read-only. The kernel does that after disk errors: look at dmesg, check the filesystem, then: mount -o remount,rw {}", root.display(), point.display())]
    ReadOnly {
        /// The root.
        root: PathBuf,
        /// Where it is mounted.
        point: PathBuf,
    },
    /// `filesystem = "mounted"`, but it is on the root disk.
    #[error("the storage root {} is on the system's root filesystem; the recordings disk is not mounted. Mount it there, or, if this is meant, set storage.filesystem = \"any\"", root.display())]
    NotMounted {
        /// The root.
        root: PathBuf,
    },
    /// No disk has the configured UUID or label.
    #[error("no disk with {wanted} is there ({} is missing). Connect the disk, or correct storage.filesystem; lsblk -f lists UUIDs and labels", link.display())]
    NoSuchDisk {
        /// `UUID …` or `label …`
        wanted: String,
        /// What was looked for.
        link: PathBuf,
    },
    /// Another filesystem than the configured one.
    #[error("the storage root {} is on {found}, not on the disk with {wanted}. Mount that disk there, or correct storage.filesystem; lsblk -f lists UUIDs and labels", root.display())]
    WrongFilesystem {
        /// The root.
        root: PathBuf,
        /// What it is on.
        found: String,
        /// `UUID …` or `label …`
        wanted: String,
    },
}

/// May footage be written below this root? It must be a writable directory on the filesystem that is configured.
///
/// # Errors
/// Why not, and what to do about it.
pub fn check(storage: &Storage) -> Result<RootStatus, RootError> {
    check_at(storage, Path::new("/"), Path::new("/dev/disk"))
}

/// [`check`] with other ideas of the root filesystem and of `/dev/disk`.
fn check_at(storage: &Storage, system_root: &Path, disks: &Path) -> Result<RootStatus, RootError> {
    let root = &storage.root;
    let io = |source| RootError::Io { root: root.clone(), source };
    let metadata = match std::fs::metadata(root) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(RootError::Missing { root: root.clone() });
        }
        Err(error) => return Err(io(error)),
    };
    if !metadata.is_dir() {
        return Err(RootError::NotADirectory { root: root.clone() });
    }
    let mount = mount_of(root);
    match &storage.filesystem {
        Filesystem::Any => {}
        Filesystem::Mounted => {
            if metadata.dev() == std::fs::metadata(system_root).map_err(io)?.dev() {
                return Err(RootError::NotMounted { root: root.clone() });
            }
        }
        Filesystem::Uuid(uuid) => {
            let wanted = format!("UUID {uuid}");
            right_disk(root, metadata.dev(), mount.as_ref(), &disks.join("by-uuid").join(uuid), wanted)?;
        }
        Filesystem::Label(label) => {
            let wanted = format!("label {label}");
            right_disk(root, metadata.dev(), mount.as_ref(), &disks.join("by-label").join(udev_escape(label)), wanted)?;
        }
    }
    writable(root, mount.as_ref())?;
    let usage = usage(root).map_err(io)?;
    Ok(RootStatus { root: root.clone(), device: metadata.dev(), mount, usage })
}

fn right_disk(root: &Path, device: u64, mount: Option<&Mount>, link: &Path, wanted: String) -> Result<(), RootError> {
    let Ok(disk) = std::fs::metadata(link) else {
        return Err(RootError::NoSuchDisk { wanted, link: link.to_owned() });
    };
    // btrfs and others give their files a device number of their own: there, what is mounted tells the disk.
    let mounted_from = mount.and_then(|mount| std::fs::metadata(&mount.source).ok()).map(|source| source.rdev());
    if disk.rdev() == device || (rustix::fs::major(device) == 0 && mounted_from == Some(disk.rdev())) {
        return Ok(());
    }
    let found = mount.map_or_else(
        || "another filesystem".to_owned(),
        |mount| format!("{} ({}, mounted at {})", mount.source.display(), mount.kind, mount.point.display()),
    );
    Err(RootError::WrongFilesystem { root: root.to_owned(), found, wanted })
}

fn writable(root: &Path, mount: Option<&Mount>) -> Result<(), RootError> {
    let read_only = || {
        let point = mount.map_or_else(|| root.to_owned(), |mount| mount.point.clone());
        RootError::ReadOnly { root: root.to_owned(), point }
    };
    let not_writable = || RootError::NotWritable { root: root.to_owned() };
    let io = |errno: rustix::io::Errno| RootError::Io { root: root.to_owned(), source: errno.into() };
    if rustix::fs::statvfs(root).map_err(io)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(read_only());
    }
    match rustix::fs::access(root, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => {}
        Err(rustix::io::Errno::ROFS) => return Err(read_only()),
        Err(_) => return Err(not_writable()),
    }
    // Permission bits are not the whole truth (quotas, security modules, network filesystems): make a nameless file.
    match rustix::fs::open(root, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        Err(rustix::io::Errno::ROFS) => Err(read_only()),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Err(not_writable()),
        // A full disk is another matter, and a filesystem without nameless files is none.
        _ => Ok(()),
    }
}

/// How full the filesystem is that holds this path.
///
/// # Errors
/// If the kernel can't tell.
pub fn usage(path: &Path) -> std::io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    let used_blocks = stat.f_blocks.saturating_sub(stat.f_bfree);
    let usable_blocks = used_blocks + stat.f_bavail;
    let percent =
        if usable_blocks == 0 { 100 } else { (u128::from(used_blocks) * 100).div_ceil(u128::from(usable_blocks)) };
    Ok(Usage {
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        used_percent: u8::try_from(percent).unwrap_or(100),
    })
}

fn mount_of(root: &Path) -> Option<Mount> {
    let resolved = std::fs::canonicalize(root).ok()?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mount_in(&table, &resolved)
}

/// The mount that holds `path`: the longest mount point that leads to it; of several on one point the last one hides
/// the others.
fn mount_in(table: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for line in table.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let Some(point) = left.split(' ').nth(4).map(unescape) else {
            continue;
        };
        let mut fields = right.split(' ');
        let (Some(kind), Some(source)) = (fields.next(), fields.next()) else {
            continue;
        };
        let depth = |path: &Path| path.components().count();
        if path.starts_with(&point) && best.as_ref().is_none_or(|best| depth(&point) >= depth(&best.point)) {
            best = Some(Mount { point, kind: kind.to_owned(), source: unescape(source) });
        }
    }
    best
}

/// Undoes the `\040` of mountinfo.
fn unescape(field: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        if bytes[at] == b'\\'
            && let Some(value) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            plain.push(value);
            at += 4;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(plain))
}

/// How udev writes a label below `/dev/disk/by-label`.
fn udev_escape(label: &str) -> String {
    let mut escaped = String::with_capacity(label.len());
    for c in label.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            escaped.push(c);
        } else {
            escaped.push_str(&format!("\\x{:02x}", u32::from(c)));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(root: &Path, filesystem: Filesystem) -> Storage {
        Storage {
            root: root.to_owned(),
            filesystem,
            warn_percent: 80,
            block_percent: 90,
            floors: crate::Floors::default(),
            ballast_bytes: 0,
            keep: crate::Keep::default(),
        }
    }

    #[test]
    fn a_root_on_the_system_disk_is_refused_unless_that_is_meant() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let none = Path::new("/nonexistent");
        // The same filesystem stands for "/": the mount is missing.
        let error = check_at(&storage(root, Filesystem::Mounted), root, none).unwrap_err();
        assert!(matches!(error, RootError::NotMounted { .. }), "{error}");
        assert!(error.to_string().contains("storage.filesystem = \"any\""), "{error}");
        // Another one stands for "/": it is there.
        let status = check_at(&storage(root, Filesystem::Mounted), Path::new("/proc"), none).unwrap();
        assert_eq!(status.device, std::fs::metadata(root).unwrap().dev());
        assert!(status.usage.total_bytes > 0 && status.usage.used_percent <= 100);
        assert!(root.starts_with(status.mount.unwrap().point));
        check(&storage(root, Filesystem::Any)).unwrap();
    }

    #[test]
    fn what_is_no_writable_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert!(matches!(check(&storage(&missing, Filesystem::Any)), Err(RootError::Missing { .. })));
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(check(&storage(&file, Filesystem::Any)), Err(RootError::NotADirectory { .. })));
        // Nobody may write to /proc, not even root.
        let error = check(&storage(Path::new("/proc/self"), Filesystem::Any)).unwrap_err();
        assert!(matches!(error, RootError::NotWritable { .. } | RootError::ReadOnly { .. }), "{error}");
    }

    #[test]
    fn the_disk_is_known_by_its_uuid_or_label() {
        let directory = tempfile::tempdir().unwrap();
        let disks = directory.path().join("disk");
        std::fs::create_dir_all(disks.join("by-uuid")).unwrap();
        std::fs::create_dir_all(disks.join("by-label")).unwrap();
        let system = Path::new("/proc");
        let by_uuid = storage(directory.path(), Filesystem::Uuid("1234-ABCD".to_owned()));
        let error = check_at(&by_uuid, system, &disks).unwrap_err();
        assert!(matches!(error, RootError::NoSuchDisk { .. }), "{error}");
        assert!(error.to_string().contains("lsblk -f"), "{error}");
        // A device that is there but holds something else.
        std::os::unix::fs::symlink("/dev/null", disks.join("by-uuid/1234-ABCD")).unwrap();
        let error = check_at(&by_uuid, system, &disks).unwrap_err();
        assert!(matches!(error, RootError::WrongFilesystem { .. }), "{error}");
        std::os::unix::fs::symlink("/dev/null", disks.join("by-label/Re\\x20C")).unwrap();
        let error = check_at(&storage(directory.path(), Filesystem::Label("Re C".to_owned())), system, &disks);
        assert!(matches!(error, Err(RootError::WrongFilesystem { .. })), "{error:?}");
        // The right one, where this machine has its temporary directory on a disk of its own.
        let status = check(&storage(directory.path(), Filesystem::Any)).unwrap();
        if let Some(mount) = status.mount.filter(|mount| mount.source.starts_with("/dev") && mount.source.exists()) {
            std::os::unix::fs::symlink(&mount.source, disks.join("by-uuid/right")).unwrap();
            check_at(&storage(directory.path(), Filesystem::Uuid("right".to_owned())), system, &disks).unwrap();
        } else {
            holdfast_aloud::skip("the temporary directory is not on a block device, the right disk can't be shown");
        }
    }

    #[test]
    fn the_mount_table_is_read_as_the_kernel_writes_it() {
        let table = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 22 8:2 / /media/Re\\040C rw,nosuid shared:1 - ext4 /dev/sdb2 rw\n\
                     31 22 0:40 /sub /data rw - btrfs /dev/sdc rw\n\
                     32 22 0:41 / /data rw - tmpfs tmpfs rw\n";
        let at = |path: &str| mount_in(table, Path::new(path)).unwrap();
        assert_eq!(at("/media/Re C/x").source, Path::new("/dev/sdb2"));
        assert_eq!(at("/media/Re").source, Path::new("/dev/sda1"));
        assert_eq!(at("/data").kind, "tmpfs");
    }
}
