//! What can go wrong between us and the server, sorted by what the caller does about it.

use std::time::Duration;

use url::Url;

/// A request that did not do what was asked.
///
/// No variant carries a token, a certificate or a whole body. Addresses are shown without query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No connection, or it broke. The server may have taken the request all the same.
    #[error("{url} can't be reached: {reason}; check Settings.url, the network, and Settings.ca if it is about TLS")]
    Unreachable {
        /// What was asked for.
        url: Box<Url>,
        /// Why, down to the first cause.
        reason: String,
    },
    /// No whole answer in time. The server may have taken the request all the same.
    #[error("{url} gave no whole answer within {after:?}; Settings.timeout is the longest wait")]
    TimedOut {
        /// What was asked for.
        url: Box<Url>,
        /// The time that was given.
        after: Duration,
    },
    /// 401 or 403: the server does not believe who we are.
    #[error("{url} refuses us with HTTP {status}: {check}")]
    Denied {
        /// What was asked for.
        url: Box<Url>,
        /// 401 or 403.
        status: u16,
        /// Which settings to look at.
        check: String,
    },
    /// 404 or 410: there is no such action for this device, or not any more.
    #[error("{url} is gone (HTTP {status}): the action is over or was taken back")]
    Gone {
        /// What was asked for.
        url: Box<Url>,
        /// 404 (which a proxy in between can say too) or 410 (which only hawkBit says).
        status: u16,
    },
    /// 409: hawkBit was changing the same thing for someone else. Try again.
    #[error("{url} is being changed by someone else (HTTP 409{}); try again", told(code))]
    Conflict {
        /// What was asked for.
        url: Box<Url>,
        /// hawkBit's name of the error.
        code: Option<String>,
    },
    /// 429 or 503: not now.
    #[error("{url} is too busy (HTTP {status}{}); try again later", wait(retry_after))]
    Busy {
        /// What was asked for.
        url: Box<Url>,
        /// 429 or 503.
        status: u16,
        /// How long the server asks us to wait, as it said it: [`Pace`](crate::Pace) bounds it.
        retry_after: Option<Duration>,
    },
    /// A quota of hawkBit's is used up, such as 1,000 messages for one action. Waiting does not help.
    #[error("{url}: a quota of hawkBit is used up (HTTP {status}{}); report less often, or raise it there", told(code))]
    Quota {
        /// What was asked for.
        url: Box<Url>,
        /// 403 (before hawkBit 0.4) or 429.
        status: u16,
        /// hawkBit's name of the error.
        code: Option<String>,
    },
    /// 5xx other than 503: the server is broken at the moment. It may have taken the request all the same.
    #[error("{url} is broken (HTTP {status}{}); look at the server's log", told(code))]
    Broken {
        /// What was asked for.
        url: Box<Url>,
        /// 500 and up.
        status: u16,
        /// hawkBit's name of the error.
        code: Option<String>,
    },
    /// The server sends us elsewhere, where we don't go: a token is for one server only.
    #[error("{url} redirects to {to}, which we don't follow with a token; if that is right, put it into Settings.url")]
    Redirected {
        /// What was asked for.
        url: Box<Url>,
        /// Where it points.
        to: String,
    },
    /// More than we take.
    #[error("{url} answers with more than {limit_bytes} bytes: that is no answer of hawkBit's")]
    TooLarge {
        /// What was asked for.
        url: Box<Url>,
        /// The most that is read.
        limit_bytes: usize,
    },
    /// An answer that can't be used.
    #[error("{url} answers with what is no DDI answer: {reason}; check Settings.url, or the server's version")]
    Malformed {
        /// What was asked for.
        url: Box<Url>,
        /// What is wrong with it.
        reason: String,
    },
    /// Any other refusal: the request is wrong in the server's eyes, and will be again.
    #[error(
        "{url} refuses this request (HTTP {status}{}); this is a fault of ours or a server of another kind",
        told(code)
    )]
    Refused {
        /// What was asked for.
        url: Box<Url>,
        /// The status.
        status: u16,
        /// hawkBit's name of the error.
        code: Option<String>,
    },
}

impl Error {
    /// Whether the server may have taken what we sent although we got no word of it.
    pub fn is_uncertain(&self) -> bool {
        use Error::{Broken, Malformed, TimedOut, TooLarge, Unreachable};
        matches!(self, Unreachable { .. } | TimedOut { .. } | Broken { .. } | TooLarge { .. } | Malformed { .. })
    }
}

fn told(code: &Option<String>) -> String {
    code.as_ref().map(|code| format!(", {code}")).unwrap_or_default()
}

fn wait(after: &Option<Duration>) -> String {
    after.map(|after| format!(", asks for {} s", after.as_secs())).unwrap_or_default()
}

/// Settings that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// One value is not as it must be.
    #[error("Settings.{name} can't be used: {reason}")]
    Value {
        /// Its field.
        name: &'static str,
        /// What is wrong, and what is right.
        reason: String,
    },
    /// A file that a setting names.
    #[error("Settings.{name}: {} can't be used: {reason}", path.display())]
    File {
        /// Its field.
        name: &'static str,
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
}
