//! From what is written to a [`Config`], with every mistake on the way.

use holdfast_settings::texts::is_name;
use holdfast_settings::{Mistake, Node, Origin, Reader, Scope, Source, Table, Value};

use super::build_device::{device, keys_of};
use super::checks::night;
use super::device::DeviceConfig;
use super::reader::{OrAny as _, not_a_table, tables};
use super::schema::{BUTTON, CHORD, PANEL};
use super::types::{Action, Bus, ButtonConfig, ChordConfig, Config, Night, Panel, ShortWhileRecording};
use crate::model::RECORD;

/// What the file's first level has.
const TABLES: [&str; 4] = ["panel", "button", "chord", "device"];

/// A device, and where it was read from.
type Read<'t> = (DeviceConfig, Scope<'t>);

/// Builds it. The second list are warnings.
pub(super) fn build(tree: &Table, sources: &[Source]) -> (Config, Vec<Mistake>, Vec<Mistake>) {
    let reader = &mut Reader::new(sources);
    let top = Scope::top(tree);
    reader.unknown(&top, &TABLES, |name| {
        PANEL.iter().any(|key| key.name == name).then(|| format!("{name} belongs into [panel]"))
    });
    let panel = panel(reader, &top);
    let mut devices: Vec<Read<'_>> = Vec::new();
    for (index, node) in tables(reader, &top, "device", "[[device]]").into_iter().enumerate() {
        let scope = Scope::new(named("device", index, node), "[[device]]", Some(node), keys_of(node));
        devices.extend(device(reader, &scope).map(|built| (built, scope)));
    }
    unique_devices(reader, &devices);
    let wired: Vec<String> =
        devices.iter().flat_map(|(device, _)| device.wiring.buttons()).map(|button| button.0.clone()).collect();

    let mut warnings = Vec::new();
    let mut buttons = buttons(reader, &top, &wired, &mut warnings);
    for name in [RECORD.to_owned()].into_iter().chain(wired.iter().cloned()) {
        if !buttons.iter().any(|button| button.name == name) {
            buttons.push(ButtonConfig::by_default(&name));
        }
    }
    let chords = chords(reader, &top, &wired, &mut warnings);
    if !devices.is_empty() {
        warnings.extend(missing(reader, &devices, &wired));
    }
    let devices = devices.into_iter().map(|(device, _)| device).collect();
    (Config { panel, buttons, chords, devices }, std::mem::take(&mut reader.mistakes), warnings)
}

fn panel(reader: &mut Reader<'_>, top: &Scope<'_>) -> Panel {
    let node = top.written("panel");
    if let Some(node) = node.filter(|node| !matches!(node.value, Value::Table(_))) {
        not_a_table(reader, "panel", node, "[panel]");
    }
    let scope = &Scope::new("panel", "[panel]", node, PANEL);
    reader.unknown(scope, &[], |name| {
        BUTTON.iter().any(|key| key.name == name).then(|| format!("{name} belongs into a [[button]]"))
    });
    let bus = Bus::named(&reader.text(scope, "bus").or_any());
    let brightness = reader.number(scope, "brightness").or_any();
    let night_brightness = reader.number(scope, "night_brightness").or_any();
    let times = reader.text(scope, "night").and_then(|times| night(&times.value));
    if scope.written("night").is_none() && scope.written("night_brightness").is_some() {
        let remedy = "add when it is night: night = \"22:00-06:00\"";
        reader.note(scope, "night_brightness", "has no effect without night", None, remedy);
    }
    let (hold_ms, double_ms): (u32, u32) =
        (reader.number(scope, "hold_ms").or_any(), reader.number(scope, "double_ms").or_any());
    if double_ms >= hold_ms && hold_ms > 0 {
        let why = format!("is not below hold_ms = {hold_ms}");
        let name = if scope.written("double_ms").is_some() { "double_ms" } else { "hold_ms" };
        reader.note(scope, name, &why, None, "make double_ms smaller, or hold_ms larger");
    }
    Panel {
        bus,
        brightness,
        night: times.map(|(from_minute, to_minute)| Night { from_minute, to_minute, brightness: night_brightness }),
        buzzer: reader.flag(scope, "buzzer").or_any(),
        allow_press_button: reader.flag(scope, "allow_press_button").or_any(),
        hold_ms,
        debounce_ms: reader.number(scope, "debounce_ms").or_any(),
        double_ms,
        short_while_recording: match reader.text(scope, "short_while_recording").or_any().as_str() {
            "nothing" => ShortWhileRecording::Nothing,
            _ => ShortWhileRecording::Mark,
        },
        mark_text: reader.text(scope, "mark_text").or_any(),
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

fn buttons(
    reader: &mut Reader<'_>,
    top: &Scope<'_>,
    wired: &[String],
    warnings: &mut Vec<Mistake>,
) -> Vec<ButtonConfig> {
    let mut buttons: Vec<ButtonConfig> = Vec::new();
    for (index, node) in tables(reader, top, "button", "[[button]]").into_iter().enumerate() {
        let scope = Scope::new(named("button", index, node), "[[button]]", Some(node), BUTTON);
        let button = button(reader, &scope);
        if buttons.iter().any(|other| other.name == button.name && !button.name.is_empty()) {
            reader.note(&scope, "name", "is there twice", None, "write one [[button]] for each");
        }
        if !wired.contains(&button.name) {
            let what = format!("button.{}", button.name);
            let why = "is a button that no device has";
            warnings.push(warning(reader, &what, &node.origin, why, wire(&button.name)));
        }
        buttons.push(button);
    }
    buttons
}

fn button(reader: &mut Reader<'_>, scope: &Scope<'_>) -> ButtonConfig {
    reader.unknown(scope, &[], |_| None);
    let name = reader.text(scope, "name").or_any();
    let default = ButtonConfig::by_default(&name);
    let mut action = |gesture, default| reader.text(scope, gesture).map_or(default, |word| action_of(&word.value));
    let (short, double, long) =
        (action("short", default.short), action("double", default.double), action("long", default.long));
    for (gesture, what) in [("short", short), ("double", double)] {
        if what == Action::Stop {
            let remedy = format!("stop with a long press: long = \"stop\", {gesture} = \"mark\"");
            reader.note(scope, gesture, "would let a bump end a recording", None, remedy);
        }
    }
    ButtonConfig { name, short, double, long }
}

fn chords(reader: &mut Reader<'_>, top: &Scope<'_>, wired: &[String], warnings: &mut Vec<Mistake>) -> Vec<ChordConfig> {
    let mut chords: Vec<ChordConfig> = Vec::new();
    for (index, node) in tables(reader, top, "chord", "[[chord]]").into_iter().enumerate() {
        let scope = Scope::new(format!("chord.{}", index + 1), "[[chord]]", Some(node), CHORD);
        let Some(chord) = chord(reader, &scope) else { continue };
        for button in chord.buttons.iter().filter(|button| !wired.contains(button)) {
            let why = format!("asks for the button {button}, which no device has");
            warnings.push(warning(reader, &scope.path, scope.origin_of("buttons"), &why, wire(button)));
        }
        chords.push(chord);
    }
    chords
}

fn chord(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<ChordConfig> {
    reader.unknown(scope, &[], |_| None);
    let action = action_of(&reader.text(scope, "action").or_any());
    let buttons = reader.texts(scope, "buttons")?;
    match <[String; 2]>::try_from(buttons.value) {
        Ok(buttons) if buttons[0] != buttons[1] => Some(ChordConfig { buttons, action }),
        _ => {
            let allowed = scope.key("buttons").map(|key| key.takes.allowed());
            let remedy = "name two buttons: buttons = [\"record\", \"mark\"]";
            reader.note(scope, "buttons", "is not allowed", allowed, remedy);
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

/// What a panel without is no panel.
fn missing(reader: &Reader<'_>, devices: &[Read<'_>], wired: &[String]) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    let mut warn = |problem: &str, remedy: String| {
        let mut warning = reader.mistake_in(RECORD.to_owned(), &Origin::Default);
        (warning.problem, warning.remedy) = (problem.to_owned(), remedy);
        warnings.push(warning);
    };
    if !wired.iter().any(|button| button == RECORD) {
        warn("no device has the button record: nothing can be started or stopped here", wire(RECORD));
    }
    if !devices.iter().flat_map(|(device, _)| device.wiring.lights()).any(|light| light.to_string().starts_with(RECORD))
    {
        warn(
            "no device has the light record: nobody sees whether footage is safe",
            "add to a [[device]]: [[device.light]] with light = \"record\"".to_owned(),
        );
    }
    warnings
}

/// The remedy for a button that no device has.
fn wire(button: &str) -> String {
    format!("add to a [[device]]: [[device.button]] with button = \"{button}\"")
}

fn warning(reader: &Reader<'_>, what: &str, origin: &Origin, why: &str, remedy: String) -> Mistake {
    let mut warning = reader.mistake_in(what.to_owned(), origin);
    (warning.problem, warning.remedy) = (format!("{what} {why}"), remedy);
    warning
}

/// Names and ports are there once.
fn unique_devices(reader: &mut Reader<'_>, devices: &[Read<'_>]) {
    for (index, (device, scope)) in devices.iter().enumerate() {
        let before = || devices.iter().take(index).map(|(other, _)| other);
        if before().any(|other| other.name == device.name && !device.name.is_empty()) {
            reader.note(scope, "name", "is there twice", None, "give each device a name of its own");
        }
        let Some(port) = device.wiring.serial() else { continue };
        if let Some(other) = before().find(|other| other.wiring.serial() == Some(port)) {
            let why = format!("is the port of {} too", other.name);
            let remedy = "a serial line serves one device; for several Modbus units on one line use a gateway to TCP";
            reader.note(scope, "port", &why, None, remedy);
        }
    }
}

/// `device.front`, or `device.1` where it has no name.
fn named(what: &str, index: usize, node: &Node) -> String {
    match node.name() {
        Some(name) if is_name(name) => format!("{what}.{name}"),
        _ => format!("{what}.{}", index + 1),
    }
}
