//! A box with two slots, a boot loader, RAUC, a recorder and a fleet, all of them simple and honest; and the plan among them. Every
//! command is held against what the crate promises.

mod boots;
mod parts;

use std::collections::VecDeque;

use holdfast_update_plan::{
    Bundle, Event, LeaseNews, Moment, Offer, Origin, Outcome, Permit, Phase, Plan, Reason, Record, Result, Source,
};

const S: u64 = 1_000_000_000;
/// More turns than any history takes.
const TURNS: usize = 20_000;

/// What happens by chance, until it runs out: then nothing bad happens any more.
pub struct Luck(VecDeque<u8>);

impl Luck {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    pub fn none() -> Self {
        Self(VecDeque::new())
    }

    /// Something that happens in `of` of 256 cases, as long as there is luck.
    fn strikes(&mut self, of: u8) -> bool {
        self.0.pop_front().is_some_and(|byte| byte < of)
    }
}

#[derive(Debug, Clone)]
pub struct Slot {
    /// Its system records.
    pub works: bool,
    /// RAUC's mark.
    pub good: bool,
    /// The boot loader's attempts.
    left: u8,
    /// What is in it; `None`: half of something.
    pub content: Option<String>,
}

pub struct World {
    plan: Option<Plan>,
    luck: Luck,
    /// What was written down last.
    record: Record,
    pub slots: [Slot; 2],
    primary: usize,
    pub booted: usize,
    pub boots: u32,
    /// RAUC is at it.
    installing: Option<(usize, Bundle)>,
    frozen: bool,
    /// What the recorder has given leave for.
    leave: Option<Permit>,
    asked: Option<Permit>,
    /// What it never gives leave for.
    refuses: Option<Permit>,
    /// How often the boot order was changed to a new system, or the box left one.
    pub activations: u32,
    /// What the next bundle is.
    next_works: bool,
    /// What the fleet offers until it knows the end of it.
    offered: Option<Offer>,
    /// How many ends it knew before.
    told_before: usize,
    /// The box is still finding out whether this boot works.
    confirming: bool,
    /// Services are being stopped.
    rebooting: bool,
    /// Feedback that waits for the network.
    untold: VecDeque<Outcome>,
    events: VecDeque<Event>,
    pub now_ns: u64,
    /// How much the clock on the wall is ahead of that, seconds.
    wall_ahead_s: u64,
    /// It was never set in this boot.
    wall_unknown: bool,
    /// Hours: what is automatic has to keep to these.
    window_h: Option<(u64, u64)>,
    /// The offer is what a person wants.
    pub is_wanted: bool,
    /// What was found on a stick is plugged in.
    stick_is_in: bool,
    pub told: Vec<(u64, Result)>,
    /// Power cuts have used up the attempts of a slot that had proven itself, and the boot loader has left it.
    pub has_fallen_back: bool,
    /// The boot order may begin with a slot that has no attempts left: power cuts alone have used them up, or the plan was cut off just when
    /// it was to set that right.
    unsettled: bool,
}

fn boot_name(slot: usize) -> String {
    ["A", "B"][slot].to_owned()
}

impl World {
    pub fn new(luck: Luck) -> Self {
        // As it leaves the factory: nothing has been marked yet.
        let slot = Slot { works: true, good: false, left: 3, content: Some("factory".into()) };
        let mut world = Self {
            plan: None,
            luck,
            record: Record::default(),
            slots: [slot.clone(), slot],
            primary: 0,
            booted: 0,
            boots: 0,
            installing: None,
            frozen: false,
            leave: None,
            asked: None,
            refuses: None,
            activations: 0,
            next_works: true,
            offered: None,
            told_before: 0,
            confirming: false,
            rebooting: false,
            untold: VecDeque::new(),
            events: VecDeque::new(),
            now_ns: 0,
            // It begins at noon.
            wall_ahead_s: 12 * 3600,
            wall_unknown: false,
            window_h: None,
            is_wanted: false,
            stick_is_in: false,
            told: Vec::new(),
            has_fallen_back: false,
            unsettled: false,
        };
        world.boot();
        world
    }

    /// With a maintenance window between these hours.
    pub fn with_window(luck: Luck, from_h: u64, until_h: u64) -> Self {
        let mut world = Self::new(luck);
        world.window_h = Some((from_h, until_h));
        world.start();
        world
    }

    pub fn plan(&self) -> &Plan {
        self.plan.as_ref().unwrap()
    }

    pub fn offer(&mut self, offer: Offer, works: bool) {
        self.next_works = works;
        (self.offered, self.told_before) = (Some(offer.clone()), self.told.len());
        let event = self.offering(offer);
        self.events.push_back(event);
    }

    fn offering(&self, offer: Offer) -> Event {
        if self.is_wanted { Event::Wanted(offer) } else { Event::Found(offer) }
    }

    /// A person wants the system before.
    pub fn go_back(&mut self) {
        self.events.push_back(Event::GoBack);
    }

    /// A stick is plugged in, and may be pulled out and plugged in again while there is luck.
    pub fn plug(&mut self, offer: Offer, works: bool) {
        self.stick_is_in = true;
        self.offer(offer, works);
    }

    fn is_stick(&self) -> bool {
        self.offered.as_ref().is_some_and(|offer| matches!(offer.origin, Origin::Usb(_)))
    }

    /// Nothing is under way, or it waits for a person.
    pub fn is_idle(&self) -> bool {
        let is_idle = match self.plan().record().phase {
            Phase::Idle => true,
            Phase::Available => self.plan().shown().waits_for.starts_with("somebody"),
            _ => false,
        };
        is_idle && self.events.is_empty()
    }

    fn now(&self) -> Moment {
        let wall_s = self.now_ns / S + self.wall_ahead_s;
        let day_s = (!self.wall_unknown).then(|| u32::try_from(wall_s % 86_400).unwrap());
        Moment { ns: self.now_ns, unix_s: 0, day_s }
    }

    /// What nobody has asked for is done within the window only.
    fn is_allowed_now(&self) {
        let Some((from_h, until_h)) = self.window_h.filter(|_| !self.is_wanted) else { return };
        let hour = (self.now_ns / S + self.wall_ahead_s) / 3600 % 24;
        let is_within =
            if from_h < until_h { (from_h..until_h).contains(&hour) } else { hour >= from_h || hour < until_h };
        assert!(is_within && !self.wall_unknown, "automatic at {hour} o'clock, the window is {from_h} to {until_h}");
    }

    /// From now on the recorder never gives leave for this; `None`: it does again.
    pub fn refuse(&mut self, permit: Option<Permit>) {
        self.refuses = permit;
    }

    /// Until nothing happens any more.
    pub fn run(&mut self) {
        for _ in 0..TURNS {
            if self.turn() {
                return;
            }
        }
        panic!("it never comes to an end: {:?} {:?}", self.plan().shown(), self.plan().record());
    }

    /// One thing happens, or time passes. True: nothing happens any more.
    pub fn turn(&mut self) -> bool {
        if self.luck.strikes(12) {
            self.restart();
            return false;
        }
        if self.luck.strikes(6) {
            self.power_cut();
            return false;
        }
        self.chance();
        if let Some(event) = self.events.pop_front() {
            self.handle(event);
            return false;
        }
        if let Some(offer) = self.offered.clone().filter(|_| self.plan().record().phase == Phase::Idle)
            && self.told.len() == self.told_before
            && !self.is_stick()
            && (!self.is_wanted || self.record.outcomes.is_empty())
        {
            let event = self.offering(offer);
            self.handle(event);
            return false;
        }
        if self.is_stick() && !self.stick_is_in {
            self.stick_is_in = true;
            let event = self.offered.clone().map(|offer| self.offering(offer));
            self.events.extend(event);
            return false;
        }
        self.wall_unknown = false;
        if self.is_idle()
            && !self.confirming
            && self.plan().due_ns().is_none()
            && self.record.outcomes.iter().all(|outcome| outcome.told)
        {
            return true;
        }
        self.rests();
        self.now_ns = self.plan().due_ns().unwrap_or(self.now_ns + S).max(self.now_ns + 1);
        self.grant();
        self.handle(Event::Tick);
        false
    }

    /// Nothing is on its way. A power cut now must leave the box with the system that it has, unless it is about to leave it.
    fn rests(&self) {
        let is_leaving = self.rebooting
            || self.leave == Some(Permit::Reboot)
            || matches!(self.record.phase, Phase::Reverting { .. });
        let is_excused = self.unsettled && self.slots[self.primary].left == 0;
        let is_in_order = self.primary == self.booted || is_excused || is_leaving;
        assert!(is_in_order, "the boot order begins with {} without leave", self.primary);
    }

    /// What may come at any moment.
    fn chance(&mut self) {
        if self.rebooting && !self.luck.strikes(128) {
            return self.power_cut();
        }
        if self.is_stick() && self.luck.strikes(10) {
            self.stick_is_in = !self.stick_is_in;
            let found = self.offered.clone().map(|offer| self.offering(offer)).filter(|_| self.stick_is_in);
            self.events.push_back(found.unwrap_or(Event::Nothing(Source::Usb)));
        }
        if self.window_h.is_some() && self.luck.strikes(20) {
            // The clock is set, or lost; or a while passes in which nothing happens.
            match self.luck.strikes(128) {
                true => (self.wall_ahead_s, self.wall_unknown) = (self.wall_ahead_s + 5 * 3600, false),
                false if self.luck.strikes(100) => self.wall_unknown = true,
                false => self.now_ns += 1800 * S,
            }
        }
        if !self.luck.strikes(128)
            && let Some(outcome) = self.untold.pop_front()
        {
            // The fleet knows each by its number, whatever it hears twice.
            self.events.push_back(Event::Told(outcome.number));
            if !self.told.iter().any(|(number, _)| *number == outcome.number) {
                self.told.push((outcome.number, outcome.result));
            }
        }
        if self.confirming && !self.luck.strikes(128) {
            self.confirming = false;
            self.mark_good();
            self.events.push_back(Event::Confirmed);
        }
        let is_told = self.events.iter().any(|event| matches!(event, Event::Lease(..)));
        if self.luck.strikes(25) && !is_told {
            // A recording begins, or the recorder is restarted.
            let news = if self.luck.strikes(128) { LeaseNews::Revoked } else { LeaseNews::Lost };
            if let Some(permit) = self.leave {
                let at_once = self.luck.strikes(128);
                let at = if at_once { 0 } else { self.events.len() };
                self.events.insert(at, Event::Lease(permit, news));
            }
        } else {
            self.grant();
        }
        if let Some((target, bundle)) = self.installing.clone()
            && !self.frozen
            && !self.luck.strikes(128)
        {
            self.installing = None;
            if self.luck.strikes(30) {
                self.events.push_back(Event::InstallEnded(Err((Reason::new("io", "a bad block"), true))));
            } else {
                self.slots[target].content = Some(bundle.manifest);
                self.slots[target].works = self.next_works;
                self.events.push_back(Event::InstallEnded(Ok(())));
            }
        }
    }

    fn grant(&mut self) {
        if let Some(permit) = self.asked
            && self.refuses != Some(permit)
            && !self.luck.strikes(128)
        {
            (self.asked, self.leave) = (None, Some(permit));
            self.events.push_back(Event::Lease(permit, LeaseNews::Granted));
        }
    }

    fn handle(&mut self, event: Event) {
        // It can only be heeded once it is heard of.
        if matches!(event, Event::Lease(_, LeaseNews::Lost)) {
            self.leave = None;
        }
        let commands = {
            let now = self.now();
            self.plan.as_mut().unwrap().handle(now, event)
        };
        self.carry_out(commands);
    }
}
