//! Brings a file of somebody's stick into the cache: as a fetch does, chunk by chunk, each synced and with its digest.
//!
//! The file is not ours: it may change, end early or never be readable again while it is copied, and none of that may hang or hurt.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

use ring::digest::{Context, SHA256};
use rustix::fs::{Advice, fadvise};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::answer::Version;
use crate::cache::Cache;
use crate::fetcher::{Fetched, blocking, digest};
use crate::handle::{Handle, Meter, Order, Phase, Progress};
use crate::source::{Sha256, hex};
use crate::tempo::Bucket;
use crate::{Error, Result};

/// How often chunks may be found damaged on our disk before it is to blame.
const MAX_DAMAGED: u32 = 5;
/// Chunks of which the digest is taken between two looks at the caller's orders.
const CHUNKS_AT_ONCE: u64 = 16;

/// Copies one file into a cache. There is one at a time for a cache.
pub struct Copier {
    cache: Cache,
    name: String,
    file: Arc<File>,
    version: Version,
    expected: Option<Sha256>,
    order: watch::Receiver<Order>,
    /// Kept so that orders can be read when no handle is left.
    _order: watch::Sender<Order>,
    progress: watch::Sender<Progress>,
    bucket: Bucket,
    meter: Meter,
}

impl Copier {
    /// Prepares. `name` is for messages, and tells this file from others of the same size and date.
    ///
    /// # Errors
    /// [`Error::Original`] for what is no file with something in it.
    pub fn new(cache: Cache, name: &str, file: File, expected: Option<Sha256>) -> Result<(Self, Handle)> {
        let version = stamp(name, &file)?;
        // Watches hold the newest value only: none is ever full.
        let (sender, order) = watch::channel(Order::default());
        let (progress, receiver) = watch::channel(Progress::default());
        let handle = Handle { order: sender.clone(), progress: receiver };
        let (bucket, meter) = (Bucket::new(Instant::now()), Meter::new());
        let (name, file) = (name.to_owned(), Arc::new(file));
        Ok((Self { cache, name, file, version, expected, order, _order: sender, progress, bucket, meter }, handle))
    }

    /// Copies what is missing, and returns when the file is whole and verified. Ends with [`Error::Cancelled`] at once when it is
    /// told to, even while the stick does not answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn run(mut self) -> Result<Fetched> {
        let result = self.run_inner().await;
        // Whatever ended it, what has come is kept.
        let cache = self.cache.clone();
        let synced = blocking(move || cache.sync()).await;
        let result = result.and_then(|fetched| synced.map(|()| fetched));
        self.report(|progress| progress.phase = if result.is_ok() { Phase::Complete } else { Phase::Ended });
        result
    }

    async fn run_inner(&mut self) -> Result<Fetched> {
        let (cache, name, version, expected) =
            (self.cache.clone(), self.name.clone(), self.version.clone(), self.expected);
        blocking(move || {
            let goes_on = cache.edition().is_some_and(|edition| edition.version == version)
                && cache.holding().is_some_and(|held| held.url == name && held.expected_sha256 == expected);
            if goes_on { cache.check_space() } else { cache.begin(&name, &version, expected) }
        })
        .await?;
        let mut damaged = 0;
        loop {
            self.fill().await?;
            let Some(sha256) = self.verify().await? else {
                damaged += 1;
                if damaged >= MAX_DAMAGED {
                    let path = self.cache.holding().map(|holding| holding.path).unwrap_or_default();
                    return Err(Error::Damaged { path, times: damaged });
                }
                continue;
            };
            // Of a file that was written to meanwhile some chunks are of yesterday.
            if stamp(&self.name, &self.file)? != self.version {
                self.drop_all().await?;
                return Err(
                    self.bad("it has changed while it was copied; write it to the stick anew and unmount that there")
                );
            }
            if let Some(expected) = self.expected.filter(|expected| *expected != sha256) {
                self.drop_all().await?;
                let url = self.name.clone();
                return Err(Error::Digest { url, expected: hex(&expected), found: hex(&sha256) });
            }
            let path = self.cache.holding().map(|holding| holding.path).unwrap_or_default();
            return Ok(Fetched { path, bytes: self.version.total_bytes, sha256 });
        }
    }

    /// Copies all chunks that are missing.
    async fn fill(&mut self) -> Result<()> {
        let Some(edition) = self.cache.edition() else { return Err(Error::Changed) };
        let mut unsynced_bytes = 0;
        self.report(|progress| progress.phase = Phase::Fetching);
        while let Some(run) = self.cache.missing(None) {
            for chunk in run {
                self.stand_still().await?;
                let start = chunk.saturating_mul(edition.chunk_bytes);
                let length = edition.chunk_bytes.min(self.version.total_bytes.saturating_sub(start));
                let bytes = self.read(start, length).await?;
                let came = bytes.len();
                unsynced_bytes += length;
                let is_due = self.cache.sync_is_due(unsynced_bytes);
                let (cache, epoch) = (self.cache.clone(), edition.epoch);
                blocking(move || {
                    cache.write(epoch, chunk, &bytes)?;
                    if is_due { cache.sync() } else { Ok(()) }
                })
                .await?;
                if is_due {
                    unsynced_bytes = 0;
                }
                let rate = self.meter.count(length);
                self.report(|progress| {
                    progress.received_bytes += length;
                    progress.rate = rate.unwrap_or(progress.rate);
                });
                self.throttle(came).await?;
            }
        }
        let cache = self.cache.clone();
        blocking(move || cache.sync()).await
    }

    /// Some bytes of the original. A stick that does not answer is left behind by whoever cancels; its thread ends when the kernel
    /// gives up on it.
    async fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>> {
        let file = Arc::clone(&self.file);
        let reading = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, start)?;
            // It is read once: what others have in memory need not make room for it.
            let _ = fadvise(&*file, start, std::num::NonZeroU64::new(length), Advice::DontNeed);
            Ok(bytes)
        });
        let read = tokio::select! {
            biased;
            _ = self.order.wait_for(|order| order.cancelled) => return Err(Error::Cancelled),
            read = reading => read,
        };
        match read {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.drop_all().await?;
                Err(self.bad("it has become shorter while it was copied; write it to the stick anew"))
            }
            Ok(Err(error)) => {
                Err(self.bad(&format!("{error}; was it pulled out? Plug it in again, or take another stick")))
            }
            // The runtime is shutting down.
            Err(_) => Err(Error::Cancelled),
        }
    }

    /// SHA-256 of what is in the cache; `None` where a chunk is missing after all.
    async fn verify(&mut self) -> Result<Option<Sha256>> {
        let Some(edition) = self.cache.edition() else { return Err(Error::Changed) };
        self.report(|progress| (progress.phase, progress.rate) = (Phase::Verifying, 0));
        let chunks = self.version.total_bytes.div_ceil(edition.chunk_bytes);
        let (mut context, mut chunk) = (Context::new(&SHA256), 0);
        while chunk < chunks {
            self.stand_still().await?;
            let (cache, epoch, until) = (self.cache.clone(), edition.epoch, chunks.min(chunk + CHUNKS_AT_ONCE));
            let Some(so_far) = blocking(move || digest(&cache, epoch, chunk..until, context)).await? else {
                return Ok(None);
            };
            (context, chunk) = (so_far, until);
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        Ok(Some(sha256))
    }

    async fn stand_still(&mut self) -> Result<()> {
        let order = self.order.wait_for(|order| order.cancelled || !order.stands_still()).await;
        // The sender is ours too.
        if order.is_ok_and(|order| order.cancelled) { Err(Error::Cancelled) } else { Ok(()) }
    }

    async fn throttle(&mut self, came: usize) -> Result<()> {
        let Some(cap) = self.order.borrow().cap.filter(|cap| *cap > 0) else { return Ok(()) };
        let wait = self.bucket.take(came, cap, Instant::now());
        tokio::select! {
            () = sleep(wait) => Ok(()),
            _ = self.order.wait_for(|order| order.cancelled) => Err(Error::Cancelled),
        }
    }

    async fn drop_all(&self) -> Result<()> {
        let cache = self.cache.clone();
        blocking(move || cache.remove()).await
    }

    fn bad(&self, what: &str) -> Error {
        Error::Original { name: self.name.clone(), what: what.to_owned() }
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        let holding = self.cache.holding();
        self.progress.send_modify(|progress| {
            progress.safe_bytes = holding.as_ref().map_or(0, |holding| holding.safe_bytes);
            progress.total_bytes = Some(self.version.total_bytes);
            change(progress);
        });
    }
}

/// What tells whether the file is still the same.
fn stamp(name: &str, file: &File) -> Result<Version> {
    let bad = |what: String| Error::Original { name: name.to_owned(), what };
    let metadata = file.metadata().map_err(|error| bad(format!("{error}; plug the stick in again")))?;
    if !metadata.is_file() {
        return Err(bad("it is no file; put a signed bundle there".to_owned()));
    }
    if metadata.len() == 0 {
        return Err(bad("it is empty; write it to the stick anew".to_owned()));
    }
    let etag = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
    Ok(Version { total_bytes: metadata.len(), etag: Some(etag), last_modified: None })
}
