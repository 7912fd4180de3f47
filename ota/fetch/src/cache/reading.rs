//! What those need who read a cache, or decide what comes next.

use bytes::Bytes;
use tokio::sync::watch;

use super::held::Held;
use super::{Activity, Cache, Edition, Wanted, lock};
use crate::Result;

impl Cache {
    /// A chunk, verified; `None` where it is missing. One that is damaged is missing from now on. Blocks.
    pub(crate) fn read(&self, epoch: u64, chunk: u64) -> Result<Option<Bytes>> {
        let (file, digest, length) = {
            let state = lock(&self.inner.held);
            let file = state.file_of(epoch)?;
            let Some((digest, length)) = state.held.as_ref().and_then(|held| held.claim(chunk)) else {
                return Ok(None);
            };
            (file, digest, length)
        };
        if let Some(bytes) = file.read(chunk, length, &digest)? {
            return Ok(Some(bytes));
        }
        tracing::warn!(path = %file.path.display(), chunk, "a chunk on disk is damaged; it is fetched again");
        let mut state = lock(&self.inner.held);
        if let (true, Some(held)) = (state.epoch == epoch, state.held.as_mut()) {
            held.forget_if(chunk, &digest);
        }
        Ok(None)
    }

    pub(crate) fn edition(&self) -> Option<Edition> {
        let state = lock(&self.inner.held);
        state.held.as_ref().map(|held| held.edition(state.epoch))
    }

    /// What a fetch should bring next: the first missing run, from `from` on where that is missing.
    pub(crate) fn missing(&self, from: Option<u64>) -> Option<std::ops::Range<u64>> {
        lock(&self.inner.held).held.as_ref().and_then(|held| held.missing_run(from))
    }

    /// Bytes that were there and were found damaged.
    pub(crate) fn lost_bytes(&self) -> u64 {
        lock(&self.inner.held).held.as_ref().map_or(0, Held::lost_bytes)
    }

    pub(crate) fn has(&self, chunk: u64) -> bool {
        lock(&self.inner.held).held.as_ref().is_some_and(|held| held.claim(chunk).is_some())
    }

    pub(crate) fn set_activity(&self, activity: Activity) {
        lock(&self.inner.held).activity = activity;
        self.inner.waiting.notify();
    }

    pub(crate) fn activity(&self) -> Activity {
        lock(&self.inner.held).activity.clone()
    }

    /// Whether a reader of that file waits in vain: the file is gone, or the fetch has ended badly.
    pub(crate) fn is_over(&self, epoch: u64) -> bool {
        let state = lock(&self.inner.held);
        state.epoch != epoch || matches!(state.activity, Activity::Failed(_))
    }

    /// Ticks whenever something changes that a reader may wait for.
    pub(crate) fn ticks(&self) -> watch::Receiver<u64> {
        self.inner.waiting.ticks()
    }

    /// Says that a chunk is waited for, for as long as the result lives.
    pub(crate) fn want(&self, chunk: u64) -> Wanted {
        self.inner.waiting.want(chunk)
    }

    /// The chunk that has been waited for longest.
    pub(crate) fn wanted(&self) -> Option<u64> {
        self.inner.waiting.first(|chunk| !self.has(chunk))
    }

    /// Ends when somebody says that he waits for a chunk.
    pub(crate) async fn somebody_waits(&self) {
        self.inner.waiting.asked().await;
    }
}
