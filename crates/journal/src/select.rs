//! Which records to believe: those of the journal, or those of the generation before it.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::files::Paths;
use crate::scan::{Scan, scan};
use crate::{Damage, Error, Report, Result, Source};

/// The records of a journal that was opened for reading only.
#[derive(Debug)]
pub struct ReadOnly<R> {
    /// All records that are good.
    pub records: Vec<R>,
    /// What was found.
    pub report: Report,
}

/// Reads the journal `name` in `dir` as [`Journal::open`](crate::Journal::open) would, and changes nothing.
///
/// Takes no lock. While a writer appends, its unfinished record may show as a torn tail.
///
/// # Errors
/// [`Error::NotFound`] where there is no journal, and those of `open` except [`Error::Locked`].
pub fn read<R: DeserializeOwned>(dir: impl AsRef<Path>, name: &str, schema_version: u32) -> Result<ReadOnly<R>> {
    let paths = Paths::new(dir.as_ref(), name)?;
    let current = open_if_there(&paths.current)?;
    let chosen: Chosen<R> = choose(&paths, current.as_ref(), schema_version)?;
    if chosen.report.source == Source::New {
        return Err(Error::NotFound { path: paths.current });
    }
    Ok(ReadOnly { records: chosen.scan.records, report: chosen.report })
}

/// The better one of the two files, as it was found.
pub(crate) struct Chosen<R> {
    pub scan: Scan<R>,
    pub report: Report,
    /// A generation above that of every file found.
    pub next_generation: u64,
    /// Files that are damaged.
    pub damaged: Vec<std::path::PathBuf>,
}

/// Reads `current` and, where that is not whole, the previous generation, and chooses.
pub(crate) fn choose<R: DeserializeOwned>(
    paths: &Paths,
    current: Option<&File>,
    schema_version: u32,
) -> Result<Chosen<R>> {
    let scan_file = |path: &Path, file: &File| scan::<R>(path, file, &paths.name, schema_version);
    let current = current.map(|file| scan_file(&paths.current, file)).transpose()?;
    let previous = match &current {
        // A damaged copy of the header costs no record: what counts is whether the records are there.
        Some(scan) if scan.damage.is_empty() => None,
        _ => open_if_there(&paths.previous)?.map(|file| scan_file(&paths.previous, &file)).transpose()?,
    };

    let mut damage = vec![];
    let mut damaged = vec![];
    if current.is_none() && previous.is_some() {
        let path = paths.current.clone();
        damage.push(Damage { path, offset_bytes: 0, part: "missing file", records_before: 0, lost_bytes: 0 });
    }
    let mut newest = 0;
    for (path, scan) in [(&paths.current, &current), (&paths.previous, &previous)] {
        let Some(scan) = scan else { continue };
        newest = newest.max(scan.header.as_ref().map_or(0, |header| header.generation));
        damage.extend(scan.damage.iter().cloned());
        if !scan.damage.is_empty() {
            damaged.push(path.clone());
        }
    }

    // One whole compacted state is worth more than the beginning of another; between equals, the newer one.
    let worth = |scan: &Scan<R>| (scan.has_base(), if scan.has_base() { 0 } else { scan.records.len() });
    let (scan, source) = match (current, previous) {
        (Some(current), Some(previous)) if worth(&previous) > worth(&current) => (previous, Source::Previous),
        (Some(current), _) => (current, Source::Current),
        (None, Some(previous)) => (previous, Source::Previous),
        (None, None) => (Scan::nothing(), Source::New),
    };
    let report = Report {
        path: paths.current.clone(),
        source,
        generation: scan.header.as_ref().map_or(0, |header| header.generation),
        schema_version: scan.header.as_ref().map_or(schema_version, |header| header.schema_version),
        torn_tail_bytes: scan.torn_tail_bytes,
        damage,
        set_aside: vec![],
        unusable: vec![],
        complete: source == Source::New || scan.has_base(),
    };
    Ok(Chosen { scan, report, next_generation: newest.saturating_add(1), damaged })
}

fn open_if_there(path: &Path) -> Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path, "open")(error)),
    }
}
