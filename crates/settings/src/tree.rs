//! What the files say, as one tree: every value with the place it was written at.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value as Toml};

use crate::source::{Origin, Source, Span, is_secret_key, mask};

const FLOAT: &str = "a number with a fraction";
const DATE: &str = "a date";

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// What is written.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number; `None`: one that fits no integer we have.
    Integer(Option<i128>),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
    /// A float or a date: no key takes one. What a person would call it.
    Other(&'static str),
}

/// A table by its keys.
pub type Table = BTreeMap<String, Node>;

impl Value {
    /// What a person would call this kind of value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true/false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }

    /// As TOML, secrets masked.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) => Toml::String(mask(text)).to_string(),
            Self::Integer(number) => number.map(|number| number.to_string()).unwrap_or_default(),
            Self::Bool(value) => value.to_string(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| item.value.shown()).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Table(_) | Self::Other(_) => self.kind().to_owned(),
        }
    }
}

impl From<Toml> for Value {
    /// A value that is written in no file.
    fn from(toml: Toml) -> Self {
        let node = |value: Toml| Node { value: value.into(), origin: Origin::Default };
        match toml {
            Toml::String(text) => Self::Text(text),
            Toml::Integer(number) => Self::Integer(Some(i128::from(number))),
            Toml::Boolean(value) => Self::Bool(value),
            Toml::Array(items) => Self::Array(items.into_iter().map(node).collect()),
            Toml::Table(table) => Self::Table(table.into_iter().map(|(key, value)| (key, node(value))).collect()),
            Toml::Float(_) => Self::Other(FLOAT),
            Toml::Datetime(_) => Self::Other(DATE),
        }
    }
}

impl Node {
    /// The text under `name` in this table; `None` where there is none, or something else.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.value {
            Value::Table(table) => match &table.get("name")?.value {
                Value::Text(name) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Takes over a parsed table from the source with this index.
pub(crate) fn from_table(table: &DeTable<'_>, source: usize) -> Table {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), from_value(key.span(), value, source))).collect()
}

fn from_value(key: Range<usize>, value: &Spanned<DeValue<'_>>, source: usize) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Float(_) => Value::Other(FLOAT),
        DeValue::Datetime(_) => Value::Other(DATE),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| from_value(item.span(), item, source)).collect()),
        DeValue::Table(table) => Value::Table(from_table(table, source)),
    };
    Node { value: converted, origin: Origin::File { key, value: Span { source, bytes: value.span() } } }
}

/// Lays `over` upon `base`: tables merge, as do entries of the same name in the lists of tables `named`; everything else is
/// replaced.
pub(crate) fn merge(base: &mut Table, over: Table, named: &[&str]) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node { value: Value::Table(under), .. }), Node { value: Value::Table(over), .. }) => {
                merge(under, over, named)
            }
            (Some(Node { value: Value::Array(under), .. }), Node { value: Value::Array(over), .. })
                if named.contains(&key.as_str()) =>
            {
                merge_named(under, over, named);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

fn merge_named(under: &mut Vec<Node>, over: Vec<Node>, named: &[&str]) {
    let known = under.len();
    for node in over {
        let same =
            under.iter_mut().take(known).find(|entry| entry.name().is_some_and(|name| node.name() == Some(name)));
        match (same, node) {
            (Some(Node { value: Value::Table(base), .. }), Node { value: Value::Table(over), .. }) => {
                merge(base, over, named)
            }
            (_, node) => under.push(node),
        }
    }
}

/// Hides values that hold a secret and are written so that the look of the text did not tell: with escapes, over several
/// lines, under a key that asks for one.
pub(crate) fn hide_secrets(table: &Table, source: &mut Source) {
    for (key, node) in table {
        if is_secret_key(key)
            && let Origin::File { value, .. } = &node.origin
        {
            source.hide(value.bytes.clone());
        }
        hide_in(node, source);
    }
}

fn hide_in(node: &Node, source: &mut Source) {
    match &node.value {
        Value::Table(table) => hide_secrets(table, source),
        Value::Array(items) => items.iter().for_each(|item| hide_in(item, source)),
        Value::Text(text) if mask(text) != *text => {
            if let Origin::File { value, .. } = &node.origin
                && source.text.get(value.bytes.clone()) == Some(source.excerpt(&value.bytes).as_str())
            {
                source.hide(value.bytes.clone());
            }
        }
        _ => {}
    }
}
