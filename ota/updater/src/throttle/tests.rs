//! The throttle against a disk, against random histories, and the cases worth naming.

use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::{LEAST, Look, MIB, MOST, MS, Pace, S, START, Seen, Throttle};

const LOOK_NS: u64 = 250 * MS;

/// Looks four times a second at an input that syncs twice.
struct Watch {
    throttle: Throttle,
    now_ns: u64,
    frames: u64,
    pace: Pace,
}

impl Watch {
    fn new() -> Self {
        Self { throttle: Throttle::default(), now_ns: 0, frames: 0, pace: Pace::Free }
    }

    fn seen(&self, sync_us: u32, queue_bytes: u64) -> Seen {
        Seen {
            name: "cam0".into(),
            safe_frames: self.frames,
            sync_us,
            queue_bytes,
            queue_capacity_bytes: 32 * MIB,
            lost_frames: 0,
        }
    }

    fn look(&mut self, look: &Look) -> Pace {
        self.now_ns += LOOK_NS;
        self.pace = self.throttle.look(self.now_ns, look);
        self.pace
    }

    /// One more sync has taken so long.
    fn sync(&mut self, sync_us: u32) -> Pace {
        self.frames += 15;
        let seen = self.seen(sync_us, 1000);
        self.look(&Look::Recording(vec![seen.clone()]));
        // The same figures again are no second sync.
        self.look(&Look::Recording(vec![seen]))
    }

    fn learned() -> Self {
        let mut watch = Self::new();
        while !matches!(watch.pace, Pace::At(_)) {
            watch.sync(3_000);
            assert!(watch.now_ns < 10 * S, "{:?}", watch.throttle);
        }
        watch
    }

    fn rate(&self) -> u64 {
        match self.pace {
            Pace::At(rate) => rate,
            Pace::Still(_) => 0,
            Pace::Free => u64::MAX,
        }
    }
}

#[test]
fn it_looks_first_starts_modestly_and_rises_while_nothing_is_disturbed() {
    let mut watch = Watch::new();
    assert_eq!(watch.look(&Look::Quiet), Pace::Free);
    assert!(matches!(watch.sync(3_000), Pace::Still(_)));
    let began = watch.now_ns;
    while watch.rate() == 0 {
        watch.sync(3_000);
    }
    assert!(watch.now_ns - began >= 5 * S / 2, "{}", watch.now_ns - began);
    assert_eq!(watch.rate(), START);
    for _ in 0..200 {
        let before = watch.rate();
        watch.sync(3_000);
        assert!(watch.rate() >= before && watch.rate() <= before + MIB);
    }
    assert_eq!(watch.rate(), MOST);
    assert_eq!(watch.look(&Look::Quiet), Pace::Free);
}

#[test]
fn a_slow_sync_halves_a_very_slow_one_stops_and_both_are_heeded_at_once() {
    let mut watch = Watch::learned();
    for _ in 0..40 {
        watch.sync(3_000);
    }
    let before = watch.rate();
    watch.frames += 15;
    let seen = watch.seen(7_000, 1000);
    assert_eq!(watch.look(&Look::Recording(vec![seen])), Pace::At(before / 2));
    watch.frames += 15;
    let seen = watch.seen(40_000, 1000);
    assert!(matches!(watch.look(&Look::Recording(vec![seen])), Pace::Still(_)));
    // It rests, and begins modestly again.
    let stopped = watch.now_ns;
    while watch.rate() == 0 {
        watch.sync(3_000);
    }
    assert!(watch.now_ns - stopped >= 2 * S);
    assert_eq!(watch.rate(), START);
}

#[test]
fn one_slow_sync_after_the_other_ends_in_standing_still() {
    let mut watch = Watch::learned();
    for _ in 0..20 {
        watch.sync(7_000);
        if watch.rate() == 0 {
            return;
        }
        assert!(watch.rate() >= LEAST);
    }
    panic!("{:?}", watch.throttle);
}

#[test]
fn footage_that_piles_up_slows_it_and_much_of_it_or_a_lost_frame_stops_it() {
    let mut watch = Watch::learned();
    let seen = watch.seen(3_000, MIB);
    assert_eq!(watch.look(&Look::Recording(vec![seen])), Pace::At(START / 2));
    let seen = watch.seen(3_000, 9 * MIB);
    assert!(matches!(watch.look(&Look::Recording(vec![seen.clone()])), Pace::Still(_)));
    // As long as it lies there, whatever the syncs say.
    for _ in 0..100 {
        assert!(matches!(watch.look(&Look::Recording(vec![seen.clone()])), Pace::Still(_)));
    }
    let mut watch = Watch::learned();
    let seen = Seen { lost_frames: 1, ..watch.seen(3_000, 1000) };
    assert!(matches!(watch.look(&Look::Recording(vec![seen])), Pace::Still(_)));
}

#[test]
fn the_worst_input_counts_and_a_dead_one_does_not_hold_it_for_ever() {
    let mut watch = Watch::new();
    let both = |watch: &mut Watch, second: u32| {
        watch.frames += 15;
        let first = watch.seen(3_000, 0);
        let second = Seen { name: "cam1".into(), ..watch.seen(second, 0) };
        watch.look(&Look::Recording(vec![first, second]))
    };
    for _ in 0..14 {
        both(&mut watch, 9_000);
    }
    assert_eq!(watch.rate(), START);
    // What is slow for one is not for the other.
    both(&mut watch, 15_000);
    assert!(watch.rate() >= START);
    let before = watch.rate();
    both(&mut watch, 19_000);
    assert_eq!(watch.rate(), before / 2);
    // One that has no syncs at all.
    let mut watch = Watch::new();
    for _ in 0..50 {
        watch.frames += 15;
        let dead = Seen { name: "dead".into(), safe_frames: 0, ..watch.seen(0, 0) };
        let alive = watch.seen(3_000, 0);
        watch.look(&Look::Recording(vec![dead, alive]));
    }
    assert!(watch.rate() >= START);
    // And a recording of which nobody says anything is no quiet one.
    let mut watch = Watch::new();
    for _ in 0..100 {
        assert!(matches!(watch.look(&Look::Recording(vec![])), Pace::Still(_)));
    }
}

/// A disk that writes so much, and is shared: near its end a sync waits for the rest.
fn disk(rate: u64, capacity: u64) -> u32 {
    let free = capacity.saturating_sub(rate).max(capacity / 100);
    u32::try_from(3_000 * capacity / free).unwrap_or(u32::MAX)
}

#[test]
fn on_a_disk_it_finds_what_that_bears_and_seldom_disturbs() {
    for capacity in [4 * MIB, 12 * MIB, 40 * MIB] {
        let mut watch = Watch::learned();
        let (mut written, mut disturbed, rounds) = (0, 0, 1200);
        for _ in 0..rounds {
            let sync_us = disk(watch.rate(), capacity);
            disturbed += u32::from(sync_us > 6_000);
            watch.sync(sync_us);
            written += watch.rate() / 2;
        }
        let mean = written / u64::from(rounds) * 2;
        assert!(mean > capacity / 5, "{capacity}: {mean}");
        assert!(disturbed * 100 <= rounds * 12, "{capacity}: {disturbed} of {rounds}");
    }
}

fn any_look() -> impl Strategy<Value = Look> {
    let seen = (0..3_u8, any::<bool>(), 0..200_000_u32, 0..40 * MIB, 0..50_u64).prop_map(
        |(name, is_new, sync_us, queue_bytes, lost)| Seen {
            name: format!("cam{name}"),
            // Made one that counts up by the test.
            safe_frames: u64::from(is_new),
            sync_us,
            queue_bytes,
            queue_capacity_bytes: 32 * MIB,
            lost_frames: lost / 49,
        },
    );
    prop_oneof![
        1 => proptest::strategy::Just(Look::Unknown),
        1 => proptest::strategy::Just(Look::Quiet),
        12 => proptest::collection::vec(seen, 0..3).prop_map(Look::Recording),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever it sees: it is never faster than it may be, rises by small steps only, and what can't be seen is stood still for.
    #[test]
    fn no_history_makes_it_rash(looks in proptest::collection::vec((any_look(), 1..3000_u64), 1..200)) {
        let mut throttle = Throttle::default();
        let (mut now_ns, mut frames, mut before) = (0, 0, Pace::Still(""));
        for (mut look, ms) in looks {
            now_ns += ms * MS;
            if let Look::Recording(seen) = &mut look {
                for input in seen {
                    frames += input.safe_frames;
                    input.safe_frames = frames;
                }
            }
            let pace = throttle.look(now_ns, &look);
            match (&look, pace) {
                (Look::Quiet, pace) => assert_eq!(pace, Pace::Free),
                (Look::Unknown, Pace::Still(_)) => {}
                (Look::Recording(seen), Pace::At(rate)) => {
                    assert!((LEAST..=MOST).contains(&rate));
                    match before {
                        Pace::At(before) => assert!(rate <= before + MIB),
                        // Never out of the quiet, nor out of standing still, at more than a modest start.
                        Pace::Still(_) => assert_eq!(rate, START),
                        Pace::Free => panic!("written beside a recording that nobody has looked at"),
                    }
                    assert!(seen.iter().all(|input| input.queue_bytes <= 8 * MIB), "{seen:?}");
                }
                (Look::Recording(_), Pace::Still(why)) => assert!(!why.is_empty()),
                (look, pace) => panic!("{look:?}: {pace:?}"),
            }
            before = pace;
        }
    }
}
