//! The recorder's own state: opened at start, small for ever.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use holdfast_journal::{Journal, Opened};
use holdfast_records::Checkpoint;
use tracing::{error, warn};

use super::records::{Run, STATE_JOURNAL, STATE_SCHEMA, StateRecord};

/// Ended sessions that are remembered as such: more than can be interrupted at once.
const ENDED: usize = 64;

/// What the last recorder left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Inputs armed or disarmed at run time.
    pub armed: BTreeMap<String, bool>,
    /// The session it was recording.
    pub session: Option<String>,
    /// The same in full, as far as it is known.
    pub checkpoint: Option<Checkpoint>,
    /// Sessions that were stopped or closed, newest last.
    pub ended: VecDeque<String>,
    /// The last recorder's life.
    pub run: Option<Run>,
    /// It ended in good order.
    pub run_ended: bool,
}

/// What was found in the state directory.
#[derive(Debug)]
pub struct Found {
    /// To write to, if that is possible.
    pub journal: Option<Journal<StateRecord>>,
    /// What is known.
    pub state: State,
    /// What was wrong, for people.
    pub trouble: Option<String>,
}

/// Opens the state in its directory. Without it the recorder works as after a first start: nothing that can be wrong here may
/// keep it from recording.
pub fn open(dir: &Path) -> Found {
    if let Err(error) = std::fs::create_dir_all(dir) {
        error!("cannot create {}: {error}; what is armed will not be remembered", dir.display());
    }
    match Journal::open_always(dir, STATE_JOURNAL, STATE_SCHEMA) {
        Ok(Opened { mut journal, records, report }) => {
            if !report.is_clean() {
                warn!("{report}");
            }
            let state = State::of(&records);
            // The file as it was stays as the fallback copy of the one that is begun now.
            if !records.is_empty()
                && let Err(error) = journal.compact(state.distilled())
            {
                warn!("{error}");
            }
            let trouble = report.is_damaged().then(|| report.to_string());
            Found { journal: Some(journal), state, trouble }
        }
        Err(error) => {
            error!("{error}; what is armed will not be remembered");
            Found { journal: None, state: State::default(), trouble: Some(error.to_string()) }
        }
    }
}

impl State {
    /// What these records say.
    pub fn of(records: &[StateRecord]) -> Self {
        let mut state = Self::default();
        for record in records {
            state.note(record);
        }
        state
    }

    fn note(&mut self, record: &StateRecord) {
        match record {
            StateRecord::Armed { input, armed } => drop(self.armed.insert(input.clone(), *armed)),
            StateRecord::Session(session) => {
                self.session.clone_from(session);
                self.checkpoint = self.checkpoint.take().filter(|known| Some(&known.id) == session.as_ref());
            }
            StateRecord::Current(checkpoint) => {
                self.session = Some(checkpoint.id.clone());
                self.checkpoint = Some(checkpoint.clone());
            }
            StateRecord::Ended(id) => {
                if self.session.as_ref() == Some(id) {
                    self.session = None;
                    self.checkpoint = None;
                }
                if !self.ended.contains(id) {
                    self.ended.push_back(id.clone());
                }
                if self.ended.len() > ENDED {
                    self.ended.pop_front();
                }
            }
            StateRecord::RunBegan(run) => (self.run, self.run_ended) = (Some(run.clone()), false),
            StateRecord::RunEnded { .. } => self.run_ended = true,
        }
    }

    /// The same state in as few records as possible.
    pub fn distilled(&self) -> Vec<StateRecord> {
        let armed = self.armed.iter().map(|(input, armed)| StateRecord::Armed { input: input.clone(), armed: *armed });
        let session = match (&self.checkpoint, &self.session) {
            (Some(checkpoint), _) => StateRecord::Current(checkpoint.clone()),
            (None, session) => StateRecord::Session(session.clone()),
        };
        let ended = self.ended.iter().cloned().map(StateRecord::Ended);
        let run = self.run.iter().cloned().map(StateRecord::RunBegan);
        let run_ended = self.run_ended.then_some(StateRecord::RunEnded { wall_ns: 0 });
        armed.chain(ended).chain([session]).chain(run).chain(run_ended).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ENDED, State, open};
    use crate::store::StateRecord;
    use holdfast_records::Checkpoint;

    use crate::store::records::{Run, STATE_JOURNAL, STATE_SCHEMA};
    use holdfast_journal::Journal;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

    #[test]
    fn the_last_word_counts_and_fits_in_few_records() {
        let armed = |input: &str, armed| StateRecord::Armed { input: input.into(), armed };
        let session = |id: &str| StateRecord::Session(Some(id.into()));
        let records = [armed("a", true), session("1"), armed("b", true), armed("a", false), session("2")];
        let state = State::of(&records);
        assert_eq!((state.armed["a"], state.armed["b"], state.session.as_deref()), (false, true, Some("2")));
        assert_eq!(State::of(&state.distilled()), state);
        assert_eq!(state.distilled().len(), 3);
    }

    fn record() -> impl Strategy<Value = StateRecord> {
        let id = || (0..100_u8).prop_map(|n| format!("s{n}"));
        prop_oneof![
            (id(), any::<bool>()).prop_map(|(input, armed)| StateRecord::Armed { input, armed }),
            Just(StateRecord::Session(None)),
            id().prop_map(|id| StateRecord::Session(Some(id))),
            id().prop_map(|id| StateRecord::Current(Checkpoint { id, label: "l".into(), ..Checkpoint::default() })),
            id().prop_map(StateRecord::Ended),
            any::<u32>().prop_map(|pid| StateRecord::RunBegan(Run { pid, ..Run::default() })),
            Just(StateRecord::RunEnded { wall_ns: 0 }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_when_it_is_distilled(records in proptest::collection::vec(record(), 0..200)) {
            let state = State::of(&records);
            assert_eq!(State::of(&state.distilled()), state);
            assert!(state.ended.len() <= ENDED);
        }
    }

    #[test]
    fn a_directory_that_cannot_be_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let found = open(&dir.path().join("file/state"));
        assert!(found.journal.is_none() && found.state == State::default() && found.trouble.is_some());
    }

    /// Each start leaves the state as it was found behind: damage to one of the two costs nothing.
    #[test]
    fn either_copy_is_enough() {
        for broken in ["recorder.journal", "recorder.journal.prev"] {
            let dir = tempfile::tempdir().unwrap();
            let mut journal = Journal::open(dir.path(), STATE_JOURNAL, STATE_SCHEMA).unwrap().journal;
            journal.append(&StateRecord::Armed { input: "a".into(), armed: true }).unwrap();
            journal.append(&StateRecord::Ended("1".into())).unwrap();
            drop(journal);
            let before = open(dir.path()).state;
            assert!(before.armed["a"]);
            let path = dir.path().join(broken);
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() - 8;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            let found = open(dir.path());
            assert_eq!(found.state, before, "{broken}");
            assert_eq!(found.trouble.is_some(), broken == "recorder.journal", "{:?}", found.trouble);
        }
    }
}
