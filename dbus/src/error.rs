//! Errors as they cross the bus.
//!
//! The body of an error is one string, `[code] text`, and, where there is more to say, a newline and a JSON object of details.
//! One string, because GDBus (and with it `gdbus`, dasbus, every GLib program) shows the message of an error only if the body is
//! exactly `(s)`; so the number and the details travel inside it, where a person and a program both find them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::message::{Header, Message};
use zbus::names::ErrorName;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)+) => {
        /// What went wrong. The name is the last part of the D-Bus error name, the number never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)+
        }

        impl ErrorCode {
            /// All codes, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The number.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $(Self::$name => $code,)+ }
            }

            /// The D-Bus error name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => concat!("org.holdfast.Error.", stringify!($name)),)+ }
            }
        }
    };
}

codes! {
    /// An argument or option is not known, of the wrong type or out of range.
    InvalidArgument = -1001,
    /// No input of that name is configured.
    UnknownInput = -1002,
    /// No session of that id is on the storage.
    UnknownSession = -1003,
    /// Nothing is being recorded, or not the session that was named.
    NotRecording = -1004,
    /// Another command is being carried out; try again in a moment.
    Busy = -1005,
    /// A recording is running.
    AlreadyRecording = -1006,
    /// The input's source can't be reached.
    InputUnavailable = -1007,
    /// The storage is filled to the point where starts are refused.
    StorageLow = -1008,
    /// The storage is missing, on the wrong filesystem, or can't be written to.
    StorageUnavailable = -1009,
    /// The storage is all but full; recordings are being closed.
    StorageCritical = -1010,
    /// No encoder that works on this box.
    EncoderUnavailable = -1011,
    /// The configuration is wrong.
    Configuration = -1012,
    /// The capture process could not be started or failed.
    CaptureFailed = -1013,
    /// The caller may not do this.
    NotPermitted = -1014,
    /// The session is protected.
    Protected = -1015,
    /// It took too long.
    Timeout = -1016,
    /// The lease can't be granted now, and was not to wait.
    LeaseRefused = -1017,
    /// No lease of that name.
    UnknownLease = -1018,
    /// A fault in Holdfast.
    Internal = -1099,
}

impl ErrorCode {
    /// The code of a number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The code of a D-Bus error name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// A fact about an error, for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// Yes or no.
    Bool(bool),
    /// A count, bytes, percent.
    Number(i64),
    /// A name, path or id.
    Text(String),
    /// Several names.
    List(Vec<String>),
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Detail {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<String>> for Detail {
    fn from(list: Vec<String>) -> Self {
        Self::List(list)
    }
}

/// A refusal or failure that the recorder tells its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub code: ErrorCode,
    /// For people, in one line: what, why, and what to do about it. Without the number.
    pub message: String,
    /// For programs.
    pub details: BTreeMap<String, Detail>,
    /// The string on the wire; derived from the rest.
    wire: String,
}

impl Error {
    /// An error without details.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut error = Self { code, message: message.into(), details: BTreeMap::new(), wire: String::new() };
        error.render();
        error
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Detail>) -> Self {
        self.details.insert(key.to_owned(), value.into());
        self.render();
        self
    }

    fn render(&mut self) {
        // The first line is the message's own: a newline within it would hide the rest from a reader of details.
        let message = self.message.replace('\n', " ");
        self.wire = format!("[{}] {message}", self.code.number());
        if !self.details.is_empty()
            && let Ok(details) = serde_json::to_string(&self.details)
        {
            self.wire.push('\n');
            self.wire.push_str(&details);
        }
    }

    /// Reads what a client got: `None` if the error is none of ours (the service is not there, access was denied by the bus, …).
    #[must_use]
    pub fn from_zbus(error: &zbus::Error) -> Option<Self> {
        let zbus::Error::MethodError(name, message, _) = error else {
            return None;
        };
        Self::from_parts(name.as_str(), message.as_deref().unwrap_or_default())
    }

    /// Reads an error from its D-Bus name and message.
    #[must_use]
    pub fn from_parts(name: &str, wire: &str) -> Option<Self> {
        let code = ErrorCode::from_name(name)?;
        let (line, details) = wire.split_once('\n').unwrap_or((wire, ""));
        let message = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).map_or(line, |(_, text)| text);
        Some(Self {
            code,
            message: message.to_owned(),
            details: serde_json::from_str(details).unwrap_or_default(),
            wire: wire.to_owned(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl zbus::DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name())?.build(&(self.wire.as_str(),))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.code.name())
    }

    fn description(&self) -> Option<&str> {
        Some(&self.wire)
    }
}

#[cfg(test)]
mod tests {
    use super::{Detail, Error, ErrorCode};
    use zbus::DBusError;

    #[test]
    fn numbers_and_names_are_one_to_one() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
            zbus::names::ErrorName::try_from(code.name()).unwrap();
        }
        // Numbers that others rely on.
        assert_eq!(ErrorCode::AlreadyRecording.number(), -1006);
        assert_eq!(ErrorCode::StorageLow.number(), -1008);
        assert_eq!(ErrorCode::StorageCritical.number(), -1010);
    }

    #[test]
    fn an_error_comes_back_from_its_wire_form() {
        let error =
            Error::new(ErrorCode::StorageLow, "91 % full,\nfree some").with("used_percent", 91).with("root", "/x");
        assert_eq!(error.description(), Some("[-1008] 91 % full, free some\n{\"root\":\"/x\",\"used_percent\":91}"));
        let back = Error::from_parts("org.holdfast.Error.StorageLow", error.description().unwrap()).unwrap();
        assert_eq!(back.code, ErrorCode::StorageLow);
        assert_eq!(back.message, "91 % full, free some");
        assert_eq!(back.details["used_percent"], Detail::Number(91));
        assert_eq!(Error::from_parts("org.freedesktop.DBus.Error.AccessDenied", "x"), None);
        // A message that lost its tail, or never had one, is still shown.
        assert_eq!(Error::from_parts("org.holdfast.Error.Busy", "odd").unwrap().message, "odd");
    }
}
