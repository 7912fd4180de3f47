//! Staged rollout without a server: whose turn it is, from the campaign and the box alone.

use serde::{Deserialize, Serialize};

/// A release that goes out in waves, as its publisher describes it beside the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Its name. Another name deals the boxes anew.
    pub name: String,
    /// For boxes of this channel only.
    pub channel: String,
    /// From when, Unix time in seconds, and to how many thousandths of all boxes. In order of time.
    pub waves: Vec<(i64, u16)>,
}

impl Campaign {
    /// It is this box's turn. `channel` is the box's, `machine` its machine-id.
    #[must_use]
    pub fn includes(&self, channel: &str, machine: &str, now_unix_s: i64) -> bool {
        let reached = self.waves.iter().take_while(|(from_unix_s, _)| *from_unix_s <= now_unix_s).last();
        self.channel == channel && reached.is_some_and(|(_, permille)| share(&self.name, machine) < *permille)
    }

    /// When it will be; `None` if never.
    #[must_use]
    pub fn turn_unix_s(&self, channel: &str, machine: &str) -> Option<i64> {
        if self.channel != channel {
            return None;
        }
        let share = share(&self.name, machine);
        self.waves.iter().find(|(_, permille)| share < *permille).map(|(from_unix_s, _)| *from_unix_s)
    }
}

/// Where a box stands in a campaign, 0 to 999: the same on every box and in every release of this program, and evenly spread.
/// FNV-1a, 64 bits (draft-eastlake-fnv), with the finish of SplitMix64, as FNV alone leaves near names near.
#[must_use]
pub fn share(campaign: &str, machine: &str) -> u16 {
    let bytes = campaign.bytes().chain([0]).chain(machine.bytes());
    let mut hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u16::try_from((hash ^ (hash >> 31)) % 1000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Campaign, share};

    fn campaign() -> Campaign {
        Campaign { name: "2026.11".into(), channel: "stable".into(), waves: vec![(100, 10), (200, 250), (300, 1000)] }
    }

    #[test]
    fn every_box_has_its_turn_and_keeps_it() {
        let campaign = campaign();
        let boxes: Vec<String> = (0..2000).map(|n| format!("{n:032x}")).collect();
        let of = |at| boxes.iter().filter(|machine| campaign.includes("stable", machine, at)).count();
        assert_eq!((of(99), of(300)), (0, 2000));
        assert!((5..40).contains(&of(100)), "{}", of(100));
        assert!((420..580).contains(&of(250)), "{}", of(250));
        for machine in &boxes {
            let turn = campaign.turn_unix_s("stable", machine).unwrap();
            assert!(campaign.includes("stable", machine, turn) && !campaign.includes("stable", machine, turn - 1));
        }
        assert!(!campaign.includes("beta", &boxes[0], 1000));
        assert_eq!(campaign.turn_unix_s("beta", &boxes[0]), None);
    }

    #[test]
    fn another_campaign_begins_with_other_boxes() {
        let first = |name: &str| -> Vec<u32> { (0..500).filter(|n| share(name, &format!("{n:032x}")) < 50).collect() };
        assert_ne!(first("2026.11"), first("2026.12"));
        // Boxes of today's releases must find the same place with tomorrow's.
        assert_eq!(
            share("2026.11", "0123456789abcdef0123456789abcdef"),
            share("2026.11", "0123456789abcdef0123456789abcdef")
        );
    }
}
