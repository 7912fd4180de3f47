//! A call can be followed through the journal, and a box that records is not shut down by mistake.

use serde_json::Value;

use crate::appliance::{Appliance, CAPTURE, Disk, OPERATOR, RECORDER, SOON, has_polkit, json};

const TRACE: &str = "00000000c0ffee01";
const STOP_TRACE: &str = "00000000c0ffee02";

#[test]
fn a_call_can_be_followed_and_the_box_is_kept_awake() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let started = rig.run(&["systemctl", "start", "systemd-logind.service"]);
    let has_logind = started.ok();
    if !has_logind {
        holdfast_aloud::skip(format_args!(
            "systemd-logind does not start in this rig, so no inhibitor is tested: {}",
            started.err
        ));
    }

    let start = ["a{sv}", "2", "wait_ms", "u", "20000", "trace", "s", "c0ffee01"];
    let said = appliance.call_as(OPERATOR, "Start", &start);
    assert!(said.ok(), "{}\n{}", said.err, rig.log(60));
    appliance.safe_frames_more(1);
    if has_logind {
        let held = || inhibitor(&appliance);
        let entry = rig.until("the inhibitor is held", SOON, held).unwrap();
        let user = rig.run(&["id", "--user", "holdfast"]).out;
        assert_eq!((entry[0].as_str(), entry[3].as_str()), (Some("shutdown:sleep"), Some("block")), "{entry}");
        assert_eq!(entry[4].to_string(), user, "{entry}");
        assert!(entry[2].as_str().is_some_and(|why| why.contains("is being recorded")), "{entry}");
    }
    let said = appliance.call_as(OPERATOR, "Stop", &["a{sv}", "1", "trace", "s", STOP_TRACE]);
    assert!(said.ok(), "{}", said.err);
    if has_logind {
        rig.until("the inhibitor is released", SOON, || inhibitor(&appliance).is_none().then_some(())).unwrap();
    }

    for (trace, beginning, ending) in
        [(TRACE, "session begins", "recording begins"), (STOP_TRACE, "Stop", "recording ended")]
    {
        let entries = || -> Vec<Value> {
            let asked = format!("HOLDFAST_TRACE={trace}");
            let said = rig.run(&["journalctl", "--quiet", "--no-pager", "--output=json", &asked]);
            said.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let says = |unit: &str, words: &str| {
            let of = |entry: &Value| {
                entry["_SYSTEMD_UNIT"] == unit && entry["MESSAGE"].as_str().is_some_and(|text| text.starts_with(words))
            };
            entries().into_iter().find(of)
        };
        rig.until("the recorder's word on the call", SOON, || says(RECORDER, beginning)).unwrap();
        let entry = rig.until("the capture's word on the call", SOON, || says(CAPTURE, ending)).unwrap();
        // Without the capture having to say so each time.
        assert_eq!(entry["HOLDFAST_INPUT"], "test", "{entry:#}");
        assert!(entry["HOLDFAST_SESSION"].as_str().is_some_and(|session| session.contains('T')), "{entry:#}");
    }
}

/// Ours among those that logind knows: what, who, why, mode, uid, pid.
fn inhibitor(appliance: &Appliance) -> Option<Value> {
    let manager = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"];
    let call = ["busctl", "--json=short", "call"];
    let said = appliance.rig.run(&[&call[..], &manager, &["ListInhibitors"]].concat());
    assert!(said.ok(), "{}", said.err);
    let all = json(&said);
    all["data"][0].as_array().unwrap().iter().find(|entry| entry[1] == "Holdfast").cloned()
}
