//! One LED: its files.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::devices::DeviceError;
use crate::devices::wired::{self, there_is};
use crate::model::{Colour, Part, Shade};
use crate::patterns::{FAULT_OFF_MS, FAULT_ON_MS};

/// An LED. It has a maximum, and colours if it is a multicolour one.
#[derive(Debug)]
pub(super) struct Led {
    path: PathBuf,
    max: u32,
    /// What its parts are called, in the order in which they are written; empty: it has one colour.
    parts: Vec<String>,
    shown: Option<(u32, String)>,
}

impl Led {
    /// Reads what it can do.
    pub(super) fn open(root: &Path, name: &str) -> Result<Self, DeviceError> {
        let path = root.join(name);
        // A name with a slash in it would be some other file.
        if name.is_empty() || name.contains('/') || !path.is_dir() {
            return Err(missing(root, name));
        }
        let mut led = Self { path, max: 1, parts: Vec::new(), shown: None };
        led.max = led.read("max_brightness")?.trim().parse().map_err(|error| {
            DeviceError::new(
                format!("{}: {error}", led.file("max_brightness").display()),
                "This is no LED of the kernel",
            )
        })?;
        match fs::read_to_string(led.file("multi_index")) {
            Ok(parts) => led.parts = parts.split_whitespace().map(str::to_owned).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(led.failed("read", "multi_index", &error)),
        }
        Ok(led)
    }

    /// Takes it from what else drives it: its trigger.
    pub(super) fn take_over(&self) -> Result<(), DeviceError> {
        let Some((driven_by, _)) = self.triggers()? else { return Ok(()) };
        if driven_by != "none" {
            tracing::info!(led = %self.path.display(), trigger = driven_by, "took an LED from its trigger");
            self.write("trigger", "none")?;
        }
        Ok(())
    }

    /// The trigger that drives it, and all that could; `None`: its kernel has no triggers.
    fn triggers(&self) -> Result<Option<(String, Vec<String>)>, DeviceError> {
        let text = match fs::read_to_string(self.file("trigger")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("read", "trigger", &error)),
        };
        Ok(Some(triggers(&text)))
    }

    /// Shows it. What is shown already is not written again.
    pub(super) fn show(&mut self, shade: Shade, part: Option<Part>) -> Result<(), DeviceError> {
        let brightness = wired::scaled(wired::level(shade, part), self.max);
        let intensity = self.intensity(shade.colour);
        let is_shown = |shown: &(u32, String)| shown.0 == brightness && shown.1 == intensity;
        if self.shown.as_ref().is_some_and(is_shown) {
            return Ok(());
        }
        let same_colour = self.shown.as_ref().is_some_and(|shown| shown.1 == intensity);
        if !same_colour && !self.parts.is_empty() {
            self.write("multi_intensity", &intensity)?;
        }
        self.write("brightness", &brightness.to_string())?;
        self.shown = Some((brightness, intensity));
        Ok(())
    }

    /// What `multi_intensity` is for a colour: the kernel scales it by the brightness.
    fn intensity(&self, colour: Colour) -> String {
        let part = |name: &String| wired::scaled(share(colour, name), self.max).to_string();
        self.parts.iter().map(part).collect::<Vec<_>>().join(" ")
    }

    /// Leaves it to the kernel.
    pub(super) fn leave(&mut self, shade: Shade, part: Option<Part>, blink: bool) -> Result<(), DeviceError> {
        self.take_over()?;
        let can_blink = self.triggers()?.is_some_and(|(_, all)| all.iter().any(|trigger| trigger == "timer"));
        if !(blink && can_blink) {
            return self.show(shade, part);
        }
        // The timer blinks as bright as it is now.
        self.show(Shade { level: u8::MAX, ..shade }, part)?;
        self.write("trigger", "timer")?;
        // These appear with the trigger, and are root's until udev has seen it. It blinks without them too, once a
        // second.
        for (file, ms) in [("delay_on", FAULT_ON_MS), ("delay_off", FAULT_OFF_MS)] {
            if let Err(error) = self.write(file, &ms.to_string()) {
                tracing::debug!(%error, "the kernel blinks at its own pace");
            }
        }
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn read(&self, name: &str) -> Result<String, DeviceError> {
        fs::read_to_string(self.file(name)).map_err(|error| self.failed("read", name, &error))
    }

    /// Without making files: what is not there must not seem to work.
    fn write(&self, name: &str, text: &str) -> Result<(), DeviceError> {
        let mut options = OpenOptions::new();
        let written = options.write(true).truncate(true).open(self.file(name));
        written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| self.failed("write", name, &error))
    }

    fn failed(&self, verb: &str, name: &str, error: &io::Error) -> DeviceError {
        let remedy = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "Let the panel into the group gpio: its udev rules (60-holdfast-panel.rules) give LEDs to that group"
            }
            io::ErrorKind::ReadOnlyFilesystem => {
                "The service sees /sys read-only: its unit needs ReadWritePaths=/sys/devices, as the one that is installed has"
            }
            io::ErrorKind::NotFound => "The LED is gone; see that its driver is loaded",
            _ => "See what the kernel says of the LED (dmesg)",
        };
        DeviceError::new(format!("can't {verb} {}: {error}", self.file(name).display()), remedy)
    }
}

fn missing(root: &Path, name: &str) -> DeviceError {
    let what = format!("there is no LED \"{name}\" in {}", root.display());
    let listed = fs::read_dir(root).map(|there| {
        let names = there.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        there_is(name, &names)
    });
    match listed {
        Ok(there) => DeviceError::new(format!("{what}; {there}"), "Take one of these, or add it to the device tree"),
        Err(error) => DeviceError::new(
            format!("{what}: {error}"),
            "See that /sys is mounted and that the kernel has the LED class (CONFIG_LEDS_CLASS)",
        ),
    }
}

/// `none [timer] heartbeat`: the one in brackets, and all.
fn triggers(text: &str) -> (String, Vec<String>) {
    let mut driven_by = "none".to_owned();
    let all = text.split_whitespace().map(|word| {
        let bare = word.trim_start_matches('[').trim_end_matches(']');
        if bare.len() < word.len() {
            bare.clone_into(&mut driven_by);
        }
        bare.to_owned()
    });
    let all = all.collect();
    (driven_by, all)
}

/// How much a part of a multicolour LED adds to a colour. What is neither red, green nor blue lights for its own
/// colour only.
fn share(colour: Colour, part: &str) -> u8 {
    let [red, green, blue] = colour.rgb();
    match part {
        "red" => red,
        "green" => green,
        "blue" => blue,
        "white" if colour == Colour::White => u8::MAX,
        "amber" | "yellow" if colour == Colour::Amber => u8::MAX,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_triggers() {
        let all = |text| triggers(text);
        assert_eq!(
            all("none [timer] heartbeat\n"),
            ("timer".to_owned(), ["none", "timer", "heartbeat"].map(String::from).into())
        );
        assert_eq!(all("[none] timer").0, "none");
        assert_eq!(all("").0, "none");
    }

    #[test]
    fn parts_of_multicolour_leds() {
        let led = Led {
            path: PathBuf::new(),
            max: 100,
            parts: ["green", "red", "blue", "white", "amber"].map(String::from).into(),
            shown: None,
        };
        assert_eq!(led.intensity(Colour::Red), "0 100 0 0 0");
        assert_eq!(led.intensity(Colour::Amber), "43 100 0 0 100");
        assert_eq!(led.intensity(Colour::White), "100 100 100 100 0");
        let plain = Led { parts: vec![], ..led };
        assert_eq!(plain.intensity(Colour::White), "");
    }
}
