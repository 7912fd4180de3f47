//! What a cache writes, and in which order.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use blake3::Hash;
use holdfast_journal::{Journal, Opened};

use super::held::{DataFile, Held};
use super::record::{Begin, Record, SCHEMA};
use crate::answer::Version;
use crate::source::{Sha256, hex};
use crate::{Error, Result};

/// Name of the journal.
const JOURNAL: &str = "fetch";
/// RAUC takes any name; people look for this one.
const SUFFIX: &str = ".raucb";
/// Digests in one record, far below what a journal takes.
const RECORD_CHUNKS: usize = 1024;

pub(super) struct Disk {
    dir: PathBuf,
    journal: Journal<Record>,
    /// Chunks written since the last sync.
    unsynced: Vec<(u64, Hash)>,
}

impl Disk {
    /// Opens what is there, and deletes files that belong to nothing.
    pub fn open(dir: &Path) -> Result<(Self, Option<Held>)> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(Error::io("make", dir))?;
        // The cache can be had again from the server: better an empty one than none.
        let Opened { journal, records, report } = Journal::<Record>::open_always(dir, JOURNAL, SCHEMA)?;
        if !report.is_clean() {
            tracing::info!(dir = %dir.display(), ?report, "the cache's record was cut off or damaged");
        }
        let disk = Self { dir: dir.to_owned(), journal, unsynced: vec![] };
        let held = disk.replay(records);
        disk.delete_data_but(held.as_ref().map(|held| held.begin.file.as_str()))?;
        Ok((disk, held))
    }

    fn replay(&self, records: Vec<Record>) -> Option<Held> {
        let mut held: Option<Held> = None;
        for record in records {
            match (record, &mut held) {
                (Record::Begin(begin), Some(held)) if held.begin.file == begin.file => held.begin = begin,
                (Record::Begin(begin), _) => held = self.reopen(begin),
                (Record::Chunks { first, digests }, Some(held)) => {
                    let chunks = (first..).zip(digests);
                    chunks.for_each(|(chunk, digest)| held.put_safe(chunk, Hash::from_bytes(digest)));
                }
                (Record::Chunks { .. }, None) => {}
            }
        }
        held
    }

    fn reopen(&self, begin: Begin) -> Option<Held> {
        let path = self.data_path(&begin.file);
        let file = OpenOptions::new().read(true).write(true).custom_flags(no_follow()).open(&path);
        // A shorter file was damaged; its digests find where.
        match file.and_then(|file| file.set_len(begin.version.total_bytes).map(|()| file)) {
            Ok(file) => Some(Held::new(begin, file, path)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what the record tells of can't be opened; starting anew");
                None
            }
        }
    }

    fn data_path(&self, file: &str) -> PathBuf {
        self.dir.join(format!("{file}{SUFFIX}"))
    }

    fn delete_data_but(&self, kept: Option<&str>) -> Result<()> {
        let entries = fs::read_dir(&self.dir).map_err(Error::io("list", &self.dir))?;
        for entry in entries {
            let name = entry.map_err(Error::io("list", &self.dir))?.file_name();
            let file = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(file) = file.filter(|file| Some(*file) != kept) {
                let path = self.data_path(file);
                fs::remove_file(&path).map_err(Error::io("delete", &path))?;
            }
        }
        Ok(())
    }

    /// Forgets and deletes all.
    pub fn clear(&mut self) -> Result<()> {
        self.unsynced.clear();
        self.journal.compact(Vec::<Record>::new())?;
        self.delete_data_but(None)
    }

    /// Makes the data file, and then the record that tells of it.
    pub fn begin(
        &mut self,
        url: &str,
        version: &Version,
        chunk_bytes: u32,
        expected_sha256: Option<Sha256>,
    ) -> Result<Held> {
        let file = hex(&random::<16>(&self.dir)?);
        let begin = Begin { file, url: url.to_owned(), version: version.clone(), chunk_bytes, expected_sha256 };
        let path = self.data_path(&begin.file);
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(Error::io("make", &path))?;
        file.set_len(version.total_bytes).map_err(Error::io("set the length of", &path))?;
        file.sync_all().map_err(Error::io("sync", &path))?;
        let dir = File::open(&self.dir).map_err(Error::io("open", &self.dir))?;
        dir.sync_all().map_err(Error::io("sync", &self.dir))?;
        self.journal.compact([Record::Begin(begin.clone())])?;
        Ok(Held::new(begin, file, path))
    }

    pub fn amend(&mut self, begin: &Begin) -> Result<()> {
        Ok(self.journal.append(&Record::Begin(begin.clone()))?)
    }

    pub fn write(&mut self, file: &DataFile, chunk: u64, bytes: &[u8]) -> Result<Hash> {
        if let Err(error) = file.file.write_all_at(bytes, chunk.saturating_mul(file.chunk_bytes)) {
            if error.kind() == std::io::ErrorKind::StorageFull {
                self.check_space(u64::try_from(bytes.len()).unwrap_or(u64::MAX), 0)?;
            }
            return Err(Error::io("write to", &file.path)(error));
        }
        let digest = blake3::hash(bytes);
        self.unsynced.push((chunk, digest));
        Ok(digest)
    }

    /// First the data, then the record. Gives the chunks that this is about, whether it went well or not.
    pub fn sync(&mut self, file: &DataFile) -> (Vec<u64>, Result<()>) {
        let mut unsynced = std::mem::take(&mut self.unsynced);
        unsynced.sort_unstable_by_key(|(chunk, _)| *chunk);
        let chunks = unsynced.iter().map(|(chunk, _)| *chunk).collect();
        if unsynced.is_empty() {
            return (chunks, Ok(()));
        }
        let synced = file.file.sync_data().map_err(Error::io("sync", &file.path));
        (chunks, synced.and_then(|()| self.record(&unsynced)))
    }

    fn record(&mut self, chunks: &[(u64, Hash)]) -> Result<()> {
        let follows = |one: &(u64, Hash), next: &(u64, Hash)| one.0.checked_add(1) == Some(next.0);
        for run in chunks.chunk_by(follows).flat_map(|run| run.chunks(RECORD_CHUNKS)) {
            let Some((first, _)) = run.first() else { continue };
            let digests = run.iter().map(|(_, digest)| *digest.as_bytes()).collect();
            self.journal.append(&Record::Chunks { first: *first, digests })?;
        }
        Ok(())
    }

    pub fn check_space(&self, needed_bytes: u64, margin_bytes: u64) -> Result<()> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(|error| Error::io("look up", &self.dir)(error.into()))?;
        let available_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if available_bytes < needed_bytes.saturating_add(margin_bytes) {
            return Err(Error::NoSpace { path: self.dir.clone(), needed_bytes, available_bytes, margin_bytes });
        }
        Ok(())
    }
}

fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// Random bytes of the kernel.
pub(crate) fn random<const N: usize>(dir: &Path) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match got {
        Ok(got) if got == N => Ok(bytes),
        Ok(_) => Err(Error::io("name a file in", dir)(std::io::ErrorKind::Interrupted.into())),
        Err(error) => Err(Error::io("name a file in", dir)(error.into())),
    }
}
