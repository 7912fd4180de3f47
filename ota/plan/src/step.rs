//! What follows: from where the update stands, what it may do, and what it waits for.

use crate::engine::{Held, Plan, Work};
use crate::record::{Bundle, Phase, Reason, Result, Wish};
use crate::words::{Command, Permit};

impl Plan {
    /// Begins whatever may be begun now.
    pub(crate) fn follow(&mut self, out: &mut Vec<Command>) {
        self.expire(out);
        // Where the boot order must not stay as it is, nothing else is done before, and no leave is needed: it makes nothing worse.
        if self.must_deactivate && matches!(self.work, Work::None) && self.now.ns >= self.wait_until_ns {
            self.deactivate(out);
        }
        if self.must_deactivate {
            return;
        }
        let work = self.work;
        match work {
            Work::None if self.now.ns >= self.wait_until_ns => self.begin(out),
            Work::Installing { frozen: true } if self.leave(Permit::Install, out) => {
                self.work = Work::Installing { frozen: false };
                out.push(Command::Freeze(false));
            }
            Work::ReadingBack { frozen: true } if self.leave(Permit::Install, out) => {
                self.work = Work::ReadingBack { frozen: false };
                out.push(Command::Freeze(false));
            }
            Work::Written if self.leave(Permit::Install, out) => {
                if let Phase::Installing { target, .. } = self.record.phase.clone() {
                    self.work = Work::ReadingBack { frozen: false };
                    out.push(Command::ReadBack { target });
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, out: &mut Vec<Command>) {
        match self.record.phase.clone() {
            Phase::Idle => {}
            Phase::Available => {
                if !self.may(Wish::Download) {
                    self.release(Permit::Download, out);
                } else if self.leave(Permit::Download, out) {
                    self.record.phase = Phase::Downloading;
                    self.save(out);
                    self.fetch(out);
                }
            }
            Phase::Downloading => {
                if self.leave(Permit::Download, out) {
                    self.fetch(out);
                }
            }
            Phase::Verified { bundle, attempts } => {
                // The other slot is all there is to fall back to until the running one has proven itself.
                if !self.may(Wish::Install) || !self.facts.booted_good {
                    // Leave that came when the window had closed again.
                    self.release(Permit::Install, out);
                } else if self.leave(Permit::Install, out) {
                    self.install(bundle, attempts, out);
                }
            }
            // Begun in a life before this one, which `Plan::boot` has dealt with: nothing is left to do.
            Phase::Installing { .. } => {}
            Phase::Installed { bundle, target } => {
                if !self.may(Wish::Reboot) {
                    self.release(Permit::Reboot, out);
                } else if self.leave(Permit::Reboot, out) {
                    let boot_id = self.facts.boot_id.clone();
                    self.record.phase = Phase::Activating { bundle, target: target.clone(), boot_id };
                    self.save(out);
                    self.work = Work::Activating;
                    out.push(Command::Activate { target });
                }
            }
            // The window has closed just when the boot order had been changed.
            Phase::Activating { .. } | Phase::AwaitingReboot { .. } if !self.may(Wish::Reboot) => {
                self.must_deactivate = true;
                self.release(Permit::Reboot, out);
                self.deactivate(out);
            }
            // The lease was taken back just when the boot order had been changed.
            Phase::Activating { bundle, target, boot_id } => {
                if self.leave(Permit::Reboot, out) {
                    self.record.phase = Phase::AwaitingReboot { bundle, target, boot_id };
                    self.save(out);
                    self.reboot("an update is installed", out);
                }
            }
            Phase::AwaitingReboot { .. } => {
                if self.leave(Permit::Reboot, out) {
                    self.reboot("an update is installed", out);
                }
            }
            Phase::Trial { .. } => {
                self.work = Work::Proving;
                out.push(Command::Prove);
            }
            Phase::Reverting { bundle, reason, .. } => {
                if self.leave(Permit::Reboot, out) && self.turned {
                    self.reboot(&format!("back to the system before: {}", reason.text), out);
                } else if self.lease == Some((Permit::Reboot, Held::Granted)) {
                    self.work = Work::Activating;
                    out.push(match bundle {
                        Some(_) => Command::Forsake,
                        None => Command::Activate { target: self.facts.other.clone() },
                    });
                }
            }
        }
    }

    fn fetch(&mut self, out: &mut Vec<Command>) {
        if let Some(offer) = self.record.offer.clone() {
            self.work = Work::Fetching;
            out.push(Command::Fetch(offer));
        }
    }

    fn install(&mut self, bundle: Bundle, attempts: u8, out: &mut Vec<Command>) {
        let Some(offer) = self.record.offer.clone() else { return };
        let (target, attempts) = (self.facts.other.clone(), attempts.saturating_add(1));
        self.record.phase = Phase::Installing { bundle: bundle.clone(), target: target.clone(), attempts };
        self.save(out);
        self.work = Work::Installing { frozen: false };
        self.facts.other_good = false;
        out.push(Command::Install { offer, bundle, target });
    }

    fn reboot(&mut self, why: &str, out: &mut Vec<Command>) {
        self.work = Work::Rebooting;
        self.reboot_due_ns = self.now.ns.saturating_add(self.policy.reboot_ns);
        out.push(Command::Reboot { why: why.to_owned() });
    }

    /// Has leave for this; else asks for it.
    fn leave(&mut self, permit: Permit, out: &mut Vec<Command>) -> bool {
        match self.lease {
            Some((held, Held::Granted)) if held == permit => true,
            Some((held, Held::Asked)) if held == permit => false,
            _ => {
                self.release_any(out);
                self.lease = Some((permit, Held::Asked));
                out.push(Command::Ask(permit));
                false
            }
        }
    }

    pub(crate) fn release(&mut self, permit: Permit, out: &mut Vec<Command>) {
        if self.lease.is_some_and(|(held, _)| held == permit) {
            self.release_any(out);
        }
    }

    pub(crate) fn release_any(&mut self, out: &mut Vec<Command>) {
        if let Some((held, _)) = self.lease.take() {
            out.push(Command::Release(held));
        }
    }

    pub(crate) fn inspected(&mut self, found: std::result::Result<Bundle, Reason>, out: &mut Vec<Command>) {
        self.work = Work::None;
        match found {
            Err(reason) => self.end(Result::Failed(reason), out),
            Ok(bundle)
                if self.record.is_bad(&bundle) && !self.record.offer.as_ref().is_some_and(|offer| offer.force) =>
            {
                let why = format!("release {} was tried on this box and did not prove itself", bundle.version);
                self.end(Result::Failed(Reason::new("known-bad", why)), out);
            }
            Ok(bundle) => {
                self.record.phase = Phase::Verified { bundle, attempts: 0 };
                self.save(out);
            }
        }
    }

    pub(crate) fn not_installed(&mut self, reason: Reason, again: bool, out: &mut Vec<Command>) {
        self.work = Work::None;
        self.release(Permit::Install, out);
        match self.record.phase.clone() {
            Phase::Installing { bundle, attempts, .. }
                if again && attempts < self.policy.attempts && !self.record.cancelled =>
            {
                self.record.phase = Phase::Verified { bundle, attempts };
                self.save(out);
                self.wait_until_ns = self.now.ns.saturating_add(self.policy.retry_ns);
            }
            _ => self.end(Result::Failed(reason), out),
        }
    }

    /// The boot order was changed, or not. Without leave it is changed back.
    pub(crate) fn activated(&mut self, done: std::result::Result<(), Reason>) {
        self.work = Work::None;
        let is_leaving = matches!(self.record.phase, Phase::Reverting { .. });
        match done {
            Err(_) if is_leaving => self.pause(),
            Err(reason) => (self.must_deactivate, self.failing) = (true, Some(reason)),
            Ok(()) if is_leaving => self.turned = true,
            Ok(()) => {
                let has_leave = self.lease == Some((Permit::Reboot, Held::Granted));
                self.must_deactivate = !has_leave || self.record.cancelled;
            }
        }
    }

    /// Has the boot order changed back. That it is changed is written down first: when the power goes meanwhile and the box boots the system
    /// before, nobody has tried the new one, and the boot loader has given nothing up.
    fn deactivate(&mut self, out: &mut Vec<Command>) {
        if let Phase::AwaitingReboot { bundle, target, boot_id } = self.record.phase.clone() {
            self.record.phase = Phase::Activating { bundle, target, boot_id };
            self.save(out);
        }
        self.work = Work::Deactivating;
        out.push(Command::Deactivate);
    }

    pub(crate) fn deactivated(&mut self, out: &mut Vec<Command>) {
        self.must_deactivate = false;
        if let Phase::Activating { bundle, target, .. } | Phase::AwaitingReboot { bundle, target, .. } =
            &self.record.phase
        {
            self.record.phase = Phase::Installed { bundle: bundle.clone(), target: target.clone() };
            self.save(out);
        }
        if let Some(reason) = self.failing.take() {
            self.end(Result::Failed(reason), out);
        }
    }

    /// The system that runs goes.
    pub(crate) fn revert(&mut self, reason: Reason, out: &mut Vec<Command>) {
        self.work = Work::None;
        let bundle = self.record.bundle().cloned();
        let (from, boot_id) = (self.facts.booted.clone(), self.facts.boot_id.clone());
        self.record.phase = Phase::Reverting { bundle, from, boot_id, reason };
        self.save(out);
    }

    pub(crate) fn cancel(&mut self, out: &mut Vec<Command>) {
        match self.record.phase {
            // A system that runs is no longer cancelled, but left: see `go_back`.
            Phase::Idle | Phase::Trial { .. } | Phase::Reverting { .. } => return,
            _ => {}
        }
        if self.record.cancelled {
            return;
        }
        self.record.cancelled = true;
        self.save(out);
        match self.work {
            Work::Fetching => {
                self.work = Work::None;
                out.push(Command::StopFetching);
            }
            // Their ends are not waited for.
            Work::Inspecting | Work::Checking | Work::Written | Work::ReadingBack { .. } => self.work = Work::None,
            Work::Rebooting => (self.work, self.must_deactivate) = (Work::None, true),
            Work::None if matches!(self.record.phase, Phase::Activating { .. } | Phase::AwaitingReboot { .. }) => {
                self.must_deactivate = true;
            }
            _ => {}
        }
    }

    pub(crate) fn go_back(&mut self, out: &mut Vec<Command>) {
        let reason = Reason::new("operator", "a person wanted the system before");
        match self.record.phase {
            Phase::Trial { .. } => self.revert(reason, out),
            Phase::Idle | Phase::Available if self.facts.other_good => {
                self.record.offer = None;
                self.revert(reason, out);
            }
            _ => {}
        }
    }

    /// What was cancelled ends as soon as nothing of it goes on; a trial that takes too long has failed.
    fn expire(&mut self, out: &mut Vec<Command>) {
        if self.record.cancelled && self.work == Work::None && !self.must_deactivate {
            self.end(Result::Cancelled, out);
        }
        if self.work == Work::Rebooting && self.now.ns >= self.reboot_due_ns {
            self.not_rebooted();
        }
        let is_trial = matches!(self.record.phase, Phase::Trial { .. });
        if is_trial && self.now.ns >= self.trial_due_ns {
            let text = "the new system has not proven itself in time";
            self.revert(Reason::new("trial-timeout", text), out);
        }
    }

    /// It has come to its end: written down, then told.
    pub(crate) fn end(&mut self, result: Result, out: &mut Vec<Command>) {
        self.work = Work::None;
        self.wait_until_ns = 0;
        self.record.end(result, self.now.unix_s);
        self.save(out);
        out.push(Command::Discard);
        self.release_any(out);
        self.tell_last(out);
    }

    fn tell_last(&self, out: &mut Vec<Command>) {
        if let Some(outcome) = self.record.outcomes.last().filter(|outcome| !outcome.told) {
            out.push(Command::Tell(outcome.clone()));
        }
    }
}
