//! Options and results (`a{sv}`) as types. The XML says what each key means; a missing option is `None`.

use zbus::zvariant::{DeserializeDict, OwnedObjectPath, OwnedValue, SerializeDict, Type, Value};

/// Options of `Start`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct StartOptions {
    /// Which inputs; all when missing or empty.
    pub inputs: Option<Vec<String>>,
    /// Text for people.
    pub label: Option<String>,
    /// Idempotency token.
    pub token: Option<String>,
    /// Answer once the first chunk is safe, after this long at the latest.
    pub wait_ms: Option<u32>,
    /// Follows the call through all logs: 1 to 16 hexadecimal digits.
    pub trace: Option<String>,
}

/// Options of `Stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct StopOptions {
    /// Refuse unless this is the session being recorded.
    pub session: Option<OwnedObjectPath>,
    /// Follows the call through all logs: 1 to 16 hexadecimal digits.
    pub trace: Option<String>,
}

/// Options of `ListSessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct ListOptions {
    /// At most this many; 100 when missing.
    pub limit: Option<u32>,
    /// Only sessions older than this id.
    pub before: Option<String>,
}

/// Options of `Session.ListFiles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct FilesOptions {
    /// At most this many; 1000 when missing.
    pub limit: Option<u32>,
    /// Skip this many.
    pub offset: Option<u32>,
}

/// Options of `Session.Check`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct CheckOptions {
    /// Only so much of each input's end.
    pub last_seconds: Option<u32>,
    /// Answer within that time; 20 s when missing.
    pub within_ms: Option<u32>,
    /// Pictures of inputs whose source is `test` must carry numbers.
    pub numbered: Option<bool>,
}

/// What `Session.Check` has found.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct CheckInfo {
    /// All that was asked for was looked at.
    pub complete: bool,
    /// Why not, where the process that decodes failed.
    pub failure: String,
    /// Video frames of the index.
    pub frames: u64,
    /// Pictures that came of them.
    pub pictures: u64,
    /// File by file.
    pub files: Vec<CheckedFile>,
}

/// A file that was decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct CheckedFile {
    /// Absolute.
    pub path: String,
    /// Of which input.
    pub input: String,
    /// Place in the sequence.
    pub sequence: u64,
    /// whole, part, unfinished or nothing.
    pub extent: String,
    /// Video frames of the index, as far as that.
    pub frames: u64,
    /// Those that decoding could start at.
    pub keyframes: u64,
    /// Pictures that came of them.
    pub pictures: u64,
    /// Those with a number in them.
    pub numbered: u64,
    /// Packets of sound.
    pub packets: u64,
    /// What has decoded it.
    pub decoders: Vec<String>,
    /// What could not be decoded here, and why.
    pub undecoded: Vec<String>,
    /// How much is wrong.
    pub faults: u64,
    /// undecodable, differs or empty.
    pub fault: String,
    /// The same for people.
    pub text: String,
}

/// What a session amounted to.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct Totals {
    /// Its object.
    pub session: OwnedObjectPath,
    /// Its id.
    pub id: String,
    /// From Start to Stop.
    pub duration_usec: u64,
    /// Video frames on disk.
    pub safe_frames: u64,
    /// Bytes on disk.
    pub safe_bytes: u64,
    /// Frames that came in and could not be kept.
    pub lost_frames: u64,
    /// Files.
    pub files: u64,
    /// Holes.
    pub gaps: u32,
    /// Inputs whose capture did not answer.
    pub incomplete: Vec<String>,
}

/// One row of `ListSessions`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct SessionInfo {
    /// Its id.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Idempotency token; empty if it was started without.
    pub token: String,
    /// starting, recording, stopping, stopped, interrupted or unknown.
    pub state: String,
    /// Unix time in microseconds.
    pub started_at: i64,
    /// Monotonic.
    pub duration_usec: u64,
    /// Which inputs took part.
    pub inputs: Vec<String>,
    /// Bytes that were made safe; what retention has given up since is among them.
    pub safe_bytes: u64,
    /// Video frames that were made safe; `deleted_frames` of them are not there any more.
    pub safe_frames: u64,
    /// Frames that came in and could not be kept.
    pub lost_frames: u64,
    /// Files.
    pub files: u64,
    /// Holes.
    pub gaps: u32,
    /// Chapters.
    pub marks: u32,
    /// Guarded against deletion.
    pub protected: bool,
    /// Files that retention has given up.
    pub deleted_files: u64,
    /// Video frames in them.
    pub deleted_frames: u64,
    /// Their length.
    pub deleted_bytes: u64,
    /// Its directory, absolute.
    pub path: String,
}

/// A file of a session.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct FileInfo {
    /// Of which input.
    pub input: String,
    /// Its place in the input's chain.
    pub sequence: u64,
    /// Relative to the storage root.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Still being written (or in need of recovery).
    pub open: bool,
    /// Video frames, once closed.
    pub frames: Option<u64>,
    /// Once closed.
    pub duration_usec: Option<u64>,
    /// It was closed by recovery.
    pub recovered: Option<bool>,
}

/// A hole in a recording.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct GapInfo {
    /// Of which input.
    pub input: String,
    /// capture-died, source-lost, disk-stall, encoder-failed, reboot, operator, format-change or unknown.
    pub cause: String,
    /// When it began, microseconds of the monotonic clock.
    pub start_usec: u64,
    /// How long it was.
    pub duration_usec: u64,
    /// Frames that had come in and were lost.
    pub frames_lost: u64,
    /// When it was noted, Unix time in microseconds.
    pub at: i64,
}

/// A chapter.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct MarkInfo {
    /// What was said.
    pub text: String,
    /// Unix time in microseconds.
    pub at: i64,
    /// Since the session's start.
    pub offset_usec: u64,
}

/// The storage.
#[derive(Debug, Clone, PartialEq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct StorageInfo {
    /// ok, warn, low, critical or unavailable.
    pub level: String,
    /// The storage root.
    pub root: String,
    /// Size of the filesystem.
    pub total_bytes: u64,
    /// What may still be written.
    pub free_bytes: u64,
    /// How full it is.
    pub used_percent: f64,
    /// From here on it warns.
    pub warn_percent: u32,
    /// From here on starts are refused.
    pub block_percent: u32,
    /// With less free it warns; 0: off.
    pub warn_floor_bytes: u64,
    /// With less free starts are refused.
    pub start_floor_bytes: u64,
    /// With less free recordings are closed.
    pub stop_floor_bytes: u64,
    /// What the recording takes at present; 0 when nothing records.
    pub rate_bytes_per_second: u64,
    /// Until recordings are closed at that rate; missing when nothing records.
    pub seconds_left: Option<u64>,
    /// For people: what is wrong, if anything.
    pub message: String,
}

/// With the signal `SessionStarted`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct SessionStartedInfo {
    /// Its id.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Which inputs take part.
    pub inputs: Vec<String>,
    /// It had been interrupted and goes on.
    pub resumed: bool,
}

/// With the signal `FileClosed`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct FileClosedInfo {
    /// Its place in the input's chain.
    pub sequence: u64,
    /// Video frames.
    pub frames: u64,
    /// Its length.
    pub bytes: u64,
    /// Its duration.
    pub duration_usec: u64,
    /// It was closed by recovery.
    pub recovered: bool,
}

/// With the signal `FileDeleted`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct FileDeletedInfo {
    /// Its place in the input's chain.
    pub sequence: u64,
    /// Video frames.
    pub frames: u64,
    /// Its length.
    pub bytes: u64,
    /// age, total, free or emergency.
    pub cause: String,
}

/// With the signal `GapRecorded`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct GapSignalInfo {
    /// When it began, microseconds of the monotonic clock.
    pub start_usec: u64,
    /// How long it was.
    pub duration_usec: u64,
    /// Frames that had come in and were lost.
    pub frames_lost: u64,
}

/// Options of `Recovery.ListInterrupted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct InterruptedOptions {
    /// At most this many; 100 when missing.
    pub limit: Option<u32>,
}

/// A session that was interrupted: one row of `Recovery.ListInterrupted`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct InterruptedInfo {
    /// Its id.
    pub id: String,
    /// Text for people.
    pub label: String,
    /// Which inputs took part.
    pub inputs: Vec<String>,
    /// waiting, or as `Session.State`.
    pub state: String,
    /// Of the last interruption: panic, oom, watchdog, kernel-panic, power, operator, killed, crash or unknown.
    pub reason: String,
    /// How that is known, or why it is not.
    pub evidence: String,
    /// The box was started again in between.
    pub rebooted: bool,
    /// When the last footage before it was made safe, Unix time in microseconds as it was then; 0 if there was none.
    pub safe_until: i64,
    /// When it was found, Unix time in microseconds.
    pub found_at: i64,
    /// How long it had been then; missing where the clocks can't tell.
    pub since_usec: Option<u64>,
    /// Interruptions of this session, all together.
    pub times: u32,
    /// Guarded against deletion.
    pub protected: bool,
}

/// Something that was set aside, or discarded: one row of `Recovery.ListSetAside`.
#[derive(Debug, Clone, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zvariant(signature = "dict")]
pub struct SetAsideInfo {
    /// Absolute; names it in `Discard` and `Purge`.
    pub path: String,
    /// session-journal, recorder-state, footage or discarded.
    pub kind: String,
    /// Of which session; empty if of none.
    pub session: String,
    /// Of which input; empty if of none.
    pub input: String,
    /// All of it.
    pub bytes: u64,
    /// When it was changed last, Unix time in microseconds.
    pub modified: i64,
}

/// How the last session that had been interrupted went on. Empty until there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type, Value, OwnedValue)]
#[zvariant(signature = "dict")]
pub struct LastResume {
    /// Its id.
    pub id: Option<String>,
    /// Why it had been interrupted.
    pub reason: Option<String>,
    /// The box was started again in between.
    pub rebooted: Option<bool>,
    /// From the start of the kernel (`CLOCK_BOOTTIME` 0) to its first safe footage.
    pub boot_to_safe_usec: Option<u64>,
    /// From the start of the recorder to its first safe footage.
    pub recorder_to_safe_usec: Option<u64>,
    /// When that was, Unix time in microseconds.
    pub at: Option<i64>,
}
