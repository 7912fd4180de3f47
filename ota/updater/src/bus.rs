//! `org.holdfast.Updater1` on the bus. `dbus/org.holdfast.Updater1.xml` is the contract; a test holds this code against it.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_dbus::options::{Dict, Options, invalid, text};
use holdfast_dbus::updater::{ObstacleInfo, OutcomeInfo, UPDATER_BUS_NAME, UPDATER_PATH};
use holdfast_dbus::{Error, ErrorCode};
use holdfast_update_plan::{Outcome, Reason, Record, Result as Ending, Wish};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use zbus::fdo::{RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;
use zbus::zvariant::OwnedFd;
use zbus::{Connection, interface};

use crate::engine::Look;
use crate::sticks::{News, Plugged};

/// No file's name is longer, bytes.
const MAX_NAME: usize = 255;
/// Nor a reason.
const MAX_WHY: usize = 16 << 10;
/// How long a stick's offer waits for its answer.
const ANSWER: Duration = Duration::from_secs(5);

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// As the property `State`.
    pub state: String,
    /// As `WaitsFor`.
    pub waits_for: String,
    /// As `Offered`.
    pub offered: String,
    /// As `Percent`.
    pub percent: u32,
    /// As `Message`.
    pub message: String,
    /// As `Frozen`.
    pub frozen: bool,
    /// As `Throttled`.
    pub throttled: String,
    /// As `BootedSlot`.
    pub booted: String,
    /// As `Source`.
    pub source: String,
    /// As `Turn`.
    pub turn: i64,
    /// As `Notice`.
    pub notice: String,
    /// All that are kept, newest first.
    pub outcomes: Vec<OutcomeInfo>,
}

impl Shown {
    /// What is written down: it can be told before it is known what came of it, which may take as long as an installation that RAUC is at.
    pub fn written(record: &Record) -> Self {
        let offer = record.offer.as_ref().map(|offer| &offer.version);
        Self {
            state: record.phase.name().to_owned(),
            offered: record.bundle().map(|bundle| &bundle.version).or(offer).cloned().unwrap_or_default(),
            outcomes: record.outcomes.iter().rev().map(info).collect(),
            ..Self::default()
        }
    }
}

/// What is asked of the engine.
#[derive(Debug)]
pub struct Ask {
    /// What.
    pub what: What,
    /// How it went.
    pub answer: oneshot::Sender<Result<(), Error>>,
}

/// See [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Look for an update.
    Check,
    /// This file.
    Install {
        /// Its path.
        location: String,
        /// How far it may go.
        until: Wish,
        /// Also if it is known to be bad.
        force: bool,
    },
    /// The present update may go so far.
    Approve(Wish),
    /// It is no longer wanted.
    Cancel,
    /// The other system is wanted.
    Rollback,
}

/// The object.
#[derive(Debug)]
pub struct Updater {
    /// What it shows.
    pub shown: watch::Receiver<Shown>,
    /// Full (16): the caller is told that the updater is busy.
    pub asks: mpsc::Sender<Ask>,
    /// Looks at the box, as soon as there is something to look with. The newest counts.
    pub looks: watch::Receiver<Option<Look>>,
    /// Full (16): the same.
    pub sticks: mpsc::Sender<News>,
    /// As `Window`.
    pub window: String,
}

impl Updater {
    async fn ask(&self, what: What) -> Result<(), Error> {
        let (answer, wait) = oneshot::channel();
        self.asks.try_send(Ask { what, answer }).map_err(busy)?;
        wait.await.map_err(|_| Error::new(ErrorCode::Internal, "the updater ends"))?
    }
}

fn busy<T>(_: T) -> Error {
    Error::new(ErrorCode::Busy, "too many commands wait; try again in a moment")
}

fn wish(until: &str) -> Result<Wish, Error> {
    match until {
        "download" => Ok(Wish::Download),
        "install" => Ok(Wish::Install),
        "reboot" => Ok(Wish::Reboot),
        _ => Err(invalid(format!("until = {until:?}; it must be download, install or reboot")).with("until", until)),
    }
}

#[interface(name = "org.holdfast.Updater1")]
impl Updater {
    async fn check(&self, options: Dict) -> Result<(), Error> {
        Options::new("Check", options).end()?;
        self.ask(What::Check).await
    }

    async fn install(&self, location: String, options: Dict) -> Result<(), Error> {
        let mut options = Options::new("Install", options);
        let until = options.string("until")?.map_or(Ok(Wish::Reboot), |until| wish(&until))?;
        let force = options.flag("force")?.unwrap_or(false);
        options.end()?;
        if !location.starts_with('/') && !location.starts_with("https://") {
            let text = "it must be the absolute path of a bundle on this box, or an https:// address";
            return Err(invalid(format!("location = {location:?}; {text}")));
        }
        self.ask(What::Install { location, until, force }).await
    }

    async fn approve(&self, until: &str, options: Dict) -> Result<(), Error> {
        Options::new("Approve", options).end()?;
        self.ask(What::Approve(wish(until)?)).await
    }

    async fn cancel(&self, options: Dict) -> Result<(), Error> {
        Options::new("Cancel", options).end()?;
        self.ask(What::Cancel).await
    }

    async fn rollback(&self, options: Dict) -> Result<(), Error> {
        Options::new("Rollback", options).end()?;
        self.ask(What::Rollback).await
    }

    async fn offer_stick(&self, bundle: OwnedFd, link: OwnedFd, options: Dict) -> Result<(), Error> {
        let mut options = Options::new("OfferStick", options);
        let name = text("name", options.string("name")?.unwrap_or_default(), MAX_NAME)?;
        let channel = options.string("channel")?;
        options.end()?;
        let file = File::from(std::os::fd::OwnedFd::from(bundle));
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(invalid("bundle is no file; it must be a signed bundle, opened for reading"));
        }
        let link = UnixStream::from(std::os::fd::OwnedFd::from(link));
        let (answer, wait) = oneshot::channel();
        let plugged = Plugged { name, file, link, channel };
        self.sticks.try_send(News::Plugged(plugged, answer)).map_err(busy)?;
        // While RAUC is at an installation that was begun before, nobody answers yet; the stick is looked at afterwards.
        match timeout(ANSWER, wait).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::new(ErrorCode::Internal, "the updater ends")),
            Err(_) => Ok(()),
        }
    }

    async fn refuse_stick(&self, why: String, options: Dict) -> Result<(), Error> {
        Options::new("RefuseStick", options).end()?;
        self.sticks.try_send(News::Refused(text("reason", why, MAX_WHY)?)).map_err(busy)
    }

    #[zbus(out_args("outcomes"))]
    async fn list_outcomes(&self, options: Dict) -> Result<Vec<OutcomeInfo>, Error> {
        Options::new("ListOutcomes", options).end()?;
        Ok(self.shown.borrow().outcomes.clone())
    }

    #[zbus(out_args("obstacles"))]
    async fn list_obstacles(&self, options: Dict) -> Result<Vec<ObstacleInfo>, Error> {
        Options::new("ListObstacles", options).end()?;
        let busy = || Error::new(ErrorCode::Busy, "a slot is being written, or the updater has only begun; ask again");
        // RAUC tells nothing meanwhile, and does not even answer where it is held still.
        let look = self.looks.borrow().clone().filter(|_| self.shown.borrow().state != "installing");
        let found = look.ok_or_else(busy)?.obstacles().await.ok_or_else(busy)?;
        Ok(found.into_iter().map(|Reason { code, text }| ObstacleInfo { code, text }).collect())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn state(&self) -> String {
        self.shown.borrow().state.clone()
    }

    #[zbus(property)]
    fn waits_for(&self) -> String {
        self.shown.borrow().waits_for.clone()
    }

    #[zbus(property)]
    fn offered(&self) -> String {
        self.shown.borrow().offered.clone()
    }

    #[zbus(property)]
    fn percent(&self) -> u32 {
        self.shown.borrow().percent
    }

    #[zbus(property)]
    fn message(&self) -> String {
        self.shown.borrow().message.clone()
    }

    #[zbus(property)]
    fn frozen(&self) -> bool {
        self.shown.borrow().frozen
    }

    #[zbus(property)]
    fn throttled(&self) -> String {
        self.shown.borrow().throttled.clone()
    }

    #[zbus(property)]
    fn booted_slot(&self) -> String {
        self.shown.borrow().booted.clone()
    }

    #[zbus(property)]
    fn source(&self) -> String {
        self.shown.borrow().source.clone()
    }

    #[zbus(property)]
    fn turn(&self) -> i64 {
        self.shown.borrow().turn
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn window(&self) -> String {
        self.window.clone()
    }

    #[zbus(property)]
    fn notice(&self) -> String {
        self.shown.borrow().notice.clone()
    }

    #[zbus(signal, name = "StateChanged")]
    async fn told_state(emitter: &SignalEmitter<'_>, old: &str, new: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    async fn ended(emitter: &SignalEmitter<'_>, outcome: OutcomeInfo) -> zbus::Result<()>;
}

/// An outcome as it crosses the bus.
#[must_use]
fn info(outcome: &Outcome) -> OutcomeInfo {
    let (result, reason) = match &outcome.result {
        Ending::Good => ("good", None),
        Ending::RolledBack(reason) => ("rolled-back", Some(reason)),
        Ending::Failed(reason) => ("failed", Some(reason)),
        Ending::Cancelled => ("cancelled", None),
    };
    let version = outcome.bundle.as_ref().map(|bundle| &bundle.version);
    OutcomeInfo {
        number: outcome.number,
        version: version.or(outcome.offer.as_ref().map(|offer| &offer.version)).cloned().unwrap_or_default(),
        result: result.to_owned(),
        code: reason.map(|reason| reason.code.clone()).unwrap_or_default(),
        text: reason.map(|reason| reason.text.clone()).unwrap_or_default(),
        at: outcome.at_unix_s,
    }
}

/// Offers the updater, then takes its name.
///
/// # Errors
/// Someone else has the name, or the bus policy denies it.
pub async fn serve(connection: &Connection, updater: Updater) -> anyhow::Result<()> {
    connection.object_server().at(UPDATER_PATH, updater).await?;
    let reply = connection
        .request_name_with_flags(UPDATER_BUS_NAME, RequestNameFlags::DoNotQueue.into())
        .await
        .with_context(|| format!("cannot take the name {UPDATER_BUS_NAME}; does the bus policy deny it?"))?;
    if !matches!(reply, RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) {
        bail!("another updater has the name {UPDATER_BUS_NAME}");
    }
    Ok(())
}

/// Tells what changes, until the engine has ended.
pub async fn tell(connection: Connection, mut shown: watch::Receiver<Shown>) -> zbus::Result<()> {
    let object = connection.object_server().interface::<_, Updater>(UPDATER_PATH).await?;
    let emitter = object.signal_emitter();
    let mut before = shown.borrow_and_update().clone();
    while shown.changed().await.is_ok() {
        let now = shown.borrow_and_update().clone();
        let updater = object.get().await;
        if now.state != before.state {
            updater.state_changed(emitter).await?;
            Updater::told_state(emitter, &before.state, &now.state).await?;
        }
        if now.waits_for != before.waits_for {
            updater.waits_for_changed(emitter).await?;
        }
        if now.offered != before.offered {
            updater.offered_changed(emitter).await?;
        }
        if now.percent != before.percent {
            updater.percent_changed(emitter).await?;
        }
        if now.message != before.message {
            updater.message_changed(emitter).await?;
        }
        if now.frozen != before.frozen {
            updater.frozen_changed(emitter).await?;
        }
        if now.source != before.source {
            updater.source_changed(emitter).await?;
        }
        if now.turn != before.turn {
            updater.turn_changed(emitter).await?;
        }
        if now.notice != before.notice {
            updater.notice_changed(emitter).await?;
        }
        if now.throttled != before.throttled {
            updater.throttled_changed(emitter).await?;
        }
        for outcome in now.outcomes.iter().filter(|outcome| !before.outcomes.contains(outcome)).rev() {
            Updater::ended(emitter, outcome.clone()).await?;
        }
        before = now;
    }
    Ok(())
}
