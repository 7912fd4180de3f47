//! The chunks of one bundle on disk, each with its digest, and those who wait for more of them.

mod disk;
mod held;
mod reading;
mod record;
mod waiting;

#[cfg(test)]
mod cuts;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use disk::random;
pub(crate) use waiting::{Activity, Wanted};

use crate::answer::Version;
use crate::source::{Sha256, hex};
use crate::{Error, Result, Source};
use disk::Disk;
use held::Held;
use waiting::Waiting;

/// Bounds of a cache.
#[derive(Debug, Clone)]
pub struct CacheLimits {
    /// Bytes that must stay free on the disk, whatever the bundle needs: footage comes first.
    pub margin_bytes: u64,
    /// Largest bundle that is taken.
    pub max_bytes: u64,
    /// Size of a chunk: what is verified, and fetched again, as a whole. Used for files begun from now on.
    pub chunk_bytes: u32,
    /// A sync is due after so many bytes: what a power cut costs, with the chunk in work.
    pub sync_bytes: u64,
}

impl Default for CacheLimits {
    /// 16 GiB at most, chunks of 256 KiB, a sync for each MiB, 1 GiB left free.
    fn default() -> Self {
        Self { margin_bytes: 1 << 30, max_bytes: 16 << 30, chunk_bytes: 256 << 10, sync_bytes: 1 << 20 }
    }
}

/// What a cache has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Where it comes from, without secrets.
    pub url: String,
    /// Length of the whole file.
    pub total_bytes: u64,
    /// Bytes whose chunks are on disk and recorded; each is verified again when it is read.
    pub safe_bytes: u64,
    /// What the whole must be, where that is known.
    pub expected_sha256: Option<Sha256>,
    /// The sparse file. It is the bundle only once a fetch has ended well.
    pub path: PathBuf,
}

/// A crash-safe store of one bundle's chunks. Clones share it; one process at a time has it.
///
/// A chunk is recorded only after its bytes were synced, with its BLAKE3 digest, and is given out only if it still has that
/// digest. What is not so is missing, and is fetched again.
#[derive(Clone)]
pub struct Cache {
    inner: Arc<Inner>,
}

struct Inner {
    limits: CacheLimits,
    /// Taken before `held`; the only one that is locked during a sync.
    disk: Mutex<Disk>,
    held: Mutex<State>,
    waiting: Waiting,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Grows with every new file, so that a reader notices that its own is gone.
    epoch: u64,
    activity: Activity,
}

/// One file of the cache: a reader holds on to it, and notices when it is given up for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edition {
    pub epoch: u64,
    pub version: Version,
    pub chunk_bytes: u64,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("holding", &self.holding()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// Opens the cache in `dir`, or makes it. What is there is claimed, not trusted: each chunk is verified when it is read.
    ///
    /// A damaged record is fallen back from; files that belong to no record are deleted. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Journal`] while another process has it, [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, limits: CacheLimits) -> Result<Self> {
        let (disk, held) = Disk::open(dir.as_ref())?;
        let state = State { held, ..State::default() };
        Ok(Self {
            inner: Arc::new(Inner {
                limits,
                disk: Mutex::new(disk),
                held: Mutex::new(state),
                waiting: Waiting::default(),
            }),
        })
    }

    /// What is there, if a file was begun.
    #[must_use]
    pub fn holding(&self) -> Option<Holding> {
        let state = lock(&self.inner.held);
        state.held.as_ref().map(Held::holding)
    }

    /// Deletes the bundle, and keeps the empty cache. Readers get [`Error::Changed`]. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Journal`], [`Error::Io`].
    pub fn remove(&self) -> Result<()> {
        let mut disk = lock(&self.inner.disk);
        // First the readers: nothing of what is deleted is to be given out.
        self.replace(None);
        disk.clear()
    }

    /// Goes on with what is there where it is `source`'s file; otherwise it starts anew, and says why. Blocks.
    ///
    /// The same expected SHA-256 means the same file wherever it lies; without one the URL must be the same.
    pub(crate) fn take_up(&self, source: &Source) -> Result<Option<String>> {
        let Some(begin) = lock(&self.inner.held).held.as_ref().map(|held| held.begin.clone()) else { return Ok(None) };
        let shown = source.shown();
        let other = match (begin.expected_sha256, source.expected_sha256) {
            (Some(ours), Some(theirs)) if ours == theirs => {
                if begin.url != shown {
                    self.moved(&shown)?;
                }
                None
            }
            (Some(_), Some(theirs)) => Some(format!("the file with SHA-256 {} is wanted now", hex(&theirs))),
            _ if begin.url != shown => Some(format!("{shown} is wanted now, not {}", begin.url)),
            // What was begun without a hash can be held to one at its end.
            (None, Some(theirs)) => {
                self.expect(theirs)?;
                None
            }
            (_, None) => None,
        };
        if other.is_some() {
            self.remove()?;
        }
        Ok(other)
    }

    /// Begins a new file. Blocks.
    pub(crate) fn begin(&self, url: &str, version: &Version, expected_sha256: Option<Sha256>) -> Result<()> {
        let CacheLimits { max_bytes, margin_bytes, chunk_bytes, .. } = self.inner.limits;
        if version.total_bytes > max_bytes {
            return Err(Error::TooLarge { url: url.to_owned(), bytes: version.total_bytes, limit_bytes: max_bytes });
        }
        let mut disk = lock(&self.inner.disk);
        self.replace(None);
        // What was there makes room before the room is counted.
        disk.clear()?;
        disk.check_space(version.total_bytes, margin_bytes)?;
        let held = disk.begin(url, version, chunk_bytes.max(4 << 10), expected_sha256)?;
        self.replace(Some(held));
        Ok(())
    }

    fn replace(&self, held: Option<Held>) {
        let mut state = lock(&self.inner.held);
        state.held = held;
        state.epoch += 1;
        drop(state);
        self.inner.waiting.notify();
    }

    fn moved(&self, url: &str) -> Result<()> {
        self.amend(|begin| {
            url.clone_into(&mut begin.url);
            // Another server has validators of its own.
            (begin.version.etag, begin.version.last_modified) = (None, None);
        })
    }

    fn expect(&self, expected: Sha256) -> Result<()> {
        self.amend(|begin| begin.expected_sha256 = Some(expected))
    }

    /// Takes on validators that the record does not have. Blocks.
    pub(crate) fn learn(&self, version: &Version) -> Result<()> {
        let known = self.edition().map(|edition| edition.version);
        let news = known.is_some_and(|known| {
            known.etag.is_none() && version.etag.is_some()
                || known.last_modified.is_none() && version.last_modified.is_some()
        });
        if news { self.amend(|begin| begin.version = version.clone()) } else { Ok(()) }
    }

    fn amend(&self, change: impl FnOnce(&mut record::Begin)) -> Result<()> {
        let mut disk = lock(&self.inner.disk);
        let mut state = lock(&self.inner.held);
        let Some(held) = state.held.as_mut() else { return Ok(()) };
        let mut begin = held.begin.clone();
        change(&mut begin);
        disk.amend(&begin)?;
        held.begin = begin;
        Ok(())
    }

    /// Checks that what is still to come fits. Blocks.
    pub(crate) fn check_space(&self) -> Result<()> {
        let missing = lock(&self.inner.held).held.as_ref().map_or(0, Held::missing_bytes);
        lock(&self.inner.disk).check_space(missing, self.inner.limits.margin_bytes)
    }

    /// Writes a whole chunk, which readers get from now on. It is safe only after [`sync`](Self::sync). Blocks.
    pub(crate) fn write(&self, epoch: u64, chunk: u64, bytes: &[u8]) -> Result<()> {
        let mut disk = lock(&self.inner.disk);
        let file = lock(&self.inner.held).file_of(epoch)?;
        let digest = disk.write(&file, chunk, bytes)?;
        if let Some(held) = &mut lock(&self.inner.held).held {
            held.put(chunk, digest);
        }
        self.inner.waiting.notify();
        Ok(())
    }

    /// Bytes written that a power cut would still take.
    pub(crate) fn sync_is_due(&self, written_bytes: u64) -> bool {
        written_bytes >= self.inner.limits.sync_bytes
    }

    /// Makes safe what was written: first the data, then the record of it. Blocks.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut disk = lock(&self.inner.disk);
        let file = match &lock(&self.inner.held).held {
            Some(held) => held.file.clone(),
            None => return Ok(()),
        };
        let (chunks, result) = disk.sync(&file);
        if let Some(held) = &mut lock(&self.inner.held).held {
            for chunk in chunks {
                // After a failed sync the kernel may call clean what never reached the disk: nothing of it counts.
                if result.is_ok() { held.safe(chunk) } else { held.forget(chunk) }
            }
        }
        result
    }
}

impl State {
    fn file_of(&self, epoch: u64) -> Result<Arc<held::DataFile>> {
        let held = self.held.as_ref().filter(|_| self.epoch == epoch);
        held.map(|held| held.file.clone()).ok_or(Error::Changed)
    }
}
