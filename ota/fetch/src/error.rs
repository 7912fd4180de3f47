//! What can go wrong, with what to do about it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. URLs in it are without user, password, query and fragment, which may hold secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the cache.
    #[error("{}: can't {what}: {source}; see that the disk is mounted, writable and healthy", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The record of what the cache has.
    #[error("the cache's record: {0}")]
    Journal(#[from] holdfast_journal::Error),
    /// The disk has no room for the bundle and for what must stay free beside it.
    #[error(
        "{}: {needed_bytes} bytes are still to come and {margin_bytes} must stay free, but only {available_bytes} are; \
         free some space", path.display()
    )]
    NoSpace {
        /// Directory of the cache.
        path: PathBuf,
        /// Bytes still to be written.
        needed_bytes: u64,
        /// Bytes free now.
        available_bytes: u64,
        /// Bytes that must stay free.
        margin_bytes: u64,
    },
    /// The file on the server is larger than the caller allows.
    #[error(
        "{url} has {bytes} bytes, more than the {limit_bytes} allowed for a bundle; publish a smaller one or raise the limit"
    )]
    TooLarge {
        /// The file.
        url: String,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit_bytes: u64,
    },
    /// The caller's URL, header, certificate or key cannot be used.
    #[error("{what}: {why}")]
    BadSource {
        /// The setting.
        what: &'static str,
        /// What is wrong with it and what it should be; never its value where that is a secret.
        why: String,
    },
    /// 401.
    #[error("{url}: the server does not know this box (401); give the updater a valid token or client certificate")]
    Unauthorized {
        /// The file.
        url: String,
    },
    /// 403.
    #[error("{url}: the server refuses this box (403); grant it the file, or take a fresh link where links expire")]
    Forbidden {
        /// The file.
        url: String,
    },
    /// 404.
    #[error("{url} is not there (404); correct the address or publish the bundle")]
    NotFound {
        /// The file.
        url: String,
    },
    /// 410.
    #[error("{url} was withdrawn (410); take the address of a newer bundle")]
    Gone {
        /// The file.
        url: String,
    },
    /// The server has nothing at that place: 416 for a whole file, or a length of zero.
    #[error("{url} is empty; publish the bundle again")]
    Empty {
        /// The file.
        url: String,
    },
    /// 429: the quota of requests is used up. Tried again.
    #[error("{url}: too many requests (429); wait, or raise the server's quota for this box")]
    TooManyRequests {
        /// The file.
        url: String,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 408, 425 or 5xx: tried again.
    #[error("{url}: the server answers {status}; look at the server")]
    Unavailable {
        /// The file.
        url: String,
        /// The status.
        status: u16,
        /// How long the server asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Any other status.
    #[error("{url}: the server answers {status}, which no file server should; correct the address")]
    Status {
        /// The file.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server sends all of the file where a part was asked for, so that nothing can be resumed.
    #[error(
        "{url}: the server ignores ranges, so the download can't be resumed; enable range requests there, or drop the cache"
    )]
    RangesIgnored {
        /// The file.
        url: String,
    },
    /// The server's answer contradicts itself or the question. Tried again a few times.
    #[error("{url}: {what}; look at the server and at proxies on the way to it")]
    BadAnswer {
        /// The file.
        url: String,
        /// What does not fit.
        what: String,
    },
    /// The answer ended early. Tried again.
    #[error("{url}: the answer broke off, {missing_bytes} bytes before its end")]
    Truncated {
        /// The file.
        url: String,
        /// What was still to come.
        missing_bytes: u64,
    },
    /// Nothing or next to nothing came for too long. Tried again.
    #[error("{url}: less than {bytes} bytes in {}s; check the network", waited.as_secs_f32())]
    Stalled {
        /// The file.
        url: String,
        /// What would have been enough.
        bytes: u64,
        /// For how long.
        waited: Duration,
    },
    /// The server sends us on to where we won't go.
    #[error("{url}: sent on to {to}, {why}")]
    Redirect {
        /// The file.
        url: String,
        /// Where to.
        to: String,
        /// Why we don't go.
        why: &'static str,
    },
    /// No connection, no TLS, or it broke. Tried again.
    #[error("{url}: {what}; check network, name server, proxy, clock and certificates")]
    Transport {
        /// The file.
        url: String,
        /// What failed, with its causes.
        what: String,
    },
    /// The file on the server is another with every look at it.
    #[error("{url} has changed {times} times during one download; publish bundles under names of their own")]
    KeepsChanging {
        /// The file.
        url: String,
        /// How often.
        times: u32,
    },
    /// The whole file is not what the fleet said. The cache is dropped.
    #[error(
        "{url} has SHA-256 {found} where {expected} is expected; it was dropped. Publish the bundle again, or correct the fleet's hash"
    )]
    Digest {
        /// The file.
        url: String,
        /// What it should be, in hexadecimal.
        expected: String,
        /// What it is.
        found: String,
    },
    /// What was written does not stay as it was.
    #[error("{}: chunks were damaged on the disk {times} times in a row; check the disk", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How often.
        times: u32,
    },
    /// Tried again as often as allowed with nothing gained.
    #[error("gave up after {attempts} attempts with nothing gained: {last}")]
    Exhausted {
        /// How many.
        attempts: u32,
        /// What happened last.
        last: Box<Error>,
    },
    /// The file that is copied, of somebody's stick.
    #[error("{name}: {what}")]
    Original {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The caller has cancelled; what is there stays.
    #[error("cancelled; what is there stays, and starting again goes on from it")]
    Cancelled,
    /// The cache's file was given up for another while this one was being read.
    #[error("the bundle has changed on the server while it was read; read it again from its beginning")]
    Changed,
    /// Nobody brings what a reader waits for.
    #[error("what is asked for did not come: {why}")]
    NotComing {
        /// Why.
        why: String,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }

    /// Whether the same again may go well.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::TooManyRequests { .. }
                | Self::Unavailable { .. }
                | Self::BadAnswer { .. }
                | Self::Truncated { .. }
                | Self::Stalled { .. }
                | Self::Transport { .. }
        )
    }

    /// How long the server asks us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
