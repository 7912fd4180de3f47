//! Random histories: a box whose power goes at any moment, whose recorder takes leave back when it likes, and whose updates are
//! sometimes bad. Whatever comes, what the crate promises holds.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod world;

use holdfast_update_plan::{Offer, Origin, Result, Wish};
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
        if world.told[0].1 == Result::Good {
            let slot = &world.slots[world.booted];
            prop_assert!(slot.good && slot.content.as_deref() == Some("good"), "{:?}", slot);
        }
    }
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
