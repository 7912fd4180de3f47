//! `ota/system.conf`: what all boards have in common, and what may differ.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use configparser::ini::Ini;

const BOARDS: [&str; 3] = ["jetson", "rk3588", "virtual"];

fn path(board: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../system.conf/{board}.conf"))
}

/// `section.key` → value.
fn read(board: &str) -> BTreeMap<String, String> {
    let mut ini = Ini::new_cs();
    ini.set_inline_comment_symbols(Some(&[]));
    ini.set_multiline(false);
    ini.load(path(board)).unwrap();
    let mut lines = BTreeMap::new();
    for (section, keys) in ini.get_map_ref() {
        for (key, value) in keys {
            lines.insert(format!("{section}.{key}"), value.clone().unwrap_or_default());
        }
    }
    lines
}

#[test]
fn the_common_lines_are_common() {
    for board in BOARDS {
        let conf = read(board);
        let get = |key: &str| conf.get(key).map(String::as_str);
        for (key, value) in [
            ("system.compatible", format!("holdfast-{board}").as_str()),
            ("system.bundle-formats", "-plain"),
            ("system.activate-installed", "false"),
            ("system.data-directory", "/var/lib/holdfast/rauc"),
            ("system.mountprefix", "/run/rauc/mnt"),
            ("keyring.path", "/etc/rauc/keyring.pem"),
            ("keyring.check-crl", "true"),
            ("keyring.check-purpose", "codesign"),
            ("slot.rootfs.0.type", "raw"),
            ("slot.rootfs.1.type", "raw"),
            ("slot.rootfs.0.bootname", "A"),
            ("slot.rootfs.1.bootname", "B"),
        ] {
            assert_eq!(get(key), Some(value), "{board}: {key}");
        }
        assert_ne!(get("slot.rootfs.0.device"), get("slot.rootfs.1.device"), "{board}");
        // Streaming ignores it, a fetching RAUC would stumble over it; time is checked; nothing but ours is trusted.
        for key in [
            "system.max-bundle-download-size",
            // It would mark bad what people roll back to.
            "system.prevent-late-fallback",
            "keyring.use-bundle-signing-time",
            "keyring.allow-partial-chain",
            "keyring.directory",
            "system.statusfile",
        ] {
            assert_eq!(get(key), None, "{board}: {key}");
        }
    }
}

#[test]
fn each_board_has_its_boot_loader() {
    for board in ["rk3588", "virtual"] {
        let conf = read(board);
        assert_eq!(conf["system.bootloader"], "uboot");
        for key in ["system.boot-attempts", "system.boot-attempts-primary"] {
            // RAUC writes it in hexadecimal, U-Boot reads decimal.
            assert!((1..=9).contains(&conf[key].parse::<u32>().unwrap()), "{board}: {key}");
        }
    }
    let conf = read("jetson");
    assert_eq!(conf["system.bootloader"], "custom");
    assert_eq!(conf["handlers.bootloader-custom-backend"], "/usr/lib/holdfast/boot-backend");
    assert!(!conf.keys().any(|key| key.contains("boot-attempts")), "RAUC refuses tries for custom backends");
}

/// RAUC refuses what it does not know, a word misspelt for example.
#[test]
fn rauc_reads_them() {
    let rauc = std::env::var_os("HOLDFAST_RAUC").unwrap_or("rauc".into());
    for board in BOARDS {
        let asked = Command::new(&rauc)
            .arg("--conf")
            .arg(path(board))
            .args(["info", "/nonexistent"])
            .env("LC_ALL", "C")
            .output();
        let Ok(output) = asked else {
            return holdfast_aloud::skip("rauc is not installed");
        };
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(said.contains("No such file: /nonexistent") && !said.contains("system config"), "{board}: {said}");
    }
}
