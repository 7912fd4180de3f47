//! Bundles from servers: one at a time, in a cache that survives power cuts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use holdfast_fetch::{Cache, CacheLimits, Fetcher, Handle, Options, Roots, Source, Tls};
use holdfast_rauc::Progress;
use holdfast_update_plan::Reason;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;

/// See the module.
#[derive(Debug)]
pub struct Downloads {
    cache: Cache,
    /// Of the one that is under way.
    handle: Mutex<Option<Handle>>,
}

impl Downloads {
    /// Opens the cache beside the updater's state.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let limits = CacheLimits { margin_bytes: config.keep_free_bytes, ..CacheLimits::default() };
        let directory = config.state_dir.join("download");
        std::fs::create_dir_all(&directory).with_context(|| format!("{} can't be made", directory.display()))?;
        let cache =
            Cache::open(&directory, limits).with_context(|| format!("{} can't be used", directory.display()))?;
        Ok(Self { cache, handle: Mutex::new(None) })
    }

    /// Where the bundle lies, once it is whole.
    pub fn path(&self) -> Option<PathBuf> {
        let holding = self.cache.holding()?;
        (holding.safe_bytes == holding.total_bytes).then_some(holding.path)
    }

    /// Fetches it, or goes on. False: it was stopped.
    ///
    /// # Errors
    /// It can't be had, after all attempts.
    pub async fn fetch(&self, url: &str, config: &Config, progress: &watch::Sender<Progress>) -> Result<bool, Reason> {
        let told = |error: &holdfast_fetch::Error| Reason::new("download", error.to_string());
        let mut tls = Tls::default();
        if let Some(path) = &config.server_ca {
            let read = std::fs::read(path);
            let pem = read.map_err(|error| Reason::new("server-ca", format!("{}: {error}", path.display())))?;
            tls.roots = Roots::Only(pem);
        }
        let source = Source::new(url).map_err(|error| told(&error))?.tls(tls);
        let (fetcher, handle) =
            Fetcher::new(self.cache.clone(), source, Options::default()).map_err(|error| told(&error))?;
        handle.cap(config.download_cap);
        let mut steps = handle.progress();
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        let shows = async {
            while steps.changed().await.is_ok() {
                let step = steps.borrow_and_update().clone();
                let total = step.total_bytes.unwrap_or(0).max(1);
                let percent = u8::try_from(step.safe_bytes.saturating_mul(100) / total).unwrap_or(100);
                let message = format!("{} of {} MiB, {} KiB/s", step.safe_bytes >> 20, total >> 20, step.rate >> 10);
                progress.send_replace(Progress { percent, message, depth: 0 });
            }
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = fetcher.run() => result,
            () = shows => return Ok(false),
        };
        match result {
            Ok(fetched) => {
                info!(bytes = fetched.bytes, "fetched");
                Ok(true)
            }
            Err(holdfast_fetch::Error::Cancelled) => Ok(false),
            Err(error) => Err(told(&error)),
        }
    }

    /// Stops; what is here stays.
    pub fn stop(&self) {
        if let Some(handle) = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take() {
            handle.cancel();
        }
    }

    /// It is no longer needed.
    pub fn discard(&self) {
        self.stop();
        if self.cache.holding().is_some()
            && let Err(error) = self.cache.remove()
        {
            warn!("what was downloaded is not deleted: {error}");
        }
    }
}
