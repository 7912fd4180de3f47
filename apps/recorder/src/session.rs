//! When a session begins, goes on and ends: the pure core of the recorder.
//!
//! One `match (state, event)` says everything that can happen; what is not listed is refused or, if it is news that came too
//! late, ignored. Nothing here knows of processes, disks, buses or clocks: the engine feeds events and carries commands out.

use std::collections::{BTreeSet, VecDeque};

use holdfast_dbus::{Error, ErrorCode};

mod types;

pub use types::{Answer, Command, Event, Request, Session, Started, State, session_in};

/// Callers that may wait for one and the same Start or Stop. More are told to come back.
const MAX_WAITING: usize = 256;
/// How many ended sessions' tokens still name their session, so that a client which lost its answer may ask again.
const REMEMBERED_TOKENS: usize = 256;

/// The session machine.
#[derive(Debug, Default)]
pub struct Machine {
    state: State,
    /// Tokens of past sessions, newest last.
    tokens: VecDeque<(String, String)>,
}

impl Machine {
    /// Remembers the tokens `(token, session id)` of past sessions, oldest first.
    pub fn learn(&mut self, tokens: impl IntoIterator<Item = (String, String)>) {
        for (token, id) in tokens {
            self.remember(token, id);
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Whether this token has its session.
    #[must_use]
    pub fn knows(&self, token: &str) -> bool {
        self.session_of(&self.state, token).is_some()
    }

    /// Takes one event and says what is to be done about it, in order.
    pub fn handle(&mut self, event: Event) -> Vec<Command> {
        let state = std::mem::take(&mut self.state);
        let (state, commands) = self.step(state, event);
        self.state = state;
        commands
    }

    fn step(&mut self, state: State, event: Event) -> (State, Vec<Command>) {
        use Command::{Abandon, Begin, Close, Create, End};
        use State::{Creating, Error as Failed, Idle, Recording, Starting, Stopping};
        match (state, event) {
            // Start.
            (state, Event::Start { request, session }) if self.session_of(&state, &session.token).is_some() => {
                let id = self.session_of(&state, &session.token).unwrap_or_default();
                join_start(state, request, id)
            }
            (Idle | Failed { .. }, Event::Start { request, session }) => {
                let commands = vec![Create(session.clone())];
                (Creating { session, waiting: vec![request], stopping: None }, commands)
            }
            (state @ Stopping { .. }, Event::Start { request, .. }) => {
                let error =
                    Error::new(ErrorCode::Busy, "the last session is still being closed; try again in a moment");
                (state, vec![refuse(request, error)])
            }
            (state, Event::Start { request, .. }) => {
                let refusal = already_recording(&state);
                (state, vec![refuse(request, refusal)])
            }

            // The directory.
            (Creating { session, waiting, stopping }, Event::Created { id }) if id == session.id => {
                self.remember(session.token.clone(), id.clone());
                let mut commands: Vec<_> = waiting
                    .iter()
                    .enumerate()
                    .map(|(place, request)| {
                        let id = id.clone();
                        Command::Answer(
                            *request,
                            Answer::Started(if place == 0 { Started::New { id } } else { Started::Same { id } }),
                        )
                    })
                    .collect();
                match stopping {
                    None => {
                        // The inputs first: the answers can wait a few microseconds, the footage can't.
                        commands.insert(0, Begin(session.clone()));
                        (Starting { session }, commands)
                    }
                    Some(waiting) => {
                        commands.push(Close { session: session.clone(), incomplete: Vec::new() });
                        (Stopping { session, open: BTreeSet::new(), waiting, incomplete: Vec::new() }, commands)
                    }
                }
            }
            (Creating { session, waiting, stopping }, Event::CreateFailed { id, error }) if id == session.id => {
                let starts = waiting.iter().map(|request| refuse(*request, error.clone()));
                let stops = stopping.iter().flatten().map(|request| refuse(*request, not_recording(None)));
                (after_failure(&error), starts.chain(stops).collect())
            }

            // After a restart of the recorder, or when somebody has decided.
            (Idle | Failed { .. }, Event::Continue { session, recording }) => {
                self.remember(session.token.clone(), session.id.clone());
                let commands = vec![Begin(session.clone())];
                (if recording { Recording { session } } else { Starting { session } }, commands)
            }

            (Starting { session }, Event::Safe { id }) if id == session.id => (Recording { session }, Vec::new()),

            // Stop.
            (state @ (Idle | Failed { .. }), Event::Stop { request, .. }) => {
                (state, refuse_some(request, not_recording(None)))
            }
            (state, Event::Stop { request, id: Some(id) })
                if session_in(&state).is_none_or(|session| session.id != id) =>
            {
                let error = not_recording(session_in(&state).map(|session| (id, session.id.clone())));
                (state, refuse_some(request, error))
            }
            (Creating { session, waiting, stopping }, Event::Stop { request, .. }) => {
                let mut stopping = stopping.unwrap_or_default();
                let commands = request.map_or_else(Vec::new, |request| join(&mut stopping, request));
                (Creating { session, waiting, stopping: Some(stopping) }, commands)
            }
            (Starting { session } | Recording { session }, Event::Stop { request, .. }) => {
                let open = session.inputs.iter().cloned().collect();
                let commands = vec![End(session.clone())];
                let waiting = request.into_iter().collect();
                (Stopping { session, open, waiting, incomplete: Vec::new() }, commands)
            }
            (Stopping { session, open, mut waiting, incomplete }, Event::Stop { request, .. }) => {
                let commands = request.map_or_else(Vec::new, |request| join(&mut waiting, request));
                (Stopping { session, open, waiting, incomplete }, commands)
            }

            // The end.
            (Stopping { session, mut open, waiting, incomplete }, Event::InputEnded { id, input })
                if id == session.id =>
            {
                let last = open.remove(&input) && open.is_empty();
                let commands = if last {
                    vec![Close { session: session.clone(), incomplete: incomplete.clone() }]
                } else {
                    Vec::new()
                };
                (Stopping { session, open, waiting, incomplete }, commands)
            }
            (Stopping { session, open, waiting, incomplete }, Event::StopDeadline { id })
                if id == session.id && !open.is_empty() =>
            {
                let late: Vec<_> = open.into_iter().collect();
                let all: Vec<_> = incomplete.into_iter().chain(late.iter().cloned()).collect();
                let commands =
                    vec![Abandon { id, inputs: late }, Close { session: session.clone(), incomplete: all.clone() }];
                (Stopping { session, open: BTreeSet::new(), waiting, incomplete: all }, commands)
            }
            (Stopping { session, open, waiting, .. }, Event::Closed { id }) if id == session.id && open.is_empty() => {
                let answers = waiting
                    .iter()
                    .map(|request| Command::Answer(*request, Answer::Stopped { id: id.clone() }))
                    .collect();
                (Idle, answers)
            }

            // Chapters.
            (state @ (Starting { .. } | Recording { .. }), Event::Mark { request }) => {
                let id = session_in(&state).map(|session| session.id.clone()).unwrap_or_default();
                (state, vec![Command::Answer(request, Answer::Mark { id })])
            }
            (state, Event::Mark { request }) => (state, vec![refuse(request, not_recording(None))]),

            (Failed { .. }, Event::StorageFine) => (Idle, Vec::new()),

            // News about a session that is over, or that this state does not wait for.
            (
                state,
                Event::Created { .. }
                | Event::CreateFailed { .. }
                | Event::Continue { .. }
                | Event::Safe { .. }
                | Event::InputEnded { .. }
                | Event::StopDeadline { .. }
                | Event::StorageFine
                | Event::Closed { .. },
            ) => (state, Vec::new()),
        }
    }

    /// The session that a token stands for, if there is one.
    fn session_of(&self, state: &State, token: &str) -> Option<String> {
        if token.is_empty() {
            return None;
        }
        session_in(state)
            .filter(|session| session.token == token)
            .map(|session| session.id.clone())
            .or_else(|| self.tokens.iter().rev().find(|(known, _)| known == token).map(|(_, id)| id.clone()))
    }

    fn remember(&mut self, token: String, id: String) {
        if token.is_empty() || self.tokens.iter().any(|(known, _)| *known == token) {
            return;
        }
        if self.tokens.len() == REMEMBERED_TOKENS {
            self.tokens.pop_front();
        }
        self.tokens.push_back((token, id));
    }
}

/// The same token again: wait with the first, or be told at once.
fn join_start(state: State, request: Request, id: String) -> (State, Vec<Command>) {
    match state {
        State::Creating { session, mut waiting, stopping } if session.id == id => {
            let commands = join(&mut waiting, request);
            (State::Creating { session, waiting, stopping }, commands)
        }
        state => (state, vec![Command::Answer(request, Answer::Started(Started::Same { id }))]),
    }
}

fn join(waiting: &mut Vec<Request>, request: Request) -> Vec<Command> {
    if waiting.len() >= MAX_WAITING {
        return vec![refuse(
            request,
            Error::new(ErrorCode::Busy, "too many callers wait for the same; try again in a moment"),
        )];
    }
    waiting.push(request);
    Vec::new()
}

/// A full disk is a refusal: the recorder is as well as before. A missing one is an error until it is back.
fn after_failure(error: &Error) -> State {
    match error.code {
        ErrorCode::StorageLow | ErrorCode::StorageCritical | ErrorCode::Busy => State::Idle,
        _ => State::Error { error: error.clone() },
    }
}

fn refuse(request: Request, error: Error) -> Command {
    Command::Answer(request, Answer::Refused(error))
}

fn refuse_some(request: Option<Request>, error: Error) -> Vec<Command> {
    request.map(|request| refuse(request, error)).into_iter().collect()
}

fn already_recording(state: &State) -> Error {
    let id = session_in(state).map(|session| session.id.clone()).unwrap_or_default();
    Error::new(
        ErrorCode::AlreadyRecording,
        format!("session {id} is being recorded; stop it first, or send its token to get it"),
    )
    .with("session", id)
}

fn not_recording(other: Option<(String, String)>) -> Error {
    match other {
        None => Error::new(ErrorCode::NotRecording, "nothing is being recorded"),
        Some((asked, current)) => {
            Error::new(ErrorCode::NotRecording, format!("session {asked} is not being recorded, session {current} is"))
                .with("session", current)
        }
    }
}

#[cfg(test)]
mod tests;
