//! The fleet's server (hawkBit): what it offers becomes an event, what becomes of that is told to it.
//!
//! A task of its own that owns the outbox: what is in it is told exactly once, over restarts and outages, so that an outcome counts as
//! told as soon as it is there. It follows what the plan does and steers nothing: an offer is an offer.

mod report;
mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_hawkbit::{
    ActionId, Client, Delivery, Deployment, HeaderMap, Limits, Outbox, Pace, Poll, UpdateMode, deliver,
};
use holdfast_update_plan::{Event, Offer, Origin, Outcome, Reason, Source, Wish};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::config::FleetConfig;
use report::Report;
use server::Server;

/// Settings that can't be used are looked at again after this: a file that they name may have been put right meanwhile.
const RETRY: Duration = Duration::from_secs(60);

/// What the plan does, as far as the fleet is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doing {
    /// The fleet's action that is worked on.
    pub action: Option<u64>,
    /// The plan's phase.
    pub phase: &'static str,
    /// Of that phase.
    pub percent: u8,
}

/// A bundle on the fleet's server.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Of which action.
    pub action: u64,
    /// Where.
    pub url: String,
    /// What the whole must be.
    pub sha256: Option<[u8; 32]>,
    /// What a request for it needs. Marked as secret.
    pub headers: HeaderMap,
    /// Without TLS, because it was configured so.
    pub is_plain: bool,
}

/// How the engine reaches it.
#[derive(Debug)]
pub struct Handle {
    /// Ends of updates that came from the fleet. Full (16): they are told again at the next start.
    pub outcomes: mpsc::Sender<Outcome>,
    /// Somebody wants to know now. Full (1): it is being asked already.
    pub checks: mpsc::Sender<()>,
    /// What the plan does.
    pub doing: watch::Sender<Doing>,
    /// The newest bundle that was offered, for whoever downloads.
    pub shelf: watch::Receiver<Option<Artifact>>,
    /// What somebody has to put right before the server can be asked; empty: nothing.
    pub notice: watch::Receiver<String>,
}

/// See the module.
pub struct Fleet {
    server: Server,
    outbox: Outbox,
    pace: Pace,
    attributes: BTreeMap<String, String>,
    is_plain: bool,
    /// Full (64): the engine is busy; this task waits.
    events: mpsc::Sender<Event>,
    outcomes: mpsc::Receiver<Outcome>,
    checks: mpsc::Receiver<()>,
    doing: watch::Receiver<Doing>,
    shelf: watch::Sender<Option<Artifact>>,
    notice: watch::Sender<String>,
    report: Report,
}

impl Fleet {
    /// Ready to [`run`](Self::run). `attributes`: what the fleet is told of this box.
    ///
    /// # Errors
    /// The outbox can't be opened. What is wrong with the settings is a [notice](Handle::notice): a box whose fleet can't be asked
    /// still has systems to prove and to mark as good.
    pub fn new(
        config: &FleetConfig,
        state_dir: &std::path::Path,
        attributes: BTreeMap<String, String>,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<(Self, Handle)> {
        let (outbox, report) = Outbox::open(state_dir).context("what the fleet is to be told can't be kept")?;
        if !report.is_clean() {
            warn!("what the fleet was to be told: {report}");
        }
        // Full: see `Handle`.
        let (outcome_sender, outcomes) = mpsc::channel(16);
        // Full: see `Handle`.
        let (check_sender, checks) = mpsc::channel(1);
        let (doing_sender, doing) = watch::channel(Doing::default());
        let (shelf_sender, shelf) = watch::channel(None);
        let (notice_sender, notice) = watch::channel(String::new());
        let seed = config.id.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let fleet = Self {
            server: Server::new(config.clone()),
            outbox,
            pace: Pace::new(Limits::default(), seed),
            attributes,
            is_plain: config.plain_http,
            events,
            outcomes,
            checks,
            doing,
            shelf: shelf_sender,
            notice: notice_sender,
            report: Report::default(),
        };
        Ok((fleet, Handle { outcomes: outcome_sender, checks: check_sender, doing: doing_sender, shelf, notice }))
    }

    /// Runs until the engine is gone, or the outbox can't be written.
    ///
    /// # Errors
    /// The latter: what can't be told must not be forgotten.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let (mut poll_at, mut deliver_at) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                outcome = self.outcomes.recv() => {
                    let Some(outcome) = outcome else { return Ok(()) };
                    self.report.ended(&mut self.outbox, &outcome)?;
                    // It is on disk, and will be told: the plan need not remember it any longer.
                    let _ = self.events.send(Event::Told(outcome.number)).await;
                    deliver_at = Instant::now();
                }
                changed = self.doing.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let doing = self.doing.borrow_and_update().clone();
                    if self.report.follows(&mut self.outbox, &doing)? {
                        deliver_at = Instant::now();
                    }
                }
                Some(()) = self.checks.recv() => poll_at = Instant::now(),
                () = sleep_until(deliver_at) => deliver_at = self.deliver().await?,
                () = sleep_until(poll_at) => {
                    poll_at = self.poll().await?;
                    deliver_at = Instant::now();
                }
            }
        }
    }

    /// Tells all that waits. When to come again.
    async fn deliver(&mut self) -> anyhow::Result<Instant> {
        // Polling says what is wrong with it, and comes here when it is right.
        let Ok(client) = self.server.client() else { return Ok(Instant::now() + RETRY) };
        loop {
            match deliver(&client, &mut self.outbox).await? {
                Delivery::Taken { message } => debug!(?message, "told to the fleet"),
                Delivery::Over { message } => debug!(?message, "known to the fleet"),
                Delivery::Dropped { message, error } => warn!(?message, "the fleet does not take it: {error}"),
                // Nothing to be told: whatever comes sets another time.
                Delivery::Empty => return Ok(Instant::now() + Duration::from_secs(3600)),
                Delivery::Later { error } => {
                    let wait = self.pace.after_error(&error).0;
                    debug!(wait_s = wait.as_secs(), "the fleet is not told yet: {error}");
                    return Ok(Instant::now() + wait);
                }
            }
        }
    }

    async fn poll(&mut self) -> anyhow::Result<Instant> {
        let client = match self.server.client() {
            Ok(client) => client,
            Err(error) => {
                let text = format!("the fleet's server can't be asked: {error:#}");
                if self.notice.send_replace(text.clone()) != text {
                    warn!("{text}");
                }
                let _ = self.events.send(Event::CheckFailed(Reason::new("fleet", text))).await;
                return Ok(Instant::now() + RETRY);
            }
        };
        self.notice.send_replace(String::new());
        let polled = async {
            let poll = client.poll().await?;
            let deployment = match &poll.deployment {
                Some(action) => Some(client.deployment(action).await?),
                None => None,
            };
            let cancel = match &poll.cancel {
                Some(action) => Some(client.cancel(action).await?),
                None => None,
            };
            Ok::<_, holdfast_hawkbit::Error>((poll, deployment, cancel))
        };
        let (poll, deployment, cancel) = match polled.await {
            Ok(polled) => polled,
            Err(error) => {
                if matches!(error, holdfast_hawkbit::Error::Denied { .. }) {
                    self.server.denied();
                }
                let wait = self.pace.after_error(&error).0;
                warn!(wait_s = wait.as_secs(), "the fleet's server: {error}");
                let _ = self.events.send(Event::CheckFailed(report::reason(&error))).await;
                return Ok(Instant::now() + wait);
            }
        };
        tell_attributes(&client, &self.attributes, &poll).await;
        if let Some(cancel) = cancel {
            let doing = self.doing.borrow().clone();
            if self.report.canceling(&mut self.outbox, &cancel, &doing)? {
                let _ = self.events.send(Event::Cancelled).await;
            }
        }
        match deployment {
            Some(deployment) => self.offer(&client, &deployment).await?,
            None => drop(self.events.send(Event::Nothing(Source::Fleet)).await),
        }
        Ok(Instant::now() + self.pace.after_poll(&poll))
    }

    /// What the server wants becomes an offer, the same one again and again: its window may have opened meanwhile.
    async fn offer(&mut self, client: &Client, deployment: &Deployment) -> anyhow::Result<()> {
        let Some((offer, artifact)) = self.read(client, deployment) else {
            return self.report.useless(&mut self.outbox, &deployment.action);
        };
        if self.doing.borrow().action != Some(artifact.action) {
            self.outbox.begin(&deployment.action)?;
        }
        self.shelf.send_replace(Some(artifact));
        let _ = self.events.send(Event::Found(offer)).await;
        Ok(())
    }

    /// `None`: there is no bundle in it.
    fn read(&self, client: &Client, deployment: &Deployment) -> Option<(Offer, Artifact)> {
        let action = number(&deployment.action)?;
        let chunks = deployment.chunks.iter();
        let mut bundles = chunks.flat_map(|chunk| chunk.artifacts.iter().map(move |artifact| (chunk, artifact)));
        let (chunk, artifact) = bundles.find(|(_, artifact)| artifact.filename.ends_with(".raucb"))?;
        let url = artifact.https.clone().or(artifact.http.clone().filter(|_| self.is_plain))?;
        let wish = match (deployment.may_download(), deployment.may_install()) {
            (false, _) => Wish::Tell,
            (true, false) => Wish::Download,
            (true, true) => Wish::Reboot,
        };
        let offer = Offer {
            origin: Origin::Fleet(action),
            version: chunk.version.clone(),
            size_bytes: artifact.size_bytes,
            wish,
            force: false,
        };
        info!(action, version = offer.version, ?wish, "the fleet offers");
        let headers = client.download_headers(&url);
        let is_plain = url.scheme() == "http";
        Some((offer, Artifact { action, url: url.into(), sha256: artifact.sha256, headers, is_plain }))
    }
}

/// hawkBit's ids are numbers.
fn number(action: &ActionId) -> Option<u64> {
    action.as_str().parse().ok()
}

async fn tell_attributes(client: &Client, attributes: &BTreeMap<String, String>, poll: &Poll) {
    if !poll.config_data_wanted {
        return;
    }
    if let Err(error) = client.config_data(attributes, UpdateMode::Replace).await {
        warn!("the fleet is not told what this box is: {error}");
    }
}
