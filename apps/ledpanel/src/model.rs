//! What a panel is made of, whatever it is wired to: buttons that have edges, lights that have a shade.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// A button by its name in `panel.toml`. `record` is the one that every panel has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Button(pub String);

/// The button that starts, marks and stops.
pub const RECORD: &str = "record";

impl fmt::Display for Button {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A button went down or came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Which one.
    pub button: Button,
    /// Down, whatever the polarity of its wire.
    pub pressed: bool,
    /// When, `CLOCK_MONOTONIC` nanoseconds: as the kernel saw it where it tells, else when it was read.
    pub at_ns: u64,
}

/// What a light is for. Devices wire each to lines, coils or bytes of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Light {
    /// Recording: solid only while footage of *all* inputs that take part becomes safe. `record` in `panel.toml`.
    Record,
    /// The same of one input. `record.cam0`.
    RecordInput(String),
    /// How the box is: ready, warning, storage, updating, fault. `status`.
    Status,
}

impl Light {
    /// As it is written in `panel.toml` and on D-Bus. `None`: there is no such light.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "record" => Some(Self::Record),
            "status" => Some(Self::Status),
            _ => {
                name.strip_prefix("record.").filter(|input| !input.is_empty()).map(|i| Self::RecordInput(i.to_owned()))
            }
        }
    }
}

impl fmt::Display for Light {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record => f.write_str("record"),
            Self::RecordInput(input) => write!(f, "record.{input}"),
            Self::Status => f.write_str("status"),
        }
    }
}

/// A colour, where a light has more than one. What matters is always told by the pattern too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// Recording.
    #[default]
    Red,
    /// Not possible now, or needs somebody.
    Amber,
    /// Ready.
    Green,
    /// Updating, identify.
    Blue,
    /// Lamp test.
    White,
}

impl Colour {
    /// As it is told on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::White => "white",
        }
    }

    /// Red, green and blue parts at full brightness.
    #[must_use]
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [255, 0, 0],
            Self::Amber => [255, 110, 0],
            Self::Green => [0, 255, 0],
            Self::Blue => [0, 0, 255],
            Self::White => [255, 255, 255],
        }
    }
}

/// A part of a colour, where a light has a wire, register or LED for each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The red one.
    Red,
    /// The green one.
    Green,
    /// The blue one.
    Blue,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        })
    }
}

/// What a light shows in this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shade {
    /// Its colour, for lights that have more than one.
    pub colour: Colour,
    /// How bright, 0 is off; for lights that can only be on or off, on is anything else.
    pub level: u8,
}

/// What the whole panel shows in this moment. Devices get the newest one; those in between are nobody's loss.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Every light that some device has.
    pub lights: BTreeMap<Light, Shade>,
    /// The buzzer sounds.
    pub buzzer: bool,
    /// For a character display: two lines of what matters most.
    pub text: [String; 2],
}

impl Frame {
    /// What a light shows; one that is not in the frame is off.
    #[must_use]
    pub fn shade(&self, light: &Light) -> Shade {
        self.lights.get(light).copied().unwrap_or_default()
    }
}
