//! The shell of the image class, run without BitBake: `bitbake -n` runs no task, and a build takes hours.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::layer;

/// What the class takes from BitBake, in a small world of its own.
fn variables(work: &Path, dtbs: &str, slot_mib: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| work.join(name).display().to_string();
    vec![
        ("IMGDEPLOYDIR", path("images")),
        ("DEPLOY_DIR_IMAGE", path("deploy")),
        ("WORKDIR", path("work")),
        ("IMAGE_NAME", "image".into()),
        ("IMAGE_LINK_NAME", "link".into()),
        ("MACHINE", "board".into()),
        ("DISTRO_VERSION", "1.2.3".into()),
        ("SOURCE_DATE_EPOCH", "1700000000".into()),
        ("HOLDFAST_INITRD", "initrd".into()),
        ("HOLDFAST_BOOT_MIB", "1".into()),
        ("HOLDFAST_SLOT_MIB", slot_mib.into()),
        ("HOLDFAST_FIT_DTBS", dtbs.into()),
        ("HOLDFAST_FIT_LOADADDRESS", "0x48000000".into()),
        ("UBOOT_ARCH", "arm64".into()),
        ("UBOOT_SIGN_ENABLE", "1".into()),
        ("UBOOT_SIGN_KEYDIR", path("keys")),
        ("UBOOT_SIGN_KEYNAME", "signer".into()),
    ]
}

/// The functions of a class as a script that ends with a call of each that makes an image.
fn script(class: &str, variables: &[(&str, String)]) -> String {
    let mut text = "set -e\nbbfatal() { echo \"FATAL: $*\" >&2; exit 1; }\n".to_owned();
    let mut inside = false;
    for line in class.lines() {
        if let Some(name) = line.strip_suffix(" () {") {
            inside = true;
            text += &format!("{} () {{\n", name.replace("IMAGE_CMD:", "make_"));
        } else if inside {
            inside = line != "}";
            let line = variables.iter().fold(line.replace("uboot-mkimage", "mkimage"), |line, (name, value)| {
                line.replace(&format!("${{{name}}}"), value)
            });
            text += &format!("{line}\n");
        }
    }
    text + "make_verity\nmake_slot\n"
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// A slot image of small parts: `dtbs` of the FIT, `slot_mib` large at most.
fn make(work: &Path, dtbs: &str, slot_mib: &str) -> Output {
    for name in ["images", "deploy", "work", "root", "initrd", "keys"] {
        fs::create_dir_all(work.join(name)).unwrap();
    }
    fs::write(work.join("root/file"), "footage\n".repeat(10_000)).unwrap();
    fs::write(work.join("initrd/init"), "#!/bin/sh\n").unwrap();
    fs::write(work.join("deploy/Image"), [0; 4096]).unwrap();
    for dtb in dtbs.split_whitespace() {
        fs::write(work.join("deploy").join(dtb), "a device tree").unwrap();
    }
    let squashfs = work.join("images/image.squashfs-zst");
    run(Command::new("mksquashfs").arg(work.join("root")).arg(&squashfs).args([
        "-quiet",
        "-no-progress",
        "-noappend",
        "-comp",
        "zstd",
    ]));
    let initrd = "find . | cpio --quiet -o -H newc | gzip -n >../deploy/initrd-board.cpio.gz";
    run(Command::new("sh").args(["-c", initrd]).current_dir(work.join("initrd")));
    let key = [
        "req",
        "-batch",
        "-x509",
        "-newkey",
        "rsa:4096",
        "-nodes",
        "-subj",
        "/CN=signer",
        "-keyout",
        "signer.key",
        "-out",
        "signer.crt",
    ];
    run(Command::new("openssl").args(key).current_dir(work.join("keys")));
    let class = fs::read_to_string(layer().join("classes-recipe/holdfast_slot.bbclass")).unwrap();
    let script = script(&class, &variables(work, dtbs, slot_mib));
    let left = script.find("${").filter(|at| script[at + 2..].starts_with(|c: char| c.is_ascii_uppercase()));
    assert!(left.is_none(), "BitBake's {:?} is not known here", &script[left.unwrap_or_default()..][..40]);
    Command::new("sh").args(["-c", &script]).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap()
}

fn can_run() -> bool {
    let missing: Vec<&str> = ["mksquashfs", "veritysetup", "mkimage", "dumpimage", "cpio", "openssl"]
        .into_iter()
        .filter(|program| !has(program))
        .collect();
    if !missing.is_empty() {
        eprintln!("SKIPPED: the image of a slot, for there is no {}", missing.join(", no "));
    }
    missing.is_empty()
}

#[test]
fn a_slot_is_a_signed_fit_and_the_root_that_its_initrd_asks_for() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path();
    let output = make(work, "one.dtb two.dtb", "8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let slot = work.join("images/image.slot");

    let shown = run(Command::new("dumpimage").arg("-l").arg(&slot));
    let shown = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.contains("Default Configuration: 'conf-one.dtb'"), "{shown}");
    assert!(shown.contains("FDT:          fdt-two.dtb"), "{shown}");
    assert_eq!(shown.matches("Sign algo:    sha256,rsa4096:signer").count(), 2, "{shown}");
    assert!(!shown.contains("Sign value:   unavailable"), "{shown}");

    // What the initrd would read.
    run(Command::new("dumpimage").args(["-T", "flat_dt", "-p", "1", "-o"]).arg(work.join("ramdisk")).arg(&slot));
    let size = fs::metadata(work.join("deploy/initrd-board.cpio.gz")).unwrap().len();
    let read = format!("tail -c +{} ramdisk | gzip -dc | cpio --quiet -i --to-stdout etc/verity", size + 1);
    let verity = run(Command::new("sh").args(["-c", &read]).current_dir(work));
    let verity = String::from_utf8(verity.stdout).unwrap();
    let value = |name: &str| {
        let line = verity.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim_start_matches('='));
        line.unwrap_or_else(|| unreachable!("{name} in {verity}")).to_owned()
    };
    let number = |name: &str| value(name).parse::<usize>().unwrap();
    assert_eq!(number("ROOT_OFFSET"), 1 << 20);
    let bytes = fs::read(&slot).unwrap();
    let root = work.join("root.img");
    fs::write(&root, &bytes[number("ROOT_OFFSET")..][..number("ROOT_BYTES")]).unwrap();
    assert_eq!(bytes.len(), number("ROOT_OFFSET") + number("ROOT_BYTES"));
    let verify = |root: &Path| {
        let mut command = Command::new("veritysetup");
        command
            .arg("verify")
            .arg(root)
            .arg(root)
            .arg(value("ROOT_HASH"))
            .arg(format!("--hash-offset={}", value("HASH_OFFSET")));
        command.output().unwrap().status.success()
    };
    assert!(verify(&root));
    // One bit.
    let mut damaged = fs::read(&root).unwrap();
    damaged[100] ^= 1;
    fs::write(&root, damaged).unwrap();
    assert!(!verify(&root));
}

#[test]
fn a_board_whose_firmware_has_the_device_tree_gets_a_fit_without_one() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = make(directory.path(), "", "8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = run(Command::new("dumpimage").arg("-l").arg(directory.path().join("images/image.slot")));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("Default Configuration: 'conf-none'") && !shown.contains("FDT:"), "{shown}");
}

#[test]
fn a_system_that_does_not_fit_is_told_before_it_is_flashed() {
    if !can_run() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = make(directory.path(), "", "1");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("HOLDFAST_SLOT_MIB (1)") && said.contains("smaller"), "{said}");
}
