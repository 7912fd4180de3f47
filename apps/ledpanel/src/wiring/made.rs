//! A device for each `[[device]]`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::device::{self as written, DeviceConfig, Key, Line, ModbusPlace, Wiring};
use crate::config::{Panel, Serial};
use crate::devices::display::{Display, DisplayConfig, DisplayKind};
use crate::devices::evdev::{Evdev, EvdevButton, EvdevConfig};
use crate::devices::gpio::{Bias, Gpio, GpioButton, GpioConfig, GpioLight, GpioOutput};
use crate::devices::leds::{LedLight, Leds, LedsConfig};
use crate::devices::mcu::{Mcu, McuConfig};
use crate::devices::modbus::{self, ButtonPoint, LightPoint, Modbus, ModbusConfig, Point, PointKind, Transport};
use crate::devices::raspberry::{PinButton, PinLight, PinOutput, Raspberry, RaspberryConfig};
use crate::devices::terminal::{Terminal, TerminalConfig};
use crate::devices::{Device, DeviceError};
use crate::patterns;
use crate::wiring::Roots;

/// As configured. `quit`: notified when a person at a terminal wants the panel to end.
///
/// # Errors
/// It can't be meant; what it can't reach is an error of its own later.
pub fn device(
    config: &DeviceConfig,
    panel: &Panel,
    roots: &Roots,
    quit: &Arc<Notify>,
) -> Result<Arc<dyn Device>, DeviceError> {
    let debounce = (panel.debounce_ms > 0).then(|| Duration::from_millis(panel.debounce_ms.into()));
    Ok(match &config.wiring {
        Wiring::Gpio(wired) => Arc::new(Gpio::new(gpio(wired, debounce))),
        Wiring::Raspberry(wired) => Arc::new(Raspberry::new(raspberry(wired, debounce))),
        Wiring::Leds(wired) => Arc::new(Leds::new(LedsConfig { root: roots.leds.clone(), lights: leds(wired) })),
        Wiring::Evdev(wired) => Arc::new(Evdev::new(evdev(wired, roots))?),
        Wiring::ModbusTcp(wired) => {
            let transport = Transport::Tcp { host: wired.host.to_string(), port: wired.port };
            modbus(config, transport, &wired.modbus)?
        }
        Wiring::ModbusRtu(wired) => {
            let Serial { port, baud } = &wired.serial;
            let parity = match wired.parity {
                written::Parity::None => modbus::Parity::None,
                written::Parity::Even => modbus::Parity::Even,
                written::Parity::Odd => modbus::Parity::Odd,
            };
            let stop_bits = if wired.stop_bits == 2 { modbus::StopBits::Two } else { modbus::StopBits::One };
            modbus(config, Transport::Rtu { path: port.clone(), baud: *baud, parity, stop_bits }, &wired.modbus)?
        }
        Wiring::Mcu(wired) => Arc::new(Mcu::new(McuConfig {
            path: wired.serial.port.display().to_string(),
            baud: wired.serial.baud,
            lights: wired.lights.iter().map(|lit| (lit.light.clone(), lit.at)).collect(),
            buttons: wired.buttons.iter().map(|button| (button.button.clone(), button.at)).collect(),
            display: wired.display,
        })),
        Wiring::Terminal(wired) => Arc::new(Terminal::new(
            TerminalConfig {
                buttons: wired.buttons.iter().map(|button| (button.button.clone(), button.at)).collect(),
                lights: wired.lights.iter().map(|lit| lit.light.clone()).collect(),
                hold_ms: panel.hold_ms.into(),
                debounce_ms: panel.debounce_ms.into(),
            },
            Arc::clone(quit),
        )),
        Wiring::Display(wired) => {
            let kind = match wired.controller {
                written::Controller::Hd44780 => DisplayKind::Lcd16x2,
                written::Controller::Ssd1306 => DisplayKind::Oled128x64,
            };
            let (name, bus) = (config.name.clone(), wired.bus.clone());
            let display = DisplayConfig { name, bus, address: Some(wired.address), kind };
            Arc::new(Display::new(display, &patterns::fault_frame([])))
        }
    })
}

fn bias(bias: written::Bias) -> Bias {
    match bias {
        written::Bias::PullUp => Bias::PullUp,
        written::Bias::PullDown => Bias::PullDown,
        written::Bias::Off => Bias::Disabled,
    }
}

fn line(line: &Line) -> String {
    match line {
        Line::Name(name) => name.clone(),
        Line::Offset(offset) => offset.to_string(),
    }
}

fn gpio(wired: &written::Gpio, debounce: Option<Duration>) -> GpioConfig {
    let output = |output: &written::OutputLine| GpioOutput { line: line(&output.line), active_low: output.active_low };
    let button = |button: &written::Wired<written::InputLine>| GpioButton {
        button: button.button.clone(),
        line: line(&button.at.line),
        active_low: button.at.active_low,
        bias: bias(button.at.bias),
        debounce,
    };
    let light = |lit: &written::Lit<written::OutputLine>| GpioLight {
        light: lit.light.clone(),
        part: lit.part,
        output: output(&lit.at),
    };
    GpioConfig {
        chip: wired.chip.clone(),
        buttons: wired.buttons.iter().map(button).collect(),
        lights: wired.lights.iter().map(light).collect(),
        buzzer: wired.buzzer.as_ref().map(output),
    }
}

fn raspberry(wired: &written::Raspberry, debounce: Option<Duration>) -> RaspberryConfig {
    let output = |output: &written::OutputPin| PinOutput { pin: output.pin, active_low: output.active_low };
    let button = |button: &written::Wired<written::InputPin>| PinButton {
        button: button.button.clone(),
        pin: button.at.pin,
        active_low: button.at.active_low,
        bias: bias(button.at.bias),
        debounce,
    };
    let light = |lit: &written::Lit<written::OutputPin>| PinLight {
        light: lit.light.clone(),
        part: lit.part,
        output: output(&lit.at),
        dims: lit.at.pwm,
    };
    RaspberryConfig {
        buttons: wired.buttons.iter().map(button).collect(),
        lights: wired.lights.iter().map(light).collect(),
        buzzer: wired.buzzer.as_ref().map(output),
    }
}

fn leds(wired: &written::Leds) -> Vec<LedLight> {
    let light = |lit: &written::Lit<String>| LedLight { light: lit.light.clone(), led: lit.at.clone(), part: lit.part };
    wired.lights.iter().map(light).collect()
}

fn evdev(wired: &written::Evdev, roots: &Roots) -> EvdevConfig {
    let key = |key: &Key| match key {
        Key::Name(name) => name.clone(),
        Key::Code(code) => code.to_string(),
    };
    let button = |button: &written::Wired<Key>| EvdevButton { button: button.button.clone(), key: key(&button.at) };
    EvdevConfig {
        device: wired.device.clone(),
        buttons: wired.buttons.iter().map(button).collect(),
        grab: wired.grab,
        root: roots.input.clone(),
    }
}

fn modbus(
    config: &DeviceConfig,
    transport: Transport,
    wired: &written::Modbus,
) -> Result<Arc<dyn Device>, DeviceError> {
    let point = |place: ModbusPlace, active_low: bool| {
        let (kind, address) = match place {
            ModbusPlace::Coil(address) => (PointKind::Coil, address),
            ModbusPlace::Discrete(address) => (PointKind::DiscreteInput, address),
            ModbusPlace::Register(address) => (PointKind::HoldingRegister, address),
        };
        Point { kind, address, active_low }
    };
    let button = |button: &written::Wired<written::ModbusInput>| ButtonPoint {
        button: button.button.clone(),
        point: point(button.at.place, button.at.active_low),
    };
    let light = |lit: &written::Lit<written::ModbusOutput>| LightPoint {
        light: lit.light.clone(),
        point: point(lit.at.place, lit.at.active_low),
        part: lit.part,
        full: lit.at.full,
    };
    let modbus = ModbusConfig {
        name: config.name.clone(),
        transport,
        unit: wired.unit,
        poll_ms: wired.poll_ms.into(),
        timeout_ms: wired.timeout_ms.into(),
        buttons: wired.buttons.iter().map(button).collect(),
        lights: wired.lights.iter().map(light).collect(),
        buzzer: wired.buzzer.as_ref().map(|output| point(output.place, output.active_low)),
    };
    Ok(Arc::new(Modbus::new(modbus, patterns::fault_frame(config.wiring.lights()))?))
}
