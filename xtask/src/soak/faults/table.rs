//! The faults: what is done, what must be noticed, and what it may cost.

use std::future::Future;
use std::pin::Pin;

use holdfast_dbus::AlertCode;

use super::play;
use super::stage::{FPS, Stage, Times};

/// What is recorded, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Scene {
    pub source: Source,
    /// A disk of its own of so many bytes, which takes root and loop devices.
    pub disk: Option<u64>,
    /// Lines of `[storage]`; the lenient ones if there are none.
    pub storage: &'static [&'static str],
    /// More tables of the configuration.
    pub tables: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Test pictures.
    Test,
    /// Test pictures, encoded by this.
    Encoder(&'static str),
    /// A simulated camera behind a proxy.
    Camera,
}

/// What must hold.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// From the fault to the notice.
    pub detected_ms: u64,
    /// To the next safe frame: from the fault, or, where something has to be mended, from then.
    pub recovered_ms: u64,
    /// All of them with their reason on record.
    pub frames_lost: u64,
}

/// A running fault.
pub type Play<'s> = Pin<Box<dyn Future<Output = anyhow::Result<Times>> + 's>>;

/// A row.
#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    /// What is done, for people.
    pub what: &'static str,
    /// What Holdfast does about it, for people.
    pub action: &'static str,
    /// Any of these is the notice. None: it is noticed in another way, or there is nothing to notice.
    pub alerts: &'static [AlertCode],
    pub bound: Bound,
    pub scene: Scene,
    /// Part of CI.
    pub quick: bool,
    pub play: for<'s, 'a> fn(&'s mut Stage<'a>) -> Play<'s>,
}

const TEST: Scene = Scene { source: Source::Test, disk: None, storage: &[], tables: "" };
const CAMERA: Scene = Scene { source: Source::Camera, ..TEST };
/// What tells of an encoder.
const ENCODER: &[AlertCode] = &[AlertCode::EncoderFailed, AlertCode::EncoderStalled, AlertCode::EncoderFallback];
/// Above the floors below which nothing is recorded; its file is sparse.
const DISK: Scene = Scene { disk: Some(8 << 30), ..TEST };

/// Frames of so many milliseconds.
const fn frames(ms: u64) -> u64 {
    ms * FPS / 1000
}

const fn bound(detected_ms: u64, recovered_ms: u64, frames_lost: u64) -> Bound {
    Bound { detected_ms, recovered_ms, frames_lost }
}

/// How long a camera is bad.
pub const CAMERA_MS: u64 = 4000;
/// How long a disk is bad.
pub const DISK_MS: u64 = 4000;
/// The longest standstill that costs nothing.
pub const FROZEN_MS: u64 = 10_000;
/// How long a disk is slow.
pub const SLOW_MS: u64 = 8000;
/// How long others make trouble.
pub const HOG_MS: u64 = 6000;

/// All of them, in the order of the page.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "none",
        what: "nothing: a recording of the same length, to compare with",
        action: "",
        alerts: &[],
        bound: bound(0, 1000, 0),
        scene: TEST,
        quick: false,
        play: play::nothing,
    },
    Fault {
        name: "capture-killed",
        what: "SIGKILL to a capture",
        action: "its death is seen at once (pidfd), it is started again, its open file recovered",
        alerts: &[AlertCode::CaptureDied, AlertCode::Crashed],
        bound: bound(500, 2000, frames(2000)),
        scene: TEST,
        quick: true,
        play: play::capture_killed,
    },
    Fault {
        name: "capture-aborted",
        what: "SIGABRT to a capture, as a panic ends it",
        action: "as above",
        alerts: &[AlertCode::CaptureDied, AlertCode::Crashed],
        bound: bound(500, 2000, frames(2000)),
        scene: TEST,
        quick: false,
        play: play::capture_aborted,
    },
    Fault {
        name: "capture-stopped",
        what: "SIGSTOP to a capture: alive, and silent",
        action: "its silence is noticed, it is replaced",
        alerts: &[AlertCode::CaptureSilent],
        bound: bound(2200, 8000, frames(8000)),
        scene: TEST,
        quick: true,
        play: play::capture_stopped,
    },
    Fault {
        name: "capture-memory",
        what: "a capture uses more memory than `protection.memory_alert_mib` (the limit is lowered under it)",
        action: "told; never killed for it",
        alerts: &[AlertCode::MemoryHigh],
        bound: bound(12_000, 2000, 0),
        scene: Scene { tables: "[protection]\nmemory_alert_mib = 4096", ..TEST },
        quick: false,
        play: play::memory_high,
    },
    Fault {
        name: "recorder-killed",
        what: "SIGKILL to the recorder, started again after 250 ms as its unit does",
        action: "captures record on without it; the next recorder takes them over",
        alerts: &[],
        bound: bound(0, 2500, 0),
        scene: TEST,
        quick: true,
        play: play::recorder_killed,
    },
    Fault {
        name: "recorder-stopped",
        what: "SIGSTOP to the recorder for 6 s",
        action: "captures never wait for it",
        alerts: &[],
        bound: bound(0, 2000, 0),
        scene: TEST,
        quick: false,
        play: play::recorder_stopped,
    },
    Fault {
        name: "bus-restarted",
        what: "the message bus dies and comes back",
        action: "the recorder ends and is started again; captures record on",
        alerts: &[],
        bound: bound(2000, 4000, 0),
        scene: TEST,
        quick: true,
        play: play::bus_restarted,
    },
    Fault {
        name: "camera-vanishes",
        what: "a camera's connection breaks, and there is no new one for 4 s",
        action: "tried again, faster at first; goes on in a new file with the gap in its ledger",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2200, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        quick: true,
        play: play::camera_vanishes,
    },
    Fault {
        name: "camera-silent",
        what: "a camera sends nothing for 4 s, its connection stays open",
        action: "the stall is named; connected anew",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2200, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        quick: false,
        play: play::camera_silent,
    },
    Fault {
        name: "camera-slow-loris",
        what: "a camera sends one byte a second for 4 s",
        action: "bytes are no pictures: as above",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2200, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        quick: false,
        play: play::camera_slow_loris,
    },
    Fault {
        name: "camera-garbage",
        what: "a camera sends nothing but noise for 4 s",
        action: "what is no RTSP or RTP ends the connection; connected anew",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled, AlertCode::FramesDropped, AlertCode::FramesLate],
        bound: bound(2200, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        quick: false,
        play: play::camera_garbage,
    },
    Fault {
        name: "camera-resolution",
        what: "a camera changes the size of its pictures",
        action: "a new file with a head of its own, from the next keyframe on",
        alerts: &[],
        bound: bound(0, 4000, frames(1000)),
        scene: CAMERA,
        quick: false,
        play: play::camera_resolution,
    },
    Fault {
        name: "encoder-hangs",
        what: "an encoder takes pictures and gives none, again after each reset",
        action: "reset, then a new process, then the next encoder; the gap is measured",
        alerts: ENCODER,
        bound: bound(2500, 5000, frames(15_000)),
        scene: Scene { source: Source::Encoder("sim-hang"), ..TEST },
        quick: false,
        play: play::encoder_fails,
    },
    Fault {
        name: "encoder-blocks",
        what: "an encoder does not come back with a picture, again after each reset",
        action: "it takes no more pictures either: told as a source that stands, then as above, in a new process at once",
        alerts: &[AlertCode::SourceStalled, AlertCode::EncoderFailed, AlertCode::EncoderStalled],
        bound: bound(2500, 7000, frames(20_000)),
        scene: Scene { source: Source::Encoder("sim-block"), ..TEST },
        quick: false,
        play: play::encoder_fails,
    },
    Fault {
        name: "encoder-errors",
        what: "an encoder reports an error, again after each reset",
        action: "as above",
        alerts: ENCODER,
        bound: bound(2500, 5000, frames(15_000)),
        scene: Scene { source: Source::Encoder("sim-error"), ..TEST },
        quick: true,
        play: play::encoder_fails,
    },
    Fault {
        name: "encoder-garbage",
        what: "an encoder gives garbage, again after each reset",
        action: "as above",
        alerts: ENCODER,
        bound: bound(2500, 5000, frames(15_000)),
        scene: Scene { source: Source::Encoder("sim-garbage"), ..TEST },
        quick: false,
        play: play::encoder_fails,
    },
    Fault {
        name: "disk-full",
        what: "something else fills the disk to the last byte for 4 s",
        action: "written out with what the ballast had kept, closed or tried again; told with what to do",
        alerts: &[AlertCode::StorageCritical, AlertCode::StorageLow, AlertCode::WriteFailed],
        bound: bound(2500, 6000, frames(DISK_MS + 6000)),
        scene: DISK,
        quick: false,
        play: play::disk_full,
    },
    Fault {
        name: "disk-eio",
        what: "the disk refuses footage with an I/O error for 4 s",
        action: "the file is given up where it was last safe, a new one tried until it works",
        alerts: &[AlertCode::WriteFailed],
        bound: bound(2500, 6000, frames(DISK_MS + 6000)),
        scene: DISK,
        quick: false,
        play: play::disk_eio,
    },
    Fault {
        name: "disk-read-only",
        what: "the filesystem turns read-only; after 4 s another is mounted in its place",
        action: "told; tried again until the storage takes footage",
        alerts: &[AlertCode::StorageUnavailable, AlertCode::WriteFailed],
        bound: bound(2500, 8000, frames(DISK_MS + 8000)),
        scene: DISK,
        quick: false,
        play: play::disk_read_only,
    },
    Fault {
        name: "disk-frozen",
        what: "the filesystem stands still for 10 s (fsfreeze)",
        action: "the queue holds what comes in",
        alerts: &[AlertCode::DiskStalled],
        bound: bound(2500, 3000, 0),
        scene: DISK,
        quick: false,
        play: play::disk_frozen,
    },
    Fault {
        name: "disk-slow",
        what: "the filesystem stands still for 700 ms of every 800 for 8 s",
        action: "the queue holds what comes in; told before it hurts",
        alerts: &[AlertCode::DiskSlow, AlertCode::DiskStalled],
        bound: bound(8000, 2000, 0),
        scene: DISK,
        quick: false,
        play: play::disk_slow,
    },
    Fault {
        name: "disk-missing",
        what: "the disk for footage is not mounted when a recording is asked for",
        action: "refused: the root disk is never written to instead",
        alerts: &[],
        bound: bound(1000, 5000, 0),
        scene: Scene { storage: &["filesystem = \"mounted\"", "warn_percent = 98", "block_percent = 99"], ..DISK },
        quick: false,
        play: play::disk_missing,
    },
    Fault {
        name: "cpu-hog",
        what: "twice as many busy loops as there are cores for 6 s, at normal priority",
        action: "captures come first",
        alerts: &[],
        bound: bound(0, 2000, 0),
        scene: TEST,
        quick: true,
        play: play::cpu_hog,
    },
    Fault {
        name: "io-hog",
        what: "two writers that sync each megabyte to the same disk for 6 s",
        action: "the queue holds what comes in",
        alerts: &[],
        bound: bound(0, 3000, 0),
        scene: DISK,
        quick: false,
        play: play::io_hog,
    },
    Fault {
        name: "bus-flood",
        what: "four clients call as fast as they can for 6 s",
        action: "captures know no bus; the recorder answers from memory",
        alerts: &[],
        bound: bound(0, 2000, 0),
        scene: TEST,
        quick: true,
        play: play::bus_flood,
    },
    Fault {
        name: "bus-deaf-client",
        what: "a client asks for thousands of answers and all signals, and reads none, for 6 s",
        action: "the bus holds them up for that client alone",
        alerts: &[],
        bound: bound(0, 2000, 0),
        scene: TEST,
        quick: false,
        play: play::bus_deaf_client,
    },
    Fault {
        name: "journal-corrupt",
        what: "the recorder's state and the session's journal are overwritten, and the recorder is killed",
        action: "set aside and rebuilt from the files; the recording goes on",
        alerts: &[AlertCode::StateCorrupt],
        bound: bound(4000, 4000, 0),
        scene: TEST,
        quick: false,
        play: play::journal_corrupt,
    },
    Fault {
        name: "config-corrupt",
        what: "the configuration becomes garbage, and the recorder is killed; 2 s later it is mended",
        action: "the recorder says what is wrong and ends with 78; captures record on with what they know",
        alerts: &[],
        bound: bound(2000, 3000, 0),
        scene: TEST,
        quick: false,
        play: play::config_corrupt,
    },
];

#[cfg(test)]
mod tests {
    use super::FAULTS;

    #[test]
    fn names_are_unique_and_rows_say_something() {
        for (at, fault) in FAULTS.iter().enumerate() {
            assert!(FAULTS[..at].iter().all(|other| other.name != fault.name), "{}", fault.name);
            assert!(!fault.what.is_empty() && !fault.what.contains('|'), "{}", fault.name);
            assert!(fault.alerts.is_empty() || fault.bound.detected_ms > 0, "{}", fault.name);
        }
        assert!(FAULTS.iter().filter(|fault| fault.quick).count() >= 5);
    }
}
