//! A disk in memory that writes are applied to, and taken back from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::cuts::Pick;
use crate::log::{Log, SECTOR_BYTES};

const BLOCK_BYTES: usize = 4096;
/// Blocks side by side are written with one call, up to so many bytes.
const RUN_BYTES: usize = 1024 * 1024;

type Block = Box<[u8; BLOCK_BYTES]>;

/// What is on a disk. Blocks that were never written are zeros, and take no memory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    blocks: BTreeMap<u64, Block>,
    bytes: u64,
}

/// How a disk was before some writes.
#[derive(Debug, Default)]
pub struct Undo(Vec<(u64, Option<Block>)>);

impl Disk {
    /// Reads an image file; holes and zeros in it take no memory.
    ///
    /// # Errors
    /// It can't be read.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
        let mut disk = Self { blocks: BTreeMap::new(), bytes: file.metadata()?.len() };
        let mut at = 0;
        while let Some((start, end)) = next_data(&file, at)? {
            let mut buffer = vec![0; RUN_BYTES];
            let mut offset = start - start % BLOCK_BYTES as u64;
            while offset < end {
                let wanted = usize::try_from(end - offset).unwrap_or(RUN_BYTES).min(RUN_BYTES);
                let wanted = wanted.next_multiple_of(BLOCK_BYTES).min(RUN_BYTES);
                buffer.iter_mut().for_each(|byte| *byte = 0);
                let got = read_up_to(&file, &mut buffer[..wanted], offset)?;
                for (place, block) in (0_u64..).zip(buffer[..got].chunks(BLOCK_BYTES)) {
                    if block != &[0; BLOCK_BYTES][..block.len()] {
                        disk.write(offset + place * BLOCK_BYTES as u64, block, None);
                    }
                }
                offset += wanted as u64;
            }
            at = end;
        }
        Ok(disk)
    }

    /// Writes, remembering what was there before.
    pub fn write(&mut self, offset: u64, mut data: &[u8], mut undo: Option<&mut Undo>) {
        let mut offset = offset;
        while !data.is_empty() {
            let number = offset / BLOCK_BYTES as u64;
            let within = usize::try_from(offset % BLOCK_BYTES as u64).unwrap_or(0);
            let (now, rest) = data.split_at(data.len().min(BLOCK_BYTES - within));
            if let Some(undo) = &mut undo {
                undo.0.push((number, self.blocks.get(&number).cloned()));
            }
            let block = self.blocks.entry(number).or_insert_with(|| Box::new([0; BLOCK_BYTES]));
            block[within..within + now.len()].copy_from_slice(now);
            offset += now.len() as u64;
            data = rest;
        }
    }

    /// Applies one entry of a log, or the part of it that `pick` says.
    pub fn apply(&mut self, log: &Log, pick: &Pick, mut undo: Option<&mut Undo>) {
        let Some(entry) = log.entries.get(pick.entry) else { return };
        if entry.discard {
            self.discard(entry.offset, entry.bytes, undo);
            return;
        }
        let data = log.data(entry);
        match &pick.sectors {
            None => self.write(entry.offset, data, undo),
            Some(arrived) => {
                let sectors = (entry.offset..).step_by(SECTOR_BYTES).zip(data.chunks(SECTOR_BYTES));
                for ((offset, sector), _) in sectors.zip(arrived).filter(|(_, arrived)| **arrived) {
                    self.write(offset, sector, undo.as_deref_mut());
                }
            }
        }
    }

    /// Whole blocks read as zeros from here on; what a drive does with the rest is its own affair, and stays.
    fn discard(&mut self, offset: u64, bytes: u64, mut undo: Option<&mut Undo>) {
        let block = BLOCK_BYTES as u64;
        let (first, end) = (offset.div_ceil(block), (offset + bytes) / block);
        let numbers: Vec<u64> = self.blocks.range(first..end.max(first)).map(|(number, _)| *number).collect();
        for number in numbers {
            let before = self.blocks.remove(&number);
            if let Some(undo) = &mut undo {
                undo.0.push((number, before));
            }
        }
    }

    /// Takes writes back.
    pub fn undo(&mut self, undo: Undo) {
        for (number, before) in undo.0.into_iter().rev() {
            match before {
                Some(block) => drop(self.blocks.insert(number, block)),
                None => drop(self.blocks.remove(&number)),
            }
        }
    }

    /// Writes an image file, sparse, in place of the one that is there.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let cannot = || format!("{} can't be written", path.display());
        // A new file: whoever still has the old one open keeps that.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(cannot),
            _ => {}
        }
        let file = File::create_new(path).with_context(cannot)?;
        file.set_len(self.bytes).with_context(cannot)?;
        let mut run: Vec<u8> = Vec::with_capacity(RUN_BYTES);
        let mut start = 0;
        for (number, block) in &self.blocks {
            let offset = number * BLOCK_BYTES as u64;
            if offset != start + run.len() as u64 || run.len() >= RUN_BYTES {
                file.write_all_at(&run, start).with_context(cannot)?;
                run.clear();
                start = offset;
            }
            run.extend_from_slice(&block[..]);
        }
        file.write_all_at(&run, start).with_context(cannot)
    }
}

/// The next stretch of a sparse file that holds data.
fn next_data(file: &File, from: u64) -> anyhow::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?)))
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read_at(&mut buffer[got..], offset + got as u64)? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::{Disk, Undo};

    #[test]
    fn writes_are_taken_back_in_the_reverse_order_and_images_are_sparse() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let mut disk = Disk { bytes: 1 << 30, ..Disk::default() };
        disk.write(4000, &[1; 5000], None);
        let before = disk.clone();
        let mut undo = Undo::default();
        disk.write(0, &[2; 8192], Some(&mut undo));
        disk.write(5000, &[3; 10], Some(&mut undo));
        disk.write(500_000_000, &[4; 1], Some(&mut undo));
        disk.discard(4096, 4096, Some(&mut undo));
        disk.save(&path).unwrap();
        let read = Disk::load(&path).unwrap();
        assert_eq!(read.blocks.keys().copied().collect::<Vec<_>>(), [0, 2, 122_070]);
        assert_eq!(read.blocks[&2][..808], [1; 808]);
        disk.undo(undo);
        assert_eq!(disk.blocks, before.blocks);
        disk.save(&path).unwrap();
        assert_eq!(Disk::load(&path).unwrap().blocks, before.blocks, "nothing of the image before is left");
        use std::os::unix::fs::MetadataExt as _;
        assert!(path.metadata().unwrap().blocks() < 1000);
    }
}
