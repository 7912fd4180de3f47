//! Names, locks and the order of system calls that makes a new file take the place of an old one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::format::MAX_NAME_BYTES;
use crate::{Error, Result};

/// A file that is locked for this writer until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread has forked and that has not reached its exec shares the lock.
        // A lock that cannot be released goes with the process.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// The files of one journal.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub dir: PathBuf,
    pub name: String,
    /// The journal.
    pub current: PathBuf,
    /// The generation before it.
    pub previous: PathBuf,
    /// A new generation that is being written. Left over from a crash it means nothing.
    new: PathBuf,
    /// A second name of `current` on its way to becoming `previous`. Left over from a crash it means nothing.
    new_previous: PathBuf,
}

impl Paths {
    pub(crate) fn new(dir: &Path, name: &str) -> Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.starts_with('.') || !name.bytes().all(allowed) {
            return Err(Error::BadName { name: name.to_owned() });
        }
        let file = |ending: &str| dir.join(format!("{name}.journal{ending}"));
        Ok(Self {
            dir: dir.to_owned(),
            name: name.to_owned(),
            current: file(""),
            previous: file(".prev"),
            new: file(".tmp"),
            new_previous: file(".prev-tmp"),
        })
    }

    /// Opens the journal for this writer alone, or `None` when there is none.
    pub(crate) fn lock_current(&self) -> Result<Option<Locked>> {
        self.lock(&self.current, OpenOptions::new().read(true).write(true))
    }

    /// Opens the file of the next generation, empty, for this writer alone.
    pub(crate) fn lock_new(&self) -> Result<Locked> {
        // Emptied only after it is locked: until then it may be someone else's.
        let file = self.lock(&self.new, OpenOptions::new().read(true).write(true).create(true).truncate(false))?;
        let file = file.ok_or_else(|| Error::NotFound { path: self.dir.clone() })?;
        file.set_len(0).map_err(Error::io(&self.new, "empty"))?;
        Ok(file)
    }

    /// Locks whatever file has the name *after* the lock is held: another writer may have replaced it meanwhile.
    fn lock(&self, path: &Path, options: &OpenOptions) -> Result<Option<Locked>> {
        let locked = || Error::Locked { path: self.current.clone() };
        // A name that changes this often belongs to a busy writer.
        for _ in 0..100 {
            let file = match options.open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::io(path, "open")(error)),
            };
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(locked()),
                Err(error) => return Err(Error::io(path, "lock")(error.into())),
            }
            let file = Locked(file);
            if same_file(&file, path).map_err(Error::io(path, "look up"))? {
                return Ok(Some(file));
            }
        }
        Err(locked())
    }

    /// Writes `bytes` into `new` and makes it the journal. Returns when that will survive a power cut.
    ///
    /// At every instant in between, `current` is the whole old file or the whole new one.
    pub(crate) fn install(&self, new: &File, bytes: &[u8], keep: Keep) -> Result<()> {
        new.write_all_at(bytes, 0).map_err(Error::io(&self.new, "write"))?;
        new.sync_all().map_err(Error::io(&self.new, "sync"))?;
        if keep == Keep::AsPrevious {
            remove_if_there(&self.new_previous)?;
            second_name(&self.current, &self.new_previous)?;
            rename(&self.new_previous, &self.previous)?;
            // Renaming does nothing where both names are the same file already.
            remove_if_there(&self.new_previous)?;
            // Not every file system keeps the order of names: the old file must be safe under its second name first.
            self.sync_dir()?;
        }
        rename(&self.new, &self.current)?;
        self.sync_dir()
    }

    /// Gives up a file of the next generation that was not installed.
    pub(crate) fn discard_new(&self) {
        // Left over it would mean nothing, so failing to remove it does no harm.
        let _ = fs::remove_file(&self.new);
    }

    /// Gives the damaged file `path` the name `….corrupt-<n>`, durably, and leaves its old name to be replaced.
    pub(crate) fn set_aside(&self, path: &Path) -> Result<PathBuf> {
        for number in 1..=u32::MAX {
            let aside = self.dir.join(format!("{}.journal.corrupt-{number}", self.name));
            match fs::metadata(&aside) {
                // A crash came between this and the replacement: it has its second name already.
                Ok(there) if is_same(&there, &fs::metadata(path).map_err(Error::io(path, "look up"))?) => {
                    return Ok(aside);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    second_name(path, &aside)?;
                    self.sync_dir()?;
                    return Ok(aside);
                }
                Err(error) => return Err(Error::io(&aside, "look up")(error)),
            }
        }
        Err(Error::io(path, "set aside")(ErrorKind::AlreadyExists.into()))
    }

    /// Everything this journal has a name for, in the order in which it is looked at.
    pub(crate) fn all(&self) -> [&Path; 4] {
        [&self.current, &self.previous, &self.new, &self.new_previous]
    }

    /// Gives what cannot be used, whatever it is, the name `….unusable-<n>`, unchanged.
    pub(crate) fn move_aside(&self, path: &Path) -> Result<PathBuf> {
        for number in 1..=u32::MAX {
            let aside = self.dir.join(format!("{}.journal.unusable-{number}", self.name));
            match fs::symlink_metadata(&aside) {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    fs::rename(path, &aside).map_err(Error::io(path, "set aside"))?;
                    self.sync_dir()?;
                    return Ok(aside);
                }
                Ok(_) => {}
                Err(error) => return Err(Error::io(&aside, "look up")(error)),
            }
        }
        Err(Error::io(path, "set aside")(ErrorKind::AlreadyExists.into()))
    }

    pub(crate) fn sync_dir(&self) -> Result<()> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(Error::io(&self.dir, "sync the directory"))
    }
}

/// What becomes of the file that is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It is good and stays as the previous generation.
    AsPrevious,
    /// There is none, or it was set aside.
    Nothing,
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io(to, "put a new file in place of"))
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(path, "remove")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes the bytes of `path` available as `to` too: a hard link, or a synced copy where the file system has none.
fn second_name(path: &Path, to: &Path) -> Result<()> {
    match fs::hard_link(path, to) {
        Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
            fs::copy(path, to).and_then(|_| File::open(to)?.sync_all()).map_err(Error::io(to, "copy to"))
        }
        other => other.map_err(Error::io(to, "link to")),
    }
}

pub(crate) fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(is_same(&file.metadata()?, &there)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}
