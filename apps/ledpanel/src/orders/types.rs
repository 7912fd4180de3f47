//! What buttons are for, what the recorder is asked, and what it answers.

use std::collections::BTreeMap;

use holdfast_dbus::ErrorCode;
use serde::Deserialize;
use thiserror::Error;

use crate::model::{Button, RECORD};

/// What a gesture does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Begin to record.
    Start,
    /// End the recording.
    Stop,
    /// End what is seen to be recorded, else begin.
    Toggle,
    /// A chapter in what is being recorded.
    Mark,
    /// This box shows which one it is.
    Identify,
    /// All lights, one after the other.
    LampTest,
    /// Nothing.
    #[default]
    Nothing,
}

/// What the gestures of one button do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deeds {
    /// Pressed and let go.
    pub short: Action,
    /// Twice.
    pub double: Action,
    /// Held to the end. Where this is nothing, a press is a short one however long it lasts: whoever presses slowly to record
    /// is not left without a recording.
    pub long: Action,
}

/// What one button is for.
///
/// Between the two, while a session is being closed, while our own Start is on its way, and while nobody knows what the recorder
/// does, short and double are those of `idle`, and long is that of `recording`: then a press can only mean to record, and a hold
/// can only mean to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plan {
    /// While nothing is recorded.
    pub idle: Deeds,
    /// While something is, or begins to be.
    pub recording: Deeds,
}

impl Plan {
    /// The record button: short starts, then marks; long stops.
    #[must_use]
    pub fn record() -> Self {
        let idle = Deeds { short: Action::Start, ..Deeds::default() };
        let recording = Deeds { short: Action::Mark, long: Action::Stop, ..Deeds::default() };
        Self { idle, recording }
    }

    /// The same whatever the recorder does.
    #[must_use]
    pub fn always(deeds: Deeds) -> Self {
        Self { idle: deeds, recording: deeds }
    }
}

/// What is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Buttons that are not here are acknowledged and do nothing.
    pub buttons: BTreeMap<Button, Plan>,
    /// What every chord does.
    pub chord: Action,
    /// Text of a mark, 1 to 256 bytes.
    pub mark: String,
    /// For how long after a press the recorder is asked again, nanoseconds.
    pub keep_ns: u64,
    /// How often, nanoseconds.
    pub retry_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            buttons: BTreeMap::from([(Button(RECORD.to_owned()), Plan::record())]),
            chord: Action::Identify,
            mark: "panel".to_owned(),
            keep_ns: 5_000_000_000,
            retry_ns: 250_000_000,
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The light of this button, before anything else.
    Acknowledge(Button),
    /// How far a hold has come that means something: 1000 is done, 0 is let go, and nothing came of it.
    Feedback {
        /// Which.
        button: Button,
        /// Of the hold.
        permille: u16,
    },
    /// Ask the recorder, and hand its answer to [`answered`](super::Orders::answered): exactly once, however it ends, and in
    /// bounded time.
    Call {
        /// Of this attempt.
        id: u64,
        /// What.
        call: Call,
    },
    /// Show that what was asked for is not possible, or did not reach the recorder.
    Refuse(Why),
    /// Show which box this is.
    Identify,
    /// Show that all lights work.
    LampTest,
}

/// What the recorder is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Record.
    Start {
        /// One press, one token, however often it is sent.
        token: String,
    },
    /// Stop.
    Stop {
        /// This session and no other: its object path.
        session: String,
    },
    /// A chapter now.
    Mark {
        /// For people.
        text: String,
    },
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done {
        /// What Start answered: the session's object path. `None` for the others.
        session: Option<String>,
    },
    /// The recorder, or the bus on its behalf, said no.
    Refused {
        /// Which no.
        code: ErrorCode,
        /// For people.
        text: String,
    },
    /// No answer: the recorder is down, or was too slow. Whether it has heard is not known.
    Unreachable,
}

/// What a press wanted of the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To record.
    Start,
    /// To stop.
    Stop,
    /// To mark.
    Mark,
}

/// Why a press led to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// The recorder did not answer as long as the press was kept.
    #[error(
        "the recorder did not answer; {0:?} is given up: look at the status light, and press again once it is well"
    )]
    Lost(Wish),
    /// There is nothing to stop or to mark.
    #[error("nothing is being recorded")]
    NothingRecording,
    /// The recorder said no.
    #[error("the recorder refused: {text} ({code:?})")]
    Refused {
        /// Which no.
        code: ErrorCode,
        /// As the recorder told it.
        text: String,
    },
    /// More presses wait for the recorder than are kept.
    #[error("too many presses wait for the recorder; press again in a moment")]
    TooMany,
}
