//! The one table of what each condition looks like.
//!
//! Rhythms are told apart in two ways. Those of footage are even: the faster, the less it is as it should be. All
//! others are words of short (up to 200 ms) and long (from 500 ms) flashes with a pause behind: people count up to
//! four, and tell short from long. But for *recording* and *ready* nothing is on for longer than 750 ms, so that a
//! glance of a second is enough.

use super::Rhythm;
use crate::model::Colour;
use crate::truth::{Condition, Hours};

/// Which lights show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The record light; lights of single inputs show the same of their input.
    Record,
    /// The status light; the record light of a panel that has no status light.
    Status,
    /// The status light and nothing in its place: solid on a record light, it would say something else.
    StatusAlone,
    /// Every light.
    All,
    /// The record light; all lights of a panel that has no record light.
    Answer,
}

/// One condition's looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Short, for people and file names.
    pub name: &'static str,
    /// Where it is shown.
    pub place: Place,
    /// In which colour, where there are colours. Red is for recordings alone.
    pub colour: Colour,
    /// How it goes on and off.
    pub rhythm: Rhythm,
    /// Somebody has to see it: it is not dimmed below [`ATTENTION_PERCENT`](super::ATTENTION_PERCENT).
    pub attention: bool,
    /// What it means, for people.
    pub meaning: &'static str,
}

/// The fault pattern, even so that whatever can blink by itself can show it: a microcontroller, a kernel's LED trigger.
pub const FAULT_ON_MS: u16 = 100;
/// The same.
pub const FAULT_OFF_MS: u16 = 100;

pub(super) const BEEP_REFUSED: Rhythm = Rhythm::Once(&[150, 0]);
pub(super) const BEEP_CRITICAL: Rhythm = Rhythm::Once(&[200, 150, 200, 150, 200, 0]);
pub(super) const BEEP_TROUBLE: Rhythm = Rhythm::Once(&[100, 150, 100, 0]);

/// How a condition looks, and what it means.
#[must_use]
pub const fn row(condition: Condition) -> Row {
    use Colour::{Amber, Blue, Green, Red, White};
    use Place::{All, Answer, Record, Status, StatusAlone};
    use Rhythm::{Hastening, Once, Opposite, Repeat, Solid};
    match condition {
        Condition::Ready => calm("ready", StatusAlone, Green, Solid, "A press records at once."),
        Condition::Resting => calm(
            "resting",
            Status,
            Green,
            Repeat(&[500, 2000]),
            "No input is armed. A press works, but the recording takes a moment to begin.",
        ),
        Condition::Armed => calm(
            "armed",
            Record,
            Green,
            Repeat(&[80, 2920]),
            "Stands by and keeps the last seconds, so that a press records the past as well.",
        ),
        Condition::Warning => loud(
            "warning",
            Status,
            Amber,
            Repeat(&[150, 200, 150, 1500]),
            "Look when you can: `holdfast alerts` says what it is and what to do.",
        ),
        Condition::StorageLow(hours) => storage(hours),
        Condition::UpdateAvailable => calm(
            "update-available",
            Status,
            Blue,
            Repeat(&[120, 180, 500, 1600]),
            "There is an update on the stick that was plugged in: `holdfast update` says what it waits for.",
        ),
        Condition::UpdateCopying => calm(
            "update-copying",
            Status,
            Blue,
            Repeat(&[120, 180, 500, 180, 500, 900]),
            "An update is being copied from a USB stick. Leave the stick in until another pattern is shown.",
        ),
        Condition::TrialBoot => calm(
            "trial-boot",
            Status,
            Blue,
            Repeat(&[500, 200, 120, 200, 500, 980]),
            "The first start after an update, which has to prove itself. Everything works; do not switch off.",
        ),
        Condition::Updating => calm(
            "updating",
            Status,
            Blue,
            Repeat(&[120, 180, 500, 180, 120, 1100]),
            "An update is being installed. Do not switch off.",
        ),
        Condition::NotPossible => loud(
            "not-possible",
            All,
            Amber,
            Repeat(&[600, 200, 600, 1100]),
            "Recording is not possible now: no room, no disk, no input, or the recorder has failed.",
        ),
        Condition::Recording => calm(
            "recording",
            Record,
            Red,
            Solid,
            "Every input that takes part is being recorded and becomes safe: on disk and synced.",
        ),
        Condition::Starting => calm(
            "starting",
            Record,
            Red,
            Repeat(&[250, 250]),
            "Asked for, but not every input that takes part has made something safe yet.",
        ),
        Condition::Stopping => {
            calm("stopping", Record, Red, Repeat(&[750, 750]), "Files are being closed. Do not switch off.")
        }
        Condition::Critical => loud(
            "critical",
            Status,
            Amber,
            Repeat(&[100, 120, 100, 120, 100, 560]),
            "Look now: `holdfast alerts` says what it is and what to do.",
        ),
        Condition::Identify => loud(
            "identify",
            Status,
            Blue,
            Repeat(&[70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 700]),
            "Here I am: somebody asked which box this is.",
        ),
        Condition::Stalled => loud(
            "stalled",
            Record,
            Amber,
            Repeat(&[120, 120, 120, 120, 500, 600]),
            "It should record, but for two seconds nothing has become safe. Look at camera, cable and disk.",
        ),
        Condition::Fault => loud(
            "fault",
            All,
            Amber,
            Repeat(&[FAULT_ON_MS, FAULT_OFF_MS]),
            "Nothing was heard of the recorder for two seconds. What is being recorded may well go on.",
        ),
        Condition::Acknowledged => loud(
            "acknowledged",
            Answer,
            White,
            Opposite,
            "A button was pressed: what was dark is lit, what was lit is dark, for a moment.",
        ),
        Condition::Holding => loud(
            "holding",
            Answer,
            White,
            Hastening(&[140, 140, 110, 110, 85, 85, 65, 65, 50, 50, 30, 30, 20, 20]),
            "A button is held. The faster it blinks, the nearer; let go and nothing happens.",
        ),
        Condition::Refused => loud(
            "refused",
            Answer,
            Amber,
            Once(&[70, 120, 70, 120, 70, 120, 70, 120]),
            "What the button asked for can't be done now.",
        ),
        Condition::LampTest => loud(
            "lamp-test",
            All,
            White,
            Repeat(&[700, 200, 700, 200, 700, 500]),
            "Every light goes on and off three times. One that does not is broken.",
        ),
    }
}

/// One long flash, then as many short ones as hours have begun.
const fn storage(hours: Hours) -> Row {
    use Rhythm::Repeat;
    let (name, rhythm, meaning) = match hours {
        Hours::Unknown => (
            "storage-low",
            Repeat(&[500, 180, 500, 180, 120, 1100]),
            "Room runs low; how long it lasts is known only while something is recorded.",
        ),
        Hours::More => (
            "storage-low-more",
            Repeat(&[500, 200, 120, 180, 120, 180, 120, 180, 120, 180, 120, 1060]),
            "Room runs low: more than four hours are left.",
        ),
        Hours::Four => (
            "storage-low-4",
            Repeat(&[500, 200, 120, 180, 120, 180, 120, 180, 120, 1060]),
            "Room for less than four hours is left.",
        ),
        Hours::Three => (
            "storage-low-3",
            Repeat(&[500, 200, 120, 180, 120, 180, 120, 1060]),
            "Room for less than three hours is left.",
        ),
        Hours::Two => {
            ("storage-low-2", Repeat(&[500, 200, 120, 180, 120, 1060]), "Room for less than two hours is left.")
        }
        Hours::One => ("storage-low-1", Repeat(&[500, 200, 120, 1060]), "Room for less than one hour is left."),
    };
    loud(name, Place::Status, Colour::Amber, rhythm, meaning)
}

const fn calm(name: &'static str, place: Place, colour: Colour, rhythm: Rhythm, meaning: &'static str) -> Row {
    Row { name, place, colour, rhythm, attention: false, meaning }
}

const fn loud(name: &'static str, place: Place, colour: Colour, rhythm: Rhythm, meaning: &'static str) -> Row {
    Row { name, place, colour, rhythm, attention: true, meaning }
}
