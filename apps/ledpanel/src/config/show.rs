//! What is configured, in words: for `holdfast-panel --check`.

use std::fmt;

use super::device::{Controller, DeviceConfig, Wiring};
use super::types::{Action, Bus, Config, Night, ShortWhileRecording};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let panel = &self.panel;
        write!(f, "panel: {}, brightness {} %", panel.bus, panel.brightness)?;
        match panel.night {
            Some(night) => writeln!(f, ", at night ({night}) {} %", night.brightness)?,
            None => writeln!(f, ", no night")?,
        }
        let (hold, settle, double) = (panel.hold_ms, panel.debounce_ms, panel.double_ms);
        writeln!(
            f,
            "       a press is long after {hold} ms, double within {double} ms; contacts settle within {settle} ms"
        )?;
        match panel.short_while_recording {
            ShortWhileRecording::Mark => {
                writeln!(f, "       a short press while there is a recording marks it: \"{}\"", panel.mark_text)?;
            }
            ShortWhileRecording::Nothing => {
                writeln!(f, "       a short press while there is a recording does nothing")?;
            }
        }
        writeln!(
            f,
            "       the buzzer {}, PressButton {}",
            if panel.buzzer { "sounds" } else { "is silent" },
            if panel.allow_press_button { "is allowed" } else { "is refused" }
        )?;
        for button in &self.buttons {
            let gestures = [("short", button.short), ("double", button.double), ("long", button.long)];
            let told: Vec<String> = gestures
                .iter()
                .filter(|(_, action)| *action != Action::Nothing)
                .map(|(gesture, action)| format!("{gesture} = {action}"))
                .collect();
            let told = if told.is_empty() { "nothing by itself".to_owned() } else { told.join(", ") };
            writeln!(f, "button {}: {told}", button.name)?;
        }
        for chord in &self.chords {
            writeln!(f, "buttons {} and {} together: {}", chord.buttons[0], chord.buttons[1], chord.action)?;
        }
        if self.devices.is_empty() {
            writeln!(f, "no device: no buttons and no lights, only org.holdfast.Panel1")?;
        }
        self.devices.iter().try_for_each(|device| writeln!(f, "{device}"))
    }
}

impl fmt::Display for DeviceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device {}: {}", self.name, self.wiring)?;
        let listed = |words: Vec<String>| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let buttons = self.wiring.buttons().into_iter().map(ToString::to_string).collect();
        let lights = self.wiring.lights().into_iter().map(ToString::to_string).collect();
        match self.wiring {
            Wiring::Display(_) => Ok(()),
            _ => write!(f, "; buttons: {}; lights: {}", listed(buttons), listed(lights)),
        }
    }
}

impl fmt::Display for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind())?;
        match self {
            Self::Gpio(device) => write!(f, " on chip {}", device.chip),
            Self::Evdev(device) => write!(f, " of {}", device.device),
            Self::ModbusTcp(device) => {
                write!(f, " at {} port {}, unit {}", device.host, device.port, device.modbus.unit)
            }
            Self::ModbusRtu(device) => {
                let (serial, unit) = (&device.serial, device.modbus.unit);
                write!(f, " on {} ({} baud), unit {unit}", serial.port.display(), serial.baud)
            }
            Self::Mcu(device) => write!(f, " on {} ({} baud)", device.serial.port.display(), device.serial.baud),
            Self::Display(device) => {
                let controller = match device.controller {
                    Controller::Hd44780 => "hd44780",
                    Controller::Ssd1306 => "ssd1306",
                };
                write!(f, " {controller} on {} at {:#04x}", device.bus.display(), device.address)
            }
            Self::Raspberry(_) | Self::Leds(_) | Self::Terminal(_) => Ok(()),
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

impl fmt::Display for Night {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from_minute, self.to_minute);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing",
            Self::Start => "start",
            Self::Mark => "mark",
            Self::Stop => "stop",
            Self::Identify => "identify",
            Self::LampTest => "lamp-test",
        })
    }
}
