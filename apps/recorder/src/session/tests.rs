//! The session machine against random histories, and the cases worth naming.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

use super::{Answer, Command, Event, Machine, Request, Session, Started, State, session_in};
use holdfast_dbus::ErrorCode;

const INPUTS: [&str; 3] = ["cam0", "cam1", "cam2"];

fn session(id: &str, token: &str) -> Session {
    Session { id: id.into(), label: String::new(), token: token.into(), inputs: vec!["cam0".into(), "cam1".into()] }
}

/// What a random history is made of; ids are filled in by the run, so that news can be about the present or a past session.
#[derive(Debug, Clone)]
enum Act {
    Start { token: u8, inputs: u8 },
    Created { stale: bool },
    CreateFailed,
    Continue { recording: bool },
    Safe { stale: bool },
    Stop { named: u8, nobody: bool },
    Ended { input: usize, stale: bool },
    Deadline,
    StorageFine,
    Closed { stale: bool },
    Mark,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..4_u8, 1..8_u8).prop_map(|(token, inputs)| Act::Start { token, inputs }),
        4 => any::<bool>().prop_map(|stale| Act::Created { stale }),
        1 => Just(Act::CreateFailed),
        1 => any::<bool>().prop_map(|recording| Act::Continue { recording }),
        3 => any::<bool>().prop_map(|stale| Act::Safe { stale }),
        3 => (0..3_u8, any::<bool>()).prop_map(|(named, nobody)| Act::Stop { named, nobody }),
        6 => (0..3_usize, any::<bool>()).prop_map(|(input, stale)| Act::Ended { input, stale }),
        1 => Just(Act::Deadline),
        3 => any::<bool>().prop_map(|stale| Act::Closed { stale }),
        1 => Just(Act::StorageFine),
        1 => Just(Act::Mark),
    ]
}

/// What the outside world knows after a history: enough to tell a broken promise.
#[derive(Default)]
struct World {
    machine: Machine,
    next: u64,
    asked: BTreeMap<Request, &'static str>,
    created: BTreeSet<String>,
    begun: BTreeMap<String, Session>,
    ended: BTreeSet<String>,
    closed: BTreeSet<String>,
    tokens: BTreeMap<String, String>,
    sessions: Vec<String>,
}

impl World {
    fn id(&self, stale: bool) -> String {
        let current = session_in(self.machine.state()).map(|session| session.id.clone());
        match current {
            Some(id) if !stale => id,
            _ => self.sessions.first().cloned().unwrap_or_else(|| "none".into()),
        }
    }

    fn request(&mut self, kind: &'static str) -> Request {
        self.next += 1;
        self.asked.insert(self.next, kind);
        self.next
    }

    fn event(&mut self, act: Act) -> Event {
        match act {
            Act::Start { token, inputs } => {
                let request = self.request("start");
                let id = format!("s{}", self.next);
                let token = if token == 0 { String::new() } else { format!("t{token}") };
                let chosen = (0..3).filter(|bit| inputs & (1 << bit) != 0).map(|bit| INPUTS[bit].to_owned()).collect();
                Event::Start { request, session: Session { id, label: String::new(), token, inputs: chosen } }
            }
            Act::Created { stale } => Event::Created { id: self.id(stale) },
            Act::CreateFailed => Event::CreateFailed {
                id: self.id(false),
                error: holdfast_dbus::Error::new(ErrorCode::StorageUnavailable, "gone"),
            },
            Act::Continue { recording } => {
                self.next += 1;
                Event::Continue { session: session(&format!("s{}", self.next), ""), recording }
            }
            Act::Safe { stale } => Event::Safe { id: self.id(stale) },
            Act::Stop { named, nobody } => {
                let request = (!nobody).then(|| self.request("stop"));
                let id = match named {
                    0 => None,
                    1 => Some(self.id(false)),
                    _ => Some("other".into()),
                };
                Event::Stop { request, id }
            }
            Act::Ended { input, stale } => Event::InputEnded { id: self.id(stale), input: INPUTS[input].into() },
            Act::StorageFine => Event::StorageFine,
            Act::Deadline => Event::StopDeadline { id: self.id(false) },
            Act::Closed { stale } => Event::Closed { id: self.id(stale) },
            Act::Mark => Event::Mark { request: self.request("mark") },
        }
    }

    fn run(&mut self, act: Act) {
        let event = self.event(act);
        for command in self.machine.handle(event) {
            self.check(command);
        }
        let running = self.begun.len() - self.ended.len();
        assert!(running <= 1, "two sessions at once");
    }

    fn check(&mut self, command: Command) {
        match command {
            Command::Create(session) => {
                assert!(self.created.insert(session.id.clone()), "created twice");
                self.sessions.push(session.id);
            }
            Command::Begin(session) => {
                assert!(!session.inputs.is_empty());
                for input in &session.inputs {
                    assert!(INPUTS.contains(&input.as_str()), "an unknown input");
                }
                let id = session.id.clone();
                assert!(self.begun.insert(id.clone(), session).is_none(), "begun twice");
                self.sessions.push(id);
            }
            Command::End(session) => {
                assert_eq!(self.begun.get(&session.id), Some(&session), "ended but never begun");
                assert!(!self.ended.contains(&session.id), "ended twice");
                self.ended.insert(session.id);
            }
            Command::Abandon { id, inputs } => {
                assert!(!inputs.is_empty() && self.ended.contains(&id));
                assert!(inputs.iter().all(|input| self.begun[&id].inputs.contains(input)));
            }
            Command::Close { session, .. } => {
                assert!(self.closed.insert(session.id.clone()), "closed twice");
                assert_eq!(
                    self.begun.contains_key(&session.id),
                    self.ended.contains(&session.id),
                    "closed while recording"
                );
            }
            Command::Answer(request, answer) => self.check_answer(request, answer),
        }
    }

    fn check_answer(&mut self, request: Request, answer: Answer) {
        let kind = self.asked.remove(&request).expect("answered twice, or never asked");
        match answer {
            Answer::Started(Started::New { id }) => {
                assert_eq!(kind, "start");
                assert!(self.created.contains(&id));
            }
            Answer::Started(Started::Same { .. }) => assert_eq!(kind, "start"),
            Answer::Stopped { id } => {
                assert_eq!(kind, "stop");
                assert!(self.closed.contains(&id), "told stopped before the end is durable");
            }
            Answer::Mark { .. } => assert_eq!(kind, "mark"),
            Answer::Refused(_) => (),
        }
    }

    /// Lets everything that is under way come to its end, as the engine does.
    fn settle(&mut self) {
        for _ in 0..4 {
            let id = self.id(false);
            match self.machine.state().clone() {
                State::Idle | State::Error { .. } => break,
                State::Creating { .. } => self.feed(Event::Created { id }),
                State::Starting { .. } | State::Recording { .. } => self.feed(Event::Stop { request: None, id: None }),
                State::Stopping { .. } => {
                    self.feed(Event::StopDeadline { id: id.clone() });
                    self.feed(Event::Closed { id });
                }
            }
        }
    }

    fn feed(&mut self, event: Event) {
        for command in self.machine.handle(event) {
            self.check(command);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: never two sessions, everything is answered exactly once, all comes to rest.
    #[test]
    fn no_history_breaks_a_promise(acts in proptest::collection::vec(act(), 0..60)) {
        let mut world = World::default();
        for act in acts {
            world.run(act);
        }
        world.settle();
        assert!(matches!(world.machine.state(), State::Idle | State::Error { .. }), "{:?}", world.machine.state());
        assert!(world.asked.is_empty(), "never answered: {:?}", world.asked);
        assert_eq!(world.begun.len(), world.ended.len());
    }

    /// One token names one session, however often it is sent and whatever happens between.
    #[test]
    fn a_token_names_one_session(acts in proptest::collection::vec(act(), 0..60)) {
        let mut world = World::default();
        for act in acts {
            let event = world.event(act);
            let token = match &event { Event::Start { session, .. } => session.token.clone(), _ => String::new() };
            for command in world.machine.handle(event) {
                if let Command::Answer(_, Answer::Started(Started::Same { id })) = &command && !token.is_empty() {
                    let known = world.tokens.entry(token.clone()).or_insert_with(|| id.clone());
                    assert_eq!(known, id);
                }
                world.check(command);
            }
        }
    }
}

fn recording() -> Machine {
    let mut machine = Machine::default();
    machine.handle(Event::Start { request: 1, session: session("a", "t") });
    machine.handle(Event::Created { id: "a".into() });
    machine.handle(Event::Safe { id: "a".into() });
    assert!(matches!(machine.state(), State::Recording { .. }));
    machine
}

fn refusal(commands: &[Command]) -> ErrorCode {
    match commands {
        [Command::Answer(_, Answer::Refused(error))] => error.code,
        other => panic!("no refusal: {other:?}"),
    }
}

#[test]
fn the_inputs_hear_before_the_callers() {
    let mut machine = Machine::default();
    machine.handle(Event::Start { request: 1, session: session("a", "t") });
    machine.handle(Event::Start { request: 2, session: session("b", "t") });
    let commands = machine.handle(Event::Created { id: "a".into() });
    let same = |id: &str| Answer::Started(Started::Same { id: id.into() });
    assert_eq!(
        commands,
        [
            Command::Begin(session("a", "t")),
            Command::Answer(1, Answer::Started(Started::New { id: "a".into() })),
            Command::Answer(2, same("a")),
        ]
    );
}

#[test]
fn refusals_name_their_reason() {
    let mut machine = recording();
    let other = Event::Start { request: 2, session: session("b", "u") };
    assert_eq!(refusal(&machine.handle(other.clone())), ErrorCode::AlreadyRecording);
    let wrong = Event::Stop { request: Some(3), id: Some("b".into()) };
    assert_eq!(refusal(&machine.handle(wrong)), ErrorCode::NotRecording);
    machine.handle(Event::Stop { request: Some(4), id: None });
    assert_eq!(refusal(&machine.handle(other)), ErrorCode::Busy);
    assert_eq!(refusal(&machine.handle(Event::Mark { request: 5 })), ErrorCode::NotRecording);
    assert_eq!(
        refusal(&Machine::default().handle(Event::Stop { request: Some(6), id: None })),
        ErrorCode::NotRecording
    );
}

#[test]
fn a_token_still_names_its_session_after_the_end_and_after_a_restart() {
    let mut machine = Machine::default();
    machine.learn([("t".to_owned(), "a".to_owned())]);
    let commands = machine.handle(Event::Start { request: 1, session: session("b", "t") });
    assert_eq!(commands, [Command::Answer(1, Answer::Started(Started::Same { id: "a".into() }))]);
    assert_eq!(machine.state(), &State::Idle);
}

#[test]
fn a_stop_that_comes_too_early_is_kept() {
    let mut machine = Machine::default();
    machine.handle(Event::Start { request: 1, session: session("a", "") });
    assert_eq!(machine.handle(Event::Stop { request: Some(2), id: None }), []);
    let commands = machine.handle(Event::Created { id: "a".into() });
    assert!(!commands.iter().any(|command| matches!(command, Command::Begin(_))), "{commands:?}");
    let last = machine.handle(Event::Closed { id: "a".into() });
    assert_eq!(last, [Command::Answer(2, Answer::Stopped { id: "a".into() })]);
}

#[test]
fn a_silent_input_does_not_hold_up_the_stop_for_ever() {
    let mut machine = recording();
    machine.handle(Event::Stop { request: Some(2), id: None });
    machine.handle(Event::InputEnded { id: "a".into(), input: "cam1".into() });
    let commands = machine.handle(Event::StopDeadline { id: "a".into() });
    assert_eq!(
        commands,
        [
            Command::Abandon { id: "a".into(), inputs: vec!["cam0".into()] },
            Command::Close { session: session("a", "t"), incomplete: vec!["cam0".into()] },
        ]
    );
}
