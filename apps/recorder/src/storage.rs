//! How the storage is: its level, what that forbids, and how long it will last.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_config::Storage;
use holdfast_config::root::{self, Usage};
use holdfast_dbus::{Error, ErrorCode};

/// From here on the disk is as good as full.
const CRITICAL_PERCENT: u8 = 99;
/// What is ours and not footage, below the root.
const OURS: &str = ".holdfast";

/// How the storage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In one word.
    pub level: Level,
    /// Measured; zeros when it can't be.
    pub total_bytes: u64,
    /// What may still be written. Blocks of deleted footage that wait to be written again are free.
    pub free_bytes: u64,
    /// Of these: blocks that wait to be written again.
    pub pool_bytes: u64,
    /// How full.
    pub used_percent: u8,
    /// A running recording is to be closed while there is room for closing it.
    pub must_stop: bool,
    /// What is wrong, for people; empty when all is well.
    pub message: String,
}

/// How full, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Room enough.
    Ok,
    /// Fuller than `warn_percent`, or less free than `warn_floor_mib`.
    Warn,
    /// Fuller than `block_percent`, or less free than `start_floor_mib`: starts are refused.
    Low,
    /// As good as full, or less free than `stop_floor_mib`: recordings are closed.
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

/// Where blocks of deleted footage wait to be written again.
pub fn pool_dir(root: &Path) -> PathBuf {
    root.join(OURS).join("recycle")
}

/// Space that is held back.
pub fn ballast_file(root: &Path) -> PathBuf {
    root.join(OURS).join("ballast")
}

/// Looks closely. Blocks on the disk.
pub fn measure(storage: &Storage) -> Status {
    match root::check(storage) {
        Ok(status) => judge(storage, &status.usage, &Held::look(&storage.root)),
        Err(error) => unavailable(error.to_string()),
    }
}

/// Looks as often as one likes: asks for figures and makes nothing. `None` if the root has changed in a way that wants a
/// close look.
pub fn glance(storage: &Storage, device: u64) -> Option<Status> {
    let metadata = std::fs::metadata(&storage.root).ok().filter(|metadata| metadata.dev() == device)?;
    if !metadata.is_dir() || is_read_only(&storage.root) {
        return None;
    }
    let usage = root::usage(&storage.root).ok()?;
    Some(judge(storage, &usage, &Held::look(&storage.root)))
}

fn is_read_only(root: &Path) -> bool {
    rustix::fs::statvfs(root).is_ok_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

fn unavailable(message: String) -> Status {
    Status {
        level: Level::Unavailable,
        total_bytes: 0,
        free_bytes: 0,
        pool_bytes: 0,
        used_percent: 0,
        must_stop: false,
        message,
    }
}

/// What is ours and not footage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Blocks of deleted footage.
    pub pool_bytes: u64,
    /// The ballast is there.
    pub ballast: bool,
}

impl Held {
    /// Looks.
    pub fn look(root: &Path) -> Self {
        let files = std::fs::read_dir(pool_dir(root)).into_iter().flatten().flatten();
        let blocks = files.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file);
        // In units of 512 bytes, whatever the filesystem has (stat(2)).
        let pool_bytes = blocks.map(|metadata| metadata.blocks().saturating_mul(512)).sum();
        Self { pool_bytes, ballast: ballast_file(root).is_file() }
    }
}

/// What decides about the level.
enum Limit {
    Percent(u8),
    Floor(u64),
    Ballast,
}

fn judge(storage: &Storage, usage: &Usage, held: &Held) -> Status {
    let free_bytes = usage.free_bytes.saturating_add(held.pool_bytes);
    let used_percent = used_percent(usage, held.pool_bytes);
    let below = |floor: u64| floor > 0 && free_bytes < floor;
    let floors = storage.floors;
    // What was given up for closing is not for recording.
    let no_ballast = storage.ballast_bytes > 0 && !held.ballast && free_bytes < storage.ballast_bytes.saturating_mul(2);
    let critical = CRITICAL_PERCENT.max(storage.block_percent);
    let (level, limit) = if below(floors.stop_bytes) {
        (Level::Critical, Limit::Floor(floors.stop_bytes))
    } else if no_ballast {
        (Level::Critical, Limit::Ballast)
    } else if used_percent >= critical {
        (Level::Critical, Limit::Percent(critical))
    } else if below(floors.start_bytes) {
        (Level::Low, Limit::Floor(floors.start_bytes))
    } else if used_percent >= storage.block_percent {
        (Level::Low, Limit::Percent(storage.block_percent))
    } else if below(floors.warn_bytes) {
        (Level::Warn, Limit::Floor(floors.start_bytes))
    } else if used_percent >= storage.warn_percent {
        (Level::Warn, Limit::Percent(storage.block_percent))
    } else {
        (Level::Ok, Limit::Percent(0))
    };
    let must_stop = level == Level::Critical && !matches!(limit, Limit::Percent(_));
    Status {
        level,
        total_bytes: usage.total_bytes,
        free_bytes,
        pool_bytes: held.pool_bytes,
        used_percent,
        must_stop,
        message: message(level, &limit, free_bytes, used_percent),
    }
}

/// As `df` counts, but for blocks that wait to be written again.
fn used_percent(usage: &Usage, pool_bytes: u64) -> u8 {
    if pool_bytes == 0 {
        return usage.used_percent;
    }
    let free = u128::from(usage.free_bytes);
    let percent = u128::from(usage.used_percent);
    if percent >= 100 {
        return usage.used_percent;
    }
    // What may be used at all is what is free, and used so far.
    let usable = free * 100 / (100 - percent);
    let freed = u128::from(pool_bytes) * 100 / usable.max(1);
    u8::try_from(percent.saturating_sub(freed)).unwrap_or(usage.used_percent)
}

fn message(level: Level, limit: &Limit, free_bytes: u64, used: u8) -> String {
    let (free, help) =
        (size(free_bytes), "delete or move sessions, or let retention do it (storage.keep_free_percent)");
    match (level, limit) {
        (Level::Ok | Level::Unavailable, _) => String::new(),
        (Level::Warn, Limit::Floor(0) | Limit::Ballast) => format!("{free} are free on the storage"),
        (Level::Warn, Limit::Floor(start)) => {
            format!("{free} are free on the storage; below {} recordings are not started", size(*start))
        }
        (Level::Warn, Limit::Percent(block)) => {
            format!("the storage is {used} % full; from {block} % on recordings are not started")
        }
        (Level::Low, Limit::Percent(block)) => format!(
            "the storage is {used} % full and recordings are not started from {block} % on; {help}, or raise storage.block_percent"
        ),
        (Level::Low, Limit::Floor(start)) => format!(
            "{free} are free on the storage and recordings are not started below {} (storage.start_floor_mib); {help}",
            size(*start)
        ),
        (Level::Critical, Limit::Percent(_)) => format!("the storage is {used} % full; {help}, now"),
        (Level::Critical, Limit::Floor(stop)) => format!(
            "{free} are free on the storage and recordings are closed below {} (storage.stop_floor_mib); {help}, now",
            size(*stop)
        ),
        (Level::Low | Level::Critical, Limit::Ballast) => format!(
            "the storage is full: {free} are free, which is what was held back for closing files (storage.ballast_mib); {help}, now"
        ),
    }
}

/// For people.
pub fn size(bytes: u64) -> String {
    const MB: u64 = 1_000_000;
    match bytes {
        small if small < 10 * MB => format!("{}.{} MB", small / MB, small % MB / (MB / 10)),
        medium if medium < 1000 * MB => format!("{} MB", medium / MB),
        large => format!("{}.{} GB", large / (1000 * MB), large % (1000 * MB) / (100 * MB)),
    }
}

/// How long a recording of so many bytes a second goes on before it is closed. `None` if nothing records.
pub fn seconds_left(storage: &Storage, status: &Status, rate: u64) -> Option<u64> {
    status.free_bytes.saturating_sub(storage.floors.stop_bytes).checked_div(rate)
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
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    Some(if status.level == Level::Unavailable {
        error
    } else {
        error
            .with("used_percent", i64::from(status.used_percent))
            .with("block_percent", i64::from(storage.block_percent))
            .with("free_bytes", number(status.free_bytes))
            .with("start_floor_bytes", number(storage.floors.start_bytes))
    })
}

#[cfg(test)]
mod tests;
