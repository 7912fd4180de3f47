//! What devices have in common whose buttons and lights are wired one by one: lines, pins, LEDs, keys.

use std::collections::BTreeSet;

use holdfast_settings::texts::nearest;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::model::{Button, Edge, Frame, Light, Part, Shade};
use crate::patterns::fault_frame;

/// Names that a message lists before it says how many more there are.
const LISTED: usize = 24;
/// From here on a part of a colour is on, where it can only be on or off: amber has half a green, and is no red.
const PART_ON: u8 = 64;

/// How bright something lights that shows `shade`: all of it, or one part of its colour. 0 is off.
#[must_use]
pub fn level(shade: Shade, part: Option<Part>) -> u8 {
    let [red, green, blue] = shade.colour.rgb();
    let share = match part {
        None => u8::MAX,
        Some(Part::Red) => red,
        Some(Part::Green) => green,
        Some(Part::Blue) => blue,
    };
    scaled(shade.level, u32::from(share)).try_into().unwrap_or(u8::MAX)
}

/// Whether something lights that can only be on or off.
#[must_use]
pub fn is_on(shade: Shade, part: Option<Part>) -> bool {
    shade.level > 0 && level(Shade { level: u8::MAX, ..shade }, part) >= PART_ON
}

/// A level of 0 to 255 as one of 0 to `max`. What is not off stays so, be it ever so dim.
#[must_use]
pub fn scaled(level: u8, max: u32) -> u32 {
    if level == 0 || max == 0 {
        return 0;
    }
    let full = u64::from(u8::MAX);
    let scaled = (u64::from(level) * u64::from(max) + full / 2) / full;
    u32::try_from(scaled).unwrap_or(max).clamp(1, max)
}

/// What a light shows that nobody drives any more, where it can't blink by itself: dark, as
/// [`patterns::fault_frame`](crate::patterns::fault_frame) has it. A light that is steadily on would claim something.
#[must_use]
pub fn fault(light: &Light) -> Shade {
    fault_frame([light]).shade(light)
}

/// What there is instead of `wanted`, as the end of a sentence: the one that may have been meant, and a list.
#[must_use]
pub fn there_is(wanted: &str, there: &[String]) -> String {
    if there.is_empty() {
        return "there is none".to_owned();
    }
    let listed = there.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let more = there.len().saturating_sub(LISTED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    match nearest(wanted, there.iter().map(String::as_str)) {
        Some(near) => format!("did you mean \"{near}\"? There are: {listed}{more}"),
        None => format!("there are: {listed}{more}"),
    }
}

/// Waits for the next frame. When nobody makes any more frames, the panel is ending and drops the device: forever.
pub(super) async fn changed(frames: &mut watch::Receiver<Frame>) {
    if frames.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What was told of each button, so that nothing is told twice and no button stays down when its device is lost.
pub(super) struct Told {
    edges: mpsc::Sender<Edge>,
    down: BTreeSet<Button>,
}

impl Told {
    pub(super) fn new(edges: mpsc::Sender<Edge>) -> Self {
        Self { edges, down: BTreeSet::new() }
    }

    /// Tells how a button is, if it is not known. Waits while the channel is full.
    pub(super) async fn tell(&mut self, button: &Button, pressed: bool, at_ns: u64) {
        let news = if pressed { self.down.insert(button.clone()) } else { self.down.remove(button) };
        if news {
            // Nobody listens any more: the panel is ending.
            drop(self.edges.send(Edge { button: button.clone(), pressed, at_ns }).await);
        }
    }

    /// Tells that all buttons are up. A device that is lost with a button down must not make a long press of it: that
    /// would stop a recording because a cable was pulled.
    pub(super) async fn let_go(&mut self) {
        let at_ns = clock::mono_ns();
        for button in std::mem::take(&mut self.down) {
            drop(self.edges.send(Edge { button, pressed: false, at_ns }).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::model::Colour;

    fn shade(colour: Colour, level: u8) -> Shade {
        Shade { colour, level }
    }

    #[test]
    fn levels_reach_both_ends() {
        for max in [1, 2, 7, 15, 100, 255, 1023, u32::MAX] {
            assert_eq!((scaled(0, max), scaled(1, max) >= 1, scaled(255, max)), (0, true, max));
        }
        assert_eq!((scaled(128, 255), scaled(128, 100), scaled(1, 1), scaled(9, 0)), (128, 50, 1, 0));
    }

    proptest! {
        #[test]
        fn brighter_is_never_dimmer(one: u8, other: u8, max in any::<u32>()) {
            let (dim, bright) = (one.min(other), one.max(other));
            assert!(scaled(dim, max) <= scaled(bright, max));
            assert!(scaled(bright, max) <= max);
        }
    }

    #[test]
    fn parts_of_colours() {
        let amber = shade(Colour::Amber, 255);
        let parts = |shade| [Part::Red, Part::Green, Part::Blue].map(|part| level(shade, Some(part)));
        assert_eq!(parts(amber), [255, 110, 0]);
        assert_eq!(parts(shade(Colour::White, 10)), [10, 10, 10]);
        assert_eq!(parts(shade(Colour::Blue, 0)), [0, 0, 0]);
        assert_eq!(level(shade(Colour::Blue, 77), None), 77);
        let on = |shade| [Part::Red, Part::Green, Part::Blue].map(|part| is_on(shade, Some(part)));
        assert_eq!(on(amber), [true, true, false]);
        // Dim is on, too: there is no half for what is on or off.
        assert_eq!(on(shade(Colour::Amber, 1)), [true, true, false]);
        assert_eq!(on(shade(Colour::White, 0)), [false, false, false]);
        assert!(is_on(shade(Colour::Green, 1), None));
    }

    #[test]
    fn a_fault_records_nothing() {
        assert_eq!(fault(&Light::Record).level, 0);
        assert_eq!(fault(&Light::RecordInput("cam0".to_owned())).level, 0);
        assert_eq!(fault(&Light::Status).level, 0, "steady would mean ready");
    }

    #[test]
    fn says_what_may_have_been_meant() {
        let there = ["BTN_REC", "LED_STATUS"].map(str::to_owned);
        assert_eq!(there_is("btn_rec", &there), "did you mean \"BTN_REC\"? There are: BTN_REC, LED_STATUS");
        assert_eq!(there_is("something", &there), "there are: BTN_REC, LED_STATUS");
        assert_eq!(there_is("something", &[]), "there is none");
        let many: Vec<String> = (0..30).map(|number| format!("line-{number}-of-the-chip")).collect();
        assert!(there_is("x", &many).ends_with("line-23-of-the-chip and 6 more"));
        assert_eq!(nearest("A", ["B"].into_iter()), None);
    }

    #[tokio::test]
    async fn tells_news_only_and_lets_go() {
        let (edges, mut told) = mpsc::channel(8);
        let button = Button("record".to_owned());
        let mut held = Told::new(edges);
        held.tell(&button, false, 1).await;
        held.tell(&button, true, 2).await;
        held.tell(&button, true, 3).await;
        held.let_go().await;
        held.let_go().await;
        drop(held);
        let mut seen = vec![];
        while let Some(edge) = told.recv().await {
            seen.push((edge.pressed, edge.at_ns));
        }
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], (true, 2));
        assert!(!seen[1].0 && seen[1].1 > 2);
    }
}
