//! What it takes until bytes and names survive a power cut (see fsync(2), rename(2)).

use crate::error::{Error, Result};
use rustix::fs::{CWD, FallocateFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

/// Most buffers that one `pwritev` takes (`IOV_MAX` of Linux, see writev(2)).
const IOV_MAX: usize = 1024;

/// Makes names in a directory durable: creations, renames and removals in it so far.
///
/// # Errors
/// The directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).map_err(|error| Error::io(dir, 0, "open the directory", error))?;
    file.sync_all().map_err(|error| Error::io(dir, 0, "sync the directory", error))
}

/// Makes the directory that a path stands in durable.
///
/// # Errors
/// As for [`sync_dir`].
pub fn sync_parent(path: &Path) -> Result<()> {
    sync_dir(parent(path))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Creates a directory and what is missing above it, each durably. One that exists already is fine.
///
/// # Errors
/// A directory cannot be created or synced.
pub fn create_dir_all(dir: &Path) -> Result<()> {
    if dir.as_os_str().is_empty() || dir.is_dir() {
        return Ok(());
    }
    create_dir_all(parent(dir))?;
    match std::fs::create_dir(dir) {
        Ok(()) => sync_parent(dir),
        // Somebody else was faster; they may not have synced it yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => sync_parent(dir),
        Err(error) => Err(Error::io(dir, 0, "create the directory", error)),
    }
}

/// Renames durably within one filesystem; never replaces a file that is there.
///
/// # Errors
/// [`Error::Exists`] if `to` is there already; otherwise what the filesystem says.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    rename_exclusive(from, to)?;
    sync_parent(to)?;
    if parent(from) != parent(to) {
        sync_parent(from)?;
    }
    Ok(())
}

/// Renames without making it durable; never replaces a file that is there.
fn rename_exclusive(from: &Path, to: &Path) -> Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Error::Exists { path: to.to_owned() }),
        // Some filesystems know no flags. Names here are unique by construction, so looking first is good enough.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(Error::Exists { path: to.to_owned() });
            }
            std::fs::rename(from, to).map_err(|error| Error::io(from, 0, "rename", error))
        }
        Err(error) => Err(Error::io(from, 0, "rename", error)),
    }
}

/// Writes all the buffers at `offset`, without copying them. An error names where the writing stopped.
pub(crate) fn write_all_at(file: &File, path: &Path, mut offset: u64, mut data: &mut [IoSlice<'_>]) -> Result<()> {
    // Empty buffers at the front would make a write of no bytes, which looks like a full disk.
    IoSlice::advance_slices(&mut data, 0);
    while !data.is_empty() {
        let some = &data[..data.len().min(IOV_MAX)];
        match rustix::io::pwritev(file, some, offset) {
            Ok(0) => return Err(Error::io(path, offset, "write", io::ErrorKind::WriteZero)),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut data, written);
            }
            Err(Errno::INTR) => (),
            Err(error) => return Err(Error::io(path, offset, "write", error)),
        }
    }
    Ok(())
}

/// Allocates blocks without changing the length of the file. `Ok(false)` if the filesystem cannot.
pub(crate) fn allocate(file: &File, offset: u64, bytes: u64) -> io::Result<bool> {
    loop {
        match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, offset, bytes) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => (),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the lock that says "I am writing this file". `Ok(false)` if somebody else has it. The kernel gives it back
/// when the process dies, however it dies.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_buffers_than_one_call_takes_are_all_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let file = File::create(&path).unwrap();
        let parts: Vec<Vec<u8>> = (0..3000_u32).map(|n| n.to_be_bytes()[..(n % 5) as usize].to_vec()).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        write_all_at(&file, &path, 3, &mut slices).unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[3..], parts.concat());
        write_all_at(&file, &path, 0, &mut [IoSlice::new(&[]), IoSlice::new(&[])]).unwrap();
    }

    #[test]
    fn renames_never_replace() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
        std::fs::write(&a, "a").unwrap();
        rename_new(&a, &b).unwrap();
        std::fs::write(&a, "new").unwrap();
        assert!(matches!(rename_new(&a, &b), Err(Error::Exists { .. })));
        assert_eq!(std::fs::read(&b).unwrap(), b"a");
        create_dir_all(&dir.path().join("x/y/z")).unwrap();
        create_dir_all(&dir.path().join("x/y/z")).unwrap();
        assert!(create_dir_all(&b.join("c")).is_err());
    }
}
