//! Fingers, bad contacts and devices that go away.

use proptest::prelude::{ProptestConfig, Strategy, any, proptest};

use super::{Buttons, Gesture, Kind, Layout, MS_NS, Shown, Timing, Wanted};
use crate::model::{Button, Edge};

fn button(name: &str) -> Button {
    Button(name.to_owned())
}

fn layout(double: bool) -> Layout {
    let wanted = Wanted { timing: Timing::default(), double };
    let buttons = ["mark", "record"].map(|name| (button(name), wanted)).into();
    Layout { buttons, chords: vec![[button("record"), button("mark")]] }
}

/// A panel, and what it has told, each with its milliseconds.
struct Panel {
    buttons: Buttons,
    told: Vec<(u64, String, Kind)>,
}

impl Panel {
    fn new(double: bool) -> Self {
        Self { buttons: Buttons::new(layout(double)), told: Vec::new() }
    }

    fn note(&mut self, gestures: Vec<Gesture>) {
        self.told.extend(gestures.into_iter().map(|told| (told.at_ns / MS_NS, told.button.0, told.kind)));
    }

    fn edge(&mut self, name: &str, pressed: bool, at_ms: u64) {
        let told = self.buttons.edge(&Edge { button: button(name), pressed, at_ns: at_ms * MS_NS });
        self.note(told);
    }

    /// Edges that take turns, beginning with down.
    fn edges(&mut self, name: &str, at_ms: &[u64]) -> &mut Self {
        for (place, at_ms) in at_ms.iter().enumerate() {
            self.edge(name, place % 2 == 0, *at_ms);
        }
        self
    }

    fn until(&mut self, at_ms: u64) -> &mut Self {
        let told = self.buttons.tick(at_ms * MS_NS);
        self.note(told);
        self
    }

    /// What the record button has told since the last time.
    fn told(&mut self) -> Vec<(u64, Kind)> {
        std::mem::take(&mut self.told)
            .into_iter()
            .filter(|(_, name, _)| name == "record")
            .map(|(at_ms, _, kind)| (at_ms, kind))
            .collect()
    }

    fn shown(&self) -> Shown {
        self.buttons.shown(&button("record")).unwrap()
    }
}

fn holding(permille: u16) -> Kind {
    Kind::Holding { permille }
}

#[test]
fn a_touch_is_told_at_once_and_a_short_press_when_it_is_let_go() {
    let mut panel = Panel::new(false);
    panel.edge("record", true, 100);
    assert_eq!(panel.told(), [(100, Kind::Down)]);
    panel.edge("record", false, 200);
    assert_eq!(panel.until(219).told(), []);
    assert_eq!(panel.until(220).told(), [(220, Kind::Short)]);
    assert_eq!(panel.buttons.due_ns(), None);
    assert_eq!(panel.shown().presses, 1);
}

#[test]
fn bounces_make_neither_presses_nor_releases() {
    let mut panel = Panel::new(false);
    // A bump of 19 ms.
    panel.edges("record", &[100, 119]).until(1000);
    assert_eq!(panel.told(), [(100, Kind::Down), (139, Kind::Void)]);
    assert_eq!(panel.shown(), Shown::default());
    // A bouncing press and a bouncing release are one press.
    panel.edges("record", &[2000, 2003, 2005, 2009, 2010, 2200, 2204, 2206, 2211, 2212]).until(3000);
    assert_eq!(panel.told(), [(2000, Kind::Down), (2232, Kind::Short)]);
    // A contact that opens for a moment does not break a hold.
    panel.edges("record", &[4000, 4700, 4715, 5900]).until(6000);
    let told = panel.told();
    assert!(told.contains(&(5500, Kind::Long)), "{told:?}");
    assert!(!told.iter().any(|(_, kind)| matches!(kind, Kind::Short | Kind::HoldBroken)), "{told:?}");
    assert_eq!(panel.shown().presses, 2);
}

#[test]
fn a_contact_that_never_rests_is_no_press() {
    let mut panel = Panel::new(false);
    panel.edges("record", &[100, 110, 115, 125, 130, 140, 150, 160]).until(1000);
    assert_eq!(panel.told(), [(100, Kind::Down), (180, Kind::Void)]);
}

#[test]
fn a_hold_shows_how_far_it_is_and_is_long_at_its_end() {
    let mut panel = Panel::new(false);
    panel.edges("record", &[1000]).until(2499);
    let tenths: Vec<_> = (4..10_u16).map(|tenth| (1000 + u64::from(tenth) * 150, holding(tenth * 100))).collect();
    assert_eq!(panel.told(), [vec![(1000, Kind::Down), (1500, holding(300))], tenths].concat());
    assert_eq!(panel.until(2500).told(), [(2500, Kind::Long)]);
    panel.edge("record", false, 3000);
    assert_eq!(panel.until(9000).told(), [], "letting go after a long press means nothing");
}

#[test]
fn a_hold_let_go_before_the_end_is_neither_short_nor_long() {
    let mut panel = Panel::new(true);
    panel.edges("record", &[1000, 2499]).until(9000);
    let told = panel.told();
    assert_eq!(told.last(), Some(&(2519, Kind::HoldBroken)));
    assert!(!told.iter().any(|(_, kind)| matches!(kind, Kind::Short | Kind::Long | Kind::Double)), "{told:?}");
}

#[test]
fn two_presses_are_one_double_where_that_means_something() {
    let mut panel = Panel::new(true);
    panel.edges("record", &[1000, 1100, 1440, 1500]).until(9000);
    assert_eq!(panel.told(), [(1000, Kind::Down), (1440, Kind::Down), (1520, Kind::Double)]);
    // Too late.
    panel.edges("record", &[10_000, 10_100, 10_450, 10_500]).until(19_000);
    let late = [(10_000, Kind::Down), (10_450, Kind::Short), (10_450, Kind::Down), (10_850, Kind::Short)];
    assert_eq!(panel.told(), late);
    // Where it means nothing, nobody waits.
    let mut panel = Panel::new(false);
    panel.edges("record", &[1000, 1100, 1200, 1300]).until(9000);
    let both = [(1000, Kind::Down), (1120, Kind::Short), (1200, Kind::Down), (1320, Kind::Short)];
    assert_eq!(panel.told(), both);
}

#[test]
fn a_press_followed_by_a_hold_is_a_press_and_a_hold() {
    let mut panel = Panel::new(true);
    panel.edges("record", &[1000, 1100, 1200]).until(9000);
    let told = panel.told();
    assert_eq!(told[..4], [(1000, Kind::Down), (1200, Kind::Down), (1700, Kind::Short), (1700, holding(300))]);
    assert_eq!(told.last(), Some(&(2700, Kind::Long)));
    // A bounce in between is none of the two.
    panel.edge("record", false, 9100);
    panel.edges("record", &[9500, 9600, 9800, 9810]).until(19_000);
    assert!(panel.told().contains(&(9950, Kind::Short)), "{:?}", panel.told);
}

#[test]
fn two_buttons_together_are_a_chord_and_nothing_else() {
    let mut panel = Panel::new(false);
    panel.edge("record", true, 1000);
    panel.edge("mark", true, 1100);
    panel.until(5000);
    panel.edge("mark", false, 5000);
    panel.edge("record", false, 5100);
    panel.until(9000);
    let chord = Kind::Chord { with: button("mark") };
    let name = |name: &str| name.to_owned();
    let told = [(1000, name("record"), Kind::Down), (1100, name("mark"), Kind::Down), (1120, name("record"), chord)];
    assert_eq!(panel.told, told);
}

#[test]
fn what_has_become_a_hold_is_not_made_a_chord_by_a_bump() {
    let mut panel = Panel::new(false);
    panel.edge("record", true, 1000);
    panel.edge("mark", true, 1600);
    panel.edge("mark", false, 1700);
    panel.until(2500);
    assert!(panel.told.contains(&(1720, "mark".into(), Kind::Short)));
    assert_eq!(panel.told().last(), Some(&(2500, Kind::Long)));
}

#[test]
fn presses_that_only_touch_in_passing_are_no_chord() {
    let mut panel = Panel::new(false);
    panel.edge("record", true, 1000);
    panel.edge("mark", true, 1095);
    panel.edge("record", false, 1100);
    panel.edge("mark", false, 1200);
    panel.until(9000);
    assert_eq!(panel.told(), [(1000, Kind::Down), (1120, Kind::Short)]);
}

#[test]
fn a_button_that_nobody_lets_go_is_stuck() {
    let mut panel = Panel::new(false);
    panel.edges("record", &[1000]).until(30_999);
    assert!(!panel.shown().stuck);
    panel.told();
    assert_eq!(panel.until(100_000).told(), [(31_000, Kind::Stuck)]);
    assert!(panel.shown().stuck && panel.shown().pressed);
    assert_eq!(panel.buttons.due_ns(), None, "told once");
    panel.edge("record", false, 100_000);
    assert_eq!(panel.until(100_020).told(), [(100_020, Kind::Free)]);
    assert_eq!(panel.shown(), Shown { presses: 1, ..Shown::default() });
}

#[test]
fn a_button_that_chatters_is_ignored_until_it_is_quiet() {
    let mut panel = Panel::new(false);
    let edges: Vec<u64> = (0..30).map(|edge| 1000 + edge * 40).collect();
    panel.edges("record", &edges);
    let told = panel.told();
    assert_eq!(told.last(), Some(&(1800, Kind::Chatters)), "at the 21st edge");
    assert_eq!(told[told.len() - 2], (1780, Kind::Short));
    assert!(panel.shown().chattering && !panel.shown().pressed);
    assert_eq!(panel.until(4159).told(), []);
    assert_eq!(panel.until(4160).told(), [(4160, Kind::Quiet)]);
    panel.edges("record", &[5000, 5100]).until(6000);
    assert_eq!(panel.told(), [(5000, Kind::Down), (5120, Kind::Short)]);
}

#[test]
fn a_press_that_chatter_cut_short_is_void_and_what_is_down_after_it_means_nothing() {
    let mut panel = Panel::new(false);
    // Down, and open for 5 ms every 50 ms: held with a loose wire.
    let edges: Vec<u64> = (0..25).flat_map(|time| [1000 + time * 50, 1045 + time * 50]).collect();
    panel.edges("record", &edges[..49]);
    let told = panel.told();
    assert!(told.contains(&(1995, Kind::Chatters)), "{told:?}");
    assert!(told.contains(&(1995, Kind::Void)), "{told:?}");
    assert_eq!(panel.until(20_000).told(), [(4200, Kind::Quiet)]);
    assert!(panel.shown().pressed);
    assert_eq!(panel.until(60_000).told(), [(34_200, Kind::Stuck)]);
}

#[test]
fn fast_fingers_on_a_bouncing_contact_do_not_chatter() {
    let mut panel = Panel::new(false);
    for press in 0..5 {
        let at = 1000 + press * 250;
        panel.edges("record", &[at, at + 1, at + 2, at + 3, at + 4, at + 100, at + 101, at + 102, at + 103, at + 104]);
    }
    panel.until(9000);
    let told = panel.told();
    assert_eq!(told.iter().filter(|(_, kind)| *kind == Kind::Short).count(), 5, "{told:?}");
}

#[test]
fn a_device_that_goes_away_lets_go_without_a_press() {
    let mut panel = Panel::new(true);
    panel.edges("record", &[1000]).until(1800);
    panel.told();
    let told = panel.buttons.lost(&button("record"));
    panel.note(told);
    assert_eq!(panel.until(99_000).told(), [(1800, Kind::Void)]);
    assert_eq!(panel.shown(), Shown { presses: 1, ..Shown::default() });
    // What was let go before it went is told.
    panel.edges("record", &[100_000, 100_100]).until(100_200);
    panel.told();
    let told = panel.buttons.lost(&button("record"));
    panel.note(told);
    assert_eq!(panel.told(), [(100_200, Kind::Short)]);
    // So is what no longer holds.
    panel.edges("record", &[200_000]).until(240_000);
    panel.told();
    let told = panel.buttons.lost(&button("record"));
    panel.note(told);
    assert_eq!(panel.told(), [(240_000, Kind::Free)]);
}

#[test]
fn a_button_found_down_has_to_be_let_go_first() {
    let mut panel = Panel::new(false);
    panel.buttons.found_down(&button("record"), 1000 * MS_NS);
    panel.edge("record", true, 1001);
    assert_eq!(panel.until(5000).told(), []);
    panel.edge("record", false, 5000);
    assert_eq!(panel.until(6000).told(), []);
    panel.edges("record", &[6000, 6100]).until(7000);
    assert_eq!(panel.told(), [(6000, Kind::Down), (6120, Kind::Short)]);
}

#[test]
fn who_comes_late_tells_the_same() {
    let mut panel = Panel::new(false);
    // All edges are read at once, seconds later; none was ticked for.
    panel.edges("record", &[1000, 1100, 2000, 3900]).until(9000);
    let told = panel.told();
    assert_eq!(told[..2], [(1000, Kind::Down), (1120, Kind::Short)]);
    assert!(told.contains(&(3500, Kind::Long)), "{told:?}");
}

#[test]
fn strange_edges_do_no_harm() {
    let mut panel = Panel::new(false);
    panel.edge("nobody", true, 10);
    panel.edge("record", false, 20);
    panel.edge("record", true, 1000);
    panel.edge("record", true, 1010);
    // Time runs back.
    panel.edge("record", false, 900);
    panel.until(2000);
    assert_eq!(panel.told(), [(1000, Kind::Down), (1030, Kind::Void)]);
    assert_eq!(panel.buttons.shown(&button("nobody")), None);
    assert_eq!(panel.buttons.lost(&button("nobody")), []);
}

#[test]
fn a_button_without_debouncing_is_told_at_once() {
    let timing = Timing { debounce_ns: 0, hold_ns: 7, hold_from_ns: 0, ..Timing::default() };
    let buttons = [(button("record"), Wanted { timing, double: false })].into();
    let mut buttons = Buttons::new(Layout { buttons, chords: vec![[button("record"), button("record")]] });
    let mut kinds = |pressed, at_ns| {
        let told = buttons.edge(&Edge { button: button("record"), pressed, at_ns });
        told.into_iter().map(|told| told.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(true, 100)[..2], [Kind::Down, holding(0)]);
    assert_eq!(kinds(false, 200).last(), Some(&Kind::Long));
}

/// Edges of both buttons: which, and how long after the last one; from bounces to holds.
fn edges() -> impl Strategy<Value = Vec<(bool, bool, u64)>> {
    let gap = proptest::prop_oneof![4 => 0..25_u64, 4 => 15..120_u64, 2 => 100..800_u64, 1 => 500..3000_u64, 1 => 0..40_000_u64];
    proptest::collection::vec((any::<bool>(), any::<bool>(), gap), 0..60)
}

fn run(edges: &[(bool, bool, u64)], double: bool, tick_ms: u64) -> Vec<(u64, String, Kind)> {
    let mut panel = Panel::new(double);
    let mut at_ms = 0;
    for (which, pressed, gap_ms) in edges {
        let next_ms = at_ms + gap_ms;
        while tick_ms > 0 && at_ms + tick_ms < next_ms {
            at_ms += tick_ms;
            panel.until(at_ms);
        }
        at_ms = next_ms;
        panel.edge(if *which { "record" } else { "mark" }, *pressed, at_ms);
        let due_ns = panel.buttons.due_ns();
        assert!(due_ns.is_none_or(|due_ns| due_ns > at_ms * MS_NS), "due before it was told");
    }
    for name in ["mark", "record"] {
        panel.edge(name, false, at_ms + 1);
    }
    panel.until(at_ms + 100_000);
    assert_eq!(panel.buttons.due_ns(), None);
    assert!(panel.buttons.all().all(|(_, shown)| shown == Shown { presses: shown.presses, ..Shown::default() }));
    panel.told
}

/// Presses as the contact had them: closed for long enough.
fn closed_long_enough(edges: &[(bool, bool, u64)], which: bool) -> usize {
    let (mut at_ms, mut closed_ms, mut count) = (0, None, 0);
    let ends = [(which, false, 1)];
    for (of, pressed, gap_ms) in edges.iter().chain(&ends) {
        at_ms += gap_ms;
        match (closed_ms, pressed) {
            _ if *of != which => (),
            (None, true) => closed_ms = Some(at_ms),
            (Some(since_ms), false) => {
                count += usize::from(at_ms - since_ms >= 20);
                closed_ms = None;
            }
            _ => (),
        }
    }
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever edges come: every touch comes to one end, nothing that is shorter than the debounce time means anything, what is
    /// told to begin is told to end, and when it is looked at makes no difference.
    #[test]
    fn every_touch_comes_to_one_end(edges in edges(), double in any::<bool>()) {
        let told = run(&edges, double, 0);
        assert_eq!(told, run(&edges, double, 7), "other ticks, other gestures");
        assert!(told.is_sorted_by_key(|(at_ms, _, _)| *at_ms), "time runs back");
        for (name, which) in [("record", true), ("mark", false)] {
            let (mut open, mut void, mut meant, mut stuck, mut chatters) = (0_usize, 0, 0, 0, 0);
            for (_, of, kind) in &told {
                let ends = match kind {
                    Kind::Chord { with } if of == name || with.0 == name => 1,
                    _ if of != name => continue,
                    Kind::Down => { open += 1; 0 }
                    Kind::Void => { void += 1; 1 }
                    Kind::Short | Kind::HoldBroken | Kind::Long => 1,
                    Kind::Double => 2,
                    Kind::Holding { .. } => { assert!(open > 0, "a hold of nothing"); 0 }
                    Kind::Stuck => { stuck += 1; 0 }
                    Kind::Free => { stuck -= 1; 0 }
                    Kind::Chatters => { chatters += 1; 0 }
                    Kind::Quiet => { chatters -= 1; 0 }
                    Kind::Chord { .. } => 0,
                };
                meant += if *kind == Kind::Void { 0 } else { ends };
                assert!(open >= ends, "an end without a touch: {told:?}");
                open -= ends;
                assert!(open <= 2 && (0..2).contains(&stuck) && (0..2).contains(&chatters), "{told:?}");
            }
            assert_eq!((open, stuck, chatters), (0, 0, 0), "{told:?}");
            assert!(meant <= closed_long_enough(&edges, which), "{meant} of bounces, {void} void: {told:?}");
        }
    }
}
