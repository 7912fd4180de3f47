//! What follows from gestures, answers and calls from the bus.

use tracing::{info, warn};

use super::{Engine, Held};
use crate::bus::Ask;
use crate::buttons::{Gesture, Kind};
use crate::clock;
use crate::model::Edge;
use crate::orders::{Answer, Command};
use crate::patterns::{self, Feedback, LAMP_TEST_NS, Span};

/// For how long a button on the panel makes the box show itself.
const IDENTIFY_NS: u64 = 10_000_000_000;

impl Engine {
    pub(super) fn gestures(&mut self, gestures: Vec<Gesture>) {
        for gesture in gestures {
            let name = match gesture.kind {
                Kind::Short => Some("short"),
                Kind::Double => Some("double"),
                Kind::Long => Some("long"),
                Kind::Chord { .. } => Some("chord"),
                Kind::Stuck => {
                    warn!(button = %gesture.button, "stuck: it has been down for longer than anybody presses; look at it");
                    None
                }
                Kind::Chatters => {
                    warn!(button = %gesture.button, "chatters, and is ignored until it is quiet; look at its contact and wire");
                    None
                }
                _ => None,
            };
            let commands = self.orders.gesture(clock::mono_ns(), &gesture);
            self.act(commands);
            if let Some(name) = name {
                info!(button = %gesture.button, gesture = name, "pressed");
                let _ = self.wires.pressed.try_send((gesture.button, name));
            }
        }
    }

    pub(super) fn act(&mut self, commands: Vec<Command>) {
        for command in commands {
            let now_ns = clock::mono_ns();
            match command {
                Command::Acknowledge(_) => {
                    let answer = patterns::acknowledge(&self.conditions, &self.extras, &self.look, now_ns);
                    self.extras.feedback = Some(answer);
                    // Now, before anything is asked of anybody.
                    self.light(now_ns);
                }
                Command::Feedback { permille, .. } => {
                    let hold_ns = self.settings.hold_ns;
                    self.extras.feedback = Feedback::held(self.extras.feedback, permille, hold_ns, now_ns);
                }
                Command::Call { id, call } => {
                    if self.wires.calls.try_send((id, call)).is_err() {
                        let more = self.orders.answered(now_ns, id, Answer::Unreachable);
                        self.act(more);
                    }
                }
                Command::Refuse(why) => {
                    warn!("a press leads to nothing: {why}");
                    self.extras.feedback = Some(Feedback::Refused { from_ns: now_ns });
                }
                Command::Identify => self.extras.identify = Some(span(now_ns, IDENTIFY_NS)),
                Command::LampTest => self.extras.lamp_test = Some(span(now_ns, LAMP_TEST_NS)),
            }
        }
    }

    pub(super) fn asked(&mut self, ask: Ask) {
        let now_ns = clock::mono_ns();
        match ask {
            Ask::Identify(time) if time.is_zero() => self.extras.identify = None,
            Ask::Identify(time) => {
                self.extras.identify = Some(span(now_ns, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)));
            }
            Ask::LampTest => self.extras.lamp_test = Some(span(now_ns, LAMP_TEST_NS)),
            Ask::Brightness(percent) => self.look.brightness = percent,
            Ask::Press { button, hold, done } => {
                info!(%button, hold_ms = hold.as_millis(), "pressed by a program");
                let gestures = self.buttons.edge(&Edge { button: button.clone(), pressed: true, at_ns: now_ns });
                self.gestures(gestures);
                let due_ns = now_ns.saturating_add(u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX));
                self.held.push(Held { button, is_down: true, due_ns, done });
            }
        }
    }
}

fn span(from_ns: u64, length_ns: u64) -> Span {
    Span { from_ns, until_ns: from_ns.saturating_add(length_ns) }
}
