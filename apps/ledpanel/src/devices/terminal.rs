//! A panel in the terminal: lights as discs that blink, keys for buttons. For the demo, and for a box without a panel.
//!
//! Most terminals tell that a key was pressed, and not that it was let go. Those with the kitty keyboard protocol do,
//! and there a key is held as a button is. Elsewhere a key taps its button, and `s` holds it; the screen says which.
//!
//! The screen is drawn by a thread of its own: a terminal that takes no more (a stopped ssh) holds up nothing else.

mod keys;
mod screen;
mod view;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Device, DeviceError, Io};
use crate::clock;
use crate::model::{Button, Edge, Light};
use keys::{Keys, Outcome};
use screen::Screen;
use view::History;

/// While something blinks, the strips move this often.
const STRIP_STEP: Duration = Duration::from_millis(100);

/// What the panel in the terminal has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalConfig {
    /// Buttons and their keys. The space bar is `record` too.
    pub buttons: Vec<(Button, char)>,
    /// Lights that are shown even before they are in a frame.
    pub lights: Vec<Light>,
    /// `panel.hold_ms`: how long `s` holds the record button at least, in terminals that do not tell when a key is let
    /// go.
    pub hold_ms: u64,
    /// `panel.debounce_ms`: a tap must last longer.
    pub debounce_ms: u64,
}

/// A panel in this process's terminal. There can be one.
#[derive(Debug)]
pub struct Terminal {
    config: TerminalConfig,
    quit: Arc<Notify>,
}

impl Terminal {
    /// As configured. `quit` is notified when the person wants the program to end; until it does, the panel stays on
    /// the screen.
    #[must_use]
    pub fn new(config: TerminalConfig, quit: Arc<Notify>) -> Self {
        Self { config, quit }
    }

    async fn run(&self, io: Io) -> Result<Infallible, DeviceError> {
        let Io { mut frames, edges, works } = io;
        suitable()?;
        let (mut screen, releases) = Screen::open().await?;
        // After the screen: what it asks the terminal is answered on the same line as the keys come in.
        let mut events = EventStream::new();
        let mut keys = Keys::new(&self.config, releases);
        let mut history = History::default();
        let held: &mut BTreeMap<Button, bool> = &mut BTreeMap::new();
        let mut next_step = Instant::now();
        loop {
            let now_ns = clock::mono_ns();
            let frame = frames.borrow_and_update().clone();
            history.note(&frame, now_ns);
            let drawn = screen.show(view::View::new(&self.config, &frame, &history, held, releases, now_ns))?;
            if drawn {
                works.send_if_modified(|works| !std::mem::replace(works, true));
            }
            let due = keys.due_ns().map(|due_ns| Instant::now() + Duration::from_nanos(due_ns.saturating_sub(now_ns)));
            let moves = !drawn || history.moves(now_ns);
            let outcome = tokio::select! {
                changed = frames.changed() => {
                    if changed.is_err() {
                        return Err(DeviceError::new("the panel no longer tells the terminal what to show", "start it again"));
                    }
                    continue;
                }
                event = events.next() => match event {
                    Some(Ok(event)) => self.of(&event, &mut keys),
                    Some(Err(error)) => return Err(lost(&error.to_string())),
                    None => return Err(lost("it is closed")),
                },
                () = sleep_until(due.unwrap_or(next_step)), if due.is_some() => keys.time(clock::mono_ns()),
                () = sleep_until(next_step), if moves => {
                    next_step = Instant::now() + STRIP_STEP;
                    continue;
                }
            };
            for (button, pressed) in outcome.edges {
                held.insert(button.clone(), pressed);
                let edge = Edge { button, pressed, at_ns: clock::mono_ns() };
                if edges.send(edge).await.is_err() {
                    return Err(DeviceError::new("the panel no longer takes keys of the terminal", "start it again"));
                }
            }
            if outcome.quit {
                self.quit.notify_one();
            }
        }
    }

    fn of(&self, event: &Event, keys: &mut Keys) -> Outcome {
        match event {
            Event::Key(key) => keys.key(key, clock::mono_ns()),
            // What is let go in another window is not told here.
            Event::FocusLost => keys.let_go_of_all(),
            _ => Outcome::default(),
        }
    }
}

impl Device for Terminal {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        Box::pin(self.run(io))
    }

    /// Nothing to leave: the terminal is its shell's again, and shows no light at all.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// There is a terminal, and nothing else writes on it.
fn suitable() -> Result<(), DeviceError> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(DeviceError::new(
            "there is no terminal to show a panel in",
            "run it in one, or remove the device of kind \"terminal\"",
        ));
    }
    if std::io::stderr().is_terminal() {
        return Err(DeviceError::new(
            "the log would be written over the panel in the terminal",
            "send it elsewhere: add 2>panel.log to the command",
        ));
    }
    Ok(())
}

fn lost(why: &str) -> DeviceError {
    DeviceError::new(format!("the terminal can't be read: {why}"), "run it in another terminal")
}
