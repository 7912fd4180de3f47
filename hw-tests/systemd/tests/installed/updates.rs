//! The updater as it is installed, with Debian's RAUC as it is installed: hardened units, the real bus policy, RAUC held still by its
//! control group, a reboot through systemd-logind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_aloud::skip;
use holdfast_rauc_rig::Layout;

use crate::appliance::{Appliance, Disk, FRAMERATE, OPERATOR, ROOT, has_polkit, json};

const UPDATER: &str = "holdfast-updater.service";
const RAUC: &str = "rauc.service";
const NAME: &str = "org.holdfast.Updater1";
const PATH: &str = "/org/holdfast/Updater1";
/// Where RAUC's slots, keys and boot state are in the rig; outside it they are on the disk.
const AT: &str = "/var/lib/rig-rauc";
/// An installation, a proof, a way down: on a busy machine, too.
const PATIENCE: Duration = Duration::from_secs(90);

/// A box with two slots, on a disk that outlives it.
struct Site {
    disk: tempfile::TempDir,
    tree: tempfile::TempDir,
    bundle: PathBuf,
}

impl Site {
    /// `None`, aloud, where RAUC is not installed or could not install.
    fn make() -> Option<Self> {
        if !Path::new("/lib/systemd/system/rauc.service").exists() {
            skip(
                "RAUC's service is not installed (the package rauc-service): the updater under systemd is not tested here",
            );
            return None;
        }
        let (disk, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["footage", "rauc", "updater", "state"] {
            fs::create_dir(disk.path().join(name)).unwrap();
        }
        let layout = Layout::make(&disk.path().join("rauc"), Path::new(AT))?;
        let bundle = layout.bundle("2.0");
        let put = |path: &str, text: String| {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "etc/fstab",
            format!(
                "/run/host/disk/footage {ROOT} none bind\n/run/host/disk/rauc {AT} none bind\n\
                 /run/host/disk/updater /var/lib/holdfast-updater none bind\n"
            ),
        );
        put("etc/holdfast/updater.toml.d/rig.toml", "[update]\ntrial_seconds = 60\nprobe_seconds = 1\n".to_owned());
        // A box that is not pressed, however busy the machine is that these tests run on.
        put("var/lib/calm/nothing", String::new());
        put(
            "etc/systemd/system/holdfast-recorder.service.d/calm.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/holdfast-recorder --proc /var/lib/calm\n".to_owned(),
        );
        // A rig has a boot id of its own, but what a unit with a mount namespace finds under /proc is the machine's.
        put(
            "etc/systemd/system/holdfast-updater.service.d/boot.conf",
            "[Service]\nExecStart=\nExecStart=/usr/bin/holdfast-updater --boot-id /run/boot_id\n".to_owned(),
        );
        // What a box's kernel command line says.
        put(
            "etc/systemd/system/rauc.service.d/rig.conf",
            format!(
                "[Service]\nExecStart=\nExecStart=/bin/sh -c 'exec /usr/bin/rauc --conf={AT}/system.conf --mount=/run/rauc service \
                 --override-boot-slot=$$(cat {AT}/current)'\n"
            ),
        );
        Some(Self { bundle: Path::new(AT).join(bundle.file_name().unwrap()), disk, tree })
    }

    fn boot(&self) -> Option<Appliance> {
        let appliance = Appliance::boot_with(Disk::Directory(self.disk.path()), &[self.tree.path()])?;
        if !has_polkit(&appliance) {
            return None;
        }
        // RAUC mounts a bundle by a loop device, of those of the machine around.
        let nodes = "mknod /dev/loop-control c 10 237; n=0; while [ $n -lt 256 ]; do mknod /dev/loop$n b 7 $n; n=$((n+1)); done";
        assert!(appliance.rig.run(&["sh", "-c", nodes]).ok());
        assert!(appliance.rig.run(&["cp", "/proc/sys/kernel/random/boot_id", "/run/boot_id"]).ok());
        // As an image with two slots has it.
        let started = appliance.rig.run(&["systemctl", "start", UPDATER]);
        assert!(started.ok(), "{}\n{}", started.err, appliance.rig.log(80));
        Some(appliance)
    }

    /// A file of the boot state, or of the gate before an installation.
    fn at(&self, name: &str) -> PathBuf {
        self.disk.path().join("rauc").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap().trim().to_owned()
    }
}

fn updater(appliance: &Appliance, property: &str) -> serde_json::Value {
    let said = appliance.rig.run_as("nobody", &["busctl", "--json=short", "get-property", NAME, PATH, NAME, property]);
    // Between two updaters nobody answers.
    if said.ok() { json(&said)["data"].clone() } else { serde_json::Value::Null }
}

fn until_state(appliance: &Appliance, wanted: &[&str]) {
    let state = || updater(appliance, "State").as_str().filter(|state| wanted.contains(state)).map(str::to_owned);
    appliance.rig.until(&format!("the updater is {wanted:?}"), PATIENCE, state).unwrap();
}

/// What the kernel says of RAUC's control group: whether all of it stands still.
fn stands_still(appliance: &Appliance) -> bool {
    let events = appliance.rig.run(&["cat", "/sys/fs/cgroup/system.slice/rauc.service/cgroup.events"]).out;
    events.lines().any(|line| line == "frozen 1")
}

#[test]
fn an_update_of_an_installed_box_from_the_command_line_to_the_proof() {
    let Some(site) = Site::make() else { return };
    let Some(mut appliance) = site.boot() else { return };
    let rig = &appliance.rig;
    assert_eq!(rig.property(UPDATER, "ActiveState"), "active");
    assert_eq!(rig.property(RAUC, "ActiveState"), "active", "the updater wants it");
    assert_eq!(updater(&appliance, "BootedSlot"), "A", "{}", rig.log(60));

    // Reading is for all, control for the group.
    let call = ["busctl", "call", NAME, PATH, NAME];
    // RAUC wants to know what a bundle lies on, and finds neither an overlay's device nor that of the machine around. It is its
    // owner's alone: the updater, which is not above permissions, leaves it to RAUC, which is.
    let bundle = "/run/own/2.0.raucb";
    let own = format!(
        "install -d -m 700 -o {OPERATOR} /run/own && install -m 600 -o {OPERATOR} {} {bundle}",
        site.bundle.display()
    );
    assert!(rig.run(&["sh", "-c", &own]).ok());
    for words in [&["Install", "sa{sv}", bundle, "0"][..], &["Cancel", "a{sv}", "0"], &["Rollback", "a{sv}", "0"]] {
        let said = rig.run_as("nobody", &[&call[..], words].concat());
        assert!(!said.ok() && said.err.contains("Access denied"), "{words:?}: {said:?}");
    }
    assert!(rig.run_as("nobody", &[&call[..], &["ListOutcomes", "a{sv}", "0"]].concat()).ok());
    // A person of the group asks for it; the command stays until there is an end.
    fs::write(site.at("hold"), "").unwrap();
    let install = format!("holdfast update install {bundle} > /tmp/said 2>&1 &");
    assert!(rig.run_as(OPERATOR, &["sh", "-c", &install]).ok());
    let at_it = rig.until("RAUC to be at it", PATIENCE, || {
        (site.at("held").exists() || rig.run(&["cat", "/tmp/said"]).out.contains("failed")).then_some(())
    });
    let said = rig.run(&["cat", "/tmp/said"]).out;
    assert!(at_it.is_ok() && site.at("held").exists(), "{said}\n{}", rig.log(80));
    until_state(&appliance, &["installing"]);

    // A recording begins: RAUC stands still with all its helpers, and the slot stays as it is.
    let before = fs::read(site.at("slot.B")).unwrap();
    appliance.start();
    rig.until("RAUC's control group stands still", PATIENCE, || stands_still(&appliance).then_some(())).unwrap();
    assert_eq!(updater(&appliance, "Frozen"), true);
    fs::remove_file(site.at("hold")).unwrap();
    appliance.safe_frames_more(FRAMERATE);
    // The updater is killed. systemd starts it again, and it goes on from what it had written down.
    let pid = rig.property(UPDATER, "MainPID");
    assert!(rig.run(&["systemctl", "kill", "--signal=KILL", UPDATER]).ok());
    let another = || {
        let now = rig.property(UPDATER, "MainPID");
        (now != pid && now != "0" && updater(&appliance, "State") == "installing").then_some(())
    };
    rig.until("another updater", PATIENCE, another).unwrap();
    appliance.safe_frames_more(FRAMERATE);
    assert!(stands_still(&appliance), "{}", rig.log(60));
    assert!(fs::read(site.at("slot.B")).unwrap() == before, "written beside a recording");
    let totals = appliance.stop();
    assert_eq!((totals.number("lost_frames"), totals.number("gaps")), (0, 0), "{totals:?}");

    // It goes on, and the box reboots through systemd-logind: systemd goes down in order.
    let boot = rig.run(&["cat", "/proc/sys/kernel/random/boot_id"]).out;
    let down = appliance.rig.until_down(PATIENCE);
    assert!(down.is_ok(), "{down:?}\n{}\n{}", appliance.rig.log(80), appliance.rig.run(&["cat", "/tmp/said"]).out);
    drop(appliance);
    assert_eq!(site.read("primary"), "B");
    assert!(fs::read(site.at("slot.B")).unwrap() != before);
    fs::write(site.at("current"), site.read("primary")).unwrap();

    // The new system proves itself by a real recording, and is marked good.
    let appliance = site.boot().unwrap();
    assert_ne!(appliance.rig.run(&["cat", "/proc/sys/kernel/random/boot_id"]).out, boot);
    until_state(&appliance, &["idle"]);
    assert_eq!(updater(&appliance, "BootedSlot"), "B");
    let history = appliance.rig.run_as(OPERATOR, &["holdfast", "update", "history"]);
    assert!(history.ok() && history.out.contains("2.0") && history.out.contains("good"), "{history:?}");
    assert_eq!(site.read("state.B"), "good");
}
