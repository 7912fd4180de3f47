//! The parts that carry out what the plan says: each command is held against what the crate promises.

use holdfast_update_plan::{Bundle, Command, Event, Permit, Phase, Reason, Result};

use super::{Slot, World, boot_name};

impl World {
    /// In order; between any two of them the power may go.
    pub(super) fn carry_out(&mut self, commands: Vec<Command>) {
        for command in commands {
            if self.luck.strikes(5) {
                return self.power_cut();
            }
            if self.luck.strikes(5) {
                return self.restart();
            }
            if self.one(command) {
                return;
            }
        }
    }

    fn holds(&self, permit: Permit) {
        assert_eq!(self.leave, Some(permit), "without leave of the recorder");
    }

    /// True: the box has rebooted, and nothing of what follows is done.
    fn one(&mut self, command: Command) -> bool {
        let other = 1 - self.booted;
        match command {
            Command::Save(record) => self.record = record,
            Command::Ask(permit) => {
                assert_eq!((self.asked, self.leave), (None, None), "one at a time");
                self.asked = Some(permit);
            }
            // One that was lost a moment ago may be released in vain.
            Command::Release(_) => {
                (self.asked, self.leave) = (None, None);
                // Of what was on its way nobody hears any more.
                self.events.retain(|event| !matches!(event, Event::Lease(..)));
            }
            Command::Fetch(_) => {
                self.holds(Permit::Download);
                let failed = self.luck.strikes(10);
                self.events.push_back(match failed {
                    _ if self.is_stick() && !self.stick_is_in => {
                        Event::FetchFailed(Reason::new("stick-gone", "there is no stick"))
                    }
                    true => Event::FetchFailed(Reason::new("gone", "the server has it no more")),
                    false => Event::Fetched,
                });
            }
            Command::StopFetching => {
                self.events.retain(|event| !matches!(event, Event::Fetched | Event::FetchFailed(_)))
            }
            Command::Inspect(offer) => {
                let manifest = if self.next_works { "good" } else { "bad" };
                let bundle = Bundle { version: offer.version, manifest: manifest.into() };
                self.events.push_back(Event::Inspected(Ok(bundle)));
            }
            Command::Install { bundle, target, .. } => {
                self.holds(Permit::Install);
                assert_eq!(target, boot_name(other), "never into the running slot");
                assert!(self.slots[self.booted].good, "the other slot is all there is to fall back to");
                assert!(matches!(self.record.phase, Phase::Installing { .. }), "not written down");
                self.is_allowed_now();
                self.slots[other] = Slot { works: false, good: false, left: 0, content: None };
                (self.installing, self.frozen) = (Some((other, bundle)), false);
            }
            Command::Freeze(frozen) => {
                if !frozen && self.installing.is_some() {
                    self.holds(Permit::Install);
                }
                self.frozen = frozen;
            }
            Command::ReadBack { target } => {
                self.holds(Permit::Install);
                assert_eq!(target, boot_name(other));
                self.events.push_back(Event::ReadBack(Ok(())));
            }
            Command::Activate { target } => {
                self.holds(Permit::Reboot);
                assert_eq!(target, boot_name(other));
                // Or back to a system that has proven itself, because a person wants it.
                let is_written_down =
                    matches!(self.record.phase, Phase::Activating { .. } | Phase::Reverting { bundle: None, .. });
                assert!(is_written_down, "not written down");
                assert!(self.slots[other].content.is_some(), "half of a system");
                self.is_allowed_now();
                (self.primary, self.slots[other].left) = (other, 3);
                self.activations += 1;
                self.events.push_back(Event::Activated(Ok(())));
            }
            Command::Deactivate => {
                // A power cut behind this is no verdict on the new system, which nobody has tried.
                assert!(!matches!(self.record.phase, Phase::AwaitingReboot { .. }), "not written down");
                self.primary = self.booted;
                (self.slots[other].good, self.slots[other].left) = (false, 0);
                // Whether the box goes down all the same is not for the plan to say.
                self.rebooting &= self.luck.strikes(128);
                self.events.push_back(Event::Deactivated(Ok(())));
            }
            Command::Forsake => {
                self.holds(Permit::Reboot);
                assert!(matches!(self.record.phase, Phase::Reverting { .. }), "not written down");
                self.slots[self.booted].good = false;
                self.slots[self.booted].left = 0;
                // Two writes of the environment.
                if self.luck.strikes(20) {
                    self.power_cut();
                    return true;
                }
                self.primary = other;
                self.activations += 1;
                self.events.push_back(Event::Activated(Ok(())));
            }
            Command::Reboot { .. } => {
                self.holds(Permit::Reboot);
                // A system that has not proven itself is left at any time.
                if !matches!(self.record.phase, Phase::Reverting { .. }) {
                    self.is_allowed_now();
                }
                self.rebooting = true;
            }
            Command::Prove => {
                let works = self.slots[self.booted].works;
                if !works && self.luck.strikes(200) {
                    // It even crashes.
                    self.power_cut();
                    return true;
                }
                let reason = Reason::new("does-not-record", "no safe frame within 60 s");
                self.events.push_back(Event::Proven(works.then_some(()).ok_or(reason)));
            }
            Command::MarkGood => {
                assert!(self.slots[self.booted].works, "a system that does not record is marked good");
                self.mark_good();
                self.events.push_back(Event::MarkedGood(Ok(())));
            }
            Command::Confirm => self.confirming = true,
            Command::Tell(outcome) => {
                if outcome.result == Result::Good {
                    assert!(self.slots[self.booted].good, "success is told of a system that is not marked good");
                }
                self.untold.push_back(outcome);
            }
            Command::Check | Command::Discard => {}
        }
        false
    }
}
