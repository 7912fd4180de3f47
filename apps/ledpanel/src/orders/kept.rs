//! What was asked for and is not answered yet, in the order in which it was asked for.
//!
//! A Start waits for every Stop before it, or it would be told that something is recording already. A Stop of what a Start before
//! it is to begin waits for that. So what two presses wanted happens in their order, however slow the recorder is.

use holdfast_dbus::ErrorCode;

use super::belief::{Belief, Stand};
use super::order::{Order, Phase, Target, What, aim, has_moved_on, is_worth_a_retry};
use super::types::{Answer, Call, Command, Why, Wish};

/// More Starts and Stops are refused. Fingers hardly get there: a Start that was not sent yet is taken back by a Stop.
const MAX_OTHERS: usize = 8;
/// More marks are. They never take the room of a Stop.
const MAX_MARKS: usize = 4;

/// A session that is not being recorded is watched for at least so long, nanoseconds: a recorder that has just come back may
/// go on with it yet.
const WATCH_NS: u64 = 3_000_000_000;

/// See above.
#[derive(Debug)]
pub(super) struct Kept {
    orders: Vec<Order>,
    keep_ns: u64,
    retry_ns: u64,
    mark: String,
    calls: u64,
}

impl Kept {
    pub(super) fn new(keep_ns: u64, retry_ns: u64, mark: String) -> Self {
        Self { orders: Vec::new(), keep_ns, retry_ns, mark, calls: 0 }
    }

    /// Somebody wants to record. A press on top of one that is not answered wants the same.
    pub(super) fn start(&mut self, now_ns: u64, token: impl FnOnce() -> String, commands: &mut Vec<Command>) {
        let until_ns = now_ns.saturating_add(self.keep_ns);
        let last = self.orders.iter_mut().rfind(|order| order.phase != Phase::Watched && order.wish() != Wish::Mark);
        match last {
            Some(order) if order.wish() == Wish::Start => (order.until_ns, order.given_up) = (until_ns, false),
            _ => self.push(now_ns, What::Start { token: token(), sent: false }, commands),
        }
    }

    /// Somebody wants to stop. Who wants it again has it kept for longer.
    pub(super) fn stop(&mut self, now_ns: u64, target: Target, commands: &mut Vec<Command>) {
        let until_ns = now_ns.saturating_add(self.keep_ns);
        let what = What::Stop(target);
        match self.orders.iter_mut().find(|order| order.what == what) {
            Some(order) if order.phase != Phase::Watched => order.until_ns = until_ns,
            Some(order) => (order.until_ns, order.phase) = (until_ns, Phase::Waits { at_ns: now_ns }),
            None => self.push(now_ns, what, commands),
        }
    }

    /// Somebody wants again to stop what is to be stopped.
    pub(super) fn stop_again(&mut self, now_ns: u64) {
        let until_ns = now_ns.saturating_add(self.keep_ns);
        let stops = self.orders.iter_mut().filter(|order| order.wish() == Wish::Stop && order.phase != Phase::Watched);
        stops.for_each(|order| order.until_ns = until_ns);
    }

    /// Somebody wants to stop what our own Start is about to begin. One that was never sent is taken back.
    pub(super) fn stop_asked(&mut self, now_ns: u64, commands: &mut Vec<Command>) {
        let Some(place) = self.orders.iter().rposition(|order| order.wish() == Wish::Start) else { return };
        if let What::Start { token, sent: true } = &self.orders[place].what {
            let target = Target::Start(token.clone());
            self.stop(now_ns, target, commands);
        } else {
            self.orders.remove(place);
        }
    }

    /// Somebody wants a chapter.
    pub(super) fn mark(&mut self, now_ns: u64, session: Option<String>, commands: &mut Vec<Command>) {
        self.push(now_ns, What::Mark { session }, commands);
    }

    fn push(&mut self, now_ns: u64, what: What, commands: &mut Vec<Command>) {
        let until_ns = now_ns.saturating_add(self.keep_ns);
        let order = Order { what, phase: Phase::Waits { at_ns: now_ns }, until_ns, given_up: false };
        let marks = |order: &Order| order.wish() == Wish::Mark;
        let room = if marks(&order) { MAX_MARKS } else { MAX_OTHERS };
        if self.orders.iter().filter(|other| marks(other) == marks(&order)).count() >= room {
            return commands.push(Command::Refuse(Why::TooMany));
        }
        self.orders.push(order);
    }

    /// What is kept changes what a press meets.
    pub(super) fn correct(&self, stand: Stand) -> Stand {
        let last = self.orders.iter().rfind(|order| order.phase != Phase::Watched && order.wish() != Wish::Mark);
        match (last.map(|order| &order.what), stand) {
            (Some(What::Start { .. }), stand) if last.is_some_and(|order| order.given_up) => stand,
            (Some(What::Start { .. }), _) => Stand::Asked,
            // Something else than what is to be stopped is being recorded.
            (
                Some(What::Stop(Target::Session(stopped))),
                stand @ (Stand::Active(Some(_)) | Stand::Unknown { last: Some(_) }),
            ) if !stand.is_of(stopped) => stand,
            (Some(What::Stop(Target::Session(stopped))), _) => Stand::Stopping(Some(stopped.clone())),
            (Some(What::Stop(_)), _) => Stand::Stopping(None),
            (_, stand) => stand,
        }
    }

    /// There are news, or none any more.
    pub(super) fn news(&mut self, now_ns: u64, belief: &Belief, back: bool, commands: &mut Vec<Command>) {
        let stand = belief.stand();
        self.orders.retain_mut(|order| {
            let sent = order.is_sent();
            match (&mut order.what, &mut order.phase) {
                (What::Stop(Target::Session(session)), phase @ Phase::Watched)
                    if stand == Stand::Active(Some(session.clone())) =>
                {
                    *phase = Phase::Waits { at_ns: now_ns };
                }
                // It may be looking for what it had been recording, again.
                (_, Phase::Watched) if back => order.until_ns = order.until_ns.max(now_ns.saturating_add(WATCH_NS)),
                (_, Phase::Waits { at_ns }) if back => *at_ns = now_ns.min(*at_ns),
                _ => (),
            }
            match &mut order.what {
                What::Stop(target) => aim(target, belief, commands),
                What::Mark { session: Some(session) } if !sent && has_moved_on(&stand, session) => {
                    commands.push(Command::Refuse(Why::NothingRecording));
                    false
                }
                _ => true,
            }
        });
    }

    /// A call has ended. A number that nothing waits for is none of these any more.
    pub(super) fn answered(
        &mut self,
        now_ns: u64,
        id: u64,
        answer: Answer,
        belief: &mut Belief,
        commands: &mut Vec<Command>,
    ) {
        let Some(place) = self.orders.iter().position(|order| order.phase == Phase::Sent { id }) else { return };
        let order = &mut self.orders[place];
        match (&order.what, answer) {
            (_, answer) if is_worth_a_retry(&answer) => {
                order.phase = Phase::Waits { at_ns: now_ns.saturating_add(self.retry_ns) };
                if order.given_up || now_ns >= order.until_ns {
                    self.give_up(place, belief, commands);
                }
            }
            (What::Start { .. }, Answer::Done { session }) => {
                if let Some(session) = &session {
                    belief.begun(session.clone(), now_ns);
                }
                let target = session.map_or(Target::Shown { since_ns: now_ns }, Target::Session);
                self.started(place, now_ns, target, belief, commands);
            }
            // It records, which is what was wanted.
            (What::Start { .. }, Answer::Refused { code: ErrorCode::AlreadyRecording, .. }) => {
                belief.taken(now_ns);
                self.started(place, now_ns, Target::Shown { since_ns: now_ns }, belief, commands);
            }
            (What::Start { token, .. }, Answer::Refused { code, text }) => {
                let stop = What::Stop(Target::Start(token.clone()));
                let told = order.given_up;
                self.orders.remove(place);
                // Nothing began, so there is nothing to stop.
                self.orders.retain(|order| order.what != stop);
                if !told {
                    commands.push(Command::Refuse(Why::Refused { code, text }));
                }
            }
            (What::Stop(Target::Session(session)), Answer::Done { .. }) => {
                belief.stopped(session.clone(), now_ns);
                self.orders.remove(place);
            }
            (What::Stop(Target::Session(session)), Answer::Refused { code: ErrorCode::NotRecording, .. }) => {
                belief.not_recording(session.clone(), now_ns);
                order.phase = Phase::Watched;
                order.until_ns = order.until_ns.max(now_ns.saturating_add(WATCH_NS));
            }
            (_, Answer::Done { .. }) => drop(self.orders.remove(place)),
            (_, Answer::Refused { code, text }) => {
                let told = self.orders.remove(place).given_up;
                if !told {
                    commands.push(Command::Refuse(Why::Refused { code, text }));
                }
            }
            (_, Answer::Unreachable) => (),
        }
    }

    /// A Start is over; a Stop that waited for it has its aim.
    fn started(&mut self, place: usize, now_ns: u64, target: Target, belief: &Belief, commands: &mut Vec<Command>) {
        let What::Start { token, .. } = self.orders.remove(place).what else { return };
        self.orders.retain_mut(|order| match &mut order.what {
            What::Stop(aimed) if *aimed == Target::Start(token.clone()) => {
                *aimed = target.clone();
                // However late: it has not been sent once, and there must be time for news.
                order.until_ns = order.until_ns.max(now_ns.saturating_add(WATCH_NS));
                aim(aimed, belief, commands)
            }
            _ => true,
        });
    }

    /// Its press is lost, and told to be.
    fn give_up(&mut self, place: usize, belief: &Belief, commands: &mut Vec<Command>) {
        let order = &self.orders[place];
        let is_seen_to_be_over = order.phase == Phase::Watched && !matches!(belief.stand(), Stand::Unknown { .. });
        if !order.given_up && !is_seen_to_be_over {
            commands.push(Command::Refuse(Why::Lost(order.wish())));
        }
        let What::Start { token, .. } = self.orders.remove(place).what else { return };
        // Should it have been heard all the same, nobody knows as which session; another one is not to be stopped for it.
        let stop = What::Stop(Target::Start(token));
        let before = self.orders.len();
        self.orders.retain(|order| order.what != stop);
        if self.orders.len() < before {
            commands.push(Command::Refuse(Why::Lost(Wish::Stop)));
        }
    }

    /// Gives up what is due, and sends what can be sent.
    pub(super) fn work(&mut self, now_ns: u64, belief: &Belief, commands: &mut Vec<Command>) {
        let mut place = 0;
        while place < self.orders.len() {
            let blocked = self.is_blocked(place);
            let waits_for_answer = self.waits_for_answer(place);
            let order = &mut self.orders[place];
            let over = now_ns >= order.until_ns && !order.given_up;
            match order.phase {
                Phase::Sent { .. } if over && order.wish() != Wish::Stop => {
                    order.given_up = true;
                    commands.push(Command::Refuse(Why::Lost(order.wish())));
                }
                Phase::Waits { .. } | Phase::Watched if over && !waits_for_answer => {
                    self.give_up(place, belief, commands);
                    continue;
                }
                Phase::Waits { at_ns } if at_ns <= now_ns && !blocked => self.send(place, commands),
                _ => (),
            }
            place += 1;
        }
    }

    fn send(&mut self, place: usize, commands: &mut Vec<Command>) {
        let order = &mut self.orders[place];
        let call = match &mut order.what {
            What::Start { token, sent } => {
                *sent = true;
                Call::Start { token: token.clone() }
            }
            What::Stop(Target::Session(session)) => Call::Stop { session: session.clone() },
            What::Stop(_) => return,
            What::Mark { .. } => Call::Mark { text: self.mark.clone() },
        };
        self.calls = self.calls.wrapping_add(1);
        order.phase = Phase::Sent { id: self.calls };
        commands.push(Command::Call { id: self.calls, call });
    }

    fn is_blocked(&self, place: usize) -> bool {
        let (before, order) = (&self.orders[..place], &self.orders[place]);
        let any = |wish| before.iter().any(|order| order.wish() == wish && order.phase != Phase::Watched);
        match &order.what {
            What::Start { .. } => any(Wish::Stop),
            What::Stop(target) => !matches!(target, Target::Session(_)),
            What::Mark { .. } => any(Wish::Start),
        }
    }

    /// A Stop is kept for as long as the Start it waits for may still be answered.
    fn waits_for_answer(&self, place: usize) -> bool {
        let What::Stop(Target::Start(wanted)) = &self.orders[place].what else { return false };
        let is_it = |what: &What| matches!(what, What::Start { token, .. } if token == wanted);
        self.orders.iter().any(|order| is_it(&order.what) && order.is_sent())
    }

    /// When [`work`](Self::work) has something to do, should nothing be heard before.
    pub(super) fn due_ns(&self) -> Option<u64> {
        (0..self.orders.len()).filter_map(|place| self.due_of(place)).min()
    }

    fn due_of(&self, place: usize) -> Option<u64> {
        let order = &self.orders[place];
        match order.phase {
            Phase::Sent { .. } if order.given_up || order.wish() == Wish::Stop => None,
            _ if self.waits_for_answer(place) => None,
            Phase::Sent { .. } | Phase::Watched => Some(order.until_ns),
            Phase::Waits { .. } if self.is_blocked(place) => Some(order.until_ns),
            Phase::Waits { at_ns } => Some(at_ns.min(order.until_ns)),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }
}
