//! What a device has, whatever its kind.

use std::path::Path;

use super::device::{Lit, Wired, Wiring};
use crate::model::{Button, Light};

impl Wiring {
    /// The word that stands for it in `panel.toml`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Gpio(_) => "gpio",
            Self::Raspberry(_) => "raspberry",
            Self::Leds(_) => "leds",
            Self::Evdev(_) => "evdev",
            Self::ModbusTcp(_) => "modbus-tcp",
            Self::ModbusRtu(_) => "modbus-rtu",
            Self::Mcu(_) => "mcu",
            Self::Terminal(_) => "terminal",
            Self::Display(_) => "display",
        }
    }

    /// It shows text.
    #[must_use]
    pub fn shows_text(&self) -> bool {
        match self {
            Self::Terminal(_) | Self::Display(_) => true,
            Self::Mcu(device) => device.display,
            _ => false,
        }
    }

    /// The serial line that it is on, if it is on one.
    #[must_use]
    pub fn serial(&self) -> Option<&Path> {
        match self {
            Self::ModbusRtu(device) => Some(&device.serial.port),
            Self::Mcu(device) => Some(&device.serial.port),
            _ => None,
        }
    }

    /// The buttons that it has.
    #[must_use]
    pub fn buttons(&self) -> Vec<&Button> {
        fn all<W>(wired: &[Wired<W>]) -> Vec<&Button> {
            wired.iter().map(|one| &one.button).collect()
        }
        match self {
            Self::Gpio(device) => all(&device.buttons),
            Self::Raspberry(device) => all(&device.buttons),
            Self::Evdev(device) => all(&device.buttons),
            Self::ModbusTcp(device) => all(&device.modbus.buttons),
            Self::ModbusRtu(device) => all(&device.modbus.buttons),
            Self::Mcu(device) => all(&device.buttons),
            Self::Terminal(device) => all(&device.buttons),
            Self::Leds(_) | Self::Display(_) => Vec::new(),
        }
    }

    /// The lights that it has.
    #[must_use]
    pub fn lights(&self) -> Vec<&Light> {
        fn all<W>(lit: &[Lit<W>]) -> Vec<&Light> {
            lit.iter().map(|one| &one.light).collect()
        }
        match self {
            Self::Gpio(device) => all(&device.lights),
            Self::Raspberry(device) => all(&device.lights),
            Self::Leds(device) => all(&device.lights),
            Self::ModbusTcp(device) => all(&device.modbus.lights),
            Self::ModbusRtu(device) => all(&device.modbus.lights),
            Self::Mcu(device) => all(&device.lights),
            Self::Terminal(device) => all(&device.lights),
            Self::Evdev(_) | Self::Display(_) => Vec::new(),
        }
    }
}
