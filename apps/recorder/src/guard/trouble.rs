//! What the recorder's own writes ran into: a full disk, one that has become read-only, and one that fails are three things, with
//! three remedies.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_dbus::{AlertCode, Error, ErrorCode};
use rustix::io::Errno;
use tokio::sync::Notify;

use crate::alerts::Alerts;
use crate::storage::{Level, Status};

/// Which kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ENOSPC, EDQUOT: no room.
    Full,
    /// EROFS: the kernel has taken the filesystem read-only.
    ReadOnly,
    /// EIO: the disk fails.
    Failing,
    /// Anything else.
    Other,
}

impl Kind {
    /// Of an error or what it was caused by.
    pub fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let code = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
            if let Some(errno) = code {
                return match errno {
                    Errno::NOSPC | Errno::DQUOT => Self::Full,
                    Errno::ROFS => Self::ReadOnly,
                    Errno::IO => Self::Failing,
                    _ => Self::Other,
                };
            }
            cause = error.source();
        }
        Self::Other
    }

    fn alert(self) -> AlertCode {
        match self {
            Self::Full => AlertCode::StorageCritical,
            Self::ReadOnly => AlertCode::StorageUnavailable,
            Self::Failing | Self::Other => AlertCode::WriteFailed,
        }
    }

    fn text(self, what: &str, error: &dyn StdError) -> String {
        match self {
            Self::Full => {
                format!("{what} does not fit on the disk any more: {error}. Recordings are closed; make room")
            }
            Self::ReadOnly => format!(
                "{what} can't be written, the filesystem has become read-only: {error}. The kernel does that after disk errors: \
                 look at dmesg, check the filesystem, then mount it again"
            ),
            Self::Failing => {
                format!("{what} can't be written, the disk fails: {error}. Look at dmesg and smartctl -a; replace it")
            }
            Self::Other => format!("{what} can't be written: {error}"),
        }
    }
}

/// A refusal for whoever asked for what could not be written.
pub fn refusal(root: &std::path::Path, what: &str, error: &(dyn StdError + 'static)) -> Error {
    let kind = Kind::of(error);
    let code = if kind == Kind::Full { ErrorCode::StorageCritical } else { ErrorCode::StorageUnavailable };
    Error::new(code, kind.text(what, error)).with("root", root.display().to_string())
}

/// Whoever writes tells it; clones share it.
#[derive(Debug, Clone)]
pub struct Trouble {
    alerts: Alerts,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// A write to the storage was refused for want of room, and none has been seen since.
    full: AtomicBool,
    /// Some alert of ours may hold.
    troubled: AtomicBool,
    /// Wakes the guard.
    poke: Notify,
}

impl Trouble {
    /// Tells these alerts.
    pub fn new(alerts: Alerts) -> Self {
        Self { alerts, shared: Arc::default() }
    }

    /// A write to the storage failed.
    pub fn failed(&self, what: &str, error: &(dyn StdError + 'static)) {
        let kind = Kind::of(error);
        self.alerts.raise(kind.alert(), "recorder", kind.text(what, error));
        self.shared.troubled.store(true, Ordering::Relaxed);
        self.shared.full.fetch_or(kind == Kind::Full, Ordering::Relaxed);
        self.shared.poke.notify_one();
    }

    /// A write to the storage succeeded.
    pub fn fine(&self) {
        if self.shared.troubled.swap(false, Ordering::Relaxed) {
            self.shared.full.store(false, Ordering::Relaxed);
            for kind in [Kind::Full, Kind::ReadOnly, Kind::Failing] {
                self.alerts.clear(kind.alert(), "recorder");
            }
        }
    }

    /// Something was refused for want of room.
    pub fn is_full(&self) -> bool {
        self.shared.full.load(Ordering::Relaxed)
    }

    /// The storage was looked at: with room, nothing is full any more.
    pub fn seen(&self, status: &Status) {
        if status.level < Level::Critical && self.is_full() {
            self.fine();
        }
    }

    /// Somebody wants the storage to be looked at now.
    pub fn poke(&self) {
        self.shared.poke.notify_one();
    }

    /// Returns when somebody does.
    pub async fn poked(&self) {
        self.shared.poke.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use holdfast_dbus::{AlertCode, ErrorCode};
    use rustix::io::Errno;

    use super::{Kind, Trouble, refusal};
    use crate::alerts::Alerts;

    #[test]
    fn each_errno_has_its_alert_and_text() {
        for (errno, kind, alert, word) in [
            (Errno::NOSPC, Kind::Full, AlertCode::StorageCritical, "make room"),
            (Errno::DQUOT, Kind::Full, AlertCode::StorageCritical, "make room"),
            (Errno::ROFS, Kind::ReadOnly, AlertCode::StorageUnavailable, "read-only"),
            (Errno::IO, Kind::Failing, AlertCode::WriteFailed, "smartctl"),
            (Errno::ACCESS, Kind::Other, AlertCode::WriteFailed, "can't be written"),
        ] {
            // As the journal and the segments wrap it.
            let error = holdfast_journal::Error::Io { path: "/j".into(), action: "write", source: errno.into() };
            assert_eq!(Kind::of(&error), kind, "{errno}");
            let alerts = Alerts::default();
            let trouble = Trouble::new(alerts.clone());
            trouble.failed("the journal", &error);
            let list = alerts.list();
            assert_eq!((list[0].code, list.len(), trouble.is_full()), (alert, 1, kind == Kind::Full));
            assert!(list[0].text.contains(word) && list[0].text.contains("/j"), "{}", list[0].text);
            trouble.fine();
            assert!(!alerts.list()[0].is_active() && !trouble.is_full());
        }
        assert_eq!(Kind::of(&io::Error::other("x")), Kind::Other);
        assert_eq!(refusal(Path::new("/r"), "x", &io::Error::from(Errno::NOSPC)).code, ErrorCode::StorageCritical);
        assert_eq!(refusal(Path::new("/r"), "x", &io::Error::from(Errno::IO)).code, ErrorCode::StorageUnavailable);
    }
}
