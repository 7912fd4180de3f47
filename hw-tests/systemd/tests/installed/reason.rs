//! How a recorder has ended is noted by its unit (`ExecStopPost=`), and told by the next as the reason of an interruption.

use serde_json::Value;

use crate::appliance::{Appliance, CAPTURE, Disk, FRAMERATE, RECORDER, SOON, has_polkit, json};

/// What the unit's note is called, in the recorder's state directory.
const NOTE: &str = "/var/lib/holdfast/recorder.end";

/// The newest interruption, by the command line.
fn interruptions(appliance: &Appliance) -> Value {
    let said = appliance.rig.run(&["holdfast", "recovery", "--json"]);
    assert!(said.ok(), "{said:?}\n{}", appliance.rig.log(60));
    json(&said)["interrupted"].clone()
}

/// The recorder ends by this signal, and its capture before it: first it is stopped, so that it cannot bring that back.
fn everything_dies(appliance: &Appliance, signal: &str) {
    let rig = &appliance.rig;
    let (recorder, capture) = (rig.property(RECORDER, "MainPID"), rig.property(CAPTURE, "MainPID"));
    let kill =
        format!("kill -STOP {recorder}; kill -KILL {capture}; kill -{signal} {recorder}; kill -CONT {recorder}; true");
    assert!(rig.run(&["sh", "-c", &kill]).ok());
    let back = || {
        let pid = rig.property(RECORDER, "MainPID");
        (pid != recorder && pid != "0" && rig.property(RECORDER, "ActiveState") == "active").then_some(())
    };
    rig.until("systemd has started the recorder again", SOON, back).unwrap();
}

#[test]
fn the_next_recorder_tells_how_the_last_one_has_ended() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let session = appliance.start();
    let records = || (appliance.recorder("State") == "recording").then_some(());
    for (times, (signal, reason)) in [("KILL", "killed"), ("ABRT", "crash")].into_iter().enumerate() {
        appliance.safe_frames_more(FRAMERATE);
        everything_dies(&appliance, signal);
        rig.until("the session goes on", SOON, records).unwrap();
        assert_eq!(appliance.recorder("CurrentSession"), session.as_str());
        let told = interruptions(&appliance);
        assert_eq!(
            (told[0]["reason"].as_str(), told[0]["times"].as_u64()),
            (Some(reason), Some(times as u64 + 1)),
            "{told:#}"
        );
        let evidence = told[0]["evidence"].as_str().unwrap();
        assert!(evidence.starts_with("systemd: ") && evidence.contains(signal), "{evidence}");
        // It counts once.
        assert!(!rig.run(&["test", "-e", NOTE]).ok(), "the note is still there");
    }
    // A crash is to be reported, a signal from somebody is not.
    let alerts = rig.run(&["holdfast", "alerts", "--json"]);
    assert!(alerts.out.contains("\"crashed\""), "{alerts:?}");

    // A restart in its place interrupts nothing, and the order of its end is no reason for anything later.
    appliance.safe_frames_more(FRAMERATE);
    let capture = rig.property(CAPTURE, "MainPID");
    for _ in 0..2 {
        assert!(rig.run(&["systemctl", "restart", RECORDER]).ok(), "{}", rig.log(60));
        appliance.safe_frames_more(FRAMERATE);
        assert_eq!(appliance.recorder("CurrentSession"), session.as_str());
        assert_eq!(rig.property(CAPTURE, "MainPID"), capture);
        assert_eq!(interruptions(&appliance)[0]["times"], 2);
    }
    let totals = appliance.stop();
    assert_eq!(totals.number("gaps"), 2, "{totals:?}\n{}", rig.log(60));
    assert_eq!(appliance.verify()["ok"], true);
}
