//! Inputs that nobody records are looked at by units, as the recorder's own sees neither network nor devices.

use std::time::{Duration, Instant};

use holdfast_aloud::say;

use crate::appliance::{Appliance, CAPTURE, Disk, PROBE, SOON, has_polkit};

const AWAY: &str = "/org/holdfast/Recorder1/input/away";
const INTERFACE: &str = "org.holdfast.Recorder1.Input";
/// Idle, an input is looked at every 30 s; one whose probes hang every 10 s.
const LOOKED_AT: Duration = Duration::from_secs(45);

/// More of the configuration, before the recorder is there.
fn configure(appliance: &Appliance, lines: &str) {
    let script = format!("printf '{lines}' >> /etc/holdfast/holdfast.toml.d/rig.toml");
    assert!(appliance.rig.run(&["sh", "-c", &script]).ok());
}

/// The recorder, which is not there yet, won't feel how busy the machine is that runs the tests: under pressure probing rests.
fn calm(appliance: &Appliance) {
    let script = "mkdir -p /run/nothing /run/systemd/system/holdfast-recorder.service.d && \
                  printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/holdfast-recorder --proc /run/nothing\\n' \
                  > /run/systemd/system/holdfast-recorder.service.d/calm.conf && systemctl daemon-reload";
    assert!(appliance.rig.run(&["sh", "-c", script]).ok());
}

/// From now on probes say nothing, for ever.
fn hang(appliance: &Appliance) {
    let script = "mkdir -p /run/systemd/system/holdfast-probe@.service.d && \
                  printf '[Service]\\nExecStart=\\nExecStart=/bin/sleep 3600\\n' > /run/systemd/system/holdfast-probe@.service.d/hang.conf && \
                  systemctl daemon-reload";
    assert!(appliance.rig.run(&["sh", "-c", script]).ok());
}

#[test]
fn inputs_are_looked_at_by_units() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    calm(&appliance);
    configure(
        &appliance,
        r#"[[input]]\nname = "away"\nsource = "rtsp"\nurl = "rtsp://127.0.0.1:9/x"\narmed = false\n"#,
    );
    // Reading starts the recorder.
    let is = |reachable: &str| (appliance.input("Reachable") == reachable).then_some(());
    rig.until("the input is found to be there", LOOKED_AT, || is("yes")).unwrap();
    assert_eq!(appliance.input("ReachError"), "", "{}", rig.log(60));
    let why = || {
        let no = appliance.property(AWAY, INTERFACE, "Reachable") == "no";
        no.then(|| appliance.property(AWAY, INTERFACE, "ReachError").as_str().unwrap().to_owned())
    };
    let why = rig.until("the other one is found to be away", LOOKED_AT, why).unwrap();
    say(&why);
    // It could ask the network, and the network said no: the sandbox leaves it that.
    assert!(why.contains("127.0.0.1:9 cannot be reached: ") && !why.contains("not permitted"), "{why}");
    let alerts = appliance.property("/org/holdfast/Recorder1", "org.holdfast.Recorder1.Alerts", "Active").to_string();
    assert!(alerts.contains("input-unreachable"), "{alerts}");
    // That it is away is an answer, not a failure, and nothing that fills the journal.
    assert_eq!(rig.run(&["systemctl", "--failed", "--quiet", "--no-legend"]).out, "");
    let log = rig.log(1000);
    let told: Vec<_> = log.lines().filter(|line| line.contains("look at the source")).collect();
    assert!(told.is_empty(), "{told:#?}");
    assert!(rig.run(&["test", "-s", "/run/holdfast/capture/test.probe"]).ok());
}

#[test]
fn a_start_ends_a_probe_that_hangs_and_records_at_once() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    calm(&appliance);
    // The first start of a boot also finds out which encoder works.
    appliance.start();
    hang(&appliance);
    appliance.stop();
    let hangs = || (rig.property(PROBE, "ActiveState") == "activating").then(|| rig.property(PROBE, "MainPID"));
    let pid = rig.until("a probe that hangs", SOON, hangs).unwrap();
    // systemd's child becomes what the unit says, in steps.
    let ours = || (rig.run(&["ps", "-o", "user=,nice=,comm=", "-p", &pid]).out == "holdfast  19 sleep").then_some(());
    rig.until("the probe is as its unit says", SOON, ours).unwrap();
    assert_eq!(rig.run(&["ionice", "-p", &pid]).out, "idle");
    let group = rig.property(PROBE, "ControlGroup");
    assert!(group.starts_with("/holdfast.slice/holdfast-background.slice/"), "{group}");
    // Two in a row are believed; and neither is left behind.
    let told = || appliance.input("ReachError").as_str().filter(|text| text.contains("no end within 2 s")).map(drop);
    rig.until("what hangs is told", LOOKED_AT, told).unwrap();
    assert!(!rig.run(&["ps", "-p", &pid]).ok(), "{pid} is still there");

    rig.until("another probe that hangs", LOOKED_AT, hangs).unwrap();
    let began = Instant::now();
    appliance.start();
    say(format_args!("footage was safe {} ms after the start, beside a probe that hung", began.elapsed().as_millis()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}\n{}", began.elapsed(), rig.log(60));
    assert_eq!(rig.property(CAPTURE, "ActiveState"), "active");
    assert_eq!(appliance.input("Reachable"), "unknown");
    // Ended, and before the capture was begun: that is in the journal of neither, but in what systemd notes of the units.
    let at = |unit: &str, property: &str| rig.property(unit, property).parse::<u64>().ok();
    assert_ne!(rig.property(PROBE, "ActiveState"), "activating");
    if let (Some(ended), Some(begun)) =
        (at(PROBE, "InactiveEnterTimestampMonotonic"), at(CAPTURE, "InactiveExitTimestampMonotonic"))
    {
        // Collected by now: then there is no time to compare.
        assert!(ended <= begun, "the probe ended {ended}, the capture began {begun}");
    }
    let totals = appliance.stop();
    assert_eq!((totals.number("lost_frames"), totals.number("gaps")), (0, 0), "{totals:?}");
    let log = rig.log(1000);
    assert!(!log.contains("can't be ended"), "{log}");
    // Once more at once, before there is another probe: to compare.
    let began = Instant::now();
    appliance.start();
    say(format_args!("and {} ms without one", began.elapsed().as_millis()));
}
