//! The messages. Times are `CLOCK_MONOTONIC` nanoseconds of the box, counters count since the input's recording began
//! (video frames unless a field says otherwise).

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::text::{Id, Path, Text};

/// What the recorder asks. Each request carries a number that the answer repeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToCapture {
    /// First message of a connection; the capture answers with [`FromCapture::Hello`].
    Hello,
    /// Record. Answered by [`Event::Started`] once the first chunk is safe, or by [`Event::Refused`].
    Start(Start),
    /// Close the files. Answered by [`Event::Stopped`] once they are durable under their final names.
    Stop(Stop),
    /// A chapter in the recording.
    Mark(Mark),
    /// Stop recording if need be, close the source and end the process.
    Shutdown,
    /// Keep the source running between recordings, or let it rest, whatever the configuration says. Until the process ends.
    Arm(bool),
    /// The share of the configured bit rate that the encoder may use from now on, 1 to 100: the last thing that pressure takes
    /// from a recording, and 100 gives it back. Until the process ends. A stream that is copied stays as it is; what holds is
    /// told in [`Status::bitrate_percent`].
    Bitrate {
        /// Percent of the configured bit rate. What lies outside of 1 to 100 is brought into it.
        percent: u8,
    },
}

/// Begin or resume recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Repeated in the answer.
    pub request: u32,
    /// The session.
    pub session: Id,
    /// `<date>/<session>/<input>` below the storage root; made if missing.
    pub directory: Path,
    /// Sequence number of the first file to write.
    pub sequence: u64,
    /// Write the armed pre-roll first.
    pub preroll: bool,
    /// Set when an interrupted recording goes on.
    pub resume: Option<Resume>,
    /// Follows one user action through all processes' logs.
    pub trace: u64,
}

/// Where the recording was interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Why.
    pub cause: GapCause,
    /// End of the last safe frame the recorder knows of.
    pub safe_until_mono_ns: u64,
    /// Frames that had come in but were not safe when it happened, as far as the recorder knows.
    pub frames_lost: u64,
    /// Sequence number of the interrupted file.
    pub previous_sequence: u64,
    /// Its file id, if known.
    pub previous_file_id: Option<[u8; 16]>,
    /// Only with [`GapCause::Reboot`]: the same end in Unix time, where the clocks of then and now can both be right; else 0.
    pub safe_until_wall_ns: i64,
}

/// End a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Repeated in the answer.
    pub request: u32,
    /// The session to stop; a capture that records another refuses.
    pub session: Id,
    /// Why, for the ledger.
    pub reason: StopReason,
    /// See [`Start::trace`].
    pub trace: u64,
}

/// Why a recording ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// Someone asked for it.
    Operator,
    /// The storage guard closes recordings before the disk is full.
    StorageCritical,
    /// The process was told to end (SIGTERM).
    Shutdown,
}

/// A chapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When it was asked for.
    pub mono_ns: u64,
    /// The same as Unix time in nanoseconds; a label.
    pub wall_ns: i64,
    /// What the user said.
    pub text: Text,
}

/// What the capture tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromCapture {
    /// Answer to [`ToCapture::Hello`].
    Hello(Hello),
    /// How it goes: after every safe chunk, and at least every 500 ms. Never ahead of an event nor behind one: what the events
    /// before it have told is in it, and nothing of what later ones tell. So when it says that nothing is recorded any more,
    /// [`Event::Stopped`] has been told.
    Status(Status),
    /// Something happened once.
    Event(Event),
}

/// Who this capture is and what it is doing: enough to adopt it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The input it serves.
    pub input: Id,
    /// Its process.
    pub pid: u32,
    /// Kernel boot id.
    pub boot_id: [u8; 16],
    /// Digest of the input's configuration it was started with; another digest means the configuration has changed since.
    pub config_digest: u64,
    /// Program and version.
    pub software: Text,
}

/// What the capture is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The source is not delivering yet (or again).
    Connecting,
    /// Frames arrive and fill the pre-roll ring; nothing is written.
    Armed,
    /// Recording was asked for; no chunk is safe yet.
    Starting,
    /// Recording.
    Recording,
    /// Closing its file.
    Stopping,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// When this was said.
    pub mono_ns: u64,
    /// What it is doing.
    pub phase: Phase,
    /// The session it records.
    pub session: Option<Id>,
    /// Does the source deliver?
    pub source: SourceState,
    /// The encoder in use, or `copy`.
    pub encoder: Id,
    /// Frames per stage since the process began recording this session.
    pub counts: Counts,
    /// Frames lost, by reason.
    pub drops: Vec<DropCount, 8>,
    /// Bytes on disk after `fdatasync`, this session and process.
    pub safe_bytes: u64,
    /// End of the last safe frame.
    pub safe_until_mono_ns: u64,
    /// Capture time of the first frame of the recording (pre-roll included).
    pub first_mono_ns: u64,
    /// Sequence number of the open file.
    pub file_sequence: u64,
    /// File id of the open file.
    pub file_id: [u8; 16],
    /// Name of the open file, without directory.
    pub file: Path,
    /// Bytes waiting for the disk.
    pub queue_bytes: u64,
    /// How many may wait before frames are dropped.
    pub queue_capacity_bytes: u64,
    /// Pre-roll held in memory.
    pub preroll_ms: u32,
    /// What it took to make the last chunk safe, its write and its `fdatasync`, in microseconds.
    pub sync_us: u32,
    /// The slowest since the last status.
    pub sync_max_us: u32,
    /// Pictures that came late, since the recording began.
    pub late: Late,
    /// Times the encoder failed since the slate was clean, that is since the recording began; over processes.
    pub encoder_failures: u32,
    /// The encoder in use is not the first choice: that one has failed in this recording.
    pub encoder_fallback: bool,
    /// Share of the configured bit rate that the encoder uses, percent; 100 for a copy. See [`ToCapture::Bitrate`].
    pub bitrate_percent: u8,
}

/// Pictures that came late from a source that did not break off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// Intervals between two pictures of more than 500 ms (of three frames, where those take longer).
    pub frames: u64,
    /// The longest of them.
    pub longest_ms: u32,
}

/// Does the source deliver?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceState {
    /// First attempt under way.
    Connecting,
    /// Frames arrive.
    Streaming,
    /// The last attempt failed; the next is due.
    Waiting {
        /// How many attempts failed in a row.
        attempts: u32,
        /// Milliseconds until the next.
        retry_ms: u32,
        /// What went wrong and what to do about it.
        error: Text,
    },
}

/// Video frames seen by each stage. The first counter that stops names the culprit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Came from the source.
    pub source: u64,
    /// Left the encoder (or parser, for a copy).
    pub encoded: u64,
    /// Put into a chunk.
    pub muxed: u64,
    /// On disk after `fdatasync`.
    pub safe: u64,
}

/// Frames lost for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// Why.
    pub reason: DropReason,
    /// How many video frames.
    pub frames: u64,
}

/// Why a frame that came in was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DropReason {
    /// The disk was slower than the queue is long.
    DiskStall,
    /// A write failed.
    WriteFailed,
    /// The encoder took it and gave nothing back, or something that is no picture.
    Encoder,
    /// It came before the first keyframe and cannot be decoded.
    NoKeyframe,
    /// Damaged on its way in.
    Corrupt,
    /// Too old to be encoded: the box is too slow for what comes in.
    Overload,
}

/// Why the recording has a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GapCause {
    /// The capture process died.
    CaptureDied,
    /// The source stopped delivering.
    SourceLost,
    /// The disk stalled for longer than the queue holds.
    DiskStall,
    /// The encoder failed and was replaced.
    EncoderFailed,
    /// The box was restarted or lost power.
    Reboot,
    /// Someone paused it.
    Operator,
    /// The source changed its format.
    FormatChange,
    /// Not known.
    Unknown,
    /// The disk refused to write: full, read-only, an I/O error.
    DiskFailed,
}

/// Something that happened once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first chunk is safe.
    Started(Started),
    /// All files are closed and durable.
    Stopped(Stopped),
    /// A request was not carried out.
    Refused(Refused),
    /// A file was begun; its name is durable.
    FileOpened(FileOpened),
    /// A file got its final name.
    FileClosed(FileClosed),
    /// The recording has a hole.
    Gap(GapReport),
    /// Something the operator should know.
    Alert {
        /// What kind.
        code: AlertCode,
        /// What, and what to do about it.
        text: Text,
    },
    /// What an [`Event::Alert`] told of holds no longer.
    AlertCleared {
        /// What kind.
        code: AlertCode,
    },
    /// The capture ends by itself, with its files closed, because only a new process can help. Start it again at once; what it
    /// recorded is to be resumed with this cause.
    Leaving {
        /// The cause of the gap that follows.
        cause: GapCause,
        /// Why, for people.
        text: Text,
    },
    /// A file could not be completed: the disk refused it, or had gone. It stays a `.part` for recovery to close, once the disk is
    /// there again.
    FileLeft(FileLeft),
}

/// Kinds of alerts a capture raises. Those it clears say so; it clears them at the latest when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertCode {
    /// The source fails; attempts go on. Cleared when pictures come.
    Source,
    /// The encoder failed; it is reset, then restarted, then replaced. Cleared when pictures come.
    Encoder,
    /// The storage can't be used: missing, on the wrong filesystem. Cleared, like the next three and [`AlertCode::Dropped`],
    /// when a chunk is safe again.
    Storage,
    /// Frames are dropped because the disk is too slow.
    Dropped,
    /// The input's configuration can't work on this box. Cleared when pictures come.
    Configuration,
    /// The disk is full.
    StorageFull,
    /// The storage is mounted read-only.
    StorageReadOnly,
    /// The disk refused a write again and again: an I/O error.
    WriteFailed,
    /// Recording goes on with an encoder that is not the first choice. Cleared when the first choice works again.
    EncoderFallback,
    /// The process lacks a privilege for its priority. Told once, never cleared.
    Priority,
    /// The wall clock was set. Told once each time, never cleared.
    ClockStepped,
}

/// The first chunk is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The request this answers.
    pub request: u32,
    /// The session.
    pub session: Id,
    /// From the arrival of the request to the first safe chunk.
    pub latency_us: u32,
    /// How far back the pre-roll reached.
    pub preroll_ms: u32,
}

/// All files are closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The request this answers; 0 if the capture stopped by itself.
    pub request: u32,
    /// The session.
    pub session: Id,
    /// Frames per stage.
    pub counts: Counts,
    /// Bytes safe.
    pub safe_bytes: u64,
    /// Files closed.
    pub files: u64,
}

/// A request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The request.
    pub request: u32,
    /// Numeric code, as on D-Bus (`org.holdfast.Error.*`).
    pub code: i32,
    /// Why, and what to do.
    pub text: Text,
}

/// A file was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileOpened {
    /// Its sequence number.
    pub sequence: u64,
    /// Its random id.
    pub file_id: [u8; 16],
    /// Its name, without directory and `.part`.
    pub file: Path,
}

/// A file got its final name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileClosed {
    /// Its sequence number.
    pub sequence: u64,
    /// Its random id.
    pub file_id: [u8; 16],
    /// Its name, without directory.
    pub file: Path,
    /// Its digest, which the next file repeats.
    pub digest: [u8; 32],
    /// Video frames in it.
    pub frames: u64,
    /// Its length.
    pub bytes: u64,
    /// Its duration.
    pub duration_ms: u64,
}

/// A file could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLeft {
    /// Its sequence number.
    pub sequence: u64,
    /// Video frames of it that were told to be safe.
    pub frames: u64,
    /// Bytes of it that were told to be safe.
    pub bytes: u64,
}

/// The recording has a hole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapReport {
    /// Why.
    pub cause: GapCause,
    /// When it began.
    pub start_mono_ns: u64,
    /// How long it was.
    pub duration_ms: u64,
    /// Frames that came in and were lost.
    pub frames_lost: u64,
}
