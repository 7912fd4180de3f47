//! What fingers mean: the pure core between edges and gestures.
//!
//! Time is handed in, and an edge's own time counts, not the moment at which it is read: a process that comes late tells late,
//! but tells the same. Every [`Kind::Down`] is told at once, before anybody knows what it will be, and comes to exactly one end:
//! `Short`, `HoldBroken`, `Long` or `Void`; a `Double` ends two of one button, a `Chord` one of each of its two.

use std::collections::BTreeMap;

use crate::model::{Button, Edge};

mod key;

use key::Key;

const MS_NS: u64 = 1_000_000;

/// How one button is listened to. All in nanoseconds but where it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A contact counts as closed or open once it has been so for this long. What is shorter is no press and no release.
    pub debounce_ns: u64,
    /// A second press that begins within this time after the first was let go makes a double press.
    pub double_ns: u64,
    /// A press that lasts so long is a hold: from here on its progress is told, and letting go early means nothing.
    pub hold_from_ns: u64,
    /// A hold that lasts so long, from its first edge, is a long press.
    pub hold_ns: u64,
    /// Nobody presses for so long: the button is stuck.
    pub stuck_ns: u64,
    /// More edges than this within `chatter_ns` are no fingers. Bounces within one `debounce_ns` count as one edge.
    pub chatter_edges: usize,
    /// The window of `chatter_edges`; also how long a chattering button must be silent to be listened to again.
    pub chatter_ns: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            debounce_ns: 20 * MS_NS,
            double_ns: 350 * MS_NS,
            hold_from_ns: 500 * MS_NS,
            hold_ns: 1_500 * MS_NS,
            stuck_ns: 30_000 * MS_NS,
            chatter_edges: 20,
            chatter_ns: 2_000 * MS_NS,
        }
    }
}

/// One button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// How it is listened to.
    pub timing: Timing,
    /// A double press means something. Only then does a short one wait for whether there comes a second.
    pub double: bool,
}

/// All buttons, and which of them mean something when they are pressed together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Edges of other buttons are ignored.
    pub buttons: BTreeMap<Button, Wanted>,
    /// Pairs. A name that is not among `buttons` makes no chord.
    pub chords: Vec<[Button; 2]>,
}

/// What a button was made to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gesture {
    /// Which one; of a chord, the one that was down first.
    pub button: Button,
    /// When it came about, monotonic nanoseconds. Never runs backwards from one gesture to the next.
    pub at_ns: u64,
    /// What.
    pub kind: Kind,
}

/// What a gesture is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It was touched: the light answers now; what it means is told later.
    Down,
    /// Pressed and let go. Told once the contact has been open for the debounce time, and where a double press is wanted once
    /// there was none.
    Short,
    /// Twice in a short time. Told when the second is let go.
    Double,
    /// It is being held: how much of a long press has passed, 0 to 900, told at every tenth from `hold_from_ns` on.
    Holding {
        /// Of a long press.
        permille: u16,
    },
    /// Let go before the end of the hold.
    HoldBroken,
    /// Held to the end. Told while it is still down; letting go means nothing more.
    Long,
    /// Both buttons of a chord were down together before either had become a hold.
    Chord {
        /// The one that came second.
        with: Button,
    },
    /// What was touched is no press: a bounce, chatter, or its device went away.
    Void,
    /// It has been down for `stuck_ns`: somebody should look.
    Stuck,
    /// It came up after all.
    Free,
    /// It chatters, and is ignored until it is quiet.
    Chatters,
    /// It is listened to again.
    Quiet,
}

/// A button as it is shown to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Down, bounces aside.
    pub pressed: bool,
    /// For longer than anybody presses.
    pub stuck: bool,
    /// Ignored because of it.
    pub chattering: bool,
    /// Since the panel runs.
    pub presses: u64,
}

/// All buttons of a panel.
#[derive(Debug, Default)]
pub struct Buttons {
    keys: BTreeMap<Button, Key>,
    chords: Vec<[Button; 2]>,
    /// Up to here everything has been told.
    now_ns: u64,
}

impl Buttons {
    /// All of them up.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let keys = layout.buttons.into_iter().map(|(button, wanted)| (button, Key::new(wanted))).collect();
        Self { keys, chords: layout.chords, now_ns: 0 }
    }

    /// An edge came in, and with it everything that was due before it.
    ///
    /// Its time must be of the same clock as that of [`tick`](Self::tick) and not in the future: time never runs back here, and
    /// an edge of the next century would be waited for.
    pub fn edge(&mut self, edge: &Edge) -> Vec<Gesture> {
        let at_ns = edge.at_ns.max(self.now_ns);
        let mut gestures = self.tick(at_ns);
        self.with(&edge.button, &mut gestures, |key, told| key.edge(at_ns, edge.pressed, told));
        gestures.extend(self.tick(at_ns));
        gestures
    }

    /// Time has passed. Read the edges that wait before this, so that a press that was let go in time is not a long one.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Gesture> {
        let mut gestures = Vec::new();
        while let Some((due_ns, button)) = self.next()
            && due_ns <= now_ns
        {
            let button = button.clone();
            let at_ns = due_ns.max(self.now_ns);
            self.now_ns = at_ns;
            self.with(&button, &mut gestures, |key, told| key.step(at_ns, told));
            self.chord(&button, &mut gestures);
        }
        self.now_ns = self.now_ns.max(now_ns);
        gestures
    }

    /// When [`tick`](Self::tick) has something to do. `None`: not before the next edge.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.next().map(|(due_ns, _)| due_ns)
    }

    /// A button was found down when its device was opened: nobody has pressed it now. It has to be let go first.
    pub fn found_down(&mut self, button: &Button, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if let Some(key) = self.keys.get_mut(button) {
            key.found_down(self.now_ns);
        }
    }

    /// The device of a button is gone: it counts as up, and what was begun means nothing. What had been let go before is told.
    pub fn lost(&mut self, button: &Button) -> Vec<Gesture> {
        let mut gestures = Vec::new();
        self.with(button, &mut gestures, |key, told| key.lost(told));
        gestures
    }

    /// How a button is. `None`: there is no such button.
    #[must_use]
    pub fn shown(&self, button: &Button) -> Option<Shown> {
        self.keys.get(button).map(Key::shown)
    }

    /// How all of them are.
    pub fn all(&self) -> impl Iterator<Item = (&Button, Shown)> {
        self.keys.iter().map(|(button, key)| (button, key.shown()))
    }

    fn next(&self) -> Option<(u64, &Button)> {
        self.keys.iter().filter_map(|(button, key)| key.due_ns().map(|due_ns| (due_ns, button))).min()
    }

    fn with(&mut self, button: &Button, gestures: &mut Vec<Gesture>, act: impl FnOnce(&mut Key, &mut Vec<Kind>)) {
        let Some(key) = self.keys.get_mut(button) else { return };
        let mut told = Vec::new();
        act(key, &mut told);
        let at_ns = self.now_ns;
        gestures.extend(told.into_iter().map(|kind| Gesture { button: button.clone(), at_ns, kind }));
    }

    /// `button` has just done something: perhaps it is the second of a chord.
    fn chord(&mut self, button: &Button, gestures: &mut Vec<Gesture>) {
        let fresh = |button: &Button| self.keys.get(button).and_then(Key::fresh_since_ns);
        let Some(since_ns) = fresh(button) else { return };
        let mut others = self
            .chords
            .iter()
            .filter(|[one, two]| one != two)
            .filter_map(|[one, two]| if one == button { Some(two) } else { (two == button).then_some(one) });
        let found = others.find_map(|other| fresh(other).map(|since_ns| (since_ns, other.clone())));
        let Some((other_since_ns, other)) = found else { return };
        let (first, second) =
            if other_since_ns <= since_ns { (other, button.clone()) } else { (button.clone(), other) };
        self.with(&first, gestures, Key::spend);
        self.with(&second, gestures, Key::spend);
        gestures.push(Gesture { button: first, at_ns: self.now_ns, kind: Kind::Chord { with: second } });
    }
}

#[cfg(test)]
mod tests;
