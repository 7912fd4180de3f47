//! The log of a disk, as `dm-log-writes` lays it down: a super block, then per entry one sector of head and its data.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, bail};

/// What QEMU is told to use.
pub const SECTOR_BYTES: usize = 512;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const HEAD_BYTES: usize = 32;

/// What was asked of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk, in bytes.
    pub offset: u64,
    /// How much; 0 for a flush.
    pub bytes: u64,
    /// All that was written before must be there from here on.
    pub flush: bool,
    /// This write itself must be.
    pub durable: bool,
    /// The range means nothing any more.
    pub discard: bool,
    /// Where its data are in the log.
    data: usize,
    /// Where the next entry begins in the log.
    pub end: u64,
}

/// A log, read into memory.
#[derive(Debug)]
pub struct Log {
    bytes: Vec<u8>,
    /// In the order in which they came.
    pub entries: Vec<Entry>,
}

impl Log {
    /// Reads a log file, up to where nothing more was written.
    ///
    /// # Errors
    /// It can't be read or is no such log.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
        let end = data_end(&file).with_context(|| format!("{} can't be read", path.display()))?;
        file.take(end).read_to_end(&mut bytes).with_context(|| format!("{} can't be read", path.display()))?;
        Self::parse(bytes).with_context(|| path.display().to_string())
    }

    /// Parses the bytes of a log.
    ///
    /// # Errors
    /// They are no such log.
    pub fn parse(bytes: Vec<u8>) -> anyhow::Result<Self> {
        let counted = super_block(&bytes)?;
        let mut entries = Vec::new();
        let mut at = SECTOR_BYTES;
        while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
            let [sector, sectors, flags] = [0, 8, 16].map(|place| word(head, place));
            // Behind the last entry there are zeros.
            if sectors == 0 && flags == 0 {
                break;
            }
            let data = at + SECTOR_BYTES;
            let length = sectors.saturating_mul(SECTOR_BYTES as u64);
            let stored = if flags & DISCARD == 0 { usize::try_from(length)? } else { 0 };
            let end = data.saturating_add(stored);
            if end > bytes.len() {
                // The daemon was at it when it was read.
                break;
            }
            entries.push(Entry {
                offset: sector.saturating_mul(SECTOR_BYTES as u64),
                bytes: length,
                flush: flags & FLUSH != 0,
                durable: flags & FUA != 0,
                discard: flags & DISCARD != 0,
                data,
                end: end as u64,
            });
            at = end;
        }
        if (entries.len() as u64) < counted {
            bail!("{} entries were counted and {} are there", counted, entries.len());
        }
        Ok(Self { bytes, entries })
    }

    /// What an entry wrote; empty for a flush or a discard.
    #[must_use]
    pub fn data(&self, entry: &Entry) -> &[u8] {
        let end = usize::try_from(entry.end).unwrap_or(0);
        self.bytes.get(entry.data..end).unwrap_or_default()
    }

    /// The log as it stands in the file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many entries lie wholly before this byte of the log.
    #[must_use]
    pub fn entries_before(&self, byte: u64) -> usize {
        self.entries.partition_point(|entry| entry.end <= byte)
    }
}

/// How many entries the super block of a log counts. It is brought up to date before a flush is answered, so it counts
/// at least all entries up to the last flush that anyone can have noticed.
///
/// # Errors
/// The file can't be read or is no log.
pub fn counted_entries(file: &File) -> anyhow::Result<u64> {
    let mut head = [0; SECTOR_BYTES];
    file.read_exact_at(&mut head, 0).context("the log has no super block yet")?;
    super_block(&head)
}

/// Where the last data of a sparse file end. Zeros that were written are holes in a log.
fn data_end(file: &File) -> anyhow::Result<u64> {
    let mut end = 0;
    while let Ok(start) = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(end)) {
        end = rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(start))?;
    }
    rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
    Ok(end)
}

/// How much of a sparse file, written from its beginning without holes, has been written.
///
/// # Errors
/// The file can't be examined.
pub fn written_bytes(file: &File) -> anyhow::Result<u64> {
    Ok(rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(0)).and_then(|end| {
        rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0))?;
        Ok(end)
    })?)
}

fn super_block(bytes: &[u8]) -> anyhow::Result<u64> {
    let head = bytes.get(..HEAD_BYTES).context("shorter than a super block")?;
    if word(head, 0) != MAGIC || word(head, 8) != 1 {
        bail!("no dm-log-writes log of version 1");
    }
    let sector_bytes = word(head, 24) & u64::from(u32::MAX);
    if sector_bytes != SECTOR_BYTES as u64 {
        bail!("its sectors have {sector_bytes} bytes");
    }
    Ok(word(head, 16))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::{Log, SECTOR_BYTES};

    fn sector(words: &[u64]) -> Vec<u8> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.resize(SECTOR_BYTES, 0);
        bytes
    }

    #[test]
    fn zeros_that_were_written_do_not_end_a_log() {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 30).unwrap();
        file.as_file().write_all_at(&sector(&[super::MAGIC, 1, 2, 512]), 0).unwrap();
        file.as_file().write_all_at(&sector(&[0, 2048, 0, 0]), 512).unwrap();
        file.as_file().write_all_at(&sector(&[0, 0, 1, 0]), 1024 + (1 << 20)).unwrap();
        let log = Log::read(file.path()).unwrap();
        assert_eq!(log.entries.len(), 2);
        assert!(log.data(&log.entries[0]).iter().all(|byte| *byte == 0) && log.entries[1].flush);
    }

    #[test]
    fn entries_are_read_in_order_and_what_is_not_whole_is_left_out() {
        let mut bytes = sector(&[super::MAGIC, 1, 3, 512]);
        bytes.extend(sector(&[16, 2, 0, 0]));
        bytes.extend([7; 1024]);
        bytes.extend(sector(&[0, 0, 1, 0]));
        bytes.extend(sector(&[8, 100, 4, 0]));
        let whole = Log::parse(bytes.clone()).unwrap();
        assert_eq!(whole.entries.len(), 3);
        let [write, flush, discard] = whole.entries[..] else { unreachable!() };
        assert_eq!((write.offset, write.bytes, whole.data(&write)), (8192, 1024, &[7; 1024][..]));
        assert!(flush.flush && whole.data(&flush).is_empty());
        assert!(discard.discard && discard.bytes == 51_200 && whole.data(&discard).is_empty());
        assert_eq!([512, 2047, 2048, 2560].map(|byte| whole.entries_before(byte)), [0, 0, 1, 2]);

        bytes.extend(sector(&[0, 1, 0, 0]));
        assert_eq!(Log::parse(bytes.clone()).unwrap().entries.len(), 3, "its data are not there yet");
        bytes[16] = 4;
        assert!(Log::parse(bytes.clone()).is_err(), "counted, and not there");
        bytes[0] ^= 1;
        assert!(Log::parse(bytes).is_err());
    }
}
