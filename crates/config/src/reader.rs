//! Takes values out of the tree by the rows of the schema and notes every mistake on the way.

use std::ops::Range;

use crate::error::{Mistake, Place};
use crate::schema::{Absent, Key, Kind};
use crate::source::{Origin, Source, Span, is_secret_key, mask};
use crate::tree::{Node, Table, Value};

/// A value that holds, for `show`.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// `storage`, or `input` with the number of the input.
    pub(crate) table: &'static str,
    pub(crate) input: Option<usize>,
    pub(crate) key: &'static str,
    /// As TOML, secrets masked.
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// A checked value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Picked<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

/// A table that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'t> {
    /// What stands before the key in messages: `storage`, `input.cam0`.
    pub(crate) path: &'t str,
    pub(crate) table: &'static str,
    pub(crate) input: Option<usize>,
    pub(crate) values: Option<&'t Table>,
    /// Where the table begins.
    pub(crate) origin: Option<&'t Origin>,
    pub(crate) keys: &'static [Key],
}

impl Scope<'_> {
    fn key(&self, name: &str) -> &'static Key {
        // A name that has no row is a slip in this crate, which the first test of any kind shows.
        self.keys.iter().find(|key| key.name == name).unwrap_or(&self.keys[0])
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.values?.get(name)
    }
}

pub(crate) struct Reader<'s> {
    pub(crate) sources: &'s [Source],
    pub(crate) mistakes: Vec<Mistake>,
    pub(crate) entries: Vec<Entry>,
}

impl Reader<'_> {
    /// A whole number, checked against its row. `None`: absent or a mistake, which has been noted.
    pub(crate) fn number(&mut self, scope: Scope<'_>, name: &str) -> Option<Picked<u64>> {
        let (key, node) = self.find(scope, name)?;
        let Kind::Number { min, max, .. } = key.kind else {
            return None;
        };
        let value = match &node.value {
            Value::Integer(value) => *value,
            Value::Text(text) if matches!(node.origin, Origin::Environment(_)) => match text.trim().parse() {
                Ok(value) => Some(value),
                Err(_) => return self.wrong_kind(scope, key, &node),
            },
            _ => return self.wrong_kind(scope, key, &node),
        };
        match value.and_then(|value| u64::try_from(value).ok()).filter(|value| (min..=max).contains(value)) {
            Some(value) => Some(self.keep(scope, key, value, value.to_string(), node.origin)),
            None => {
                self.refuse(scope, key, &node.origin, "is out of range", None);
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, scope: Scope<'_>, name: &str) -> Option<Picked<bool>> {
        let (key, node) = self.find(scope, name)?;
        match node.value {
            Value::Bool(value) => Some(self.keep(scope, key, value, value.to_string(), node.origin)),
            _ => self.wrong_kind(scope, key, &node),
        }
    }

    /// Text or one of a choice of words.
    pub(crate) fn text(&mut self, scope: Scope<'_>, name: &str) -> Option<Picked<String>> {
        let (key, node) = self.find(scope, name)?;
        let Value::Text(value) = &node.value else {
            return self.wrong_kind(scope, key, &node);
        };
        let fits = match key.kind {
            Kind::Choice(words) => words.contains(&value.as_str()),
            Kind::Text { test, .. } => test(value),
            Kind::Number { .. } | Kind::Bool => false,
        };
        if fits {
            let shown = toml::Value::String(mask(value)).to_string();
            return Some(self.keep(scope, key, value.clone(), shown, node.origin));
        }
        let remedy = match key.kind {
            Kind::Choice(words) => {
                nearest(value, words.iter().copied()).map(|word| format!("did you mean \"{word}\"?"))
            }
            _ => None,
        };
        self.refuse(scope, key, &node.origin, "is not allowed", remedy);
        None
    }

    /// The written or the default value of a key.
    fn find(&mut self, scope: Scope<'_>, name: &str) -> Option<(&'static Key, Node)> {
        let key = scope.key(name);
        if let Some(node) = scope.node(name) {
            return Some((key, node.clone()));
        }
        match key.absent {
            Absent::Nothing => None,
            Absent::Default(text) => {
                let value = match text.parse::<toml::Value>() {
                    Ok(toml::Value::Integer(value)) => Value::Integer(Some(i128::from(value))),
                    Ok(toml::Value::Boolean(value)) => Value::Bool(value),
                    Ok(toml::Value::String(value)) => Value::Text(value),
                    _ => Value::Other("a default that can't be read"),
                };
                Some((key, Node { value, origin: Origin::Default }))
            }
            // The table is something else; that has been told.
            Absent::Mistake if scope.values.is_none() && scope.origin.is_some() => None,
            Absent::Mistake => {
                let mut mistake = self.mistake(scope, name, scope.origin.unwrap_or(&Origin::Default));
                mistake.value = None;
                mistake.problem = format!("{}.{name} is missing", scope.path);
                mistake.allowed = Some(allowed(key));
                mistake.remedy = match (scope.table, key.environment) {
                    ("input", _) => format!("add to this [[input]]: {name} = {}", key.example),
                    (table, Some(variable)) => {
                        format!("add to [{table}]: {name} = {}, or set {variable}", key.example)
                    }
                    (table, None) => format!("add to [{table}]: {name} = {}", key.example),
                };
                self.mistakes.push(mistake);
                None
            }
        }
    }

    fn keep<T>(&mut self, scope: Scope<'_>, key: &'static Key, value: T, shown: String, origin: Origin) -> Picked<T> {
        self.entries.push(Entry {
            table: scope.table,
            input: scope.input,
            key: key.name,
            value: shown,
            origin: origin.clone(),
        });
        Picked { value, origin }
    }

    fn wrong_kind<T>(&mut self, scope: Scope<'_>, key: &Key, node: &Node) -> Option<T> {
        let wanted = match key.kind {
            Kind::Number { .. } => "a whole number",
            Kind::Bool => "true or false",
            Kind::Choice(_) | Kind::Text { .. } => "text",
        };
        let remedy = match (&node.value, key.kind) {
            (Value::Text(text), Kind::Number { .. }) if text.trim().parse::<u64>().is_ok() => {
                Some(format!("numbers stand without quotes: {} = {}", key.name, text.trim()))
            }
            (Value::Text(text), Kind::Bool) if matches!(text.as_str(), "true" | "false") => {
                Some(format!("true and false stand without quotes: {} = {text}", key.name))
            }
            (Value::Integer(_) | Value::Bool(_), Kind::Text { .. } | Kind::Choice(_)) => {
                Some(format!("text stands in quotes, as in {} = {}", key.name, key.example))
            }
            _ => None,
        };
        let kind = match &node.origin {
            Origin::Environment(_) => "text",
            _ => node.value.kind(),
        };
        self.refuse(scope, key, &node.origin, &format!("is {kind}, not {wanted}"), remedy);
        None
    }

    fn refuse(&mut self, scope: Scope<'_>, key: &Key, origin: &Origin, what: &str, remedy: Option<String>) {
        let mut mistake = self.mistake(scope, key.name, origin);
        let value = mistake.value.clone().unwrap_or_default();
        mistake.problem = match origin {
            Origin::Environment(variable) => format!("{variable}={value} ({}) {what}", mistake.key),
            _ => format!("{} = {} {what}", mistake.key, shorten(&value)),
        };
        mistake.allowed = Some(allowed(key));
        mistake.remedy = remedy.unwrap_or_else(|| match origin {
            Origin::Environment(variable) => {
                format!("set {variable} to a value such as {}, or unset it", unquoted(key.example))
            }
            _ => format!("write a value such as {} = {}", key.name, key.example),
        });
        self.mistakes.push(mistake);
    }

    /// A mistake about this key, with place and value filled in.
    pub(crate) fn mistake(&self, scope: Scope<'_>, name: &str, origin: &Origin) -> Mistake {
        let (place, value, span) = self.place(origin);
        let key = if scope.path.is_empty() { name.to_owned() } else { format!("{}.{name}", scope.path) };
        let value = match (origin, scope.node(name).map(|node| &node.value)) {
            (Origin::Environment(_), Some(Value::Text(text))) => Some(mask(text)),
            _ => value,
        };
        Mistake { place, key, value, problem: String::new(), allowed: None, remedy: String::new(), span, related: None }
    }

    fn place(&self, origin: &Origin) -> (Place, Option<String>, Option<Span>) {
        match origin {
            Origin::File { value, .. } => {
                let source = &self.sources[value.source];
                let (line, column) = source.line_column(value.bytes.start);
                let place = Place::File { path: source.path.clone(), line, column };
                (place, Some(source.excerpt(&value.bytes)), Some(value.clone()))
            }
            Origin::Environment(variable) => (Place::Environment { variable: variable.clone() }, None, None),
            Origin::Default => {
                let path = self.sources.first().map(|source| source.path.clone()).unwrap_or_default();
                (Place::File { path, line: 0, column: 0 }, None, None)
            }
        }
    }

    /// Notes every key of this table that has no row.
    pub(crate) fn unknown_keys(&mut self, scope: Scope<'_>, source: Option<&str>) {
        let Some(table) = scope.values else { return };
        for (name, node) in table {
            let row = scope.keys.iter().find(|key| key.name == name);
            let usable =
                |key: &Key| source.is_none_or(|source| key.sources.is_empty() || key.sources.contains(&source));
            let names = || scope.keys.iter().filter(|key| usable(key)).map(|key| key.name);
            match row {
                Some(key) if usable(key) => {}
                Some(key) => {
                    let source = source.unwrap_or_default();
                    let mut mistake = self.at_key(scope, name, &node.origin);
                    mistake.problem = format!("{} does not go with source = \"{source}\"", mistake.key);
                    mistake.allowed = Some(names().collect::<Vec<_>>().join(", "));
                    mistake.remedy = format!(
                        "{name} is for source = {}; remove it here or change the source",
                        key.sources.iter().map(|source| format!("\"{source}\"")).collect::<Vec<_>>().join(" or ")
                    );
                    self.mistakes.push(mistake);
                }
                None => {
                    let mut mistake = self.at_key(scope, name, &node.origin);
                    mistake.problem = format!("unknown key {}", mistake.key);
                    mistake.allowed = Some(names().collect::<Vec<_>>().join(", "));
                    mistake.remedy = self.unknown_remedy(scope, name, nearest(name, names()));
                    self.mistakes.push(mistake);
                }
            }
        }
    }

    fn unknown_remedy(&self, scope: Scope<'_>, name: &str, near: Option<&str>) -> String {
        if scope.table == "input" && (is_secret_key(name) || matches!(name, "user" | "username")) {
            return "write user and password into a file of two lines that only the service may read (chmod 640) and name it \
                    here: credentials_file = \"/etc/holdfast/cam0.credentials\""
                .to_owned();
        }
        if let Some(near) = near {
            return format!("did you mean {near}?");
        }
        let home = crate::schema::TABLES
            .iter()
            .chain([&("input", crate::schema::INPUT)])
            .find(|(table, keys)| *table != scope.table && keys.iter().any(|key| key.name == name));
        match home {
            Some(("input", _)) => format!("{name} belongs into an [[input]]"),
            Some((table, _)) => format!("{name} belongs into [{table}]"),
            None => "remove it".to_owned(),
        }
    }

    /// A mistake that points at the key, not at its value.
    pub(crate) fn at_key(&self, scope: Scope<'_>, name: &str, origin: &Origin) -> Mistake {
        let mut mistake = self.mistake(scope, name, origin);
        if let Origin::File { key, value } = origin {
            let bytes = key_bytes(key, &value.bytes);
            let source = &self.sources[value.source];
            let (line, column) = source.line_column(bytes.start);
            mistake.place = Place::File { path: source.path.clone(), line, column };
            mistake.span = Some(Span { source: value.source, bytes });
        }
        mistake
    }
}

fn key_bytes(key: &Range<usize>, value: &Range<usize>) -> Range<usize> {
    if key.is_empty() { value.clone() } else { key.clone() }
}

/// What a key takes, for people.
pub(crate) fn allowed(key: &Key) -> String {
    match key.kind {
        Kind::Number { min, max, unit } => format!("a whole number of {unit} from {min} to {max}"),
        Kind::Bool => "true or false".to_owned(),
        Kind::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            words.join(", ")
        }
        Kind::Text { allowed, .. } => allowed.to_owned(),
    }
}

/// The word that was probably meant.
pub(crate) fn nearest<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let written = written.to_lowercase().replace('-', "_");
    words
        .map(|word| (strsim::damerau_levenshtein(&written, word), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3).max(1) && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn unquoted(example: &str) -> &str {
    example.trim_matches('"')
}

fn shorten(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    if line.chars().count() > 60 {
        format!("{}…", line.chars().take(60).collect::<String>())
    } else {
        line.to_owned()
    }
}
