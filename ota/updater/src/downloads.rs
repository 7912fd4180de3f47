//! Bundles from servers and sticks: one at a time, in a cache that survives power cuts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use holdfast_fetch::{Cache, CacheLimits, Copier, Fetched, Fetcher, Handle, Options, Roots, Source, Tls};
use holdfast_rauc::Progress;
use holdfast_update_plan::Reason;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::Config;
use crate::files;
use crate::fleet::Artifact;
use crate::sticks::Original;

/// A bundle on a server.
#[derive(Debug)]
pub enum Wanted {
    /// At this address.
    Url(String),
    /// As the fleet says.
    Artifact(Artifact),
    /// Of a channel: at this address, and with this SHA-256.
    Published(String, [u8; 32]),
}

/// See the module. The cache is opened for each use and closed again: RAUC takes no bundle that anybody else has open.
#[derive(Debug)]
pub struct Downloads {
    directory: PathBuf,
    limits: CacheLimits,
    /// Of the one that is under way.
    handle: Mutex<Option<Handle>>,
    /// One that was stopped has the cache until it has come to rest; the next one waits for that.
    turn: tokio::sync::Mutex<()>,
    /// That all are to stop that have been wanted so far. The newest counts: one that has seen any of them stops.
    stops: watch::Sender<()>,
}

/// That a download was wanted, as of now: what stops one later stops it, wherever it has come to.
#[derive(Debug)]
pub struct Ticket(watch::Receiver<()>);

impl Ticket {
    /// Comes back when it is no longer wanted.
    pub async fn stopped(&mut self) {
        // The sender lives as long as the updater: without one nothing is wanted.
        let _ = self.0.changed().await;
    }

    fn is_stopped(&self) -> bool {
        self.0.has_changed().unwrap_or(true)
    }
}

impl Downloads {
    /// Makes sure of the cache, beside the updater's state.
    ///
    /// # Errors
    /// The directory can't be used.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let limits = CacheLimits { margin_bytes: config.keep_free_bytes, ..CacheLimits::default() };
        let directory = config.state_dir.join("download");
        std::fs::create_dir_all(&directory).with_context(|| format!("{} can't be made", directory.display()))?;
        let downloads = Self {
            directory,
            limits,
            handle: Mutex::new(None),
            turn: tokio::sync::Mutex::default(),
            stops: watch::Sender::new(()),
        };
        downloads.cache().with_context(|| format!("{} can't be used", downloads.directory.display()))?;
        Ok(downloads)
    }

    /// For a download that is wanted now.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.stops.subscribe())
    }

    fn cache(&self) -> holdfast_fetch::Result<Cache> {
        Cache::open(&self.directory, self.limits.clone())
    }

    /// Where the bundle lies, once it is whole.
    pub fn path(&self) -> Option<PathBuf> {
        let holding = self.cache().ok()?.holding()?;
        (holding.safe_bytes == holding.total_bytes).then_some(holding.path)
    }

    /// Fetches it, or goes on. False: it was stopped.
    ///
    /// # Errors
    /// It can't be had, after all attempts.
    pub async fn fetch(
        &self,
        wanted: &Wanted,
        config: &Config,
        progress: &watch::Sender<Progress>,
        mut ticket: Ticket,
    ) -> Result<bool, Reason> {
        let told = |error: &holdfast_fetch::Error| Reason::new("download", error.to_string());
        let source = source(wanted, config)?;
        let _turn = tokio::select! {
            biased;
            () = ticket.stopped() => return Ok(false),
            turn = self.turn.lock() => turn,
        };
        let (fetcher, handle) = Fetcher::new(self.cache().map_err(|error| told(&error))?, source, Options::default())
            .map_err(|error| told(&error))?;
        self.follow(fetcher.run(), handle, config, progress, &ticket).await
    }

    /// What was copied from this stick lies here whole already.
    pub fn has_copied(&self, key: &str) -> bool {
        let holding = self.cache().ok().and_then(|cache| cache.holding());
        holding.is_some_and(|holding| holding.url == key && holding.safe_bytes == holding.total_bytes)
    }

    /// Copies it from a stick, or goes on. False: it was stopped.
    ///
    /// # Errors
    /// It can't be read or kept.
    pub async fn copy(
        &self,
        original: &Original,
        config: &Config,
        progress: &watch::Sender<Progress>,
        mut ticket: Ticket,
    ) -> Result<bool, Reason> {
        let told = |error: &holdfast_fetch::Error| Reason::new("copy", error.to_string());
        let file = original.file.try_clone().map_err(|error| Reason::new("copy", error.to_string()))?;
        let _turn = tokio::select! {
            biased;
            () = ticket.stopped() => return Ok(false),
            turn = self.turn.lock() => turn,
        };
        let cache = self.cache().map_err(|error| told(&error))?;
        let (copier, handle) =
            Copier::new(cache, &original.key, file, original.sha256).map_err(|error| told(&error))?;
        self.follow(copier.run(), handle, config, progress, &ticket).await
    }

    async fn follow(
        &self,
        run: impl Future<Output = holdfast_fetch::Result<Fetched>>,
        handle: Handle,
        config: &Config,
        progress: &watch::Sender<Progress>,
        ticket: &Ticket,
    ) -> Result<bool, Reason> {
        handle.cap(config.download_cap);
        let mut steps = handle.progress();
        // From here on it is stopped by the handle. Nothing is waited for in between.
        if ticket.is_stopped() {
            return Ok(false);
        }
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
            result = run => result,
            () = shows => return Ok(false),
        };
        match result {
            Ok(fetched) => {
                info!(bytes = fetched.bytes, "fetched");
                Ok(true)
            }
            Err(holdfast_fetch::Error::Cancelled) => Ok(false),
            Err(error @ holdfast_fetch::Error::Original { .. }) => Err(Reason::new("copy", error.to_string())),
            Err(error) => Err(Reason::new("download", error.to_string())),
        }
    }

    /// Stops; what is here stays.
    pub fn stop(&self) {
        self.stops.send_replace(());
        if let Some(handle) = self.handle.lock().unwrap_or_else(PoisonError::into_inner).take() {
            handle.cancel();
        }
    }

    /// It is no longer needed.
    pub fn discard(&self) {
        self.stop();
        // One that is just being stopped still has it; the next one begins with another bundle, and gives it up then.
        let removed = self.cache().and_then(|cache| if cache.holding().is_some() { cache.remove() } else { Ok(()) });
        if let Err(error) = removed {
            warn!("what was downloaded is not deleted: {error}");
        }
    }
}

fn source(wanted: &Wanted, config: &Config) -> Result<Source, Reason> {
    let told = |error: holdfast_fetch::Error| Reason::new("download", error.to_string());
    let read = |path: &std::path::Path| {
        std::fs::read(path).map_err(|error| Reason::new("download", files::unreadable(path, &error)))
    };
    let mut tls = Tls::default();
    if let Some(path) = &config.server_ca {
        tls.roots = Roots::Only(read(path)?);
    }
    let artifact = match wanted {
        Wanted::Url(url) => return Ok(Source::new(url).map_err(told)?.tls(tls)),
        Wanted::Published(url, sha256) => return Ok(Source::new(url).map_err(told)?.tls(tls).expect_sha256(*sha256)),
        Wanted::Artifact(artifact) => artifact,
    };
    if let Some((chain, key)) = config.fleet.as_ref().and_then(|fleet| fleet.certificate.as_ref()) {
        tls.client = Some((read(chain)?, read(key)?));
    }
    let mut source = Source::new(&artifact.url).map_err(told)?.tls(tls);
    for (name, value) in &artifact.headers {
        let value = value.to_str().map_err(|_| Reason::new("download", "a header of the fleet's can't be sent"))?;
        source = source.header(name.as_str(), value).map_err(told)?;
    }
    if let Some(sha256) = artifact.sha256 {
        source = source.expect_sha256(sha256);
    }
    Ok(if artifact.is_plain { source.allow_plain_loopback() } else { source })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use holdfast_rauc::Progress;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::{Downloads, Wanted};
    use crate::config::Config;

    /// Longer than any of it takes, and shorter than a download that nobody answers.
    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn one_that_waits_for_another_to_come_to_rest_can_be_stopped_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("updater.toml");
        std::fs::write(&path, format!("[update]\nstate_dir = {:?}\n", dir.path())).unwrap();
        let config = Config::load(&path).unwrap();
        let downloads = Downloads::open(&config).unwrap();
        let wanted = Wanted::Url("https://localhost:9/a.raucb".to_owned());
        let (progress, _) = watch::channel(Progress::default());
        let fetch = |ticket| downloads.fetch(&wanted, &config, &progress, ticket);

        // The one before has not come to rest.
        let turn = downloads.turn.lock().await;
        let mut waiting = Box::pin(fetch(downloads.ticket()));
        assert!(timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "it did not wait");
        downloads.stop();
        assert!(!timeout(SOON, waiting).await.expect("it waits on").unwrap());
        // Stopped before it has even begun.
        let ticket = downloads.ticket();
        downloads.stop();
        assert!(!timeout(SOON, fetch(ticket)).await.expect("it waits").unwrap());
        drop(turn);
        // What is wanted afterwards is not stopped by what was before: it finds that nobody is there.
        let ended = timeout(Duration::from_secs(1), fetch(downloads.ticket())).await;
        assert!(!matches!(ended, Ok(Ok(_))), "it was stopped");
    }
}
