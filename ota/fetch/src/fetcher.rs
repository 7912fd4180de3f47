//! Brings a file into the cache, whatever the network does.

mod ends;
mod stream;
mod verify;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::Verdict;
use crate::cache::Cache;
use crate::client::{Server, Waits};
use crate::handle::{Handle, Meter, Order, Phase, Progress};
use crate::source::Sha256;
use crate::tempo::{Bucket, Retries};
use crate::{Error, Result, Source};
pub(crate) use ends::blocking;
use ends::{Failures, Running};
pub(crate) use verify::digest;

/// How often a file may turn out to be another during one run.
const MAX_ANEW: u32 = 3;

/// How a fetch behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Longest wait for a connection with TLS.
    pub connect_timeout: Duration,
    /// Longest wait for an answer, and the time in which [`stall_bytes`](Self::stall_bytes) must come.
    pub stall_timeout: Duration,
    /// What must come in [`stall_timeout`](Self::stall_timeout); the time of our own waiting (cap, pause) does not count.
    pub stall_bytes: u64,
    /// When to try again.
    pub retries: Retries,
    /// How far ahead something may be that a reader waits for without a request of its own.
    pub seek_ahead_bytes: u64,
    /// What must have come after a jump before the next one: bounds the requests that jumping readers cause.
    pub seek_least_bytes: u64,
    /// How long a connection is kept open in a pause, so that short ones cost no request.
    pub pause_hold: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(30),
            stall_bytes: 1 << 10,
            retries: Retries::default(),
            seek_ahead_bytes: 8 << 20,
            seek_least_bytes: 1 << 20,
            pause_hold: Duration::from_secs(15),
        }
    }
}

/// A bundle that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file. It stays the cache's: it is gone when the cache is removed or takes another.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of it; the expected one where there is such.
    pub sha256: Sha256,
}

/// Fetches one file into a cache. There is one at a time for a cache.
pub struct Fetcher {
    cache: Cache,
    server: Server,
    options: Options,
    order: watch::Receiver<Order>,
    /// Kept so that orders can be read when no handle is left.
    _order: watch::Sender<Order>,
    progress: watch::Sender<Progress>,
    /// The chunk in work: its number, and its bytes so far.
    partial: (u64, Vec<u8>),
    /// Bytes in the cache that are not synced.
    unsynced_bytes: u64,
    /// Received, and given up before they made a chunk.
    dropped_bytes: u64,
    /// The last answer was of another file. Gigabytes are given up only when the next one says so too.
    suspected: bool,
    /// How often the whole was found damaged.
    damaged: u32,
    bucket: Bucket,
    meter: Meter,
}

/// How one attempt ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All of it came, or a reader needs something else first.
    Next,
    /// The caller wants it to stand still.
    Paused,
}

impl Fetcher {
    /// Prepares; nothing is sent and nothing is changed before [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::BadSource`] for a URL that is not `https`, and for certificates and keys that can't be used.
    pub fn new(cache: Cache, source: Source, options: Options) -> Result<(Self, Handle)> {
        let waits = Waits { connect: options.connect_timeout, answer: options.stall_timeout };
        // Watches hold the newest value only: none is ever full.
        let (sender, order) = watch::channel(Order::default());
        let (progress, receiver) = watch::channel(Progress::default());
        let handle = Handle { order: sender.clone(), progress: receiver };
        let fetcher = Self {
            cache,
            server: Server::new(source, waits)?,
            options,
            order,
            _order: sender,
            progress,
            partial: (0, Vec::new()),
            unsynced_bytes: 0,
            dropped_bytes: 0,
            suspected: false,
            damaged: 0,
            bucket: Bucket::new(Instant::now()),
            meter: Meter::new(),
        };
        Ok((fetcher, handle))
    }

    /// Fetches what is missing and returns when the file is whole and verified. What is in the cache already is used as far
    /// as it is of the same file. Dropping the future is safe at any instant; a write that
    /// is under way then goes on to its end, and holds the cache until then.
    ///
    /// # Errors
    /// See [`Error`]: those that are transient were tried again as often as the options say.
    pub async fn run(mut self) -> Result<Fetched> {
        let mut guard = Running::new(&self.cache);
        let result = self.run_inner().await;
        // Whatever ended it, what has come is kept.
        let synced = self.sync().await;
        let result = result.and_then(|fetched| synced.map(|()| fetched));
        let phase = if result.is_ok() { Phase::Complete } else { Phase::Ended };
        self.report(|progress| progress.phase = phase);
        if let Err(error) = &result {
            guard.failed = Some(error.to_string());
        }
        result
    }

    async fn run_inner(&mut self) -> Result<Fetched> {
        let source = self.server.source().clone();
        let anew = self.blocking(move |cache| cache.take_up(&source)).await?;
        if let Some(why) = anew {
            self.tell_anew(&why);
        }
        self.blocking(|cache| cache.check_space()).await?;
        let mut failures = Failures::default();
        loop {
            self.stand_still().await?;
            let safe_before = self.safe_bytes();
            let error = match self.attempt().await {
                Ok(Some(fetched)) => return Ok(fetched),
                Ok(None) => continue,
                Err(error) => error,
            };
            // What has come is safe before a wait that may be long.
            self.sync().await?;
            if self.safe_bytes() > safe_before {
                failures.in_a_row = 0;
            }
            let wait = failures.next(error, &self.options.retries)?;
            tracing::warn!(url = self.server.shown(), error = %failures.last, ?wait, "the download is interrupted");
            self.report(|progress| {
                progress.phase = Phase::Waiting;
                progress.failures += 1;
                progress.note = Some(failures.last.clone());
            });
            self.wait(wait).await?;
        }
    }

    /// One request at most, or the verification of the whole.
    async fn attempt(&mut self) -> Result<Option<Fetched>> {
        let Some(range) = self.next_range() else { return self.verify().await };
        self.report(|progress| progress.phase = Phase::Fetching);
        let known = self.cache.edition().map(|edition| edition.version);
        let progress = &self.progress;
        let count = || progress.send_modify(|progress| progress.requests += 1);
        let mut order = self.order.clone();
        let (verdict, response) = tokio::select! {
            // First, so that a cancelled fetch sends nothing more.
            biased;
            _ = order.wait_for(|order| order.cancelled) => return Err(Error::Cancelled),
            answer = self.server.get(range, known.as_ref(), count) => answer?,
        };
        match verdict {
            Verdict::Anew(why) if !std::mem::replace(&mut self.suspected, true) => {
                tracing::info!(url = self.server.shown(), why, "the bundle seems to be another now; asking again");
            }
            Verdict::Anew(why) => {
                self.suspected = false;
                self.blocking(|cache| cache.remove()).await?;
                self.drop_partial();
                self.unsynced_bytes = 0;
                self.tell_anew(&why);
                if self.progress.borrow().anew > u64::from(MAX_ANEW) {
                    return Err(Error::KeepsChanging { url: self.server.shown().to_owned(), times: MAX_ANEW });
                }
            }
            Verdict::Take(version, range) => {
                self.suspected = false;
                let (url, expected) = (self.server.shown().to_owned(), self.server.source().expected_sha256);
                let fresh = known.is_none();
                self.blocking(
                    move |cache| {
                        if fresh { cache.begin(&url, &version, expected) } else { cache.learn(&version) }
                    },
                )
                .await?;
                // A pause ends in the loop of attempts.
                let (Outcome::Next | Outcome::Paused) = self.stream(response, range).await?;
            }
        }
        Ok(None)
    }

    /// Bytes to ask for next; `None` when all are there. Open at its end where the length is not known.
    fn next_range(&mut self) -> Option<Range<u64>> {
        let Some(edition) = self.cache.edition() else {
            self.drop_partial();
            return Some(0..u64::MAX);
        };
        let (chunk, come) = (self.partial.0, self.partial.1.len());
        let partial = (come > 0).then_some(chunk);
        let run = self.cache.missing(self.cache.wanted().or(partial))?;
        if partial != Some(run.start) {
            self.drop_partial();
            self.partial.0 = run.start;
        }
        let start = run.start.saturating_mul(edition.chunk_bytes).saturating_add(as_u64(self.partial.1.len()));
        let end = run.end.saturating_mul(edition.chunk_bytes).min(edition.version.total_bytes);
        Some(start..end)
    }

    fn drop_partial(&mut self) {
        let come = as_u64(self.partial.1.len());
        self.partial.1.clear();
        self.dropped_bytes += come;
    }

    /// Returns when the caller lets it go on.
    async fn stand_still(&mut self) -> Result<()> {
        let order = *self.order.borrow_and_update();
        if order.stands_still() && !order.cancelled {
            self.sync().await?;
            self.report(|progress| (progress.phase, progress.rate) = (Phase::Paused, 0));
        }
        let order = self.order.wait_for(|order| order.cancelled || !order.stands_still()).await;
        // The sender is ours too.
        if order.is_ok_and(|order| order.cancelled) { Err(Error::Cancelled) } else { Ok(()) }
    }

    async fn wait(&mut self, wait: Duration) -> Result<()> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            _ = self.order.wait_for(|order| order.cancelled) => Err(Error::Cancelled),
        }
    }

    async fn sync(&mut self) -> Result<()> {
        self.unsynced_bytes = 0;
        self.blocking(|cache| cache.sync()).await?;
        self.report(|_| ());
        Ok(())
    }

    /// The disk may take its time: the thread of all others does not wait for it.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Cache) -> Result<T> + Send + 'static) -> Result<T> {
        let cache = self.cache.clone();
        blocking(move || work(&cache)).await
    }

    fn safe_bytes(&self) -> u64 {
        self.cache.holding().map_or(0, |holding| holding.safe_bytes)
    }

    fn tell_anew(&self, why: &str) {
        tracing::warn!(url = self.server.shown(), why, "the bundle is another than the one begun; starting anew");
        self.report(|progress| {
            progress.anew += 1;
            progress.note = Some(format!("begun anew: {why}"));
        });
    }

    fn report(&self, change: impl FnOnce(&mut Progress)) {
        let holding = self.cache.holding();
        self.progress.send_modify(|progress| {
            progress.safe_bytes = holding.as_ref().map_or(0, |holding| holding.safe_bytes);
            progress.redownloaded_bytes = self.dropped_bytes.saturating_add(self.cache.lost_bytes());
            progress.total_bytes = holding.map(|holding| holding.total_bytes);
            change(progress);
        });
    }
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
