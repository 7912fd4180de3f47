//! From a cold start to a recorder that serves: what is running is found, what was left open is closed, what was interrupted
//! goes on. Nothing new is written before that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_segment::recover::scan_tree;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use crate::captures::{Recovered, Report, recover_parts, tally_on_disk};
use crate::engine::Before;
use crate::session::Session;
use crate::store::{Catalog, Closing, End, EndTotals, Job, Keeper, Record, Summary};
use crate::{clock, storage};

/// Captures that run answer within this time; later ones are found when they do.
const FIND_PATIENCE: Duration = Duration::from_secs(3);
/// How far back interrupted sessions are looked for.
const LOOK_BACK: usize = 50;

/// What runs, by input.
pub type Found = HashMap<usize, (Option<String>, bool)>;

/// Hears what each supervisor finds.
pub async fn find(inputs: usize, reports: &mut mpsc::Receiver<(usize, Report)>) -> Found {
    let deadline = Instant::now() + FIND_PATIENCE;
    let mut found = Found::new();
    while found.len() < inputs {
        match timeout_at(deadline, reports.recv()).await {
            Ok(Some((index, Report::Found { session, recording }))) => drop(found.insert(index, (session, recording))),
            Ok(Some(_)) => (),
            Ok(None) => break,
            Err(_) => {
                warn!("{} of {inputs} inputs did not say what they do; going on without", inputs - found.len());
                break;
            }
        }
    }
    found
}

/// A session that goes on.
#[derive(Debug)]
pub struct Continued {
    /// The session.
    pub session: Session,
    /// What its inputs made of it before.
    pub before: HashMap<String, Before>,
    /// Captures are recording it right now.
    pub recording: bool,
}

/// Closes what a crash left open, and finds the session that goes on. Blocks on the disk.
pub fn recover(
    catalog: &Catalog,
    keeper: &Keeper,
    storage: &holdfast_config::Storage,
    pool: &Path,
    names: &[String],
    found: &Found,
    remembered: Option<&str>,
) -> Option<Continued> {
    let status = storage::measure(storage);
    if status.level == storage::Level::Unavailable {
        error!("the storage is not available, nothing is recovered now: {}", status.message);
        return None;
    }
    let recovered = recover_files(catalog.root(), pool);
    for (session, input, file) in &recovered {
        if catalog.get(session).is_some() {
            keeper.note(session, note_of(input, file));
        }
    }
    let running: BTreeSet<&str> = found.values().filter_map(|(session, _)| session.as_deref()).collect();
    let open: Vec<Arc<Summary>> = catalog
        .list(LOOK_BACK, None)
        .iter()
        .filter_map(|id| catalog.get(id))
        .filter(|session| session.end == End::Open)
        .collect();
    // What captures record goes first, whatever else is remembered; ids sort by time.
    let candidate = running.last().copied().or(remembered).and_then(|id| catalog.get(id));
    let mut continued = None;
    for summary in open.into_iter().chain(candidate.clone().filter(|summary| summary.end != End::Open)) {
        let chosen = candidate.as_ref().is_some_and(|candidate| candidate.id == summary.id);
        let is_running = running.contains(summary.id.as_str());
        match if chosen { goes_on(&summary, is_running) } else { Err("another session was being recorded") } {
            Ok(()) => continued = continue_session(catalog, keeper, &summary, names, found),
            // It ended properly, or nobody knows how: nothing to add.
            Err(_) if summary.end != End::Open => (),
            Err(why) => interrupt(catalog, keeper, &summary, why),
        }
    }
    continued
}

/// Whether an interrupted session is taken up again: if its captures still record it, or if the box has not been restarted since.
/// (After a restart of the box it is closed as interrupted; `resume = always | ask | never` will decide here.)
fn goes_on(summary: &Summary, is_running: bool) -> Result<(), &'static str> {
    if is_running {
        return Ok(());
    }
    match summary.end {
        End::Open if summary.boot_id == clock::boot_id().0 => Ok(()),
        End::Open => Err("the box was restarted"),
        End::Stopped | End::Interrupted | End::Unknown => Err("it has ended"),
    }
}

fn continue_session(
    catalog: &Catalog,
    keeper: &Keeper,
    summary: &Summary,
    names: &[String],
    found: &Found,
) -> Option<Continued> {
    let dir = catalog.dir(&summary.id)?;
    let inputs: Vec<_> = names.iter().filter(|name| summary.inputs.contains(name)).cloned().collect();
    // A session without a journal is known by its files alone; what records it belongs to it.
    let recorded_now =
        |index: usize| found.get(&index).is_some_and(|(session, _)| session.as_deref() == Some(&summary.id));
    let inputs: Vec<_> = names
        .iter()
        .enumerate()
        .filter(|(index, name)| inputs.contains(name) || recorded_now(*index))
        .map(|(_, name)| name.clone())
        .collect();
    if inputs.is_empty() {
        interrupt(catalog, keeper, summary, "none of its inputs is configured any more");
        return None;
    }
    let mut before = HashMap::new();
    let mut recording = false;
    for (index, name) in names.iter().enumerate().filter(|(_, name)| inputs.contains(name)) {
        let is_recorded = recorded_now(index);
        recording |= is_recorded && found.get(&index).is_some_and(|(_, recording)| *recording);
        note_unheard_files(keeper, summary, name, &dir.join(name));
        let earlier = if is_recorded {
            Before { base: summary.bases.get(name).cloned().unwrap_or_default(), safe_until_mono_ns: 0 }
        } else {
            let (base, safe_until_mono_ns) = tally_on_disk(&dir.join(name));
            Before { base, safe_until_mono_ns }
        };
        before.insert(name.clone(), earlier);
    }
    info!(session = summary.id, recording, inputs = inputs.join(" "), "the session goes on");
    let session =
        Session { id: summary.id.clone(), label: summary.label.clone(), token: summary.token.clone(), inputs };
    Some(Continued { session, before, recording })
}

/// Files that were closed while no recorder listened.
fn note_unheard_files(keeper: &Keeper, summary: &Summary, input: &str, dir: &Path) {
    let known = summary.closed.get(input);
    for name in crate::store::file_names(dir).iter().filter(|name| !name.ends_with(holdfast_segment::PART_SUFFIX)) {
        let Some(file) = crate::captures::summary(&dir.join(name)) else {
            continue;
        };
        if known.is_none_or(|known| !known.contains(&file.sequence)) {
            keeper.note(&summary.id, note_of(input, &file));
        }
    }
}

fn note_of(input: &str, file: &Recovered) -> Record {
    Record::FileClosed {
        input: input.to_owned(),
        sequence: file.sequence,
        file: file.path.clone(),
        frames: file.frames,
        bytes: file.bytes,
        duration_ms: file.duration_ms,
        recovered: file.by_recovery,
    }
}

/// Closes all files below the root that nobody is writing.
fn recover_files(root: &Path, pool: &Path) -> Vec<(String, String, Recovered)> {
    let parts = match scan_tree(root) {
        Ok(parts) => parts,
        Err(error) => {
            error!("cannot look for files to recover: {error}");
            return Vec::new();
        }
    };
    // By directory: recovery goes through one at a time.
    let mut dirs = BTreeMap::new();
    for part in parts {
        if let Some(dir) = part.parent() {
            dirs.insert(dir.to_owned(), ());
        }
    }
    let mut all = Vec::new();
    for dir in dirs.into_keys() {
        let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let (input, session) = (name(&dir), dir.parent().map(name).unwrap_or_default());
        all.extend(recover_parts(&dir, pool).into_iter().map(|file| (session.clone(), input.clone(), file)));
    }
    all
}

/// Ends a session that does not go on.
fn interrupt(catalog: &Catalog, keeper: &Keeper, summary: &Summary, why: &str) {
    warn!(session = summary.id, "the session was interrupted and is closed: {why}");
    let Some(dir) = catalog.dir(&summary.id) else { return };
    let mut totals = EndTotals::default();
    for input in &summary.inputs {
        let (tally, _) = tally_on_disk(&dir.join(input));
        totals.safe_frames += tally.safe;
        totals.safe_bytes += tally.safe_bytes;
        let longest = crate::store::file_names(&dir.join(input))
            .iter()
            .filter_map(|name| crate::captures::summary(&dir.join(input).join(name)))
            .map(|file| file.duration_ms * 1_000_000)
            .sum();
        totals.duration_ns = totals.duration_ns.max(longest);
    }
    totals.lost_frames = summary.bases.values().map(crate::captures::Tally::lost).sum();
    let (done, kept) = tokio::sync::oneshot::channel();
    let closing = Closing { id: summary.id.clone(), interrupted: Some(why.to_owned()), totals, done };
    match keeper.hand(Job::Close(closing)) {
        // Whoever asks first must not find the session without what was recovered.
        Ok(()) => drop(kept.blocking_recv()),
        Err(error) => warn!(session = summary.id, "not noted: {error}"),
    }
}
