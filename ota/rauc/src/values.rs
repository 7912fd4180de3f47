//! D-Bus values read leniently: what is not as expected is kept as text, never an error.

use std::collections::{BTreeMap, HashMap};

use zbus::zvariant::{OwnedValue, Value};

/// A dictionary, from which known keys are taken one by one; what is left is what this version does not know.
#[derive(Debug, Default)]
pub(crate) struct Dict(HashMap<String, OwnedValue>);

impl Dict {
    pub(crate) fn new(map: HashMap<String, OwnedValue>) -> Self {
        Self(map)
    }

    /// A dictionary within a value, however often it is wrapped. Keys that are no text are made one.
    pub(crate) fn of(value: &Value<'_>) -> Self {
        let mut map = HashMap::new();
        if let Value::Dict(dict) = unwrap(value) {
            for (key, value) in dict.iter() {
                if let Ok(value) = unwrap(value).try_to_owned() {
                    map.insert(text(key), value);
                }
            }
        }
        Self(map)
    }

    pub(crate) fn value(&mut self, key: &str) -> Option<OwnedValue> {
        self.0.remove(key)
    }

    /// The text of a value, whatever its type. Empty is as good as absent: RAUC says `""` for what it does not have.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).map(|value| text(&value)).filter(|text| !text.is_empty())
    }

    /// A whole number, also if it came as another integer type or as text. Anything else stays in the rest.
    pub(crate) fn number(&mut self, key: &str) -> Option<u64> {
        let number = number(self.0.get(key)?)?;
        self.0.remove(key);
        Some(number)
    }

    /// What nobody took, as text.
    pub(crate) fn rest(self) -> BTreeMap<String, String> {
        self.0.into_iter().map(|(key, value)| (key, text(&value))).collect()
    }
}

/// The value within variants within variants: RAUC wraps dictionaries twice.
pub(crate) fn unwrap<'a, 'v>(value: &'a Value<'v>) -> &'a Value<'v> {
    let mut value = value;
    while let Value::Value(inner) = value {
        value = inner;
    }
    value
}

pub(crate) fn text(value: &Value<'_>) -> String {
    match unwrap(value) {
        Value::Str(text) => text.to_string(),
        Value::Signature(text) => text.to_string(),
        Value::ObjectPath(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        other => number(other).map_or_else(|| other.to_string(), |number| number.to_string()),
    }
}

fn number(value: &Value<'_>) -> Option<u64> {
    match unwrap(value) {
        Value::U8(number) => Some((*number).into()),
        Value::U16(number) => Some((*number).into()),
        Value::U32(number) => Some((*number).into()),
        Value::U64(number) => Some(*number),
        Value::I16(number) => u64::try_from(*number).ok(),
        Value::I32(number) => u64::try_from(*number).ok(),
        Value::I64(number) => u64::try_from(*number).ok(),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The texts of a list.
pub(crate) fn texts(value: &Value<'_>) -> Vec<String> {
    match unwrap(value) {
        Value::Array(array) => array.iter().map(text).collect(),
        Value::Str(one) if one.is_empty() => vec![],
        other => vec![text(other)],
    }
}

/// The dictionaries of a list.
pub(crate) fn dicts(value: &Value<'_>) -> Vec<Dict> {
    match unwrap(value) {
        Value::Array(array) => array.iter().map(Dict::of).collect(),
        _ => vec![],
    }
}
