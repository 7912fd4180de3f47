//! The recorder's state on disk, as it is written.

use std::path::PathBuf;

use holdfast_dbus::{Error, ErrorCode};
use holdfast_journal::Journal;
use tracing::{error, warn};

use super::records::{STATE_JOURNAL, STATE_SCHEMA, StateRecord};
use super::state::State;

/// A state journal longer than this is compacted.
const LIMIT_RECORDS: u64 = 1000;

/// Writes the state; does without where that can't be.
pub struct StateJournal {
    journal: Option<Journal<StateRecord>>,
}

impl StateJournal {
    /// On this journal, if there is one.
    pub fn new(journal: Option<Journal<StateRecord>>) -> Self {
        Self { journal }
    }

    /// Writes a record down.
    pub fn note(&mut self, record: &StateRecord) -> Result<(), Error> {
        let Some(journal) = &mut self.journal else {
            return Err(Error::new(ErrorCode::Internal, "the state directory can't be written to; see the log"));
        };
        if let Err(failure) = journal.append(record) {
            error!("{failure}");
            // What is on disk may be uncertain; opening again settles it. It must be let go of for that.
            let dir = dir(journal);
            self.journal = None;
            let again = Journal::open_always(dir, STATE_JOURNAL, STATE_SCHEMA);
            let journal = self.journal.insert(again.map_err(|error| internal(&error))?.journal);
            return journal.append(record).map_err(|error| internal(&error));
        }
        // While a session is recorded there is a fallback copy that knows of it.
        let is_checkpoint = matches!(record, StateRecord::Current(_));
        if (is_checkpoint || journal.records() > LIMIT_RECORDS)
            && let Ok(read) = holdfast_journal::read(dir(journal), STATE_JOURNAL, STATE_SCHEMA)
            && let Err(error) = journal.compact(State::of(&read.records).distilled())
        {
            warn!("{error}");
        }
        Ok(())
    }
}

fn internal(error: &holdfast_journal::Error) -> Error {
    error!("{error}");
    Error::new(ErrorCode::Internal, error.to_string())
}

fn dir(journal: &Journal<StateRecord>) -> PathBuf {
    journal.path().parent().map(PathBuf::from).unwrap_or_default()
}
