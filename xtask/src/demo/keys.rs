//! The terminal before and after the panel has it.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use anyhow::{Context, bail};
use console::Term;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    GoOn,
    Quit,
}

/// A thread that waits for one key.
pub struct Keys(Receiver<Key>);

impl Keys {
    /// Keys come from a terminal, and the panel is shown in one.
    pub fn must_be_there() -> anyhow::Result<()> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            bail!(
                "--interactive takes a terminal for the panel: call it in one, without a pipe or redirection; without \
                 --interactive the demo needs none"
            );
        }
        Ok(())
    }

    pub fn listen() -> anyhow::Result<Self> {
        let terminal = Term::stderr();
        // One word. Full: never, it is said once.
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || {
                let key = loop {
                    match terminal.read_key() {
                        Ok(console::Key::Enter | console::Key::Char(' ')) => break Key::GoOn,
                        // A terminal that is gone ends the demo, as Ctrl-C does.
                        Ok(console::Key::Char('q') | console::Key::Escape) | Err(_) => break Key::Quit,
                        Ok(_) => {}
                    }
                };
                // Nobody waits any more: the demo ends.
                let _ = sender.send(key);
            })
            .context("no thread for keys")?;
        Ok(Self(receiver))
    }

    /// The key that was pressed, if one was. The thread no longer reads then.
    pub fn pressed(&self) -> Option<Key> {
        match self.0.try_recv() {
            Ok(key) => Some(key),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Key::Quit),
        }
    }
}

/// How the terminal was; put back when dropped, whatever a thread or a program has made of it.
pub struct Kept {
    termios: Option<Termios>,
}

impl Kept {
    pub fn now() -> Self {
        Self { termios: tcgetattr(std::io::stdin()).ok() }
    }

    /// Leaves the screen of a panel that was killed before it could do so itself.
    pub fn leave_screen(&self) {
        // Keyboard and focus as before, the screen that was there, the cursor. A terminal that is gone needs none of it.
        let mut out = std::io::stdout();
        let _ = out.write_all(b"\x1b[<1u\x1b[?1004l\x1b[?1049l\x1b[?25h");
        let _ = out.flush();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(termios) = &self.termios {
            // Of a terminal that is gone, nothing can be put back.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, termios);
        }
    }
}
