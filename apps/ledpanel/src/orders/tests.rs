//! One rule each; all of them together are in `histories`.

use holdfast_dbus::ErrorCode;

use super::{Action, Answer, Call, Command, Deeds, Orders, Plan, Settings, Why, Wish};
use crate::buttons::{Gesture, Kind};
use crate::model::{Button, RECORD};
use crate::snapshot::{Snapshot, State};

mod histories;
mod model;
mod stopping;

const MS_NS: u64 = 1_000_000;

fn button(name: &str) -> Button {
    Button(name.to_owned())
}

fn snapshot(at_ms: u64, state: State, session: Option<&str>) -> Snapshot {
    Snapshot { at_ns: at_ms * MS_NS, state, session: session.map(str::to_owned), ..Snapshot::default() }
}

fn refused(code: ErrorCode) -> Answer {
    Answer::Refused { code, text: "no".to_owned() }
}

fn done(session: Option<&str>) -> Answer {
    Answer::Done { session: session.map(str::to_owned) }
}

fn stop(session: &str) -> Call {
    Call::Stop { session: session.to_owned() }
}

fn mark() -> Call {
    Call::Mark { text: "panel".to_owned() }
}

/// Orders with a clock; what was asked is remembered.
struct Panel {
    orders: Orders,
    now_ms: u64,
    /// Since the last look: all but calls and acknowledgements.
    told: Vec<Command>,
    /// Since the last look.
    calls: Vec<Call>,
    /// Of the last call.
    id: u64,
}

impl Panel {
    fn with(settings: Settings) -> Self {
        let orders = Orders::new(settings, 0xabc);
        Self { orders, now_ms: 1000, told: Vec::new(), calls: Vec::new(), id: 0 }
    }

    fn new() -> Self {
        Self::with(Settings::default())
    }

    fn idle() -> Self {
        let mut panel = Self::new();
        panel.known(State::Idle, None);
        panel
    }

    fn recording(session: &str) -> Self {
        let mut panel = Self::new();
        panel.known(State::Recording, Some(session));
        panel
    }

    fn note(&mut self, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Call { id, call } => {
                    assert!(id > self.id, "numbers are used once");
                    self.id = id;
                    self.calls.push(call);
                }
                Command::Acknowledge(_) => (),
                other => self.told.push(other),
            }
        }
    }

    fn known(&mut self, state: State, session: Option<&str>) {
        let commands = self.orders.known(self.now_ms * MS_NS, Some(&snapshot(self.now_ms, state, session)));
        self.note(commands);
    }

    fn silent(&mut self) {
        let commands = self.orders.known(self.now_ms * MS_NS, None);
        self.note(commands);
    }

    fn gesture(&mut self, name: &str, kind: Kind) {
        let gesture = Gesture { button: button(name), at_ns: self.now_ms * MS_NS, kind };
        let commands = self.orders.gesture(self.now_ms * MS_NS, &gesture);
        self.note(commands);
    }

    fn press(&mut self, name: &str, kind: Kind) {
        self.gesture(name, Kind::Down);
        self.gesture(name, kind);
    }

    fn short(&mut self) {
        self.press(RECORD, Kind::Short);
    }

    fn long(&mut self) {
        self.press(RECORD, Kind::Holding { permille: 300 });
        self.gesture(RECORD, Kind::Long);
        self.told.retain(|told| !matches!(told, Command::Feedback { .. }));
    }

    /// Lets time pass, with a tick whenever one is due.
    fn wait(&mut self, for_ms: u64) {
        let until_ms = self.now_ms + for_ms;
        while let Some(due_ns) = self.orders.due_ns().filter(|due_ns| due_ns.div_ceil(MS_NS) <= until_ms) {
            self.now_ms = self.now_ms.max(due_ns.div_ceil(MS_NS));
            let commands = self.orders.tick(self.now_ms * MS_NS);
            self.note(commands);
            if self.calls.len() > 50 {
                panic!("asks without end");
            }
            assert_ne!(self.orders.due_ns(), Some(due_ns), "due, and nothing done");
        }
        self.now_ms = until_ms;
    }

    /// Answers the last call.
    fn answer(&mut self, answer: Answer) {
        let commands = self.orders.answered(self.now_ms * MS_NS, self.id, answer);
        self.note(commands);
    }

    fn calls(&mut self) -> Vec<Call> {
        std::mem::take(&mut self.calls)
    }

    fn told(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.told)
    }

    /// The token of the only call since the last look.
    fn token(&mut self) -> String {
        match &self.calls()[..] {
            [Call::Start { token }] => token.clone(),
            other => panic!("no single Start: {other:?}"),
        }
    }
}

#[test]
fn a_touch_is_acknowledged_first_even_if_it_means_nothing() {
    let mut panel = Panel::new();
    for name in [RECORD, "nobody"] {
        let gesture = Gesture { button: button(name), at_ns: 0, kind: Kind::Down };
        assert_eq!(panel.orders.gesture(0, &gesture), [Command::Acknowledge(button(name))]);
    }
    panel.press(RECORD, Kind::Void);
    assert_eq!((panel.calls(), panel.told()), (vec![], vec![]));
}

#[test]
fn the_record_button_starts_marks_and_stops() {
    let mut panel = Panel::idle();
    panel.short();
    let token = panel.token();
    assert!((1..=64).contains(&token.len()), "{token}");
    panel.answer(done(Some("/a")));
    panel.known(State::Starting, Some("/a"));
    panel.known(State::Recording, Some("/a"));
    panel.short();
    assert_eq!(panel.calls(), [mark()]);
    panel.answer(done(None));
    panel.long();
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.known(State::Stopping, Some("/a"));
    panel.answer(done(None));
    panel.known(State::Idle, None);
    panel.short();
    assert_ne!(panel.token(), token, "another press, another token");
    assert_eq!(panel.told(), []);
}

#[test]
fn a_hold_tells_how_far_it_is_only_where_it_means_something() {
    let mut panel = Panel::recording("/a");
    let feedback = |permille| Command::Feedback { button: button(RECORD), permille };
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.gesture(RECORD, Kind::Holding { permille: 400 });
    panel.gesture(RECORD, Kind::HoldBroken);
    assert_eq!(panel.told(), [feedback(300), feedback(400), feedback(0)]);
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.gesture(RECORD, Kind::Void);
    assert_eq!(panel.told(), [feedback(300), feedback(0)]);
    assert_eq!(panel.calls(), [], "let go early is nothing");
    panel.press(RECORD, Kind::Long);
    assert_eq!(panel.told(), [feedback(1000)]);
    assert_eq!(panel.calls(), [stop("/a")]);

    // Nothing to stop: whoever presses slowly wants to record, once.
    let mut panel = Panel::idle();
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.gesture(RECORD, Kind::Holding { permille: 400 });
    panel.answer(done(Some("/a")));
    panel.gesture(RECORD, Kind::Long);
    panel.token();
    assert_eq!(panel.told(), []);
}

#[test]
fn what_the_light_showed_at_the_touch_counts() {
    // It was stopped by somebody else while it was held, and the next take has begun.
    let mut panel = Panel::recording("/a");
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.known(State::Recording, Some("/b"));
    panel.gesture(RECORD, Kind::Long);
    assert_eq!(panel.calls(), [stop("/a")]);
    panel.answer(refused(ErrorCode::NotRecording));
    panel.wait(10_000);
    assert_eq!(panel.calls(), []);
    // And ended: a hold that was to stop does not start.
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.known(State::Idle, None);
    panel.gesture(RECORD, Kind::Long);
    assert_eq!(panel.calls(), [stop("/b")]);
}

#[test]
fn a_press_while_the_recorder_is_down_starts_once_it_is_back() {
    let mut panel = Panel::new();
    panel.short();
    let token = panel.token();
    panel.answer(Answer::Unreachable);
    panel.wait(249);
    assert_eq!(panel.calls(), []);
    for _ in 0..12 {
        panel.wait(250);
        assert_eq!(panel.token(), token);
        panel.answer(Answer::Unreachable);
    }
    panel.wait(10);
    panel.known(State::Idle, None);
    assert_eq!(panel.token(), token, "at once when it is back");
    panel.answer(done(Some("/a")));
    panel.wait(20_000);
    assert_eq!((panel.calls(), panel.told(), panel.orders.waiting()), (vec![], vec![], 0));
}

#[test]
fn a_press_is_kept_for_five_seconds_and_then_told_to_be_lost() {
    let mut panel = Panel::new();
    panel.short();
    for _ in 0..19 {
        panel.answer(Answer::Unreachable);
        panel.wait(250);
    }
    assert_eq!(panel.calls().len(), 20);
    panel.answer(Answer::Unreachable);
    panel.wait(249);
    assert_eq!(panel.told(), []);
    panel.wait(1);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Start))]);
    panel.known(State::Idle, None);
    panel.wait(60_000);
    assert_eq!((panel.calls(), panel.orders.due_ns()), (vec![], None), "never sent afterwards");
}

#[test]
fn a_press_that_is_not_answered_in_time_is_told_to_be_lost_and_never_sent_again() {
    let mut panel = Panel::idle();
    panel.short();
    let token = panel.token();
    panel.wait(5000);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Start))]);
    // Pressed again: the same wish, under the same token, since the first may still be heard.
    panel.short();
    assert_eq!(panel.calls(), []);
    panel.answer(Answer::Unreachable);
    panel.wait(250);
    assert_eq!(panel.token(), token);
    panel.wait(5000);
    assert_eq!(panel.told(), [Command::Refuse(Why::Lost(Wish::Start))]);
    panel.answer(Answer::Unreachable);
    panel.wait(5000);
    assert_eq!((panel.calls(), panel.told(), panel.orders.waiting()), (vec![], vec![], 0));
}

#[test]
fn two_quick_presses_start_once() {
    let mut panel = Panel::idle();
    panel.short();
    let token = panel.token();
    panel.wait(200);
    panel.short();
    panel.wait(200);
    panel.short();
    assert_eq!(panel.calls(), []);
    panel.answer(Answer::Unreachable);
    panel.wait(250);
    assert_eq!(panel.token(), token);
    panel.answer(done(Some("/a")));
    // The news are late: the answer counts.
    panel.known(State::Idle, None);
    panel.short();
    assert_eq!(panel.calls(), [mark()]);
}

#[test]
fn a_press_that_finds_the_recorder_recording_is_content() {
    let mut panel = Panel::idle();
    panel.short();
    panel.answer(refused(ErrorCode::AlreadyRecording));
    panel.wait(10_000);
    assert_eq!((panel.calls().len(), panel.told()), (1, vec![]));
}

#[test]
fn a_refusal_is_told() {
    let mut panel = Panel::idle();
    panel.short();
    panel.answer(refused(ErrorCode::StorageLow));
    let why = Why::Refused { code: ErrorCode::StorageLow, text: "no".to_owned() };
    assert_eq!(panel.told(), [Command::Refuse(why)]);
    panel.wait(10_000);
    assert_eq!(panel.calls().len(), 1, "and not asked again");
}

#[test]
fn a_busy_recorder_is_asked_again() {
    let mut panel = Panel::new();
    panel.known(State::Stopping, Some("/a"));
    panel.short();
    let token = panel.token();
    panel.answer(refused(ErrorCode::Busy));
    panel.wait(250);
    assert_eq!(panel.token(), token);
    panel.answer(done(Some("/b")));
    assert_eq!(panel.told(), []);
}

#[test]
fn who_presses_slowly_before_anything_is_heard_starts() {
    let mut panel = Panel::new();
    panel.press(RECORD, Kind::Holding { permille: 300 });
    panel.gesture(RECORD, Kind::HoldBroken);
    panel.token();
}

#[test]
fn an_answer_that_comes_after_the_news_says_nothing_new() {
    let mut panel = Panel::idle();
    panel.short();
    panel.known(State::Recording, Some("/a"));
    panel.known(State::Recording, Some("/b"));
    panel.answer(done(Some("/a")));
    panel.calls();
    panel.long();
    assert_eq!(panel.calls(), [stop("/b")]);
}

#[test]
fn marks_are_for_the_session_that_was_seen() {
    let settings = Settings {
        buttons: [(button("m"), Plan::always(Deeds { short: Action::Mark, ..Deeds::default() }))].into(),
        ..Settings::default()
    };
    let mut panel = Panel::with(settings);
    panel.known(State::Idle, None);
    panel.press("m", Kind::Short);
    assert_eq!(panel.told(), [Command::Refuse(Why::NothingRecording)]);
    panel.known(State::Recording, Some("/a"));
    panel.press("m", Kind::Short);
    assert_eq!(panel.calls(), [mark()]);
    panel.answer(Answer::Unreachable);
    panel.wait(300);
    assert_eq!(panel.calls(), [mark()]);
    panel.answer(Answer::Unreachable);
    panel.known(State::Recording, Some("/b"));
    panel.wait(300);
    assert_eq!((panel.calls(), panel.told()), (vec![], vec![Command::Refuse(Why::NothingRecording)]));
    // Not more than a few.
    panel.silent();
    for _ in 0..9 {
        panel.press("m", Kind::Short);
    }
    assert_eq!(panel.told(), vec![Command::Refuse(Why::TooMany); 5]);
}

#[test]
fn every_action_can_be_had_by_every_gesture() {
    let deeds = |long| Deeds { short: Action::Toggle, double: Action::LampTest, long };
    let plan = Plan { idle: deeds(Action::Nothing), recording: deeds(Action::Identify) };
    let settings = Settings { buttons: [(button("x"), plan)].into(), chord: Action::LampTest, ..Settings::default() };
    let mut panel = Panel::with(settings);
    panel.known(State::Idle, None);
    panel.press("x", Kind::Double);
    panel.press("x", Kind::Chord { with: button("y") });
    assert_eq!(panel.told(), [Command::LampTest, Command::LampTest]);
    panel.press("x", Kind::Short);
    panel.press("x", Kind::Short);
    panel.token();
    panel.answer(done(Some("/a")));
    panel.press("x", Kind::Long);
    assert_eq!(panel.told().last(), Some(&Command::Identify));
    panel.press("x", Kind::Short);
    assert_eq!(panel.calls(), [stop("/a")]);
    // A double press that means nothing is a press.
    let mut panel = Panel::idle();
    panel.press(RECORD, Kind::Double);
    panel.token();
}

#[test]
fn no_two_runs_of_the_panel_share_a_token() {
    let token = |seed| {
        let mut panel = Panel::idle();
        panel.orders = Orders::new(Settings::default(), seed);
        panel.short();
        panel.token()
    };
    assert_ne!(token(1), token(2));
    assert_eq!(token(u64::MAX), "panel-ffffffffffffffff-1");
}

#[test]
fn an_answer_that_nobody_waits_for_is_ignored() {
    let mut panel = Panel::idle();
    panel.short();
    let id = panel.id;
    panel.answer(Answer::Unreachable);
    assert_eq!(panel.orders.answered(0, id, done(Some("/x"))), []);
    assert_eq!(panel.orders.answered(0, 77, Answer::Unreachable), []);
    assert_eq!(panel.orders.waiting(), 1);
}

#[test]
fn why_says_what_to_do() {
    let why = Why::Refused { code: ErrorCode::StorageLow, text: "91 % full".to_owned() };
    assert_eq!(why.to_string(), "the recorder refused: 91 % full (StorageLow)");
    assert!(Why::Lost(Wish::Stop).to_string().contains("press again"));
}
