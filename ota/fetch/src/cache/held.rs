//! The file that a cache has: its bytes, and which of its chunks are there.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use blake3::Hash;
use bytes::Bytes;

use super::record::Begin;
use super::{Edition, Holding};
use crate::{Error, Result};

/// The sparse file of the bundle's bytes.
#[derive(Debug)]
pub(super) struct DataFile {
    pub file: File,
    pub path: PathBuf,
    pub chunk_bytes: u64,
}

impl DataFile {
    /// A chunk's bytes if they have that digest.
    pub fn read(&self, chunk: u64, length: usize, digest: &Hash) -> Result<Option<Bytes>> {
        let mut bytes = vec![0; length];
        match self.file.read_exact_at(&mut bytes, chunk.saturating_mul(self.chunk_bytes)) {
            Ok(()) => Ok((blake3::hash(&bytes) == *digest).then(|| bytes.into())),
            // Shorter than it was, or a bad block: what can't be read is fetched again, not waited for.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(None),
            Err(error) => Err(Error::io("read", &self.path)(error)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Missing,
    Written(Hash),
    Safe(Hash),
}

#[derive(Debug)]
pub(super) struct Held {
    pub begin: Begin,
    pub file: Arc<DataFile>,
    slots: Vec<Slot>,
    missing_bytes: u64,
    safe_bytes: u64,
    /// Bytes that were there and had to be forgotten.
    lost_bytes: u64,
    /// No chunk before it is missing.
    first_missing: usize,
}

impl Held {
    pub fn new(begin: Begin, file: File, path: PathBuf) -> Self {
        let chunk_bytes = u64::from(begin.chunk_bytes.max(1));
        let total_bytes = begin.version.total_bytes;
        let chunks = usize::try_from(total_bytes.div_ceil(chunk_bytes)).unwrap_or(usize::MAX);
        let file = Arc::new(DataFile { file, path, chunk_bytes });
        let slots = vec![Slot::Missing; chunks];
        Self { begin, file, slots, missing_bytes: total_bytes, safe_bytes: 0, lost_bytes: 0, first_missing: 0 }
    }

    fn total_bytes(&self) -> u64 {
        self.begin.version.total_bytes
    }

    fn bytes_of(&self, chunk: u64) -> u64 {
        let start = chunk.saturating_mul(self.file.chunk_bytes);
        self.total_bytes().saturating_sub(start).min(self.file.chunk_bytes)
    }

    fn set(&mut self, chunk: u64, new: Slot) {
        let bytes = self.bytes_of(chunk);
        let Some(index) = usize::try_from(chunk).ok() else { return };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let old = std::mem::replace(slot, new);
        match (old, new) {
            (Slot::Missing, Slot::Written(_) | Slot::Safe(_)) => self.missing_bytes -= bytes,
            (Slot::Written(_) | Slot::Safe(_), Slot::Missing) => {
                self.missing_bytes += bytes;
                self.lost_bytes += bytes;
                self.first_missing = self.first_missing.min(index);
            }
            _ => {}
        }
        match (matches!(old, Slot::Safe(_)), matches!(new, Slot::Safe(_))) {
            (false, true) => self.safe_bytes += bytes,
            (true, false) => self.safe_bytes -= bytes,
            _ => {}
        }
        let skip = self.slots.get(self.first_missing..).unwrap_or_default();
        self.first_missing += skip.iter().take_while(|slot| **slot != Slot::Missing).count();
    }

    fn slot(&self, chunk: u64) -> Slot {
        usize::try_from(chunk).ok().and_then(|index| self.slots.get(index).copied()).unwrap_or(Slot::Missing)
    }

    /// What the record claims.
    pub fn put_safe(&mut self, chunk: u64, digest: Hash) {
        self.set(chunk, Slot::Safe(digest));
    }

    pub fn put(&mut self, chunk: u64, digest: Hash) {
        self.set(chunk, Slot::Written(digest));
    }

    pub fn safe(&mut self, chunk: u64) {
        if let Slot::Written(digest) = self.slot(chunk) {
            self.set(chunk, Slot::Safe(digest));
        }
    }

    pub fn forget(&mut self, chunk: u64) {
        self.set(chunk, Slot::Missing);
    }

    /// Unless it was written again meanwhile.
    pub fn forget_if(&mut self, chunk: u64, digest: &Hash) {
        if self.claim(chunk).is_some_and(|(present, _)| present == *digest) {
            self.forget(chunk);
        }
    }

    /// Digest and length of a chunk that should be there.
    pub fn claim(&self, chunk: u64) -> Option<(Hash, usize)> {
        match self.slot(chunk) {
            Slot::Missing => None,
            Slot::Written(digest) | Slot::Safe(digest) => {
                Some((digest, usize::try_from(self.bytes_of(chunk)).unwrap_or(usize::MAX)))
            }
        }
    }

    pub fn lost_bytes(&self) -> u64 {
        self.lost_bytes
    }

    pub fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    /// Missing chunks in a row: from `from` on where that one is missing, else the first of all.
    pub fn missing_run(&self, from: Option<u64>) -> Option<Range<u64>> {
        let wanted = from.filter(|&chunk| self.slot(chunk) == Slot::Missing && self.bytes_of(chunk) > 0);
        let start = wanted.and_then(|chunk| usize::try_from(chunk).ok()).unwrap_or(self.first_missing);
        let rest = self.slots.get(start..)?;
        let length = rest.iter().take_while(|slot| **slot == Slot::Missing).count();
        (length > 0).then(|| as_u64(start)..as_u64(start + length))
    }

    pub fn edition(&self, epoch: u64) -> Edition {
        Edition { epoch, version: self.begin.version.clone(), chunk_bytes: self.file.chunk_bytes }
    }

    pub fn holding(&self) -> Holding {
        Holding {
            url: self.begin.url.clone(),
            total_bytes: self.total_bytes(),
            safe_bytes: self.safe_bytes,
            expected_sha256: self.begin.expected_sha256,
            path: self.file.path.clone(),
        }
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Version;

    fn held(total_bytes: u64) -> Held {
        let version = Version { total_bytes, etag: None, last_modified: None };
        let begin = Begin { file: "f".into(), url: "u".into(), version, chunk_bytes: 1 << 20, expected_sha256: None };
        Held::new(begin, tempfile::tempfile().unwrap(), "f".into())
    }

    #[test]
    fn counts_and_runs_hold_beyond_four_gibibytes() {
        let total = (5 << 30) + 1;
        let mut held = held(total);
        let digest = blake3::hash(b"");
        assert_eq!(held.missing_run(None), Some(0..5121));
        assert_eq!(held.missing_run(Some(5120)), Some(5120..5121));
        assert_eq!(held.missing_run(Some(9999)), Some(0..5121));
        held.put_safe(5120, digest);
        assert_eq!((held.missing_bytes(), held.holding().safe_bytes), (total - 1, 1));
        assert_eq!(held.claim(5120), Some((digest, 1)));
        for chunk in 0..5120 {
            held.put(chunk, digest);
        }
        assert_eq!((held.missing_run(None), held.missing_bytes(), held.holding().safe_bytes), (None, 0, 1));
        held.safe(7);
        held.forget(7);
        held.forget_if(8, &blake3::hash(b"another"));
        assert_eq!((held.missing_run(None), held.missing_bytes()), (Some(7..8), 1 << 20));
        assert_eq!(held.holding().safe_bytes, 1);
    }
}
