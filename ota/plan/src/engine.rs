//! The plan and what changes it. What follows from a change is in [`step`](crate::step).

use crate::boot::Facts;
use crate::policy::Policy;
use crate::record::{Bundle, Phase, Reason, Record, Result, Wish};
use crate::window::Moment;
use crate::words::{Command, Event, LeaseNews, Permit};

/// See the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub(crate) policy: Policy,
    pub(crate) record: Record,
    pub(crate) facts: Facts,
    pub(crate) lease: Option<(Permit, Held)>,
    pub(crate) work: Work,
    /// Nothing new is begun before, nanoseconds.
    pub(crate) wait_until_ns: u64,
    /// Until when the trial of this boot must have succeeded, nanoseconds.
    pub(crate) trial_due_ns: u64,
    /// Until when the box must have gone down, nanoseconds.
    pub(crate) reboot_due_ns: u64,
    /// The boot order may point to the other slot, and must not.
    pub(crate) must_deactivate: bool,
    /// Why it ends once that is done.
    pub(crate) failing: Option<Reason>,
    /// The boot order points away from a system that is being left.
    pub(crate) turned: bool,
    pub(crate) now: Moment,
}

/// How a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Asked,
    Granted,
}

/// What has been begun and has not come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    None,
    Checking,
    Fetching,
    Inspecting,
    Installing {
        frozen: bool,
    },
    /// Written; to be read back as soon as that may be.
    Written,
    ReadingBack {
        frozen: bool,
    },
    Activating,
    Deactivating,
    Rebooting,
    Proving,
    Marking,
}

/// What people are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// As [`Phase::name`], or `checking`.
    pub phase: &'static str,
    /// What it waits for; empty if it does not.
    pub waits_for: &'static str,
    /// An installation is held still.
    pub frozen: bool,
}

impl Plan {
    /// What is written down.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The system that had proven itself lies in the other slot: the boot loader has gone back from it, as it does when power cuts have used
    /// up its attempts.
    #[must_use]
    pub fn has_fallen_back_from(&self) -> Option<&Bundle> {
        let last = self.record.outcomes.last().filter(|last| last.result == Result::Good)?;
        let bundle = last.bundle.as_ref()?;
        let is_quiet = matches!(self.record.phase, Phase::Idle | Phase::Available);
        (is_quiet && self.facts.written.as_ref() == Some(&bundle.manifest)).then_some(bundle)
    }

    /// What people are shown.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let phase = if self.work == Work::Checking { "checking" } else { self.record.phase.name() };
        let frozen = matches!(self.work, Work::Installing { frozen: true } | Work::ReadingBack { frozen: true });
        let waits_for = match self.lease {
            Some((Permit::Download, Held::Asked)) => "leave to download",
            Some((Permit::Install, Held::Asked)) => "leave to install: nothing may be recorded",
            Some((Permit::Reboot, Held::Asked)) => "leave to reboot: nothing may be recorded",
            _ if self.now.ns < self.wait_until_ns => "the next attempt",
            _ => match self.record.phase {
                Phase::Available if !self.may(Wish::Download) => "somebody to say that it is to be fetched",
                Phase::Verified { .. } if !self.facts.booted_good => "the running system to prove itself",
                Phase::Verified { .. } if !self.wants(Wish::Install) => "somebody to say that it is to be installed",
                Phase::Installed { .. } if !self.wants(Wish::Reboot) => "somebody to say that the box may reboot",
                Phase::Verified { .. } if !self.may(Wish::Install) => "the maintenance window",
                Phase::Installed { .. } if !self.may(Wish::Reboot) => "the maintenance window",
                _ => "",
            },
        };
        Shown { phase, waits_for, frozen }
    }

    /// When something is to be done if nothing happens until then, nanoseconds.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        let wait = (self.wait_until_ns > self.now.ns).then_some(self.wait_until_ns);
        let trial = matches!(self.record.phase, Phase::Trial { .. }).then_some(self.trial_due_ns);
        let reboot = (self.work == Work::Rebooting).then_some(self.reboot_due_ns);
        let window = self.opens_ns();
        [wait, trial, reboot, window].into_iter().flatten().min()
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Moment, event: Event) -> Vec<Command> {
        self.now = Moment { ns: self.now.ns.max(now.ns), ..now };
        let mut out = Vec::new();
        self.take(event, &mut out);
        self.follow(&mut out);
        out
    }

    fn take(&mut self, event: Event, out: &mut Vec<Command>) {
        match event {
            Event::Tick => {}
            Event::Check => self.check(out),
            Event::Found(offer) => self.offered(offer, out),
            Event::Wanted(offer) => {
                let approved = offer.wish;
                self.found(offer, approved, out);
            }
            Event::Nothing(source) => self.withdrawn(source, out),
            Event::CheckFailed(_) => self.checked(),
            Event::Approved(wish) if self.record.offer.is_some() => {
                self.record.approved = self.record.approved.max(wish);
                self.wait_until_ns = 0;
                self.save(out);
            }
            Event::Approved(_) => {}
            Event::Cancelled => self.cancel(out),
            Event::GoBack => self.go_back(out),
            Event::Confirmed => self.facts.booted_good = true,
            Event::Lease(permit, news) => self.lease(permit, news, out),
            Event::Told(number) => {
                if let Some(outcome) = self.record.outcomes.iter_mut().find(|outcome| outcome.number == number) {
                    outcome.told = true;
                    self.save(out);
                }
            }
            done => self.done(done, out),
        }
    }

    /// What was begun has come to an end. What nobody waits for any more is of no interest.
    fn done(&mut self, event: Event, out: &mut Vec<Command>) {
        match (event, self.work) {
            (Event::Fetched, Work::Fetching) => {
                self.release(Permit::Download, out);
                if let Some(offer) = self.record.offer.clone() {
                    self.work = Work::Inspecting;
                    out.push(Command::Inspect(offer));
                }
            }
            (Event::FetchFailed(reason), Work::Fetching) => self.end(Result::Failed(reason), out),
            (Event::Inspected(found), Work::Inspecting) => self.inspected(found, out),
            (Event::InstallEnded(Ok(())), Work::Installing { frozen }) => {
                if frozen {
                    out.push(Command::Freeze(false));
                }
                self.work = if self.record.cancelled { Work::None } else { Work::Written };
            }
            (Event::InstallEnded(Err((reason, again))), Work::Installing { .. }) => {
                self.not_installed(reason, again, out)
            }
            (Event::ReadBack(Ok(())), Work::ReadingBack { .. }) => {
                self.work = Work::None;
                if let Phase::Installing { bundle, target, .. } = &self.record.phase {
                    self.record.phase = Phase::Installed { bundle: bundle.clone(), target: target.clone() };
                    self.save(out);
                }
                self.release(Permit::Install, out);
            }
            (Event::ReadBack(Err(reason)), Work::ReadingBack { .. }) => self.not_installed(reason, true, out),
            (Event::Activated(done), Work::Activating) => self.activated(done),
            (Event::Deactivated(done), Work::Deactivating) => {
                self.work = Work::None;
                match done {
                    Ok(()) => self.deactivated(out),
                    Err(_) => self.pause(),
                }
            }
            (Event::RebootFailed(_), Work::Rebooting) => self.not_rebooted(),
            (Event::Proven(Ok(())), Work::Proving) => {
                self.work = Work::Marking;
                out.push(Command::MarkGood);
            }
            (Event::Proven(Err(reason)), Work::Proving) => self.revert(reason, out),
            (Event::MarkedGood(Ok(())), Work::Marking) => {
                self.facts.booted_good = true;
                self.end(Result::Good, out);
            }
            (Event::MarkedGood(Err(_)), Work::Marking) => {
                self.work = Work::None;
                self.pause();
            }
            _ => {}
        }
    }

    fn lease(&mut self, permit: Permit, news: LeaseNews, out: &mut Vec<Command>) {
        if self.lease.is_none_or(|(held, _)| held != permit) {
            // Of one that is not wanted any more.
            if news == LeaseNews::Granted {
                out.push(Command::Release(permit));
            }
            return;
        }
        if news == LeaseNews::Granted {
            self.lease = Some((permit, Held::Granted));
            return;
        }
        // A box that goes down stops its recorder, too. Of a recording that must not be cut short the recorder itself tells.
        if self.work != Work::Rebooting || news == LeaseNews::Revoked {
            self.yield_work(out);
        }
        if news == LeaseNews::Revoked {
            out.push(Command::Release(permit));
        }
        self.lease = None;
    }

    /// Comes to rest with what may not go on.
    fn yield_work(&mut self, out: &mut Vec<Command>) {
        match &mut self.work {
            Work::Fetching => {
                self.work = Work::None;
                out.push(Command::StopFetching);
            }
            Work::Installing { frozen } | Work::ReadingBack { frozen } if !*frozen => {
                *frozen = true;
                out.push(Command::Freeze(true));
            }
            Work::Rebooting => {
                self.work = Work::None;
                // Who goes back to a system that works need not take that back; who leaves for a new one must.
                self.must_deactivate = matches!(self.record.phase, Phase::AwaitingReboot { .. });
            }
            _ => {}
        }
    }

    /// Who goes back to a system that works need not take that back; who leaves for a new one must.
    pub(crate) fn not_rebooted(&mut self) {
        self.work = Work::None;
        self.must_deactivate = matches!(self.record.phase, Phase::AwaitingReboot { .. });
        self.pause();
    }

    pub(crate) fn pause(&mut self) {
        self.wait_until_ns = self.now.ns.saturating_add(self.policy.pause_ns);
    }

    pub(crate) fn save(&self, out: &mut Vec<Command>) {
        out.push(Command::Save(self.record.clone()));
    }
}
