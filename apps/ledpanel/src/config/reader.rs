//! Takes values out of a table by the rows of the schema, and notes every mistake on the way. After a mistake it goes
//! on with a value that fits, so that all mistakes are found; the configuration that comes of it is thrown away.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistakes::{Mistake, line_of};
use super::schema::{Absent, Key, Takes};

/// A table that is being read.
#[derive(Debug, Clone)]
pub(super) struct Scope<'t> {
    /// What stands before a key in messages: `panel`, `device.front`, `device.front.button`.
    pub(super) path: String,
    /// As it is written, for "add to …": `[panel]`, `[[device.button]]`.
    pub(super) header: &'static str,
    pub(super) table: &'t DeTable<'t>,
    /// Where it begins.
    pub(super) place: Range<usize>,
    pub(super) keys: &'static [Key],
}

pub(super) struct Reader<'s> {
    pub(super) text: &'s str,
    pub(super) mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// A number, in whatever type its bounds fit into.
    pub(super) fn number<T: TryFrom<u64> + Default>(&mut self, scope: &Scope<'_>, name: &str) -> T {
        self.number_if_any(scope, name).unwrap_or_default()
    }

    pub(super) fn number_if_any<T: TryFrom<u64>>(&mut self, scope: &Scope<'_>, name: &str) -> Option<T> {
        let (key, written) = self.find(scope, name)?;
        let Takes::Number { min, max, .. } = key.takes else { return None };
        let value = match &written {
            None => default_of(key)?.as_integer().and_then(|value| u64::try_from(value).ok()),
            Some(node) => match node.get_ref() {
                DeValue::Integer(number) => Some(
                    u64::from_str_radix(number.as_str(), number.radix())
                        .ok()
                        .filter(|value| (min..=max).contains(value))
                        .or_else(|| {
                            self.refuse(scope, key, node, "is out of range", None);
                            None
                        })?,
                ),
                _ => return self.wrong_kind(scope, key, node),
            },
        };
        T::try_from(value?).ok()
    }

    pub(super) fn flag(&mut self, scope: &Scope<'_>, name: &str) -> bool {
        match self.find(scope, name) {
            Some((key, None)) => default_of(key).and_then(|value| value.as_bool()).unwrap_or_default(),
            Some((key, Some(node))) => match node.get_ref() {
                DeValue::Boolean(value) => *value,
                _ => self.wrong_kind(scope, key, node).unwrap_or_default(),
            },
            None => false,
        }
    }

    /// Text, or one of a choice of words; empty after a mistake.
    pub(super) fn text(&mut self, scope: &Scope<'_>, name: &str) -> String {
        self.text_if_any(scope, name).unwrap_or_default()
    }

    pub(super) fn text_if_any(&mut self, scope: &Scope<'_>, name: &str) -> Option<String> {
        let (key, written) = self.find(scope, name)?;
        let Some(node) = written else {
            return default_of(key)?.as_str().map(str::to_owned);
        };
        let DeValue::String(value) = node.get_ref() else {
            return self.wrong_kind(scope, key, node);
        };
        let (fits, words): (bool, &[&str]) = match key.takes {
            Takes::Choice(words) => (words.contains(&value.as_ref()), words),
            Takes::Text { test, .. } => (test(value), &[]),
            _ => return None,
        };
        if fits {
            return Some(value.to_string());
        }
        let remedy = nearest(value, words.iter().copied()).map(|word| format!("did you mean \"{word}\"?"));
        self.refuse(scope, key, node, "is not allowed", remedy);
        None
    }

    /// Text or a number.
    pub(super) fn text_or_number<T>(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        text: impl FnOnce(String) -> T,
        number: impl FnOnce(u64) -> T,
    ) -> Option<T> {
        let (key, node) = self.find(scope, name)?;
        let (Takes::TextOrNumber { test, max, .. }, Some(node)) = (key.takes, node) else { return None };
        match node.get_ref() {
            DeValue::String(value) if test(value) => return Some(text(value.to_string())),
            DeValue::Integer(value) => match u64::from_str_radix(value.as_str(), value.radix()) {
                Ok(value) if value <= max => return Some(number(value)),
                _ => self.refuse(scope, key, node, "is out of range", None),
            },
            DeValue::String(_) => self.refuse(scope, key, node, "is not allowed", None),
            _ => return self.wrong_kind(scope, key, node),
        }
        None
    }

    /// A list of texts.
    pub(super) fn list(&mut self, scope: &Scope<'_>, name: &str) -> Vec<String> {
        let Some((key, Some(node))) = self.find(scope, name) else { return Vec::new() };
        let DeValue::Array(items) = node.get_ref() else {
            return self.wrong_kind(scope, key, node).unwrap_or_default();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            let DeValue::String(text) = item.get_ref() else {
                return self.wrong_kind(scope, key, item).unwrap_or_default();
            };
            texts.push(text.to_string());
        }
        texts
    }

    /// The row of a key, and what is written for it. `None`: nothing holds; where it must be written, that is noted.
    fn find<'t>(&mut self, scope: &Scope<'t>, name: &str) -> Option<(&'static Key, Option<&'t Spanned<DeValue<'t>>>)> {
        let key = scope.keys.iter().find(|key| key.name == name)?;
        match (scope.table.get(name), key.absent) {
            (Some(node), _) => Some((key, Some(node))),
            (None, Absent::Default(_)) => Some((key, None)),
            (None, Absent::Nothing) => None,
            (None, Absent::Mistake) => {
                self.lacking(scope, name, format!("add to this {}: {name} = {}", scope.header, key.example));
                None
            }
        }
    }

    /// Notes that a table lacks something.
    pub(super) fn lacking(&mut self, scope: &Scope<'_>, name: &str, remedy: String) {
        self.mistakes.push(Mistake {
            line: line_of(self.text, scope.place.start),
            key: format!("{}.{name}", scope.path),
            value: None,
            problem: format!("{}.{name} is missing", scope.path),
            allowed: scope.keys.iter().find(|key| key.name == name).map(allowed),
            remedy,
            bytes: Some(scope.place.clone()),
        });
    }

    fn wrong_kind<T>(&mut self, scope: &Scope<'_>, key: &Key, node: &Spanned<DeValue<'_>>) -> Option<T> {
        let (is, takes) = (
            kind_of(node.get_ref()),
            match key.takes {
                Takes::Number { .. } => "a number",
                Takes::Flag => "true or false",
                Takes::Choice(_) | Takes::Text { .. } => "text",
                Takes::TextOrNumber { .. } => "text or a number",
                Takes::Buttons => "a list of texts",
            },
        );
        self.refuse(scope, key, node, &format!("is {is}, not {takes}"), None);
        None
    }

    fn refuse(&mut self, scope: &Scope<'_>, key: &Key, node: &Spanned<DeValue<'_>>, why: &str, remedy: Option<String>) {
        let remedy = remedy.unwrap_or_else(|| format!("write a value such as {} = {}", key.name, key.example));
        self.note(scope, key.name, node.span(), why, Some(allowed(key)), remedy);
    }

    /// Notes a mistake in what is written for a key.
    pub(super) fn note(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        bytes: Range<usize>,
        why: &str,
        allowed: Option<String>,
        remedy: String,
    ) {
        let value = shorten(self.text.get(bytes.clone()).unwrap_or_default());
        let key = format!("{}.{name}", scope.path);
        self.mistakes.push(Mistake {
            line: line_of(self.text, bytes.start),
            problem: format!("{key} = {value} {why}"),
            key,
            value: Some(value),
            allowed,
            remedy,
            bytes: Some(bytes),
        });
    }

    /// Notes every key that has no row and is no table among `tables`.
    pub(super) fn unknown(&mut self, scope: &Scope<'_>, tables: &[&str], elsewhere: impl Fn(&str) -> Option<String>) {
        for (name, _) in scope.table.iter() {
            let written = name.get_ref().as_ref();
            if scope.keys.iter().any(|key| key.name == written) || tables.contains(&written) {
                continue;
            }
            let names = || scope.keys.iter().map(|key| key.name).chain(tables.iter().copied());
            let key = if scope.path.is_empty() { written.to_owned() } else { format!("{}.{written}", scope.path) };
            let near = nearest(written, names()).map(|near| format!("did you mean {near}?"));
            self.mistakes.push(Mistake {
                line: line_of(self.text, name.span().start),
                problem: format!("unknown key {key}"),
                key,
                value: None,
                allowed: Some(names().collect::<Vec<_>>().join(", ")),
                remedy: elsewhere(written).or(near).unwrap_or_else(|| "remove it".to_owned()),
                bytes: Some(name.span()),
            });
        }
    }
}

/// Where a key's value stands, or its table.
pub(super) fn place_of(scope: &Scope<'_>, name: &str) -> Range<usize> {
    scope.table.get(name).map_or_else(|| scope.place.clone(), Spanned::span)
}

fn default_of(key: &Key) -> Option<toml::Value> {
    match key.absent {
        Absent::Default(text) => text.parse().ok(),
        Absent::Nothing | Absent::Mistake => None,
    }
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What a key takes, for people.
pub(super) fn allowed(key: &Key) -> String {
    let quoted = |words: &[&str]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    match key.takes {
        Takes::Number { min, max, what } => format!("{what} from {min} to {max}"),
        Takes::Flag => "true or false".to_owned(),
        Takes::Choice(words) => quoted(words),
        Takes::Text { allowed, .. } => allowed.to_owned(),
        Takes::TextOrNumber { allowed, max, .. } => format!("{allowed} (0 to {max})"),
        Takes::Buttons => "a list of two different buttons".to_owned(),
    }
}

/// The word that was probably meant.
pub(super) fn nearest<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let written = written.to_lowercase();
    words
        .map(|word| (strsim::damerau_levenshtein(&written.replace('-', "_"), &word.replace('-', "_")), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3).max(1) && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn shorten(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    if line.chars().count() > 60 {
        format!("{}…", line.chars().take(60).collect::<String>())
    } else {
        line.to_owned()
    }
}
