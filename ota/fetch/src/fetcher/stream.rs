//! One answer of the server, from its first byte to its last, chunk by chunk into the cache.

use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::Response;
use tokio::time::Instant;

use super::{Fetcher, Outcome, as_u64};
use crate::handle::Phase;
use crate::{Error, Result};

/// What is known while an answer is read.
struct Reading {
    epoch: u64,
    chunk_bytes: u64,
    total_bytes: u64,
    /// The next byte, and the end of the answer.
    at: u64,
    end: u64,
    /// Taken from this answer.
    taken_bytes: u64,
    /// When too little has come, and how much has by then.
    stall_at: Instant,
    stall_bytes: u64,
}

impl Fetcher {
    /// Reads `response`, which is the file's bytes in `range`.
    pub(super) async fn stream(&mut self, mut response: Response, range: Range<u64>) -> Result<Outcome> {
        let Some(edition) = self.cache.edition() else { return Err(Error::Changed) };
        // The first answer begins at zero, all others where the chunk in work ends.
        if edition.chunk_bytes.saturating_mul(self.partial.0).saturating_add(as_u64(self.partial.1.len()))
            != range.start
        {
            self.drop_partial();
            self.partial.0 = range.start / edition.chunk_bytes;
        }
        let mut reading = Reading {
            epoch: edition.epoch,
            chunk_bytes: edition.chunk_bytes,
            total_bytes: edition.version.total_bytes,
            at: range.start,
            end: range.end,
            taken_bytes: 0,
            stall_at: Instant::now() + self.options.stall_timeout,
            stall_bytes: 0,
        };
        while reading.at < reading.end {
            if self.should_jump(&reading) {
                return Ok(Outcome::Next);
            }
            if self.order.borrow().stands_still() && !self.hold(&mut reading).await? {
                return Ok(Outcome::Paused);
            }
            if self.order.borrow().cancelled {
                return Err(Error::Cancelled);
            }
            let mut order = self.order.clone();
            let cache = self.cache.clone();
            let part = tokio::select! {
                biased;
                _ = order.wait_for(|order| order.cancelled || order.stands_still()) => continue,
                // The answer goes on where it was: nothing of it was taken.
                () = cache.somebody_waits() => continue,
                () = tokio::time::sleep_until(reading.stall_at) => return Err(self.stalled()),
                part = response.chunk() => part,
            };
            let part = part.map_err(|error| self.server.transport(error))?;
            let Some(part) = part else {
                let missing_bytes = reading.end - reading.at;
                return Err(Error::Truncated { url: self.server.shown().to_owned(), missing_bytes });
            };
            self.take(&mut reading, part).await?;
        }
        // The end of the body is read too, so that the connection can be used again.
        let rest = tokio::time::timeout(Duration::from_millis(200), response.chunk()).await;
        if let Ok(Ok(Some(rest))) = rest {
            return Err(self.too_long(rest.len()));
        }
        Ok(Outcome::Next)
    }

    /// Takes what came, and waits as the cap wants it.
    async fn take(&mut self, reading: &mut Reading, mut part: Bytes) -> Result<()> {
        let came = part.len();
        if as_u64(came) > reading.end - reading.at {
            return Err(self.too_long(came));
        }
        reading.stall_bytes += as_u64(came);
        if reading.stall_bytes >= self.options.stall_bytes {
            (reading.stall_bytes, reading.stall_at) = (0, Instant::now() + self.options.stall_timeout);
        }
        while !part.is_empty() {
            let chunk_start = self.partial.0.saturating_mul(reading.chunk_bytes);
            let chunk_end = chunk_start.saturating_add(reading.chunk_bytes).min(reading.total_bytes);
            let fits = usize::try_from(chunk_end.saturating_sub(reading.at)).unwrap_or(usize::MAX).min(part.len());
            self.partial.1.extend_from_slice(part.get(..fits).unwrap_or_default());
            part.advance(fits);
            reading.at += as_u64(fits);
            reading.taken_bytes += as_u64(fits);
            if reading.at == chunk_end {
                self.finish_chunk(reading.epoch).await?;
            }
        }
        let rate = self.meter.count(as_u64(came));
        self.report(|progress| {
            progress.received_bytes += as_u64(came);
            progress.rate = rate.unwrap_or(progress.rate);
        });
        self.throttle(reading, came).await
    }

    /// Writes the chunk in work, and makes safe what is due.
    async fn finish_chunk(&mut self, epoch: u64) -> Result<()> {
        let (chunk, bytes) = std::mem::take(&mut self.partial);
        self.unsynced_bytes += as_u64(bytes.len());
        let sync = self.cache.sync_is_due(self.unsynced_bytes);
        let written = self.blocking(move |cache| {
            cache.write(epoch, chunk, &bytes)?;
            if sync {
                cache.sync()?;
                // Others may have filled the disk meanwhile.
                cache.check_space()?;
            }
            Ok(bytes)
        });
        let mut bytes = written.await?;
        if sync {
            self.unsynced_bytes = 0;
        }
        bytes.clear();
        self.partial = (chunk + 1, bytes);
        Ok(())
    }

    async fn throttle(&mut self, reading: &mut Reading, came: usize) -> Result<()> {
        let order = *self.order.borrow_and_update();
        let Some(cap) = order.cap.filter(|cap| *cap > 0) else { return Ok(()) };
        let start = Instant::now();
        let wait = self.bucket.take(came, cap, start);
        if wait > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Another cap, a pause or the end: the loop looks which.
                _ = self.order.changed() => {}
            }
            reading.stall_at += start.elapsed();
        }
        if self.order.borrow().cancelled { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Stands still with the connection open; whether it goes on with it.
    async fn hold(&mut self, reading: &mut Reading) -> Result<bool> {
        let start = Instant::now();
        self.sync().await?;
        self.report(|progress| (progress.phase, progress.rate) = (Phase::Paused, 0));
        let hold = self.options.pause_hold;
        let goes_on = self.order.wait_for(|order| order.cancelled || !order.stands_still());
        let Ok(order) = tokio::time::timeout(hold, goes_on).await.map(|order| order.map(|order| *order)) else {
            return Ok(false);
        };
        if order.is_ok_and(|order| order.cancelled) {
            return Err(Error::Cancelled);
        }
        reading.stall_at += start.elapsed();
        self.report(|progress| progress.phase = Phase::Fetching);
        Ok(true)
    }

    /// Whether a reader waits for something that this answer does not bring soon.
    fn should_jump(&self, reading: &Reading) -> bool {
        let Some(wanted) = self.cache.wanted() else { return false };
        let start = wanted.saturating_mul(reading.chunk_bytes);
        let soon = reading.at.saturating_add(self.options.seek_ahead_bytes);
        // The chunk in work begins before `at`.
        let comes = wanted >= self.partial.0 && start < reading.end && start <= soon;
        !comes && reading.taken_bytes >= self.options.seek_least_bytes
    }

    fn stalled(&self) -> Error {
        let waited = self.options.stall_timeout;
        Error::Stalled { url: self.server.shown().to_owned(), bytes: self.options.stall_bytes, waited }
    }

    fn too_long(&self, bytes: usize) -> Error {
        let what = format!("{bytes} more bytes came than were announced");
        Error::BadAnswer { url: self.server.shown().to_owned(), what }
    }
}
