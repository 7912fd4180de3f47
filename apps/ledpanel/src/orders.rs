//! What a gesture asks of the recorder: the pure core between fingers and the bus.
//!
//! A press is acknowledged before anything else. What it means is decided by what the recorder did when the button went down,
//! since that is what the light showed. A press that can't be answered at once is kept for a while and asked again: a Start
//! under its token, so that it begins one session however often it is sent, and a Stop with the name of the session it was meant
//! for, so that one that comes late can't end the next. It ends in being done, or in a [`Command::Refuse`].

use std::collections::BTreeMap;

use crate::buttons::{Gesture, Kind};
use crate::model::Button;
use crate::snapshot::Snapshot;

mod belief;
mod kept;
mod order;
mod types;

use belief::{Belief, Stand};
use kept::Kept;
use order::Target;
pub use types::{Action, Answer, Call, Command, Deeds, Plan, Settings, Why, Wish};

/// A press that goes on.
#[derive(Debug)]
struct Press {
    /// What it met.
    met: Stand,
    /// What holding it means, once it is held.
    held: Option<Action>,
    /// What it means has been done.
    spent: bool,
}

/// From gestures to commands.
#[derive(Debug)]
pub struct Orders {
    buttons: BTreeMap<Button, Plan>,
    chord: Action,
    seed: u64,
    tokens: u64,
    belief: Belief,
    presses: BTreeMap<Button, Press>,
    kept: Kept,
}

impl Orders {
    /// Nothing is known of the recorder. `seed`: random, another one for every run of the panel, for tokens that are never the
    /// same again.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        Self {
            buttons: settings.buttons,
            chord: settings.chord,
            seed,
            tokens: 0,
            belief: Belief::default(),
            presses: BTreeMap::new(),
            kept: Kept::new(settings.keep_ns, settings.retry_ns, settings.mark),
        }
    }

    /// The recorder was heard of, or (`None`) it is silent or gone. To be told of all that is read, changed or not: an answer is
    /// believed until news are newer.
    pub fn known(&mut self, now_ns: u64, snapshot: Option<&Snapshot>) -> Vec<Command> {
        let mut commands = Vec::new();
        let back = self.belief.news(snapshot);
        self.kept.news(now_ns, &self.belief, back, &mut commands);
        self.kept.work(now_ns, &self.belief, &mut commands);
        commands
    }

    /// A button has said something.
    pub fn gesture(&mut self, now_ns: u64, gesture: &Gesture) -> Vec<Command> {
        let mut commands = Vec::new();
        let button = &gesture.button;
        if gesture.kind == Kind::Down {
            commands.push(Command::Acknowledge(button.clone()));
            let press = Press { met: self.kept.correct(self.belief.stand()), held: None, spent: false };
            if self.buttons.contains_key(button) {
                self.presses.insert(button.clone(), press);
            }
        }
        if let Kind::Chord { with } = &gesture.kind {
            self.presses.remove(button);
            self.presses.remove(with);
            let met = self.kept.correct(self.belief.stand());
            self.act(now_ns, self.chord, met, &mut commands);
        } else {
            self.pressed(now_ns, button, &gesture.kind, &mut commands);
        }
        self.kept.work(now_ns, &self.belief, &mut commands);
        commands
    }

    /// A call has ended.
    pub fn answered(&mut self, now_ns: u64, id: u64, answer: Answer) -> Vec<Command> {
        let mut commands = Vec::new();
        self.kept.answered(now_ns, id, answer, &mut self.belief, &mut commands);
        self.kept.work(now_ns, &self.belief, &mut commands);
        commands
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ns: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        self.kept.work(now_ns, &self.belief, &mut commands);
        commands
    }

    /// When [`tick`](Self::tick) has something to do. `None`: not before something is heard.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        self.kept.due_ns()
    }

    /// Presses that are not answered yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.kept.len()
    }

    fn pressed(&mut self, now_ns: u64, button: &Button, kind: &Kind, commands: &mut Vec<Command>) {
        let Some(plan) = self.buttons.get(button) else { return };
        let Some(press) = self.presses.get_mut(button) else { return };
        let now = self.kept.correct(self.belief.stand());
        let met = match &press.met {
            Stand::Idle | Stand::Active(Some(_)) | Stand::Stopping(Some(_)) => press.met.clone(),
            // What it was recording it will go on with, whatever it says while it comes back.
            Stand::Unknown { last: Some(_) } => press.met.clone(),
            // By now it may be known better.
            Stand::Unknown { last: None } | Stand::Asked | Stand::Active(None) | Stand::Stopping(None) => now,
        };
        let quick = if matches!(met, Stand::Active(_)) { plan.recording } else { plan.idle };
        let long = if press.met == Stand::Idle { plan.idle.long } else { plan.recording.long };
        let button = button.clone();
        let action = match kind {
            // A double press that means nothing is a short one.
            Kind::Short => quick.short,
            Kind::Double if quick.double == Action::Nothing => quick.short,
            Kind::Double => quick.double,
            Kind::Void if press.held.is_some() && !press.spent => {
                return commands.push(Command::Feedback { button, permille: 0 });
            }
            Kind::Holding { .. } | Kind::HoldBroken | Kind::Long if !press.spent => {
                let held = *press.held.get_or_insert(long);
                let may_be_new = matches!(press.met, Stand::Unknown { last: None });
                match kind {
                    // And so is a hold.
                    _ if held == Action::Nothing => {
                        press.spent = true;
                        quick.short
                    }
                    Kind::Holding { permille } => {
                        return commands.push(Command::Feedback { button, permille: *permille });
                    }
                    Kind::Long => {
                        press.spent = true;
                        commands.push(Command::Feedback { button, permille: 1000 });
                        if held == Action::Stop && met == Stand::Idle && press.met != Stand::Idle {
                            return self.act(now_ns, held, Stand::Active(None), commands);
                        }
                        held
                    }
                    _ => {
                        commands.push(Command::Feedback { button, permille: 0 });
                        // With nothing heard of any recording, who presses slowly wants one.
                        if may_be_new { quick.short } else { return }
                    }
                }
            }
            _ => return,
        };
        self.act(now_ns, action, met, commands);
    }

    fn act(&mut self, now_ns: u64, action: Action, met: Stand, commands: &mut Vec<Command>) {
        match (action, met) {
            (Action::Nothing, _) => (),
            (Action::Identify, _) => commands.push(Command::Identify),
            (Action::LampTest, _) => commands.push(Command::LampTest),

            (Action::Start, _)
            | (Action::Toggle, Stand::Idle | Stand::Asked | Stand::Stopping(_) | Stand::Unknown { .. }) => {
                let (seed, tokens) = (self.seed, &mut self.tokens);
                let token = || {
                    *tokens += 1;
                    format!("panel-{seed:016x}-{tokens}")
                };
                self.kept.start(now_ns, token, commands);
            }

            (Action::Stop | Action::Toggle, Stand::Active(Some(session)))
            | (Action::Stop, Stand::Unknown { last: Some(session) } | Stand::Stopping(Some(session))) => {
                self.kept.stop(now_ns, Target::Session(session), commands);
            }
            (Action::Stop | Action::Toggle, Stand::Active(None)) | (Action::Stop, Stand::Unknown { last: None }) => {
                self.kept.stop(now_ns, Target::Shown { since_ns: now_ns }, commands);
            }
            (Action::Stop, Stand::Asked) => {
                self.kept.stop_asked(now_ns, commands);
                // What is seen is meant too: our Start may be long over, or come second.
                if let Stand::Active(Some(session)) = self.belief.stand() {
                    self.kept.stop(now_ns, Target::Session(session), commands);
                }
            }
            (Action::Stop, Stand::Stopping(None)) => self.kept.stop_again(now_ns),

            (Action::Mark, Stand::Active(session)) => self.kept.mark(now_ns, session, commands),
            (Action::Mark, Stand::Asked | Stand::Unknown { .. }) => self.kept.mark(now_ns, None, commands),
            (Action::Stop, Stand::Idle) | (Action::Mark, Stand::Idle | Stand::Stopping(_)) => {
                commands.push(Command::Refuse(Why::NothingRecording));
            }
        }
    }
}

#[cfg(test)]
mod tests;
