//! Reads, verifies and recovers any bytes as a segment file. The same harness runs over spoilt real files in
//! `crates/segment/tests/damage.rs`.

#[path = "../../crates/segment/tests/common/garbage.rs"]
mod garbage;

/// One input.
pub fn run(bytes: &[u8]) {
    crate::with_directory(|dir| garbage::try_everything(dir, bytes));
}
