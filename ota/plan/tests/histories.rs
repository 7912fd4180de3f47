//! Random histories: a box whose power goes at any moment, whose recorder takes leave back when it likes, and whose updates are
//! sometimes bad. Whatever comes, what the crate promises holds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use holdfast_update_plan::{Offer, Origin, Permit, Result, Wish};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use world::{Luck, World};

fn offer(action: u64) -> Offer {
    Offer {
        origin: Origin::Fleet(action),
        version: format!("{action}.0"),
        size_bytes: None,
        wish: Wish::Reboot,
        force: false,
    }
}

proptest! {
    #![proptest_config(Config { cases: 4000, failure_persistence: None, ..Config::default() })]
    #[test]
    fn whatever_comes_the_box_boots_and_every_update_has_one_end(
        luck in prop::collection::vec(any::<u8>(), 0..400),
        good in any::<bool>(),
    ) {
        let mut world = World::new(Luck::new(luck));
        world.offer(offer(1), good);
        world.run();
        // The luck has run out: nothing goes wrong any more, so it comes to an end.
        prop_assert!(world.is_idle(), "{:?}", world.plan().record());
        prop_assert!(world.slots.iter().any(|slot| slot.good), "a box that does not boot");
        prop_assert!(world.slots[world.booted].works, "it runs a system that does not work");
        let outcomes = &world.plan().record().outcomes;
        prop_assert_eq!(outcomes.len(), 1);
        prop_assert!(outcomes[0].told, "{:?}", outcomes);
        // The fleet was told the truth, and once.
        prop_assert_eq!(world.told.len(), 1);
        // What power cuts make of it afterwards is the boot loader's doing: its attempts are few.
        if world.plan().has_fallen_back_from().is_some() {
            prop_assert!(world.has_fallen_back, "a fall that was none");
        }
        if world.told[0].1 == Result::Good && !world.has_fallen_back {
            let slot = &world.slots[world.booted];
            prop_assert!(slot.good && slot.content.as_deref() == Some("good"), "{:?}", slot);
        }
    }

    /// While the recorder refuses the lease `reboot`, nothing has RAUC activate a slot: no restart of the updater, no power cut, no
    /// attempt after another. What is refused for long is done once it no longer is.
    #[test]
    fn nothing_is_activated_while_the_lease_is_refused(
        luck in prop::collection::vec(any::<u8>(), 0..400),
        good in any::<bool>(),
    ) {
        let mut world = World::new(Luck::new(luck));
        world.refuse(Some(Permit::Reboot));
        world.offer(offer(1), good);
        for _ in 0..600 {
            world.turn();
            // Where the power goes again and again the boot loader may take the other slot: that is its own affair.
            prop_assert_eq!(world.activations, 0, "{:?}", world.plan().record());
        }
        world.refuse(None);
        world.run();
        let is_good = world.told[0].1 == Result::Good;
        prop_assert!(!is_good || world.activations > 0);
    }
}

proptest! {
    #![proptest_config(Config { cases: 3000, failure_persistence: None, ..Config::default() })]
    /// The world holds every command against the window.
    #[test]
    fn nothing_automatic_is_done_outside_the_window_and_what_is_wanted_does_not_wait(
        luck in prop::collection::vec(any::<u8>(), 0..400),
        good in any::<bool>(),
        is_wanted in any::<bool>(),
        (from_h, hours) in (0_u64..24, 1_u64..23),
    ) {
        let mut world = World::with_window(Luck::new(luck), from_h, (from_h + hours) % 24);
        world.is_wanted = is_wanted;
        world.offer(offer(1), good);
        world.run();
        prop_assert!(world.is_idle(), "{:?}", world.plan().record());
        prop_assert_eq!(world.plan().record().outcomes.len(), 1);
        prop_assert!(world.slots[world.booted].works, "it runs a system that does not work");
    }

    /// Plugged in, pulled out and plugged in again as it comes.
    #[test]
    fn a_stick_may_be_pulled_out_at_any_moment(
        luck in prop::collection::vec(any::<u8>(), 0..400),
        good in any::<bool>(),
        window in any::<bool>(),
    ) {
        let luck = Luck::new(luck);
        let mut world = if window { World::with_window(luck, 22, 3) } else { World::new(luck) };
        world.plug(stick("2.0"), good);
        world.run();
        prop_assert!(world.is_idle(), "{:?}", world.plan().record());
        prop_assert!(world.slots.iter().any(|slot| slot.good), "a box that does not boot");
        prop_assert!(world.slots[world.booted].works, "it runs a system that does not work");
        let outcomes = &world.plan().record().outcomes;
        prop_assert!(outcomes.iter().filter(|outcome| outcome.result == Result::Good).count() <= 1, "{:?}", outcomes);
        // A power cut on its way may have cost attempts; but what was never begun is there still, and a person may say so.
        prop_assert!(!outcomes.is_empty());
        if outcomes.iter().any(|outcome| outcome.result == Result::Good) && !world.has_fallen_back {
            prop_assert!(good && world.slots[world.booted].content.as_deref() == Some("good"));
        }
    }
}

fn stick(version: &str) -> Offer {
    Offer { origin: Origin::Usb(version.into()), version: version.into(), ..offer(0) }
}

#[test]
fn an_automatic_update_waits_for_the_window_and_a_wanted_one_does_not() {
    for is_wanted in [false, true] {
        // It is noon.
        let mut world = World::with_window(Luck::none(), 2, 5);
        world.is_wanted = is_wanted;
        world.offer(offer(1), true);
        world.run();
        assert_eq!(world.told, [(0, Result::Good)]);
        let hours = world.now_ns / 3_600_000_000_000;
        assert_eq!(hours, if is_wanted { 0 } else { 14 });
    }
}

#[test]
fn a_stick_that_was_left_in_is_not_installed_again() {
    let mut world = World::new(Luck::none());
    world.plug(stick("2.0"), true);
    world.run();
    let outcomes = world.plan().record().outcomes.len();
    assert_eq!((outcomes, world.booted, world.plan().shown().phase), (1, 1, "idle"));
    world.plug(stick("2.0"), true);
    world.run();
    assert_eq!((world.plan().record().outcomes.len(), world.plan().shown().phase), (1, "idle"));
    // What did not prove itself is only told the next time.
    world.plug(stick("3.0"), false);
    world.run();
    world.plug(stick("3.0"), false);
    world.run();
    assert_eq!((world.plan().record().outcomes.len(), world.plan().shown().phase), (2, "available"));
}

#[test]
fn a_good_update_in_a_quiet_box_is_booted_and_told_as_a_success() {
    let mut world = World::new(Luck::none());
    world.offer(offer(1), true);
    world.run();
    assert_eq!(world.told, [(0, Result::Good)]);
    assert_eq!((world.booted, world.boots), (1, 2));
}

#[test]
fn a_bad_update_goes_back_is_told_as_a_failure_and_never_comes_again() {
    let mut world = World::new(Luck::none());
    world.offer(offer(1), false);
    world.run();
    assert!(
        matches!(&world.told[..], [(0, Result::RolledBack(reason))] if reason.code == "does-not-record"),
        "{:?}",
        world.told
    );
    let boots = world.boots;
    world.offer(offer(2), false);
    world.run();
    assert!(matches!(&world.told[1], (1, Result::Failed(reason)) if reason.code == "known-bad"), "{:?}", world.told);
    assert_eq!((world.booted, world.boots), (0, boots));
}

#[test]
fn a_person_goes_back_and_forth_between_two_systems_that_have_proven_themselves() {
    let mut world = World::new(Luck::none());
    world.offer(offer(1), true);
    world.run();
    for slot in [0, 1, 0] {
        world.go_back();
        world.run();
        assert_eq!((world.booted, world.slots.each_ref().map(|slot| slot.good)), (slot, [true, true]));
    }
}
