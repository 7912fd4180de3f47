//! How the storage is: its level, what that forbids, and how long it will last.

use std::path::PathBuf;

use holdfast_config::Storage;
use holdfast_config::root::{self, Usage};
use holdfast_dbus::{Error, ErrorCode};

/// From here on the disk is as good as full.
const CRITICAL_PERCENT: u8 = 99;

/// How the storage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub level: Level,
    /// Measured; zeros when it can't be.
    pub total_bytes: u64,
    /// What may still be written.
    pub free_bytes: u64,
    /// How full.
    pub used_percent: u8,
    /// What is wrong, for people; empty when all is well.
    pub message: String,
}

/// How full, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Room enough.
    Ok,
    /// Fuller than `warn_percent`.
    Warn,
    /// Fuller than `block_percent`: starts are refused.
    Low,
    /// As good as full.
    Critical,
    /// Missing, wrong or not writable.
    Unavailable,
}

impl Level {
    /// As on D-Bus.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Low => "low",
            Self::Critical => "critical",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What a fill level means.
fn level(used_percent: u8, storage: &Storage) -> Level {
    match used_percent {
        used if used >= CRITICAL_PERCENT.max(storage.block_percent) => Level::Critical,
        used if used >= storage.block_percent => Level::Low,
        used if used >= storage.warn_percent => Level::Warn,
        _ => Level::Ok,
    }
}

/// Looks. Blocks on the disk.
pub fn measure(storage: &Storage) -> Status {
    match root::check(storage) {
        Ok(status) => judge(storage, &status.usage),
        Err(error) => Status {
            level: Level::Unavailable,
            total_bytes: 0,
            free_bytes: 0,
            used_percent: 0,
            message: error.to_string(),
        },
    }
}

fn judge(storage: &Storage, usage: &Usage) -> Status {
    let level = level(usage.used_percent, storage);
    let (used, block) = (usage.used_percent, storage.block_percent);
    let message = match level {
        Level::Ok | Level::Unavailable => String::new(),
        Level::Warn => format!("the storage is {used} % full; from {block} % on recordings are not started"),
        Level::Low => format!(
            "the storage is {used} % full and recordings are not started from {block} % on; delete or move sessions, or raise storage.block_percent"
        ),
        Level::Critical => format!("the storage is {used} % full; delete or move sessions now"),
    };
    Status { level, total_bytes: usage.total_bytes, free_bytes: usage.free_bytes, used_percent: used, message }
}

/// Why nothing can be started, if so.
pub fn refusal(storage: &Storage, status: &Status) -> Option<Error> {
    let code = match status.level {
        Level::Ok | Level::Warn => return None,
        Level::Low => ErrorCode::StorageLow,
        Level::Critical => ErrorCode::StorageCritical,
        Level::Unavailable => ErrorCode::StorageUnavailable,
    };
    let root: &PathBuf = &storage.root;
    let error = Error::new(code, status.message.clone()).with("root", root.display().to_string());
    Some(if status.level == Level::Unavailable {
        error
    } else {
        error
            .with("used_percent", i64::from(status.used_percent))
            .with("block_percent", i64::from(storage.block_percent))
            .with("free_bytes", i64::try_from(status.free_bytes).unwrap_or(i64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::{Level, judge, refusal};
    use holdfast_config::root::Usage;
    use holdfast_config::{Filesystem, Storage};

    #[test]
    fn each_level_has_its_refusal() {
        let storage = |warn_percent, block_percent| Storage {
            root: "/data".into(),
            filesystem: Filesystem::Any,
            warn_percent,
            block_percent,
        };
        let at = |used_percent, storage: &Storage| {
            let status = judge(storage, &Usage { total_bytes: 100, free_bytes: 1, used_percent });
            (status.level, refusal(storage, &status).map(|error| error.code.number()))
        };
        let usual = storage(80, 90);
        assert_eq!(at(79, &usual), (Level::Ok, None));
        assert_eq!(at(80, &usual), (Level::Warn, None));
        assert_eq!(at(90, &usual), (Level::Low, Some(-1008)));
        assert_eq!(at(99, &usual), (Level::Critical, Some(-1010)));
        assert_eq!(at(99, &storage(80, 100)), (Level::Warn, None));
        assert_eq!(at(100, &storage(80, 100)).0, Level::Critical);
    }
}
