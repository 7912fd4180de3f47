//! What the recorder is taken to be doing: what it last said of itself, corrected by what it has answered since.

use std::collections::VecDeque;

use crate::snapshot::{Snapshot, State};

/// News may lag behind an answer for so long, nanoseconds.
const LAG_NS: u64 = 1_000_000_000;
/// Sessions that may come and go while an answer is on its way.
const SHOWN: usize = 8;

/// What a press meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    /// Nobody knows.
    Unknown {
        /// What was being recorded when it was last heard of.
        last: Option<String>,
    },
    /// Nothing is recorded.
    Idle,
    /// Our own Start is on its way.
    Asked,
    /// Recording, or about to.
    Active(Option<String>),
    /// A session is being closed, or is going to be.
    Stopping(Option<String>),
}

impl Stand {
    /// What is being recorded, or was when it was last heard of, is this.
    pub(super) fn is_of(&self, session: &str) -> bool {
        let (Self::Active(of) | Self::Unknown { last: of }) = self else { return false };
        of.as_deref() == Some(session)
    }
}

#[derive(Debug)]
struct Known {
    at_ns: u64,
    state: State,
    session: Option<String>,
}

/// See above.
#[derive(Debug, Default)]
pub(super) struct Belief {
    known: Option<Known>,
    /// What was being recorded when it was last heard of.
    last: Option<String>,
    /// The sessions that news were last about, newest last.
    shown: VecDeque<String>,
    /// A session that our Start was answered with, and when; until news show it too.
    begun: Option<(String, u64)>,
    /// When we were told that something is being recorded already; until later news.
    taken_ns: Option<u64>,
    /// A session of which we were told that it is over, and until when news may say otherwise.
    over: Option<(String, u64)>,
}

impl Belief {
    /// News, or that there are none any more. Whether the recorder is heard of again.
    pub(super) fn news(&mut self, snapshot: Option<&Snapshot>) -> bool {
        let was_silent = self.known.is_none();
        self.known = snapshot.map(|snapshot| Known {
            at_ns: snapshot.at_ns,
            state: snapshot.state,
            session: snapshot.session.clone(),
        });
        let Some(known) = &self.known else { return false };
        if let Some(session) = &known.session
            && self.shown.back() != Some(session)
        {
            if self.shown.len() >= SHOWN {
                self.shown.pop_front();
            }
            self.shown.push_back(session.clone());
        }
        let active = matches!(known.state, State::Starting | State::Recording);
        let late = |since_ns: &u64| known.at_ns.saturating_sub(*since_ns) >= LAG_NS;
        if self.begun.as_ref().is_some_and(|(begun, since)| known.session.as_ref() == Some(begun) || late(since)) {
            self.begun = None;
        }
        self.taken_ns = self.taken_ns.filter(|taken_ns| known.at_ns <= *taken_ns);
        // It is not over after all: a recorder that came back went on with it.
        let is_late = |until_ns: &u64| known.at_ns > *until_ns;
        if active
            && self.over.as_ref().is_some_and(|(over, until)| known.session.as_ref() == Some(over) && is_late(until))
        {
            self.over = None;
        }
        self.last = known.session.clone().filter(|session| active && !self.is_over(session));
        was_silent
    }

    /// A Start was answered. An answer that comes after news of its session says nothing new.
    pub(super) fn begun(&mut self, session: String, now_ns: u64) {
        let is_new = !self.is_over(&session) && !self.shown.contains(&session);
        self.begun = is_new.then_some((session, now_ns));
    }

    /// A Start was refused, since something is being recorded.
    pub(super) fn taken(&mut self, now_ns: u64) {
        self.taken_ns = Some(now_ns);
    }

    /// A Stop was answered: it is done.
    pub(super) fn stopped(&mut self, session: String, now_ns: u64) {
        self.over(session, now_ns.saturating_add(LAG_NS));
    }

    /// A Stop was refused, since this is not being recorded. If later news say that it is, it is.
    pub(super) fn not_recording(&mut self, session: String, now_ns: u64) {
        self.over(session, now_ns);
    }

    fn over(&mut self, session: String, until_ns: u64) {
        self.begun.take_if(|(begun, _)| *begun == session);
        self.last.take_if(|last| *last == session);
        self.over = Some((session, until_ns));
    }

    /// Whether there are news from later than that.
    pub(super) fn is_newer(&self, than_ns: u64) -> bool {
        self.known.as_ref().is_some_and(|known| known.at_ns > than_ns)
    }

    pub(super) fn stand(&self) -> Stand {
        let begun = self.begun.as_ref().map(|(session, _)| session.clone());
        let Some(known) = &self.known else {
            return Stand::Unknown { last: begun.or_else(|| self.last.clone()) };
        };
        match (known.state, begun) {
            (_, Some(session)) => Stand::Active(Some(session)),
            (State::Idle | State::Error, None) if self.taken_ns.is_some() => Stand::Active(None),
            (State::Idle | State::Error, None) => Stand::Idle,
            (State::Stopping, None) => Stand::Stopping(known.session.clone()),
            (State::Starting | State::Recording, None) => match &known.session {
                Some(session) if self.is_over(session) => Stand::Idle,
                session => Stand::Active(session.clone()),
            },
        }
    }

    fn is_over(&self, session: &str) -> bool {
        self.over.as_ref().is_some_and(|(over, _)| over == session)
    }
}
