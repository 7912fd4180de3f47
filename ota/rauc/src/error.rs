//! What went wrong, by kind, and what to do about it.

use std::fmt;

use crate::kind::Kind;

/// Why RAUC did not do what it was asked. `Display` gives what was tried, what RAUC said, and the remedy.
#[derive(Debug)]
pub struct Error {
    doing: String,
    kind: Kind,
    said: String,
    source: Option<Box<zbus::Error>>,
}

impl Error {
    pub(crate) fn new(doing: impl Into<String>, kind: Kind, said: impl Into<String>) -> Self {
        Self { doing: doing.into(), kind, said: said.into(), source: None }
    }

    /// What RAUC said about a failure.
    pub(crate) fn said(doing: impl Into<String>, said: &str) -> Self {
        Self::new(doing, Kind::of_text(said), said.trim())
    }

    /// A call that failed: refused by RAUC in words, or by the bus.
    pub(crate) fn call(doing: impl Into<String>, error: zbus::Error) -> Self {
        let doing = doing.into();
        let (kind, said) = match &error {
            zbus::Error::MethodError(name, text, _) => of_method_error(name, text.as_deref().unwrap_or_default()),
            zbus::Error::FDO(fdo) => match fdo.as_ref() {
                zbus::fdo::Error::NameHasNoOwner(_) | zbus::fdo::Error::ServiceUnknown(_) => {
                    (Kind::Absent, fdo.to_string())
                }
                zbus::fdo::Error::UnknownMethod(_) => (Kind::Unsupported, fdo.to_string()),
                other => (Kind::Bus, other.to_string()),
            },
            other => (Kind::Bus, other.to_string()),
        };
        Self { doing, kind, said, source: Some(Box::new(error)) }
    }

    /// Takes out what may be secret in the bundle's URL, which RAUC repeats in its texts.
    pub(crate) fn about(mut self, bundle: &str) -> Self {
        let shown = crate::service::shown(bundle);
        if shown != bundle {
            self.said = self.said.replace(bundle, &shown);
            // The bus's own error holds the text too.
            self.source = None;
        }
        self
    }

    /// What kind of trouble it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What RAUC (or the bus) said, untouched.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.said
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }
}

/// RAUC answers with `org.gtk.GDBus.…` errors and a text; the bus with `org.freedesktop.DBus.Error.…`.
fn of_method_error(name: &str, text: &str) -> (Kind, String) {
    let kind = match name.strip_prefix("org.freedesktop.DBus.Error.") {
        Some("NameHasNoOwner" | "ServiceUnknown") => Kind::Absent,
        Some(spawn) if spawn.starts_with("Spawn.") => Kind::Absent,
        // The bus answers so for a peer that went away before it did.
        Some("NoReply" | "Disconnected") => Kind::Gone,
        Some("UnknownMethod" | "UnknownProperty") => Kind::Unsupported,
        Some("Failed") | None => Kind::of_text(text),
        Some(_) => Kind::Bus,
    };
    (kind, if text.is_empty() { name.to_owned() } else { text.trim().to_owned() })
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if self.said.is_empty() { "RAUC gave no reason" } else { &self.said };
        write!(out, "{}: {said} ({})", self.doing, self.kind.remedy())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn an_error_says_what_why_and_what_to_do_but_no_secrets() {
        let bundle = "https://me:pass@host/a.raucb?token=1";
        let error = Error::said("installing x", &format!("Failed to stream bundle {bundle}: no")).about(bundle);
        assert_eq!(
            error.to_string(),
            "installing x: Failed to stream bundle https://host/a.raucb: no (check network, address and credentials, and that the server answers range requests)"
        );
        assert!(!format!("{error:?}").contains("pass"));
        assert!(Error::said("x", "").to_string().contains("no reason"));
    }
}
