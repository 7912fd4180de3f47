//! Keys as buttons: what the kernel calls an input device. Keys of the board (`gpio-keys`), USB foot switches,
//! keypads.

mod find;
mod keys;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use evdev::raw_stream::EventStream;
use evdev::{EventSummary, InputEvent, KeyCode, SynchronizationCode};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use input_linux::EvdevHandle;
use rustix::time::ClockId;

pub use self::keys::{UnknownKey, key_code};
use super::wired::Told;
use super::{Device, DeviceError, Io};
use crate::clock;
use crate::model::Button;

/// Where the kernel shows input devices.
pub const ROOT: &str = "/dev/input";

/// Keys of one input device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvdevConfig {
    /// The device: its name (`Foot Switch`), its link in `by-id` or `by-path`, or its whole path.
    pub device: String,
    /// Which key is which button.
    pub buttons: Vec<EvdevButton>,
    /// Nobody else gets its keys: a foot switch that types letters must not type them into a console.
    pub grab: bool,
    /// [`ROOT`]; another directory for tests.
    pub root: PathBuf,
}

impl Default for EvdevConfig {
    fn default() -> Self {
        Self { device: String::new(), buttons: Vec::new(), grab: false, root: PathBuf::from(ROOT) }
    }
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvdevButton {
    /// Which one.
    pub button: Button,
    /// Its key, as the kernel calls it: `KEY_RECORD`, `BTN_0`.
    pub key: String,
}

/// The device.
#[derive(Debug)]
pub struct Evdev {
    config: EvdevConfig,
    keys: BTreeMap<KeyCode, Button>,
}

impl Evdev {
    /// Which key is which button. Nothing is opened yet.
    ///
    /// # Errors
    /// There is no key of that name, or it is two buttons.
    pub fn new(config: EvdevConfig) -> Result<Self, DeviceError> {
        let mut keys = BTreeMap::new();
        for wired in &config.buttons {
            let code = key_code(&wired.key).map_err(|unknown| {
                DeviceError::new(
                    format!("button {}: {unknown}", wired.button),
                    "evtest shows what a key is called when it is pressed",
                )
            })?;
            if let Some(other) = keys.insert(code, wired.button.clone()) {
                return Err(DeviceError::new(
                    format!("key {} is wired twice: buttons {other} and {}", wired.key, wired.button),
                    "Give each a key of its own",
                ));
            }
        }
        Ok(Self { config, keys })
    }

    fn open(&self) -> Result<Opened, DeviceError> {
        let find::Found { path, mut device } = find::device(&self.config, self.keys.keys().copied())?;
        let named = format!("{} (\"{}\")", path.display(), device.name().unwrap_or("without a name"));
        let failed = |what: &str, error: &io::Error| failed(&named, what, error);
        // The clock of an event is the wall clock, unless it is asked for another.
        EvdevHandle::new(std::os::fd::AsRawFd::as_raw_fd(&device))
            .set_clock_id(ClockId::Monotonic as i32)
            .map_err(|error| failed("can't set its clock", &error))?;
        if self.config.grab {
            device.grab().map_err(|error| failed("can't have it alone", &error))?;
        }
        let events = device.into_event_stream().map_err(|error| failed("can't wait for its keys", &error))?;
        Ok(Opened { named, events })
    }

    async fn run(&self, io: Io) -> Result<Infallible, DeviceError> {
        let mut opened = self.open()?;
        let mut told = Told::new(io.edges);
        self.tell_present(&opened, &mut told).await?;
        io.works.send_replace(true);
        let ended = self.watch(&mut opened, &mut told).await;
        told.let_go().await;
        ended
    }

    /// Tells keys as they come.
    async fn watch(&self, opened: &mut Opened, told: &mut Told) -> Result<Infallible, DeviceError> {
        // There were more events than the kernel keeps: those up to the next report are pieces.
        let (mut lost, mut in_pieces) = (false, false);
        loop {
            let event =
                if lost { opened.events.next_event().now_or_never() } else { Some(opened.events.next_event().await) };
            let Some(event) = event else {
                // Only now that nothing is left to be read: asking how the keys are throws away what the kernel has kept.
                lost = false;
                tracing::warn!(device = opened.named, "more keys than could be read; looking how the buttons are");
                self.tell_present(opened, told).await?;
                continue;
            };
            let event = event.map_err(|error| failed(&opened.named, "no more keys", &error))?;
            match event.destructure() {
                EventSummary::Synchronization(_, SynchronizationCode::SYN_DROPPED, _) => {
                    (lost, in_pieces) = (true, true)
                }
                EventSummary::Synchronization(_, SynchronizationCode::SYN_REPORT, _) => in_pieces = false,
                EventSummary::Key(_, key, value) if !in_pieces => self.tell(key, value, &event, told).await,
                _ => {}
            }
        }
    }

    async fn tell(&self, key: KeyCode, value: i32, event: &InputEvent, told: &mut Told) {
        let pressed = match value {
            0 => false,
            1 => true,
            // 2: the kernel repeats a key that is held; a button has no use for it.
            _ => return,
        };
        if let Some(button) = self.keys.get(&key) {
            told.tell(button, pressed, monotonic_ns(event)).await;
        }
    }

    /// Tells how the buttons are now.
    async fn tell_present(&self, opened: &Opened, told: &mut Told) -> Result<(), DeviceError> {
        let down = opened.events.device().get_key_state();
        let down = down.map_err(|error| failed(&opened.named, "can't read how its keys are", &error))?;
        let at_ns = clock::mono_ns();
        for (key, button) in &self.keys {
            told.tell(button, down.contains(*key), at_ns).await;
        }
        Ok(())
    }
}

/// An input device that is open.
struct Opened {
    /// For messages.
    named: String,
    events: EventStream,
}

/// The event's time. It is told as one of the wall clock, but we have asked for another.
fn monotonic_ns(event: &InputEvent) -> u64 {
    let since = event.timestamp().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or_else(|_| clock::mono_ns(), |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn failed(named: &str, what: &str, error: &io::Error) -> DeviceError {
    let remedy = if find::is_gone(error) {
        "Plug it in again; the panel looks for it by itself"
    } else if error.kind() == io::ErrorKind::ResourceBusy {
        "Somebody else has it alone (grab); end that, or leave out grab here and there"
    } else {
        "See what the kernel says of it (dmesg)"
    };
    DeviceError::new(format!("{named}: {what}: {error}"), remedy)
}

impl Device for Evdev {
    fn run_once(&self, io: Io) -> BoxFuture<'_, Result<Infallible, DeviceError>> {
        self.run(io).boxed()
    }

    /// It has no lights.
    fn leave_in_fault(&self) -> Result<(), DeviceError> {
        Ok(())
    }
}
