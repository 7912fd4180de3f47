//! A recorder to press against: it keeps tokens, is down, slow, refusing, or has just come back, and others use it too.

use std::collections::BTreeMap;

use holdfast_dbus::ErrorCode;

use super::super::{Answer, Call};
use super::MS_NS;
use crate::snapshot::{Snapshot, State};

/// How an answer comes about.
pub(super) enum Reply {
    /// Now.
    Now(Answer),
    /// Once the files of this session are closed.
    Closed(String),
    /// Once it has looked through its storage.
    Later,
}

#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) state: State,
    pub(super) session: Option<String>,
    pub(super) up: bool,
    /// It is up, and still looks for what it had been recording.
    pub(super) looking: bool,
    pub(super) refusing: bool,
    pub(super) tokens: BTreeMap<String, String>,
    /// All sessions ever begun: when, in milliseconds, and under which token.
    pub(super) begun: BTreeMap<String, (u64, Option<String>)>,
    /// All that have ended, or are being closed.
    pub(super) ended: BTreeMap<String, u64>,
}

impl Recorder {
    pub(super) fn snapshot(&self, now_ms: u64) -> Snapshot {
        let (state, session) = if self.looking { (State::Idle, None) } else { (self.state, self.session.clone()) };
        Snapshot { at_ns: now_ms * MS_NS, state, session, ..Snapshot::default() }
    }

    pub(super) fn active(&self) -> Option<&String> {
        self.session.as_ref().filter(|_| matches!(self.state, State::Starting | State::Recording))
    }

    pub(super) fn begin(&mut self, now_ms: u64, token: Option<String>) -> String {
        let session = format!("/s{}", self.begun.len());
        (self.state, self.session) = (State::Starting, Some(session.clone()));
        self.begun.insert(session.clone(), (now_ms, token));
        session
    }

    pub(super) fn end(&mut self, now_ms: u64) {
        self.state = State::Stopping;
        self.ended.extend(self.session.clone().map(|session| (session, now_ms)));
    }

    pub(super) fn take(&mut self, now_ms: u64, call: &Call) -> Reply {
        let refuse = |code| Reply::Now(Answer::Refused { code, text: String::new() });
        let active = self.active().cloned().filter(|_| !self.looking);
        match call {
            Call::Start { .. } if self.looking => Reply::Later,
            Call::Start { token } => match (self.tokens.get(token), self.state) {
                (Some(session), _) => Reply::Now(Answer::Done { session: Some(session.clone()) }),
                (None, State::Stopping) => refuse(ErrorCode::Busy),
                (None, State::Starting | State::Recording) => refuse(ErrorCode::AlreadyRecording),
                (None, _) if self.refusing => refuse(ErrorCode::StorageLow),
                (None, _) => {
                    let session = self.begin(now_ms, Some(token.clone()));
                    // A client without a token gets a new session each time.
                    if !token.is_empty() {
                        self.tokens.insert(token.clone(), session.clone());
                    }
                    Reply::Now(Answer::Done { session: Some(session) })
                }
            },
            Call::Stop { .. } if self.refusing => refuse(ErrorCode::NotPermitted),
            Call::Stop { session } if active.as_ref() == Some(session) => {
                self.end(now_ms);
                Reply::Closed(session.clone())
            }
            Call::Stop { session } if self.session.as_ref() == Some(session) && self.state == State::Stopping => {
                Reply::Closed(session.clone())
            }
            Call::Stop { .. } => refuse(ErrorCode::NotRecording),
            Call::Mark { .. } if active.is_some() => Reply::Now(Answer::Done { session: None }),
            Call::Mark { .. } => refuse(ErrorCode::NotRecording),
        }
    }
}
