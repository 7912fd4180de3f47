//! A file that is read with care: nothing beyond its end, no more memory than it has bytes.

use crate::error::{Error, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An open file of a length that is taken once.
#[derive(Debug)]
pub(crate) struct Source {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, 0, "open", error))?;
        Self::new(file, path)
    }

    pub(crate) fn new(file: File, path: &Path) -> Result<Self> {
        let meta = file.metadata().map_err(|error| Error::io(path, 0, "look at", error))?;
        if !meta.is_file() {
            return Err(Error::NotASegment { path: path.to_owned(), what: "not a regular file".into() });
        }
        Ok(Self { file, path: path.to_owned(), len: meta.len() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn malformed<T>(&self, offset: u64, what: impl Into<String>) -> Result<T> {
        Err(Error::Malformed { path: self.path.clone(), offset, what: what.into() })
    }

    /// Exactly these bytes.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        self.read_into(offset, bytes, &mut out)?;
        Ok(out)
    }

    /// Exactly these bytes, in place of what `out` held.
    pub(crate) fn read_into(&self, offset: u64, bytes: u64, out: &mut Vec<u8>) -> Result<()> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.len);
        let Some(length) = usize::try_from(bytes).ok().filter(|_| inside) else {
            return self.malformed(offset, format!("{bytes} bytes expected, the file ends at {}", self.len));
        };
        out.clear();
        out.resize(length, 0);
        self.file.read_exact_at(out, offset).map_err(|error| Error::io(&self.path, offset, "read", error))
    }

    /// These bytes, or fewer at the end of the file.
    pub(crate) fn read_up_to(&self, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        self.read(offset.min(self.len), bytes.min(self.len.saturating_sub(offset)))
    }
}
