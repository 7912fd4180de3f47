//! Where all of it comes together: edges, what the recorder says and the passing of time go through the pure cores, and out come
//! frames for the devices and calls for the recorder.
//!
//! One task that waits for nothing but the next event: never for a device, the bus or the recorder. It wakes when something changes,
//! not to look whether something has.

mod acts;
mod shows;

use std::time::Duration;

use holdfast_dbus::Reported;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep;

use crate::bus::{Ask, Pressed, Shown};
use crate::buttons::Buttons;
use crate::clock;
use crate::config::Night;
use crate::devices::supervise;
use crate::model::{Button, Edge, Frame};
use crate::orders::{Answer, Orders};
use crate::patterns::{self, Extras, Look};
use crate::recorder::Numbered;
use crate::snapshot::Snapshot;
use crate::trouble::Troubles;
use crate::truth::{Condition, Conditions, Truth};

/// It turns at least this often: so that it can show the watchdog that it does.
const TURN_NS: u64 = 1_000_000_000;
/// How often it is looked whether it is night.
const NIGHT_LOOK_NS: u64 = 30_000_000_000;

/// A device as it is shown.
#[derive(Debug)]
pub struct Known {
    /// By its name in `panel.toml`.
    pub name: String,
    /// Its kind there.
    pub kind: &'static str,
    /// How it is.
    pub state: watch::Receiver<supervise::State>,
}

/// What the engine is connected to.
#[derive(Debug)]
pub struct Wires {
    /// From devices.
    pub edges: mpsc::Receiver<Edge>,
    /// Buttons whose device has gone.
    pub gone: mpsc::Receiver<Button>,
    /// What the recorder says.
    pub snapshots: watch::Receiver<Option<Snapshot>>,
    /// What it is asked. Full (16): that counts as not reached, and is asked again.
    pub calls: mpsc::Sender<Numbered>,
    /// How that went.
    pub answers: mpsc::Receiver<(u64, Answer)>,
    /// From the bus.
    pub asks: mpsc::Receiver<Ask>,
    /// To the bus.
    pub shown: watch::Sender<Shown>,
    /// To the bus. Full (16): nobody takes them; the newest are left out.
    pub pressed: mpsc::Sender<Pressed>,
    /// To the devices.
    pub frames: watch::Sender<Frame>,
    /// What is wrong with the panel itself, to the recorder.
    pub reports: watch::Sender<Vec<Reported>>,
}

/// What is configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// When lights are dimmed.
    pub night: Option<Night>,
    /// Minutes since midnight, by the wall clock where the box stands.
    pub minute: fn() -> u16,
    /// How long a hold takes, nanoseconds: for its feedback.
    pub hold_ns: u64,
    /// After so long a button that has come up is up, and no bounce, nanoseconds.
    pub settle_ns: u64,
}

/// A button that a program presses.
#[derive(Debug)]
struct Held {
    button: Button,
    /// It is down; else it has come up, and settles.
    is_down: bool,
    /// When it comes up, or has settled.
    due_ns: u64,
    /// Whoever waits for that.
    done: oneshot::Sender<()>,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    wires: Wires,
    settings: Settings,
    devices: Vec<Known>,
    buttons: Buttons,
    orders: Orders,
    truth: Truth,
    look: Look,
    extras: Extras,
    conditions: Conditions,
    /// Buttons that a program presses.
    held: Vec<Held>,
    night_due_ns: u64,
    troubles: Troubles,
}

impl Engine {
    /// Nothing has happened yet: the panel shows a fault until the recorder is heard of.
    #[must_use]
    pub fn new(
        wires: Wires,
        settings: Settings,
        devices: Vec<Known>,
        buttons: Buttons,
        orders: Orders,
        look: Look,
    ) -> Self {
        Self {
            wires,
            settings,
            devices,
            buttons,
            orders,
            truth: Truth::new(),
            look,
            extras: Extras::default(),
            conditions: Conditions::default(),
            held: Vec::new(),
            night_due_ns: 0,
            troubles: Troubles::default(),
        }
    }

    /// Runs until all that it is connected to has ended. `turned` is called with every turn.
    pub async fn run(mut self, mut turned: impl FnMut()) {
        loop {
            turned();
            let now_ns = clock::mono_ns();
            self.pass(now_ns);
            let pause = Duration::from_nanos(self.due_ns(now_ns).saturating_sub(clock::mono_ns()));
            tokio::select! {
                // Fingers first: a press is acknowledged before anything else is looked at.
                biased;
                Some(edge) = self.wires.edges.recv() => self.edges(edge),
                Some(button) = self.wires.gone.recv() => {
                    let gestures = self.buttons.lost(&button);
                    self.gestures(gestures);
                }
                Some((id, answer)) = self.wires.answers.recv() => {
                    let commands = self.orders.answered(clock::mono_ns(), id, answer);
                    self.act(commands);
                }
                Ok(()) = self.wires.snapshots.changed() => self.hear(),
                Some(ask) = self.wires.asks.recv() => self.asked(ask),
                () = sleep(pause) => {}
                else => return,
            }
        }
    }

    /// All edges that wait: in the order in which they came.
    fn edges(&mut self, first: Edge) {
        let mut next = Some(first);
        while let Some(edge) = next {
            let gestures = self.buttons.edge(&edge);
            self.gestures(gestures);
            next = self.wires.edges.try_recv().ok();
        }
    }

    fn hear(&mut self) {
        let snapshot = self.wires.snapshots.borrow_and_update().clone();
        if let Some(snapshot) = snapshot {
            self.truth.hear(snapshot);
        }
    }

    /// Time passes: what is due is done, and what holds is shown.
    fn pass(&mut self, now_ns: u64) {
        while let Some(index) = self.held.iter().position(|held| held.due_ns <= now_ns) {
            let held = self.held.swap_remove(index);
            if !held.is_down {
                // The next press is another one now, and no bounce of this one.
                let _ = held.done.send(());
                continue;
            }
            let up = Edge { button: held.button.clone(), pressed: false, at_ns: held.due_ns };
            let settled_ns = now_ns.saturating_add(self.settings.settle_ns);
            self.held.push(Held { is_down: false, due_ns: settled_ns, ..held });
            let gestures = self.buttons.edge(&up);
            self.gestures(gestures);
        }
        let gestures = self.buttons.tick(now_ns);
        self.gestures(gestures);
        self.conditions = self.truth.conditions(now_ns);
        let is_heard = !self.conditions.whole.contains_key(&Condition::Fault);
        let commands = {
            let snapshot = self.wires.snapshots.borrow();
            self.orders.known(now_ns, snapshot.as_ref().filter(|_| is_heard))
        };
        self.act(commands);
        let commands = self.orders.tick(now_ns);
        self.act(commands);
        if now_ns >= self.night_due_ns {
            self.night_due_ns = now_ns + NIGHT_LOOK_NS;
            self.look.night = self
                .settings
                .night
                .filter(|night| night.holds_at((self.settings.minute)()))
                .map(|night| night.brightness);
        }
        self.look_at_devices(now_ns);
        self.show(now_ns, is_heard);
    }

    /// When something is to be done if nothing happens until then.
    fn due_ns(&self, now_ns: u64) -> u64 {
        let change = patterns::next_change_ns(&self.conditions, &self.extras, &self.look, now_ns);
        let held = self.held.iter().map(|held| held.due_ns).min();
        let cores = [self.buttons.due_ns(), self.orders.due_ns(), self.truth.due_ns(now_ns), change, held];
        cores.into_iter().flatten().chain([now_ns + TURN_NS]).min().unwrap_or(now_ns)
    }
}
