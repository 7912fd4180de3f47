//! The bytes of a range as they come.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Frame;
use tokio::time::Instant;

use crate::cache::{Activity, Cache, Edition};
use crate::fetcher::blocking;
use crate::{Error, Result};

/// The frames of `range`, each a chunk at most. Ends with an error where the rest won't come, which breaks the connection:
/// the client must not take a part for the whole.
pub(super) fn frames(
    cache: Cache,
    edition: Edition,
    range: Range<u64>,
    patience: Duration,
) -> impl Stream<Item = Result<Frame<Bytes>>> + Send {
    futures_util::stream::try_unfold(range, move |range| {
        let (cache, edition) = (cache.clone(), edition.clone());
        async move {
            if range.start >= range.end {
                return Ok(None);
            }
            let number = range.start / edition.chunk_bytes;
            let chunk = chunk(&cache, edition.epoch, number, patience).await?;
            let offset = |at: u64| usize::try_from(at - number * edition.chunk_bytes).unwrap_or(usize::MAX);
            let bytes = chunk.slice(offset(range.start)..offset(range.end).min(chunk.len()));
            let next = range.start + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            Ok(Some((Frame::data(bytes), next..range.end)))
        }
    })
}

/// A chunk, waited for if it is to come.
async fn chunk(cache: &Cache, epoch: u64, number: u64, patience: Duration) -> Result<Bytes> {
    let mut ticks = cache.ticks();
    let deadline = Instant::now() + patience;
    let mut wanted = None;
    loop {
        ticks.mark_unchanged();
        let reader = cache.clone();
        if let Some(bytes) = blocking(move || reader.read(epoch, number)).await? {
            return Ok(bytes);
        }
        if let Activity::Failed(why) = cache.activity() {
            return Err(Error::NotComing { why });
        }
        wanted.get_or_insert_with(|| cache.want(number));
        // Only its own chunk interests it, and that the file or the fetch may have ended.
        let news = ticks.wait_for(|_| cache.has(number) || cache.is_over(epoch));
        let why = || format!("nothing for {}s", patience.as_secs());
        let waited = tokio::time::timeout_at(deadline, news).await;
        waited.map_err(|_| Error::NotComing { why: why() })?.ok();
    }
}

/// The file as soon as there is one.
pub(super) async fn edition(cache: &Cache, patience: Duration) -> Result<Edition> {
    let mut ticks = cache.ticks();
    let deadline = Instant::now() + patience;
    loop {
        ticks.mark_unchanged();
        if let Some(edition) = cache.edition() {
            return Ok(edition);
        }
        if let Activity::Failed(why) = cache.activity() {
            return Err(Error::NotComing { why });
        }
        let waited = tokio::time::timeout_at(deadline, ticks.changed()).await;
        waited.map_err(|_| Error::NotComing { why: "nobody has begun it".to_owned() })?.ok();
    }
}
