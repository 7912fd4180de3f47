//! A session's journal on disk: opened whatever stands there, mended from the files, with a fallback copy beside it.

use std::path::Path;

use holdfast_dbus::{Error, ErrorCode};
use holdfast_journal::Journal;
use holdfast_records::{Checkpoint, Record, SESSION_JOURNAL, SESSION_SCHEMA};
use tracing::{info, warn};

use super::rebuild;
use crate::clock;

/// After so many records a copy of all is made; later in proportion, so that long sessions don't write it too often.
const COPY_AFTER_RECORDS: u64 = 64;

/// A journal that can be written to.
pub struct Opened {
    /// To append to.
    pub journal: Journal<Record>,
    /// All records, those added from files included.
    pub records: Vec<Record>,
    /// Something was added from files.
    pub rebuilt: bool,
    /// What was wrong, for people.
    pub trouble: Option<String>,
}

/// Makes the journal of a session whose directory was just made. There are no files yet to learn from, and whoever has asked for the
/// session waits for this: it costs two syncs. None if something stands there already: that is for [`open`].
pub fn create(dir: &Path, first: Record) -> Option<Opened> {
    let journal = Journal::create(dir, SESSION_JOURNAL, SESSION_SCHEMA, [&first]).ok()?;
    Some(Opened { journal, records: vec![first], rebuilt: false, trouble: None })
}

/// Opens or makes a session's journal. What is damaged is set aside; what is then missing is added from the files, after
/// `checkpoint`, the recorder's own copy of its first record.
pub fn open(dir: &Path, id: &str, checkpoint: Option<&Checkpoint>) -> Result<Opened, Error> {
    let holdfast_journal::Opened { mut journal, mut records, report } =
        Journal::<Record>::open_always(dir, SESSION_JOURNAL, SESSION_SCHEMA)
            .map_err(|error| Error::new(ErrorCode::Internal, error.to_string()))?;
    if !report.is_clean() {
        warn!(session = id, "{report}");
    }
    if !records.is_empty() && !report.is_damaged() {
        return Ok(Opened { journal, records, rebuilt: false, trouble: None });
    }
    let fresh = records.is_empty() && !report.is_damaged();
    let mut added = rebuild::from_files(dir, id, &records, checkpoint);
    let count = added.len();
    if report.is_damaged() {
        added.push(Record::Rebuilt {
            wall_ns: clock::wall_ns(),
            why: report.to_string(),
            set_aside: report.set_aside.iter().map(|path| path.display().to_string()).collect(),
        });
    }
    for record in added {
        append(&mut journal, &record)?;
        records.push(record);
    }
    // A new session has its first record added; that is no repair.
    let rebuilt = !fresh || count > 1;
    if rebuilt {
        info!(session = id, records = count, "its journal was mended from its files");
        // What was only the beginning of a state is a whole one again.
        compact(&mut journal, &records);
    }
    let trouble = match report.is_damaged() {
        true => Some(report.to_string()),
        false => rebuilt.then(|| "it was missing, and is rebuilt from the files".to_owned()),
    };
    Ok(Opened { journal, records, rebuilt, trouble })
}

/// Whether a fallback copy is due behind this record: after what must not be lost, and now and then.
pub fn is_copy_due(journal: &Journal<Record>, last: &Record) -> bool {
    let matters = matches!(last, Record::Protected(_) | Record::Stopped { .. } | Record::Interrupted { .. });
    matters || journal.records_since_compaction() >= COPY_AFTER_RECORDS.max(journal.records() / 2)
}

/// Makes a fallback copy.
pub fn keep_a_copy(journal: &mut Journal<Record>, dir: &Path) {
    match holdfast_records::read(dir) {
        // Fewer, or damage that has come since: what is there is better left as it is.
        Ok(read) if !read.report.is_damaged() && u64::try_from(read.records.len()) == Ok(journal.records()) => {
            compact(journal, &read.records);
        }
        Ok(read) => warn!("no copy is made of {}", read.report),
        Err(error) => warn!("no copy is made: {error}"),
    }
}

fn compact(journal: &mut Journal<Record>, records: &[Record]) {
    if let Err(error) = journal.compact(records) {
        warn!("{error}");
    }
}

fn append(journal: &mut Journal<Record>, record: &Record) -> Result<(), Error> {
    journal.append(record).map_err(|error| Error::new(ErrorCode::StorageUnavailable, error.to_string()))
}
