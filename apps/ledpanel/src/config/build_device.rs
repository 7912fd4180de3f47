//! A `[[device]]` by its kind.

use std::cell::RefCell;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::build::{not_a_table, tables};
use super::device::{
    Bias, Controller, DeviceConfig, Display, Evdev, Gpio, InputLine, InputPin, Key, Leds, Line, Lit, Mcu, Modbus,
    ModbusInput, ModbusOutput, ModbusPlace, ModbusRtu, ModbusTcp, OutputLine, OutputPin, Parity, Raspberry, Terminal,
    Wired, Wiring,
};
use super::reader::{Reader, Scope, place_of};
use super::schema::{self, DEVICES, Kind};
use super::types::{Host, Serial};
use crate::model::{Button, Light, Part, RECORD};

/// The keys of this device; those that every device has where its kind is not to be understood.
pub(super) fn kind_of_device(table: &DeTable<'_>) -> &'static [schema::Key] {
    kind(table).map_or(&DEVICES[1].keys[..2], |kind| kind.keys)
}

fn kind(table: &DeTable<'_>) -> Option<&'static Kind> {
    match table.get("kind")?.get_ref() {
        DeValue::String(written) => DEVICES.iter().find(|kind| kind.name == written.as_ref()),
        _ => None,
    }
}

/// Reads one. `None`: its kind is not to be understood, which has been noted.
pub(super) fn device(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<DeviceConfig> {
    let name = reader.text(scope, "name");
    reader.text(scope, "kind");
    let kind = kind(scope.table)?;
    let has = [("button", kind.button), ("light", kind.light), ("buzzer", kind.buzzer)];
    let subtables: Vec<&str> = has.iter().filter(|(_, keys)| !keys.is_empty()).map(|(name, _)| *name).collect();
    reader.unknown(scope, &subtables, |written| elsewhere(kind, written));
    let parts = Parts { kind, scope, wires: RefCell::default() };
    let wiring = match kind.name {
        "gpio" => Wiring::Gpio(Gpio {
            chip: reader.text(scope, "chip"),
            buttons: parts.buttons(reader, input_line),
            lights: parts.lights(reader, output_line),
            buzzer: parts.buzzer(reader, output_line),
        }),
        "raspberry" => Wiring::Raspberry(Raspberry {
            buttons: parts.buttons(reader, |reader, at| InputPin {
                pin: reader.number(at, "pin"),
                active_low: active_low(reader, at),
                bias: bias(reader, at),
            }),
            lights: parts.lights(reader, output_pin),
            buzzer: parts.buzzer(reader, output_pin),
        }),
        "leds" => Wiring::Leds(Leds { lights: parts.lights(reader, |reader, at| reader.text(at, "led")) }),
        "evdev" => Wiring::Evdev(Evdev {
            device: reader.text(scope, "device"),
            grab: reader.flag(scope, "grab"),
            buttons: parts.buttons(reader, |reader, at| {
                let code = |code| Key::Code(u16::try_from(code).unwrap_or_default());
                reader.text_or_number(at, "key", Key::Name, code).unwrap_or(Key::Code(0))
            }),
        }),
        "modbus-tcp" => {
            let host = reader.text(scope, "host");
            let host = host.parse().map_or(Host::Name(host), Host::Address);
            Wiring::ModbusTcp(ModbusTcp { host, port: reader.number(scope, "port"), modbus: modbus(reader, &parts) })
        }
        "modbus-rtu" => Wiring::ModbusRtu(ModbusRtu {
            serial: serial(reader, scope),
            parity: match reader.text(scope, "parity").as_str() {
                "none" => Parity::None,
                "odd" => Parity::Odd,
                _ => Parity::Even,
            },
            stop_bits: reader.number(scope, "stop_bits"),
            modbus: modbus(reader, &parts),
        }),
        "mcu" => Wiring::Mcu(Mcu {
            serial: serial(reader, scope),
            buttons: parts.buttons(reader, |reader, at| reader.number(at, "number")),
            lights: parts.lights(reader, |reader, at| reader.number(at, "number")),
            display: reader.flag(scope, "display"),
        }),
        "terminal" => Wiring::Terminal(terminal(reader, &parts)),
        _ => Wiring::Display(Display {
            controller: match reader.text(scope, "controller").as_str() {
                "hd44780" => Controller::Hd44780,
                _ => Controller::Ssd1306,
            },
            bus: PathBuf::from(reader.text(scope, "bus")),
            address: reader.number(scope, "address"),
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

/// The keys that say where something is wired to.
const WIRES: [&str; 8] = ["line", "pin", "led", "key", "discrete", "coil", "register", "number"];

/// The buttons, lights and buzzer of a device.
struct Parts<'a, 't> {
    kind: &'static Kind,
    scope: &'a Scope<'t>,
    /// What is wired already, and to whom.
    wires: RefCell<Vec<(String, String)>>,
}

impl<'t> Parts<'_, 't> {
    fn scopes(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        header: &'static str,
        keys: &'static [schema::Key],
    ) -> Vec<Scope<'t>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let table: &'t DeTable<'t> = self.scope.table;
        let found = tables(reader, table, &self.scope.path, name);
        let path = format!("{}.{name}", self.scope.path);
        let scopes: Vec<Scope<'t>> =
            found.into_iter().map(|(table, place)| Scope { path: path.clone(), header, table, place, keys }).collect();
        for scope in &scopes {
            reader.unknown(scope, &[], |_| None);
        }
        scopes
    }

    fn buttons<W>(
        &self,
        reader: &mut Reader<'_>,
        mut at: impl FnMut(&mut Reader<'_>, &Scope<'_>) -> W,
    ) -> Vec<Wired<W>> {
        let mut buttons: Vec<Wired<W>> = Vec::new();
        for scope in self.scopes(reader, "button", "[[device.button]]", self.kind.button) {
            let before = reader.mistakes.len();
            let button = Wired { button: Button(reader.text(&scope, "button")), at: at(reader, &scope) };
            if reader.mistakes.len() > before {
                continue;
            }
            if buttons.iter().any(|other| other.button == button.button) {
                let remedy = "wire it to one place of this device, or give the other a name of its own".to_owned();
                reader.note(&scope, "button", place_of(&scope, "button"), "is there twice", None, remedy);
            } else if self.wired_once(reader, &scope, "button", &button.button) {
                buttons.push(button);
            }
        }
        buttons
    }

    fn lights<W>(&self, reader: &mut Reader<'_>, mut at: impl FnMut(&mut Reader<'_>, &Scope<'_>) -> W) -> Vec<Lit<W>> {
        let mut lights: Vec<Lit<W>> = Vec::new();
        for scope in self.scopes(reader, "light", "[[device.light]]", self.kind.light) {
            let before = reader.mistakes.len();
            let light = Light::parse(&reader.text(&scope, "light")).unwrap_or(Light::Status);
            let part = reader.text_if_any(&scope, "part").map(|word| match word.as_str() {
                "red" => Part::Red,
                "green" => Part::Green,
                _ => Part::Blue,
            });
            let light = Lit { light, part, at: at(reader, &scope) };
            if reader.mistakes.len() > before {
                continue;
            }
            if self.wired_once(reader, &scope, "light", &light.light) {
                lights.push(light);
            }
        }
        lights
    }

    fn buzzer<W>(&self, reader: &mut Reader<'_>, at: impl FnOnce(&mut Reader<'_>, &Scope<'_>) -> W) -> Option<W> {
        let node: &Spanned<DeValue<'t>> = self.scope.table.get("buzzer")?;
        let path = format!("{}.buzzer", self.scope.path);
        let DeValue::Table(table) = node.get_ref() else {
            not_a_table(reader, &path, node.get_ref(), node.span(), "[device.buzzer]");
            return None;
        };
        let scope = Scope { path, header: "[device.buzzer]", table, place: node.span(), keys: self.kind.buzzer };
        reader.unknown(&scope, &[], |_| None);
        let buzzer = at(reader, &scope);
        self.wired_once(reader, &scope, "", &"the buzzer").then_some(buzzer)
    }

    /// Whether nothing else of this device has the same wire; else that is noted, at the key `name` or at the wire.
    fn wired_once(&self, reader: &mut Reader<'_>, scope: &Scope<'_>, name: &str, who: &dyn std::fmt::Display) -> bool {
        let Some((wire, at)) = WIRES.iter().find_map(|wire| Some((*wire, scope.table.get(*wire)?))) else {
            return true;
        };
        let value = match at.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => return true,
        };
        // A microcontroller counts its buttons and its lights each from 0.
        let apart = if wire == "number" { name } else { "" };
        let wire_id = format!("{apart}{wire} {value}");
        let other = self.wires.borrow().iter().find(|(id, _)| *id == wire_id).map(|(_, other)| other.clone());
        if let Some(other) = other {
            let place = scope.table.get(name).unwrap_or(at).span();
            let remedy = format!("give each a wire of its own: another {wire}");
            let name = if name.is_empty() { wire } else { name };
            reader.note(scope, name, place, &format!("has the wire of {other} too"), None, remedy);
            return false;
        }
        self.wires.borrow_mut().push((wire_id, who.to_string()));
        true
    }
}

fn active_low(reader: &mut Reader<'_>, scope: &Scope<'_>) -> bool {
    reader.text(scope, "active") == "low"
}

fn bias(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Bias {
    match reader.text(scope, "bias").as_str() {
        "pull-down" => Bias::PullDown,
        "off" => Bias::Off,
        _ => Bias::PullUp,
    }
}

fn line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Line {
    let offset = |offset| Line::Offset(u32::try_from(offset).unwrap_or_default());
    reader.text_or_number(scope, "line", Line::Name, offset).unwrap_or(Line::Offset(0))
}

fn input_line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> InputLine {
    InputLine { line: line(reader, scope), active_low: active_low(reader, scope), bias: bias(reader, scope) }
}

fn output_line(reader: &mut Reader<'_>, scope: &Scope<'_>) -> OutputLine {
    OutputLine { line: line(reader, scope), active_low: active_low(reader, scope) }
}

fn output_pin(reader: &mut Reader<'_>, scope: &Scope<'_>) -> OutputPin {
    OutputPin {
        pin: reader.number(scope, "pin"),
        active_low: active_low(reader, scope),
        pwm: reader.flag(scope, "pwm"),
    }
}

fn serial(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Serial {
    Serial { port: PathBuf::from(reader.text(scope, "port")), baud: reader.number(scope, "baud") }
}

fn modbus(reader: &mut Reader<'_>, parts: &Parts<'_, '_>) -> Modbus {
    let output = |reader: &mut Reader<'_>, at: &Scope<'_>| ModbusOutput {
        place: modbus_place(reader, at),
        active_low: active_low(reader, at),
        full: reader.number(at, "full"),
    };
    Modbus {
        unit: reader.number(parts.scope, "unit"),
        poll_ms: reader.number(parts.scope, "poll_ms"),
        timeout_ms: reader.number(parts.scope, "timeout_ms"),
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
    let known = places.iter().filter(|(name, _)| scope.keys.iter().any(|key| key.name == *name));
    let names: Vec<&str> = known.clone().map(|(name, _)| *name).collect();
    let before = reader.mistakes.len();
    let found: Vec<ModbusPlace> =
        known.filter_map(|(name, place)| reader.number_if_any(scope, name).map(place)).collect();
    match found.as_slice() {
        [one] => return *one,
        _ if reader.mistakes.len() > before => {}
        [] => {
            let remedy = format!("add to this {}: {} = 0", scope.header, names[0]);
            reader.lacking(scope, &names.join(" or "), remedy);
        }
        _ => {
            let remedy = format!("write one of {}", names.join(", "));
            let name = if scope.table.get("register").is_some() { "register" } else { "coil" };
            reader.note(scope, name, place_of(scope, name), "is one place too many", None, remedy);
        }
    }
    ModbusPlace::Coil(0)
}

/// Without buttons and lights of its own it has what every panel has.
fn terminal(reader: &mut Reader<'_>, parts: &Parts<'_, '_>) -> Terminal {
    let mut buttons = parts.buttons(reader, |reader, at| reader.text(at, "key").chars().next().unwrap_or_default());
    let mut lights = parts.lights(reader, |_, _| ());
    if buttons.is_empty() {
        buttons.push(Wired { button: Button(RECORD.to_owned()), at: 'r' });
    }
    if lights.is_empty() {
        lights.extend([Light::Record, Light::Status].map(|light| Lit { light, part: None, at: () }));
    }
    Terminal { buttons, lights }
}
