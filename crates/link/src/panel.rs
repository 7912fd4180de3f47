//! What the panel program and a microcontroller panel say to each other over a serial line.
//!
//! A line carries bytes, loses some and invents others, and either end may start in the middle of what the other says.
//! So each message is a [frame](encode) that stands for itself: it begins and ends with a zero byte, has none between
//! (COBS), carries a version and a CRC. A [`Decoder`] takes bytes one at a time, throws away what is no frame, counts
//! it, and is in step again at the next zero. Nothing is acknowledged and nothing repeated: what matters is *state* and
//! is told again and again.
//!
//! # Rules
//! 1. The host speaks first: `Hello`. The panel answers with [`About`] itself. Until then nothing else is of use.
//! 2. The host tells all that the panel shows at every change, and at least every [`SHOW_EVERY_MS`].
//! 3. A panel that was told nothing to show for [`SILENCE_MS`] shows its own fault pattern, until it is told again. So
//!    it does when it starts. A light that nobody vouches for must not say "recording".
//! 4. A panel that hears the host tells each edge at once, and which buttons are down at least every
//!    [`HEARTBEAT_EVERY_MS`], so that an edge whose frame was damaged is made good. A panel that hears nothing says
//!    nothing.
//! 5. A host that hears nothing for [`SILENCE_MS`] gives the line up, and begins again with `Hello`.
//! 6. A frame of another version is answered with a [refusal](refusal), the one frame whose form never changes.
//!
//! [`Board`] is the panel's half of these rules, for firmware; `docs/mcu-panel.md` is written for its authors.

mod board;
mod decoder;
mod frame;
mod messages;

pub use board::{Board, Do};
pub use decoder::{Decoder, Thrown};
pub use frame::{Frame, MAX_BODY_BYTES, MAX_FRAME_BYTES, PANEL_VERSION, WireError, crc, encode, refusal};
pub use messages::{About, FromPanel, LightLevel, Lines, MAX_BUTTONS, MAX_LIGHTS, Show, TEXT_BYTES, ToPanel};

/// The host tells what is shown at least so often, milliseconds.
pub const SHOW_EVERY_MS: u64 = 250;
/// The panel says that it is there at least so often, milliseconds.
pub const HEARTBEAT_EVERY_MS: u64 = 250;
/// Either side gives the other up after so long, milliseconds: three may be lost, the fourth must come.
pub const SILENCE_MS: u64 = 1000;
