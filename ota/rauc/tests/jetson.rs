//! The boot backend for Jetson, over a played nvbootctrl and a directory for the firmware's variables.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_rauc::Jetson;
use tempfile::TempDir;

const GUID: &str = "781e084c-a330-417c-b678-38e696380cb9";

/// Says what L4T 35 and 36 say. Switches, unless a file `deaf` is there: then it says yes and does nothing, as it does
/// when the firmware won't.
const NVBOOTCTRL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
[ "$1" = -t ] && [ "$2" = rootfs ] || exit 1
[ ! -e broken ] || exit 1
case "$3" in
    dump-slots-info)
        echo "Current rootfs slot: A"
        echo "Active rootfs slot: $(cat active)"
        echo "num_slots: 2"
        echo "slot: 0,             retry_count: 3,             status: normal"
        echo "slot: 1,             retry_count: 3,             status: normal" ;;
    set-active-boot-slot) [ -e deaf ] || echo "$4" | tr 01 AB >active ;;
    *) exit 1 ;;
esac
"#;

struct Board(TempDir);

impl Board {
    fn new() -> Self {
        let board = Self(tempfile::tempdir().unwrap());
        let program = board.at("nvbootctrl");
        fs::write(&program, NVBOOTCTRL).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(board.at("active"), "A\n").unwrap();
        for (name, value) in [
            ("RootfsRedundancyLevel", 1),
            ("RootfsRetryCountMax", 3),
            ("RootfsStatusSlotA", 0),
            ("RootfsStatusSlotB", 0),
            ("RootfsRetryCountA", 3),
            ("RootfsRetryCountB", 3),
        ] {
            board.set(name, value);
        }
        board
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn var(&self, name: &str) -> PathBuf {
        self.at(&format!("{name}-{GUID}"))
    }

    fn set(&self, name: &str, value: u8) {
        fs::write(self.var(name), [7, 0, 0, 0, value, 0, 0, 0]).unwrap();
    }

    fn get(&self, name: &str) -> Vec<u8> {
        fs::read(self.var(name)).unwrap()
    }

    /// What it prints, or what it refuses with.
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jetson/boot-backend");
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        let output =
            Command::new(script).args(args).env("PATH", path).env("HOLDFAST_EFIVARS", self.0.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// It must refuse, with this in its words, and print nothing that could be taken for an answer.
    fn refuses(&self, args: &[&str], words: &[&str]) {
        let refusal = self.run(args).unwrap_err();
        for word in words {
            assert!(refusal.contains(word), "{args:?}: {refusal}");
        }
    }
}

#[test]
fn it_tells_and_switches() {
    let board = Board::new();
    assert_eq!(board.run(&["get-primary"]).unwrap(), "A");
    assert_eq!(board.run(&["get-current"]).unwrap(), "A");
    assert_eq!(board.run(&["get-state", "B"]).unwrap(), "good");
    // As RAUC goes about an installation to B.
    board.run(&["set-state", "B", "bad"]).unwrap();
    assert_eq!(
        (board.run(&["get-state", "B"]).unwrap().as_str(), board.get("RootfsStatusSlotB")),
        ("bad", vec![7, 0, 0, 0, 255, 0, 0, 0])
    );
    assert_eq!(board.run(&["get-state", "A"]).unwrap(), "good");
    // Again, as after an installation that was broken off.
    board.run(&["set-state", "B", "bad"]).unwrap();
    assert_eq!(board.get("RootfsStatusSlotB"), [7, 0, 0, 0, 255, 0, 0, 0]);
    board.set("RootfsRetryCountB", 0);
    board.run(&["set-primary", "B"]).unwrap();
    assert_eq!(board.run(&["get-primary"]).unwrap(), "B");
    assert_eq!(board.run(&["get-state", "B"]).unwrap(), "good");
    assert_eq!(board.get("RootfsRetryCountB"), [7, 0, 0, 0, 3, 0, 0, 0]);
    board.run(&["set-primary", "A"]).unwrap();
    assert_eq!(board.run(&["get-primary"]).unwrap(), "A");
    // And what the firmware found bad can be made good.
    board.set("RootfsStatusSlotA", 0xff);
    assert_eq!(board.run(&["get-state", "A"]).unwrap(), "bad");
    board.run(&["set-state", "A", "good"]).unwrap();
    assert_eq!(board.run(&["get-state", "A"]).unwrap(), "good");
}

/// What is looked at before an update is what the backend goes by.
#[test]
fn the_updater_reads_the_same_variables() {
    let board = Board::new();
    let read = || Jetson::read(board.0.path()).unwrap().unwrap();
    assert!(read().is_redundant() && read().status("A") == Some(0) && read().status("B") == Some(0));
    board.run(&["set-state", "B", "bad"]).unwrap();
    assert_eq!((read().status("A"), read().status("B"), read().status("C")), (Some(0), Some(0xff), None));
    board.set("RootfsRedundancyLevel", 0);
    assert!(!read().is_redundant());
    fs::remove_file(board.var("RootfsRedundancyLevel")).unwrap();
    fs::write(board.var("RootfsStatusSlotA"), [7, 0]).unwrap();
    assert_eq!((read().is_redundant(), read().status("A")), (false, None));
    // Any other box: no such variables, or none at all.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c"), [7, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(Jetson::read(other.path()).unwrap(), None);
    assert_eq!(Jetson::read(&other.path().join("none")).unwrap(), None);
}

#[test]
fn without_redundancy_everything_is_refused() {
    let all: [&[&str]; 4] = [&["get-primary"], &["set-primary", "B"], &["get-state", "B"], &["set-state", "B", "good"]];
    for broken in [true, false] {
        let board = Board::new();
        if broken {
            board.set("RootfsRedundancyLevel", 0)
        } else {
            fs::remove_file(board.var("RootfsRedundancyLevel")).unwrap()
        }
        for args in all {
            board.refuses(args, &["redundancy is off", "ROOTFS_AB=1"]);
        }
        assert_eq!(fs::read_to_string(board.at("active")).unwrap(), "A\n");
    }
}

/// The firmware holds on to a status: whatever is written, the same is read.
#[test]
fn a_status_that_is_stuck_is_refused() {
    let board = Board::new();
    let od = board.at("od");
    fs::write(
        &od,
        "#!/bin/sh\ncase \"$*\" in *RootfsStatusSlotB*) echo 255 0 0 0 ;; *) exec /usr/bin/od \"$@\" ;; esac\n",
    )
    .unwrap();
    fs::set_permissions(&od, fs::Permissions::from_mode(0o755)).unwrap();
    board.refuses(&["set-primary", "B"], &["RootfsStatusSlotB stays 255 though 0 was written", "L4T Configuration"]);
    board.refuses(&["set-state", "B", "good"], &["stays 255"]);
    // As RAUC begins, before it writes anything.
    board.refuses(&["set-state", "B", "bad"], &["RootfsStatusSlotB stays 255 though 0 was written"]);
    assert_eq!(fs::read_to_string(board.at("active")).unwrap(), "A\n", "it switched to a slot that can't boot");
}

#[test]
fn what_did_not_take_is_refused() {
    let board = Board::new();
    fs::write(board.at("deaf"), "").unwrap();
    board.refuses(&["set-primary", "B"], &["slot A stays the next to boot", "capsule update"]);
    fs::write(board.at("broken"), "").unwrap();
    board.refuses(&["get-primary"], &["nvbootctrl fails", "as root"]);
    board.refuses(&["set-primary", "B"], &["does not switch"]);
}

#[test]
fn nonsense_is_refused() {
    let board = Board::new();
    board.refuses(&[], &["no command"]);
    board.refuses(&["set-primary", "C"], &["no slot \"C\"", "bootname"]);
    board.refuses(&["get-state"], &["no slot"]);
    board.refuses(&["set-state", "A", "splendid"], &["good or bad"]);
    fs::remove_file(board.var("RootfsStatusSlotB")).unwrap();
    board.refuses(&["get-state", "B"], &["RootfsStatusSlotB can't be read"]);
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../jetson/boot-backend");
    let Ok(output) = Command::new("shellcheck").arg(script).output() else {
        return holdfast_aloud::skip("shellcheck is not installed");
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
