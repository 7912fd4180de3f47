//! The fleet's server (hawkBit): what it offers becomes an event, what becomes of that is told to it.
//!
//! A task of its own that owns the outbox: what is in it is told exactly once, over restarts and outages, so that an outcome counts as
//! told as soon as it is there. It follows what the plan does and steers nothing: an offer is an offer.

mod report;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_hawkbit::{
    ActionId, Ca, Certificate, Client, Delivery, Deployment, HeaderMap, Limits, Outbox, Pace, Poll, Settings, Token,
    UpdateMode, deliver,
};
use holdfast_update_plan::{Event, Offer, Origin, Outcome, Source, Wish};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::config::FleetConfig;
use report::Report;

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
}

/// See the module.
pub struct Fleet {
    client: Client,
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
    report: Report,
}

impl Fleet {
    /// Ready to [`run`](Self::run). `attributes`: what the fleet is told of this box.
    ///
    /// # Errors
    /// The configuration can't be used, or the outbox not be opened.
    pub fn new(
        config: &FleetConfig,
        state_dir: &std::path::Path,
        attributes: BTreeMap<String, String>,
        events: mpsc::Sender<Event>,
    ) -> anyhow::Result<(Self, Handle)> {
        let client =
            Client::new(settings(config)?).context("the fleet's server ([update] fleet_url and what belongs to it)")?;
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
        let seed = config.id.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let fleet = Self {
            client,
            outbox,
            pace: Pace::new(Limits::default(), seed),
            attributes,
            is_plain: config.plain_http,
            events,
            outcomes,
            checks,
            doing,
            shelf: shelf_sender,
            report: Report::default(),
        };
        Ok((fleet, Handle { outcomes: outcome_sender, checks: check_sender, doing: doing_sender, shelf }))
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
        loop {
            match deliver(&self.client, &mut self.outbox).await? {
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
        let polled = async {
            let poll = self.client.poll().await?;
            let deployment = match &poll.deployment {
                Some(action) => Some(self.client.deployment(action).await?),
                None => None,
            };
            let cancel = match &poll.cancel {
                Some(action) => Some(self.client.cancel(action).await?),
                None => None,
            };
            Ok::<_, holdfast_hawkbit::Error>((poll, deployment, cancel))
        };
        let (poll, deployment, cancel) = match polled.await {
            Ok(polled) => polled,
            Err(error) => {
                let wait = self.pace.after_error(&error).0;
                warn!(wait_s = wait.as_secs(), "the fleet's server: {error}");
                let _ = self.events.send(Event::CheckFailed(report::reason(&error))).await;
                return Ok(Instant::now() + wait);
            }
        };
        self.tell_attributes(&poll).await;
        if let Some(cancel) = cancel {
            let doing = self.doing.borrow().clone();
            if self.report.canceling(&mut self.outbox, &cancel, &doing)? {
                let _ = self.events.send(Event::Cancelled).await;
            }
        }
        match deployment {
            Some(deployment) => self.offer(&deployment).await?,
            None => drop(self.events.send(Event::Nothing(Source::Fleet)).await),
        }
        Ok(Instant::now() + self.pace.after_poll(&poll))
    }

    async fn tell_attributes(&self, poll: &Poll) {
        if !poll.config_data_wanted {
            return;
        }
        if let Err(error) = self.client.config_data(&self.attributes, UpdateMode::Replace).await {
            warn!("the fleet is not told what this box is: {error}");
        }
    }

    /// What the server wants becomes an offer, the same one again and again: its window may have opened meanwhile.
    async fn offer(&mut self, deployment: &Deployment) -> anyhow::Result<()> {
        let Some((offer, artifact)) = self.read(deployment) else {
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
    fn read(&self, deployment: &Deployment) -> Option<(Offer, Artifact)> {
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
        let headers = self.client.download_headers(&url);
        let is_plain = url.scheme() == "http";
        Some((offer, Artifact { action, url: url.into(), sha256: artifact.sha256, headers, is_plain }))
    }
}

/// hawkBit's ids are numbers.
fn number(action: &ActionId) -> Option<u64> {
    action.as_str().parse().ok()
}

fn settings(config: &FleetConfig) -> anyhow::Result<Settings> {
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))
    };
    let token = match &config.token_file {
        Some(path) if config.is_gateway => Token::Gateway(read(path)?.trim().to_owned().into()),
        Some(path) => Token::Target(read(path)?.trim().to_owned().into()),
        None => Token::None,
    };
    let url = config.url.parse().with_context(|| format!("fleet_url = {:?}", config.url))?;
    let mut settings = Settings::new(url, &config.tenant, &config.id, token);
    settings.plain_http = config.plain_http;
    if let Some(ca) = &config.ca {
        settings.ca = Ca::File(ca.clone());
    }
    if let Some((chain, key)) = &config.certificate {
        settings.certificate = Some(Certificate { chain: chain.clone(), key: key.clone() });
    }
    Ok(settings)
}
