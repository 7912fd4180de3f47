//! What went wrong, for people and programs, and the exit code that says so.

use holdfast_dbus::ErrorCode;
use serde::Serialize;
use serde_json::json;

/// How the program ends. The values are documented in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Findings = 1,
    Usage = 2,
    Configuration = 3,
    Unreachable = 4,
    Refused = 5,
    NotPermitted = 6,
    Failed = 7,
}

impl Exit {
    pub fn code(self) -> std::process::ExitCode {
        std::process::ExitCode::from(self as u8)
    }
}

/// A command that was not carried out.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    /// What and why.
    pub message: String,
    /// What to do about it; empty if the message says so.
    pub remedy: String,
    /// Already laid out for people (configuration errors with source lines).
    pub rendered: Option<String>,
    /// For programs: merged into the error object.
    pub details: serde_json::Value,
}

pub type Outcome = Result<Exit, Failure>;

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, message: message.into(), remedy: remedy.into(), rendered: None, details: json!({}) }
    }

    pub fn failed(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message, remedy)
    }

    pub fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message, remedy)
    }

    /// A refusal with its number: of the recorder, or of this program, which tells of sessions and inputs that are not there as the
    /// recorder does, also where only files were looked at.
    pub fn refused(code: ErrorCode, message: impl std::fmt::Display, remedy: impl Into<String>) -> Self {
        let exit = if code == ErrorCode::NotPermitted { Exit::NotPermitted } else { Exit::Refused };
        Self::new(exit, format!("[{}] {message}", code.number()), remedy)
            .with("code", code.number())
            .with("name", code.name())
    }

    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        if let (Some(map), Ok(value)) = (self.details.as_object_mut(), serde_json::to_value(value)) {
            map.insert(key.to_owned(), value);
        }
        self
    }

    pub fn json(&self) -> serde_json::Value {
        let mut error = json!({ "message": self.message, "exit": self.exit as u8 });
        if let (Some(error), Some(details)) = (error.as_object_mut(), self.details.as_object()) {
            if !self.remedy.is_empty() {
                error.insert("remedy".to_owned(), json!(self.remedy));
            }
            error.extend(details.clone());
        }
        json!({ "error": error })
    }
}

impl From<holdfast_segment::Error> for Failure {
    fn from(error: holdfast_segment::Error) -> Self {
        Self::failed(error.to_string(), error.remedy())
    }
}

impl From<holdfast_segment::export::ExportError> for Failure {
    fn from(error: holdfast_segment::export::ExportError) -> Self {
        Self::failed(error.to_string(), error.remedy())
    }
}

impl Failure {
    /// All mistakes of a configuration.
    pub fn configuration(errors: &holdfast_config::ConfigErrors, color: bool) -> Self {
        let count = errors.mistakes().len();
        let message = match errors.mistakes() {
            [only] => only.problem.clone(),
            _ => format!("the configuration has {count} mistakes"),
        };
        let remedy = match errors.mistakes() {
            [only] => only.remedy.clone(),
            _ => String::new(),
        };
        let mut failure = Self::new(Exit::Configuration, message, remedy).with("mistakes", errors.mistakes());
        failure.rendered = Some(errors.render(color));
        failure
    }
}
