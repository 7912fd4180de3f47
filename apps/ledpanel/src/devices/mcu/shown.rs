//! What of a frame goes to the panel, and whether the panel has it all. Pure.

use std::collections::BTreeSet;
use std::fmt::Display;

use holdfast_link::panel::{About, LightLevel, Lines, Show, TEXT_BYTES};

use super::McuConfig;
use crate::devices::DeviceError;
use crate::model::{Frame, Shade};

/// The lights and the buzzer. Lights that are off need not be named.
pub(super) fn show(config: &McuConfig, frame: &Frame) -> Show {
    let mut show = Show { buzzer: frame.buzzer, ..Show::default() };
    for (light, index) in &config.lights {
        let shade = frame.shade(light);
        let [red, green, blue] = levels(shade);
        // `check` has seen that no two share an index, so that all fit.
        if shade.level > 0 && show.lights.push(LightLevel { index: *index, red, green, blue }).is_err() {
            break;
        }
    }
    show
}

fn levels(shade: Shade) -> [u8; 3] {
    // Rounded up: a light that is on must not go out because it is dim.
    shade
        .colour
        .rgb()
        .map(|part| u8::try_from((u16::from(part) * u16::from(shade.level)).div_ceil(255)).unwrap_or(u8::MAX))
}

/// The text, in what a character display can write.
pub(super) fn lines(frame: &Frame) -> Lines {
    let line = |text: &str| {
        let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        text.chars().take(TEXT_BYTES).map(printable).collect()
    };
    let [upper, lower] = &frame.text;
    Lines { upper: line(upper), lower: line(lower) }
}

/// The panel has what the configuration wires.
pub(super) fn check(config: &McuConfig, about: &About) -> Result<(), DeviceError> {
    let McuConfig { path, lights, buttons, display, .. } = config;
    all(path, "light", lights, about, about.lights)?;
    all(path, "button", buttons, about, about.buttons)?;
    if *display && !about.display {
        let what = format!("the panel on {path} ({}) has no display, but one is configured", about.name);
        return Err(DeviceError::new(what, "Take the display out of the configuration"));
    }
    Ok(())
}

fn all<T: Display>(path: &str, kind: &str, wired: &[(T, u8)], about: &About, count: u8) -> Result<(), DeviceError> {
    let mut taken = BTreeSet::new();
    for (name, index) in wired {
        if *index >= count {
            let what = format!(
                "the panel on {path} ({}) has {count} {kind}s, counted from 0, but `{name}` is its {kind} {index}",
                about.name
            );
            return Err(DeviceError::new(what, "Correct the index in the configuration"));
        }
        if !taken.insert(index) {
            let what = format!("two {kind}s are wired to {kind} {index} of the panel on {path}");
            return Err(DeviceError::new(what, format!("Give `{name}` an index of its own")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Button, Colour, Light};

    fn config() -> McuConfig {
        McuConfig {
            path: "/dev/ttyX".into(),
            baud: 115_200,
            lights: vec![(Light::Record, 3), (Light::Status, 0)],
            buttons: vec![(Button("record".into()), 1)],
            display: true,
        }
    }

    fn about() -> About {
        About { lights: 4, buttons: 2, display: true, ..About::default() }
    }

    #[test]
    fn lights_that_are_on_are_named_with_their_index_and_scaled() {
        let shade = |colour, level| Shade { colour, level };
        let lights = BTreeMap::from([
            (Light::Record, shade(Colour::Amber, 1)),
            (Light::Status, shade(Colour::White, 0)),
            (Light::RecordInput("cam0".into()), shade(Colour::Red, 255)),
        ]);
        let frame = Frame { lights, buzzer: true, ..Frame::default() };
        let shown = show(&config(), &frame);
        assert_eq!(shown.lights.as_slice(), [LightLevel { index: 3, red: 1, green: 1, blue: 0 }]);
        assert!(shown.buzzer);
        assert_eq!(levels(shade(Colour::Amber, 255)), Colour::Amber.rgb());
        assert_eq!(levels(shade(Colour::White, 128)), [128; 3]);
    }

    #[test]
    fn text_is_cut_and_made_printable() {
        let frame = Frame { text: ["7 h left, Küche\n".into(), "x".repeat(99)], ..Frame::default() };
        let lines = lines(&frame);
        assert_eq!((lines.upper.as_str(), lines.lower.len()), ("7 h left, K?che?", TEXT_BYTES));
    }

    #[test]
    fn what_the_panel_has_not_is_told() {
        assert!(check(&config(), &about()).is_ok());
        let told = |config: McuConfig, about: About| check(&config, &about).unwrap_err().to_string();
        let fewer = told(config(), About { lights: 3, ..about() });
        assert!(fewer.contains("has 3 lights") && fewer.contains("`record` is its light 3"), "{fewer}");
        assert!(told(config(), About { buttons: 1, ..about() }).contains("`record` is its button 1"));
        assert!(told(config(), About { display: false, ..about() }).contains("no display"));
        let twice = McuConfig { lights: vec![(Light::Record, 0), (Light::Status, 0)], ..config() };
        assert!(told(twice, about()).contains("two lights are wired to light 0"));
    }
}
