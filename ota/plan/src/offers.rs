//! What is offered: which of several is taken up, how far it goes by itself, and what becomes of it when it is withdrawn.

use crate::engine::{Plan, Work};
use crate::record::{Offer, Outcome, Phase, Reason, Result, Source, Wish};
use crate::words::Command;

/// How often what a channel offers is tried by itself. A download that fails has been tried for an hour and a half before.
const CHANNEL_ATTEMPTS: usize = 3;
/// Why an update from a stick ends that was pulled out too early.
pub(crate) const STICK_GONE: &str = "stick-gone";

impl Plan {
    pub(crate) fn check(&mut self, out: &mut Vec<Command>) {
        if self.work == Work::None && matches!(self.record.phase, Phase::Idle | Phase::Available) {
            self.work = Work::Checking;
            out.push(Command::Check);
        }
    }

    pub(crate) fn checked(&mut self) {
        if self.work == Work::Checking {
            self.work = Work::None;
        }
    }

    /// How far it goes, whatever the time is.
    pub(crate) fn wants(&self, step: Wish) -> bool {
        self.record.approved >= step || self.by_itself() >= step
    }

    /// How far it goes without a person's word. How far a stick goes has been said for sticks.
    fn by_itself(&self) -> Wish {
        self.record.offer.as_ref().map_or(Wish::Tell, |offer| match offer.origin.source() {
            Some(Source::Usb) => offer.wish,
            _ => offer.wish.min(self.policy.automatic),
        })
    }

    /// It may go as far as this, now. Fetching disturbs nobody; all else that is automatic keeps to the window.
    pub(crate) fn may(&self, step: Wish) -> bool {
        let is_open = step <= Wish::Download || self.policy.window.is_none_or(|window| window.is_open(self.now));
        self.record.approved >= step || self.by_itself() >= step && is_open
    }

    /// When the window opens, if that is waited for.
    pub(crate) fn opens_ns(&self) -> Option<u64> {
        let step = match self.record.phase {
            Phase::Verified { .. } => Wish::Install,
            Phase::Installed { .. } => Wish::Reboot,
            _ => return None,
        };
        let is_waiting = self.wants(step) && !self.may(step);
        self.policy.window.filter(|_| is_waiting).and_then(|window| window.opens_ns(self.now))
    }

    /// Somebody offers something without being asked. What was done with the same before says how far it goes.
    pub(crate) fn offered(&mut self, offer: Offer, out: &mut Vec<Command>) {
        let Some(wish) = self.still_wished(&offer) else { return self.checked() };
        let known = self.record.offer.as_ref().filter(|known| known.origin != offer.origin);
        if known.is_some_and(|known| known.origin.source() > offer.origin.source()) {
            return self.checked();
        }
        self.found(Offer { wish, ..offer }, Wish::Tell, out);
    }

    /// One at a time: while one is under way only its own offer is heard, which may have come to wish more or less.
    pub(crate) fn found(&mut self, offer: Offer, approved: Wish, out: &mut Vec<Command>) {
        self.checked();
        let is_same = self.record.offer.as_ref().is_some_and(|known| known.origin == offer.origin);
        let is_free = matches!(self.record.phase, Phase::Idle | Phase::Available);
        if !is_same && !is_free || self.record.cancelled {
            return;
        }
        if !is_same {
            self.record.approved = Wish::Tell;
        }
        if self.record.phase == Phase::Idle {
            self.record.phase = Phase::Available;
        }
        let before = (self.record.offer.replace(offer), self.record.approved);
        self.record.approved = self.record.approved.max(approved);
        if before != (self.record.offer.clone(), self.record.approved) {
            self.save(out);
        }
    }

    /// How far it goes by itself after what became of it before; `None`: it is no news.
    fn still_wished(&self, offer: &Offer) -> Option<Wish> {
        let is_it = |outcome: &&Outcome| outcome.offer.as_ref().is_some_and(|known| known.origin == offer.origin);
        let ended: Vec<&Outcome> = self.record.outcomes.iter().filter(is_it).collect();
        let runs = |outcome: &&Outcome| {
            let manifest = outcome.bundle.as_ref().map(|bundle| &bundle.manifest);
            outcome.result == Result::Good && manifest.is_some() && manifest == self.facts.runs.as_ref()
        };
        // The stick is still there, or the channel has nothing newer.
        if ended.iter().any(runs) {
            return None;
        }
        let failures = ended.iter().filter(|outcome| matches!(outcome.result, Result::Failed(_))).count();
        let is_over = failures < ended.len();
        match offer.origin.source() {
            // It offers again what it has not yet been told the end of.
            Some(Source::Fleet) => ended.is_empty().then_some(offer.wish),
            // Left, given up, or a person went back: nobody is to find it again by itself.
            Some(Source::Channel) if is_over => None,
            Some(Source::Channel) if failures >= CHANNEL_ATTEMPTS => Some(Wish::Tell),
            Some(Source::Usb) if is_over => Some(Wish::Tell),
            _ => Some(offer.wish),
        }
    }

    /// Offered no longer.
    pub(crate) fn withdrawn(&mut self, source: Source, out: &mut Vec<Command>) {
        if source != Source::Usb {
            self.checked();
        }
        if self.record.offer.as_ref().and_then(|offer| offer.origin.source()) != Some(source) {
            return;
        }
        match self.record.phase {
            // Nothing was done about it: that is no end of anything.
            Phase::Available if self.record.approved == Wish::Tell => {
                self.release_any(out);
                (self.record.phase, self.record.offer) = (Phase::Idle, None);
                self.save(out);
            }
            // What is on a server comes again.
            Phase::Available | Phase::Downloading if source == Source::Usb => {
                if self.work == Work::Fetching {
                    out.push(Command::StopFetching);
                }
                let text = "the stick was pulled out before its bundle was copied; plug it in again";
                self.end(Result::Failed(Reason::new(STICK_GONE, text)), out);
            }
            _ => {}
        }
    }
}
