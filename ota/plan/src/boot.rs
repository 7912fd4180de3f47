//! Where the plan stands after a start: what was written down, held against what is.

use crate::engine::{Plan, Work};
use crate::policy::Policy;
use crate::record::{Phase, Reason, Record, Result};
use crate::window::Moment;
use crate::words::Command;

/// What is so at the start of the updater, as RAUC, the boot loader and the kernel say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The slot that runs, by its boot name.
    pub booted: String,
    /// The other one.
    pub other: String,
    /// The slot that the next boot will be into.
    pub primary: String,
    /// The running slot is marked good.
    pub booted_good: bool,
    /// The other slot is marked good.
    pub other_good: bool,
    /// What runs, as the manifest of a [`Bundle`](crate::Bundle), where RAUC has written it.
    pub runs: Option<String>,
    /// What RAUC has written whole to the other slot: the manifest of a [`Bundle`](crate::Bundle). RAUC writes nothing at this
    /// moment: whoever starts the plan waits for that.
    pub written: Option<String>,
}

impl Plan {
    /// Goes on from the newest record. What is to be done first comes with it.
    #[must_use]
    pub fn boot(policy: Policy, record: Record, facts: Facts, now: Moment) -> (Self, Vec<Command>) {
        let mut plan = Self {
            policy,
            record,
            facts,
            lease: None,
            work: Work::None,
            wait_until_ns: 0,
            trial_due_ns: now.ns.saturating_add(policy.trial_ns),
            reboot_due_ns: 0,
            must_deactivate: false,
            failing: None,
            turned: false,
            now,
        };
        let mut out = Vec::new();
        for outcome in plan.record.outcomes.iter().filter(|outcome| !outcome.told) {
            out.push(Command::Tell(outcome.clone()));
        }
        plan.reconcile(&mut out);
        if !matches!(plan.record.phase, Phase::Trial { .. } | Phase::Reverting { .. }) {
            out.push(Command::Confirm);
        }
        plan.follow(&mut out);
        (plan, out)
    }

    fn reconcile(&mut self, out: &mut Vec<Command>) {
        let facts = self.facts.clone();
        match self.record.phase.clone() {
            Phase::Idle | Phase::Available | Phase::Downloading | Phase::Verified { .. } => {}
            Phase::Installing { target, .. } if facts.booted == target => {
                let text =
                    "the box was booted into a slot that was being written; the other one is the last that worked";
                self.end(Result::Failed(Reason::new("booted-unfinished", text)), out);
            }
            // Only this program was cut off, and RAUC has come to its end meanwhile.
            Phase::Installing { bundle, .. } if facts.written.as_ref() == Some(&bundle.manifest) => {
                self.work = if self.record.cancelled { Work::None } else { Work::Written };
            }
            Phase::Installing { bundle, attempts, .. } => {
                // Cut off: the slot is half written, and is written again from the beginning.
                if attempts < self.policy.attempts && !self.record.cancelled {
                    self.record.phase = Phase::Verified { bundle, attempts };
                    self.save(out);
                } else {
                    let text = "the installation was cut off each time it was tried";
                    self.end(Result::Failed(Reason::new("interrupted", text)), out);
                }
            }
            Phase::Installed { bundle, target } if facts.booted == target => self.on_trial(bundle, target, 1, out),
            Phase::Installed { target, .. } => self.must_deactivate = facts.primary == target,
            Phase::Activating { bundle, target, boot_id } | Phase::AwaitingReboot { bundle, target, boot_id } => {
                if facts.boot_id == boot_id {
                    // Only this program was restarted. The leave has gone with it, so the order goes back first.
                    self.must_deactivate = true;
                } else if facts.booted == target {
                    self.on_trial(bundle, target, 1, out);
                } else if matches!(self.record.phase, Phase::Activating { .. }) {
                    // The power went while the order was being changed. Once it is surely the old one, all is as if nothing had been
                    // done.
                    self.must_deactivate = facts.primary == target;
                    self.record.phase = Phase::Installed { bundle, target };
                    self.save(out);
                } else {
                    let text = format!("the boot loader gave slot {target} up and booted {} again", facts.booted);
                    self.rolled_back(&target, Reason::new("not-booted", text), out);
                }
            }
            Phase::Trial { bundle, target, boot_id, boots } => {
                if facts.booted != target {
                    let text = format!(
                        "the new system was booted {boots} times, proved nothing, and the boot loader went back"
                    );
                    self.rolled_back(&target, Reason::new("fell-back", text), out);
                } else if facts.boot_id != boot_id {
                    self.on_trial(bundle, target, boots.saturating_add(1), out);
                }
            }
            Phase::Reverting { from, boot_id, reason, bundle } if facts.boot_id != boot_id && facts.booted != from => {
                match bundle {
                    Some(_) => self.rolled_back(&from, reason, out),
                    // A person went back from a system that had proven itself: it stays one to go back to.
                    None => self.end(Result::RolledBack(reason), out),
                }
            }
            Phase::Reverting { .. } => {}
        }
    }

    /// The box has left a slot that proved nothing. Its boot order begins there all the same if the power went between the two steps of
    /// leaving it, or where a boot loader that goes back does not change it: then that is set right.
    fn rolled_back(&mut self, left: &str, reason: Reason, out: &mut Vec<Command>) {
        self.must_deactivate = self.facts.primary == left;
        self.end(Result::RolledBack(reason), out);
    }

    fn on_trial(&mut self, bundle: crate::Bundle, target: String, boots: u8, out: &mut Vec<Command>) {
        let boot_id = self.facts.boot_id.clone();
        self.record.phase = Phase::Trial { bundle, target, boot_id, boots };
        self.save(out);
        if boots > self.policy.trial_boots {
            let text = format!("the new system was booted {boots} times and has not proven itself");
            self.revert(Reason::new("trial-boots", text), out);
        }
    }
}
