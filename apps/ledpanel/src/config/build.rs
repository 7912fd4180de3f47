//! From what is written to a [`Config`], with every mistake on the way.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::build_device::{device, kind_of_device};
use super::checks::night;
use super::mistakes::{Mistake, line_of};
use super::reader::{Reader, Scope, allowed, kind_of, place_of};
use super::schema::{BUTTON, CHORD, Key, PANEL};
use super::types::{Action, Bus, ButtonConfig, ChordConfig, Config, Night, Panel, ShortWhileRecording};
use crate::model::RECORD;

/// What the file's first level has.
const TABLES: [&str; 4] = ["panel", "button", "chord", "device"];

/// Builds it. The second list are warnings.
pub(super) fn build(text: &str, root: &DeTable<'_>) -> (Config, Vec<Mistake>, Vec<Mistake>) {
    let mut reader = Reader { text, mistakes: Vec::new() };
    let top = Scope { path: String::new(), header: "the file", table: root, place: 0..0, keys: &[] };
    reader.unknown(&top, &TABLES, |name| {
        PANEL.iter().any(|key| key.name == name).then(|| format!("{name} belongs into [panel]"))
    });
    let empty = DeTable::new();
    let panel = panel(&mut reader, root, &empty);
    let mut devices = Vec::new();
    for (index, (table, place)) in tables(&mut reader, root, "", "device").into_iter().enumerate() {
        let path = named("device", index, table);
        let scope = Scope { path, header: "[[device]]", table, place, keys: kind_of_device(table) };
        devices.extend(device(&mut reader, &scope).map(|built| (built, scope)));
    }
    unique_devices(&mut reader, &devices);

    let mut buttons: Vec<ButtonConfig> = Vec::new();
    for (index, (table, place)) in tables(&mut reader, root, "", "button").into_iter().enumerate() {
        let scope = Scope { path: named("button", index, table), header: "[[button]]", table, place, keys: BUTTON };
        let button = button(&mut reader, &scope);
        if buttons.iter().any(|other| other.name == button.name && !button.name.is_empty()) {
            let why = "is there twice";
            reader.note(
                &scope,
                "name",
                place_of(&scope, "name"),
                why,
                None,
                "write one [[button]] for each".to_owned(),
            );
        }
        buttons.push(button);
    }
    let mut warnings = Vec::new();
    let wired: Vec<String> =
        devices.iter().flat_map(|(device, _)| device.wiring.buttons()).map(|button| button.0.clone()).collect();
    for (button, (_, place)) in buttons.iter().zip(tables(&mut Reader { text, mistakes: vec![] }, root, "", "button")) {
        if !wired.contains(&button.name) {
            let remedy = format!("add to a [[device]]: [[device.button]] with button = \"{}\"", button.name);
            warnings.push(warning(
                text,
                &format!("button.{}", button.name),
                place,
                "is a button that no device has",
                remedy,
            ));
        }
    }
    for name in [RECORD.to_owned()].into_iter().chain(wired.iter().cloned()) {
        if !buttons.iter().any(|button| button.name == name) {
            buttons.push(ButtonConfig::by_default(&name));
        }
    }
    let mut chords: Vec<ChordConfig> = Vec::new();
    for (index, (table, place)) in tables(&mut reader, root, "", "chord").into_iter().enumerate() {
        let path = format!("chord.{}", index + 1);
        let scope = Scope { path, header: "[[chord]]", table, place, keys: CHORD };
        if let Some(chord) = chord(&mut reader, &scope) {
            for button in &chord.buttons {
                if !wired.contains(button) {
                    let remedy = format!("add to a [[device]]: [[device.button]] with button = \"{button}\"");
                    let why = format!("asks for the button {button}, which no device has");
                    warnings.push(warning(text, &scope.path, place_of(&scope, "buttons"), &why, remedy));
                }
            }
            chords.push(chord);
        }
    }
    if !devices.is_empty() {
        warnings.extend(missing(&devices, &wired));
    }
    let devices = devices.into_iter().map(|(device, _)| device).collect();
    (Config { panel, buttons, chords, devices }, reader.mistakes, warnings)
}

fn panel(reader: &mut Reader<'_>, root: &DeTable<'_>, empty: &DeTable<'_>) -> Panel {
    let (table, place) = match root.get("panel").map(|node| (node.get_ref(), node.span())) {
        Some((DeValue::Table(table), place)) => (table, place),
        Some((other, place)) => {
            not_a_table(reader, "panel", other, place, "[panel]");
            (empty, 0..0)
        }
        None => (empty, 0..0),
    };
    let scope = Scope { path: "panel".to_owned(), header: "[panel]", table, place, keys: PANEL };
    reader.unknown(&scope, &[], |name| {
        BUTTON.iter().any(|key| key.name == name).then(|| format!("{name} belongs into a [[button]]"))
    });
    let bus = Bus::named(&reader.text(&scope, "bus"));
    let brightness = reader.number(&scope, "brightness");
    let night_brightness = reader.number(&scope, "night_brightness");
    let times = reader.text_if_any(&scope, "night").as_deref().and_then(night);
    if scope.table.get("night").is_none() && scope.table.get("night_brightness").is_some() {
        let remedy = "add when it is night: night = \"22:00-06:00\"".to_owned();
        let place = place_of(&scope, "night_brightness");
        reader.note(&scope, "night_brightness", place, "has no effect without night", None, remedy);
    }
    let (hold_ms, double_ms): (u32, u32) = (reader.number(&scope, "hold_ms"), reader.number(&scope, "double_ms"));
    if double_ms >= hold_ms && hold_ms > 0 {
        let why = format!("is not below hold_ms = {hold_ms}");
        let remedy = "make double_ms smaller, or hold_ms larger".to_owned();
        let name = if scope.table.get("double_ms").is_some() { "double_ms" } else { "hold_ms" };
        reader.note(&scope, name, place_of(&scope, name), &why, None, remedy);
    }
    Panel {
        bus,
        brightness,
        night: times.map(|(from_minute, to_minute)| Night { from_minute, to_minute, brightness: night_brightness }),
        buzzer: reader.flag(&scope, "buzzer"),
        allow_press_button: reader.flag(&scope, "allow_press_button"),
        hold_ms,
        debounce_ms: reader.number(&scope, "debounce_ms"),
        double_ms,
        short_while_recording: match reader.text(&scope, "short_while_recording").as_str() {
            "nothing" => ShortWhileRecording::Nothing,
            _ => ShortWhileRecording::Mark,
        },
        mark_text: reader.text(&scope, "mark_text"),
    }
}

impl ButtonConfig {
    /// What a button does that has no `[[button]]`.
    #[must_use]
    pub fn by_default(name: &str) -> Self {
        let record = name == RECORD;
        Self {
            name: name.to_owned(),
            short: if record { Action::Start } else { Action::Nothing },
            double: Action::Nothing,
            long: if record { Action::Stop } else { Action::Nothing },
        }
    }
}

fn button(reader: &mut Reader<'_>, scope: &Scope<'_>) -> ButtonConfig {
    reader.unknown(scope, &[], |_| None);
    let name = reader.text(scope, "name");
    let default = ButtonConfig::by_default(&name);
    let mut action = |gesture, default| reader.text_if_any(scope, gesture).map_or(default, |word| action_of(&word));
    let (short, double, long) =
        (action("short", default.short), action("double", default.double), action("long", default.long));
    for (gesture, what) in [("short", short), ("double", double)] {
        if what == Action::Stop {
            let remedy = format!("stop with a long press: long = \"stop\", {gesture} = \"mark\"");
            let why = "would let a bump end a recording";
            reader.note(scope, gesture, place_of(scope, gesture), why, None, remedy);
        }
    }
    ButtonConfig { name, short, double, long }
}

fn chord(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<ChordConfig> {
    reader.unknown(scope, &[], |_| None);
    let action = action_of(&reader.text(scope, "action"));
    let before = reader.mistakes.len();
    let buttons = reader.list(scope, "buttons");
    if reader.mistakes.len() > before {
        return None;
    }
    match <[String; 2]>::try_from(buttons) {
        Ok(buttons) if buttons[0] != buttons[1] => Some(ChordConfig { buttons, action }),
        _ => {
            let key: Option<&Key> = scope.keys.first();
            let remedy = "name two buttons: buttons = [\"record\", \"mark\"]".to_owned();
            reader.note(scope, "buttons", place_of(scope, "buttons"), "is not allowed", key.map(allowed), remedy);
            None
        }
    }
}

/// A word that its row allows; anything else has been told and does nothing.
fn action_of(word: &str) -> Action {
    match word {
        "start" => Action::Start,
        "mark" => Action::Mark,
        "stop" => Action::Stop,
        "identify" => Action::Identify,
        "lamp-test" => Action::LampTest,
        _ => Action::Nothing,
    }
}

/// What a panel without is no panel, said of the first device.
fn missing(devices: &[(super::device::DeviceConfig, Scope<'_>)], wired: &[String]) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    let mut warn = |key: &str, problem: &str, remedy: &str| {
        warnings.push(Mistake {
            line: 0,
            key: key.to_owned(),
            value: None,
            problem: problem.to_owned(),
            allowed: None,
            remedy: remedy.to_owned(),
            bytes: None,
        });
    };
    if !wired.iter().any(|button| button == RECORD) {
        warn(
            "record",
            "no device has the button record: nothing can be started or stopped here",
            "add to a [[device]]: [[device.button]] with button = \"record\"",
        );
    }
    if !devices.iter().flat_map(|(device, _)| device.wiring.lights()).any(|light| light.to_string().starts_with(RECORD))
    {
        warn(
            "record",
            "no device has the light record: nobody sees whether footage is safe",
            "add to a [[device]]: [[device.light]] with light = \"record\"",
        );
    }
    warnings
}

fn warning(text: &str, key: &str, place: Range<usize>, why: &str, remedy: String) -> Mistake {
    Mistake {
        line: line_of(text, place.start),
        key: key.to_owned(),
        value: None,
        problem: format!("{key} {why}"),
        allowed: None,
        remedy,
        bytes: Some(place),
    }
}

/// Names and ports are there once.
fn unique_devices(reader: &mut Reader<'_>, devices: &[(super::device::DeviceConfig, Scope<'_>)]) {
    for (index, (device, scope)) in devices.iter().enumerate() {
        let before = &devices[..index];
        if before.iter().any(|(other, _)| other.name == device.name && !device.name.is_empty()) {
            let remedy = "give each device a name of its own".to_owned();
            reader.note(scope, "name", place_of(scope, "name"), "is there twice", None, remedy);
        }
        let Some(port) = device.wiring.serial() else { continue };
        if let Some((other, _)) = before.iter().find(|(other, _)| other.wiring.serial() == Some(port)) {
            let why = format!("is the port of {} too", other.name);
            let remedy = "a serial line serves one device; for several Modbus units on one line use a gateway to TCP";
            reader.note(scope, "port", place_of(scope, "port"), &why, None, remedy.to_owned());
        }
    }
}

/// `device.front`, or `device.1` where it has no name.
fn named(what: &str, index: usize, table: &DeTable<'_>) -> String {
    match table.get("name").map(Spanned::get_ref) {
        Some(DeValue::String(name)) if super::checks::is_name(name) => format!("{what}.{name}"),
        _ => format!("{what}.{}", index + 1),
    }
}

/// The tables of a list such as `[[device]]`. Anything else is noted.
pub(super) fn tables<'t>(
    reader: &mut Reader<'_>,
    parent: &'t DeTable<'t>,
    path: &str,
    name: &str,
) -> Vec<(&'t DeTable<'t>, Range<usize>)> {
    let Some(node) = parent.get(name) else { return Vec::new() };
    let full = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let header = if path.is_empty() { format!("[[{name}]]") } else { format!("[[device.{name}]]") };
    let DeValue::Array(items) = node.get_ref() else {
        not_a_table(reader, &full, node.get_ref(), node.span(), &header);
        return Vec::new();
    };
    let mut found = Vec::new();
    for item in items.iter() {
        match item.get_ref() {
            DeValue::Table(table) => found.push((table, item.span())),
            other => not_a_table(reader, &full, other, item.span(), &header),
        }
    }
    found
}

pub(super) fn not_a_table(reader: &mut Reader<'_>, key: &str, is: &DeValue<'_>, place: Range<usize>, header: &str) {
    reader.mistakes.push(Mistake {
        line: line_of(reader.text, place.start),
        key: key.to_owned(),
        value: None,
        problem: format!("{key} is {}, and should be {header}", kind_of(is)),
        allowed: None,
        remedy: format!("write {header} on a line of its own, and its keys below"),
        bytes: Some(place),
    });
}
