//! Reads, verifies and recovers any bytes as a segment file. The same harness runs on the stable toolchain over
//! spoilt real files, see `crates/segment/tests/damage.rs`.
#![no_main]

#[path = "../../crates/segment/tests/common/garbage.rs"]
mod garbage;

use libfuzzer_sys::fuzz_target;
use std::cell::OnceCell;

thread_local! {
    static DIR: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    DIR.with(|dir| {
        let dir = dir.get_or_init(|| {
            tempfile::tempdir_in("/dev/shm")
                .or_else(|_| tempfile::tempdir())
                .expect("a place for files")
        });
        garbage::try_everything(dir.path(), bytes);
    });
});
