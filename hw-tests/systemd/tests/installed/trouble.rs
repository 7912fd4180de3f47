//! What systemd refuses is told with what to do about it, and recording begins by itself once that is done.

use std::time::Duration;

use crate::appliance::{Appliance, CAPTURE, Disk, SOON, has_polkit};

/// Sooner than the recorder's patience with a capture that starts but does not listen, which is 15 s.
const AT_ONCE: Duration = Duration::from_secs(8);

/// Begins a session that can't record yet.
fn begin(appliance: &Appliance) {
    let said = appliance.call_as("operator", "Start", &["a{sv}", "0"]);
    assert!(said.ok(), "{}\n{}", said.err, appliance.rig.log(60));
}

fn told(appliance: &Appliance, words: &[&str]) {
    let error = || appliance.input("SourceError").as_str().map(str::to_owned);
    let all = |error: &String| words.iter().all(|word| error.contains(word));
    let what = format!("the input's error names {words:?}, and not {:?}", error());
    appliance.rig.until(&what, AT_ONCE, || error().filter(all)).unwrap();
}

fn records(appliance: &Appliance) {
    let recording = || (appliance.recorder("State") == "recording").then_some(());
    appliance.rig.until("the session records", SOON, recording).unwrap();
    assert_eq!(appliance.input("SourceError"), "");
}

#[test]
fn a_unit_that_cannot_start_is_told_at_once_and_tried_again() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let break_it = "mkdir -p /run/systemd/system/holdfast-capture@.service.d && \
                    printf '[Service]\\nGroup=there-is-none\\n' > /run/systemd/system/holdfast-capture@.service.d/broken.conf && \
                    systemctl daemon-reload";
    assert!(rig.run(&["sh", "-c", break_it]).ok());
    begin(&appliance);
    told(&appliance, &["exit-code", "status 216"]);

    let mend_it = "rm -r /run/systemd/system/holdfast-capture@.service.d && systemctl daemon-reload";
    assert!(rig.run(&["sh", "-c", mend_it]).ok());
    records(&appliance);
}

#[test]
fn without_polkit_the_error_says_what_to_install() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    // As if it were not installed: nobody knows its bus name.
    let activation = "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service";
    assert!(rig.run(&["mv", activation, "/run/kept"]).ok());
    begin(&appliance);
    told(&appliance, &[CAPTURE, "polkit", "install it"]);

    assert!(rig.run(&["mv", "/run/kept", activation]).ok());
    assert!(rig.run(&["systemctl", "reload", "dbus.service"]).ok());
    records(&appliance);
}

#[test]
fn without_the_rule_the_error_names_it() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !has_polkit(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let rule = "/usr/share/polkit-1/rules.d/org.holdfast.rules";
    assert!(rig.run(&["mv", rule, "/run/kept"]).ok());
    begin(&appliance);
    told(&appliance, &[CAPTURE, "org.holdfast.rules"]);

    assert!(rig.run(&["mv", "/run/kept", rule]).ok());
    records(&appliance);
}
