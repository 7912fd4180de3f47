//! Options (`a{sv}`) as a service reads them: each is taken out by name and type; what is left over is refused, so that a
//! misspelt option is never silently without effect.

use std::collections::HashMap;

use zbus::zvariant::{OwnedValue, Value};

use crate::{Error, ErrorCode, session_id_of};

/// Options as they came.
pub type Dict = HashMap<String, OwnedValue>;

/// Options that are being read.
#[derive(Debug)]
pub struct Options {
    method: &'static str,
    rest: Dict,
    known: Vec<&'static str>,
}

impl Options {
    /// Options of a method.
    #[must_use]
    pub fn new(method: &'static str, options: Dict) -> Self {
        Self { method, rest: options, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<Value<'static>> {
        self.known.push(key);
        self.rest.remove(key).map(Value::from)
    }

    fn wrong(&self, key: &str, wanted: &str) -> Error {
        invalid(format!("option {key:?} of {} must be {wanted}", self.method)).with("option", key)
    }

    /// A string.
    ///
    /// # Errors
    /// It is of another type.
    pub fn string(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text.to_string())),
            Some(_) => Err(self.wrong(key, "a string (s)")),
        }
    }

    /// Strings.
    ///
    /// # Errors
    /// It is of another type.
    pub fn strings(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Error> {
        let Some(value) = self.take(key) else { return Ok(None) };
        Vec::try_from(value).map(Some).map_err(|_| self.wrong(key, "strings (as)"))
    }

    /// Yes or no.
    pub fn flag(&mut self, key: &'static str) -> Result<Option<bool>, Error> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.wrong(key, "true or false (b)")),
        }
    }

    /// A whole number within bounds. Any integer type will do: scripts rarely have the choice.
    ///
    /// # Errors
    /// It is no number, or beyond the bounds.
    pub fn number(&mut self, key: &'static str, max: u32) -> Result<Option<u32>, Error> {
        let number = match self.take(key) {
            None => return Ok(None),
            Some(Value::U8(number)) => Some(u64::from(number)),
            Some(Value::U16(number)) => Some(u64::from(number)),
            Some(Value::U32(number)) => Some(u64::from(number)),
            Some(Value::U64(number)) => Some(number),
            Some(Value::I16(number)) => u64::try_from(number).ok(),
            Some(Value::I32(number)) => u64::try_from(number).ok(),
            Some(Value::I64(number)) => u64::try_from(number).ok(),
            Some(_) => None,
        };
        let fits = number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number <= max);
        fits.map(Some).ok_or_else(|| self.wrong(key, &format!("a whole number (u) of at most {max}")))
    }

    /// A session: its object path or id.
    ///
    /// # Errors
    /// It is neither.
    pub fn session(&mut self, key: &'static str) -> Result<Option<String>, Error> {
        let text = match self.take(key) {
            None => return Ok(None),
            Some(Value::ObjectPath(path)) => path.to_string(),
            Some(Value::Str(text)) => text.to_string(),
            Some(_) => return Err(self.wrong(key, "a session's object path (o)")),
        };
        session_id_of(&text).map(Some).ok_or_else(|| self.wrong(key, "a session's object path (o)"))
    }

    /// Refuses what nobody has asked for.
    ///
    /// # Errors
    /// Something is left over.
    pub fn end(self) -> Result<(), Error> {
        let Some(unknown) = self.rest.into_keys().next() else {
            return Ok(());
        };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(invalid(format!("{} has no option {unknown:?}; it has: {known}", self.method)).with("option", unknown))
    }
}

/// An argument that can't be.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

/// Text for people, within bounds.
///
/// # Errors
/// It is too long, or holds control characters.
pub fn text(what: &str, text: String, max_bytes: usize) -> Result<String, Error> {
    if text.len() > max_bytes {
        return Err(invalid(format!("the {what} is {} bytes long; {max_bytes} are allowed", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("the {what} holds control characters")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Dict, Options};
    use zbus::zvariant::{OwnedValue, Value};

    fn options(entries: &[(&str, Value<'_>)]) -> Options {
        let dict: Dict = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), OwnedValue::try_from(value.clone()).unwrap()))
            .collect();
        Options::new("Start", dict)
    }

    #[test]
    fn options_are_typed_and_unknown_ones_refused() {
        let mut good = options(&[("label", "x".into()), ("inputs", vec!["a", "b"].into()), ("wait_ms", 5_i32.into())]);
        assert_eq!(good.string("label").unwrap().as_deref(), Some("x"));
        assert_eq!(good.strings("inputs").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(good.number("wait_ms", 10).unwrap(), Some(5));
        assert_eq!(good.string("token").unwrap(), None);
        good.end().unwrap();

        let mut wrong = options(&[
            ("label", 1_u32.into()),
            ("wait_ms", (-1_i32).into()),
            ("inputs", "a".into()),
            ("labl", "x".into()),
        ]);
        assert_eq!(wrong.string("label").unwrap_err().to_string(), "option \"label\" of Start must be a string (s)");
        assert!(wrong.number("wait_ms", 10).is_err());
        assert!(wrong.strings("inputs").is_err());
        assert_eq!(
            wrong.end().unwrap_err().to_string(),
            "Start has no option \"labl\"; it has: label, wait_ms, inputs"
        );
    }
}
