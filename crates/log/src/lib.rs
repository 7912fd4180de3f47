//! The log of Holdfast's programs: to journald with fields where systemd takes it, else lines on standard error.
//!
//! `HOLDFAST_SESSION`, `HOLDFAST_INPUT` and `HOLDFAST_TRACE` are for machines (`journalctl HOLDFAST_SESSION=…`); these and all
//! other fields stand in the line as well, for people. An event that does not name them takes them from the spans around it,
//! then from what the process has said of itself ([`serves_input`], [`works_on`]). A journald that does not take entries holds
//! nobody up: they are counted and the loss is told once it does. A place that says too much is cut short, and that is told too.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod entry;
mod layer;
mod limit;
mod lines;
mod panics;
mod queue;
mod trace;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::{Dispatch, Level};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, registry};

use entry::Entry;
pub use layer::{left_out, serves_input, works_on};
pub use panics::{Panic, end_on_panic};
pub use queue::Flush;
pub use trace::{NoTrace, Trace};

/// The environment variable that chooses what is logged, in the form that `RUST_LOG` has elsewhere.
pub const VARIABLE: &str = "HOLDFAST_LOG";
/// Before the names of our fields in the journal, so that they are nobody else's.
const PREFIX: &str = "HOLDFAST";

/// Begins. `default` is what is logged unless [`VARIABLE`] says otherwise, such as `"info"`. Keep what is returned until the
/// program ends.
///
/// # Panics
/// When called twice in a process.
pub fn begin(default: &str) -> Flush {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let registry = registry().with(filter);
    match journal() {
        Some((queue, flush)) => {
            queue.is_for_the_process();
            registry.with(layer::Words::new(queue)).init();
            flush
        }
        None => {
            registry.with(layer::Words::new(lines::Lines::new())).init();
            Flush::nothing()
        }
    }
}

/// The journal, if systemd takes this process's standard error for it.
fn journal() -> Option<(queue::Queue, Flush)> {
    // Set for descendants too, whose standard error may go elsewhere: device and inode tell.
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    if stream != format!("{}:{}", stderr.dev(), stderr.ino()) {
        return None;
    }
    // As syslog has it: what is in order is "info", not "notice".
    let priorities = PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
    };
    let layer =
        tracing_journald::layer().ok()?.with_field_prefix(Some(PREFIX.to_owned())).with_priority_mappings(priorities);
    let journald = Dispatch::new(registry().with(layer));
    queue::Queue::new(move |entry| tracing::dispatcher::with_default(&journald, || say(entry))).ok()
}

/// Says an entry again. The level of an event is part of the program's text, hence one line for each.
fn say(entry: &Entry) {
    let (line, origin) = (entry.line(), &entry.origin);
    let [session, input, trace, task] = ["session", "input", "trace", "task"].map(|name| entry.field(name));
    match entry.level {
        Level::ERROR => tracing::error!(session, input, trace, task, origin, "{line}"),
        Level::WARN => tracing::warn!(session, input, trace, task, origin, "{line}"),
        Level::INFO => tracing::info!(session, input, trace, task, origin, "{line}"),
        Level::DEBUG => tracing::debug!(session, input, trace, task, origin, "{line}"),
        Level::TRACE => tracing::trace!(session, input, trace, task, origin, "{line}"),
    }
}
