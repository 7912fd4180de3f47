//! A table that is being read.

use crate::schema::Key;
use crate::source::Origin;
use crate::tree::{Node, Table, Value};

/// A table of the tree, and the rows that it is read by.
#[derive(Debug, Clone)]
pub struct Scope<'t> {
    /// What stands before a key in messages: `panel`, `input.cam0`, `device.front.button`. Empty for the first level.
    pub path: String,
    /// As it is written: `[panel]`, `[[input]]`, `[[device.button]]`.
    pub header: &'static str,
    /// Its number in a list of tables, from 0; `None` where it is not in one.
    pub index: Option<usize>,
    /// What is written in it. `None`: there is no such table, or it is no table.
    pub values: Option<&'t Table>,
    /// Where it begins. `None`: it is not written.
    pub origin: Option<&'t Origin>,
    /// Its rows.
    pub keys: &'static [Key],
    /// The key that says what this table is, and what it says: `("source", "rtsp")`.
    pub variant: Option<(&'static str, String)>,
}

impl<'t> Scope<'t> {
    /// The table at a node; what is no table is as if it were empty, and is to be noted elsewhere.
    #[must_use]
    pub fn new(path: impl Into<String>, header: &'static str, node: Option<&'t Node>, keys: &'static [Key]) -> Self {
        let values = node.and_then(|node| match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        });
        let origin = node.map(|node| &node.origin);
        Self { path: path.into(), header, index: None, values, origin, keys, variant: None }
    }

    /// The first level, which has no rows of its own.
    #[must_use]
    pub fn top(table: &'t Table) -> Self {
        let (path, header) = (String::new(), "the file");
        Self { path, header, index: None, values: Some(table), origin: None, keys: &[], variant: None }
    }

    /// What is written for a key.
    #[must_use]
    pub fn written(&self, name: &str) -> Option<&'t Node> {
        self.values?.get(name)
    }

    /// Where a key's value comes from, or, where it is not written, its table.
    #[must_use]
    pub fn origin_of(&self, name: &str) -> &'t Origin {
        self.written(name).map(|node| &node.origin).or(self.origin).unwrap_or(&Origin::Default)
    }

    /// The row of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// A key with its table, as in `device.front.port`.
    #[must_use]
    pub fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether this key goes with what the table is.
    pub(crate) fn takes(&self, key: &Key) -> bool {
        let goes = |(_, is): &(_, String)| key.variants.is_empty() || key.variants.contains(&is.as_str());
        self.variant.as_ref().is_none_or(goes)
    }

    /// The table, for "add to …".
    pub(crate) fn told(&self) -> String {
        let is_only_one = self.header.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) == Some(&self.path);
        if is_only_one { self.header.to_owned() } else { format!("this {}", self.header) }
    }
}
