//! Mistakes with their words, the example that is installed, and the documentation, held to the rows of the schema.

use std::ffi::OsString;
use std::path::Path;

use holdfast_settings::documented::disagreements;
use holdfast_settings::{Absent, Key};

use super::device::{Bias, InputLine, Line, OutputLine, Wiring};
use super::schema::{BUTTON, CHORD, DEVICES, KINDS, PANEL};
use super::{Action, Bus, Loaded, Mistakes, ShortWhileRecording};
use crate::model::{Button, Light};

const INSTALLED: &str = include_str!("../../panel.toml");
const DOCUMENTED: &str = include_str!("../../../../docs/panel-configuration.md");

fn read(text: &str) -> Result<Loaded, Mistakes> {
    Loaded::from_toml(text, "panel.toml", &|_| None)
}

fn mistakes(text: &str) -> Mistakes {
    read(text).err().unwrap_or_else(|| panic!("this is no mistake:\n{text}"))
}

/// The example with all that is commented out but prose.
fn uncommented() -> String {
    let written = |line: &str| {
        let line = line.strip_prefix('#')?;
        let key =
            line.split_once(" = ").is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        (key || line.starts_with('[')).then(|| line.to_owned())
    };
    INSTALLED.lines().map(|line| written(line).unwrap_or_else(|| line.to_owned())).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_installed_file_holds_the_defaults_and_no_device() {
    let loaded = read(INSTALLED).unwrap();
    let nothing = read("").unwrap();
    assert_eq!(loaded.config, nothing.config);
    assert!(loaded.warnings.is_none() && nothing.warnings.is_none());
    let panel = &loaded.config.panel;
    assert_eq!((&panel.bus, panel.brightness, panel.night), (&Bus::System, 100, None));
    assert_eq!((panel.hold_ms, panel.debounce_ms, panel.double_ms), (1500, 20, 400));
    assert_eq!((panel.buzzer, panel.allow_press_button), (true, false));
    assert_eq!(panel.short_while_recording, ShortWhileRecording::Mark);
    let [record] = loaded.config.buttons.as_slice() else { panic!("{:?}", loaded.config.buttons) };
    assert_eq!((record.short, record.double, record.long), (Action::Start, Action::Nothing, Action::Stop));
}

/// The lines of `[panel]` that are commented out are the defaults, and every kind has an example that is right.
#[test]
fn the_examples_in_the_installed_file_are_right() {
    let text = uncommented();
    let loaded = read(&text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut panel = loaded.config.panel.clone();
    let night = panel.night.take().unwrap();
    assert_eq!((night.from_minute, night.to_minute, night.brightness), (22 * 60, 6 * 60, 10));
    assert_eq!(panel, read("").unwrap().config.panel);
    let kinds: Vec<&str> = loaded.config.devices.iter().map(|device| device.wiring.kind()).collect();
    assert_eq!(kinds, KINDS);
    let Wiring::Gpio(gpio) = &loaded.config.devices[0].wiring else { panic!() };
    assert_eq!(gpio.buttons[0].button, Button("record".to_owned()));
    assert_eq!(
        gpio.buttons[0].at,
        InputLine { line: Line::Name("REC_BUTTON".to_owned()), active_low: true, bias: Bias::PullUp }
    );
    assert_eq!(gpio.lights[1].light, Light::Status);
    assert_eq!(gpio.lights[1].at, OutputLine { line: Line::Offset(12), active_low: false });
    assert!(gpio.buzzer.is_some());
    let Wiring::Display(display) = &loaded.config.devices[8].wiring else { panic!() };
    assert_eq!(display.address, 0x3c);
}

fn every_key() -> Vec<(&'static str, &'static Key)> {
    let mut all: Vec<(&str, &Key)> = Vec::new();
    for (table, keys) in [("panel", PANEL), ("button", BUTTON), ("chord", CHORD)] {
        all.extend(keys.iter().map(|key| (table, key)));
    }
    for kind in DEVICES {
        all.extend([kind.keys, kind.button, kind.light, kind.buzzer].into_iter().flatten().map(|key| (kind.name, key)));
    }
    all
}

#[test]
fn every_key_is_documented_with_its_default() {
    for (table, key) in every_key() {
        let row = |line: &&str| line.starts_with('|') && line.contains(&format!("`{}`", key.name));
        let shared = matches!(key.name, "button" | "light" | "part");
        assert!(shared || DOCUMENTED.lines().any(|line| row(&line)), "{table}.{} is not documented", key.name);
        if let (Absent::Default(default), "panel") = (key.absent, table) {
            let told = DOCUMENTED.lines().filter(row).any(|line| line.contains(&format!("| `{default}` |")));
            assert!(told, "{table}.{} = {default} is not what is documented", key.name);
        }
        assert!(INSTALLED.contains(&format!("{} = ", key.name)) || KNOWN_ELSEWHERE.contains(&key.name), "{}", key.name);
    }
    for kind in DEVICES {
        assert!(DOCUMENTED.contains(&format!("`{}`", kind.name)));
    }
}

/// The tables that are the same whatever the devices: row by row, with their bounds, and nothing that is no key.
#[test]
fn the_page_agrees_with_the_rows() {
    for (header, keys) in [("[panel]", PANEL), ("[[button]]", BUTTON), ("[[chord]]", CHORD)] {
        assert_eq!(disagreements(DOCUMENTED, header, keys), Vec::<String>::new());
    }
}

/// Keys that the example file speaks of in prose.
const KNOWN_ELSEWHERE: [&str; 2] = ["double", "grab"];

#[test]
fn kinds_and_devices_are_the_same_list() {
    assert_eq!(DEVICES.iter().map(|kind| kind.name).collect::<Vec<_>>(), KINDS);
}

/// A default that its own row would refuse, or an example that is wrong, would send people in circles.
#[test]
fn defaults_and_examples_are_allowed() {
    for (table, key) in every_key() {
        assert!(key.is_sound(), "{table}.{} = {}", key.name, key.example);
    }
    let [buttons, _] = CHORD else { panic!("{CHORD:?}") };
    read(&format!("[[chord]]\n{} = {}\n", buttons.name, buttons.example)).unwrap();
}

#[test]
fn an_administrators_file_is_read_and_told() {
    let loaded = read(include_str!("tests/panel.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    golden("panel.txt", &loaded.config.to_string());
    assert!(loaded.warnings.is_none(), "{:?}", loaded.warnings);
}

#[test]
fn every_mistake_is_told_with_place_and_remedy() {
    let mistakes = mistakes(include_str!("tests/mistakes.toml"));
    for mistake in mistakes.mistakes() {
        assert!(mistake.line() > 0 && !mistake.problem.is_empty() && !mistake.remedy.is_empty(), "{mistake:?}");
    }
    golden("mistakes.txt", &mistakes.to_string());
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let loaded = read(include_str!("tests/warnings.toml")).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    golden("warnings.txt", &loaded.warnings.unwrap().to_string());
}

#[test]
fn what_is_no_toml_is_told_once() {
    let mistakes = mistakes("[panel]\nhold_ms = = 3\nbuzzer = maybe\n");
    assert!(mistakes.mistakes()[0].line() == 2 && mistakes.to_string().contains("this is not TOML"), "{mistakes}");
}

#[test]
fn the_environment_overrides_the_bus() {
    let with = |value: &'static str| {
        Loaded::from_toml("[panel]\nbus = \"session\"\n", "panel.toml", &move |name| {
            (name == "HOLDFAST_BUS").then(|| OsString::from(value))
        })
    };
    assert_eq!(with("unix:path=/tmp/bus").unwrap().config.panel.bus, Bus::Address("unix:path=/tmp/bus".to_owned()));
    assert_eq!(with("").unwrap().config.panel.bus, Bus::Session);
    let mistakes = with("sytem").unwrap_err();
    assert!(mistakes.to_string().contains("HOLDFAST_BUS"), "{mistakes}");
}

#[test]
fn a_file_that_can_t_be_read_is_told_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Loaded::load_with(&directory.path().join("none.toml"), &|_| None).unwrap_err();
    assert!(missing.to_string().contains("HOLDFAST_PANEL_CONFIG"), "{missing}");
    let file = directory.path().join("panel.toml");
    std::fs::write(&file, b"[panel]\n\xff\n").unwrap();
    let garbage = Loaded::load_with(&file, &|_| None).unwrap_err();
    assert_eq!(garbage.mistakes()[0].line(), 2, "{garbage}");
}

#[test]
fn night_holds_over_midnight() {
    let night = |from, to, at| super::Night { from_minute: from, to_minute: to, brightness: 1 }.holds_at(at);
    assert!(night(1320, 360, 1320) && night(1320, 360, 0) && night(1320, 360, 359));
    assert!(!night(1320, 360, 360) && !night(1320, 360, 1319));
    assert!(night(60, 120, 60) && !night(60, 120, 120) && !night(60, 120, 0));
}

proptest::proptest! {
    /// Whatever stands there: a configuration or mistakes, never a panic, and mistakes can be shown.
    #[test]
    fn any_text_is_read_or_told(cuts in proptest::collection::vec((0..6000_usize, "[ -~\n]{0,6}"), 0..4)) {
        let mut text = uncommented();
        for (at, piece) in cuts {
            let at = text.floor_char_boundary(at.min(text.len()));
            let to = text.floor_char_boundary((at + piece.len()).min(text.len()));
            text.replace_range(at..to, &piece);
        }
        if let Err(mistakes) = read(&text) {
            proptest::prop_assert!(!mistakes.mistakes().is_empty() && !mistakes.to_string().is_empty());
        }
    }
}

fn golden(name: &str, told: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests").join(name);
    let told = format!("{}\n", told.trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), told, "{}", path.display());
}
