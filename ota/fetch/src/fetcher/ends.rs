//! How attempts and fetches end.

use std::time::Duration;

use crate::cache::{Activity, Cache};
use crate::tempo::Retries;
use crate::{Error, Result};

/// How often in a row an answer may be wrong: the same question rarely gets a better one.
const MAX_BAD_ANSWERS: u32 = 3;

/// Runs what blocks on a thread of its own; its panic is ours.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(Error::Cancelled),
        },
    }
}

/// Failures since something was gained.
#[derive(Default)]
pub(super) struct Failures {
    pub in_a_row: u32,
    bad_answers: u32,
    pub last: String,
}

impl Failures {
    /// How long to wait after `error`, or that it ends here.
    pub fn next(&mut self, error: Error, retries: &Retries) -> Result<Duration> {
        if !error.is_transient() {
            return Err(error);
        }
        self.bad_answers = if matches!(error, Error::BadAnswer { .. }) { self.bad_answers + 1 } else { 0 };
        if self.bad_answers >= MAX_BAD_ANSWERS {
            return Err(error);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if retries.attempts.is_some_and(|attempts| self.in_a_row >= attempts) {
            return Err(Error::Exhausted { attempts: self.in_a_row, last: Box::new(error) });
        }
        self.last = error.to_string();
        let mut chance = [0; 4];
        // Without chance the waits are only not spread.
        rustix::rand::getrandom(&mut chance, rustix::rand::GetRandomFlags::NONBLOCK).ok();
        Ok(retries.wait(self.in_a_row, u32::from_ne_bytes(chance), error.retry_after()))
    }
}

/// Tells readers whether what they wait for will come, however the fetch ends.
pub(super) struct Running {
    cache: Cache,
    pub failed: Option<String>,
}

impl Running {
    pub fn new(cache: &Cache) -> Self {
        cache.set_activity(Activity::Running);
        Self { cache: cache.clone(), failed: None }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cache.set_activity(self.failed.take().map_or(Activity::Idle, Activity::Failed));
    }
}
