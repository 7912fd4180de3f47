//! One cut of a disk that a machine wrote down (`cargo xtask vm --disk-log`): the image file as it was before, and onto it what of
//! the log had arrived when the power went.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{FallocateFlags, fallocate};
use serde::Serialize;

use crate::cuts::{Cut, Pick, Plan};
use crate::log::{Log, SECTOR_BYTES};

/// What a cut left.
#[derive(Debug, Serialize)]
pub struct Remains {
    /// How many entries had been logged when the power went.
    pub at: usize,
    /// So many of them were covered by a flush.
    pub durable: usize,
    /// How many writes behind that flush did not arrive, or not whole.
    pub writes_lost: usize,
    /// Entries in the log.
    pub entries: usize,
}

/// Makes of `image`, which is as the machine found it, what a cut at a random place not before entry `from` leaves.
///
/// # Errors
/// The image can't be written, or the log ends before `from`.
pub fn replay(image: &Path, log: &Log, from: usize, seed: u64) -> anyhow::Result<Remains> {
    let file =
        File::options().write(true).open(image).with_context(|| format!("{} can't be opened", image.display()))?;
    let cut = chosen(log, from, seed)?;
    let picks = cut.picks(log);
    let whole = (0..cut.durable).map(|entry| Pick { entry, sectors: None });
    for pick in whole.chain(picks.iter().cloned()) {
        apply(&file, log, &pick).with_context(|| format!("{} can't be written", image.display()))?;
    }
    let behind = &log.entries[cut.durable..cut.at];
    let whole = picks.iter().filter(|pick| pick.sectors.is_none()).count();
    let writes_lost = behind.iter().filter(|entry| entry.bytes > 0).count() - whole;
    Ok(Remains { at: cut.at, durable: cut.durable, writes_lost, entries: log.entries.len() })
}

/// Of two cuts that are planned the first is at the log's end; the other is anywhere.
fn chosen(log: &Log, from: usize, seed: u64) -> anyhow::Result<Cut> {
    let to = log.entries.len();
    if from >= to {
        bail!("the log has {to} entries: there is none behind {from}");
    }
    let cuts = Plan { images: 2, seed, from, to, ignored_flushes: 0 }.cuts(log);
    cuts.into_iter().find(|cut| cut.number == 1).context("no cut was planned")
}

fn apply(file: &File, log: &Log, pick: &Pick) -> anyhow::Result<()> {
    let Some(entry) = log.entries.get(pick.entry) else { return Ok(()) };
    if entry.discard {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        return fallocate(file, hole, entry.offset, entry.bytes).context("no hole can be made");
    }
    let data = log.data(entry);
    let Some(arrived) = &pick.sectors else { return Ok(file.write_all_at(data, entry.offset)?) };
    let sectors = (entry.offset..).step_by(SECTOR_BYTES).zip(data.chunks(SECTOR_BYTES)).zip(arrived);
    for ((offset, sector), _) in sectors.filter(|(_, arrived)| **arrived) {
        file.write_all_at(sector, offset)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::replay;
    use crate::log::{Log, SECTOR_BYTES};

    /// Entries of (sector, sectors, flags); what a write writes is its own number.
    fn log(entries: &[(u64, u64, u64)]) -> Log {
        let mut bytes = [0x006a_7366_7773_6872, 1, entries.len() as u64, 512].map(u64::to_le_bytes).concat();
        bytes.resize(SECTOR_BYTES, 0);
        for (number, (sector, sectors, flags)) in (1_u8..).zip(entries) {
            bytes.extend([*sector, *sectors, *flags, 0].map(u64::to_le_bytes).concat());
            bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES), 0);
            let data = if flags & 4 == 0 { usize::try_from(*sectors).unwrap() * SECTOR_BYTES } else { 0 };
            bytes.resize(bytes.len() + data, number);
        }
        Log::parse(bytes).unwrap()
    }

    #[test]
    fn what_was_flushed_is_on_the_image_and_the_rest_may_be() {
        let image = tempfile::NamedTempFile::new().unwrap();
        // Two blocks, one of them discarded; flushed; then four more writes.
        let log = log(&[(8, 8, 0), (16, 8, 0), (16, 8, 4), (0, 0, 1), (24, 1, 0), (25, 1, 0), (26, 1, 0), (27, 1, 0)]);
        let mut lost = 0;
        for seed in 0..20 {
            std::fs::write(image.path(), [0xee; 16384]).unwrap();
            let remains = replay(image.path(), &log, 4, seed).unwrap();
            assert_eq!((remains.durable, remains.entries), (4, 8), "{seed}");
            assert!(remains.at > 4 && remains.writes_lost <= remains.at - 4, "{seed}");
            let now = std::fs::read(image.path()).unwrap();
            let block = |number: usize| &now[number * 4096..(number + 1) * 4096];
            assert_eq!(block(0), [0xee; 4096], "nobody wrote there");
            assert_eq!((block(1), block(2)), (&[1; 4096][..], &[0; 4096][..]), "seed {seed}");
            let arrived = (0..4).filter(|sector| block(3)[sector * SECTOR_BYTES] != 0xee).count();
            // A torn one may have arrived after all: it is counted as lost.
            let whole = remains.at - 4 - remains.writes_lost;
            assert!((whole..=remains.at - 4).contains(&arrived), "seed {seed}: {arrived} of {remains:?}");
            lost += remains.writes_lost;
        }
        assert!(lost > 10, "{lost}");
        assert!(replay(image.path(), &log, 8, 1).is_err(), "there is nothing behind it");
    }
}
