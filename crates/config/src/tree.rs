//! What the files say, as one tree: every value with the place it was written at.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::source::{Origin, Source, Span, is_secret_key, mask};

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// `None`: a number that fits no integer we have.
    Integer(Option<i128>),
    Bool(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A float or a date: nothing here takes one.
    Other(&'static str),
}

pub(crate) type Table = BTreeMap<String, Node>;

impl Value {
    /// What a person would call this kind of value.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Bool(_) => "true/false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
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
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| from_value(item.span(), item, source)).collect()),
        DeValue::Table(table) => Value::Table(from_table(table, source)),
    };
    Node { value: converted, origin: Origin::File { key, value: Span { source, bytes: value.span() } } }
}

/// Lays `over` upon `base`: tables merge, `[[input]]` entries of the same name merge, everything else is replaced.
pub(crate) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node { value: Value::Table(under), .. }), Node { value: Value::Table(over), .. }) => {
                merge(under, over)
            }
            (Some(Node { value: Value::Array(under), .. }), Node { value: Value::Array(over), .. })
                if key == "input" =>
            {
                merge_inputs(under, over);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

fn merge_inputs(under: &mut Vec<Node>, over: Vec<Node>) {
    let known = under.len();
    for node in over {
        let name = input_name(&node).map(str::to_owned);
        let same = under[..known].iter_mut().find(|entry| name.is_some() && input_name(entry) == name.as_deref());
        match (same, node) {
            (Some(Node { value: Value::Table(base), .. }), Node { value: Value::Table(over), .. }) => merge(base, over),
            (_, node) => under.push(node),
        }
    }
}

/// The `name` of an `[[input]]` entry, if it has a usable one.
pub(crate) fn input_name(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Table(table) => match &table.get("name")?.value {
            Value::Text(name) => Some(name),
            _ => None,
        },
        _ => None,
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
