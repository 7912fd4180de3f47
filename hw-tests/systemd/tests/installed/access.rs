//! Who may do what: over the recorder's bus name, and with the recorder's own user.

use crate::appliance::{Appliance, CAPTURE, DECODE, Disk, NAME, OPERATOR, PROBE, RECORDER, ROOT, SOON, has_polkit};

const SYSTEMD: [&str; 5] =
    ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];

#[test]
fn a_call_starts_the_recorder_and_strangers_may_only_read() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    let rig = &appliance.rig;
    assert_eq!(rig.property(RECORDER, "ActiveState"), "inactive");

    // Reading is for all, and starts it.
    assert_eq!(appliance.recorder("State"), "idle", "{}", rig.log(60));
    assert_eq!(rig.property(RECORDER, "ActiveState"), "active");
    let pid = rig.property(RECORDER, "MainPID");
    assert_eq!(rig.run(&["ps", "-o", "user=,comm=", "-p", &pid]).out, "holdfast holdfast-record");
    let owner = rig.run(&["busctl", "status", NAME]).out;
    assert!(owner.lines().any(|line| line == format!("PID={pid}")), "{owner}");
    assert!(owner.lines().any(|line| line == format!("Unit={RECORDER}")), "{owner}");
    // So does the command line.
    assert!(rig.run(&["systemctl", "stop", RECORDER]).ok());
    let said = rig.run_as("nobody", &["holdfast", "status"]);
    assert!(said.ok() && said.out.contains("idle"), "{said:?}");
    assert_eq!(rig.property(RECORDER, "ActiveState"), "active");
    for (method, arguments) in [("ListSessions", ["a{sv}", "0"]), ("GetStorageInfo", ["a{sv}", "0"])] {
        let said = appliance.call_as("nobody", method, &arguments);
        assert!(said.ok(), "{method}: {}", said.err);
    }

    // Control is not.
    let control: [(&str, &[&str]); 6] = [
        ("Start", &["a{sv}", "0"]),
        ("Stop", &["a{sv}", "0"]),
        ("Mark", &["sa{sv}", "x", "0"]),
        ("Arm", &["asa{sv}", "0", "0"]),
        ("Protect", &["sa{sv}", "x", "0"]),
        ("Unprotect", &["sa{sv}", "x", "0"]),
    ];
    for (method, arguments) in control {
        let said = appliance.call_as("nobody", method, arguments);
        assert!(!said.ok() && said.err.contains("Access denied"), "{method}: {said:?}");
        // Whatever the recorder answers to a member of the group, it is not the bus that refuses.
        let said = appliance.call_as(OPERATOR, method, arguments);
        assert!(said.ok() || !said.err.contains("Access denied"), "{method}: {said:?}");
    }
    // Nor is footage.
    assert!(!rig.run_as("nobody", &["ls", ROOT]).ok());
    assert!(rig.run_as(OPERATOR, &["ls", ROOT]).ok());
}

#[test]
fn the_recorders_user_may_start_captures_and_probes_and_nothing_else() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let ask = |user: &str, arguments: &[&str]| rig.run_as(user, &[&SYSTEMD[..], arguments].concat());
    let refuses = |arguments: &[&str]| {
        let said = ask("holdfast", arguments);
        let denied = said.err.contains("Access denied") || said.err.contains("nteractive authentication required");
        assert!(!said.ok() && denied, "{arguments:?}: {said:?}");
    };
    refuses(&["StartUnit", "ss", "debug-shell.service", "replace"]);
    refuses(&["StartUnit", "ss", "poweroff.target", "replace"]);
    refuses(&["StartUnit", "ss", "holdfast-capture@a\\x2fb.service", "replace"]);
    // The dangerous one: a unit of one's own making, as root, under a name that is allowed.
    let transient = ["StartTransientUnit", "ssa(sv)a(sa(sv))"];
    let touch = ["1", "ExecStart", "a(sasb)", "1", "/bin/touch", "2", "/bin/touch", "/run/was-root", "false", "0"];
    for mine in ["holdfast-capture@mine.service", "holdfast-probe@mine.service", DECODE] {
        refuses(&[&transient[..], &[mine, "replace"], &touch].concat());
    }
    assert!(!rig.run(&["test", "-e", "/run/was-root"]).ok());

    let start = ["StartUnit", "ss", CAPTURE, "replace"];
    // Those who control recordings do so over the recorder.
    assert!(!ask(OPERATOR, &start).ok());
    let said = ask("holdfast", &start);
    assert!(said.ok(), "{}\n{}", said.err, rig.log(30));
    let runs = || (rig.property(CAPTURE, "ActiveState") == "active").then_some(());
    rig.until("the capture runs", SOON, runs).unwrap();
    let said = ask("holdfast", &["ResetFailedUnit", "s", CAPTURE]);
    assert!(said.ok(), "{}", said.err);
    refuses(&["StopUnit", "ss", CAPTURE, "replace"]);
    refuses(&["RestartUnit", "ss", CAPTURE, "replace"]);
    refuses(&["KillUnit", "ssi", CAPTURE, "all", "9"]);
    refuses(&["SetUnitProperties", "sba(sv)", CAPTURE, "true", "1", "CPUWeight", "t", "1"]);

    // A probe it may end as well: a capture does not wait for one.
    refuses(&["StartUnit", "ss", "holdfast-probe@a\\x2fb.service", "replace"]);
    for verb in ["StartUnit", "StopUnit"] {
        let arguments = [verb, "ss", PROBE, "replace"];
        assert!(!ask(OPERATOR, &arguments).ok());
        let said = ask("holdfast", &arguments);
        assert!(said.ok(), "{}\n{}", said.err, rig.log(30));
    }
    refuses(&["RestartUnit", "ss", PROBE, "replace"]);
    // Nor does anything but a check want footage decoded: it may end that, too.
    assert!(ask("holdfast", &["StopUnit", "ss", DECODE, "replace"]).ok());
    refuses(&["RestartUnit", "ss", DECODE, "replace"]);
    refuses(&["StopUnit", "ss", RECORDER, "replace"]);
}
