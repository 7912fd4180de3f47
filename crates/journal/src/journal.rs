//! The writer.

use std::borrow::Borrow;
use std::fs::File;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files::{Keep, Locked, Paths};
use crate::format::{self, Header};
use crate::scan::as_u64;
use crate::select::{Chosen, choose};
use crate::{Error, Report, Result, Source};

/// An open journal of records `R`; the only writer of its files while it lives.
#[derive(Debug)]
pub struct Journal<R> {
    paths: Paths,
    file: Locked,
    header: Header,
    /// Schema version of `R`; that of the file may be older until the first write.
    schema_version: u32,
    /// Length of what is known to be good, and where the next record goes.
    file_bytes: u64,
    records: u64,
    chain: u32,
    /// Set when a write failed in a way that leaves open what is on disk.
    uncertain: bool,
    _records: PhantomData<fn(R) -> R>,
}

/// A journal that was opened, what is in it, and what was found.
#[derive(Debug)]
pub struct Opened<R> {
    /// To append to.
    pub journal: Journal<R>,
    /// All records so far, oldest first.
    pub records: Vec<R>,
    /// Whether anything was lost, and where it was put.
    pub report: Report,
}

/// What a compaction made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Generation of the new file.
    pub generation: u64,
    /// Records in it.
    pub records: u64,
    /// Size of it.
    pub file_bytes: u64,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Opens the journal `name` in `dir`, or makes it. Returns when all it returns is safe on disk.
    ///
    /// `name` is the name of the schema too; `schema_version` that of `R`. A torn tail is cut off. A damaged file is set
    /// aside and replaced by what could be kept of it or of the previous generation. Both are told in the report.
    ///
    /// # Errors
    /// [`Error::Locked`] while another writer has it, [`Error::NewerFormat`], [`Error::NewerSchema`],
    /// [`Error::WrongSchema`] and [`Error::Undecodable`] for files of other software (which are not changed),
    /// [`Error::BadName`], and [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, name: &str, schema_version: u32) -> Result<Opened<R>> {
        let paths = Paths::new(dir.as_ref(), name)?;
        loop {
            if let Some(file) = paths.lock_current()? {
                return Self::take_over(paths, file, schema_version);
            }
            let new = paths.lock_new()?;
            // Another writer may have made the journal between the two lines above.
            if !paths.current.try_exists().map_err(Error::io(&paths.current, "look up"))? {
                return Self::begin(paths, new, schema_version);
            }
        }
    }

    /// Makes the journal `name` in `dir`, where there is none, with its first records. Returns when it is safe on disk; a crash
    /// before leaves no journal, never one without these records. Opening one and appending to it takes a sync more.
    ///
    /// # Errors
    /// [`Error::Io`] of kind `AlreadyExists` where there is a journal, or what is left of one; nothing is changed then. Otherwise
    /// as [`open`](Self::open) and [`append`](Self::append).
    pub fn create<I>(dir: impl AsRef<Path>, name: &str, schema_version: u32, first: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: Borrow<R>,
    {
        let paths = Paths::new(dir.as_ref(), name)?;
        let new = paths.lock_new()?;
        for path in [&paths.current, &paths.previous] {
            if path.try_exists().map_err(Error::io(path, "look up"))? {
                paths.discard_new();
                return Err(Error::io(path, "make anew")(ErrorKind::AlreadyExists.into()));
            }
        }
        let payloads = encode_all::<R, _>(&paths.current, first)?;
        let header = Header {
            schema: paths.name.clone(),
            schema_version,
            generation: 1,
            base_records: as_u64(payloads.len()),
            file_id: random_id(&paths.current)?,
        };
        Self::install(paths, new, header, schema_version, &payloads, Keep::Nothing)
    }

    /// Opens the journal as [`open`](Self::open) does, but lets nothing that stands in its place keep it from being opened: what
    /// cannot be used (a directory, a file that cannot be read, one of newer or other software) is set aside as
    /// `<name>.journal.unusable-<n>`, unchanged, and the journal is what is left: the previous generation, or empty. The
    /// report says so.
    ///
    /// For state without which it is better to go on than to stand still, and which can be rebuilt from elsewhere.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::BadName`], and [`Error::Io`] where no journal can be written at all.
    pub fn open_always(dir: impl AsRef<Path>, name: &str, schema_version: u32) -> Result<Opened<R>> {
        let paths = Paths::new(dir.as_ref(), name)?;
        let (mut unusable, mut set_aside) = (vec![], vec![]);
        for path in paths.all() {
            // Opening a pipe would wait for ever, and a link could lead anywhere.
            if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
                unusable.push(format!("{} is not a file", path.display()));
                set_aside.push(paths.move_aside(path)?);
            }
        }
        loop {
            match Self::open(dir.as_ref(), name, schema_version) {
                Ok(mut opened) => {
                    opened.report.unusable = unusable;
                    opened.report.set_aside.splice(0..0, set_aside);
                    return Ok(opened);
                }
                Err(error) => {
                    // Each turn takes one of the few files out of the way.
                    let Some(path) = error.unusable() else { return Err(error) };
                    set_aside.push(paths.move_aside(path)?);
                    unusable.push(error.to_string());
                }
            }
        }
    }

    /// Opens a journal that is there.
    fn take_over(paths: Paths, file: Locked, schema_version: u32) -> Result<Opened<R>> {
        let chosen = choose::<R>(&paths, Some(&file), schema_version)?;
        let whole = chosen.report.source == Source::Current && chosen.report.damage.is_empty();
        let (true, Some(header)) = (whole, chosen.scan.header.clone()) else {
            let new = paths.lock_new()?;
            return Self::replace_damaged(paths, new, schema_version, chosen);
        };
        if chosen.report.torn_tail_bytes > 0 {
            file.set_len(chosen.scan.valid_bytes).map_err(Error::io(&paths.current, "cut the torn tail off"))?;
        }
        // A writer that was killed may have left bytes and names that are not on disk yet; from here on they count.
        file.sync_all().map_err(Error::io(&paths.current, "sync"))?;
        paths.sync_dir()?;
        let journal = Self {
            paths,
            file,
            header,
            schema_version,
            file_bytes: chosen.scan.valid_bytes,
            records: as_u64(chosen.scan.records.len()),
            chain: chosen.scan.chain,
            uncertain: false,
            _records: PhantomData,
        };
        Ok(Opened { journal, records: chosen.scan.records, report: chosen.report })
    }

    /// Makes a journal where there is none: empty, or from a previous generation that was left alone.
    fn begin(paths: Paths, new: Locked, schema_version: u32) -> Result<Opened<R>> {
        let chosen = choose::<R>(&paths, None, schema_version)?;
        Self::replace_damaged(paths, new, schema_version, chosen)
    }

    /// Sets damaged files aside and puts what was chosen into a new one.
    fn replace_damaged(paths: Paths, new: Locked, schema_version: u32, chosen: Chosen<R>) -> Result<Opened<R>> {
        let Chosen { scan, mut report, next_generation, damaged } = chosen;
        for path in &damaged {
            report.set_aside.push(paths.set_aside(path)?);
        }
        // What is kept of a state that was not whole must not pass for a whole one before the next compaction.
        let base_records = if report.complete { as_u64(scan.records.len()) } else { u64::MAX };
        let file_schema = scan.header.as_ref().map_or(schema_version, |header| header.schema_version);
        let payloads = encode_all::<R, _>(&paths.current, &scan.records)?;
        let header = Header {
            schema: paths.name.clone(),
            schema_version: if scan.records.is_empty() { schema_version } else { file_schema },
            generation: next_generation,
            base_records,
            file_id: random_id(&paths.current)?,
        };
        let journal = Self::install(paths, new, header, schema_version, &payloads, Keep::Nothing)?;
        report.generation = journal.header.generation;
        Ok(Opened { journal, records: scan.records, report })
    }

    /// Writes a whole new generation and makes it the journal.
    fn install(
        paths: Paths,
        new: Locked,
        header: Header,
        schema_version: u32,
        payloads: &[Vec<u8>],
        keep: Keep,
    ) -> Result<Self> {
        let mut bytes = header.encode().to_vec();
        let mut chain = header.chain_start();
        for (sequence, payload) in (1..).zip(payloads) {
            chain = format::encode_record(&mut bytes, chain, sequence, payload);
        }
        paths.install(&new, &bytes, keep)?;
        Ok(Self {
            paths,
            file: new,
            header,
            schema_version,
            file_bytes: as_u64(bytes.len()),
            records: as_u64(payloads.len()),
            chain,
            uncertain: false,
            _records: PhantomData,
        })
    }

    /// Appends one record. Returns when it is on disk (`fdatasync`).
    ///
    /// # Errors
    /// [`Error::RecordTooLarge`] and [`Error::Encode`] change nothing. After [`Error::Io`] the record is not promised; where
    /// the disk was full, appending can go on, otherwise the journal must be opened again ([`Error::Uncertain`]).
    pub fn append(&mut self, record: &R) -> Result<()> {
        self.check_certain()?;
        let payload = format::encode_payload(&self.paths.current, record)?;
        if self.header.schema_version < self.schema_version {
            self.adopt_schema()?;
        }
        let mut frame = Vec::with_capacity(format::RECORD_HEAD_BYTES + payload.len() + format::RECORD_CRC_BYTES);
        let chain = format::encode_record(&mut frame, self.chain, self.records + 1, &payload);
        if let Err(error) = self.file.write_all_at(&frame, self.file_bytes) {
            // Part of the record may stand there; without it the file is as it was.
            self.uncertain = self.file.set_len(self.file_bytes).is_err();
            return Err(Error::io(&self.paths.current, "append to")(error));
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the bytes and call them clean: only reading the disk tells what is there.
            self.uncertain = true;
            return Err(Error::io(&self.paths.current, "sync")(error));
        }
        self.file_bytes += as_u64(frame.len());
        self.records += 1;
        self.chain = chain;
        Ok(())
    }

    /// Puts `records`, which are the whole present state, into a new file in place of this one. Returns when that is safe.
    ///
    /// A crash at any instant leaves the old file or the new one. The old one stays as the previous generation. The records
    /// are held in memory as bytes until the file is written.
    ///
    /// # Errors
    /// As [`append`](Self::append). Where the new file could not be written the old one goes on.
    pub fn compact<I>(&mut self, records: I) -> Result<Compacted>
    where
        I: IntoIterator,
        I::Item: Borrow<R>,
    {
        self.check_certain()?;
        let payloads = encode_all::<R, _>(&self.paths.current, records)?;
        self.next_generation(&payloads)?;
        Ok(Compacted { generation: self.header.generation, records: self.records, file_bytes: self.file_bytes })
    }

    /// Carries a file of an older schema over into one of the present schema, before the first record older software
    /// could not read.
    fn adopt_schema(&mut self) -> Result<()> {
        let chosen = choose::<R>(&self.paths, Some(&self.reopened()?), self.schema_version)?;
        if as_u64(chosen.scan.records.len()) != self.records || chosen.report.source != Source::Current {
            // Damaged since it was opened: opening again deals with that.
            self.uncertain = true;
            return self.check_certain();
        }
        self.next_generation(&encode_all::<R, _>(&self.paths.current, &chosen.scan.records)?)
    }

    fn next_generation(&mut self, payloads: &[Vec<u8>]) -> Result<()> {
        let header = Header {
            schema: self.paths.name.clone(),
            schema_version: self.schema_version,
            generation: self.header.generation.saturating_add(1),
            base_records: as_u64(payloads.len()),
            file_id: random_id(&self.paths.current)?,
        };
        let new = self.paths.lock_new()?;
        match Self::install(self.paths.clone(), new, header, self.schema_version, payloads, Keep::AsPrevious) {
            Ok(next) => {
                *self = next;
                Ok(())
            }
            Err(error) => {
                self.paths.discard_new();
                // Where the new file has taken the name, what is appended to the old one would be lost.
                self.uncertain = !self.is_current();
                Err(error)
            }
        }
    }

    fn is_current(&self) -> bool {
        crate::files::same_file(&self.file, &self.paths.current).unwrap_or(false)
    }

    /// The same file, read from its beginning.
    fn reopened(&self) -> Result<File> {
        File::open(&self.paths.current).map_err(Error::io(&self.paths.current, "open"))
    }

    fn check_certain(&self) -> Result<()> {
        if self.uncertain { Err(Error::Uncertain { path: self.paths.current.clone() }) } else { Ok(()) }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.paths.current
    }

    /// Size of the file, to decide when to compact.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Records in the file.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Records appended since the last compaction.
    #[must_use]
    pub fn records_since_compaction(&self) -> u64 {
        self.records.saturating_sub(self.header.base_records)
    }

    /// Generation of the file; grows by one with every compaction.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.header.generation
    }
}

fn encode_all<R: Serialize, I>(path: &Path, records: I) -> Result<Vec<Vec<u8>>>
where
    I: IntoIterator,
    I::Item: Borrow<R>,
{
    records.into_iter().map(|record| format::encode_payload(path, record.borrow())).collect()
}

fn random_id(path: &Path) -> Result<[u8; 16]> {
    let mut id = [0u8; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Error::io(path, "get a random id for")(error.into()))?;
    Ok(id)
}
