//! Of keys, presses: with or without being told when a key is let go.

use std::collections::BTreeMap;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::TerminalConfig;
use crate::model::{Button, RECORD};

const MS: u64 = 1_000_000;
/// A tap lasts so long beyond what contacts need to settle, milliseconds.
const TAP_MS: u64 = 80;
/// A key that a person holds repeats faster than this, milliseconds: while it does, the button stays down.
const REPEAT_MS: u64 = 150;
/// `s` holds so much longer than a long press takes, milliseconds.
const MARGIN_MS: u64 = 200;
/// The key that holds the record button.
pub(super) const HOLD: char = 's';
pub(super) const QUIT: char = 'q';

/// What follows from a key or from time going by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) edges: Vec<(Button, bool)>,
    pub(super) quit: bool,
}

/// Which buttons are down, and until when.
#[derive(Debug)]
pub(super) struct Keys {
    buttons: Vec<(Button, char)>,
    /// The terminal tells when a key is let go.
    releases: bool,
    tap_ns: u64,
    hold_ns: u64,
    /// Down; with a time where nobody tells that it comes up.
    down: BTreeMap<Button, Option<u64>>,
}

impl Keys {
    pub(super) fn new(config: &TerminalConfig, releases: bool) -> Self {
        Self {
            buttons: config.buttons.clone(),
            releases,
            tap_ns: (config.debounce_ms + TAP_MS) * MS,
            hold_ns: (config.hold_ms + MARGIN_MS) * MS,
            down: BTreeMap::new(),
        }
    }

    pub(super) fn key(&mut self, key: &KeyEvent, now_ns: u64) -> Outcome {
        let KeyCode::Char(character) = key.code else { return Outcome::default() };
        let character = character.to_ascii_lowercase();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            // The terminal is raw: this is no signal any more.
            let quit = character == 'c' && key.kind == KeyEventKind::Press;
            return Outcome { quit, ..Outcome::default() };
        }
        if character == QUIT {
            return Outcome { quit: key.kind == KeyEventKind::Press, ..Outcome::default() };
        }
        if self.releases {
            let Some(button) = self.button_of(character) else { return Outcome::default() };
            return match key.kind {
                KeyEventKind::Press => self.press(button, None),
                KeyEventKind::Release => self.let_go(&button),
                KeyEventKind::Repeat => Outcome::default(),
            };
        }
        if character == HOLD {
            let record = Button(RECORD.to_owned());
            return match self.down.contains_key(&record) {
                true => self.let_go(&record),
                false => self.press(record, Some(now_ns + self.hold_ns)),
            };
        }
        let Some(button) = self.button_of(character) else { return Outcome::default() };
        if let Some(until) = self.down.get_mut(&button) {
            // Held: it repeats. It never makes a button that `s` holds come up sooner.
            *until = (*until).max(Some(now_ns + self.tap_ns.max(REPEAT_MS * MS)));
            return Outcome::default();
        }
        self.press(button, Some(now_ns + self.tap_ns))
    }

    /// When the next button comes up by itself.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.down.values().flatten().copied().min()
    }

    /// Lets buttons come up whose time is over.
    pub(super) fn time(&mut self, now_ns: u64) -> Outcome {
        let over = |until: &Option<u64>| until.is_some_and(|until| until <= now_ns);
        let up: Vec<Button> =
            self.down.iter().filter(|(_, until)| over(until)).map(|(button, _)| button.clone()).collect();
        self.down.retain(|_, until| !over(until));
        Outcome { edges: up.into_iter().map(|button| (button, false)).collect(), quit: false }
    }

    pub(super) fn let_go_of_all(&mut self) -> Outcome {
        // Where time lets them go, it still does.
        if !self.releases {
            return Outcome::default();
        }
        let down = std::mem::take(&mut self.down);
        Outcome { edges: down.into_keys().map(|button| (button, false)).collect(), quit: false }
    }

    fn button_of(&self, character: char) -> Option<Button> {
        let configured = self.buttons.iter().find(|(_, key)| key.eq_ignore_ascii_case(&character));
        let record = || (character == ' ').then(|| Button(RECORD.to_owned()));
        configured.map(|(button, _)| button.clone()).or_else(record)
    }

    fn press(&mut self, button: Button, until: Option<u64>) -> Outcome {
        let before = self.down.insert(button.clone(), until);
        let edges = if before.is_some() { Vec::new() } else { vec![(button, true)] };
        Outcome { edges, quit: false }
    }

    fn let_go(&mut self, button: &Button) -> Outcome {
        let edges = self.down.remove(button).map(|_| (button.clone(), false)).into_iter().collect();
        Outcome { edges, quit: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(releases: bool) -> Keys {
        let buttons = vec![(Button("record".to_owned()), 'r'), (Button("mark".to_owned()), 'm')];
        let config = TerminalConfig { buttons, lights: Vec::new(), hold_ms: 1500, debounce_ms: 20 };
        Keys::new(&config, releases)
    }

    fn event(character: char, kind: KeyEventKind) -> KeyEvent {
        KeyEvent::new_with_kind(KeyCode::Char(character), KeyModifiers::NONE, kind)
    }

    /// Types characters at times in milliseconds; tells edges as `(ms, name, down)` until all is up.
    fn typed(typed: &[(u64, char)]) -> Vec<(u64, String, bool)> {
        let mut keys = keys(false);
        let mut told = Vec::new();
        let mut note = |ms, outcome: Outcome| {
            told.extend(outcome.edges.into_iter().map(|(button, pressed)| (ms, button.0, pressed)));
        };
        let mut typed = typed.iter().copied().peekable();
        loop {
            let due = keys.due_ns();
            match typed.peek().copied() {
                Some((ms, character)) if due.is_none_or(|due| due > ms * MS) => {
                    note(ms, keys.key(&event(character, KeyEventKind::Press), ms * MS));
                    typed.next();
                }
                _ => match due {
                    Some(due) => note(due / MS, keys.time(due)),
                    None => return told,
                },
            }
        }
    }

    fn edge(ms: u64, name: &str, pressed: bool) -> (u64, String, bool) {
        (ms, name.to_owned(), pressed)
    }

    #[test]
    fn a_key_taps_its_button_where_nobody_tells_that_it_is_let_go() {
        let tap = [edge(0, "record", true), edge(100, "record", false)];
        assert_eq!(typed(&[(0, ' ')]), tap);
        assert_eq!(typed(&[(0, 'R')]), tap);
        assert_eq!(typed(&[(0, 'm')]), [edge(0, "mark", true), edge(100, "mark", false)]);
        assert_eq!(typed(&[(0, 'x')]), []);
    }

    #[test]
    fn s_holds_the_record_button_long_enough_and_again_lets_go() {
        assert_eq!(typed(&[(0, 's')]), [edge(0, "record", true), edge(1700, "record", false)]);
        assert_eq!(typed(&[(0, 's'), (400, 's')]), [edge(0, "record", true), edge(400, "record", false)]);
        // A tap while it is held changes nothing.
        assert_eq!(typed(&[(0, 's'), (400, ' ')]), [edge(0, "record", true), edge(1700, "record", false)]);
    }

    /// As Linux' console and X do it: nothing for a while, then 30 times a second.
    #[test]
    fn a_key_that_repeats_holds_its_button() {
        let repeats: Vec<(u64, char)> = (0..60).map(|n| (500 + n * 33, ' ')).collect();
        let last = repeats[59].0;
        let told = typed(&[&[(0, ' ')], &repeats[..]].concat());
        let all = [(0, true), (100, false), (500, true), (last + REPEAT_MS, false)];
        assert_eq!(told, all.map(|(ms, pressed)| edge(ms, "record", pressed)));
    }

    #[test]
    fn a_key_is_held_as_a_button_where_the_terminal_tells() {
        let mut keys = keys(true);
        let record = Button("record".to_owned());
        let mut at = 0;
        let mut step = |keys: &mut Keys, kind| {
            at += 5000 * MS;
            keys.key(&event(' ', kind), at).edges
        };
        assert_eq!(step(&mut keys, KeyEventKind::Press), [(record.clone(), true)]);
        assert_eq!(step(&mut keys, KeyEventKind::Repeat), []);
        assert_eq!(keys.due_ns(), None);
        assert_eq!(step(&mut keys, KeyEventKind::Release), [(record.clone(), false)]);
        assert_eq!(step(&mut keys, KeyEventKind::Release), []);
        // What is let go in another window is not told.
        assert_eq!(step(&mut keys, KeyEventKind::Press), [(record.clone(), true)]);
        assert_eq!(keys.let_go_of_all().edges, [(record, false)]);
    }

    #[test]
    fn q_and_control_c_quit_once_and_press_nothing() {
        for releases in [false, true] {
            let mut keys = keys(releases);
            assert_eq!(keys.key(&event('q', KeyEventKind::Press), 0), Outcome { edges: vec![], quit: true });
            assert!(!keys.key(&event('q', KeyEventKind::Release), 0).quit);
            let c = KeyEvent::new_with_kind(KeyCode::Char('c'), KeyModifiers::CONTROL, KeyEventKind::Press);
            assert_eq!(keys.key(&c, 0), Outcome { edges: vec![], quit: true });
            let m = KeyEvent::new_with_kind(KeyCode::Char('m'), KeyModifiers::CONTROL, KeyEventKind::Press);
            assert_eq!(keys.key(&m, 0), Outcome::default());
        }
    }
}
