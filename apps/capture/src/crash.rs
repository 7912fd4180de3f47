//! Last words: what the recorder finds when a capture has panicked. See [`holdfast_link::CrashReport`].

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use holdfast_link as link;
use holdfast_log::Panic;
use holdfast_segment::BootId;

use crate::SOFTWARE;
use crate::clock;

#[derive(Debug)]
struct Context {
    path: PathBuf,
    input: link::Id,
    boot_id: String,
    session: Option<link::Id>,
    trace: u64,
}

static CONTEXT: Mutex<Option<Context>> = Mutex::new(None);

/// From now on a panic leaves a report for `input`.
pub fn serve(runtime_dir: &Path, input: &str, boot_id: BootId) {
    let path = runtime_dir.join(link::SOCKET_DIRECTORY).join(format!("{input}{}", link::CRASH_SUFFIX));
    let context = Context { path, input: link::clip(input), boot_id: boot_id.to_string(), session: None, trace: 0 };
    *CONTEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some(context);
}

/// This is recorded now, or nothing.
pub fn records(session: Option<(&link::Id, u64)>) {
    if let Some(context) = &mut *CONTEXT.lock().unwrap_or_else(PoisonError::into_inner) {
        context.session = session.map(|(id, _)| id.clone());
        context.trace = session.map_or(0, |(_, trace)| trace);
    }
}

/// Leaves the report. Called by the panicking thread, so it waits for nothing and fails silently.
pub fn report(panic: &Panic) {
    // A panic while it is held would be ours; then there is nothing to tell it with.
    let Ok(context) = CONTEXT.try_lock() else { return };
    let Some(context) = &*context else { return };
    let report = link::CrashReport {
        software: link::clip(SOFTWARE),
        input: context.input.clone(),
        pid: std::process::id(),
        boot_id: link::clip(&context.boot_id),
        mono_ns: clock::mono_ns(),
        wall_ns: clock::wall_ns(),
        thread: link::clip(&panic.thread),
        message: link::clip(&panic.message),
        location: link::clip(&panic.location),
        session: context.session.clone(),
        trace: context.trace,
    };
    let unfinished = context.path.with_extension("crash.tmp");
    let written = serde_json::to_vec(&report)
        .map_err(std::io::Error::other)
        .and_then(|bytes| std::fs::write(&unfinished, bytes))
        .and_then(|()| std::fs::rename(&unfinished, &context.path));
    if let Err(error) = written {
        eprintln!("{}: no crash report: {error}", context.path.display());
    }
}
