//! The lines that are driven.

use std::collections::BTreeMap;
use std::fmt;

use gpiocdev::Request;
use gpiocdev::line::{Offset, Value, Values};

use super::find::Found;
use super::{GpioConfig, GpioLight, hold, request_on};
use crate::devices::DeviceError;
use crate::devices::wired;
use crate::model::{Button, Frame};

/// The lines that are driven, held.
pub(super) struct Outputs<'a> {
    /// `None`: there are none.
    request: Option<Request>,
    follow: Vec<(Offset, Follows<'a>)>,
}

/// What a line follows.
enum Follows<'a> {
    Light(&'a GpioLight),
    Buzzer,
}

impl<'a> Outputs<'a> {
    /// Takes the lines; they are off. `buttons` are lines that must not be driven.
    pub(super) fn open(
        config: &'a GpioConfig,
        chip: &Found,
        buttons: &BTreeMap<Offset, &Button>,
    ) -> Result<Self, DeviceError> {
        let lights = config.lights.iter().map(|wired| (&wired.output, Follows::Light(wired)));
        let buzzer = config.buzzer.iter().map(|output| (output, Follows::Buzzer));
        let mut follow: Vec<(Offset, Follows<'_>)> = Vec::new();
        let mut lines = request_on(chip.path());
        for (output, follows) in lights.chain(buzzer) {
            let offset = chip.line(&output.line)?;
            if let Some(button) = buttons.get(&offset) {
                return Err(chip.twice(&output.line, &format!("button {button} and {follows}")));
            }
            if let Some((_, other)) = follow.iter().find(|(other, _)| *other == offset) {
                return Err(chip.twice(&output.line, &format!("{other} and {follows}")));
            }
            lines.with_line(offset).as_output(Value::Inactive);
            if output.active_low {
                lines.as_active_low();
            } else {
                lines.as_active_high();
            }
            follow.push((offset, follows));
        }
        Ok(Self { request: hold(chip, lines)?, follow })
    }

    pub(super) fn show(&self, frame: &Frame) -> gpiocdev::Result<()> {
        self.write(|follows| match follows {
            Follows::Light(light) => wired::is_on(frame.shade(&light.light), light.part),
            Follows::Buzzer => frame.buzzer,
        })
    }

    pub(super) fn show_fault(&self) -> gpiocdev::Result<()> {
        self.write(|follows| match follows {
            Follows::Light(light) => wired::is_on(wired::fault(&light.light), light.part),
            Follows::Buzzer => false,
        })
    }

    /// All lines in one call: they change together.
    fn write(&self, on: impl Fn(&Follows<'_>) -> bool) -> gpiocdev::Result<()> {
        let Some(request) = &self.request else { return Ok(()) };
        let mut values = Values::default();
        for (offset, follows) in &self.follow {
            values.set(*offset, if on(follows) { Value::Active } else { Value::Inactive });
        }
        request.set_values(&values)
    }
}

impl fmt::Display for Follows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Light(wired) => write!(f, "light {}", wired.light),
            Self::Buzzer => f.write_str("the buzzer"),
        }
    }
}
