//! What waits to be told, as a pure core: state and record in, state out. No file, no network, no clock.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::feedback::{CancelAnswer, Feedback};
use crate::poll::ActionId;

/// Most messages that wait; final results count but are never turned away.
const MAX_WAITING: usize = 64;

/// Actions whose end is remembered, so that nothing is told of them a second time.
const MAX_ENDED: usize = 32;

/// Something the server must hear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// How an action goes.
    Feedback {
        /// Which.
        action: ActionId,
        /// How.
        feedback: Feedback,
    },
    /// The answer to a wish to cancel.
    Cancel {
        /// [`Cancel::id`](crate::Cancel::id).
        cancel: ActionId,
        /// The answer.
        answer: CancelAnswer,
        /// For people.
        details: Vec<String>,
    },
}

impl Message {
    /// Whether nothing comes after it in its conversation.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Feedback { feedback, .. } => feedback.execution.is_final(),
            Self::Cancel { answer, .. } => answer.is_final(),
        }
    }

    /// Whether a newer one makes it worthless.
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Feedback { feedback, .. } => feedback.execution.is_progress(),
            Self::Cancel { answer, .. } => !answer.is_final(),
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Feedback { action, .. } => Subject::Action(action.clone()),
            Self::Cancel { cancel, .. } => Subject::Cancel(cancel.clone()),
        }
    }
}

/// A message that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Counts up, also over restarts.
    pub seq: u64,
    /// What to tell.
    pub message: Message,
    /// It may have reached the server: it was sent, and no word came back.
    pub unsure: bool,
}

/// What became of a message that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Queued {
    /// It is on disk, and will be told.
    Yes {
        /// Its number.
        seq: u64,
    },
    /// Its action has ended with an earlier message: there is nothing more to tell.
    Ended,
    /// Too many wait, and this one is not final: it is left out.
    Full,
}

/// One conversation with the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Subject {
    Action(ActionId),
    Cancel(ActionId),
}

/// All that waits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct State {
    waiting: VecDeque<Waiting>,
    next: u64,
    ended: VecDeque<Subject>,
}

/// One change. New ones only at the end: old journals must stay readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Record {
    /// All there is: the first record of a compacted journal.
    State(State),
    /// A message came, and makes others worthless.
    Queued { message: Message, leaves_out: Vec<u64> },
    /// It is being sent.
    Sending(u64),
    /// The server has it, or does not want it any more.
    Done(u64),
    /// An action begins, though one of that name has ended: the server has started anew.
    Begun(Subject),
}

impl State {
    /// The change that a message makes, or why it makes none.
    pub(crate) fn plan(&self, message: Message) -> Result<Record, Queued> {
        let subject = message.subject();
        if self.ended.contains(&subject) {
            return Err(Queued::Ended);
        }
        let replaceable = |waiting: &&Waiting| !waiting.unsure && waiting.message.is_progress();
        let mut leaves_out: Vec<u64> = vec![];
        if message.is_progress() || message.is_final() {
            let same = self.waiting.iter().filter(|waiting| waiting.message.subject() == subject);
            leaves_out.extend(same.filter(replaceable).map(|waiting| waiting.seq));
        }
        if self.waiting.len() - leaves_out.len() >= MAX_WAITING {
            // The least worthy first: progress, then any other that is not the last word.
            let kept = || self.waiting.iter().filter(|waiting| !leaves_out.contains(&waiting.seq) && !waiting.unsure);
            let victim = kept().find(|w| w.message.is_progress()).or_else(|| kept().find(|w| !w.message.is_final()));
            match victim.map(|victim| victim.seq) {
                Some(seq) => leaves_out.push(seq),
                None if message.is_final() => {}
                None => return Err(Queued::Full),
            }
        }
        Ok(Record::Queued { message, leaves_out })
    }

    /// The change that the beginning of an action makes, if any.
    pub(crate) fn plan_begin(&self, subject: Subject) -> Option<Record> {
        let waits = self.waiting.iter().any(|waiting| waiting.message.subject() == subject);
        (self.ended.contains(&subject) && !waits).then_some(Record::Begun(subject))
    }

    pub(crate) fn apply(&mut self, record: Record) {
        match record {
            Record::State(state) => *self = state,
            Record::Queued { message, leaves_out } => {
                self.waiting.retain(|waiting| !leaves_out.contains(&waiting.seq));
                if message.is_final() {
                    self.ended.push_back(message.subject());
                }
                self.waiting.push_back(Waiting { seq: self.next, message, unsure: false });
                self.next += 1;
                self.forget();
            }
            Record::Sending(seq) => self.set_unsure(seq, true),
            Record::Done(seq) => {
                self.waiting.retain(|waiting| waiting.seq != seq);
                self.forget();
            }
            Record::Begun(subject) => self.ended.retain(|ended| *ended != subject),
        }
    }

    /// Whether a message may have reached the server.
    pub(crate) fn set_unsure(&mut self, seq: u64, unsure: bool) {
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.seq == seq) {
            waiting.unsure = unsure;
        }
    }

    /// The next to be told: the oldest whose like is not refused again and again.
    pub(crate) fn front(&self, stuck: &[u64]) -> Option<&Waiting> {
        self.waiting.iter().find(|waiting| !stuck.contains(&waiting.seq)).or_else(|| self.waiting.front())
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter()
    }

    /// The number that the next message gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next
    }

    /// Old ends, but never one that still waits.
    fn forget(&mut self) {
        while self.ended.len() > MAX_ENDED {
            let waits = |ended: &Subject| self.waiting.iter().any(|waiting| waiting.message.subject() == *ended);
            match self.ended.iter().position(|ended| !waits(ended)) {
                Some(place) => drop(self.ended.remove(place)),
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
