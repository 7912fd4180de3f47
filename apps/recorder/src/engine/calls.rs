//! Calls from the mailbox, and their answers.

use holdfast_dbus::{Error, ErrorCode};
use holdfast_link as link;
use tracing::{error, warn};

use super::{Engine, Waiting};
use crate::facade::Call;
use crate::session::{Answer, Event, Request, Session, Started, State};
use crate::store::{Job, Noted, StateRecord};
use crate::{clock, ids};

impl Engine {
    pub(super) fn take(&mut self, call: Call) {
        let Some(call) = self.held(call) else { return };
        match call {
            Call::Start { inputs, label, token, trace, answer } => {
                self.trace = trace;
                match self.new_session(inputs, label, token) {
                    Ok(session) => {
                        let request = self.wait(Waiting::Start(answer));
                        self.feed(Event::Start { request, session });
                    }
                    Err(error) => drop(answer.send(Err(error))),
                }
            }
            Call::Stop { session, trace, answer } => {
                self.trace = trace;
                let request = self.wait(Waiting::Stop(answer));
                self.feed(Event::Stop { request: Some(request), id: session });
            }
            Call::Mark { text, answer } => {
                let request = self.wait(Waiting::Mark(text, answer));
                self.feed(Event::Mark { request });
            }
            Call::Arm { inputs, armed, answer } => self.arm(inputs, armed, answer),
            Call::Resume { session, answer } => self.resume(session, answer),
            Call::Dismiss { session, answer } => self.dismiss(session, answer),
            Call::ClockStepped { by_ns } => self.clock_stepped(by_ns),
            Call::Protect { session, protected, answer } => {
                self.keeper.ask(Job::Note(session, holdfast_records::Record::Protected(protected), Some(answer)));
            }
        }
    }

    pub(super) fn wait(&mut self, waiting: Waiting) -> Request {
        self.requests += 1;
        self.waiting.insert(self.requests, waiting);
        self.requests
    }

    fn new_session(&self, inputs: Vec<String>, label: String, token: String) -> Result<Session, Error> {
        let inputs = self.known(inputs)?;
        // A token that has its session needs neither room nor programs.
        if !token.is_empty() && self.machine.knows(&token) {
            return Ok(Session { id: String::new(), label, token, inputs });
        }
        if matches!(self.machine.state(), State::Idle | State::Error { .. }) {
            self.launcher.check().map_err(|error| Error::new(ErrorCode::CaptureFailed, error.to_string()))?;
        }
        Ok(Session { id: ids::new_session_id(clock::wall_ns()), label, token, inputs })
    }

    /// The named inputs, or all.
    fn known(&self, names: Vec<String>) -> Result<Vec<String>, Error> {
        let all: Vec<_> = self.inputs.iter().map(|input| input.name.clone()).collect();
        if names.is_empty() {
            return if all.is_empty() {
                Err(Error::new(ErrorCode::UnknownInput, "no inputs are configured; add an [[input]] to holdfast.toml"))
            } else {
                Ok(all)
            };
        }
        match names.iter().find(|name| !all.contains(name)) {
            Some(unknown) => Err(Error::new(
                ErrorCode::UnknownInput,
                format!("no input {unknown:?} is configured; there are: {}", all.join(", ")),
            )
            .with("input", unknown.clone())
            .with("configured", all)),
            // In the order of the configuration, each once.
            None => Ok(all.into_iter().filter(|name| names.contains(name)).collect()),
        }
    }

    fn arm(&self, names: Vec<String>, armed: bool, answer: Noted) {
        let names = match self.known(names) {
            Ok(names) => names,
            Err(error) => return drop(answer.send(Err(error))),
        };
        for input in self.inputs.iter().filter(|input| names.contains(&input.name)) {
            input.handle.want.send_if_modified(|want| std::mem::replace(&mut want.armed, armed) != armed);
        }
        let mut answer = Some(answer);
        for (place, input) in names.iter().enumerate() {
            let record = StateRecord::Armed { input: input.clone(), armed };
            // Done when the last is.
            let done = if place + 1 == names.len() { answer.take() } else { None };
            self.keeper.ask(Job::State(record, done));
        }
    }

    pub(super) fn answer(&mut self, request: Request, answer: Answer) {
        let Some(waiting) = self.waiting.remove(&request) else {
            return;
        };
        // Whoever has gone away meanwhile is not waited for: a failed send is no failure.
        match (waiting, answer) {
            (Waiting::Start(tell), Answer::Started(Started::New { id })) => drop(tell.send(Ok((id, true)))),
            (Waiting::Start(tell), Answer::Started(Started::Same { id })) => drop(tell.send(Ok((id, false)))),
            (Waiting::Stop(tell), Answer::Stopped { id }) => {
                let totals = self.ended.as_ref().filter(|(ended, _)| *ended == id).map(|(_, totals)| totals.clone());
                let _ = tell.send(Ok((id, totals.unwrap_or_default())));
            }
            (Waiting::Mark(text, tell), Answer::Mark { id }) => self.mark(id, &text, tell),
            (Waiting::Start(tell), Answer::Refused(error)) => drop(tell.send(Err(error))),
            (Waiting::Stop(tell), Answer::Refused(error)) => drop(tell.send(Err(error))),
            (Waiting::Mark(_, tell), Answer::Refused(error)) => drop(tell.send(Err(error))),
            (_, answer) => error!(?answer, "an answer to another question"),
        }
    }

    fn mark(&self, session: String, text: &str, tell: Noted) {
        let (mono_ns, wall_ns) = (clock::mono_ns(), clock::wall_ns());
        for input in &self.inputs {
            let takes_part = input.handle.want.borrow().record.as_ref().is_some_and(|record| record.session == session);
            if takes_part
                && input.handle.marks.try_send(link::Mark { mono_ns, wall_ns, text: link::clip(text) }).is_err()
            {
                warn!(input = input.name, "a mark did not reach the capture; the session's journal has it");
            }
        }
        let record = holdfast_records::Record::Mark { text: text.to_owned(), wall_ns, mono_ns };
        self.keeper.ask(Job::Note(session, record, Some(tell)));
    }
}
