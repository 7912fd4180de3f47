//! Reuse of the blocks of files that retention gave up: overwriting blocks that were written before costs no journal
//! commit, so a sync costs half.
//!
//! The price is that bytes behind the tail of a recycled file are old footage that parses. What keeps it out is not
//! done here: every seal carries the random id of its file (`FileId`), and closing a file cuts it to its length.
//!
//! A file in the pool begins with a marker instead of its old head. Its names tell how far it is:
//! `*.retiring` was moved here, its head may be intact still; `*.blocks` is free to take. All steps can be cut by a
//! power failure: [`Pool::open`] finishes what was left, and a `.part` that still begins with the marker goes back to
//! the pool at recovery.

use crate::durable;
use crate::error::{Error, Result};
use crate::types::FileId;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What a recycled file begins with, followed by zeros up to [`MARKED_BYTES`].
const MARKER: &[u8] = b"HOLDFAST RECYCLED v1\nThe blocks of this file are free for reuse. It holds no footage.\n";

/// So many bytes of the old head are overwritten: its ftyp and identity are well inside.
const MARKED_BYTES: usize = 4096;

/// A directory of files to be overwritten. It must be on the filesystem of the recordings.
///
/// Several processes may take from and retire into one pool at the same time.
#[derive(Clone, Debug)]
pub struct Pool {
    dir: PathBuf,
}

impl Pool {
    /// Opens a pool, creates its directory durably if it is missing, and finishes retirements that were cut short.
    ///
    /// # Errors
    /// The directory cannot be created or read.
    pub fn open(dir: &Path) -> Result<Self> {
        durable::create_dir_all(dir)?;
        let pool = Self { dir: dir.to_owned() };
        for (path, _) in pool.list("retiring")? {
            match pool.finish(&path) {
                // Another process is at it, or has just done it.
                Ok(()) | Err(Error::Busy { .. }) => (),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(pool)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Files that are free to take, with their sizes.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn files(&self) -> Result<Vec<(PathBuf, u64)>> {
        self.list("blocks")
    }

    /// Gives up the footage in a file for good: moves the file into the pool, then durably overwrites its head, so
    /// that nobody can ever take it for what it was. It is gone from its place before its head is.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is being written; otherwise what the filesystem says (a pool on another filesystem
    /// cannot take it).
    pub fn retire(&self, path: &Path) -> Result<()> {
        let file = open(path)?;
        lock(&file, path)?;
        self.retire_held(path, &file)
    }

    /// Like [`Pool::retire`] for a file that the caller holds the lock of.
    pub(crate) fn retire_held(&self, path: &Path, file: &File) -> Result<()> {
        let retiring = self.fresh_name("retiring")?;
        durable::rename_new(path, &retiring)?;
        self.mark(&retiring, file)
    }

    /// Marks a file that was moved here, and makes it free to take.
    fn finish(&self, retiring: &Path) -> Result<()> {
        let file = open(retiring)?;
        lock(&file, retiring)?;
        self.mark(retiring, &file)
    }

    fn mark(&self, retiring: &Path, file: &File) -> Result<()> {
        let mut head = vec![0; MARKED_BYTES];
        head[..MARKER.len()].copy_from_slice(MARKER);
        durable::write_all_at(file, retiring, 0, &mut [IoSlice::new(&head)])?;
        file.sync_all().map_err(|error| Error::io(retiring, 0, "sync", error))?;
        durable::rename_new(retiring, &retiring.with_extension("blocks"))
    }

    /// Takes back a file that begins with the marker: it was taken, and never written.
    pub(crate) fn give_back(&self, path: &Path) -> Result<PathBuf> {
        let blocks = self.fresh_name("blocks")?;
        durable::rename_new(path, &blocks)?;
        Ok(blocks)
    }

    /// Moves the largest file to `target` and opens it, locked, with its size. `None` if there is none.
    ///
    /// The new name is durable, and the old head was overwritten long ago.
    pub(crate) fn take(&self, target: &Path) -> Result<Option<(File, u64)>> {
        let mut files = self.list("blocks")?;
        files.sort_by_key(|(_, bytes)| *bytes);
        while let Some((path, bytes)) = files.pop() {
            match self.take_one(&path, target) {
                Ok(Some(file)) => return Ok(Some((file, bytes))),
                // Another process was faster.
                Ok(None) | Err(Error::Busy { .. }) => (),
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn take_one(&self, path: &Path, target: &Path) -> Result<Option<File>> {
        let file = open(path)?;
        lock(&file, path)?;
        let mut head = [0; MARKER.len()];
        // Somebody put a file here by hand: it isn't ours to overwrite.
        if file.read_exact_at(&mut head, 0).is_err() || head != MARKER {
            return Ok(None);
        }
        // Durable before anything is written: else a power cut could leave a new head under a name in the pool.
        durable::rename_new(path, target)?;
        Ok(Some(file))
    }

    fn fresh_name(&self, extension: &str) -> Result<PathBuf> {
        let id = FileId::random().map_err(|error| Error::io(&self.dir, 0, "name a file in", error))?;
        Ok(self.dir.join(format!("{id}.{extension}")))
    }

    fn list(&self, extension: &str) -> Result<Vec<(PathBuf, u64)>> {
        let fail = |error| Error::io(&self.dir, 0, "list", error);
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            // Files come and go under our hands.
            if path.extension().is_some_and(|found| found == extension)
                && let Ok(meta) = path.symlink_metadata()
                && meta.is_file()
            {
                files.push((path, meta.len()));
            }
        }
        Ok(files)
    }
}

/// True if these first bytes of a file say that it was recycled.
pub(crate) fn is_marked(head: &[u8]) -> bool {
    head.starts_with(MARKER)
}

fn open(path: &Path) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nofollow)
        .open(path)
        .map_err(|error| Error::io(path, 0, "open", error))
}

fn lock(file: &File, path: &Path) -> Result<()> {
    match durable::try_lock(file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::Busy { path: path.to_owned() }),
        Err(error) => Err(Error::io(path, 0, "lock", error)),
    }
}

/// True for errors that only say that the pool cannot serve this file.
pub(crate) fn is_no_help(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            source.kind() == io::ErrorKind::NotFound || source.raw_os_error() == Some(Errno::XDEV.raw_os_error())
        }
        _ => false,
    }
}
