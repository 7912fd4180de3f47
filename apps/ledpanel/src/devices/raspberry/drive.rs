//! One pin that is driven: on and off, or by PWM.

use rppal::gpio::{Gpio, Level, Mode, OutputPin};
use rppal::pwm::{Channel, Polarity, Pwm};
use rppal::system::{DeviceInfo, SoC};

use crate::devices::DeviceError;

/// Fast enough not to be seen, slow enough for a thread.
const THREAD_HZ: f64 = 100.0;
/// Fast enough not to be seen by a camera, either.
const CHIP_HZ: f64 = 1000.0;

/// How a pin is driven.
#[derive(Debug)]
pub(super) struct Drive {
    pin: u8,
    active_low: bool,
    by: By,
    shown: Option<u8>,
}

#[derive(Debug)]
enum By {
    /// On or off.
    Level(OutputPin),
    /// Dims by a thread of rppal; on and off need none.
    Thread(OutputPin),
    /// Dims by the chip.
    Chip(Pwm),
}

impl Drive {
    pub(super) fn open(gpio: &Gpio, pin: u8, active_low: bool, dims: bool) -> rppal::gpio::Result<Self> {
        let held = gpio.get(pin)?;
        let channel = if dims { pwm_of(pin, held.mode(), has_rp1()) } else { None };
        let chip = channel.and_then(|channel| {
            let polarity = if active_low { Polarity::Inverse } else { Polarity::Normal };
            Pwm::with_frequency(channel, CHIP_HZ, 0.0, polarity, true)
                .inspect_err(|error| tracing::warn!(pin, %error, "no PWM by the chip; dimming by a thread"))
                .ok()
        });
        let off = |pin: rppal::gpio::Pin| if active_low { pin.into_output_high() } else { pin.into_output_low() };
        let by = match (dims, chip) {
            (true, Some(pwm)) => By::Chip(pwm),
            (true, None) => By::Thread(off(held)),
            (false, _) => By::Level(off(held)),
        };
        Ok(Self { pin, active_low, by, shown: None })
    }

    /// From 0, off, to 255. What is shown already is not set again.
    pub(super) fn set(&mut self, level: u8) -> Result<(), DeviceError> {
        if self.shown == Some(level) {
            return Ok(());
        }
        let failed = |error: &dyn std::fmt::Display| {
            DeviceError::new(format!("can't drive GPIO{}: {error}", self.pin), "It is tried again; see dmesg")
        };
        let share = f64::from(level) / f64::from(u8::MAX);
        match &mut self.by {
            By::Level(pin) => pin.write(Level::from((level > 0) != self.active_low)),
            By::Thread(pin) if level == 0 || level == u8::MAX => {
                pin.clear_pwm().map_err(|error| failed(&error))?;
                pin.write(Level::from((level > 0) != self.active_low));
            }
            By::Thread(pin) => {
                let share = if self.active_low { 1.0 - share } else { share };
                pin.set_pwm_frequency(THREAD_HZ, share).map_err(|error| failed(&error))?;
            }
            By::Chip(pwm) => pwm.set_duty_cycle(share).map_err(|error| failed(&error))?,
        }
        self.shown = Some(level);
        Ok(())
    }

    /// On or off, and stays so when nobody holds it any more.
    pub(super) fn leave(&mut self, on: bool) -> Result<(), DeviceError> {
        self.set(if on { u8::MAX } else { 0 })?;
        match &mut self.by {
            By::Level(pin) | By::Thread(pin) => pin.set_reset_on_drop(false),
            By::Chip(pwm) => pwm.set_reset_on_drop(false),
        }
        Ok(())
    }
}

/// Boards whose header is another chip's, with PWM of its own.
fn has_rp1() -> bool {
    DeviceInfo::new().is_ok_and(|info| info.soc() == SoC::Bcm2712)
}

/// The channel that a pin is set to, if it is: the device tree must have done that (`dtoverlay=pwm` or `pwm-2chan`),
/// else the channel would run and the pin stay dark.
fn pwm_of(pin: u8, mode: Mode, rp1: bool) -> Option<Channel> {
    let (channel, set_to) = match (pin, rp1) {
        (12, _) => (Channel::Pwm0, Mode::Alt0),
        (13, _) => (Channel::Pwm1, Mode::Alt0),
        (18, false) => (Channel::Pwm0, Mode::Alt5),
        (19, false) => (Channel::Pwm1, Mode::Alt5),
        (18, true) => (Channel::Pwm2, Mode::Alt3),
        (19, true) => (Channel::Pwm3, Mode::Alt3),
        _ => return None,
    };
    (mode == set_to).then_some(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_that_the_chip_dims() {
        assert_eq!(pwm_of(12, Mode::Alt0, false), Some(Channel::Pwm0));
        assert_eq!(pwm_of(18, Mode::Alt5, false), Some(Channel::Pwm0));
        assert_eq!(pwm_of(19, Mode::Alt5, false), Some(Channel::Pwm1));
        assert_eq!(pwm_of(18, Mode::Alt3, true), Some(Channel::Pwm2));
        assert_eq!(pwm_of(19, Mode::Alt3, true), Some(Channel::Pwm3));
        // An input, or set to something else.
        assert_eq!(pwm_of(18, Mode::Input, false), None);
        assert_eq!(pwm_of(18, Mode::Alt0, false), None);
        assert_eq!(pwm_of(17, Mode::Alt0, false), None);
    }
}
