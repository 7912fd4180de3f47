//! What a `panel.toml` says, once it has been found right: bounds hold, names are unique, whatever is needed is there.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Serialize;

use super::device::DeviceConfig;

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// What holds for all of the panel.
    pub panel: Panel,
    /// What each button does. Every button that a device has is here, `record` always.
    pub buttons: Vec<ButtonConfig>,
    /// Buttons that do something when they are held together.
    pub chords: Vec<ChordConfig>,
    /// What the panel is wired to. May be empty: then there is only `org.holdfast.Panel1`.
    pub devices: Vec<DeviceConfig>,
}

/// `[panel]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Panel {
    /// Where the recorder is. As `recorder.bus` in `holdfast.toml`.
    pub bus: Bus,
    /// Percent, 1 to 100, for lights that can be dimmed.
    pub brightness: u8,
    /// When it is dimmed further.
    pub night: Option<Night>,
    /// Sound the buzzer, where a device has one.
    pub buzzer: bool,
    /// Whether `PressButton` of `org.holdfast.Panel1` presses buttons; else it is refused.
    pub allow_press_button: bool,
    /// A press that lasts so long is a long one, milliseconds.
    pub hold_ms: u32,
    /// A contact settles within this time, milliseconds.
    pub debounce_ms: u32,
    /// Two short presses within this time are a double one, milliseconds.
    pub double_ms: u32,
    /// What a short press does while there is a recording.
    pub short_while_recording: ShortWhileRecording,
    /// The note of a mark that a press makes.
    pub mark_text: String,
}

/// Which message bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bus {
    /// The system bus. The default.
    System,
    /// The session bus.
    Session,
    /// A bus at this D-Bus address.
    Address(String),
}

/// From one time of the day to another, by the local clock; over midnight where `from` is the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Night {
    /// Minutes since midnight.
    pub from_minute: u16,
    /// Minutes since midnight; the first that is day again.
    pub to_minute: u16,
    /// Percent.
    pub brightness: u8,
}

impl Night {
    /// Whether this minute of the day is night.
    #[must_use]
    pub fn holds_at(&self, minute: u16) -> bool {
        if self.from_minute < self.to_minute {
            (self.from_minute..self.to_minute).contains(&minute)
        } else {
            minute >= self.from_minute || minute < self.to_minute
        }
    }
}

/// What a short press does while there is a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortWhileRecording {
    /// Mark this place. The default.
    Mark,
    /// Nothing.
    Nothing,
}

/// What is done for a gesture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Start; while there is a recording, what `short_while_recording` says.
    Start,
    /// Mark this place of the recording.
    Mark,
    /// Stop.
    Stop,
    /// Have the panel show which box it is.
    Identify,
    /// Show that every light works.
    LampTest,
}

/// `[[button]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ButtonConfig {
    /// Its name.
    pub name: String,
    /// For a short press.
    pub short: Action,
    /// For two short presses.
    pub double: Action,
    /// For a press as long as `hold_ms`.
    pub long: Action,
}

/// `[[chord]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChordConfig {
    /// Two buttons, different ones.
    pub buttons: [String; 2],
    /// What is done when both are held.
    pub action: Action,
}

/// Where a TCP connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Host {
    /// By number.
    Address(IpAddr),
    /// By name.
    Name(String),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A serial line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Serial {
    /// `/dev/ttyS1`, better `/dev/serial/by-id/…`.
    pub port: PathBuf,
    /// Bits per second.
    pub baud: u32,
}
