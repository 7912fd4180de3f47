//! Recording goes on whatever happens to the recorder, and goes on again when a capture dies.

use holdfast_aloud::say;
use serde_json::Value;

use crate::appliance::{Appliance, CAPTURE, Disk, FRAMERATE, RECORDER, SOON, has_polkit};

const FRAME_NS: u64 = 1_000_000_000 / FRAMERATE;
/// As systemd nests them.
const RECORDING: &str = "/holdfast.slice/holdfast-recording.slice";
const BACKGROUND: &str = "/holdfast.slice/holdfast-background.slice";

#[test]
fn a_recording_goes_on_while_its_recorder_is_restarted_and_killed() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let session = appliance.start();
    let capture = rig.property(CAPTURE, "MainPID");
    runs_as_its_unit_says(&appliance, &capture);
    appliance.safe_frames_more(FRAMERATE);

    let recorder = rig.property(RECORDER, "MainPID");
    assert!(rig.run(&["systemctl", "restart", RECORDER]).ok(), "{}", rig.log(60));
    let restarted = rig.property(RECORDER, "MainPID");
    assert_ne!(restarted, recorder);
    goes_on(&appliance, &session, &capture);

    assert!(rig.run(&["systemctl", "kill", "--signal=KILL", RECORDER]).ok());
    let back = || {
        let pid = rig.property(RECORDER, "MainPID");
        (pid != restarted && pid != "0" && rig.property(RECORDER, "ActiveState") == "active").then_some(())
    };
    rig.until("systemd has started the recorder again", SOON, back).unwrap();
    goes_on(&appliance, &session, &capture);

    let totals = appliance.stop();
    assert_eq!((totals.number("lost_frames"), totals.number("gaps")), (0, 0), "{totals:?}");
    let report = appliance.verify();
    let input = &report["report"]["inputs"][0];
    assert_eq!((input["frames_lost"].as_u64(), input["gap_ns"].as_u64()), (Some(0), Some(0)), "{input:#}");
    let video = Video::of(input);
    assert_eq!(video.frames, totals.number("safe_frames"));
    // Not only does nobody say that a frame is missing: there are as many as fit into the time.
    assert_eq!(video.frames, video.frames_in_span(), "{input:#}");

    is_in_the_journal(&appliance, totals.text("id"));
}

#[test]
fn a_capture_that_is_killed_is_started_again_and_its_gap_is_told() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let session = appliance.start();
    appliance.safe_frames_more(FRAMERATE);
    let killed = rig.property(CAPTURE, "MainPID");
    assert!(rig.run(&["systemctl", "kill", "--signal=KILL", CAPTURE]).ok());
    let back = || {
        let pid = rig.property(CAPTURE, "MainPID");
        (pid != killed && pid != "0").then_some(pid)
    };
    rig.until("the recorder has had the capture started again", SOON, back).unwrap();
    rig.until("the gap is told", SOON, || appliance.recorder("GapCount").as_u64().filter(|gaps| *gaps == 1)).unwrap();
    appliance.safe_frames_more(FRAMERATE);
    assert_eq!(appliance.recorder("CurrentSession"), session.as_str());
    assert_eq!(appliance.input("Restarts"), 1);
    // By the recorder, not by systemd behind its back.
    assert_eq!(rig.property(CAPTURE, "NRestarts"), "0");

    let totals = appliance.stop();
    assert_eq!(totals.number("gaps"), 1, "{totals:?}");
    let report = appliance.verify();
    let input = &report["report"]["inputs"][0];
    let files = input["files"].as_array().unwrap();
    let after_gap = files.iter().position(|file| file["identity"]["gap_before"].is_object());
    let after_gap = after_gap.unwrap_or_else(|| panic!("no file begins with a gap: {input:#}"));
    let gap = &files[after_gap]["identity"]["gap_before"];
    assert_eq!(gap["cause"], "capture-died", "{input:#}");
    assert_eq!(gap["frames_lost"], totals.number("lost_frames"));
    // Footage and gap together are all the time there was: what no process could count, the gap's length tells.
    let number = |value: &Value| value.as_u64().unwrap();
    let [before, after] = [&files[after_gap - 1], &files[after_gap]].map(|file| &file["tracks"][0]);
    let (start, duration) = (number(&gap["start_mono_ns"]), number(&gap["duration_ns"]));
    assert!(start.abs_diff(number(&before["end_mono_ns"])) <= FRAME_NS, "{input:#}");
    assert!((start + duration).abs_diff(number(&after["start_mono_ns"])) <= FRAME_NS, "{input:#}");
    say(format_args!(
        "a killed capture: {} ms of gap, {} frames known to be lost, {} safe",
        duration / 1_000_000,
        totals.number("lost_frames"),
        Video::of(input).frames
    ));
}

/// More busy loops than the machine has cores, and none that would ever stop by itself.
#[test]
fn what_is_busy_in_the_background_costs_no_frame() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let session = appliance.start();
    appliance.safe_frames_more(2 * FRAMERATE);
    let hogs = "for hog in $(seq $(($(nproc) * 2))); do (while :; do :; done) & done; wait";
    let begun = rig.run(&["systemd-run", "--unit=hogs", "--slice=holdfast-background.slice", "sh", "-c", hogs]);
    assert!(begun.ok(), "{begun:?}");
    assert_eq!(rig.property("hogs.service", "ControlGroup"), format!("{BACKGROUND}/hogs.service"));
    if rig.controllers().iter().any(|there| there == "cpu") {
        assert_eq!(rig.run(&["cat", &format!("/sys/fs/cgroup{BACKGROUND}/cpu.idle")]).out, "1");
    } else {
        holdfast_aloud::skip("this machine has no cpu controller in cgroup2: the hogs are held back by niceness alone");
    }
    let before = appliance.input("SafeFrames").as_u64().unwrap();
    let safe = appliance.safe_frames_more(6 * FRAMERATE);
    assert!(rig.run(&["systemctl", "stop", "hogs.service"]).ok());
    assert_eq!(appliance.recorder("CurrentSession"), session.as_str());
    let totals = appliance.stop();
    assert_eq!((totals.number("lost_frames"), totals.number("gaps")), (0, 0), "{totals:?}");
    let report = appliance.verify();
    let video = Video::of(&report["report"]["inputs"][0]);
    assert_eq!(video.frames, video.frames_in_span(), "{report:#}");
    say(format_args!("{} frames while the background was busy, none lost", safe - before));
}

/// Who verifies or exports as root does it where the recording does not notice.
#[test]
fn the_command_line_works_in_the_background() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    // Probes of inputs are in that slice, too.
    let no_probes = "ln -s /dev/null /run/systemd/system/holdfast-probe@.service && systemctl daemon-reload";
    assert!(rig.run(&["sh", "-c", no_probes]).ok());
    appliance.start();
    appliance.stop();
    assert_eq!(rig.property("holdfast-background.slice", "ActiveState"), "inactive");
    let said = rig.run(&["systemd-run", "--wait", "--pipe", "--quiet", "holdfast", "verify", "--json", "last"]);
    assert!(said.ok(), "{said:?}");
    // Nothing but that scope is in it, and nothing else has it started.
    let active = || (rig.property("holdfast-background.slice", "ActiveState") == "active").then_some(());
    rig.until("a scope in the background slice", SOON, active).unwrap();
}

/// The same session, the same capture process, and more and more of it safe.
fn goes_on(appliance: &Appliance, session: &str, capture: &str) {
    appliance.safe_frames_more(FRAMERATE);
    assert_eq!(appliance.recorder("State"), "recording");
    assert_eq!(appliance.recorder("CurrentSession"), session);
    assert_eq!(appliance.rig.property(CAPTURE, "MainPID"), capture);
    assert_eq!(appliance.input("Pid").to_string(), capture);
    assert_eq!(appliance.input("Restarts"), 0);
}

/// What the unit asks for has come to the process.
fn runs_as_its_unit_says(appliance: &Appliance, pid: &str) {
    let rig = &appliance.rig;
    assert_eq!(rig.run(&["ps", "-o", "user=,nice=", "-p", pid]).out, "holdfast -10");
    if rig.run(&["choom", "--adjust", "-900", "--", "true"]).ok() {
        assert_eq!(rig.run(&["cat", &format!("/proc/{pid}/oom_score_adj")]).out, "-900");
    } else {
        holdfast_aloud::skip("not even root may lower oom_score_adj on this machine");
        assert_eq!(rig.property(CAPTURE, "OOMScoreAdjust"), "-900");
    }
    let status = rig.run(&["cat", &format!("/proc/{pid}/status")]).out;
    for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.lines().any(|there| there == line), "{line}: {status}");
    }
    assert_eq!(rig.run(&["ionice", "-p", pid]).out, "best-effort: prio 0");
    let group = rig.run(&["cat", &format!("/proc/{pid}/cgroup")]).out;
    assert!(group.lines().any(|line| line == format!("0::{RECORDING}/{CAPTURE}")), "{group}");
    let recorder = rig.property(RECORDER, "ControlGroup");
    assert_eq!(recorder, format!("{RECORDING}/{RECORDER}"));
    for (controller, group, file, expected) in [
        ("cpu", format!("{RECORDING}/{CAPTURE}"), "cpu.weight", "1000"),
        ("cpu", recorder.clone(), "cpu.weight", "500"),
        ("cpu", RECORDING.to_owned(), "cpu.weight", "1000"),
        ("cpu", "/holdfast.slice".to_owned(), "cpu.weight", "1000"),
        ("io", format!("{RECORDING}/{CAPTURE}"), "io.weight", "default 1000"),
        ("io", RECORDING.to_owned(), "io.weight", "default 1000"),
        ("memory", format!("{RECORDING}/{CAPTURE}"), "memory.min", "67108864"),
        ("memory", recorder, "memory.min", "33554432"),
        ("memory", RECORDING.to_owned(), "memory.min", "536870912"),
        ("memory", "/holdfast.slice".to_owned(), "memory.min", "536870912"),
    ] {
        if !rig.controllers().iter().any(|there| there == controller) {
            holdfast_aloud::skip(format_args!(
                "this machine has no {controller} controller in cgroup2, {file} is not tested"
            ));
            continue;
        }
        let path = format!("/sys/fs/cgroup{group}/{file}");
        assert_eq!(rig.run(&["cat", &path]).out.lines().next(), Some(expected), "{path}");
    }
}

/// Both programs' words can be asked for by session, and read.
fn is_in_the_journal(appliance: &Appliance, id: &str) {
    let asked = format!("HOLDFAST_SESSION={id}");
    let entries = || -> Vec<Value> {
        let said = appliance.rig.run(&["journalctl", "--quiet", "--no-pager", "--output=json", &asked]);
        said.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let of = |unit: &str| entries().into_iter().find(|entry| entry["_SYSTEMD_UNIT"] == unit);
    for (unit, identifier) in [(RECORDER, "holdfast-recorder"), (CAPTURE, "holdfast-capture")] {
        let entry = appliance.rig.until("the session is in the journal", SOON, || of(unit)).unwrap();
        assert_eq!(entry["SYSLOG_IDENTIFIER"], identifier);
        assert_eq!(entry["PRIORITY"], "6", "{entry:#}");
        assert!(entry["MESSAGE"].as_str().unwrap().contains(id), "{entry:#}");
    }
}

/// The video of one input.
struct Video {
    frames: u64,
    span_ns: u64,
}

impl Video {
    fn of(input: &Value) -> Self {
        let tracks = input["files"].as_array().unwrap().iter().map(|file| &file["tracks"][0]);
        let number = |track: &Value, key: &str| track[key].as_u64().unwrap();
        let (mut frames, mut start, mut end) = (0, u64::MAX, 0);
        for track in tracks {
            frames += number(track, "frames");
            start = start.min(number(track, "start_mono_ns"));
            end = end.max(number(track, "end_mono_ns"));
        }
        Self { frames, span_ns: end - start }
    }

    /// As many as the source makes in the time from the first to the end of the last.
    fn frames_in_span(&self) -> u64 {
        (self.span_ns + FRAME_NS / 2) / FRAME_NS
    }
}
