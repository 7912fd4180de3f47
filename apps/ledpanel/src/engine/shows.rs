//! What devices and the bus are shown.

use holdfast_dbus::panel::{ButtonInfo, DeviceInfo, LightInfo};

use super::Engine;
use crate::bus::Shown;
use crate::patterns;

impl Engine {
    /// A device that does not answer, or a button that is stuck, is shown on the panel as well.
    pub(super) fn look_at_devices(&mut self, now_ns: u64) {
        // Not those that have not been tried yet.
        let broken = self.devices.iter().any(|device| !device.state.borrow().error.is_empty());
        let trouble = broken || self.buttons.all().any(|(_, button)| button.stuck || button.chattering);
        self.extras.trouble_since_ns = match (trouble, self.extras.trouble_since_ns) {
            (false, _) => None,
            (true, since) => since.or(Some(now_ns)),
        };
    }

    /// The newest frame to all devices, if it is another one.
    pub(super) fn light(&self, now_ns: u64) {
        let frame = patterns::frame(&self.conditions, &self.extras, &self.look, now_ns);
        self.wires.frames.send_if_modified(|shown| {
            let changed = *shown != frame;
            *shown = frame;
            changed
        });
    }

    pub(super) fn show(&self, now_ns: u64, recorder_present: bool) {
        self.light(now_ns);
        let lights = self.look.lights.iter().map(|light| {
            let row = patterns::tells(&self.conditions, &self.extras, &self.look, light, now_ns);
            LightInfo {
                name: light.to_string(),
                condition: row.map_or("off", |row| row.name).to_owned(),
                colour: row.map_or("", |row| row.colour.name()).to_owned(),
                meaning: row.map_or("", |row| row.meaning).to_owned(),
            }
        });
        let buttons = self.buttons.all().map(|(button, shown)| ButtonInfo {
            name: button.to_string(),
            pressed: shown.pressed,
            stuck: shown.stuck,
            chatters: shown.chattering,
            presses: shown.presses,
        });
        let devices = self.devices.iter().map(|device| {
            let state = device.state.borrow();
            DeviceInfo {
                name: device.name.clone(),
                kind: device.kind.to_owned(),
                works: state.works,
                error: state.error.clone(),
            }
        });
        let shown = Shown {
            lights: lights.collect(),
            buttons: buttons.collect(),
            devices: devices.collect(),
            brightness: self.look.brightness,
            recorder_present,
        };
        self.wires.shown.send_if_modified(|before| {
            let changed = *before != shown;
            *before = shown;
            changed
        });
    }
}
