//! Takes values out of the tree by the rows of the schema and notes every mistake on the way.

use crate::mistake::{Mistake, Place};
use crate::schema::{Absent, Key, Takes};
use crate::scope::Scope;
use crate::source::{Origin, Source, Span, mask};
use crate::texts::{nearest, shorten};
use crate::tree::{Node, Value};

/// A value that holds, for showing it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The header of its table.
    pub header: &'static str,
    /// The number of its table in a list, from 0.
    pub index: Option<usize>,
    /// Its key.
    pub key: &'static str,
    /// As TOML, secrets masked.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A checked value and where it comes from.
#[derive(Debug, Clone)]
pub struct Picked<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// Reads one tree.
#[derive(Debug)]
pub struct Reader<'s> {
    sources: &'s [Source],
    /// What has been found so far.
    pub mistakes: Vec<Mistake>,
    /// What holds, in the order in which it was read.
    pub entries: Vec<Entry>,
}

impl<'s> Reader<'s> {
    /// For a tree from these sources.
    #[must_use]
    pub fn new(sources: &'s [Source]) -> Self {
        Self { sources, mistakes: Vec::new(), entries: Vec::new() }
    }

    /// A whole number, in whatever type its bounds fit into. `None`, here and in the other methods: absent without a
    /// default, or a mistake, which has been noted.
    pub fn number<T: TryFrom<u64>>(&mut self, scope: &Scope<'_>, name: &str) -> Option<Picked<T>> {
        let Node { value: Value::Integer(number), origin } = self.pick(scope, name)? else { return None };
        Some(Picked { value: T::try_from(u64::try_from(number?).ok()?).ok()?, origin })
    }

    /// `true` or `false`.
    pub fn flag(&mut self, scope: &Scope<'_>, name: &str) -> Option<Picked<bool>> {
        let Node { value: Value::Bool(value), origin } = self.pick(scope, name)? else { return None };
        Some(Picked { value, origin })
    }

    /// Text or one of a choice of words.
    pub fn text(&mut self, scope: &Scope<'_>, name: &str) -> Option<Picked<String>> {
        let Node { value: Value::Text(value), origin } = self.pick(scope, name)? else { return None };
        Some(Picked { value, origin })
    }

    /// Text or a number, each made into what it stands for.
    pub fn text_or_number<T>(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        text: impl FnOnce(String) -> T,
        number: impl FnOnce(u64) -> T,
    ) -> Option<Picked<T>> {
        let Node { value, origin } = self.pick(scope, name)?;
        let value = match value {
            Value::Text(value) => text(value),
            Value::Integer(value) => number(u64::try_from(value?).ok()?),
            _ => return None,
        };
        Some(Picked { value, origin })
    }

    /// A list of texts.
    pub fn texts(&mut self, scope: &Scope<'_>, name: &str) -> Option<Picked<Vec<String>>> {
        let Node { value: Value::Array(items), origin } = self.pick(scope, name)? else { return None };
        let text = |item: Node| if let Value::Text(text) = item.value { Some(text) } else { None };
        Some(Picked { value: items.into_iter().filter_map(text).collect(), origin })
    }

    /// A value that its row allows.
    fn pick(&mut self, scope: &Scope<'_>, name: &str) -> Option<Node> {
        let (key, node) = self.find(scope, name)?;
        if !key.takes.is_kind(&node.value) {
            self.wrong_kind(scope, key, &node);
            return None;
        }
        if !key.takes.allows(&node.value) {
            match &node.value {
                Value::Array(items) => {
                    let wrong = items.iter().find(|item| !matches!(item.value, Value::Text(_)));
                    self.wrong_kind(scope, key, wrong.unwrap_or(&node));
                }
                Value::Integer(_) => self.refuse(scope, key, &node.origin, "is out of range", None),
                value => {
                    let remedy = meant(key, value).map(|word| format!("did you mean \"{word}\"?"));
                    self.refuse(scope, key, &node.origin, "is not allowed", remedy);
                }
            }
            return None;
        }
        self.entries.push(Entry {
            header: scope.header,
            index: scope.index,
            key: key.name,
            value: node.value.shown(),
            origin: node.origin.clone(),
        });
        Some(node)
    }

    /// The written or the default value of a key.
    fn find(&mut self, scope: &Scope<'_>, name: &str) -> Option<(&'static Key, Node)> {
        // A name that has no row is a slip of the program, which its first test of any kind shows.
        let key = scope.key(name)?;
        if let Some(node) = scope.written(name) {
            return Some((key, from_environment(key, node.clone())));
        }
        match key.absent {
            Absent::Default(_) => Some((key, Node { value: key.default()?, origin: Origin::Default })),
            Absent::Nothing => None,
            // The table is something else; that has been told.
            Absent::Mistake if scope.values.is_none() && scope.origin.is_some() => None,
            Absent::Mistake => {
                let add = format!("add to {}: {name} = {}", scope.told(), key.example);
                self.lacking(scope, name, key.environment.map_or(add.clone(), |name| format!("{add}, or set {name}")));
                None
            }
        }
    }

    fn wrong_kind(&mut self, scope: &Scope<'_>, key: &Key, node: &Node) {
        let (name, example) = (key.name, key.example);
        let remedy = match (&node.value, key.takes) {
            (Value::Text(text), Takes::Number { .. }) if text.trim().parse::<u64>().is_ok() => {
                Some(format!("numbers stand without quotes: {name} = {}", text.trim()))
            }
            (Value::Text(text), Takes::Flag) if matches!(text.as_str(), "true" | "false") => {
                Some(format!("true and false stand without quotes: {name} = {text}"))
            }
            (Value::Integer(_) | Value::Bool(_), Takes::Text { .. } | Takes::Choice(_)) => {
                Some(format!("text stands in quotes, as in {name} = {example}"))
            }
            _ => None,
        };
        let what = format!("is {}, not {}", node.value.kind(), key.takes.kind());
        self.refuse(scope, key, &node.origin, &what, remedy);
    }

    fn refuse(&mut self, scope: &Scope<'_>, key: &Key, origin: &Origin, what: &str, remedy: Option<String>) {
        let remedy = remedy.unwrap_or_else(|| match origin {
            Origin::Environment(variable) => {
                format!("set {variable} to a value such as {}, or unset it", key.example.trim_matches('"'))
            }
            _ => format!("write a value such as {} = {}", key.name, key.example),
        });
        self.note_at(scope, key.name, origin, what, Some(key.takes.allowed()), remedy);
    }

    /// Notes a mistake in what is written for a key.
    pub fn note(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        why: &str,
        allowed: Option<String>,
        remedy: impl Into<String>,
    ) {
        self.note_at(scope, name, scope.origin_of(name), why, allowed, remedy.into());
    }

    fn note_at(
        &mut self,
        scope: &Scope<'_>,
        name: &str,
        origin: &Origin,
        why: &str,
        allowed: Option<String>,
        remedy: String,
    ) {
        let mut mistake = self.mistake(scope, name, origin);
        let value = mistake.value.clone().unwrap_or_default();
        mistake.problem = match origin {
            Origin::Environment(variable) => format!("{variable}={value} ({}) {why}", mistake.key),
            _ => format!("{} = {} {why}", mistake.key, shorten(&value)),
        };
        mistake.allowed = allowed;
        mistake.remedy = remedy;
        self.mistakes.push(mistake);
    }

    /// Notes that a table lacks something.
    pub fn lacking(&mut self, scope: &Scope<'_>, name: &str, remedy: String) {
        let mut mistake = self.mistake(scope, name, scope.origin.unwrap_or(&Origin::Default));
        mistake.value = None;
        mistake.problem = format!("{} is missing", mistake.key);
        mistake.allowed = scope.key(name).map(|key| key.takes.allowed());
        mistake.remedy = remedy;
        self.mistakes.push(mistake);
    }

    /// A mistake about this key, with place and value filled in; the words are yet to come.
    #[must_use]
    pub fn mistake(&self, scope: &Scope<'_>, name: &str, origin: &Origin) -> Mistake {
        let mut mistake = self.mistake_in(scope.full(name), origin);
        if let (Origin::Environment(_), Some(Value::Text(text))) = (origin, scope.written(name).map(|node| &node.value))
        {
            mistake.value = Some(mask(text));
        }
        mistake
    }

    /// The same, pointing at the key, not at its value.
    #[must_use]
    pub fn mistake_at_key(&self, scope: &Scope<'_>, name: &str, origin: &Origin) -> Mistake {
        let mut mistake = self.mistake(scope, name, origin);
        if let Some((span, (place, _))) = origin.key().and_then(|span| Some((span.clone(), self.place(&span)?))) {
            mistake.place = place;
            mistake.span = Some(span);
        }
        mistake
    }

    /// A mistake about whatever `key` names; its place is in the first file where `origin` is none.
    #[must_use]
    pub fn mistake_in(&self, key: String, origin: &Origin) -> Mistake {
        let in_file = origin.value().and_then(|span| Some((span, self.place(span)?)));
        let (place, value, span) = match (origin, in_file) {
            (_, Some((span, (place, value)))) => (place, Some(value), Some(span.clone())),
            (Origin::Environment(variable), _) => (Place::Environment { variable: variable.clone() }, None, None),
            _ => {
                let path = self.sources.first().map(|source| source.path.clone()).unwrap_or_default();
                (Place::File { path, line: 0, column: 0 }, None, None)
            }
        };
        Mistake { key, value, span, ..Mistake::new(place, String::new(), "") }
    }

    /// A place in a file, and what stands there.
    fn place(&self, span: &Span) -> Option<(Place, String)> {
        let source = self.sources.get(span.source)?;
        Some((source.place(span.bytes.start), source.excerpt(&span.bytes)))
    }
}

/// What is in the environment is text; numbers and flags are read out of it.
fn from_environment(key: &Key, mut node: Node) -> Node {
    if let (Value::Text(text), Origin::Environment(_)) = (&node.value, &node.origin) {
        let text = text.trim();
        let read = match key.takes {
            Takes::Number { .. } => text.parse().ok().map(|number| Value::Integer(Some(number))),
            Takes::Flag => text.parse().ok().map(Value::Bool),
            _ => None,
        };
        node.value = read.unwrap_or(node.value);
    }
    node
}

/// The word of a choice that was probably meant.
fn meant(key: &Key, written: &Value) -> Option<&'static str> {
    match (key.takes, written) {
        (Takes::Choice(words), Value::Text(written)) => nearest(written, words.iter().copied()),
        _ => None,
    }
}
