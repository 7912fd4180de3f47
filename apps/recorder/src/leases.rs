//! Who may do something heavy or final, and when: the pure core of the leases.
//!
//! One `match` over the event; every event is followed by one look at the queue. A recording is never delayed: leases hear of it
//! when it has begun, and yield. Nothing here knows of buses, tasks or clocks: time is handed in, nanoseconds of the monotonic
//! clock.

use std::collections::BTreeMap;

mod table;
mod types;

pub use table::{KINDS, Kind};
pub use types::{Command, Event, Lease, Refusal, Request, Situation, State, Strain, Why, WhyNot};

/// Leases of all owners together, waiting ones included.
const MAX_LEASES: usize = 64;
/// Of one owner.
const MAX_OF_ONE: usize = 8;

/// A lease's number: unique while the recorder runs, in the order of the requests.
pub type Id = u64;

/// All leases, and what they go by.
#[derive(Debug)]
pub struct Leases {
    leases: BTreeMap<Id, Lease>,
    last_id: Id,
    situation: Situation,
    /// How long after a recording nothing begins that a recording would end.
    grace_ns: u64,
}

impl Leases {
    /// None yet. The recorder starts as if a recording had just ended: an interrupted one may be about to go on, and whoever held a
    /// lease of the recorder before this one is about to ask again.
    #[must_use]
    pub fn new(now_ns: u64, grace_ns: u64) -> Self {
        let situation = Situation { recording: false, quiet_since_ns: now_ns, strain: Strain::None };
        Self { leases: BTreeMap::new(), last_id: 0, situation, grace_ns }
    }

    /// All leases in the order of their requests.
    pub fn list(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// One lease.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Why a lease waits; `None` if it does not.
    #[must_use]
    pub fn why_not(&self, id: Id, now_ns: u64) -> Option<WhyNot> {
        let lease = self.leases.get(&id).filter(|lease| lease.state == State::Queued)?;
        self.obstacle(lease, now_ns)
    }

    /// When [`Event::Tick`] is due, if nothing else happens before.
    #[must_use]
    pub fn next_due_ns(&self, now_ns: u64) -> Option<u64> {
        let deadlines = self.leases.values().filter_map(|lease| match lease.state {
            State::Queued => None,
            State::Granted | State::Overdue => Some(lease.deadline_ns),
            State::Revoked => Some(lease.deadline_ns.min(lease.yield_by_ns)),
        });
        let grace_ends_ns = self.situation.quiet_since_ns.saturating_add(self.grace_ns);
        let waits = !self.situation.recording
            && grace_ends_ns > now_ns
            && self.leases.values().any(|lease| lease.state == State::Queued);
        deadlines.chain(waits.then_some(grace_ends_ns)).min()
    }

    /// Takes one event and says what is to be done about it, in order.
    pub fn handle(&mut self, now_ns: u64, event: Event) -> Vec<Command> {
        let mut commands = match event {
            Event::Request(request) => self.request(request),
            Event::Release { id, owner } => self.release(id, &owner),
            Event::Revoke { id } => self.revoke_by_operator(now_ns, id),
            Event::OwnerGone(owner) => {
                let theirs = self.leases.values().filter(|lease| lease.owner == owner).map(|lease| lease.id);
                let ids: Vec<_> = theirs.collect();
                ids.into_iter().flat_map(|id| self.end(id, Why::OwnerGone)).collect()
            }
            Event::Recording(true) if !self.situation.recording => {
                self.situation.recording = true;
                self.revoke_where(now_ns, Why::Recording, |lease| !lease.kind.rule().beside_recording)
            }
            Event::Recording(false) if self.situation.recording => {
                self.situation.recording = false;
                self.situation.quiet_since_ns = now_ns;
                Vec::new()
            }
            Event::Recording(_) => Vec::new(),
            Event::Strain(strain) => {
                self.situation.strain = strain;
                self.revoke_where(now_ns, Why::Pressure, |lease| strain > lease.kind.rule().bears)
            }
            Event::Tick => self.expire(now_ns),
        };
        commands.extend(self.grant(now_ns));
        commands
    }

    fn request(&mut self, request: Request) -> Vec<Command> {
        let of_one = self.leases.values().filter(|lease| lease.owner == request.owner).count();
        let refusal = if self.leases.len() >= MAX_LEASES || of_one >= MAX_OF_ONE {
            Some(Refusal::TooMany)
        } else if request.duration_ns.is_some_and(|duration_ns| duration_ns > request.kind.rule().longest_ns) {
            Some(Refusal::TooLong)
        } else if request.overrides && !request.may_override {
            Some(Refusal::MayNotOverride)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return vec![Command::Refused(refusal)];
        }
        self.last_id += 1;
        let id = self.last_id;
        let lease = Lease {
            id,
            kind: request.kind,
            reason: request.reason,
            owner: request.owner,
            overrides: request.overrides,
            impatient: !request.queue,
            state: State::Queued,
            duration_ns: request.duration_ns.unwrap_or(request.kind.rule().default_ns),
            deadline_ns: 0,
            yield_by_ns: 0,
        };
        self.leases.insert(id, lease);
        // Whether it may begin at once is seen by the look at the queue.
        vec![Command::Taken(id)]
    }

    fn release(&mut self, id: Id, owner: &str) -> Vec<Command> {
        match self.leases.get(&id) {
            None => vec![Command::Refused(Refusal::Unknown)],
            Some(lease) if lease.owner != owner => vec![Command::Refused(Refusal::NotYours)],
            Some(_) => self.end(id, Why::Released),
        }
    }

    /// The first time it is asked to yield, the second time it is over: an operator has the last word.
    fn revoke_by_operator(&mut self, now_ns: u64, id: Id) -> Vec<Command> {
        match self.leases.get_mut(&id) {
            None => vec![Command::Refused(Refusal::Unknown)],
            Some(lease) if lease.state == State::Granted => vec![revoke(lease, now_ns, Why::Operator)],
            Some(_) => self.end(id, Why::Operator),
        }
    }

    fn revoke_where(&mut self, now_ns: u64, why: Why, yields: impl Fn(&Lease) -> bool) -> Vec<Command> {
        let granted = self.leases.values_mut().filter(|lease| lease.state == State::Granted && !lease.overrides);
        granted.filter(|lease| yields(lease)).map(|lease| revoke(lease, now_ns, why)).collect()
    }

    fn expire(&mut self, now_ns: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut over = Vec::new();
        for lease in self.leases.values_mut().filter(|lease| lease.state != State::Queued) {
            if lease.deadline_ns <= now_ns {
                over.push(lease.id);
            } else if lease.state == State::Revoked && lease.yield_by_ns <= now_ns {
                lease.state = State::Overdue;
                commands.push(Command::Overdue(lease.id));
            }
        }
        commands.extend(over.into_iter().flat_map(|id| self.end(id, Why::Deadline)));
        commands
    }

    fn end(&mut self, id: Id, why: Why) -> Vec<Command> {
        self.leases.remove(&id).map(|lease| Command::Ended(Box::new(lease), why)).into_iter().collect()
    }

    /// Grants whatever may begin now, oldest first. A request is passed over by later ones only for what the recorder does, never
    /// for what other leases do: so none starves.
    fn grant(&mut self, now_ns: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let queued: Vec<Id> = self.list().filter(|lease| lease.state == State::Queued).map(|lease| lease.id).collect();
        for id in queued {
            let Some(lease) = self.leases.get(&id) else { continue };
            match self.obstacle(lease, now_ns) {
                None => {
                    if let Some(lease) = self.leases.get_mut(&id) {
                        lease.state = State::Granted;
                        lease.deadline_ns = now_ns.saturating_add(lease.duration_ns);
                    }
                    commands.push(Command::Granted(id));
                }
                Some(why_not) if lease.impatient => {
                    self.leases.remove(&id);
                    commands.push(Command::Refused(Refusal::NotNow(id, why_not)));
                }
                Some(_) => (),
            }
        }
        commands
    }

    /// What keeps a queued lease waiting.
    fn obstacle(&self, lease: &Lease, now_ns: u64) -> Option<WhyNot> {
        if let Some(why_not) = self.forbidden_by_situation(lease, now_ns) {
            return Some(why_not);
        }
        let rule = lease.kind.rule();
        let others = self.leases.values().filter(|other| other.id != lease.id && rule.excludes(other.kind));
        let in_the_way = |other: &&Lease| match other.state {
            // Also those that were told to yield: until they say that they have, what they do may still go on.
            State::Granted | State::Revoked | State::Overdue => true,
            // Those that came first, and wait for leases only.
            State::Queued => other.id < lease.id && self.forbidden_by_situation(other, now_ns).is_none(),
        };
        others.into_iter().find(in_the_way).map(|other| WhyNot::Lease(other.id, other.kind))
    }

    fn forbidden_by_situation(&self, lease: &Lease, now_ns: u64) -> Option<WhyNot> {
        let rule = lease.kind.rule();
        if lease.overrides {
            return None;
        }
        if self.situation.strain > rule.bears {
            return Some(WhyNot::Pressure);
        }
        if rule.beside_recording {
            return None;
        }
        if self.situation.recording {
            return Some(WhyNot::Recording);
        }
        let quiet_ns = now_ns.saturating_sub(self.situation.quiet_since_ns);
        (quiet_ns < self.grace_ns).then_some(WhyNot::Grace)
    }
}

fn revoke(lease: &mut Lease, now_ns: u64, why: Why) -> Command {
    lease.state = State::Revoked;
    lease.yield_by_ns = now_ns.saturating_add(lease.kind.rule().wind_down_ns);
    Command::Revoked(lease.id, why)
}

#[cfg(test)]
mod tests;
