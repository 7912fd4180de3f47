//! What a capture leaves behind when it panics.

use heapless::String;
use serde::{Deserialize, Serialize};

use crate::text::{Id, Text};

/// The last words of a capture: `<runtime_dir>/capture/<input>.crash`, one JSON object, written before the process aborts.
///
/// The file is replaced as a whole or not at all, and stays until somebody removes it: the recorder, once it has put it on
/// record. A process that the kernel kills (SIGKILL, out of memory, SIGSEGV) leaves none; how it ended then says why. Unknown
/// fields are to be ignored, so that fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// Program and version.
    pub software: Text,
    /// The input it served.
    pub input: Id,
    /// Its process.
    pub pid: u32,
    /// Kernel boot id: 32 hexadecimal digits, as in segment files.
    pub boot_id: String<36>,
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub mono_ns: u64,
    /// Unix time in nanoseconds; a label.
    pub wall_ns: i64,
    /// The thread that panicked.
    pub thread: Text,
    /// What it said.
    pub message: String<1024>,
    /// `file:line:column`.
    pub location: Text,
    /// The session it recorded, if it did.
    pub session: Option<Id>,
    /// [`Start::trace`](crate::Start::trace) of that session; 0 without one.
    pub trace: u64,
}
