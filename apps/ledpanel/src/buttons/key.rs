//! One button.

use std::collections::VecDeque;

use super::{Kind, Shown, Wanted};

/// What the press that goes on has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Press {
    /// None.
    #[default]
    Up,
    /// Told as `Down`; whether it is more than a bounce is not known yet.
    Touched {
        /// Its first edge.
        since_ns: u64,
    },
    /// It is one.
    Down {
        /// Its first edge.
        since_ns: u64,
        /// It has become a hold: tenths told.
        tenths: Option<u64>,
    },
    /// Still down, and everything it means has been told.
    Spent {
        /// Since when nobody may hold it much longer.
        since_ns: u64,
    },
}

#[derive(Debug)]
pub(super) struct Key {
    wanted: Wanted,
    /// The contact, bounces and all.
    closed: bool,
    /// When that last changed.
    changed_ns: u64,
    press: Press,
    /// A short press was let go; it is told then, if no second one begins.
    single_ns: Option<u64>,
    /// The newest edges, one per debounce time; never more than make it chatter.
    edges: VecDeque<u64>,
    chattering: bool,
    stuck: bool,
    presses: u64,
}

impl Key {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            closed: false,
            changed_ns: 0,
            press: Press::Up,
            single_ns: None,
            edges: VecDeque::new(),
            chattering: false,
            stuck: false,
            presses: 0,
        }
    }

    pub(super) fn shown(&self) -> Shown {
        let pressed = matches!(self.press, Press::Down { .. } | Press::Spent { .. });
        Shown { pressed, stuck: self.stuck, chattering: self.chattering, presses: self.presses }
    }

    /// The contact changed. All that was due before has been done.
    pub(super) fn edge(&mut self, at_ns: u64, closed: bool, told: &mut Vec<Kind>) {
        if closed == self.closed {
            return;
        }
        (self.closed, self.changed_ns) = (closed, at_ns);
        if self.chattering {
            return;
        }
        if self.is_too_much(at_ns) {
            self.let_go(told);
            (self.chattering, self.press) = (true, Press::Up);
            told.push(Kind::Chatters);
        } else if closed && self.press == Press::Up {
            self.press = Press::Touched { since_ns: at_ns };
            told.push(Kind::Down);
        }
    }

    /// When [`step`](Self::step) has something to do, should no edge come before.
    pub(super) fn due_ns(&self) -> Option<u64> {
        let timing = &self.wanted.timing;
        if self.chattering {
            return Some(self.changed_ns.saturating_add(timing.chatter_ns));
        }
        let settles_ns = self.changed_ns.saturating_add(timing.debounce_ns);
        match self.press {
            Press::Up => self.single_ns,
            Press::Touched { .. } => Some(settles_ns),
            Press::Down { .. } | Press::Spent { .. } if !self.closed => Some(settles_ns),
            Press::Down { since_ns, tenths: None } => {
                Some(since_ns.saturating_add(timing.hold_from_ns.min(timing.hold_ns)))
            }
            Press::Down { since_ns, tenths: Some(tenths) } => {
                let part_ns = timing.hold_ns.saturating_mul(tenths + 1) / 10;
                Some(since_ns.saturating_add(part_ns))
            }
            Press::Spent { since_ns } => (!self.stuck).then(|| since_ns.saturating_add(timing.stuck_ns)),
        }
    }

    /// Something is due.
    pub(super) fn step(&mut self, at_ns: u64, told: &mut Vec<Kind>) {
        if self.chattering {
            self.chattering = false;
            self.edges.clear();
            // What is down now went down while nobody listened.
            self.press = if self.closed { Press::Spent { since_ns: at_ns } } else { Press::Up };
            told.push(Kind::Quiet);
            return;
        }
        match (self.press, self.closed) {
            (Press::Up, _) => self.single(told),
            (Press::Touched { since_ns }, true) => {
                self.presses = self.presses.saturating_add(1);
                self.press = Press::Down { since_ns, tenths: None };
            }
            (Press::Touched { .. }, false) => {
                self.press = Press::Up;
                told.push(Kind::Void);
            }
            (Press::Down { since_ns, tenths }, true) => self.hold(at_ns, since_ns, tenths, told),
            (Press::Down { tenths, .. }, false) => {
                self.press = Press::Up;
                self.released(tenths.is_some(), told);
            }
            (Press::Spent { .. }, true) => {
                self.stuck = true;
                told.push(Kind::Stuck);
            }
            (Press::Spent { .. }, false) => self.let_go(told),
        }
    }

    /// Since when it is down, if that may still become anything.
    pub(super) fn fresh_since_ns(&self) -> Option<u64> {
        match self.press {
            Press::Down { since_ns, tenths: None } if self.closed => Some(since_ns),
            _ => None,
        }
    }

    /// What it means has been told otherwise.
    pub(super) fn spend(&mut self, told: &mut Vec<Kind>) {
        self.single(told);
        if let Press::Down { since_ns, .. } = self.press {
            self.press = Press::Spent { since_ns };
        }
    }

    pub(super) fn found_down(&mut self, now_ns: u64) {
        if !self.closed {
            (self.closed, self.changed_ns) = (true, now_ns);
            self.press = Press::Spent { since_ns: now_ns };
        }
    }

    pub(super) fn lost(&mut self, told: &mut Vec<Kind>) {
        self.let_go(told);
        self.closed = false;
        self.edges.clear();
        if std::mem::take(&mut self.chattering) {
            told.push(Kind::Quiet);
        }
    }

    /// It is up, and what was begun comes to nothing.
    fn let_go(&mut self, told: &mut Vec<Kind>) {
        self.single(told);
        if matches!(self.press, Press::Touched { .. } | Press::Down { .. }) {
            told.push(Kind::Void);
        }
        self.press = Press::Up;
        if std::mem::take(&mut self.stuck) {
            told.push(Kind::Free);
        }
    }

    fn released(&mut self, held: bool, told: &mut Vec<Kind>) {
        if held {
            told.push(Kind::HoldBroken);
        } else if self.single_ns.take().is_some() {
            told.push(Kind::Double);
        } else if self.wanted.double {
            self.single_ns = Some(self.changed_ns.saturating_add(self.wanted.timing.double_ns));
        } else {
            told.push(Kind::Short);
        }
    }

    fn hold(&mut self, at_ns: u64, since_ns: u64, tenths: Option<u64>, told: &mut Vec<Kind>) {
        // The press before this one was one of its own.
        self.single(told);
        let hold_ns = self.wanted.timing.hold_ns;
        let held_ns = at_ns.saturating_sub(since_ns);
        if held_ns >= hold_ns {
            self.press = Press::Spent { since_ns };
            told.push(Kind::Long);
            return;
        }
        let passed = held_ns.saturating_mul(10) / hold_ns;
        let passed = tenths.map_or(passed, |before| passed.max(before + 1)).min(9);
        self.press = Press::Down { since_ns, tenths: Some(passed) };
        told.push(Kind::Holding { permille: u16::try_from(passed * 100).unwrap_or(900) });
    }

    fn single(&mut self, told: &mut Vec<Kind>) {
        if self.single_ns.take().is_some() {
            told.push(Kind::Short);
        }
    }

    /// Counts an edge; whether these are more than fingers make.
    fn is_too_much(&mut self, at_ns: u64) -> bool {
        let timing = &self.wanted.timing;
        if self.edges.back().is_some_and(|last| at_ns.saturating_sub(*last) < timing.debounce_ns) {
            return false;
        }
        while self.edges.front().is_some_and(|first| at_ns.saturating_sub(*first) >= timing.chatter_ns) {
            self.edges.pop_front();
        }
        self.edges.push_back(at_ns);
        self.edges.len() > timing.chatter_edges
    }
}
