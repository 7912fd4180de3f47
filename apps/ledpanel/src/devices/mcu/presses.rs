//! From what the panel says of its buttons to edges, with those made good that were lost on the line.

use std::sync::atomic::{AtomicU16, Ordering};

use super::McuConfig;
use crate::model::{Button, Edge};

/// An edge whose frame was lost is thought to have been so long before the next one: long enough for any debouncing,
/// too short for a hold.
const LOST_NS: u64 = 100_000_000;

/// An edge to be told. [`Presses::told`] afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) edge: Edge,
    bit: u16,
}

/// The buttons of one run.
#[derive(Debug)]
pub(super) struct Presses<'a> {
    buttons: Vec<(&'a Button, u16)>,
    told: &'a AtomicU16,
    /// Nothing that comes can have been before: the last that was told, and at first the hello.
    floor_ns: u64,
}

impl<'a> Presses<'a> {
    /// `told`: what was told to be down in earlier runs.
    pub(super) fn new(config: &'a McuConfig, told: &'a AtomicU16, met_ns: u64) -> Self {
        let bit = |index: u8| 1_u16.checked_shl(index.into()).unwrap_or(0);
        let buttons = config.buttons.iter().map(|(button, index)| (button, bit(*index))).collect();
        Self { buttons, told, floor_ns: met_ns }
    }

    /// The panel told an edge, `age_us` before `now_ns`. `heard_ns`: when it was heard before that; what was lost, was
    /// since.
    pub(super) fn edge(&self, index: u8, pressed: bool, age_us: u32, now_ns: u64, heard_ns: u64) -> Vec<Owed> {
        let bit = 1_u16.checked_shl(index.into()).unwrap_or(0);
        let Some((button, _)) = self.buttons.iter().find(|(_, of)| *of == bit) else {
            return vec![];
        };
        let at_ns = now_ns.saturating_sub(u64::from(age_us) * 1000).max(self.floor_ns);
        let owed = |pressed, at_ns| Owed { edge: Edge { button: (*button).clone(), pressed, at_ns }, bit };
        let mut edges = vec![owed(pressed, at_ns)];
        if self.is_down(bit) == pressed {
            let lost_ns = at_ns.saturating_sub(LOST_NS).max(self.floor_ns).max(heard_ns).min(at_ns);
            edges.insert(0, owed(!pressed, lost_ns));
        }
        edges
    }

    /// The panel told which buttons are down now.
    pub(super) fn state(&self, down: u16, now_ns: u64) -> Vec<Owed> {
        let differ = self.buttons.iter().filter(|(_, bit)| self.is_down(*bit) != (down & bit != 0));
        let at_ns = now_ns.max(self.floor_ns);
        differ
            .map(|(button, bit)| {
                let edge = Edge { button: (*button).clone(), pressed: down & bit != 0, at_ns };
                Owed { edge, bit: *bit }
            })
            .collect()
    }

    /// It has been told.
    pub(super) fn told(&mut self, owed: &Owed) {
        self.floor_ns = owed.edge.at_ns;
        if owed.edge.pressed {
            self.told.fetch_or(owed.bit, Ordering::Relaxed);
        } else {
            self.told.fetch_and(!owed.bit, Ordering::Relaxed);
        }
    }

    fn is_down(&self, bit: u16) -> bool {
        self.told.load(Ordering::Relaxed) & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn config() -> McuConfig {
        let button = |name: &str| Button(name.into());
        let buttons = vec![(button("record"), 2), (button("mark"), 15)];
        McuConfig { path: String::new(), baud: 0, lights: vec![], buttons, display: false }
    }

    /// Name, pressed, when in ms; as if told.
    fn tell(presses: &mut Presses<'_>, owed: Vec<Owed>) -> Vec<(String, bool, u64)> {
        owed.into_iter()
            .map(|owed| {
                presses.told(&owed);
                (owed.edge.button.0, owed.edge.pressed, owed.edge.at_ns / MS)
            })
            .collect()
    }

    fn record(pressed: bool, at_ms: u64) -> (String, bool, u64) {
        ("record".into(), pressed, at_ms)
    }

    #[test]
    fn an_edge_is_as_old_as_it_says_and_never_before_the_last() {
        let (config, told) = (config(), AtomicU16::new(0));
        let mut presses = Presses::new(&config, &told, 1000 * MS);
        let pressed = presses.edge(2, true, 30_000, 1200 * MS, 1100 * MS);
        assert_eq!(tell(&mut presses, pressed), [record(true, 1170)]);
        let released = presses.edge(2, false, 90_000, 1210 * MS, 1200 * MS);
        assert_eq!(tell(&mut presses, released), [record(false, 1170)]);
        let ancient = presses.edge(2, true, u32::MAX, 1300 * MS, 1210 * MS);
        assert_eq!(tell(&mut presses, ancient), [record(true, 1170)]);
        assert_eq!(presses.edge(3, true, 0, 1400 * MS, 0), [], "not wired");
        assert_eq!(presses.edge(200, true, 0, 1400 * MS, 0), [], "no button");
    }

    #[test]
    fn a_press_whose_edge_was_lost_is_made_good_by_its_release() {
        let (config, told) = (config(), AtomicU16::new(0));
        let mut presses = Presses::new(&config, &told, 0);
        let released = presses.edge(2, false, 0, 1000 * MS, 800 * MS);
        assert_eq!(tell(&mut presses, released), [record(true, 900), record(false, 1000)]);
        // It was up 20 ms before, so the press was since.
        let released = presses.edge(2, false, 0, 2000 * MS, 1980 * MS);
        assert_eq!(tell(&mut presses, released), [record(true, 1980), record(false, 2000)]);
    }

    #[test]
    fn a_release_whose_edge_was_lost_is_made_good_by_the_state() {
        let (config, told) = (config(), AtomicU16::new(0));
        let mut presses = Presses::new(&config, &told, 0);
        let pressed = presses.edge(2, true, 0, 1000 * MS, 900 * MS);
        tell(&mut presses, pressed);
        assert_eq!(presses.state(1 << 2, 1100 * MS), []);
        let state = presses.state(1 << 15, 1250 * MS);
        assert_eq!(tell(&mut presses, state), [record(false, 1250), ("mark".into(), true, 1250)]);
        assert_eq!(presses.state(1 << 15, 1500 * MS), []);
    }

    #[test]
    fn a_button_held_over_a_broken_line_is_told_once_and_one_let_go_comes_up() {
        let (config, told) = (config(), AtomicU16::new(1 << 2));
        assert_eq!(Presses::new(&config, &told, 0).state(1 << 2, 5 * MS), []);
        let mut presses = Presses::new(&config, &told, 0);
        let state = presses.state(0, 5 * MS);
        assert_eq!(tell(&mut presses, state), [record(false, 5)]);
        assert_eq!(told.load(Ordering::Relaxed), 0);
    }
}
