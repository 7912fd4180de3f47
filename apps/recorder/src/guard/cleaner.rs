//! Carries out what retention decides: one file after the other, noted first, then gone.
//!
//! It runs on a thread of its own at low priority and asks nothing of the engine. What it gives up goes into the pool, where the
//! next file takes the blocks, as long as the pool is small; then it is removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_config::Storage;
use holdfast_dbus::{AlertCode, FileDeletedInfo};
use holdfast_records::{Record, SESSION_JOURNAL};
use holdfast_segment::{Error as SegmentError, Pool, Reader, durable};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::inventory::{Inventory, Marks, marks_of};
use super::trouble::Trouble;
use crate::alerts::Alerts;
use crate::facade::{News, RecorderView};
use crate::retention::{self, Blocked, Cause, Limits, Victim};
use crate::storage::{self, Level, Status};
use crate::store::{Catalog, Job, Keeper};
use crate::{captures, clock, ids};

/// How often it looks by itself.
const PERIOD: Duration = Duration::from_secs(30);
/// Files smaller than this are not worth a place in the pool.
const POOL_FILE_BYTES: u64 = 1024 * 1024;
/// Between two deletions, unless recordings would have to be closed.
const PAUSE: Duration = Duration::from_millis(20);
/// Lower than everything that records.
const NICE: i32 = 15;
/// The wall clock counts for ages of footage once it has run evenly for so long.
const STEADY_NS: u64 = 10 * 60 * 1_000_000_000;
/// What it may drift meanwhile.
const DRIFT_NS: i64 = 2_000_000_000;
/// So long an emergency is told after the last file went.
const REMEMBERED_NS: u64 = 3600 * 1_000_000_000;
/// Where deleting makes no room (snapshots, another program that fills the disk), so long nothing more is deleted for room.
const FUTILE_NS: u64 = 10 * 60 * 1_000_000_000;
/// After so many attempts in a row.
const FUTILE_ATTEMPTS: u32 = 3;
const SOURCE: &str = "storage";

/// What it does, for all to see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct View {
    /// off, idle, cleaning or blocked.
    pub state: &'static str,
    /// Since the recorder started.
    pub files: u64,
    /// The same.
    pub bytes: u64,
}

/// All that it works with.
pub struct Cleaner {
    /// `[storage]`.
    pub storage: Storage,
    /// How many inputs may want blocks of the pool.
    pub inputs: usize,
    /// The sessions.
    pub catalog: Arc<Catalog>,
    /// Notes what goes, before it does.
    pub keeper: Keeper,
    /// Which session is being recorded.
    pub recorder: watch::Receiver<RecorderView>,
    /// Tells the bus. Full: the signal is left out, the journal has it.
    pub news: mpsc::Sender<News>,
    /// Tells people.
    pub alerts: Alerts,
    /// Wakes the guard after something went.
    pub trouble: Trouble,
    /// Shows what it does.
    pub view: watch::Sender<View>,
    /// What it remembers from look to look.
    pub memory: Memory,
}

/// What the cleaner remembers from look to look; nothing of it is needed after a restart.
#[derive(Debug, Default)]
pub struct Memory {
    /// Files that are called like ours and are not.
    left_alone: HashSet<PathBuf>,
    /// See there.
    marks: Marks,
    /// When the wall clock was last seen to step, and its distance to the monotonic one.
    clock: Option<(u64, i64)>,
    /// When footage last went ahead of its time.
    emergency_ns: Option<u64>,
    /// How often in a row deleting made no room, and when last.
    futile: (u32, u64),
}

impl Cleaner {
    /// Starts the thread. It looks whenever `due` changes (a file was closed, the storage has got fuller), and now and then.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(mut self, due: watch::Receiver<u64>) -> std::io::Result<()> {
        // Full (1): it is at work and looks again anyway.
        let (wake, woken) = std::sync::mpsc::sync_channel::<()>(1);
        let mut due = due;
        tokio::spawn(async move {
            loop {
                if let Ok(Err(_)) = tokio::time::timeout(PERIOD, due.changed()).await {
                    return;
                }
                if let Err(std::sync::mpsc::TrySendError::Disconnected(())) = wake.try_send(()) {
                    return;
                }
            }
        });
        self.show(if self.limits(0).is_on() { "idle" } else { "off" });
        std::thread::Builder::new().name("retention".to_owned()).spawn(move || {
            // Of this thread only. A refusal is no reason not to clean.
            let _ = rustix::process::setpriority_process(None, NICE);
            while woken.recv().is_ok() {
                self.run();
            }
        })?;
        Ok(())
    }

    fn limits(&self, total_bytes: u64) -> Limits {
        let keep = self.storage.keep;
        Limits {
            age_s: u64::from(keep.days) * 24 * 3600,
            total_bytes: keep.bytes,
            free_bytes: total_bytes / 100 * u64::from(keep.free_percent),
            stop_floor_bytes: self.storage.floors.stop_bytes,
            archive: keep.archive,
        }
    }

    fn show(&self, state: &'static str) {
        self.view.send_if_modified(|view| std::mem::replace(&mut view.state, state) != state);
    }

    /// Looks, decides, deletes, until nothing is left to do.
    fn run(&mut self) {
        if !self.storage.keep.is_on() {
            return;
        }
        loop {
            let status = storage::measure(&self.storage);
            if status.level == Level::Unavailable {
                return;
            }
            let recording = self.recorder.borrow().session.clone();
            let memory = &mut self.memory;
            let found = Inventory::take(&self.catalog, recording.as_deref(), &memory.left_alone, &mut memory.marks);
            let now_s = self.trusted_clock().then(|| clock::wall_ns() / 1_000_000_000);
            let limits = self.limits(status.total_bytes);
            let mut plan = retention::plan(&found.sessions, &limits, status.free_bytes, now_s);
            let is_futile = self.is_futile();
            if is_futile {
                plan.victims.retain(|victim| matches!(victim.cause, Cause::Age | Cause::Total));
            }
            let before = self.view.borrow().bytes;
            let cleaned = self.carry_out(&found, &plan.victims);
            self.tell_emergency(&status, &limits, &plan.victims);
            self.tell_blocked(plan.blocked.as_ref(), is_futile);
            self.show(if plan.blocked.is_some() || is_futile { "blocked" } else { "idle" });
            self.remove_empty(&found, recording.as_deref());
            if plan.victims.is_empty() || !cleaned {
                return;
            }
            let freed_bytes = self.view.borrow().bytes - before;
            self.weigh(status.free_bytes, freed_bytes);
            self.trouble.poke();
        }
    }

    /// What goes should make room. Where it does not, all footage would go for nothing.
    fn weigh(&mut self, free_before: u64, freed_bytes: u64) {
        let free_now = storage::measure(&self.storage).free_bytes;
        let futile = freed_bytes > 0 && free_now < free_before.saturating_add(freed_bytes / 4);
        self.memory.futile = if futile { (self.memory.futile.0 + 1, clock::mono_ns()) } else { (0, 0) };
    }

    fn is_futile(&self) -> bool {
        let (attempts, since_ns) = self.memory.futile;
        attempts >= FUTILE_ATTEMPTS && clock::mono_ns().saturating_sub(since_ns) < FUTILE_NS
    }

    /// A clock that was just set says nothing of how old footage is: a box without a battery for its clock begins in 1970, and one
    /// with a wrong one might take all footage for years old.
    fn trusted_clock(&mut self) -> bool {
        let mono_ns = clock::mono_ns();
        let distance_ns = clock::wall_ns().saturating_sub(i64::try_from(mono_ns).unwrap_or(i64::MAX));
        let (since_ns, reference_ns) = *self.memory.clock.get_or_insert((mono_ns, distance_ns));
        if distance_ns.saturating_sub(reference_ns).abs() > DRIFT_NS {
            self.memory.clock = Some((mono_ns, distance_ns));
            return false;
        }
        mono_ns.saturating_sub(since_ns) >= STEADY_NS
    }

    /// True if all of it went. Stops at the first that does not, so that the next look decides anew.
    fn carry_out(&mut self, found: &Inventory, victims: &[Victim]) -> bool {
        if !victims.is_empty() {
            self.show("cleaning");
        }
        for victim in victims {
            let session = &found.sessions[victim.session];
            let path = &found.paths[victim.session][victim.file];
            let file = &session.files[victim.file];
            match self.delete(&session.id, &file.input, path, victim.cause) {
                Ok(bytes) => self.view.send_modify(|view| {
                    view.files += 1;
                    view.bytes += bytes;
                }),
                Err(why) => {
                    warn!(session = session.id, file = %path.display(), "retention leaves it: {why}");
                    return false;
                }
            }
            if victim.cause != Cause::Emergency {
                std::thread::sleep(PAUSE);
            }
        }
        true
    }

    /// Deletes one file. Returns its length.
    fn delete(&mut self, session: &str, input: &str, path: &Path, cause: Cause) -> Result<u64, String> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        // It says of itself whose it is. What does not, or says otherwise, was put here by somebody.
        let is_ours = Reader::open(path).is_ok_and(|reader| {
            let identity = reader.identity();
            identity.session == session && identity.input == input
        });
        let Some(summary) = captures::summary(path).filter(|_| is_ours) else {
            self.memory.left_alone.insert(path.to_owned());
            return Err("it is not a segment of this session".to_owned());
        };
        if marks_of(&self.catalog, session) != (false, false) {
            self.memory.marks.remove(session);
            return Err("the session is protected, or its journal can't be read".to_owned());
        }
        let record = Record::Deleted {
            input: input.to_owned(),
            sequence: summary.sequence,
            file: name.clone(),
            frames: summary.frames,
            bytes: summary.bytes,
            cause: cause.name().to_owned(),
            wall_ns: clock::wall_ns(),
        };
        // First the note: a file that is gone without one would look like a loss.
        let (done, noted) = oneshot::channel();
        self.keeper.hand(Job::Note(session.to_owned(), record, Some(done))).map_err(|error| error.to_string())?;
        noted.blocking_recv().map_err(|_| "the recorder is ending".to_owned())?.map_err(|error| error.to_string())?;
        if marks_of(&self.catalog, session) != (false, false) {
            return Err("the session has been protected at this moment".to_owned());
        }
        self.give_up(path, summary.bytes).map_err(|error| {
            self.trouble.failed("what retention deletes", &error);
            error.to_string()
        })?;
        info!(session, input, file = name, bytes = summary.bytes, cause = cause.name(), "deleted by retention");
        let info = FileDeletedInfo {
            sequence: summary.sequence,
            frames: summary.frames,
            bytes: summary.bytes,
            cause: cause.name().to_owned(),
        };
        let path = format!("{}/{input}/{name}", ids::session_dir(session).unwrap_or_default());
        self.tell(News::FileDeleted { session: session.to_owned(), input: input.to_owned(), path, info });
        Ok(summary.bytes)
    }

    /// Into the pool while that is small, else for good.
    fn give_up(&self, path: &Path, bytes: u64) -> Result<(), SegmentError> {
        let pool = Pool::open(&storage::pool_dir(&self.storage.root))?;
        let waiting = pool.files()?.len();
        pool.retire(path)?;
        // One for each input that begins a file next, and one to spare.
        if bytes < POOL_FILE_BYTES || waiting > self.inputs {
            let smallest = pool.files()?.into_iter().min_by_key(|(_, bytes)| *bytes);
            if let Some((path, _)) = smallest {
                // A capture may have taken it meanwhile: as good.
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn tell(&self, news: News) {
        if self.news.try_send(news).is_err() {
            warn!("a signal is left out: too many wait for the bus");
        }
    }

    fn tell_emergency(&mut self, status: &Status, limits: &Limits, victims: &[Victim]) {
        let emergency = victims.iter().filter(|victim| victim.cause == Cause::Emergency).count();
        if emergency > 0 {
            let text = format!(
                "only {} were free: {emergency} files were deleted ahead of their time to bring it to {}",
                storage::size(status.free_bytes),
                storage::size(limits.emergency_target_bytes())
            );
            self.alerts.raise(AlertCode::EmergencyCleanup, SOURCE, text);
            self.memory.emergency_ns = Some(clock::mono_ns());
        } else if self.memory.emergency_ns.is_none_or(|at| clock::mono_ns().saturating_sub(at) > REMEMBERED_NS) {
            self.alerts.clear(AlertCode::EmergencyCleanup, SOURCE);
        }
    }

    fn tell_blocked(&self, blocked: Option<&Blocked>, is_futile: bool) {
        if is_futile {
            let text = "deleting makes no room: is something else filling the disk, or are there snapshots? Nothing more is deleted \
                        for room for now";
            self.alerts.raise(AlertCode::RetentionBlocked, SOURCE, text);
            return;
        }
        let Some(blocked) = blocked else {
            self.alerts.clear(AlertCode::RetentionBlocked, SOURCE);
            return;
        };
        let key = match blocked.cause {
            Cause::Age => "keep_days",
            Cause::Total => "keep_gib",
            Cause::Free => "keep_free_percent",
            Cause::Emergency => "stop_floor_mib",
        };
        let mut ways: Vec<String> = [
            (blocked.protected_bytes, "are protected"),
            (blocked.unarchived_bytes, "are not archived yet"),
            (blocked.unreadable_bytes, "are of sessions whose journal can't be read"),
        ]
        .into_iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{} {what}", storage::size(bytes)))
        .collect();
        if blocked.protected_bytes + blocked.unarchived_bytes + blocked.unreadable_bytes < blocked.missing_bytes {
            ways.push("the rest is being recorded right now, or is not Holdfast's".to_owned());
        }
        let text = format!(
            "storage.{key} can't be kept, {} are missing: {}",
            storage::size(blocked.missing_bytes),
            ways.join(", ")
        );
        self.alerts.raise(AlertCode::RetentionBlocked, SOURCE, text);
    }

    /// Sessions of which retention has taken everything go with their journals.
    fn remove_empty(&mut self, found: &Inventory, recording: Option<&str>) {
        for session in &found.sessions {
            let is_over = session.files.is_empty() && !session.protected && recording != Some(session.id.as_str());
            let was_cleaned = |id: &str| self.catalog.get(id).is_some_and(|summary| summary.deleted_files() > 0);
            if is_over && was_cleaned(&session.id) && self.remove_session(&session.id) {
                info!(session = session.id, "all of it was deleted by retention; its journal too");
                self.tell(News::SessionDeleted { session: session.id.clone() });
            }
        }
    }

    /// True if it is gone. Whatever is not ours keeps its directory and with it the session.
    fn remove_session(&self, id: &str) -> bool {
        let Some(dir) = self.catalog.dir(id) else { return false };
        let mut journals = Vec::new();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                // Succeeds for empty ones only.
                if fs::remove_dir(&path).is_err() {
                    return false;
                }
            } else if is_journal(&name.to_string_lossy()) {
                journals.push(path);
            } else {
                return false;
            }
        }
        for path in journals {
            if let Err(error) = fs::remove_file(&path) {
                warn!(session = id, "{}: {error}", path.display());
                return false;
            }
        }
        if fs::remove_dir(&dir).is_err() {
            return false;
        }
        self.catalog.forget(id);
        if let Some(date) = dir.parent() {
            // Not empty: another session of that day is there.
            let _ = fs::remove_dir(date);
            let _ = durable::sync_parent(if date.is_dir() { &dir } else { date });
        }
        true
    }
}

/// The journal itself, and the generation before it. Not one that was set aside for somebody to look at.
fn is_journal(name: &str) -> bool {
    [".journal", ".journal.prev"].iter().any(|ending| name.strip_suffix(ending) == Some(SESSION_JOURNAL))
}
