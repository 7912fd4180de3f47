//! The messages. Their order and their fields are the wire format: a change raises `PANEL_VERSION`.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

/// No panel has more lights.
pub const MAX_LIGHTS: usize = 16;
/// No panel has more buttons.
pub const MAX_BUTTONS: usize = 16;
/// A line of text is no longer, bytes. Displays have 16 or 20 characters.
pub const TEXT_BYTES: usize = 20;

/// From the panel program to the microcontroller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToPanel {
    /// Who are you? Answered by [`FromPanel::Hello`]. Its version is that of its frame.
    Hello,
    /// Show this from now on.
    Show(Show),
    /// Write this on the display, where there is one.
    Text(Lines),
    /// The host is there and has nothing to show. It keeps the panel talking, and vouches for no light.
    Heartbeat,
    /// The host leaves: show the fault pattern now, not only when the silence is noticed.
    Fault,
}

/// What lights and buzzer do. Complete: a light that is not named is off.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Show {
    /// Lights that are on. An index that the panel has not is ignored.
    pub lights: Vec<LightLevel, MAX_LIGHTS>,
    /// The buzzer sounds.
    pub buzzer: bool,
}

/// How bright a light is, 0 (off) to 255 for each colour. A light of one colour takes the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LightLevel {
    /// Which light, from 0.
    pub index: u8,
    /// Its red part.
    pub red: u8,
    /// Its green part.
    pub green: u8,
    /// Its blue part.
    pub blue: u8,
}

/// The two lines of a character display, in printable ASCII. A shorter line is filled up with blanks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lines {
    /// The upper line.
    pub upper: String<TEXT_BYTES>,
    /// The lower line.
    pub lower: String<TEXT_BYTES>,
}

/// From the microcontroller to the panel program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPanel {
    /// The answer to [`ToPanel::Hello`].
    Hello {
        /// What the panel is.
        about: About,
        /// Which buttons are down now: bit *i* is button *i*.
        down: u16,
    },
    /// A button went down or came up.
    Edge {
        /// Which one, from 0.
        button: u8,
        /// Down, whatever the polarity of its wire.
        pressed: bool,
        /// How long ago, microseconds; the largest number stands for longer, too.
        age_us: u32,
    },
    /// The panel is there.
    Heartbeat {
        /// Frames it threw away since it started, see [`Thrown::total`](super::Thrown::total).
        errors: u32,
        /// Which buttons are down now, as in `Hello`: makes good an edge that was lost.
        down: u16,
    },
}

/// What a panel is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct About {
    /// For people: its make, its firmware.
    pub name: String<32>,
    /// How many lights it has, at most [`MAX_LIGHTS`].
    pub lights: u8,
    /// How many buttons it has, at most [`MAX_BUTTONS`].
    pub buttons: u8,
    /// It has a character display.
    pub display: bool,
    /// It has a buzzer.
    pub buzzer: bool,
}
