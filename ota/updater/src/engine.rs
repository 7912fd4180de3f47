//! The one task that owns the plan: feeds it with what happens, and has done what it says.
//!
//! It waits for nothing but the next event, and for RAUC to be held still. What takes time runs in tasks of its own and comes back as an [`Event`].

mod asks;
mod facts;
mod show;
mod work;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_rauc::{Progress, Rauc, Status};
use holdfast_update_plan::{Command, Event, Moment, Offer, Origin, Phase, Plan, Reason};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use zbus::Connection;

use crate::bus::{Ask, Shown};
use crate::channel::{self, Follower};
use crate::config::Config;
use crate::downloads::Downloads;
use crate::fleet::{self, Artifact, Fleet};
use crate::leave::Leases;
use crate::sticks::{self, News, Sticks};
use crate::store::Store;
use crate::surroundings::Roots;
use crate::throttle::Pace;
use crate::valve::Valve;
use crate::{freeze, gate};

/// How long holding RAUC still may take: a word to the bus and one to the kernel.
pub(crate) const FREEZE_PATIENCE: Duration = Duration::from_secs(2);

/// How long looking at the box may take: RAUC asks the boot loader's tools.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);

/// What tasks of work share.
#[derive(Debug)]
pub(crate) struct Site {
    pub connection: Connection,
    pub rauc: Rauc,
    pub config: Config,
    /// Where the box itself is looked at.
    pub roots: Roots,
    /// How far the present step is. The newest counts.
    pub progress: watch::Sender<Progress>,
    /// Full (64): the engine is busy; the task waits.
    pub events: mpsc::Sender<Event>,
    /// What comes from servers.
    pub downloads: Downloads,
    /// What is on the stick that is looked at.
    pub stick: watch::Receiver<Option<sticks::Original>>,
    /// Tells the task of sticks. Full (16): the task waits.
    pub sticks: mpsc::Sender<News>,
    /// What the fleet offers to be downloaded, where there is a fleet.
    pub shelf: Option<watch::Receiver<Option<Artifact>>>,
    /// What an installation and reading it back go through.
    pub valve: Arc<Valve>,
    /// RAUC's name of the slot that runs.
    pub booted_slot: String,
    /// And of the other.
    pub other_slot: String,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    store: Store,
    leases: Leases,
    site: Arc<Site>,
    events: mpsc::Receiver<Event>,
    asks: mpsc::Receiver<Ask>,
    shown: watch::Sender<Shown>,
    progress: watch::Receiver<Progress>,
    paces: watch::Receiver<Pace>,
    /// A slot is read back, by us: RAUC has nothing to do with it.
    reads: bool,
    booted: String,
    other_good: bool,
    fleet: Option<fleet::Handle>,
    channel: Option<channel::Handle>,
    sticks: sticks::Handle,
    built_unix_s: i64,
}

/// Looks at the box beside what the engine does.
#[derive(Debug, Clone)]
pub struct Look {
    site: Arc<Site>,
    /// By the code of the obstacle: what keeps updates from being heard of, empty if nothing does.
    notices: Vec<(&'static str, watch::Receiver<String>)>,
}

impl Look {
    /// What keeps it from being updated. `None`: RAUC does not tell now.
    pub async fn obstacles(&self) -> Option<Vec<Reason>> {
        let mut found = timeout(LOOK_PATIENCE, work::obstacles(&self.site)).await.ok().flatten()?;
        let unheard = self.notices.iter().map(|(code, notice)| Reason::new(code, notice.borrow().clone()));
        found.extend(unheard.filter(|reason| !reason.text.is_empty()));
        Some(found)
    }
}

/// What the engine is made of.
#[derive(Debug)]
pub struct Parts {
    /// The bus.
    pub connection: Connection,
    /// What is configured.
    pub config: Config,
    /// Where the box itself is looked at.
    pub roots: Roots,
    /// What was written down last, and where the next goes.
    pub store: Store,
    /// From the bus.
    pub asks: mpsc::Receiver<Ask>,
    /// To the bus.
    pub shown: watch::Sender<Shown>,
    /// At rest.
    pub rauc: Rauc,
    /// From the bus: sticks that are plugged in; and its sending end.
    pub sticks: (mpsc::Sender<News>, mpsc::Receiver<News>),
    /// Where the box's own name is.
    pub machine_id: PathBuf,
    /// What an installation goes through.
    pub valve: Arc<Valve>,
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

pub(crate) fn now_unix_s() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

/// A clock that is older than this program shows no time of day either.
fn moment(built_unix_s: i64) -> Moment {
    let unix_s = now_unix_s();
    let local = jiff::Timestamp::from_second(unix_s).map(|now| now.to_zoned(jiff::tz::TimeZone::system()));
    let day_s = local.ok().filter(|_| unix_s >= built_unix_s).and_then(|local| {
        let (hours, minutes, seconds) = (local.hour(), local.minute(), local.second());
        u32::try_from(i32::from(hours) * 3600 + i32::from(minutes) * 60 + i32::from(seconds)).ok()
    });
    Moment { ns: now_ns(), unix_s, day_s }
}

impl Engine {
    /// Goes on from what was written down.
    ///
    /// # Errors
    /// RAUC knows no two slots, or the cache of downloads can't be used.
    pub async fn start(
        parts: Parts,
        record: holdfast_update_plan::Record,
        status: &Status,
        boot_id: &Path,
    ) -> anyhow::Result<Self> {
        let boot_id = std::fs::read_to_string(boot_id)?.trim().to_owned();
        let built_unix_s = work::built_unix_s();
        let Some((facts, booted_slot, other_slot)) = facts::read(status, boot_id) else {
            anyhow::bail!(
                "RAUC knows no booted slot with another of its class, so there is nothing to update to: {:?}; look at system.conf",
                status.slots.iter().map(|slot| &slot.name).collect::<Vec<_>>()
            );
        };
        info!(booted = facts.booted, other = facts.other, phase = record.phase.name(), "the updater runs");
        // Full: see `Site::events`.
        let (sender, events) = mpsc::channel(64);
        let (progress, progress_receiver) = watch::channel(Progress::default());
        let leases = Leases::new(parts.connection.clone(), parts.config.install_beside, sender.clone());
        let (booted, other_good) = (facts.booted.clone(), facts.other_good);
        let (plan, commands) = Plan::boot(parts.config.policy, record, facts.clone(), moment(built_unix_s));
        let downloads = Downloads::open(&parts.config)?;
        let fleet = match &parts.config.fleet {
            Some(config) => {
                let attributes = facts::attributes(status, &facts);
                let (fleet, handle) = Fleet::new(config, &parts.config.state_dir, attributes, sender.clone())?;
                tokio::spawn(async move {
                    if let Err(error) = fleet.run().await {
                        // What it should be told is lost if this goes on.
                        error!("the fleet can't be told any more: {error:#}");
                        std::process::exit(1);
                    }
                });
                Some(handle)
            }
            None => None,
        };
        let runs = facts::release(status);
        let (told, _) = &parts.sticks;
        let told = told.clone();
        let (watcher, sticks) = Sticks::new(parts.config.clone(), runs.clone(), parts.sticks, sender.clone());
        tokio::spawn(watcher.run());
        let seed = parts.config.fleet_id.clone().or_else(|| read_name(&parts.machine_id)).unwrap_or_default();
        let follower = Follower::new(&parts.config, seed, runs, built_unix_s, sender.clone());
        let channel = follower.map(|(follower, handle)| {
            tokio::spawn(follower.run());
            handle
        });
        if !matches!(plan.record().phase, Phase::Trial { .. }) {
            let connection = parts.connection.clone();
            tokio::spawn(async move { gate::tidy(&connection).await });
        }
        let paces = parts.valve.paces();
        let site = Site {
            downloads,
            stick: sticks.shelf.clone(),
            sticks: told,
            shelf: fleet.as_ref().map(|fleet| fleet.shelf.clone()),
            connection: parts.connection,
            rauc: parts.rauc,
            config: parts.config,
            roots: parts.roots,
            progress,
            events: sender,
            valve: parts.valve,
            booted_slot,
            other_slot,
        };
        let mut engine = Self {
            plan,
            store: parts.store,
            leases,
            site: Arc::new(site),
            events,
            asks: parts.asks,
            shown: parts.shown,
            progress: progress_receiver,
            paces,
            reads: false,
            booted,
            other_good,
            fleet,
            channel,
            sticks,
            built_unix_s,
        };
        engine.carry_out(commands).await?;
        engine.show();
        Ok(engine)
    }

    /// For who wants to know how the box is.
    pub fn look(&self) -> Look {
        let fleet = self.fleet.as_ref().map(|fleet| ("fleet", fleet.notice.clone()));
        let channel = self.channel.as_ref().map(|channel| ("channel", channel.notice.clone()));
        Look { site: Arc::clone(&self.site), notices: fleet.into_iter().chain(channel).collect() }
    }

    /// Runs until it can't write down what it does: whoever starts it again goes on from what is written. `turned` is called with
    /// every turn.
    ///
    /// # Errors
    /// The state can't be written.
    pub async fn run(mut self, mut turned: impl FnMut()) -> anyhow::Result<()> {
        loop {
            turned();
            let due = self.plan.due_ns().map_or(Duration::from_secs(10), |due_ns| {
                Duration::from_nanos(due_ns.saturating_sub(now_ns())).min(Duration::from_secs(10))
            });
            let event = tokio::select! {
                Some(event) = self.events.recv() => event,
                Some(ask) = self.asks.recv() => {
                    let answer = self.asked(&ask.what).await?;
                    self.show();
                    // Whoever asked may have left.
                    let _ = ask.answer.send(answer);
                    continue;
                }
                Ok(()) = self.progress.changed() => {
                    self.show();
                    continue;
                }
                Ok(()) = self.sticks.notice.changed() => {
                    self.show();
                    continue;
                }
                Ok(()) = self.paces.changed() => {
                    self.show();
                    continue;
                }
                () = channel::changed(self.channel.as_mut()) => {
                    self.show();
                    continue;
                }
                () = sleep(due) => Event::Tick,
            };
            self.handle(event).await?;
            self.show();
        }
    }

    /// A system that came from the fleet and could never be reached by it again is not kept, however well it records.
    fn also_by_its_fleet(&self, event: Event) -> Event {
        let origin = self.plan.record().offer.as_ref().map(|offer| &offer.origin);
        if event != Event::Proven(Ok(())) || !matches!(origin, Some(Origin::Fleet(_))) {
            return event;
        }
        match self.fleet.as_ref().map(|fleet| fleet.notice.borrow().clone()) {
            Some(notice) if !notice.is_empty() => Event::Proven(Err(Reason::new("fleet-unusable", notice))),
            _ => event,
        }
    }

    async fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        let event = self.also_by_its_fleet(event);
        if event != Event::Tick {
            debug!(?event, "happened");
        }
        // What the plan tries again and again, without an end that anybody would be told.
        let is_leaving = matches!(self.plan.record().phase, Phase::Reverting { .. });
        match &event {
            Event::Deactivated(Err(reason)) | Event::MarkedGood(Err(reason)) | Event::RebootFailed(reason) => {
                warn!(code = reason.code, "{}; it is tried again", reason.text);
            }
            Event::Activated(Err(reason)) if is_leaving => {
                warn!(code = reason.code, "{}; it is tried again", reason.text);
            }
            _ => {}
        }
        let before = self.plan.record().phase.name();
        let stick = match &event {
            Event::Found(Offer { origin: Origin::Usb(key), .. }) => Some(key.clone()),
            _ => None,
        };
        let commands = self.plan.handle(moment(self.built_unix_s), event);
        let after = self.plan.record().phase.name();
        if before != after {
            info!(from = before, to = after, "the update");
        }
        let origin = self.plan.record().offer.as_ref().map(|offer| &offer.origin);
        if let Some(key) = stick.filter(|key| origin != Some(&Origin::Usb(key.clone()))) {
            let is_busy = !matches!(self.plan.record().phase, Phase::Idle | Phase::Available);
            // If it is full now, the stick stays until it is pulled out.
            let _ = self.site.sticks.try_send(News::Passed(key, is_busy));
        }
        self.carry_out(commands).await
    }

    async fn carry_out(&mut self, commands: Vec<Command>) -> anyhow::Result<()> {
        for command in commands {
            match command {
                // If it can't be written, nothing that follows is done.
                Command::Save(record) => self.store.save(&record)?,
                Command::Ask(permit) => {
                    let offer = self.plan.record().offer.as_ref().map_or("the system before", |offer| &offer.version);
                    let leaving = matches!(self.plan.record().phase, Phase::Reverting { .. });
                    self.leases.ask(permit, format!("update to {offer}"), leaving);
                }
                Command::Release(permit) => self.leases.release(permit),
                Command::Tell(outcome) => match &self.fleet {
                    // If it is full now, it is told at the next start.
                    Some(fleet) => drop(fleet.outcomes.try_send(outcome)),
                    None => warn!(number = outcome.number, "no fleet is configured any more that could be told"),
                },
                Command::Check => {
                    let fleet = self.fleet.as_ref().map(|fleet| &fleet.checks);
                    let channel = self.channel.as_ref().map(|channel| &channel.checks);
                    for checks in [fleet, channel].into_iter().flatten() {
                        let _ = checks.try_send(());
                    }
                }
                // Before the lease is given back: what follows may rely on it.
                Command::Freeze(frozen) => {
                    hold(&self.site.valve, frozen).await;
                    // What it stands for is our own reading; or the brake lets it go when its turn comes.
                    if self.reads || !frozen && self.site.valve.is_braked() {
                        continue;
                    }
                    match timeout(FREEZE_PATIENCE, freeze::set(&self.site.connection, frozen)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => error!(frozen, "RAUC was not held still, or not let go on: {error:#}"),
                        Err(_) => error!(frozen, "RAUC was not held still, or not let go on in time"),
                    }
                }
                Command::StopFetching => self.site.downloads.stop(),
                Command::Discard => {
                    // Whoever still reads a slot back does so for nobody.
                    self.site.valve.begin();
                    self.site.downloads.discard();
                }
                command => {
                    if matches!(command, Command::Install { .. }) {
                        self.other_good = false;
                    }
                    if matches!(command, Command::Install { .. } | Command::ReadBack { .. }) {
                        self.reads = matches!(command, Command::ReadBack { .. });
                        self.site.valve.begin();
                    }
                    tokio::spawn(work::run(Arc::clone(&self.site), self.site.valve.ticket(), command));
                }
            }
        }
        Ok(())
    }
}

/// Nobody goes through the valve once this returns, or all go on.
pub(crate) async fn hold(valve: &Arc<Valve>, held: bool) {
    let valve = Arc::clone(valve);
    drop(tokio::task::spawn_blocking(move || valve.hold(held, FREEZE_PATIENCE)).await);
}

/// Where an offer's bundle is on this box, once it is there.
pub(crate) fn path_of(site: &Site, offer: &Offer) -> Option<PathBuf> {
    match &offer.origin {
        Origin::File(path) => Some(path.into()),
        Origin::Url(_) | Origin::Fleet(_) | Origin::Usb(_) | Origin::Channel { .. } => site.downloads.path(),
    }
}

/// What a file says that holds one word.
fn read_name(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|name| !name.is_empty())
}
