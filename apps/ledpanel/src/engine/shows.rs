//! What devices and the bus are shown.

use holdfast_dbus::panel::{ButtonInfo, DeviceInfo, LightInfo};

use super::Engine;
use crate::bus::Shown;
use crate::{patterns, trouble};

impl Engine {
    /// A device that does not answer, or a button that is stuck, is shown on the panel as well, and reported to the recorder.
    pub(super) fn look_at_devices(&mut self, now_ns: u64) {
        // Not those that have not been tried yet.
        let broken = self.devices.iter().filter_map(|device| {
            let state = device.state.borrow();
            (!state.error.is_empty()).then(|| trouble::of_device(&device.name, device.kind, &state.error))
        });
        let odd = self.buttons.all().filter_map(|(button, shown)| trouble::of_button(button, &shown));
        let wrong: Vec<_> = broken.chain(odd).collect();
        self.extras.trouble_since_ns = match (wrong.is_empty(), self.extras.trouble_since_ns) {
            (true, _) => None,
            (false, since) => since.or(Some(now_ns)),
        };
        let reports = self.troubles.settle(now_ns, wrong);
        self.wires.reports.send_if_modified(|before| {
            let changed = *before != reports;
            *before = reports;
            changed
        });
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
