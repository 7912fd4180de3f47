//! Looks after the storage: how full it is, whether it is there at all, the ballast, and what is deleted by itself.
//!
//! It only looks, tells and deletes; who is to stop recording decides the engine when it sees the level. A disk that does not
//! answer holds up this task and nothing else.

pub mod ballast;
pub mod cleaner;
mod inventory;
mod slow;
pub mod trouble;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use holdfast_config::Storage;
use holdfast_dbus::AlertCode;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use crate::facade::Facade;
use crate::storage::{self, Level, Status};
use ballast::Ballast;
use slow::Slow;
use trouble::Trouble;

/// How often figures are asked for while something records or the storage is low.
const QUICK: Duration = Duration::from_secs(1);
/// And otherwise.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is looked at closely, which makes a nameless file.
const CLOSELY: Duration = Duration::from_secs(30);
/// A look that takes longer is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// An alert that holds is told again with new figures this often.
const REPEAT: Duration = Duration::from_secs(60);
/// The source of these alerts.
const SOURCE: &str = "storage";

/// What the guard tells.
#[derive(Debug)]
pub struct Tells {
    /// How the storage is.
    pub status: watch::Sender<Status>,
    /// What became of the ballast.
    pub ballast: watch::Sender<ballast::State>,
    /// Wakes retention.
    pub retention_due: watch::Sender<u64>,
}

/// Runs for ever.
pub async fn run(facade: Arc<Facade>, tells: Tells, trouble: Trouble) {
    tokio::join!(watch_storage(&facade, &tells, &trouble), watch_speed(&facade));
}

async fn watch_storage(facade: &Facade, tells: &Tells, trouble: &Trouble) {
    let mut known = Known { device: None, closely: None, told: None, files: None };
    let mut view = facade.view.clone();
    loop {
        // One that is not there is looked for closely, so that what waits for it does not wait longer than it must.
        let is_gone = tells.status.borrow().level == Level::Unavailable;
        let close = is_gone || known.closely.is_none_or(|last| last.elapsed() >= CLOSELY);
        let (storage, device, full) =
            (facade.config.storage.clone(), known.device.filter(|_| !close), trouble.is_full());
        let looking = tokio::task::spawn_blocking(move || look(&storage, device, full));
        let Some(seen) = patiently(facade, looking).await else {
            continue;
        };
        if seen.closely {
            known.closely = Some(Instant::now());
        }
        known.device = seen.device;
        trouble.seen(&seen.status);
        tells.ballast.send_if_modified(|state| std::mem::replace(state, seen.ballast) != seen.ballast);
        let before = tells.status.borrow().level;
        known.tell(facade, &seen.status);
        let level = seen.status.level;
        tells.status.send_if_modified(|status| {
            let changed = *status != seen.status;
            *status = seen.status;
            changed
        });
        if before == Level::Unavailable && level != Level::Unavailable {
            // Whoever waits for it, to recover what was left open, sees the level.
            tracing::info!("the storage is there (again)");
        }
        if known.is_due(facade, &tells.status.borrow()) {
            tells.retention_due.send_modify(|count| *count += 1);
        }
        let busy = facade.view.borrow().session.is_some() || level >= Level::Low;
        tokio::select! {
            () = tokio::time::sleep(if busy { QUICK } else { QUIET }) => (),
            () = trouble.poked() => known.closely = None,
            // What begins just after a quiet look is not left unguarded until the next one.
            Ok(_) = view.wait_for(|view| view.session.is_some()), if !busy => (),
        }
    }
}

/// Waits for a look, and says so if the disk does not answer.
async fn patiently(facade: &Facade, looking: tokio::task::JoinHandle<Seen>) -> Option<Seen> {
    let mut looking = looking;
    let began = Instant::now();
    loop {
        match timeout(PATIENCE, &mut looking).await {
            Ok(seen) => {
                facade.alerts.clear(AlertCode::DiskStalled, SOURCE);
                return seen.ok();
            }
            Err(_) => {
                let seconds = began.elapsed().as_secs();
                let text = format!("the disk has not answered for {seconds} s; recordings wait in memory");
                facade.alerts.raise(AlertCode::DiskStalled, SOURCE, text);
            }
        }
    }
}

/// What was seen before.
struct Known {
    device: Option<u64>,
    closely: Option<Instant>,
    told: Option<(Level, Instant)>,
    /// The session being recorded, and how many files of it are closed.
    files: Option<(String, u64)>,
}

impl Known {
    /// Retention looks when a file was closed, and when so little is free that it need not wait for that.
    fn is_due(&mut self, facade: &Facade, now: &Status) -> bool {
        let keep = facade.config.storage.keep;
        if !keep.is_on() || now.level == Level::Unavailable {
            return false;
        }
        let session = facade.view.borrow().session.clone();
        let files = session.and_then(|id| facade.catalog.known(&id)).map(|summary| (summary.id.clone(), summary.files));
        let closed = files.is_some() && std::mem::replace(&mut self.files, files.clone()) != files;
        let floor = facade.config.storage.floors.stop_bytes;
        let wanted = (now.total_bytes / 100 * u64::from(keep.free_percent)).max(floor + floor / 2);
        closed || now.free_bytes < wanted
    }

    /// Each level has its alert, and only that of the present level holds.
    fn tell(&mut self, facade: &Facade, now: &Status) {
        if self.told.is_some_and(|(level, at)| level == now.level && at.elapsed() < REPEAT) {
            return;
        }
        self.told = Some((now.level, Instant::now()));
        let rate = if facade.view.borrow().session.is_some() { *facade.rate.borrow() } else { 0 };
        let text = || match storage::seconds_left(&facade.config.storage, now, rate) {
            Some(seconds) if now.level < Level::Critical && !facade.config.storage.keep.is_on() => {
                format!("{}; at the present rate there is room for {}", now.message, hours(seconds))
            }
            _ => now.message.clone(),
        };
        for (level, code) in [
            (Level::Warn, AlertCode::StorageWarn),
            (Level::Low, AlertCode::StorageLow),
            (Level::Critical, AlertCode::StorageCritical),
            (Level::Unavailable, AlertCode::StorageUnavailable),
        ] {
            facade.alerts.set(now.level == level, code, SOURCE, text);
        }
    }
}

/// For people: `2.5 hours`, `40 minutes`.
fn hours(seconds: u64) -> String {
    match seconds / 60 {
        minutes if minutes < 100 => format!("{minutes} minutes"),
        minutes => format!("{}.{} hours", minutes / 60, minutes % 60 / 6),
    }
}

/// What a look brought.
struct Seen {
    status: Status,
    device: Option<u64>,
    closely: bool,
    ballast: ballast::State,
}

/// Looks, and sees to the ballast. `device`: of the last close look, if figures will do. `full`: a write was refused for want of
/// room. Blocks on the disk.
fn look(storage: &Storage, device: Option<u64>, full: bool) -> Seen {
    let figures = device.and_then(|device| storage::glance(storage, device));
    let closely = figures.is_none();
    let mut status = figures.unwrap_or_else(|| storage::measure(storage));
    let mut state = ballast::State::Unknown;
    if status.level != Level::Unavailable {
        let ballast = Ballast::of(storage);
        let (now, changed) = ballast.see_to(&status, full);
        state = now;
        if changed {
            status = storage::measure(storage);
        }
    }
    let device = std::fs::metadata(&storage.root).ok().map(|metadata| metadata.dev());
    Seen { device: device.filter(|_| status.level != Level::Unavailable), status, closely, ballast: state }
}

/// Before anything else is done with the storage: recovery needs room for closing files. Blocks on the disk.
pub fn make_room(storage: &Storage) {
    let status = storage::measure(storage);
    if status.level != Level::Unavailable && storage.floors.stop_bytes.max(storage.ballast_bytes) > 0 {
        Ballast::of(storage).see_to(&status, false);
    }
}

/// Is the disk slower than it should be, before anything is lost?
async fn watch_speed(facade: &Facade) {
    let mut slow = Slow::default();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ns = crate::clock::mono_ns();
        let figures = facade.inputs.iter().map(|input| slow::Figures::of(input, now_ns));
        if let Some(holds) = slow.observe(now_ns, figures) {
            facade.alerts.set(holds, AlertCode::DiskSlow, SOURCE, || slow.text());
        }
    }
}
