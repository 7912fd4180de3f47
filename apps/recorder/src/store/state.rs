//! The recorder's own state: opened at start, small for ever.

use std::collections::BTreeMap;
use std::path::Path;

use holdfast_journal::{Journal, Opened};
use tracing::{error, warn};

use super::records::{STATE_JOURNAL, STATE_SCHEMA, StateRecord};

/// What the last recorder left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Inputs armed or disarmed at run time.
    pub armed: BTreeMap<String, bool>,
    /// The session it was recording.
    pub session: Option<String>,
}

/// Opens the state in its directory. Without it the recorder works as after a first start: nothing that can be wrong here may
/// keep it from recording.
pub fn open(dir: &Path) -> (Option<Journal<StateRecord>>, State) {
    if let Err(error) = std::fs::create_dir_all(dir) {
        error!("cannot create {}: {error}; what is armed will not be remembered", dir.display());
    }
    match Journal::open(dir, STATE_JOURNAL, STATE_SCHEMA) {
        Ok(Opened { journal, records, report }) => {
            if !report.is_clean() {
                warn!("{report}");
            }
            (Some(journal), State::of(&records))
        }
        Err(error) => {
            error!("{error}; what is armed will not be remembered");
            (None, State::default())
        }
    }
}

impl State {
    fn of(records: &[StateRecord]) -> Self {
        let mut state = Self::default();
        for record in records {
            match record {
                StateRecord::Armed { input, armed } => drop(state.armed.insert(input.clone(), *armed)),
                StateRecord::Session(session) => state.session.clone_from(session),
            }
        }
        state
    }
}

/// The same state in as few records as possible.
pub fn distilled(records: &[StateRecord]) -> Vec<StateRecord> {
    let state = State::of(records);
    let armed = state.armed.into_iter().map(|(input, armed)| StateRecord::Armed { input, armed });
    armed.chain([StateRecord::Session(state.session)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{State, distilled, open};
    use crate::store::StateRecord;

    #[test]
    fn the_last_word_counts_and_fits_in_few_records() {
        let armed = |input: &str, armed| StateRecord::Armed { input: input.into(), armed };
        let session = |id: &str| StateRecord::Session(Some(id.into()));
        let records = [armed("a", true), session("1"), armed("b", true), armed("a", false), session("2")];
        let state = State::of(&records);
        assert_eq!((state.armed["a"], state.armed["b"], state.session.as_deref()), (false, true, Some("2")));
        assert_eq!(State::of(&distilled(&records)), state);
        assert_eq!(distilled(&records).len(), 3);
    }

    #[test]
    fn a_directory_that_cannot_be_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let (journal, state) = open(&dir.path().join("file/state"));
        assert!(journal.is_none() && state == State::default());
    }
}
