//! Where the power goes, and what the drive's cache then takes along.
//!
//! At a cut between two flushes all that was written before the earlier one is on the disk. Of what came after it any part may
//! be: a drive writes its cache in whatever order it likes, and may be in the middle of a write, sector by sector. Each cut of
//! a plan has a number from which, with the seed, all of its chances follow: it can be looked at again.

use crate::log::{Log, SECTOR_BYTES};

/// What becomes of the writes that no flush has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// All of them arrive: the disk has no cache, or time enough.
    Arrived,
    /// Each may be lost.
    Lost,
    /// The newest arrive, older ones are lost.
    Reordered,
    /// Each may be lost, and those that arrive may be torn.
    Torn,
}

/// One image to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Its number in the plan.
    pub number: u64,
    /// How many entries had been logged when the power went.
    pub at: usize,
    /// So many of them are covered by a flush.
    pub durable: usize,
    /// What becomes of the others.
    pub fate: Fate,
    chance: u64,
}

/// An entry that arrives, or the sectors of it that do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Its index in the log.
    pub entry: usize,
    /// Which sectors; all of them for `None`.
    pub sectors: Option<Vec<bool>>,
}

/// How a plan is made.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many images.
    pub images: u64,
    /// All chances follow from it.
    pub seed: u64,
    /// The first cut is not before this entry: the file system has just been mounted there.
    pub from: usize,
    /// The last cut is here.
    pub to: usize,
    /// A disk that lies: so many flushes before a cut are answered and not done. 0 for an honest one.
    pub ignored_flushes: usize,
}

impl Plan {
    /// The cuts, in the order of their places in the log. First every flush boundary (as many as fit into half of the
    /// images, evenly spread), then cuts anywhere.
    #[must_use]
    pub fn cuts(&self, log: &Log) -> Vec<Cut> {
        let entries = &log.entries[..self.to.min(log.entries.len())];
        let flushes: Vec<usize> = (0..entries.len()).filter(|index| entries[*index].flush).collect();
        let mut boundaries: Vec<usize> = flushes.iter().copied().filter(|flush| *flush >= self.from).collect();
        boundaries.push(self.to);
        let all = boundaries.len() as u64;
        let wanted = if self.ignored_flushes > 0 { 0 } else { all.min(self.images.div_ceil(2)).max(1) };
        let mut cuts = Vec::new();
        for index in 0..wanted {
            // The last is always among them.
            let place = boundaries[usize::try_from((index + 1) * all / wanted - 1).unwrap_or(0)];
            cuts.push(Cut { number: index, at: place, durable: place, fate: Fate::Arrived, chance: 0 });
        }
        // Behind a write, and before the flush that covers it: elsewhere there is nothing to lose.
        let writes: Vec<usize> = (self.from..entries.len()).filter(|index| entries[*index].bytes > 0).collect();
        for number in wanted..self.images {
            let mut random = Random::new(self.seed, number);
            let at = writes.get(random.below(writes.len())).map_or(self.to, |write| write + 1);
            let covered = flushes.partition_point(|flush| *flush < at);
            let last = covered.checked_sub(1 + self.ignored_flushes).and_then(|index| flushes.get(index));
            let durable = last.map_or(0, |flush| flush + 1);
            let fate = match random.below(16) {
                0 => Fate::Arrived,
                1..=5 => Fate::Lost,
                6..=7 => Fate::Reordered,
                _ => Fate::Torn,
            };
            let fate = if self.ignored_flushes > 0 && fate == Fate::Arrived { Fate::Lost } else { fate };
            cuts.push(Cut { number, at, durable, fate, chance: random.draw() });
        }
        cuts.sort_by_key(|cut| (cut.durable, cut.at, cut.number));
        cuts
    }
}

impl Cut {
    /// What arrives of the entries that no flush covers, in the order in which it was written.
    #[must_use]
    pub fn picks(&self, log: &Log) -> Vec<Pick> {
        let mut random = Random::new(self.chance, self.number);
        let open = self.durable..self.at.min(log.entries.len());
        // A drive that is nearly done, or has hardly begun.
        let keep_percent = [10, 30, 50, 70, 90][random.below(5)];
        let oldest_kept = open.start + random.below(open.len().max(1));
        let mut picks = Vec::new();
        for entry in open {
            let logged = &log.entries[entry];
            if logged.bytes == 0 {
                continue;
            }
            let kept = match self.fate {
                Fate::Arrived => true,
                Fate::Lost | Fate::Torn => random.below(100) < keep_percent,
                Fate::Reordered => entry >= oldest_kept,
            };
            if !(kept || logged.durable) {
                continue;
            }
            let torn = self.fate == Fate::Torn && !logged.durable && !logged.discard && random.below(3) == 0;
            let sectors = torn.then(|| {
                let mut sectors = tear(usize::try_from(logged.bytes).unwrap_or(0) / SECTOR_BYTES, &mut random);
                keep_super_block_whole(&mut sectors, logged.offset);
                sectors
            });
            picks.push(Pick { entry, sectors });
        }
        picks
    }
}

/// Which sectors of a torn write arrive: its beginning, its end, or any.
fn tear(sectors: usize, random: &mut Random) -> Vec<bool> {
    let place = random.below(sectors.max(1));
    match random.below(3) {
        0 => (0..sectors).map(|sector| sector < place).collect(),
        1 => (0..sectors).map(|sector| sector >= place).collect(),
        _ => (0..sectors).map(|_| random.below(2) == 0).collect(),
    }
}

/// The second half of ext4's super block, the KiB at 1024, arrives with the first or not at all. Torn in the middle it makes a
/// filesystem that neither the kernel nor `e2fsck -p` knows, whatever was written to it and by whom: that is ext4's to bear, and the
/// drive's, which as a rule writes 4 KiB in one go. What the rig judges is what we write.
fn keep_super_block_whole(sectors: &mut [bool], offset: u64) {
    const SECOND_HALF: u64 = 1536;
    let place =
        SECOND_HALF.checked_sub(offset).and_then(|bytes| usize::try_from(bytes).ok()).map(|bytes| bytes / SECTOR_BYTES);
    if let Some(place) = place.filter(|place| (1..sectors.len()).contains(place)) {
        sectors[place] = sectors[place - 1];
    }
}

/// SplitMix64: small, and the same everywhere and for ever.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The chances of number `number` under a seed.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        Self(seed ^ number.wrapping_mul(0xa076_1d64_78bd_642f))
    }

    /// Any number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit` (which is not 0).
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % (limit.max(1) as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fate, Plan};
    use crate::log::{Log, SECTOR_BYTES};

    /// 40 epochs of 9 writes and a flush.
    fn log() -> Log {
        let mut bytes = vec![0; SECTOR_BYTES];
        bytes[..28].copy_from_slice(&[0x006a_7366_7773_6872_u64, 1, 400, 512].map(u64::to_le_bytes).concat()[..28]);
        for number in 0..400_u64 {
            let is_flush = number % 10 == 9;
            let head =
                [number * 8, if is_flush { 0 } else { 8 }, u64::from(is_flush), 0].map(u64::to_le_bytes).concat();
            bytes.extend(&head);
            bytes.resize(bytes.len() + SECTOR_BYTES - head.len() + if is_flush { 0 } else { 4096 }, 7);
        }
        Log::parse(bytes).unwrap()
    }

    #[test]
    fn what_a_flush_covers_is_always_there_and_of_the_rest_any_part() {
        let log = log();
        let plan = Plan { images: 3000, seed: 5, from: 20, to: 385, ignored_flushes: 0 };
        let cuts = plan.cuts(&log);
        assert_eq!(cuts.len(), 3000);
        assert_eq!(cuts, plan.cuts(&log), "a plan is made again");
        let mut fates = std::collections::BTreeSet::new();
        let (mut torn, mut lost, mut out_of_order) = (0, 0, 0);
        for cut in &cuts {
            assert!((20..=385).contains(&cut.at) && cut.durable <= cut.at && cut.at - cut.durable < 10, "{cut:?}");
            assert!(log.entries[cut.durable..cut.at].iter().all(|entry| !entry.flush), "{cut:?}");
            fates.insert(cut.fate);
            let picks = cut.picks(&log);
            assert_eq!(picks, cut.picks(&log), "so is an image");
            torn += picks.iter().filter(|pick| pick.sectors.is_some()).count();
            lost += (cut.at - cut.durable).saturating_sub(picks.len());
            out_of_order += usize::from(picks.first().is_some_and(|pick| pick.entry > cut.durable));
        }
        assert_eq!(fates.len(), 4);
        assert!(torn > 100 && lost > 1000 && out_of_order > 100, "{torn} {lost} {out_of_order}");
        let boundaries: Vec<usize> =
            cuts.iter().filter(|cut| cut.at == cut.durable && cut.number < 37).map(|cut| cut.at).collect();
        let all: Vec<usize> = (29..385).step_by(10).chain([385]).collect();
        assert_eq!(boundaries, all, "every flush boundary, and the end");
    }

    #[test]
    fn a_super_block_is_written_in_one_go() {
        let torn = |offset: u64| {
            let mut sectors = vec![true, false, true, false, true, false, true, false];
            super::keep_super_block_whole(&mut sectors, offset);
            sectors
        };
        assert_eq!(torn(0), [true, false, true, true, true, false, true, false]);
        assert_eq!(torn(1024), [true, true, true, false, true, false, true, false]);
        // It is not in there, or not both of its halves.
        for offset in [1536, 2048, 1 << 30] {
            assert_eq!(torn(offset), [true, false, true, false, true, false, true, false], "{offset}");
        }
    }

    #[test]
    fn a_lying_disk_loses_what_flushes_covered() {
        let log = log();
        let cuts = Plan { images: 200, seed: 1, from: 100, to: 400, ignored_flushes: 2 }.cuts(&log);
        assert!(cuts.iter().all(|cut| cut.fate != Fate::Arrived));
        for cut in &cuts {
            let ignored = log.entries[cut.durable..cut.at].iter().filter(|entry| entry.flush).count();
            assert_eq!(ignored, 2, "{cut:?}");
        }
        let whole = |cut: &super::Cut| cut.picks(&log).iter().filter(|pick| pick.sectors.is_none()).count();
        assert!(cuts.iter().filter(|cut| whole(cut) < (cut.durable..cut.at).len() - 2).count() > 150);
    }
}
