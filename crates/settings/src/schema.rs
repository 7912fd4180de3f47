//! Rows of a schema: reading, checking, the environment and the check of documentation all go by them.

use toml::Value as Toml;

use crate::texts::quoted;
use crate::tree::Value;

/// What a key takes.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// A whole number within these bounds, both allowed.
    Number {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
        /// What it counts, with its unit, as it stands before "from 1 to 99".
        what: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Text.
    Text {
        /// What is allowed, for people.
        allowed: &'static str,
        /// Whether it is.
        test: fn(&str) -> bool,
    },
    /// Such a text or a number.
    TextOrNumber {
        /// What is allowed, for people.
        allowed: &'static str,
        /// Whether a text is.
        test: fn(&str) -> bool,
        /// The greatest number; 0 is the least.
        max: u64,
    },
    /// A list of texts.
    Texts {
        /// What is allowed, for people.
        allowed: &'static str,
    },
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy)]
pub enum Absent {
    /// This value, as TOML.
    Default(&'static str),
    /// Nothing; the key may be left out.
    Nothing,
    /// It must be written.
    Mistake,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What holds without it.
    pub absent: Absent,
    /// A good value as TOML, for remedies.
    pub example: &'static str,
    /// The environment variable that goes before what is written.
    pub environment: Option<&'static str>,
    /// Where another key of the table says what the table is: the values of that key that this one goes with; empty for all.
    pub variants: &'static [&'static str],
}

impl Key {
    /// A key without an environment variable, for all variants of its table.
    #[must_use]
    pub const fn new(name: &'static str, takes: Takes, absent: Absent, example: &'static str) -> Self {
        Self { name, takes, absent, example, environment: None, variants: &[] }
    }

    /// A key whose default is an example too.
    #[must_use]
    pub const fn with_default(name: &'static str, takes: Takes, default: &'static str) -> Self {
        Self::new(name, takes, Absent::Default(default), default)
    }

    /// The same, and this environment variable goes before it.
    #[must_use]
    pub const fn or_environment(self, variable: &'static str) -> Self {
        Self { environment: Some(variable), ..self }
    }

    /// The same for these variants only.
    #[must_use]
    pub const fn only_for(self, variants: &'static [&'static str]) -> Self {
        Self { variants, ..self }
    }

    /// Its default; `None` where it has none.
    #[must_use]
    pub fn default(&self) -> Option<Value> {
        match self.absent {
            Absent::Default(text) => Some(value(text)),
            Absent::Nothing | Absent::Mistake => None,
        }
    }

    /// Whether the row allows its own default and its own example: else remedies would send people in circles.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.takes.allows(&value(self.example)) && self.default().is_none_or(|default| self.takes.allows(&default))
    }
}

/// What stands in a row as TOML.
fn value(text: &str) -> Value {
    text.parse::<Toml>().map_or(Value::Other("no TOML"), Value::from)
}

impl Takes {
    /// What is allowed, for people.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Number { min, max, what } => format!("{what} from {min} to {max}"),
            Self::Flag => self.kind().to_owned(),
            Self::Choice(words) => quoted(words, ", "),
            Self::Text { allowed, .. } | Self::Texts { allowed } => (*allowed).to_owned(),
            Self::TextOrNumber { allowed, max, .. } => format!("{allowed} (0 to {max})"),
        }
    }

    /// Whether this value is allowed.
    #[must_use]
    pub fn allows(&self, value: &Value) -> bool {
        let within = |number: i128, min: u64, max: u64| (i128::from(min)..=i128::from(max)).contains(&number);
        match (self, value) {
            (Self::Number { min, max, .. }, Value::Integer(Some(number))) => within(*number, *min, *max),
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Choice(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Self::Text { test, .. } | Self::TextOrNumber { test, .. }, Value::Text(text)) => test(text),
            (Self::TextOrNumber { max, .. }, Value::Integer(Some(number))) => within(*number, 0, *max),
            (Self::Texts { .. }, Value::Array(items)) => items.iter().all(|item| matches!(item.value, Value::Text(_))),
            _ => false,
        }
    }

    /// Whether this value is of the kind that is taken, allowed or not.
    pub(crate) fn is_kind(&self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Number { .. } | Self::TextOrNumber { .. }, Value::Integer(_))
                | (Self::Flag, Value::Bool(_))
                | (Self::Choice(_) | Self::Text { .. } | Self::TextOrNumber { .. }, Value::Text(_))
                | (Self::Texts { .. }, Value::Array(_))
        )
    }

    /// What a person would call the kind that is taken.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Number { .. } => "a whole number",
            Self::Flag => "true or false",
            Self::Choice(_) | Self::Text { .. } => "text",
            Self::TextOrNumber { .. } => "text or a number",
            Self::Texts { .. } => "a list of texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_refuses_its_own_words_is_noticed() {
        let percent = Takes::Number { min: 1, max: 99, what: "percent" };
        assert!(Key::with_default("a", percent, "99").is_sound());
        assert!(!Key::with_default("a", percent, "100").is_sound());
        assert!(!Key::with_default("a", percent, "\"5\"").is_sound());
        assert!(!Key::with_default("a", percent, "five").is_sound());
        assert!(!Key::new("a", Takes::Choice(&["x", "y"]), Absent::Default("\"x\""), "\"z\"").is_sound());
        assert!(Key::new("a", Takes::Texts { allowed: "texts" }, Absent::Mistake, "[\"x\"]").is_sound());
        assert!(!Key::new("a", Takes::Texts { allowed: "texts" }, Absent::Mistake, "[1]").is_sound());
        let line = Takes::TextOrNumber { allowed: "a line", test: |text| text == "x", max: 7 };
        assert!(["\"x\"", "0", "7"].iter().all(|text| line.allows(&value(text))));
        assert!(!["\"y\"", "8", "-1", "true"].iter().any(|text| line.allows(&value(text))));
    }
}
