//! What a panel is wired to: one type for each `kind` of `[[device]]`.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use super::types::{Host, Serial};
use crate::model::{Button, Light, Part};

/// `[[device]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceConfig {
    /// Its name, for messages and alerts.
    pub name: String,
    /// What it is.
    pub wiring: Wiring,
}

/// What a device is, by its `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wiring {
    /// Lines of a GPIO chip, through the kernel's character device.
    Gpio(Gpio),
    /// Pins of a Raspberry Pi's header.
    Raspberry(Raspberry),
    /// The kernel's LED class.
    Leds(Leds),
    /// Keys of an input device.
    Evdev(Evdev),
    /// Remote inputs and outputs over TCP.
    ModbusTcp(ModbusTcp),
    /// The same over a serial line.
    ModbusRtu(ModbusRtu),
    /// A microcontroller with buttons and lights of its own.
    Mcu(Mcu),
    /// A panel in this terminal.
    Terminal(Terminal),
    /// A character display.
    Display(Display),
}

/// A button, and where it is wired to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wired<W> {
    /// Which button.
    #[serde(serialize_with = "shown")]
    pub button: Button,
    /// Where.
    pub at: W,
}

/// A light, and where it is wired to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lit<W> {
    /// Which light.
    #[serde(serialize_with = "shown")]
    pub light: Light,
    /// The part of its colour that is wired there, for a lamp with legs for red, green and blue: each is one of these.
    /// `None`: all of it, whatever its colour.
    pub part: Option<Part>,
    /// Where.
    pub at: W,
}

/// Lines of one chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gpio {
    /// The chip's label (`fd8a0000.gpio`) or name (`gpiochip0`), as `gpiodetect` tells them.
    pub chip: String,
    /// Inputs.
    pub buttons: Vec<Wired<InputLine>>,
    /// Outputs.
    pub lights: Vec<Lit<OutputLine>>,
    /// An output for the buzzer.
    pub buzzer: Option<OutputLine>,
}

/// One line of a chip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// By the name that the device tree gives it.
    Name(String),
    /// By its offset.
    Offset(u32),
}

/// A button's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputLine {
    /// Which.
    pub line: Line,
    /// Pressed pulls it to ground.
    pub active_low: bool,
    /// What holds it while nobody presses.
    pub bias: Bias,
}

/// A light's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputLine {
    /// Which.
    pub line: Line,
    /// Ground lights it.
    pub active_low: bool,
}

/// What holds an input while nobody presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// The chip, up.
    PullUp,
    /// The chip, down.
    PullDown,
    /// A resistor on the board.
    Off,
}

/// Pins of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Raspberry {
    /// Inputs.
    pub buttons: Vec<Wired<InputPin>>,
    /// Outputs.
    pub lights: Vec<Lit<OutputPin>>,
    /// An output for the buzzer.
    pub buzzer: Option<OutputPin>,
}

/// A button's pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InputPin {
    /// BCM number, not the place on the header.
    pub pin: u8,
    /// Pressed pulls it to ground.
    pub active_low: bool,
    /// What holds it while nobody presses.
    pub bias: Bias,
}

/// A light's pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OutputPin {
    /// BCM number, not the place on the header.
    pub pin: u8,
    /// Ground lights it.
    pub active_low: bool,
    /// It can be dimmed.
    pub pwm: bool,
}

/// LEDs that the kernel has drivers for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leds {
    /// Names below `/sys/class/leds`.
    pub lights: Vec<Lit<String>>,
}

/// One input device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evdev {
    /// Its path below `/dev/input`, or the name that it tells of itself (`gpio-keys`).
    pub device: String,
    /// Take it for ourselves, so that its keys do not type on a console too.
    pub grab: bool,
    /// Keys, by the names of `input-event-codes.h` or by number.
    pub buttons: Vec<Wired<Key>>,
}

/// A key of an input device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// `KEY_RECORD`, `BTN_0`
    Name(String),
    /// Its number.
    Code(u16),
}

/// Remote inputs and outputs over TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModbusTcp {
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// What is there.
    pub modbus: Modbus,
}

/// Remote inputs and outputs over a serial line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModbusRtu {
    /// The line.
    pub serial: Serial,
    /// Its check bit.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// What is there.
    pub modbus: Modbus,
}

/// The check bit of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// None.
    None,
    /// Even: what Modbus asks for.
    Even,
    /// Odd.
    Odd,
}

/// What is common to both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Modbus {
    /// The unit's number, 1 to 247.
    pub unit: u8,
    /// Inputs are read this often, milliseconds.
    pub poll_ms: u32,
    /// An answer that takes longer is none, milliseconds.
    pub timeout_ms: u32,
    /// Inputs.
    pub buttons: Vec<Wired<ModbusInput>>,
    /// Outputs.
    pub lights: Vec<Lit<ModbusOutput>>,
    /// An output for the buzzer.
    pub buzzer: Option<ModbusOutput>,
}

/// A button in a unit's map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ModbusInput {
    /// Where: a discrete input, or a coil.
    pub place: ModbusPlace,
    /// Pressed is 0.
    pub active_low: bool,
}

/// A light in a unit's map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ModbusOutput {
    /// Where: a coil, or a holding register.
    pub place: ModbusPlace,
    /// 0 lights it.
    pub active_low: bool,
    /// What a register gets at full brightness.
    pub full: u16,
}

/// A place in a unit's map. Numbers are those on the wire, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModbusPlace {
    /// A coil.
    Coil(u16),
    /// A discrete input.
    Discrete(u16),
    /// A holding register.
    Register(u16),
}

/// A microcontroller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mcu {
    /// Its line.
    pub serial: Serial,
    /// Its buttons, by number.
    pub buttons: Vec<Wired<u8>>,
    /// Its lights, by number.
    pub lights: Vec<Lit<u8>>,
    /// It has a display for two lines of text.
    pub display: bool,
}

/// A panel in this terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Keys: one character each.
    pub buttons: Vec<Wired<char>>,
    /// Lights that are shown.
    pub lights: Vec<Lit<()>>,
}

/// A character display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Display {
    /// Which one.
    pub controller: Controller,
    /// The I²C bus, as `/dev/i2c-1`.
    pub bus: PathBuf,
    /// Its address on the bus.
    pub address: u8,
}

/// What drives a display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Controller {
    /// Two lines of 16 characters.
    Hd44780,
    /// 128 × 64 points.
    Ssd1306,
}

fn shown<S: Serializer>(value: &impl std::fmt::Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}
