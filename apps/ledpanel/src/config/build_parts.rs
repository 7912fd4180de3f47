//! The buttons, lights and buzzer of a `[[device]]`, each wired to a place of its own.

use std::cell::RefCell;

use holdfast_settings::{Key, Reader, Scope, Value};

use super::device::{Lit, Wired};
use super::reader::{OrAny as _, not_a_table, tables};
use super::schema::Kind;
use crate::model::{Button, Light, Part};

/// The keys that say where something is wired to.
const WIRES: [&str; 8] = ["line", "pin", "led", "key", "discrete", "coil", "register", "number"];

/// The buttons, lights and buzzer of a device.
pub(super) struct Parts<'a, 't> {
    kind: &'static Kind,
    pub(super) scope: &'a Scope<'t>,
    /// What is wired already, and to whom.
    wires: RefCell<Vec<(String, String)>>,
}

impl<'a, 't> Parts<'a, 't> {
    pub(super) fn new(kind: &'static Kind, scope: &'a Scope<'t>) -> Self {
        Self { kind, scope, wires: RefCell::default() }
    }

    fn scopes(
        &self,
        reader: &mut Reader<'_>,
        name: &str,
        header: &'static str,
        keys: &'static [Key],
    ) -> Vec<Scope<'t>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let found = tables(reader, self.scope, name, header);
        let path = self.scope.full(name);
        let scopes: Vec<Scope<'t>> =
            found.into_iter().map(|node| Scope::new(path.as_str(), header, Some(node), keys)).collect();
        for scope in &scopes {
            reader.unknown(scope, &[], |_| None);
        }
        scopes
    }

    pub(super) fn buttons<W>(
        &self,
        reader: &mut Reader<'_>,
        mut at: impl FnMut(&mut Reader<'_>, &Scope<'_>) -> W,
    ) -> Vec<Wired<W>> {
        let mut buttons: Vec<Wired<W>> = Vec::new();
        for scope in self.scopes(reader, "button", "[[device.button]]", self.kind.button) {
            let before = reader.mistakes.len();
            let button = Wired { button: Button(reader.text(&scope, "button").or_any()), at: at(reader, &scope) };
            if reader.mistakes.len() > before {
                continue;
            }
            if buttons.iter().any(|other| other.button == button.button) {
                let remedy = "wire it to one place of this device, or give the other a name of its own";
                reader.note(&scope, "button", "is there twice", None, remedy);
            } else if self.wired_once(reader, &scope, "button", &button.button) {
                buttons.push(button);
            }
        }
        buttons
    }

    pub(super) fn lights<W>(
        &self,
        reader: &mut Reader<'_>,
        mut at: impl FnMut(&mut Reader<'_>, &Scope<'_>) -> W,
    ) -> Vec<Lit<W>> {
        let mut lights: Vec<Lit<W>> = Vec::new();
        for scope in self.scopes(reader, "light", "[[device.light]]", self.kind.light) {
            let before = reader.mistakes.len();
            let light = Light::parse(&reader.text(&scope, "light").or_any()).unwrap_or(Light::Status);
            let part = reader.text(&scope, "part").map(|word| match word.value.as_str() {
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

    pub(super) fn buzzer<W>(
        &self,
        reader: &mut Reader<'_>,
        at: impl FnOnce(&mut Reader<'_>, &Scope<'_>) -> W,
    ) -> Option<W> {
        let (node, path) = (self.scope.written("buzzer")?, self.scope.full("buzzer"));
        if !matches!(node.value, Value::Table(_)) {
            not_a_table(reader, &path, node, "[device.buzzer]");
            return None;
        }
        let scope = Scope::new(path, "[device.buzzer]", Some(node), self.kind.buzzer);
        reader.unknown(&scope, &[], |_| None);
        let buzzer = at(reader, &scope);
        self.wired_once(reader, &scope, "", &"the buzzer").then_some(buzzer)
    }

    /// Whether nothing else of this device has the same wire; else that is noted, at the key `name` or at the wire.
    fn wired_once(&self, reader: &mut Reader<'_>, scope: &Scope<'_>, name: &str, who: &dyn std::fmt::Display) -> bool {
        let Some((wire, at)) = WIRES.iter().find_map(|wire| Some((*wire, scope.written(wire)?))) else {
            return true;
        };
        let value = match &at.value {
            Value::Text(text) => text.clone(),
            Value::Integer(Some(number)) => number.to_string(),
            _ => return true,
        };
        // A microcontroller counts its buttons and its lights each from 0.
        let apart = if wire == "number" { name } else { "" };
        let wire_id = format!("{apart}{wire} {value}");
        let other = self.wires.borrow().iter().find(|(id, _)| *id == wire_id).map(|(_, other)| other.clone());
        if let Some(other) = other {
            let remedy = format!("give each a wire of its own: another {wire}");
            let name = if name.is_empty() { wire } else { name };
            reader.note(scope, name, &format!("has the wire of {other} too"), None, remedy);
            return false;
        }
        self.wires.borrow_mut().push((wire_id, who.to_string()));
        true
    }
}
