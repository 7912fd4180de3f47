//! The panel as it is installed: its user, what it may reach, that it starts, and what becomes of it when it hangs.

use holdfast_aloud::skip;

use crate::appliance::{Appliance, Disk, SOON};

pub(crate) const PANEL: &str = "holdfast-panel.service";
const USER: &str = "holdfast-panel";

/// Until `holdfast-panel` is more than a stub, which says nothing when it is asked for its version.
fn works(appliance: &Appliance) -> bool {
    let there = appliance.rig.run(&["holdfast-panel", "--version"]).out.starts_with("holdfast-panel ");
    if !there {
        skip("holdfast-panel is a stub: that it starts, and is ended when it hangs, waits for the program");
    }
    there
}

/// Runs a shell command as the unit would run: the same user, sandbox and devices.
fn inside(appliance: &Appliance, command: &str) -> holdfast_systemd_tests::Output {
    let drop_in = format!(
        "[Service]\nType=oneshot\nRestart=no\nWatchdogSec=0\nExecStart=\nExecStart=/bin/sh -c '{command}'\nExecStopPost=\n\
         StandardOutput=file:/run/inside.out\n"
    );
    let directory = format!("/run/systemd/system/{PANEL}.d");
    let write = format!("mkdir -p {directory} && cat > {directory}/inside.conf << 'END'\n{drop_in}END\n");
    assert!(appliance.rig.run(&["sh", "-c", &write]).ok());
    assert!(appliance.rig.run(&["systemctl", "daemon-reload"]).ok());
    let mut ran = appliance.rig.run(&["systemctl", "start", PANEL]);
    ran.out = appliance.rig.run(&["cat", "/run/inside.out"]).out;
    assert!(
        appliance.rig.run(&["sh", "-c", &format!("rm -r {directory} /run/inside.out; systemctl daemon-reload")]).ok()
    );
    ran
}

#[test]
fn the_panel_reaches_its_devices_and_no_footage() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    let rig = &appliance.rig;
    let groups = rig.run(&["id", "--groups", "--name", USER]).out;
    for group in ["holdfast", "gpio", "input", "dialout", "i2c"] {
        assert!(groups.split(' ').any(|name| name == group), "{USER} is not in {group}: {groups}");
    }
    assert_eq!(rig.run(&["stat", "--format", "%a %U", "/etc/holdfast/panel.toml"]).out, "644 root");

    // The rig's own /sys is read-only, and it has no devices: what stands for them. Nothing is behind the two nodes, so that one
    // that may be opened says "No such device".
    let stands_in = "mount -t tmpfs -o mode=777 leds /sys/devices && mount -t tmpfs -o mode=777 kernel /sys/kernel && \
                     mknod -m 666 /run/key c 13 99 && mknod -m 666 /run/other c 242 0";
    assert!(rig.run(&["sh", "-c", stands_in]).ok());
    let said = inside(
        &appliance,
        "id -un; grep NoNewPrivs /proc/self/status; grep -c panel /etc/holdfast/panel.toml; \
         ls /var/lib/holdfast 2>&1; touch /etc/x 2>&1; touch /sys/kernel/x 2>&1; \
         touch /sys/devices/x && echo leds may be written; cat /run/key 2>&1; cat /run/other 2>&1; echo end",
    );
    assert!(said.ok(), "{}\n{}", said.err, rig.log(30));
    let has = |what: &str| assert!(said.out.contains(what), "{what:?} is not in:\n{}", said.out);
    has(USER);
    has("NoNewPrivs:\t1");
    has("'/var/lib/holdfast': Permission denied");
    has("'/etc/x': Read-only file system");
    has("'/sys/kernel/x': Read-only file system");
    has("leds may be written");
    has("/run/key: No such device");
    if said.out.contains("/run/other: No such device") {
        skip("this kernel lets units open any device: that the panel opens only its own is not tested here");
    } else {
        has("/run/other: Operation not permitted");
    }
}

/// What its group gives it, and no more: it controls recordings, and owns no name but its own.
#[test]
fn the_panel_controls_recordings_over_the_bus() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    let said = appliance.call_as(USER, "Mark", &["sa{sv}", "button", "0"]);
    // Asked, and refused for want of a recording: the bus let it through.
    assert!(!said.err.contains("AccessDenied") && !said.err.contains("ermission"), "{}", said.err);
    assert!(said.err.contains("record"), "{}", said.err);
}

#[test]
fn the_panel_starts_and_is_ended_when_it_hangs() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !works(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let started = rig.run(&["systemctl", "start", PANEL]);
    assert!(started.ok(), "{}\n{}", started.err, rig.log(40));
    assert_eq!(rig.property(PANEL, "ActiveState"), "active");
    let checked = rig.run(&["holdfast-panel", "--check"]);
    assert!(checked.ok() && checked.out.contains("no device"), "{}{}", checked.out, checked.err);
    // It listens nowhere.
    let pid = rig.property(PANEL, "MainPID");
    assert!(!rig.run(&["ss", "-Hltnp"]).out.contains(&format!("pid={pid},")));

    assert!(rig.run(&["kill", "-STOP", &pid]).ok());
    rig.until("the panel that hangs is ended, and another runs", SOON, || {
        let now = rig.property(PANEL, "MainPID");
        (now != pid && now != "0" && rig.property(PANEL, "ActiveState") == "active").then_some(())
    })
    .unwrap();
    assert_eq!(rig.property(PANEL, "NRestarts"), "1");

    // A wrong configuration is told once, and not tried again.
    assert!(rig.run(&["sh", "-c", "echo '[panel]\nhold_ms = 1' > /etc/holdfast/panel.toml"]).ok());
    let _ = rig.run(&["systemctl", "restart", PANEL]);
    rig.until("it has failed for good", SOON, || (rig.property(PANEL, "ActiveState") == "failed").then_some(()))
        .unwrap();
    assert_eq!(rig.property(PANEL, "ExecMainStatus"), "78", "{}", rig.log(40));
    assert!(rig.log(60).contains("hold_ms"), "{}", rig.log(60));
}

/// The kernel's LED class as the panel sees it, with one LED: files that keep what was written last.
const AN_LED: &str = "mount -t tmpfs devices /sys/devices && mount -t tmpfs class /sys/class && \
    mkdir -p /sys/devices/red /sys/class/leds && ln -s ../../devices/red /sys/class/leds/red && cd /sys/devices/red && \
    echo 255 > max_brightness && echo 0 > brightness && echo > trigger && echo 0 > delay_on && echo 0 > delay_off && \
    chgrp gpio brightness trigger delay_on delay_off && chmod g+w brightness trigger delay_on delay_off && \
    printf '%s\n' '[[device]]' 'name = \"board\"' 'kind = \"leds\"' '[[device.light]]' 'light = \"record\"' 'led = \"red\"' \
    > /etc/holdfast/panel.toml && mkdir -p /run/systemd/system/holdfast-panel.service.d && \
    printf '[Service]\nRestart=no\n' > /run/systemd/system/holdfast-panel.service.d/once.conf && systemctl daemon-reload";

#[test]
fn the_lights_of_a_panel_that_dies_are_left_in_fault() {
    let Some(appliance) = Appliance::boot(Disk::Memory) else {
        return;
    };
    if !works(&appliance) {
        return;
    }
    let rig = &appliance.rig;
    let prepared = rig.run(&["sh", "-c", AN_LED]);
    assert!(prepared.ok(), "{}", prepared.err);
    let led = |file: &str| rig.run(&["cat", &format!("/sys/devices/red/{file}")]).out;
    for how in ["KILL", "TERM", "STOP"] {
        let trigger = |text: &str| {
            assert!(rig.run(&["sh", "-c", &format!("echo '{text}' > /sys/devices/red/trigger")]).ok());
        };
        trigger("none timer [mmc0]");
        let started = rig.run(&["systemctl", "start", PANEL]);
        assert!(started.ok(), "{}\n{}", started.err, rig.log(40));
        rig.until("the panel has the LED", SOON, || (led("trigger") == "none").then_some(())).unwrap();
        // As the kernel tells it then.
        trigger("[none] timer mmc0");
        assert!(rig.run(&["kill", "-s", how, &rig.property(PANEL, "MainPID")]).ok());
        let gone = || matches!(rig.property(PANEL, "ActiveState").as_str(), "failed" | "inactive").then_some(());
        rig.until("the panel is gone", SOON, gone).unwrap();
        // It blinks by the kernel's own timer: nobody has to be there.
        assert_eq!(led("trigger"), "timer", "after SIG{how}\n{}", rig.log(40));
        // It may have ended well.
        let _ = rig.run(&["systemctl", "reset-failed", PANEL]);
    }
}
