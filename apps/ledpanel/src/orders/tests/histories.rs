//! Fingers, a bus and a recorder that all behave as they like, against what must hold whatever they do.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_dbus::ErrorCode;
use proptest::prelude::{ProptestConfig, any, proptest};

use self::acts::{Act, Conditions, a_box, act, bumps};
use super::model::{Recorder, Reply};
use super::{Answer, Call, Command, MS_NS, Orders, Plan, Settings, Why, Wish, button};
use crate::buttons::{Buttons, Gesture, Kind, Layout, Timing, Wanted};
use crate::model::{Edge, RECORD};
use crate::orders::{Action, Deeds};
use crate::snapshot::{Snapshot, State};

mod acts;

const NAMES: [&str; 3] = [RECORD, "stop", "mark"];
/// A press is kept for so long.
const KEEP_MS: u64 = 5000;
/// The bus gives a call up after so long.
const CALL_TIMEOUT_MS: u64 = 4000;
/// With a recorder that has been well for so long, no press may be lost.
const WELL_MS: u64 = 1000;
/// A recorder whose answers take longer is not well.
const SLOW_MS: u64 = 200;
/// Let go of everything, the recorder comes to rest after so long.
const SETTLE_MS: u64 = 30_000;

#[derive(Debug, Clone)]
enum Event {
    Edge(usize, bool),
    Fault(Act),
    Back(u64),
    Found,
    Poll,
    News(Option<Snapshot>),
    Arrive(u64, Call),
    Answer(u64, Answer),
    Safe(String),
    Closed(String),
}

/// A hold that was to stop what the panel showed.
#[derive(Debug)]
struct Hold {
    at_ms: u64,
    session: String,
}

struct World {
    a_box: Conditions,
    now_ms: u64,
    end_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    planned: u64,
    buttons: Buttons,
    orders: Orders,
    recorder: Recorder,
    latency_ms: u64,
    /// Since when nothing is wrong with it.
    well_since_ms: u64,
    /// Calls that are not answered, and when they were sent.
    open: BTreeMap<u64, (u64, Call)>,
    /// Calls that wait for files to be closed, or for the end of the look-through.
    closing: Vec<(u64, String)>,
    held_up: Vec<(u64, Call)>,
    /// What the panel was told to be recording, last.
    shown: Option<String>,
    /// What the light showed when a button went down.
    touched: BTreeMap<usize, Option<String>>,
    holds: Vec<Hold>,
    /// Times of holds and other presses that may stop.
    stops: Vec<u64>,
    /// When something was last pressed that may start, and how often anything was.
    pressed_ms: u64,
    presses: usize,
    tokens: BTreeMap<String, u64>,
    content: BTreeSet<String>,
    refused: Vec<(u64, Why)>,
    touches: usize,
    calls: usize,
    acknowledged: usize,
}

impl World {
    fn new(a_box: Conditions, acts: Vec<(u64, Act)>) -> Self {
        let wanted = Wanted { timing: Timing::default(), double: a_box.double };
        let layout = Layout {
            buttons: NAMES.map(|name| (button(name), wanted)).into(),
            chords: vec![[button(RECORD), button("mark")]],
        };
        let stop = Deeds { short: Action::Stop, ..Deeds::default() };
        let mark = Deeds { short: Action::Mark, double: Action::LampTest, long: Action::Nothing };
        let plans = [Plan::record(), Plan { idle: Deeds::default(), recording: stop }, Plan::always(mark)];
        let buttons = NAMES.into_iter().map(button).zip(plans).collect();
        let mut world = Self {
            a_box,
            now_ms: 0,
            end_ms: 0,
            events: BTreeMap::new(),
            planned: 0,
            buttons: Buttons::new(layout),
            orders: Orders::new(Settings { buttons, ..Settings::default() }, 7),
            recorder: Recorder { up: true, ..Recorder::default() },
            latency_ms: 5,
            well_since_ms: 0,
            open: BTreeMap::new(),
            closing: Vec::new(),
            held_up: Vec::new(),
            shown: None,
            touched: BTreeMap::new(),
            holds: Vec::new(),
            stops: Vec::new(),
            pressed_ms: 0,
            presses: 0,
            tokens: BTreeMap::new(),
            content: BTreeSet::new(),
            refused: Vec::new(),
            touches: 0,
            calls: 0,
            acknowledged: 0,
        };
        world.plan_all(acts);
        world
    }

    fn plan(&mut self, at_ms: u64, event: Event) {
        self.planned += 1;
        self.events.insert((at_ms, self.planned), event);
    }

    fn plan_all(&mut self, acts: Vec<(u64, Act)>) {
        let (mut at_ms, mut last_ms) = (500, 500);
        for (gap_ms, act) in acts {
            at_ms += gap_ms;
            match act {
                Act::Press { which, for_ms, bounces, overlaps } => {
                    let begin_ms = at_ms;
                    let bounce = |world: &mut Self, mut from_ms: u64, closed: bool| {
                        world.plan(from_ms, Event::Edge(which, closed));
                        for gap_ms in &bounces {
                            world.plan(from_ms + 1, Event::Edge(which, !closed));
                            from_ms += gap_ms + 1;
                            world.plan(from_ms, Event::Edge(which, closed));
                        }
                        from_ms
                    };
                    let rest_ms = bounce(self, at_ms, true);
                    let end_ms = bounce(self, rest_ms + for_ms, false);
                    last_ms = last_ms.max(end_ms);
                    at_ms = if overlaps { begin_ms } else { end_ms + 1 };
                }
                Act::Noise { which, gaps_ms } => {
                    for (place, gap_ms) in gaps_ms.iter().enumerate() {
                        at_ms += gap_ms;
                        self.plan(at_ms, Event::Edge(which, place % 2 == 0));
                    }
                    at_ms += 1;
                    self.plan(at_ms, Event::Edge(which, false));
                }
                other => self.plan(at_ms, Event::Fault(other)),
            }
            last_ms = last_ms.max(at_ms);
        }
        // At the end all is well again.
        self.plan(last_ms + 10, Event::Fault(Act::Slow { ms: 5 }));
        self.plan(last_ms + 10, Event::Fault(Act::Refuse(false)));
        self.end_ms = last_ms + SETTLE_MS;
        (0..self.end_ms / 1000).for_each(|second| self.plan(second * 1000, Event::Poll));
    }

    /// Until the end of all that was planned.
    fn run(&mut self) {
        loop {
            let planned = self.events.first_key_value().map(|((at_ms, _), _)| *at_ms).filter(|at| *at < self.end_ms);
            let due = |due_ns: Option<u64>| due_ns.map(|due_ns| due_ns.div_ceil(MS_NS).max(self.now_ms));
            let dues = [planned, due(self.buttons.due_ns()), due(self.orders.due_ns())];
            let Some(next_ms) = dues.into_iter().flatten().min() else { break };
            self.now_ms = next_ms;
            if planned == Some(next_ms) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happens(event);
            } else {
                let gestures = self.buttons.tick(next_ms * MS_NS);
                self.gestures(gestures);
                let commands = self.orders.tick(next_ms * MS_NS);
                self.commands(commands);
                let stays = |due_ns: Option<u64>| due_ns.is_some_and(|due_ns| due_ns <= next_ms * MS_NS);
                assert!(!stays(self.orders.due_ns()) && !stays(self.buttons.due_ns()), "due, and nothing done");
            }
            assert!(self.orders.waiting() <= 12, "kept without bound");
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Edge(which, pressed) => {
                let edge = Edge { button: button(NAMES[which]), pressed, at_ns: self.now_ms * MS_NS };
                let gestures = self.buttons.edge(&edge);
                self.gestures(gestures);
            }
            Event::Fault(act) => self.fault(act),
            Event::Back(looks_ms) => {
                (self.recorder.up, self.recorder.looking) = (true, true);
                // What was being closed has been.
                if self.recorder.state == State::Stopping {
                    (self.recorder.state, self.recorder.session) = (State::Idle, None);
                }
                self.plan(self.now_ms + looks_ms, Event::Found);
                self.news();
            }
            Event::Found => {
                if self.recorder.up {
                    self.recorder.looking = false;
                    self.well_since_ms = self.now_ms;
                    let held_up = std::mem::take(&mut self.held_up);
                    held_up.into_iter().for_each(|(id, call)| self.take(id, &call));
                    self.news();
                }
            }
            Event::Poll => self.news(),
            Event::News(snapshot) => {
                if let Some(snapshot) = &snapshot {
                    let active = matches!(snapshot.state, State::Starting | State::Recording);
                    self.shown = snapshot.session.clone().filter(|_| active);
                }
                let commands = self.orders.known(self.now_ms * MS_NS, snapshot.as_ref());
                self.commands(commands);
            }
            Event::Arrive(id, call) => {
                if self.recorder.up {
                    self.take(id, &call);
                } else {
                    self.plan(self.now_ms, Event::Answer(id, Answer::Unreachable));
                }
            }
            Event::Answer(id, answer) => {
                let Some((sent_ms, call)) = self.open.remove(&id) else { return };
                // What waited behind it has waited for no healthy recorder.
                if answer == Answer::Unreachable || self.now_ms > sent_ms + SLOW_MS {
                    self.well_since_ms = self.now_ms;
                }
                if let (Call::Start { token }, Answer::Refused { code: ErrorCode::AlreadyRecording, .. }) =
                    (&call, &answer)
                {
                    self.content.insert(token.clone());
                }
                let commands = self.orders.answered(self.now_ms * MS_NS, id, answer);
                self.commands(commands);
            }
            Event::Safe(session) => {
                if self.recorder.up && self.recorder.session == Some(session) && self.recorder.state == State::Starting
                {
                    self.recorder.state = State::Recording;
                    self.news();
                }
            }
            Event::Closed(session) => {
                if self.recorder.session.as_ref() == Some(&session) && self.recorder.up {
                    (self.recorder.state, self.recorder.session) = (State::Idle, None);
                    self.well_since_ms = self.now_ms;
                    let (closed, others) =
                        std::mem::take(&mut self.closing).into_iter().partition(|(_, of)| *of == session);
                    self.closing = others;
                    let closed: Vec<(u64, String)> = closed;
                    for (id, _) in closed {
                        self.plan(self.now_ms + self.latency_ms / 2, Event::Answer(id, Answer::Done { session: None }));
                    }
                    self.news();
                }
            }
        }
    }

    fn fault(&mut self, act: Act) {
        match act {
            Act::Down { for_ms, looks_ms } if self.recorder.up => {
                self.recorder.up = false;
                self.closing.clear();
                self.held_up.clear();
                // The bus tells everybody who waits that there is nobody.
                let open: Vec<u64> = self.open.keys().copied().collect();
                open.into_iter().for_each(|id| self.plan(self.now_ms, Event::Answer(id, Answer::Unreachable)));
                if self.a_box.silence_ms < for_ms {
                    self.plan(self.now_ms + self.a_box.silence_ms, Event::News(None));
                }
                self.plan(self.now_ms + for_ms, Event::Back(looks_ms));
            }
            Act::Slow { ms } => {
                self.latency_ms = ms;
                self.well_since_ms = self.now_ms;
            }
            Act::Refuse(refusing) => self.recorder.refusing = refusing,
            Act::Other { start } if self.recorder.up && !self.recorder.looking => match (start, self.recorder.state) {
                (true, State::Idle) => drop(self.begin(None)),
                (false, State::Starting | State::Recording) => self.end(),
                _ => (),
            },
            _ => (),
        }
    }

    fn begin(&mut self, token: Option<String>) -> String {
        let session = self.recorder.begin(self.now_ms, token);
        self.plan(self.now_ms + self.a_box.starting_ms, Event::Safe(session.clone()));
        self.news();
        session
    }

    fn end(&mut self) {
        self.recorder.end(self.now_ms);
        let session = self.recorder.session.clone().unwrap();
        self.plan(self.now_ms + self.a_box.closing_ms, Event::Closed(session));
        self.news();
    }

    fn news(&mut self) {
        if self.recorder.up {
            let snapshot = self.recorder.snapshot(self.now_ms);
            self.plan(self.now_ms + self.a_box.lag_ms, Event::News(Some(snapshot)));
        }
    }

    fn take(&mut self, id: u64, call: &Call) {
        let before = (self.recorder.state, self.recorder.session.clone());
        let reply = self.recorder.take(self.now_ms, call);
        if (self.recorder.state, self.recorder.session.clone()) != before {
            let session = self.recorder.session.clone().unwrap();
            let (after_ms, event) = match self.recorder.state {
                State::Starting => (self.a_box.starting_ms, Event::Safe(session)),
                _ => (self.a_box.closing_ms, Event::Closed(session)),
            };
            self.plan(self.now_ms + after_ms, event);
            self.news();
        }
        match reply {
            Reply::Now(answer) => self.plan(self.now_ms + self.latency_ms / 2, Event::Answer(id, answer)),
            Reply::Closed(session) => self.closing.push((id, session)),
            Reply::Later => self.held_up.push((id, call.clone())),
        }
    }

    fn gestures(&mut self, gestures: Vec<Gesture>) {
        for gesture in gestures {
            let which = NAMES.iter().position(|name| *name == gesture.button.0).unwrap();
            match gesture.kind {
                Kind::Down => {
                    self.touches += 1;
                    self.touched.insert(which, self.shown.clone());
                }
                Kind::Short | Kind::Double | Kind::HoldBroken | Kind::Long | Kind::Holding { permille: 300 } => {
                    self.pressed_ms = self.now_ms;
                    // A hold is counted once, when it begins.
                    self.presses += usize::from(!matches!(gesture.kind, Kind::HoldBroken | Kind::Long));
                    if gesture.kind == Kind::Long || which == 1 {
                        self.stops.push(self.now_ms);
                    }
                    let shown = self.touched[&which].clone();
                    let still = shown.filter(|session| self.recorder.session.as_ref() == Some(session));
                    if let (Kind::Long, 0, Some(session)) = (&gesture.kind, which, still) {
                        self.holds.push(Hold { at_ms: self.now_ms, session });
                    }
                }
                _ => (),
            }
            let commands = self.orders.gesture(self.now_ms * MS_NS, &gesture);
            if gesture.kind == Kind::Down {
                assert_eq!(commands.first(), Some(&Command::Acknowledge(gesture.button)), "not acknowledged first");
            }
            self.commands(commands);
        }
    }

    fn commands(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Call { id, call } => self.call(id, call),
                Command::Acknowledge(_) => self.acknowledged += 1,
                Command::Refuse(why) => {
                    let well = self.recorder.up
                        && !self.recorder.looking
                        && self.recorder.state != State::Stopping
                        && self.latency_ms <= SLOW_MS
                        && self.now_ms >= self.well_since_ms + WELL_MS;
                    // A call that was sent while it was not well may still be on its way.
                    let lost = matches!(why, Why::Lost(Wish::Start | Wish::Stop)) && self.open.is_empty();
                    assert!(!(lost && well), "lost, though the recorder was well: {why:?} at {} ms", self.now_ms);
                    self.refused.push((self.now_ms, why));
                }
                Command::Feedback { .. } | Command::Identify | Command::LampTest => (),
            }
        }
    }

    fn call(&mut self, id: u64, call: Call) {
        match &call {
            Call::Start { token } => {
                assert!(!token.is_empty());
                assert!(self.now_ms < self.pressed_ms + KEEP_MS, "sent after it was to be forgotten");
                self.tokens.entry(token.clone()).or_insert(self.now_ms);
                assert!(self.tokens.len() <= self.presses, "more tokens than presses");
            }
            Call::Stop { session } => {
                let (begun_ms, token) = &self.recorder.begun[session];
                let asked_ms = token.as_ref().map_or(*begun_ms, |token| self.tokens[token]);
                // With nothing heard of the recorder, a hold is for what is heard of next.
                let since_ms = asked_ms.saturating_sub(KEEP_MS * u64::from(token.is_none()));
                assert!(self.stops.iter().any(|at_ms| *at_ms >= since_ms), "a stop that was not meant for {session}");
            }
            Call::Mark { text } => assert_eq!(text, "panel"),
        }
        self.calls += 1;
        assert!(self.open.insert(id, (self.now_ms, call.clone())).is_none());
        self.plan(self.now_ms + self.latency_ms.div_ceil(2), Event::Arrive(id, call));
        self.plan(self.now_ms + CALL_TIMEOUT_MS, Event::Answer(id, Answer::Unreachable));
    }

    /// What must have come of it all.
    fn judge(&self) {
        assert_eq!(self.touches, self.acknowledged);
        assert_eq!((self.orders.waiting(), self.orders.due_ns()), (0, None), "it never comes to rest");
        assert!(self.open.is_empty());
        let told_since = |at_ms: u64| self.refused.iter().any(|(told_ms, _)| *told_ms >= at_ms);
        for Hold { at_ms, session } in &self.holds {
            let ended = self.recorder.ended.contains_key(session);
            assert!(ended || told_since(*at_ms), "a hold at {at_ms} ms did not stop {session}, and nobody was told");
        }
        // One token, one session: the model sees to it, as long as there is one.
        let mut of_tokens: Vec<&String> =
            self.recorder.begun.values().filter_map(|(_, token)| token.as_ref()).collect();
        let all = of_tokens.len();
        of_tokens.sort_unstable();
        of_tokens.dedup();
        assert_eq!(of_tokens.len(), all, "a press has started twice");
        for (token, sent_ms) in &self.tokens {
            let well = self.recorder.tokens.contains_key(token) || self.content.contains(token);
            assert!(well || told_since(*sent_ms), "the press of {token} is lost, and nobody was told");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    /// No press starts twice, none is lost without being told, no hold leaves recording what it was to stop, and all comes to rest.
    #[test]
    fn no_history_starts_twice_or_loses_a_stop(a_box in a_box(), acts in proptest::collection::vec(act(), 1..16)) {
        let mut world = World::new(a_box, acts);
        world.run();
        world.judge();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Whatever bumps there are: the light answers, and nothing is asked.
    #[test]
    fn bumps_ask_for_nothing(a_box in a_box(), bumps in bumps(), which in 0..3_usize, recording in any::<bool>()) {
        let mut world = World::new(a_box, vec![(0, Act::Other { start: recording })]);
        let mut at_ms = 1000;
        for (gap_ms, for_ms) in bumps {
            at_ms += gap_ms;
            world.plan(at_ms, Event::Edge(which, true));
            at_ms += for_ms;
            world.plan(at_ms, Event::Edge(which, false));
        }
        world.end_ms += at_ms;
        world.run();
        world.judge();
        assert!(world.touches > 0);
        assert_eq!((world.presses, world.calls, world.refused.len()), (0, 0, 0));
        assert_eq!(world.recorder.begun.len(), usize::from(recording));
        assert!(world.recorder.ended.is_empty());
    }
}
