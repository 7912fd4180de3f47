//! An installation, from the call to its end.

use rauc::InstallerProxy;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zbus::proxy::CacheProperties;

use crate::error::{Error, Kind};
use crate::options::{Degraded, Options, without};
use crate::service::{Rauc, shown};
use crate::status::{Operation, Progress};
use crate::watch::Watcher;

/// An installation that goes on. RAUC can't be stopped: dropping this only stops watching.
#[derive(Debug)]
pub struct Installing {
    degraded: Vec<Degraded>,
    /// Holds the newest only: whoever looks seldom misses steps, never the latest, and nobody waits for them.
    progress: watch::Receiver<Progress>,
    end: JoinHandle<Result<(), Error>>,
}

impl Installing {
    pub(crate) async fn begin(rauc: &Rauc, bundle: &str, options: &Options) -> Result<Self, Error> {
        let doing = format!("installing {}", shown(bundle));
        let fail = |error: zbus::Error| Error::call(&doing, error).about(bundle);
        // From here on all is about this one process: a RAUC that is started anew meanwhile is another.
        let owner = rauc.owner(&doing).await?;
        let proxy = InstallerProxy::builder(rauc.connection())
            .destination(owner.clone())
            .map_err(fail)?
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(fail)?;
        let (sender, progress) = watch::channel(Progress::default());
        // Before the call: it returns at once, and the end may be told before its answer is read.
        let watcher = Watcher::subscribe(&proxy, &owner, &doing, bundle, sender).await?;
        // A refusal by RAUC itself makes it say "idle" although it installs: don't ask for one.
        let operation: String = proxy.inner().get_property("Operation").await.map_err(fail)?;
        if Operation::of(&operation) != Operation::Idle {
            return Err(Error::new(doing, Kind::Busy, format!("RAUC is {operation} already")));
        }
        let mut args = options.to_args();
        let mut degraded = vec![];
        while let Err(error) = proxy.install_bundle(bundle, args.clone()).await {
            let error = fail(error);
            let Some(less) = without(&mut args, error.text()) else {
                return Err(error);
            };
            tracing::warn!("{doing}: {less}");
            degraded.push(less);
        }
        Ok(Self { degraded, progress, end: tokio::spawn(watcher.run()) })
    }

    /// What this RAUC is too old for, of what was asked.
    #[must_use]
    pub fn degraded(&self) -> &[Degraded] {
        &self.degraded
    }

    /// The next progress; steps may be skipped, the latest never. `None` when it has ended. May be dropped and called anew
    /// without losing anything.
    pub async fn progress(&mut self) -> Option<Progress> {
        self.progress.changed().await.ok()?;
        Some(self.progress.borrow_and_update().clone())
    }

    /// The latest progress.
    #[must_use]
    pub fn latest(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Why it failed. [`Kind::Gone`]: RAUC ended or was restarted in the middle, and the slot is incomplete.
    pub async fn finished(mut self) -> Result<(), Error> {
        let ended = (&mut self.end).await;
        ended.unwrap_or_else(|error| Err(Error::new("watching an installation", Kind::Other, error.to_string())))
    }
}

impl Drop for Installing {
    fn drop(&mut self) {
        self.end.abort();
    }
}
