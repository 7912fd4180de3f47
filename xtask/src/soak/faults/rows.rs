//! The faults, in the order of the page.

use holdfast_dbus::AlertCode;

use super::play;
use super::stage::FPS;
use super::table::{Bound, Fault, Scene, Source};

const TEST: Scene = Scene { source: Source::Test, disk: None, storage: &[], tables: "", wall: false };
const CAMERA: Scene = Scene { source: Source::Camera, ..TEST };
/// What tells of an encoder.
const ENCODER: &[AlertCode] = &[AlertCode::EncoderFailed, AlertCode::EncoderStalled, AlertCode::EncoderFallback];
/// Above the floors below which nothing is recorded; its file is sparse.
const DISK: Scene = Scene { disk: Some(8 << 30), ..TEST };

/// What a capture may use where it is to use more, and the same for the configuration.
pub const MEMORY_MIB: u64 = 256;
const MEMORY: &str = "[protection]\nmemory_alert_mib = 256";
/// Space is held back.
const BALLAST: &[&str] = &["filesystem = \"mounted\"", "warn_percent = 98", "block_percent = 99", "ballast_mib = 64"];

/// Frames of so many milliseconds.
const fn frames(ms: u64) -> u64 {
    ms * FPS / 1000
}

/// What most rows have in common.
const PLAIN: Fault = Fault {
    name: "none",
    what: "nothing: a recording of the same length, to compare with",
    action: "",
    alerts: &[],
    bound: bound(0, 1000, 0),
    scene: TEST,
    compared: false,
    repeat: 1,
    quick: false,
    play: play::nothing,
};

const fn bound(detected_ms: u64, recovered_ms: u64, frames_lost: u64) -> Bound {
    Bound { detected_ms, recovered_ms, frames_lost }
}

/// How long a camera is bad.
pub const CAMERA_MS: u64 = 4000;
/// How long a disk is bad.
pub const DISK_MS: u64 = 4000;
/// So long the blocks of closed files may last where no others are free.
pub const FULL_MS: u64 = 12_000;
/// The longest standstill that costs nothing.
pub const FROZEN_MS: u64 = 10_000;
/// How long a disk is slow.
pub const SLOW_MS: u64 = 8000;
/// How long others make trouble.
pub const HOG_MS: u64 = 6000;

/// All of them, in the order of the page.
pub const FAULTS: &[Fault] = &[
    PLAIN,
    Fault {
        name: "capture-killed",
        what: "SIGKILL to a capture",
        action: "its death is seen at once (pidfd), it is started again, its open file recovered",
        alerts: &[AlertCode::CaptureDied, AlertCode::Crashed],
        bound: bound(500, 1000, frames(2000)),
        quick: true,
        repeat: 20,
        play: play::capture_killed,
        ..PLAIN
    },
    Fault {
        name: "capture-aborted",
        what: "SIGABRT to a capture, as a panic ends it",
        action: "as above",
        alerts: &[AlertCode::CaptureDied, AlertCode::Crashed],
        bound: bound(500, 1000, frames(2000)),
        play: play::capture_aborted,
        ..PLAIN
    },
    Fault {
        name: "capture-stopped",
        what: "SIGSTOP to a capture: alive, and silent",
        action: "its silence is noticed, it is replaced",
        alerts: &[AlertCode::CaptureSilent],
        bound: bound(2000, 8000, frames(8000)),
        quick: true,
        play: play::capture_stopped,
        ..PLAIN
    },
    Fault {
        name: "capture-memory",
        what: "a capture's encoder leaks a megabyte with every picture, beyond `protection.memory_alert_mib`",
        action: "told; never killed for it",
        alerts: &[AlertCode::MemoryHigh],
        bound: bound(12_000, 2000, 0),
        scene: Scene { source: Source::Encoder("sim-leak"), tables: MEMORY, ..TEST },
        play: play::memory_grows,
        ..PLAIN
    },
    Fault {
        name: "recorder-killed",
        what: "SIGKILL to the recorder, started again after 250 ms as its unit does",
        action: "captures record on without it; the next recorder takes them over",
        bound: bound(0, 2500, 0),
        quick: true,
        compared: true,
        play: play::recorder_killed,
        ..PLAIN
    },
    Fault {
        name: "recorder-stopped",
        what: "SIGSTOP to the recorder for 6 s",
        action: "captures never wait for it",
        bound: bound(0, 2000, 0),
        compared: true,
        play: play::recorder_stopped,
        ..PLAIN
    },
    Fault {
        name: "bus-restarted",
        what: "the message bus dies and comes back",
        action: "the recorder ends and is started again; captures record on",
        bound: bound(2000, 4000, 0),
        quick: true,
        play: play::bus_restarted,
        ..PLAIN
    },
    Fault {
        name: "camera-vanishes",
        what: "a camera's connection breaks, and there is no new one for 4 s",
        action: "tried again, faster at first; goes on in a new file with the gap in its ledger",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2000, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        quick: true,
        play: play::camera_vanishes,
        ..PLAIN
    },
    Fault {
        name: "camera-silent",
        what: "a camera sends nothing for 4 s, its connection stays open",
        action: "the stall is named; connected anew",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2000, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        play: play::camera_silent,
        ..PLAIN
    },
    Fault {
        name: "camera-slow-loris",
        what: "a camera sends one byte a second for 4 s",
        action: "bytes are no pictures: as above",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled],
        bound: bound(2000, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        play: play::camera_slow_loris,
        ..PLAIN
    },
    Fault {
        name: "camera-garbage",
        what: "a camera sends nothing but noise for 4 s",
        action: "what is no RTSP or RTP ends the connection; connected anew",
        alerts: &[AlertCode::SourceFailed, AlertCode::SourceStalled, AlertCode::FramesDropped, AlertCode::FramesLate],
        bound: bound(2000, 6000, frames(CAMERA_MS + 6000)),
        scene: CAMERA,
        play: play::camera_garbage,
        ..PLAIN
    },
    Fault {
        name: "camera-resolution",
        what: "a camera changes the size of its pictures",
        action: "a new file with a head of its own, from the next keyframe on",
        bound: bound(0, 4000, frames(1000)),
        scene: CAMERA,
        play: play::camera_resolution,
        ..PLAIN
    },
    Fault {
        name: "encoder-hangs",
        what: "an encoder takes pictures and gives none, again after each reset",
        action: "reset, then a new process, then the next encoder; the gap is measured",
        alerts: ENCODER,
        bound: bound(2500, 5000, frames(15_000)),
        scene: Scene { source: Source::Encoder("sim-hang"), ..TEST },
        play: play::encoder_fails,
        ..PLAIN
    },
    Fault {
        name: "encoder-blocks",
        what: "an encoder does not come back with a picture, again after each reset",
        action: "it takes no more pictures either: told as a source that stands, then as above, in a new process at once",
        alerts: &[AlertCode::SourceStalled, AlertCode::EncoderFailed, AlertCode::EncoderStalled],
        bound: bound(2500, 7000, frames(20_000)),
        scene: Scene { source: Source::Encoder("sim-block"), ..TEST },
        play: play::encoder_fails,
        ..PLAIN
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
        ..PLAIN
    },
    Fault {
        name: "encoder-garbage",
        what: "an encoder gives garbage, again after each reset",
        action: "as above",
        alerts: ENCODER,
        bound: bound(2500, 5000, frames(15_000)),
        scene: Scene { source: Source::Encoder("sim-garbage"), ..TEST },
        play: play::encoder_fails,
        ..PLAIN
    },
    Fault {
        name: "disk-full",
        what: "something else fills the disk to the last byte for 4 s",
        action: "the file goes on in the blocks that it had taken ahead; told with what to do",
        alerts: &[AlertCode::StorageCritical],
        bound: bound(1500, 2000, 0),
        scene: DISK,
        quick: true,
        play: play::disk_full,
        ..PLAIN
    },
    Fault {
        name: "disk-full-ballast",
        what: "the same, where space is held back (`storage.ballast_mib`)",
        action: "the ballast makes room for closing the recording in good order; the next one is refused until there is room",
        alerts: &[AlertCode::StorageCritical],
        bound: bound(1500, 6000, frames(DISK_MS + 6000)),
        scene: Scene { storage: BALLAST, ..DISK },
        play: play::disk_full,
        ..PLAIN
    },
    Fault {
        name: "disk-full-for-good",
        what: "something else takes every block that becomes free, while each new file needs some; 4 s after ENOSPC it ends",
        action: "what does not fit is lost and counted, a new file is tried at every keyframe; told with what to do",
        alerts: &[AlertCode::StorageCritical],
        bound: bound(2500, 4000, frames(2000 + DISK_MS + 4000)),
        scene: Scene { source: Source::Camera, ..DISK },
        play: play::disk_full_for_good,
        ..PLAIN
    },
    Fault {
        name: "disk-eio",
        what: "the disk refuses footage with an I/O error for 4 s",
        action: "the file is given up where it was last safe, a new one tried until it works",
        alerts: &[AlertCode::WriteFailed],
        bound: bound(2500, 6000, frames(DISK_MS + 6000)),
        scene: DISK,
        play: play::disk_eio,
        ..PLAIN
    },
    Fault {
        name: "disk-read-only",
        what: "the filesystem turns read-only; after 4 s another is mounted in its place",
        action: "told; tried again until the storage takes footage",
        alerts: &[AlertCode::StorageUnavailable, AlertCode::WriteFailed],
        bound: bound(2500, 8000, frames(DISK_MS + 8000)),
        scene: DISK,
        play: play::disk_read_only,
        ..PLAIN
    },
    Fault {
        name: "disk-frozen",
        what: "the filesystem stands still for 10 s (fsfreeze)",
        action: "the queue holds what comes in",
        alerts: &[AlertCode::DiskStalled],
        bound: bound(2500, 3000, 0),
        scene: DISK,
        play: play::disk_frozen,
        ..PLAIN
    },
    Fault {
        name: "disk-slow",
        what: "the filesystem stands still for 700 ms of every 800 for 8 s",
        action: "the queue holds what comes in; told before it hurts",
        alerts: &[AlertCode::DiskSlow, AlertCode::DiskStalled],
        bound: bound(8000, 2000, 0),
        scene: DISK,
        play: play::disk_slow,
        ..PLAIN
    },
    Fault {
        name: "disk-missing",
        what: "the disk for footage is not mounted when a recording is asked for",
        action: "refused: the root disk is never written to instead",
        bound: bound(1000, 5000, 0),
        scene: Scene { storage: &["filesystem = \"mounted\"", "warn_percent = 98", "block_percent = 99"], ..DISK },
        play: play::disk_missing,
        ..PLAIN
    },
    Fault {
        name: "cpu-hog",
        what: "twice as many busy loops as there are cores for 6 s, at normal priority",
        action: "captures come first",
        bound: bound(0, 2000, 0),
        quick: true,
        compared: true,
        play: play::cpu_hog,
        ..PLAIN
    },
    Fault {
        name: "io-hog",
        what: "two writers that sync each megabyte to the same disk for 6 s",
        action: "the queue holds what comes in",
        bound: bound(0, 3000, 0),
        scene: DISK,
        compared: true,
        play: play::io_hog,
        ..PLAIN
    },
    Fault {
        name: "bus-flood",
        what: "four clients call as fast as they can for 6 s",
        action: "captures know no bus; the recorder answers from memory",
        bound: bound(0, 2000, 0),
        quick: true,
        compared: true,
        play: play::bus_flood,
        ..PLAIN
    },
    Fault {
        name: "bus-deaf-client",
        what: "a client asks for thousands of answers and all signals, and reads none, for 6 s",
        action: "the bus holds them up for that client alone",
        bound: bound(0, 2000, 0),
        compared: true,
        play: play::bus_deaf_client,
        ..PLAIN
    },
    Fault {
        name: "clock-steps",
        what: "the wall clock is set: 3 h forward, 5 h back, 45 years back, and right again",
        action: "told each time; only labels depend on it",
        alerts: &[AlertCode::ClockStepped],
        bound: bound(2000, 2000, 0),
        scene: Scene { wall: true, ..TEST },
        play: play::clock_steps,
        ..PLAIN
    },
    Fault {
        name: "journal-corrupt",
        what: "the recorder's state and the session's journal are overwritten, and the recorder is killed",
        action: "set aside and rebuilt from the files; the recording goes on",
        alerts: &[AlertCode::StateCorrupt],
        bound: bound(4000, 4000, 0),
        quick: true,
        play: play::journal_corrupt,
        ..PLAIN
    },
    Fault {
        name: "config-corrupt",
        what: "the configuration becomes garbage, and the recorder is killed; 2 s later it is mended",
        action: "the recorder says what is wrong and ends with 78; captures record on with what they know",
        bound: bound(2000, 3000, 0),
        play: play::config_corrupt,
        ..PLAIN
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
        assert!(FAULTS.first().is_some_and(|fault| fault.name == "none"), "the others are compared with it");
        assert!(FAULTS.iter().filter(|fault| fault.quick).count() >= 5);
    }
}
