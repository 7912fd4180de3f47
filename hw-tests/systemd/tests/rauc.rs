//! RAUC as a board has it: the distribution's unit with our drop-in, under a real systemd.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use holdfast_bundle::{Authority, Format, Image, Recipe, Tools, Validity, make, write_keyring};
use holdfast_systemd_tests::{Rig, possible};

/// For what takes a second on an idle machine.
const SOON: Duration = Duration::from_secs(90);
const UNIT: &str = "rauc.service";
/// What RAUC may write, and so where this box has its slots and its boot loader's state.
const STATE: &str = "/var/lib/holdfast/rauc";

const SYSTEM_CONF: &str = "[system]
compatible=rig
bootloader=custom
activate-installed=false
data-directory=/var/lib/holdfast/rauc
mountprefix=/run/rauc/mnt
[keyring]
path=/etc/rauc/keyring.pem
check-crl=true
check-purpose=codesign
[handlers]
bootloader-custom-backend=/usr/lib/rig/backend
pre-install=/usr/lib/rig/gate
[slot.rootfs.0]
device=/var/lib/holdfast/rauc/slot.A
type=raw
bootname=A
[slot.rootfs.1]
device=/var/lib/holdfast/rauc/slot.B
type=raw
bootname=B
";

const BACKEND: &str = "#!/bin/sh
cd /var/lib/holdfast/rauc || exit 1
case \"$1\" in
    get-primary) echo A ;;
    get-state) cat \"state.$2\" 2>/dev/null || echo good ;;
    set-state) echo \"$3\" > \"state.$2\" ;;
    set-primary) : ;;
    get-current) echo A ;;
esac
";

/// Runs when the bundle is mounted and no slot is touched yet.
const GATE: &str = "#!/bin/sh
cd /var/lib/holdfast/rauc || exit 1
[ ! -e hold ] || : > held
while [ -e hold ]; do sleep 0.02; done
";

/// A box with RAUC; `None`, aloud, where there can be none.
fn boot(directory: &Path) -> Option<Rig> {
    if !possible() {
        return None;
    }
    let missing = [
        "/usr/bin/rauc",
        "/usr/bin/mksquashfs",
        "/usr/bin/openssl",
        "/lib/systemd/system/rauc.service",
        "/dev/loop-control",
    ]
    .into_iter()
    .find(|path| !Path::new(path).exists());
    if let Some(missing) = missing {
        holdfast_aloud::skip(format_args!("{missing} is missing: RAUC's unit is not tested here"));
        return None;
    }
    let tree = directory.join("tree");
    let put = |path: &str, bytes: &[u8], mode| {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (from, to) in [
        ("ota/board/rauc.conf", "rauc.service.d/50-holdfast.conf"),
        ("apps/recorder/systemd/holdfast.slice", "holdfast.slice"),
        ("apps/recorder/systemd/holdfast-background.slice", "holdfast-background.slice"),
    ] {
        put(&format!("usr/lib/systemd/system/{to}"), &fs::read(repository.join(from)).unwrap(), 0o644);
    }
    // What the kernel's command line says on a box.
    let booted = "[Service]\nExecStart=\nExecStart=/usr/bin/rauc service --override-boot-slot=A\n";
    put("usr/lib/systemd/system/rauc.service.d/90-rig.conf", booted.as_bytes(), 0o644);
    // The machine's kernel is left as it is.
    fs::create_dir_all(tree.join("etc/systemd/system")).unwrap();
    std::os::unix::fs::symlink("/dev/null", tree.join("etc/systemd/system/modprobe@.service")).unwrap();
    put("etc/rauc/system.conf", SYSTEM_CONF.as_bytes(), 0o644);
    put("usr/lib/rig/backend", BACKEND.as_bytes(), 0o755);
    put("usr/lib/rig/gate", GATE.as_bytes(), 0o755);

    let tools = Tools::default();
    let root = Authority::make(&tools, &directory.join("keys"), "rig").unwrap();
    let signer = root.issue("signer", Validity::Days(365)).unwrap();
    write_keyring(&[&root.certificate(), &root.list_revoked().unwrap()], &tree.join("etc/rauc/keyring.pem")).unwrap();
    let image = directory.join("rootfs.img");
    let noise: Vec<u8> = (0..1_u32 << 20).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(&image, &noise).unwrap();
    // This kernel may have no device mapper; what is tested is the same with a verity bundle.
    let recipe = Recipe {
        compatible: "rig".into(),
        version: "1.0.0".into(),
        format: Format::Plain,
        images: vec![Image { class: "rootfs".into(), file: image, adaptive: false }],
    };
    let bundle = directory.join("good.raucb");
    make(&tools, &recipe, &signer, None, &bundle).unwrap();
    put("opt/good.raucb", &fs::read(bundle).unwrap(), 0o644);
    put("opt/rootfs.img", &noise, 0o644);

    let rig = Rig::boot(&[&tree], None).unwrap();
    let nodes = "mknod /dev/loop-control c 10 237; for n in $(seq 0 255); do mknod /dev/loop$n b 7 $n; done";
    let made = rig.run(&["sh", "-ec", nodes]);
    assert!(made.ok(), "{}", made.err);
    let made = rig.run(&["systemctl", "start", UNIT]);
    assert!(made.ok(), "{}\n{}", made.err, rig.log(40));
    for slot in ["A", "B"] {
        assert!(rig.run(&["truncate", "--size=2M", &format!("{STATE}/slot.{slot}")]).ok());
    }
    Some(rig)
}

/// Loop devices that hold the bundle, on the whole machine.
fn loops(rig: &Rig) -> String {
    rig.run(&["sh", "-c", "grep -l /opt/good.raucb /sys/block/loop*/loop/backing_file 2>/dev/null; true"]).out
}

#[test]
fn a_rauc_that_is_killed_in_the_middle_leaves_nothing_in_the_way_of_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let Some(rig) = boot(directory.path()) else { return };
    assert!(rig.run(&["touch", &format!("{STATE}/hold")]).ok());
    let install = ["rauc", "install", "/opt/good.raucb"];
    let begun = rig.run(&["systemd-run", "--unit=install", install[0], install[1], install[2]]);
    assert!(begun.ok(), "{}", begun.err);
    let held = || rig.run(&["test", "-e", &format!("{STATE}/held")]).ok().then_some(());
    rig.until("the bundle is mounted", SOON, held).unwrap();
    let pid = rig.property(UNIT, "MainPID");
    let mounts = rig.run(&["cat", &format!("/proc/{pid}/mountinfo")]).out;
    assert!(mounts.contains(" /run/rauc/mnt/bundle "), "{mounts}");
    assert_ne!(loops(&rig), "", "no loop device has the bundle");
    // Nobody else sees it.
    assert!(!rig.run(&["cat", "/proc/1/mountinfo"]).out.contains("/run/rauc/mnt/bundle"));

    assert!(rig.run(&["kill", "-KILL", &pid]).ok());
    let is_down = || (rig.property(UNIT, "ActiveState") == "failed").then_some(());
    rig.until("systemd has seen it", SOON, is_down).unwrap();
    rig.until("the loop device is free", SOON, || loops(&rig).is_empty().then_some(())).unwrap();

    assert!(rig.run(&["rm", &format!("{STATE}/hold")]).ok());
    let installed = rig.run(&install);
    assert!(installed.ok(), "{}\n{}\n{}", installed.out, installed.err, rig.log(60));
    let compared = rig.run(&["cmp", "--bytes=1048576", &format!("{STATE}/slot.B"), "/opt/rootfs.img"]);
    assert!(compared.ok(), "{}", compared.out);
    assert_eq!(loops(&rig), "");
}

#[test]
fn it_is_held_in_check_and_can_do_its_work() {
    let directory = tempfile::tempdir().unwrap();
    let Some(rig) = boot(directory.path()) else { return };
    let verified = rig.run(&["systemd-analyze", "verify", "--man=no", UNIT]);
    assert!(verified.ok() && verified.err.is_empty(), "{}", verified.err);
    assert!(rig.property(UNIT, "After").contains("modprobe@dm_mod.service"));
    for (property, expected) in [
        ("Slice", "holdfast-background.slice"),
        ("Nice", "19"),
        ("IOSchedulingClass", "3"),
        ("PrivateMounts", "yes"),
        ("IOAccounting", "yes"),
        ("NoNewPrivileges", "yes"),
    ] {
        assert_eq!(rig.property(UNIT, property), expected, "{property}");
    }
    let installed = rig.run(&["rauc", "install", "/opt/good.raucb"]);
    assert!(installed.ok(), "{}\n{}\n{}", installed.out, installed.err, rig.log(60));
    let group = rig.property(UNIT, "ControlGroup");
    assert!(group.ends_with("/holdfast-background.slice/rauc.service"), "{group}");
    // What it is frozen and throttled by.
    if rig.controllers().iter().any(|controller| controller == "io") {
        assert!(rig.run(&["test", "-e", &format!("/sys/fs/cgroup{group}/io.weight")]).ok());
    } else {
        holdfast_aloud::skip(
            "this machine gives its groups no io controller: only what systemd understood is looked at",
        );
    }
    assert!(rig.run(&["test", "-e", &format!("/sys/fs/cgroup{group}/cgroup.freeze")]).ok());
    // As root it could write all of this.
    let pid = rig.property(UNIT, "MainPID");
    for path in ["/usr/lib", "/etc", "/opt", "/var/lib"] {
        let file = format!("{path}/rauc-was-here");
        let written = rig.run(&["nsenter", &format!("--target={pid}"), "--mount", "touch", &file]);
        assert!(!written.ok() && written.err.contains("Read-only"), "{path}: {}", written.err);
    }
    let said = rig.run(&["systemd-analyze", "security", "--no-pager", "--offline=true", UNIT]);
    let line = said.out.lines().last().unwrap_or_default();
    holdfast_aloud::say(line);
    let exposure = line.split_whitespace().find_map(|word| word.parse::<f32>().ok());
    // 9.6 as it ships (systemd 252).
    assert!(exposure.is_some_and(|exposure| exposure <= 5.0), "{}", said.out);
}
