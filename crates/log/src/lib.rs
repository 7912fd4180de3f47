//! The log of Holdfast's programs: to journald with fields where systemd takes it, else lines on standard error.
//!
//! Fields are for machines (`journalctl HOLDFAST_SESSION=…`) and stand in the line as well, for people. A journald that does not
//! take entries holds nobody up: they are counted and the loss is told once it does.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod entry;
mod journal;

use std::io::{self, IsTerminal as _};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt, registry};

pub use journal::Journal;

/// The environment variable that chooses what is logged, in the form that `RUST_LOG` has elsewhere.
pub const VARIABLE: &str = "HOLDFAST_LOG";

/// Begins. `default` is what is logged unless [`VARIABLE`] says otherwise, such as `"info"`.
///
/// # Panics
/// When called twice in a process.
pub fn begin(default: &str) {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let registry = registry().with(filter);
    match Journal::of_this_process() {
        Some(journal) => registry.with(journal).init(),
        None => {
            let lines = fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal());
            registry.with(lines.with_target(false)).init();
        }
    }
}
