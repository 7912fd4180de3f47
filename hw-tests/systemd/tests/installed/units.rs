//! The files that are installed are right, and no more is allowed than needed.

use holdfast_aloud::say;

use crate::appliance::{Appliance, CAPTURE, DECODE, Disk, PROBE, RECORDER, ROOT};
use crate::panel::PANEL;

/// Exposure as systemd counts it, 0 (none) to 10. Not a measure of safety, but it rises when a line of hardening is lost.
const EXPOSURE_LIMITS: [(&str, f32); 7] =
    [(RECORDER, 1.0), (CAPTURE, 2.3), (PROBE, 2.3), (DECODE, 2.3), (PANEL, 1.6), (UPDATER, 2.3), (STICK, 1.7)];

const UPDATER: &str = "holdfast-updater.service";
const STICK: &str = "holdfast-stick@sdz1.service";

const SLICES: [&str; 3] = ["holdfast.slice", "holdfast-recording.slice", "holdfast-background.slice"];

/// What systemd has understood, whatever of it the kernel can do here.
const PRIORITIES: [(&str, &str, &str); 36] = [
    (SLICES[0], "CPUWeight", "1000"),
    (SLICES[0], "IOWeight", "1000"),
    (SLICES[1], "CPUWeight", "1000"),
    (SLICES[1], "IOWeight", "1000"),
    (SLICES[1], "MemoryMin", "536870912"),
    (SLICES[2], "CPUWeight", "idle"),
    (SLICES[2], "IOWeight", "1"),
    (CAPTURE, "Slice", SLICES[1]),
    (CAPTURE, "CPUWeight", "1000"),
    (CAPTURE, "IOWeight", "1000"),
    (CAPTURE, "MemoryMin", "67108864"),
    (CAPTURE, "OOMScoreAdjust", "-900"),
    (RECORDER, "Slice", SLICES[1]),
    (RECORDER, "CPUWeight", "500"),
    (RECORDER, "IOWeight", "500"),
    (RECORDER, "OOMScoreAdjust", "-800"),
    (PANEL, "Slice", SLICES[1]),
    (PANEL, "CPUWeight", "100"),
    (PANEL, "OOMScoreAdjust", "-700"),
    (PANEL, "MemoryMin", "16777216"),
    (PROBE, "Slice", SLICES[2]),
    (PROBE, "Nice", "19"),
    (PROBE, "CPUWeight", "idle"),
    (PROBE, "IOSchedulingClass", "3"),
    (PROBE, "TimeoutStartUSec", "2s"),
    (PROBE, "OOMScoreAdjust", "500"),
    (DECODE, "Slice", SLICES[2]),
    (DECODE, "Nice", "19"),
    (DECODE, "CPUWeight", "idle"),
    (DECODE, "MemoryMax", "805306368"),
    (DECODE, "OOMScoreAdjust", "500"),
    (UPDATER, "Slice", SLICES[2]),
    (UPDATER, "Nice", "19"),
    (UPDATER, "IOSchedulingClass", "3"),
    (STICK, "Slice", SLICES[2]),
    (STICK, "IOSchedulingClass", "3"),
];

#[test]
fn units_users_and_directories_are_as_they_should_be() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    let rig = &appliance.rig;
    assert_eq!(rig.run(&["systemctl", "is-system-running"]).out, "running", "{}", rig.log(60));

    let verified = rig.run(&[
        "systemd-analyze",
        "verify",
        "--man=no",
        RECORDER,
        CAPTURE,
        PROBE,
        DECODE,
        PANEL,
        UPDATER,
        STICK,
        SLICES[0],
        SLICES[1],
        SLICES[2],
    ]);
    assert!(verified.ok() && verified.err.is_empty() && verified.out.is_empty(), "{}\n{}", verified.out, verified.err);

    for (unit, property, expected) in PRIORITIES {
        assert_eq!(rig.property(unit, property), expected, "{property} of {unit}");
    }
    assert_ne!(rig.property(SLICES[2], "MemoryHigh"), "infinity");

    for (unit, limit) in EXPOSURE_LIMITS {
        let said = rig.run(&["systemd-analyze", "security", "--no-pager", "--offline=true", unit]);
        let line = said.out.lines().last().unwrap_or_default();
        say(line);
        let exposure = line.split_whitespace().find_map(|word| word.parse::<f32>().ok());
        assert!(
            exposure.is_some_and(|exposure| exposure <= limit),
            "{unit} is exposed more than {limit}:\n{}",
            said.out
        );
    }

    // A new disk is mounted, and belongs to root: systemd-tmpfiles hands its root over.
    for (path, expected) in [
        ("/run/holdfast", "755 holdfast:holdfast"),
        ("/run/holdfast/capture", "750 holdfast:holdfast"),
        ("/var/lib/holdfast", "750 holdfast:holdfast"),
        (ROOT, "750 holdfast:holdfast"),
        ("/var/cache/holdfast", "750 holdfast:holdfast"),
    ] {
        assert_eq!(rig.run(&["stat", "--format", "%a %U:%G", path]).out, expected, "{path}");
    }
    assert!(rig.run(&["mountpoint", "--quiet", ROOT]).ok());
    let complaints = rig.log(1000);
    let complaints: Vec<_> = complaints.lines().filter(|line| line.contains("sysusers.d/holdfast")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    let config = rig.run(&["holdfast", "config", "check"]);
    assert!(config.ok(), "{}{}", config.out, config.err);
    for page in ["holdfast.1", "holdfast-start.1"] {
        assert!(rig.run(&["test", "-s", &format!("/usr/share/man/man1/{page}")]).ok(), "{page}");
    }
    // As an image does it.
    for unit in [RECORDER, PANEL] {
        assert!(rig.run(&["systemctl", "preset", unit]).ok());
        assert_eq!(rig.run(&["systemctl", "is-enabled", unit]).out, "enabled");
    }
    // A box without RAUC has nothing to update.
    assert!(rig.run(&["systemctl", "preset", UPDATER]).ok());
    assert_eq!(rig.run(&["systemctl", "is-enabled", UPDATER]).out, "disabled");
}
