//! Keys pressed in the terminal.

use std::sync::mpsc::{Receiver, sync_channel};

use anyhow::{Context, bail};
use console::Term;

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Record,
    Mark,
    Kill,
    Quit,
}

/// A thread that waits for keys.
pub struct Keys(Receiver<Key>);

impl Keys {
    /// Keys come from a terminal.
    pub fn must_be_there() -> anyhow::Result<()> {
        if !console::user_attended() {
            bail!("--interactive takes a terminal");
        }
        Ok(())
    }

    pub fn listen() -> anyhow::Result<Self> {
        let terminal = Term::stderr();
        // When full, the thread waits: nobody presses that fast, and no key is lost.
        let (sender, receiver) = sync_channel(16);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || {
                loop {
                    let key = match terminal.read_key() {
                        Ok(console::Key::Char(' ' | 'r')) => Key::Record,
                        Ok(console::Key::Char('m')) => Key::Mark,
                        Ok(console::Key::Char('k')) => Key::Kill,
                        // A terminal that is gone ends the demo, as Ctrl-C does.
                        Ok(console::Key::Char('q') | console::Key::Escape) | Err(_) => Key::Quit,
                        Ok(_) => continue,
                    };
                    if sender.send(key).is_err() || key == Key::Quit {
                        return;
                    }
                }
            })
            .context("no thread for keys")?;
        Ok(Self(receiver))
    }

    /// A key that was pressed since.
    pub fn next(&self) -> Option<Key> {
        self.0.try_recv().ok()
    }
}
