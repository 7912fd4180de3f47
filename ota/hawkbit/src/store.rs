//! The outbox on disk.

use std::path::Path;

use holdfast_journal::{Journal, Opened, Report};

use crate::feedback::{CancelAnswer, Feedback};
use crate::outbox::{Message, Queued, Record, State, Subject, Waiting};
use crate::poll::{ActionId, Cancel};

/// Name of the journal: `hawkbit-outbox.journal` in the directory that is given.
const NAME: &str = "hawkbit-outbox";
const SCHEMA: u32 = 1;

/// Records after which the journal is written anew, with only what still waits.
const COMPACT_AFTER: u64 = 256;

/// The outbox could not write down what it must.
#[derive(Debug, thiserror::Error)]
#[error("the outbox of hawkBit reports can't be kept: {0}")]
pub struct OutboxError(#[from] holdfast_journal::Error);

/// What the server must hear, kept until it has heard it.
///
/// - What [`feedback`](Self::feedback) and [`canceling`](Self::canceling) returned for is on disk, and is told with
///   [`deliver`](crate::deliver), in order, after restarts and power cuts too.
/// - Each action gets exactly one final result; nothing is told after it.
/// - At most 64 messages wait. Progress is replaced by newer progress; a final result is never dropped.
/// - What may have reached the server just before a crash is looked for in the action's history before it is told again.
#[derive(Debug)]
pub struct Outbox {
    journal: Journal<Record>,
    state: State,
    stuck: Vec<u64>,
}

impl Outbox {
    /// Opens the outbox in `directory`, or makes it. The report says what was damaged, if anything.
    ///
    /// # Errors
    /// When it can't be read or written, or is in use by another process.
    pub fn open(directory: &Path) -> Result<(Self, Report), OutboxError> {
        let Opened { journal, records, report } = Journal::<Record>::open_always(directory, NAME, SCHEMA)?;
        let mut state = State::default();
        records.into_iter().for_each(|record| state.apply(record));
        Ok((Self { journal, state, stuck: vec![] }, report))
    }

    /// Says that a poll, made after the last delivery, offers this action: if one of that id has ended before, then the
    /// server has started anew (or from a backup), and wants to hear of it again.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn begin(&mut self, action: &ActionId) -> Result<(), OutboxError> {
        for subject in [Subject::Action(action.clone()), Subject::Cancel(action.clone())] {
            if let Some(record) = self.state.plan_begin(subject) {
                self.note(record)?;
            }
        }
        Ok(())
    }

    /// Tells how an action goes, as soon as the server can be reached.
    ///
    /// # Errors
    /// When it can't be written; then it is not told.
    pub fn feedback(&mut self, action: &ActionId, feedback: Feedback) -> Result<Queued, OutboxError> {
        self.queue(Message::Feedback { action: action.clone(), feedback })
    }

    /// Answers a wish to cancel, as soon as the server can be reached.
    ///
    /// # Errors
    /// When it can't be written; then it is not told.
    pub fn canceling(
        &mut self,
        cancel: &Cancel,
        answer: CancelAnswer,
        details: Vec<String>,
    ) -> Result<Queued, OutboxError> {
        self.queue(Message::Cancel { cancel: cancel.id.clone(), answer, details })
    }

    /// What waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.state.waiting()
    }

    fn queue(&mut self, message: Message) -> Result<Queued, OutboxError> {
        let seq = self.state.next_seq();
        match self.state.plan(message) {
            Ok(record) => self.note(record).map(|()| Queued::Yes { seq }),
            Err(refused) => Ok(refused),
        }
    }

    pub(crate) fn next(&self) -> Option<&Waiting> {
        self.state.front(&self.stuck)
    }

    /// On disk before the first byte goes out: after a crash it is known that it may have arrived.
    pub(crate) fn sending(&mut self, seq: u64) -> Result<(), OutboxError> {
        self.note(Record::Sending(seq))
    }

    pub(crate) fn done(&mut self, seq: u64) -> Result<(), OutboxError> {
        self.stuck.retain(|stuck| *stuck != seq);
        self.note(Record::Done(seq))
    }

    /// The server has surely not taken it. Only remembered here: after a crash it is merely looked for in vain.
    pub(crate) fn not_taken(&mut self, seq: u64) {
        self.state.set_unsure(seq, false);
    }

    /// The server refuses it: others need not wait behind it.
    pub(crate) fn stuck(&mut self, seq: u64) {
        self.stuck.retain(|stuck| *stuck != seq);
        self.stuck.push(seq);
    }

    fn note(&mut self, record: Record) -> Result<(), OutboxError> {
        self.journal.append(&record)?;
        self.state.apply(record);
        if self.journal.records_since_compaction() >= COMPACT_AFTER {
            self.journal.compact([Record::State(self.state.clone())])?;
        }
        Ok(())
    }
}
