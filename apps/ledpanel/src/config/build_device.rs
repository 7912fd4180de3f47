//! A `[[device]]` by its kind.

use std::path::PathBuf;

use holdfast_settings::{Key as Row, Node, Reader, Scope, Value};

use super::build_parts::Parts;
use super::device::{
    Bias, Controller, DeviceConfig, Display, Evdev, Gpio, InputLine, InputPin, Key, Leds, Line, Lit, Mcu, Modbus,
    ModbusInput, ModbusOutput, ModbusPlace, ModbusRtu, ModbusTcp, OutputLine, OutputPin, Parity, Raspberry, Terminal,
    Wired, Wiring,
};
use super::reader::OrAny as _;
use super::schema::{self, DEVICES, Kind};
use super::types::{Host, Serial};
use crate::model::{Button, Light, RECORD};

/// The keys of this device; those that every device has where its kind is not to be understood.
pub(super) fn keys_of(device: &Node) -> &'static [Row] {
    let Value::Table(table) = &device.value else { return schema::ANY_DEVICE };
    kind(table.get("kind")).map_or(schema::ANY_DEVICE, |kind| kind.keys)
}

fn kind(written: Option<&Node>) -> Option<&'static Kind> {
    match &written?.value {
        Value::Text(written) => DEVICES.iter().find(|kind| kind.name == written),
        _ => None,
    }
}

/// Reads one. `None`: its kind is not to be understood, which has been noted.
pub(super) fn device(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<DeviceConfig> {
    let name = reader.text(scope, "name").or_any();
    reader.text(scope, "kind");
    let kind = kind(scope.written("kind"))?;
    let has = [("button", kind.button), ("light", kind.light), ("buzzer", kind.buzzer)];
    let subtables: Vec<&str> = has.iter().filter(|(_, keys)| !keys.is_empty()).map(|(name, _)| *name).collect();
    reader.unknown(scope, &subtables, |written| elsewhere(kind, written));
    let parts = Parts::new(kind, scope);
    let wiring = match kind.name {
        "gpio" => Wiring::Gpio(Gpio {
            chip: reader.text(scope, "chip").or_any(),
            buttons: parts.buttons(reader, input_line),
            lights: parts.lights(reader, output_line),
            buzzer: parts.buzzer(reader, output_line),
        }),
        "raspberry" => Wiring::Raspberry(Raspberry {
            buttons: parts.buttons(reader, |reader, at| InputPin {
                pin: reader.number(at, "pin").or_any(),
                active_low: active_low(reader, at),
                bias: bias(reader, at),
            }),
            lights: parts.lights(reader, output_pin),
            buzzer: parts.buzzer(reader, output_pin),
        }),
        "leds" => Wiring::Leds(Leds { lights: parts.lights(reader, |reader, at| reader.text(at, "led").or_any()) }),
        "evdev" => Wiring::Evdev(Evdev {
            device: reader.text(scope, "device").or_any(),
            grab: reader.flag(scope, "grab").or_any(),
            buttons: parts.buttons(reader, |reader, at| {
                let code = |code| Key::Code(u16::try_from(code).unwrap_or_default());
                reader.text_or_number(at, "key", Key::Name, code).map_or(Key::Code(0), |picked| picked.value)
            }),
        }),
        "modbus-tcp" => {
            let host = reader.text(scope, "host").or_any();
            let host = host.parse().map_or(Host::Name(host), Host::Address);
            Wiring::ModbusTcp(ModbusTcp {
                host,
                port: reader.number(scope, "port").or_any(),
                modbus: modbus(reader, &parts),
            })
        }
        "modbus-rtu" => Wiring::ModbusRtu(ModbusRtu {
            serial: serial(reader, scope),
            parity: match reader.text(scope, "parity").or_any().as_str() {
                "none" => Parity::None,
                "odd" => Parity::Odd,
                _ => Parity::Even,
            },
            stop_bits: reader.number(scope, "stop_bits").or_any(),
            modbus: modbus(reader, &parts),
        }),
        "mcu" => Wiring::Mcu(Mcu {
            serial: serial(reader, scope),
            buttons: parts.buttons(reader, |reader, at| reader.number(at, "number").or_any()),
            lights: parts.lights(reader, |reader, at| reader.number(at, "number").or_any()),
            display: reader.flag(scope, "display").or_any(),
        }),
        "terminal" => Wiring::Terminal(terminal(reader, &parts)),
        _ => Wiring::Display(Display {
            controller: match reader.text(scope, "controller").or_any().as_str() {
                "hd44780" => Controller::Hd44780,
                _ => Controller::Ssd1306,
            },
            bus: PathBuf::from(reader.text(scope, "bus").or_any()),
            address: reader.number(scope, "address").or_any(),
        }),
    };
    Some(DeviceConfig { name, wiring })
}

/// Where a key belongs that this kind has not.
fn elsewhere(kind: &Kind, written: &str) -> Option<String> {
    match written {
        "button" | "light" | "buzzer" => {
            return Some(format!("a device of kind \"{}\" has none; remove it", kind.name));
        }
        _ => {}
    }
    let in_part = [("[[device.button]]", kind.button), ("[[device.light]]", kind.light)];
    if let Some((header, _)) = in_part.iter().find(|(_, keys)| keys.iter().any(|key| key.name == written)) {
        return Some(format!("{written} belongs into a {header}"));
    }
    let other = DEVICES.iter().find(|other| other.keys.iter().any(|key| key.name == written))?;
    Some(format!("{written} is for kind = \"{}\"; remove it here or change the kind", other.name))
}

fn active_low(reader: &mut Reader<'_>, scope: &Scope<'_>) -> bool {
    reader.text(scope, "active").or_any() == "low"
}

fn bias(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Bias {
    match reader.text(scope, "bias").or_any().as_str() {
        "pull-down" => Bias::PullDown,
        "off" => Bias::Off,
        _ => Bias::PullUp,
    }
}

fn line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Line {
    let offset = |offset| Line::Offset(u32::try_from(offset).unwrap_or_default());
    reader.text_or_number(scope, "line", Line::Name, offset).map_or(Line::Offset(0), |picked| picked.value)
}

fn input_line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> InputLine {
    InputLine { line: line(reader, scope), active_low: active_low(reader, scope), bias: bias(reader, scope) }
}

fn output_line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> OutputLine {
    OutputLine { line: line(reader, scope), active_low: active_low(reader, scope) }
}

fn output_pin(reader: &mut Reader<'_>, scope: &Scope<'_>) -> OutputPin {
    OutputPin {
        pin: reader.number(scope, "pin").or_any(),
        active_low: active_low(reader, scope),
        pwm: reader.flag(scope, "pwm").or_any(),
    }
}

fn serial(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Serial {
    Serial { port: PathBuf::from(reader.text(scope, "port").or_any()), baud: reader.number(scope, "baud").or_any() }
}

fn modbus(reader: &mut Reader<'_>, parts: &Parts<'_, '_>) -> Modbus {
    let output = |reader: &mut Reader<'_>, at: &Scope<'_>| ModbusOutput {
        place: modbus_place(reader, at),
        active_low: active_low(reader, at),
        full: reader.number(at, "full").or_any(),
    };
    Modbus {
        unit: reader.number(parts.scope, "unit").or_any(),
        poll_ms: reader.number(parts.scope, "poll_ms").or_any(),
        timeout_ms: reader.number(parts.scope, "timeout_ms").or_any(),
        buttons: parts.buttons(reader, |reader, at| ModbusInput {
            place: modbus_place(reader, at),
            active_low: active_low(reader, at),
        }),
        lights: parts.lights(reader, output),
        buzzer: parts.buzzer(reader, output),
    }
}

/// A number in one of a unit's tables.
type Place = fn(u16) -> ModbusPlace;

/// Exactly one of the places that the row allows.
fn modbus_place(reader: &mut Reader<'_>, scope: &Scope<'_>) -> ModbusPlace {
    let places: [(&str, Place); 3] =
        [("discrete", ModbusPlace::Discrete), ("coil", ModbusPlace::Coil), ("register", ModbusPlace::Register)];
    let known = places.iter().filter(|(name, _)| scope.key(name).is_some());
    let names: Vec<&str> = known.clone().map(|(name, _)| *name).collect();
    let before = reader.mistakes.len();
    let found: Vec<ModbusPlace> =
        known.filter_map(|(name, place)| reader.number(scope, name).map(|number| place(number.value))).collect();
    match found.as_slice() {
        [one] => return *one,
        _ if reader.mistakes.len() > before => {}
        [] => {
            let remedy = format!("add to this {}: {} = 0", scope.header, names[0]);
            reader.lacking(scope, &names.join(" or "), remedy);
        }
        _ => {
            let remedy = format!("write one of {}", names.join(", "));
            let name = if scope.written("register").is_some() { "register" } else { "coil" };
            reader.note(scope, name, "is one place too many", None, remedy);
        }
    }
    ModbusPlace::Coil(0)
}

/// Without buttons and lights of its own it has what every panel has.
fn terminal(reader: &mut Reader<'_>, parts: &Parts<'_, '_>) -> Terminal {
    let mut buttons =
        parts.buttons(reader, |reader, at| reader.text(at, "key").or_any().chars().next().unwrap_or_default());
    let mut lights = parts.lights(reader, |_, _| ());
    if buttons.is_empty() {
        buttons.push(Wired { button: Button(RECORD.to_owned()), at: 'r' });
    }
    if lights.is_empty() {
        lights.extend([Light::Record, Light::Status].map(|light| Lit { light, part: None, at: () }));
    }
    Terminal { buttons, lights }
}
