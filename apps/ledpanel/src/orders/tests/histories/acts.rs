//! What may happen to a panel, and how panels and their boxes are.

use proptest::prelude::{Just, Strategy, any, prop_oneof};

#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A press, its bounces at both ends; the next act begins before its end if it overlaps.
    Press { which: usize, for_ms: u64, bounces: Vec<u64>, overlaps: bool },
    /// A bad contact.
    Noise { which: usize, gaps_ms: Vec<u64> },
    /// The recorder goes down, and comes back.
    Down { for_ms: u64, looks_ms: u64 },
    /// From now on a call takes so long.
    Slow { ms: u64 },
    /// From now on it refuses, or no longer.
    Refuse(bool),
    /// Somebody else starts or stops.
    Other { start: bool },
}

pub(super) fn act() -> impl Strategy<Value = (u64, Act)> {
    let for_ms = prop_oneof![1 => 1..20_u64, 6 => 25..400_u64, 1 => 400..1500_u64, 4 => 1520..2500_u64];
    let bounces = proptest::collection::vec(1..8_u64, 0..3);
    let which = prop_oneof![6 => Just(0_usize), 1 => Just(1), 1 => Just(2)];
    let press = (which, for_ms, bounces, proptest::bool::weighted(0.15))
        .prop_map(|(which, for_ms, bounces, overlaps)| Act::Press { which, for_ms, bounces, overlaps });
    let noise = (0..3_usize, proptest::collection::vec(1..60_u64, 1..40))
        .prop_map(|(which, gaps_ms)| Act::Noise { which, gaps_ms });
    let down = (prop_oneof![0..3000_u64, 3000..9000_u64], prop_oneof![Just(0_u64), 0..800_u64])
        .prop_map(|(for_ms, looks_ms)| Act::Down { for_ms, looks_ms });
    let slow = prop_oneof![2 => 1..200_u64, 1 => 200..9000_u64].prop_map(|ms| Act::Slow { ms });
    let what = prop_oneof![
        12 => press,
        1 => noise,
        2 => down,
        1 => slow,
        1 => any::<bool>().prop_map(Act::Refuse),
        1 => any::<bool>().prop_map(|start| Act::Other { start }),
    ];
    (prop_oneof![3 => 20..600_u64, 2 => 600..4000_u64], what)
}

/// How this panel and this bus are.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    pub double: bool,
    /// News are so old when they are heard.
    pub lag_ms: u64,
    /// A recorder that is gone is seen to be after so long.
    pub silence_ms: u64,
    pub starting_ms: u64,
    pub closing_ms: u64,
}

pub(super) fn a_box() -> impl Strategy<Value = Conditions> {
    (any::<bool>(), 0..200_u64, 0..2000_u64, 1..900_u64, prop_oneof![1..300_u64, 1..6000_u64]).prop_map(
        |(double, lag_ms, silence_ms, starting_ms, closing_ms)| Conditions {
            double,
            lag_ms,
            silence_ms,
            starting_ms,
            closing_ms,
        },
    )
}

/// Edges, each within less than the debounce time of its opposite, with rests in between.
pub(super) fn bumps() -> impl Strategy<Value = Vec<(u64, u64)>> {
    proptest::collection::vec((40..3000_u64, 1..20_u64), 1..30)
}
