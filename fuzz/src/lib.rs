//! What each fuzz target does with its bytes; which engine brings them is another matter.

pub mod config;
pub mod dbus;
pub mod journal;
pub mod link;
pub mod panel;
pub mod segment;

use std::cell::OnceCell;
use std::path::Path;

thread_local! {
    static DIR: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Hands an empty directory in memory to `f`, which leaves it empty.
fn with_directory(f: impl FnOnce(&Path)) {
    DIR.with(|dir| {
        let dir = dir.get_or_init(|| {
            tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a place for files")
        });
        f(dir.path());
    });
}
