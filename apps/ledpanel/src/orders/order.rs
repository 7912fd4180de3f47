//! One thing that was asked for.

use holdfast_dbus::ErrorCode;

use super::belief::{Belief, Stand};
use super::types::{Answer, Command, Why, Wish};

/// What a Stop is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// This.
    Session(String),
    /// What the Start with this token begins.
    Start(String),
    /// What later news show to be recording.
    Shown {
        /// Later than this.
        since_ns: u64,
    },
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Start { token: String, sent: bool },
    Stop(Target),
    Mark { session: Option<String> },
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be sent as soon as nothing stands before it, not earlier than then.
    Waits { at_ns: u64 },
    /// Sent, not answered.
    Sent { id: u64 },
    /// A Stop that was answered with "is not being recorded". Should news show that it is, it is sent again.
    Watched,
}

/// One of those that are kept.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) what: What,
    pub(super) phase: Phase,
    /// It is asked again until then.
    pub(super) until_ns: u64,
    /// Its press was told to be lost, while the last attempt is still not answered.
    pub(super) given_up: bool,
}

impl Order {
    pub(super) fn wish(&self) -> Wish {
        match self.what {
            What::Start { .. } => Wish::Start,
            What::Stop(_) => Wish::Stop,
            What::Mark { .. } => Wish::Mark,
        }
    }

    pub(super) fn is_sent(&self) -> bool {
        matches!(self.phase, Phase::Sent { .. })
    }
}

/// Gives a Stop its session, if it is known. Whether it is still to be kept.
pub(super) fn aim(target: &mut Target, belief: &Belief, commands: &mut Vec<Command>) -> bool {
    let Target::Shown { since_ns } = target else { return true };
    if !belief.is_newer(*since_ns) {
        return true;
    }
    match belief.stand() {
        Stand::Active(Some(session)) => *target = Target::Session(session),
        Stand::Idle => {
            commands.push(Command::Refuse(Why::NothingRecording));
            return false;
        }
        Stand::Stopping(_) => return false,
        Stand::Active(None) | Stand::Asked | Stand::Unknown { .. } => (),
    }
    true
}

/// A session that a mark was meant for is not being recorded any more.
pub(super) fn has_moved_on(stand: &Stand, session: &str) -> bool {
    match stand {
        Stand::Idle | Stand::Stopping(_) => true,
        Stand::Active(Some(active)) => active != session,
        Stand::Active(None) | Stand::Asked | Stand::Unknown { .. } => false,
    }
}

/// The recorder has not heard, or it may well say yes in a moment. A Start has its token, and a Stop its session.
pub(super) fn is_worth_a_retry(answer: &Answer) -> bool {
    match answer {
        Answer::Unreachable => true,
        Answer::Refused { code, .. } => matches!(code, ErrorCode::Busy | ErrorCode::Timeout),
        Answer::Done { .. } => false,
    }
}
