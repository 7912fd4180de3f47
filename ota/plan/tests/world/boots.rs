//! Boots, power cuts and restarts: what the boot loader does, and what the updater finds.

use holdfast_update_plan::{Event, Facts, Phase, Plan, Policy, Source, Window, Wish};

use super::{World, boot_name};

impl World {
    pub(super) fn mark_good(&mut self) {
        (self.slots[self.booted].good, self.slots[self.booted].left) = (true, 3);
    }

    pub(super) fn power_cut(&mut self) {
        self.cut_off();
        // RAUC's half is lost.
        (self.installing, self.frozen, self.rebooting) = (None, false, false);
        self.boot();
    }

    /// The first of the boot order that has attempts.
    fn first(&self) -> Option<usize> {
        [self.primary, 1 - self.primary].into_iter().find(|slot| self.slots[*slot].left > 0)
    }

    /// The boot loader: what is first, as long as it has attempts; else the other. The order stays as it is.
    pub(super) fn boot(&mut self) {
        self.boots += 1;
        self.has_fallen_back |= self.slots[self.primary].left == 0 && self.slots[self.primary].good;
        // With no update in sight: by power cuts alone.
        let is_quiet = !matches!(
            self.record.phase,
            Phase::Activating { .. } | Phase::AwaitingReboot { .. } | Phase::Trial { .. } | Phase::Reverting { .. }
        );
        self.unsettled |= self.slots[self.primary].left == 0 && is_quiet;
        if self.first().is_none() {
            // CONFIG_BOOTMETH_RAUC_RESET_ALL_ZERO_TRIES: better one that was cut off too often than none. One that is marked bad is in no
            // order: RAUC takes it out.
            let slot = if self.slots[self.booted].good { self.booted } else { 1 - self.booted };
            self.slots[slot].left = 3;
        }
        let first = self.first().expect("something boots");
        let slot = &mut self.slots[first];
        assert!(slot.left > 0 && slot.content.is_some(), "nothing boots: {:?}", self.slots);
        slot.left -= 1;
        self.booted = first;
        self.start();
    }

    fn cut_off(&mut self) {
        self.unsettled |= self.primary != self.booted && self.slots[self.primary].left == 0;
    }

    /// The updater alone is started again.
    pub(super) fn restart(&mut self) {
        self.cut_off();
        self.start();
    }

    pub(super) fn start(&mut self) {
        // Whoever starts the plan waits, under a lease of its own, until RAUC has come to its end.
        if let Some((target, bundle)) = self.installing.take()
            && !self.luck.strikes(128)
        {
            (self.slots[target].content, self.slots[target].works) = (Some(bundle.manifest), self.next_works);
        }
        self.frozen = false;
        self.events.clear();
        self.untold.clear();
        self.confirming = false;
        (self.asked, self.leave) = (None, None);
        let other = 1 - self.booted;
        let facts = Facts {
            boot_id: format!("boot{}", self.boots),
            booted: boot_name(self.booted),
            other: boot_name(other),
            // As a backend says it that does not look at attempts. That of U-Boot never names a slot without.
            primary: boot_name(self.primary),
            booted_good: self.slots[self.booted].good,
            other_good: self.slots[other].good,
            runs: self.slots[self.booted].content.clone(),
            written: self.slots[other].content.clone(),
        };
        let window =
            self.window_h.and_then(|(from_h, until_h)| Window::parse(&format!("{from_h:02}:00-{until_h:02}:00")));
        let policy = Policy { automatic: Wish::Reboot, window, attempts: 5, ..Policy::default() };
        let (plan, commands) = Plan::boot(policy, self.record.clone(), facts, self.now());
        self.plan = Some(plan);
        // Whoever watches sticks says what there is.
        if self.is_stick() {
            let found = self.offered.clone().map(|offer| self.offering(offer)).filter(|_| self.stick_is_in);
            self.events.push_back(found.unwrap_or(Event::Nothing(Source::Usb)));
        }
        self.carry_out(commands);
    }
}
