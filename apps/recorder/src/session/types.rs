//! What the session machine is told, what it says, and where it stands.

use std::collections::BTreeSet;

use holdfast_dbus::Error;

/// Who waits for an answer: chosen by the engine, returned in [`Command::Answer`].
pub type Request = u64;

/// What a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, unique on this storage.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Idempotency token; empty if there is none.
    pub token: String,
    /// Which inputs take part. Never empty.
    pub inputs: Vec<String>,
}

/// Where the recorder stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing records.
    #[default]
    Idle,
    /// The session's directory is being made; no input knows of it yet.
    Creating {
        /// The session.
        session: Session,
        /// Who is to be told: the first asked for it, the others sent the same token.
        waiting: Vec<Request>,
        /// Set once someone has asked that it be stopped: who waits for that.
        stopping: Option<Vec<Request>>,
    },
    /// The inputs were told; nothing is safe yet.
    Starting {
        /// The session.
        session: Session,
    },
    /// Footage is safe.
    Recording {
        /// The session.
        session: Session,
    },
    /// Files are being closed.
    Stopping {
        /// The session.
        session: Session,
        /// Inputs that have not closed their files.
        open: BTreeSet<String>,
        /// Who waits for the end.
        waiting: Vec<Request>,
        /// Inputs that did not close their files in time.
        incomplete: Vec<String>,
    },
    /// The last attempt to begin or end a session failed. As good as Idle for the next Start.
    Error {
        /// What went wrong.
        error: Error,
    },
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Someone wants to record.
    Start {
        /// Whom to answer.
        request: Request,
        /// What they want, under a new id.
        session: Session,
    },
    /// The directory of a session is there, durable and ours alone.
    Created {
        /// Of which session.
        id: String,
    },
    /// It could not be made.
    CreateFailed {
        /// Of which session.
        id: String,
        /// Why.
        error: Error,
    },
    /// At start: a session that was being recorded when the recorder ended goes on.
    Continue {
        /// The session.
        session: Session,
        /// Its captures are recording right now.
        recording: bool,
    },
    /// An input's first chunk is safe.
    Safe {
        /// In which session.
        id: String,
    },
    /// Someone wants to stop.
    Stop {
        /// Whom to answer; nobody when the recorder itself wants it.
        request: Option<Request>,
        /// Only if this is the session.
        id: Option<String>,
    },
    /// An input has closed its files.
    InputEnded {
        /// Of which session.
        id: String,
        /// The input.
        input: String,
    },
    /// Inputs have had long enough to close their files.
    StopDeadline {
        /// Of which session.
        id: String,
    },
    /// The end of the session is durable in its journal, or could not be written (which harms no footage).
    Closed {
        /// Which session.
        id: String,
    },
    /// The storage can be recorded to (again).
    StorageFine,
    /// Someone notes a chapter.
    Mark {
        /// Whom to answer.
        request: Request,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Make the session's directory; answer with `Created` or `CreateFailed`.
    Create(Session),
    /// Tell the session's inputs to record, and keep them at it whatever happens.
    Begin(Session),
    /// Tell the session's inputs to close their files; each answers with `InputEnded`. Send `StopDeadline` in due time.
    End(Session),
    /// These did not close their files: end their processes, so that the files can be recovered.
    Abandon {
        /// Of which session.
        id: String,
        /// Inputs.
        inputs: Vec<String>,
    },
    /// Write the end of the session into its journal; answer with `Closed`.
    Close {
        /// The session.
        session: Session,
        /// Inputs that did not close their files themselves.
        incomplete: Vec<String>,
    },
    /// Tell a caller.
    Answer(Request, Answer),
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To a Start.
    Started(Started),
    /// To a Stop: the session has ended; the engine adds its totals.
    Stopped {
        /// Which.
        id: String,
    },
    /// To a Mark: note it in this session.
    Mark {
        /// Which.
        id: String,
    },
    /// No.
    Refused(Error),
}

/// Whether a Start began something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// A new session.
    New {
        /// Its id.
        id: String,
    },
    /// The token's session was there already, running or ended.
    Same {
        /// Its id.
        id: String,
    },
}

/// The session a state is about.
#[must_use]
pub fn session_in(state: &State) -> Option<&Session> {
    match state {
        State::Idle | State::Error { .. } => None,
        State::Creating { session, .. }
        | State::Starting { session }
        | State::Recording { session }
        | State::Stopping { session, .. } => Some(session),
    }
}
