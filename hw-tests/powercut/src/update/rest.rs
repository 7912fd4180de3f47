//! What comes after a cut: the plan goes on, among parts that do what they are told. It must come to one good end.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use holdfast_hawkbit::{ActionId, Execution, Feedback, Outbox, Outcome as Closed, Queued};
use holdfast_update_plan::{
    Bundle, Command, Event, Facts, LeaseNews, Moment, Offer, Origin, Outcome, Phase, Plan, Policy, Reason, Record,
    Result, Wish,
};

use super::store::Store;
use super::story::BAD;

const S: u64 = 1_000_000_000;
/// More than any update takes.
const TURNS: usize = 500;

/// A slot, by what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// RAUC's mark.
    pub good: bool,
    /// The release; `None`: half of something.
    pub content: Option<String>,
    /// What RAUC says that it has written whole.
    pub written: Option<String>,
}

/// Both of them, and the boot order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slots {
    /// A and B.
    pub slots: [Slot; 2],
    /// The first.
    pub primary: usize,
}

pub(super) fn name(slot: usize) -> &'static str {
    ["A", "B"][slot]
}

impl Slots {
    /// What a boot loader boots: the first that is not marked bad. `None`: nothing.
    #[must_use]
    pub fn boots(&self) -> Option<usize> {
        [self.primary, 1 - self.primary].into_iter().find(|slot| self.slots[*slot].good)
    }

    /// A boot of it would not find half a system.
    #[must_use]
    pub fn has_good(&self) -> bool {
        self.slots.iter().any(|slot| slot.good && slot.content.is_some())
    }
}

/// The parts, and the plan among them.
pub struct Rest {
    plan: Plan,
    slots: Slots,
    booted: usize,
    boots: u32,
    store: Store,
    outbox: Outbox,
    events: VecDeque<Event>,
    /// What the bundles of the releases are known by.
    bundles: BTreeMap<String, Bundle>,
    now_ns: u64,
}

impl Rest {
    /// Goes on from what is in `state`, to the end.
    ///
    /// # Errors
    /// It comes to no end, or does what it must not.
    pub fn play(
        state: &Path,
        slots: Slots,
        bundles: BTreeMap<String, Bundle>,
        offered: Option<Offer>,
    ) -> anyhow::Result<(Record, Slots, Outbox)> {
        let (store, record) = Store::open(state)?;
        let (outbox, _) = Outbox::open(state)?;
        let booted = slots.boots().context("nothing boots")?;
        let (plan, commands) = boot(record, &slots, booted, 0, 0);
        let events = offered.map(Event::Found).into_iter().collect();
        let mut rest = Self { plan, slots, booted, boots: 0, store, outbox, events, bundles, now_ns: 0 };
        rest.carry_out(commands)?;
        for _ in 0..TURNS {
            let record = rest.plan.record();
            if let Some(event) = rest.events.pop_front() {
                rest.handle(event)?;
            } else if record.phase == Phase::Idle && record.outcomes.iter().all(|outcome| outcome.told) {
                return Ok((record.clone(), rest.slots, rest.outbox));
            } else {
                rest.now_ns = rest.plan.due_ns().unwrap_or(rest.now_ns + S).max(rest.now_ns + 1);
                rest.handle(Event::Tick)?;
            }
        }
        bail!("it comes to no end: {:?} {:?}", rest.plan.shown(), rest.plan.record());
    }

    fn handle(&mut self, event: Event) -> anyhow::Result<()> {
        let commands = self.plan.handle(moment(self.now_ns), event);
        self.carry_out(commands)
    }

    fn carry_out(&mut self, commands: Vec<Command>) -> anyhow::Result<()> {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            if matches!(command, Command::Reboot { .. }) {
                // Nothing of what follows is done.
                commands = self.reboot()?.into();
            } else {
                self.one(command)?;
            }
        }
        Ok(())
    }

    fn reboot(&mut self) -> anyhow::Result<Vec<Command>> {
        self.boots += 1;
        self.booted = self.slots.boots().context("nothing boots")?;
        self.events.clear();
        let (plan, commands) = boot(self.plan.record().clone(), &self.slots, self.booted, self.boots, self.now_ns);
        self.plan = plan;
        Ok(commands)
    }

    fn one(&mut self, command: Command) -> anyhow::Result<()> {
        let other = 1 - self.booted;
        match command {
            Command::Save(record) => self.store.save(&record)?,
            Command::Ask(permit) => self.events.push_back(Event::Lease(permit, LeaseNews::Granted)),
            Command::Release(_) => self.events.retain(|event| !matches!(event, Event::Lease(..))),
            Command::Fetch(_) => self.events.push_back(Event::Fetched),
            Command::Inspect(offer) => {
                let bundle = self.bundles.get(&offer.version).context("a release that nobody made")?.clone();
                self.events.push_back(Event::Inspected(Ok(bundle)));
            }
            Command::Install { bundle, target, .. } => {
                ensure!(target == name(other), "the running slot is written");
                let running = &self.slots.slots[self.booted];
                ensure!(running.good && running.content.is_some(), "written while the running system is not good");
                let (content, written) = (Some(bundle.version), Some(bundle.manifest));
                self.slots.slots[other] = Slot { good: false, content, written };
                self.events.push_back(Event::InstallEnded(Ok(())));
            }
            Command::ReadBack { .. } => {
                let slot = &self.slots.slots[other];
                let wanted = self.plan.record().bundle().map(|bundle| bundle.version.clone());
                let is_it = slot.content.is_some() && slot.content == wanted;
                self.events.push_back(Event::ReadBack(is_it.then_some(()).ok_or(Reason::new("read-back", "half"))));
            }
            Command::Activate { target } => {
                ensure!(target == name(other), "the running slot is activated");
                ensure!(self.slots.slots[other].content.is_some(), "half a system is made the first");
                (self.slots.primary, self.slots.slots[other].good) = (other, true);
                self.events.push_back(Event::Activated(Ok(())));
            }
            Command::Deactivate => {
                (self.slots.primary, self.slots.slots[self.booted].good) = (self.booted, true);
                self.slots.slots[other].good = false;
                self.events.push_back(Event::Deactivated(Ok(())));
            }
            Command::Forsake => {
                ensure!(self.slots.slots[other].content.is_some(), "left for half a system");
                self.slots.slots[self.booted].good = false;
                (self.slots.primary, self.slots.slots[other].good) = (other, true);
                self.events.push_back(Event::Activated(Ok(())));
            }
            Command::Prove => {
                let works = self.slots.slots[self.booted].content.as_deref() != Some(BAD);
                let reason = Reason::new("does-not-record", "it does not");
                self.events.push_back(Event::Proven(works.then_some(()).ok_or(reason)));
            }
            Command::MarkGood => {
                self.slots.slots[self.booted].good = true;
                self.events.push_back(Event::MarkedGood(Ok(())));
            }
            Command::Confirm => {
                self.slots.slots[self.booted].good = true;
                self.events.push_back(Event::Confirmed);
            }
            Command::Tell(outcome) => {
                tell(&mut self.outbox, &outcome)?;
                self.events.push_back(Event::Told(outcome.number));
            }
            Command::Check | Command::Discard | Command::StopFetching | Command::Freeze(_) | Command::Reboot { .. } => {
            }
        }
        ensure!(self.slots.has_good(), "no slot is left that boots a whole system: {:?}", self.slots);
        Ok(())
    }
}

fn moment(ns: u64) -> Moment {
    Moment { ns, unix_s: 0, day_s: None }
}

fn boot(record: Record, slots: &Slots, booted: usize, boots: u32, now_ns: u64) -> (Plan, Vec<Command>) {
    let other = 1 - booted;
    let facts = Facts {
        // As after a power cut: never one that the record knows.
        boot_id: format!("after-the-cut-{boots}"),
        booted: name(booted).to_owned(),
        other: name(other).to_owned(),
        primary: name(slots.primary).to_owned(),
        booted_good: slots.slots[booted].good,
        other_good: slots.slots[other].good,
        written: slots.slots[other].written.clone(),
        runs: slots.slots[booted].written.clone(),
    };
    let policy = Policy { automatic: Wish::Reboot, attempts: 5, ..Policy::default() };
    Plan::boot(policy, record, facts, moment(now_ns))
}

/// Tells the fleet, as the updater does: into the outbox. Whether it was news to it.
///
/// # Errors
/// The outbox can't be written.
pub fn tell(outbox: &mut Outbox, outcome: &Outcome) -> anyhow::Result<bool> {
    let Some(Origin::Fleet(action)) = outcome.offer.as_ref().map(|offer| &offer.origin) else { return Ok(false) };
    let closed = if outcome.result == Result::Good { Closed::Success } else { Closed::Failure };
    let feedback = Feedback::new(Execution::Closed(closed), ["the end"]);
    Ok(matches!(outbox.feedback(&id(*action)?, feedback)?, Queued::Yes { .. }))
}

/// hawkBit's name of an action.
///
/// # Errors
/// It is none.
pub fn id(action: u64) -> anyhow::Result<ActionId> {
    ActionId::try_from(action.to_string()).map_err(anyhow::Error::msg)
}
