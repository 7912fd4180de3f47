//! Footage is decoded by a unit of its own: the recorder's must not.

use serde_json::Value;

use crate::appliance::{Appliance, DECODE, Disk, FRAMERATE, NAME, OPERATOR, has_polkit, json};

/// What `Session.Check` says of a session.
fn check(appliance: &Appliance, session: &str) -> Value {
    let options = ["a{sv}", "1", "within_ms", "u", "60000"];
    let call =
        ["busctl", "--json=short", "--timeout=90", "call", NAME, session, "org.holdfast.Recorder1.Session", "Check"];
    let said = appliance.rig.run_as(OPERATOR, &[&call[..], &options].concat());
    assert!(said.ok(), "{}\n{}", said.err, appliance.rig.log(60));
    json(&said)["data"][0].clone()
}

#[test]
fn footage_is_decoded_by_a_unit_that_may_crash() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let session = appliance.start();
    appliance.safe_frames_more(FRAMERATE);
    let totals = appliance.stop();
    let found = check(&appliance, &session);
    assert_eq!(found["complete"]["data"], true, "{found:#}\n{}", rig.log(60));
    assert_eq!(found["pictures"]["data"].as_u64(), Some(totals.number("safe_frames")), "{found:#}");
    let file = &found["files"]["data"][0];
    assert_eq!(
        (file["fault"]["data"].as_str(), file["extent"]["data"].as_str()),
        (Some(""), Some("whole")),
        "{found:#}"
    );

    // A decoder that crashes hurts nobody, and is told.
    let script = format!(
        "mkdir -p /run/systemd/system/{DECODE}.d && \
                  printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"kill -SEGV $$$$\"\\n' \
                  > /run/systemd/system/{DECODE}.d/crash.conf && systemctl daemon-reload"
    );
    assert!(rig.run(&["sh", "-c", &script]).ok());
    let found = check(&appliance, &session);
    assert_eq!(found["complete"]["data"], false, "{found:#}");
    assert!(found["failure"]["data"].as_str().unwrap().contains("failed"), "{found:#}");
    assert_eq!(appliance.recorder("State"), "idle");
}
