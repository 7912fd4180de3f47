//! A small display on I²C with two lines of text: characters (HD44780 behind a PCF8574 expander) or dots (SSD1306).
//!
//! It shows [`Frame::text`](crate::model::Frame::text) and nothing else. I²C calls block, so a thread does them. It is
//! handed the newest text only, and the next when it has said that the last one is shown. A bus that hangs holds up
//! that thread and nobody else; as long as it does, no second one is started.

mod screen;
mod ssd1306;
mod text;

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use self::text::Lines;
use super::{Device, DeviceError, Io};
use crate::model::Frame;

/// What is shown is written again after this: a display that was pulled out is noticed.
const REFRESH: Duration = Duration::from_secs(5);
/// Starting an HD44780 takes 60 ms, two lines take as long at 100 kHz. The kernel gives up a transfer after 1 s.
const PATIENCE: Duration = Duration::from_secs(3);

/// One display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayConfig {
    /// What it is called in `panel.toml`.
    pub name: String,
    /// The bus: `/dev/i2c-1`.
    pub bus: PathBuf,
    /// Its address on the bus, 7 bits. `None`: the usual one of its kind.
    pub address: Option<u8>,
    /// What it is.
    pub kind: DisplayKind,
}

impl DisplayConfig {
    fn address(&self) -> u8 {
        self.address.unwrap_or(match self.kind {
            DisplayKind::Lcd16x2 | DisplayKind::Lcd20x4 => 0x27,
            DisplayKind::Oled128x32 | DisplayKind::Oled128x64 => 0x3c,
        })
    }
}

impl fmt::Display for DisplayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "display {:?} at {}, address {:#04x}", self.name, self.bus.display(), self.address())
    }
}

/// Which displays there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisplayKind {
    /// HD44780 behind a PCF8574, 16 characters in 2 lines. Usually at 0x27, with a PCF8574A at 0x3f.
    Lcd16x2,
    /// The same, 20 characters in 4 lines, of which 2 are used.
    Lcd20x4,
    /// SSD1306, 16 characters in 2 lines. Usually at 0x3c.
    Oled128x32,
    /// The same, twice as high.
    Oled128x64,
}

impl DisplayKind {
    /// How many characters a line has.
    #[must_use]
    pub fn columns(self) -> usize {
        if self == Self::Lcd20x4 { 20 } else { 16 }
    }
}

/// A display that is written to.
#[derive(Debug)]
pub struct Display {
    config: DisplayConfig,
    fault: Lines,
    /// Held by the thread that is at it.
    turn: Arc<Mutex<()>>,
}

impl Display {
    /// With what it says when nobody drives it any more.
    #[must_use]
    pub fn new(config: DisplayConfig, fault: &Frame) -> Self {
        let fault = text::lines(&fault.text, config.kind.columns());
        Self { config, fault, turn: Arc::default() }
    }

    fn hangs(&self) -> DeviceError {
        let remedy = "Something holds the bus: look for loose or swapped wires, then switch the box off and on";
        DeviceError::new(format!("{}: no answer from the bus for {} s", self.config, PATIENCE.as_secs()), remedy)
    }

    async fn work(&self, mut io: Io) -> Result<Infallible, DeviceError> {
        // The thread of the run before ends when its call comes back.
        let turn = timeout(PATIENCE, Arc::clone(&self.turn).lock_owned()).await.map_err(|_| self.hangs())?;
        // One place each, and never full: there is a question only when the answer to the last one has been taken.
        let (texts, asked) = mpsc::channel(1);
        let (told, mut answers) = mpsc::channel(1);
        let config = self.config.clone();
        let drive = move || {
            let _turn = turn;
            drive(&config, asked, &told);
        };
        thread::Builder::new()
            .name("display".to_owned())
            .spawn(drive)
            .map_err(|error| DeviceError::new(format!("{}: no thread for it: {error}", self.config), "Free memory"))?;
        let columns = self.config.kind.columns();
        loop {
            let lines = text::lines(&io.frames.borrow_and_update().text, columns);
            let gone = |_| self.hangs();
            texts.send(lines.clone()).await.map_err(gone)?;
            timeout(PATIENCE, answers.recv()).await.map_err(|_| self.hangs())?.unwrap_or_else(|| Err(self.hangs()))?;
            io.works.send_if_modified(|works| !std::mem::replace(works, true));
            let other = async {
                while io.frames.changed().await.is_ok() {
                    if text::lines(&io.frames.borrow_and_update().text, columns) != lines {
                        return Ok(());
                    }
                }
                Err(DeviceError::new(
                    format!("{}: the panel listens no more", self.config),
                    "It is ending: nothing to do",
                ))
            };
            // Too late is fine: the same again.
            timeout(REFRESH, other).await.unwrap_or(Ok(()))?;
        }
    }
}

/// The thread: opens the display, and shows what it is handed until nobody hands it anything or it fails.
fn drive(config: &DisplayConfig, mut asked: mpsc::Receiver<Lines>, told: &mpsc::Sender<Result<(), DeviceError>>) {
    let mut screen = None;
    while let Some(lines) = asked.blocking_recv() {
        let shown = match &mut screen {
            Some(screen) => screen::show(config, screen, &lines),
            None => screen::open(config).and_then(|opened| screen::show(config, screen.insert(opened), &lines)),
        };
        let failed = shown.is_err();
        if told.blocking_send(shown).is_err() || failed {
            return;
        }
    }
}

impl Device for Display {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        Box::pin(self.work(io))
    }

    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        let mut screen = screen::open(&self.config)?;
        screen::show(&self.config, &mut screen, &self.fault)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn a_bus_that_is_not_there_is_told_with_what_to_do() {
        let bus = PathBuf::from("/dev/no-such-i2c-bus");
        let config = DisplayConfig { name: "front".to_owned(), bus, address: None, kind: DisplayKind::Lcd16x2 };
        let display = Display::new(config, &Frame::default());
        for _ in 0..2 {
            let (_frames, frames) = watch::channel(Frame::default());
            // Full: never, nothing is sent.
            let (edges, _edges) = mpsc::channel(1);
            let (works, _works) = watch::channel(false);
            let error = display.run_once(Io { frames, edges, works }).await.unwrap_err().to_string();
            assert!(error.contains("display \"front\" at /dev/no-such-i2c-bus, address 0x27"), "{error}");
            assert!(error.contains("dtparam=i2c_arm=on"), "{error}");
        }
        assert!(display.leave_in_fault().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn while_a_thread_hangs_no_second_one_is_started() {
        let config = DisplayConfig {
            name: "front".to_owned(),
            bus: "/dev/no-such-i2c-bus".into(),
            address: None,
            kind: DisplayKind::Lcd16x2,
        };
        let display = Display::new(config, &Frame::default());
        let _hanging = Arc::clone(&display.turn).lock_owned().await;
        let (_frames, frames) = watch::channel(Frame::default());
        // Full: never, nothing is sent.
        let (edges, _edges) = mpsc::channel(1);
        let (works, _works) = watch::channel(false);
        let error = display.run_once(Io { frames, edges, works }).await.unwrap_err().to_string();
        assert!(error.contains("no answer from the bus for 3 s"), "{error}");
    }
}
