//! Disks that are missing, full, or stall. Those that need a filesystem of their own run as root only; else they say so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::frames::{assert_whole, numbers};
use common::{Box_, PATIENCE, start};
use holdfast_link::{AlertCode, DropReason, Event, GapCause};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = false\nbitrate_kbps = 500";
/// So much that a small disk is full, and a small queue too, within seconds.
const LARGE: &str =
    "source = \"test\"\nwidth = 640\nheight = 360\nframerate = 30\naudio = false\nbitrate_kbps = 100000";

/// A filesystem of its own; unmounted when dropped.
struct Mount(PathBuf);

impl Mount {
    fn run(program: &str, arguments: &[&str]) -> bool {
        Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
    }

    fn tmpfs(directory: &Path, size: &str) -> Option<Self> {
        let mounted = Self::run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "none", directory.to_str()?]);
        Self::told(mounted, directory, "mount a tmpfs")
    }

    fn ext4(image: &Path, directory: &Path) -> Option<Self> {
        std::fs::File::create(image).unwrap().set_len(256 << 20).unwrap();
        let made = Self::run("mkfs.ext4", &["-q", "-F", image.to_str()?])
            && Self::run("mount", &["-o", "loop", image.to_str()?, directory.to_str()?]);
        Self::told(made, directory, "mount an ext4 image")
    }

    fn told(mounted: bool, directory: &Path, what: &str) -> Option<Self> {
        if !mounted {
            holdfast_aloud::skip(format_args!("this user cannot {what}"));
        }
        mounted.then(|| Self(directory.to_owned()))
    }

    fn freeze(&self, freeze: bool) -> bool {
        Self::run("fsfreeze", &[if freeze { "-f" } else { "-u" }, self.0.to_str().unwrap()])
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Self::run("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn with_mount(
    recording: &str,
    input: &str,
    mount: impl FnOnce(&Path, &Path) -> Option<Mount>,
) -> Option<(Mount, Box_)> {
    let directory = tempfile::Builder::new().prefix("holdfast-capture-").tempdir().unwrap();
    let root = directory.path().join("footage");
    std::fs::create_dir(&root).unwrap();
    let mount = mount(directory.path(), &root)?;
    Some((mount, Box_::with_root(directory, &root, recording, input)))
}

#[test]
fn a_root_that_cannot_be_used_is_refused() {
    let station = Box_::new("", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.until_armed_with(0);
    std::fs::remove_dir(station.root()).unwrap();
    client.start(start("s1"));
    let refused = client.refused();
    assert_eq!(refused.code, -1009, "{refused:?}");
    assert!(refused.text.contains("does not exist"), "{refused:?}");
    std::fs::write(station.root(), "a file").unwrap();
    client.start(start("s1"));
    assert!(client.refused().text.contains("not a directory"));
    // Put right, it works without a restart.
    std::fs::remove_file(station.root()).unwrap();
    std::fs::create_dir(station.root()).unwrap();
    client.start(start("s1"));
    client.started();
    client.stop("s1");
    station.verify("s1");
}

#[test]
fn a_disk_that_is_full_is_told_and_tried_again() {
    let mounted = with_mount("sync_interval_ms = 100\nbuffer_mib = 64", LARGE, |_, root| Mount::tmpfs(root, "24m"));
    let Some((_mount, station)) = mounted else { return };
    let ballast = station.root().join("ballast");
    std::fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let text = client.event("the alert", |event| match event {
        Event::Alert { code: AlertCode::StorageFull, text } => Some(text.clone()),
        _ => None,
    });
    assert!(text.contains("free space"), "{text}");
    let lost = |client: &common::Client| {
        let failed = client.status().drops.iter().find(|drop| drop.reason == DropReason::WriteFailed);
        failed.map_or(0, |drop| drop.frames)
    };
    client.until("frames to be counted as lost", PATIENCE, |client| lost(client) > 0);
    let safe = client.status().counts.safe;
    std::fs::remove_file(&ballast).unwrap();
    client.until_safe(safe + 5);
    cleared(client, AlertCode::StorageFull);
    assert_eq!(alerts(client), [], "told once");
    let stopped = client.stop("s1");
    let files = station.files("s1");
    assert!(files.len() >= 2, "{files:?}");
    let report = station.verify("s1");
    assert_eq!(report.inputs[0].frames, stopped.counts.safe);
    assert!(report.inputs[0].frames_lost > 0);
    let accounted = stopped.counts.safe + report.inputs[0].frames_lost;
    assert_eq!(stopped.counts.source, accounted, "every frame is safe or lost");
    let found: Vec<u32> = files.iter().flat_map(|file| numbers(file)).collect();
    assert_eq!(found.len() as u64, stopped.counts.safe);
    assert!(found.windows(2).all(|pair| pair[1] > pair[0]), "nothing is doubled");
}

fn cleared(client: &mut common::Client, wanted: AlertCode) {
    client.event(&format!("{wanted:?} to be cleared"), |event| match event {
        Event::AlertCleared { code } if *code == wanted => Some(()),
        _ => None,
    });
}

/// Alerts about storage that nobody has looked at yet.
fn alerts(client: &common::Client) -> Vec<AlertCode> {
    let storage = [AlertCode::StorageFull, AlertCode::StorageReadOnly, AlertCode::WriteFailed, AlertCode::Storage];
    let code = |event: &Event| match event {
        Event::Alert { code, .. } if storage.contains(code) => Some(*code),
        _ => None,
    };
    client.events.iter().filter_map(code).collect()
}

/// Another mount over the root, read-only; the file that is open below goes on.
#[test]
fn a_root_that_becomes_read_only_is_told_and_tried_slowly() {
    let rotating = "sync_interval_ms = 100";
    let mounted = with_mount(rotating, SMALL, |_, root| Mount::tmpfs(root, "64m"));
    let Some((_mount, station)) = mounted else { return };
    let mut capture = station.capture_with_rotation(1000);
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let root = station.root();
    let root = root.to_str().unwrap();
    let read_only =
        Mount::run("mount", &["--bind", root, root]) && Mount::run("mount", &["-o", "remount,bind,ro", root]);
    if !read_only {
        holdfast_aloud::skip("this user cannot mount read-only");
        return;
    }
    let told = client.try_until(PATIENCE, |client| !alerts(client).is_empty());
    let lost = |client: &common::Client| client.status().drops.iter().map(|drop| drop.frames).sum::<u64>();
    let counted = client.try_until(PATIENCE, |client| lost(client) > 100);
    assert!(Mount::run("umount", &["-l", root]));
    assert!(told && counted, "{:?}", client.status());
    let text = client.event("the alert", |event| match event {
        Event::Alert { code: AlertCode::StorageReadOnly, text } => Some(text.clone()),
        _ => None,
    });
    assert!(text.contains("read-only"), "{text}");
    let safe = client.status().counts.safe;
    client.until_safe(safe + 5);
    cleared(client, AlertCode::StorageReadOnly);
    assert_eq!(alerts(client), [], "told once");
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!(gap.cause, GapCause::DiskFailed);
    whole_but_for_losses(&station, client);
}

/// I/O errors, put in by `strace` where the kernel would return them: real calls of the real program, and the disk does its part.
fn with_errors(inject: &str, station: &Box_) -> Option<common::Capture> {
    let able =
        Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !able {
        holdfast_aloud::skip("strace, which puts in the errors, does not run here");
        return None;
    }
    let child = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", inject])
        .arg(env!("CARGO_BIN_EXE_holdfast-capture"))
        .args(["--input", "cam0", "--config"])
        .arg(&station.config)
        .env("HOLDFAST_LOG", "warn")
        .spawn();
    Some(station.greet(child.unwrap()))
}

fn whole_but_for_losses(station: &Box_, client: &mut common::Client) {
    let stopped = client.stop("s1");
    for part in holdfast_segment::recover::scan_tree(&station.root()).unwrap() {
        holdfast_segment::recover::recover(&part, None).unwrap();
    }
    let files = station.files("s1");
    let report = station.verify("s1");
    let found: Vec<u32> = files.iter().flat_map(|file| numbers(file)).collect();
    assert!(found.windows(2).all(|pair| pair[1] > pair[0]), "nothing is doubled");
    // What was called safe is there; frames whose sync failed may be there as well.
    assert!(found.len() as u64 >= stopped.counts.safe, "{} of {}", found.len(), stopped.counts.safe);
    assert_eq!(report.inputs[0].frames, found.len() as u64);
    let drops: u64 = client.status().drops.iter().map(|drop| drop.frames).sum();
    assert!(stopped.counts.source >= stopped.counts.safe + drops, "{stopped:?}");
    assert_eq!(
        stopped.counts.source - stopped.counts.safe,
        report.inputs[0].frames_lost,
        "every frame is safe or lost: {stopped:?} {:?}",
        client.status().drops
    );
}

#[test]
fn one_io_error_costs_a_file_and_no_alarm() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let Some(mut capture) = with_errors("inject=fdatasync:error=EIO:when=8", &station) else { return };
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!(gap.cause, GapCause::DiskFailed);
    println!("one EIO: {} frames lost, gap of {} ms", gap.frames_lost, gap.duration_ms);
    client.until("the next file", PATIENCE, |client| client.status().file_sequence >= 2);
    let safe = client.status().counts.safe;
    client.until_safe(safe + 15);
    assert_eq!(alerts(client), []);
    whole_but_for_losses(&station, client);
}

#[test]
fn repeated_io_errors_are_told_and_cleared() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let Some(mut capture) = with_errors("inject=fdatasync:error=EIO:when=8..10", &station) else { return };
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let text = client.event("the alert", |event| match event {
        Event::Alert { code: AlertCode::WriteFailed, text } => Some(text.clone()),
        _ => None,
    });
    assert!(text.contains("smartctl"), "{text}");
    cleared(client, AlertCode::WriteFailed);
    let safe = client.status().counts.safe;
    client.until_safe(safe + 15);
    assert_eq!(alerts(client), [], "told once");
    whole_but_for_losses(&station, client);
}

#[test]
fn a_stall_that_the_queue_can_hold_loses_nothing() {
    let mounted = with_mount("sync_interval_ms = 100", SMALL, |top, root| Mount::ext4(&top.join("image"), root));
    let Some((mount, station)) = mounted else { return };
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(15);
    if !mount.freeze(true) {
        holdfast_aloud::skip("this user cannot freeze a filesystem");
        return;
    }
    let frozen = Instant::now();
    let safe = client.status().counts.safe;
    client.until("the stall", PATIENCE, |_| frozen.elapsed() > Duration::from_secs(4));
    assert!(client.status().queue_bytes > 0 && client.status().counts.safe <= safe + 10, "{:?}", client.status());
    assert!(mount.freeze(false));
    client.until_safe(safe + 120);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert!(client.status().drops.is_empty());
    assert_whole(&station.files("s1"));
    drop(capture);
}

#[test]
fn a_stall_that_is_longer_than_the_queue_drops_gops_and_says_so() {
    let mounted =
        with_mount("sync_interval_ms = 100\nbuffer_mib = 8", LARGE, |top, root| Mount::ext4(&top.join("image"), root));
    let Some((mount, station)) = mounted else { return };
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(5);
    if !mount.freeze(true) {
        holdfast_aloud::skip("this user cannot freeze a filesystem");
        return;
    }
    let dropped = |client: &common::Client| {
        let drops = &client.status().drops;
        drops.iter().any(|drop| drop.reason == DropReason::DiskStall && drop.frames > 30)
    };
    let thawed = client.try_until(PATIENCE, dropped);
    assert!(mount.freeze(false));
    assert!(thawed, "{:?}", client.status());
    client.event("the alert", |event| match event {
        Event::Alert { code: AlertCode::Dropped, .. } => Some(()),
        _ => None,
    });
    let gap = client.event("Gap", |event| if let Event::Gap(gap) = event { Some(gap.clone()) } else { None });
    assert_eq!(gap.cause, GapCause::DiskStall);
    assert!(gap.frames_lost > 0, "{gap:?}");
    cleared(client, AlertCode::Dropped);
    let safe = client.status().counts.safe;
    client.until_safe(safe + 10);
    let stopped = client.stop("s1");
    let found: Vec<u32> = station.files("s1").iter().flat_map(|file| numbers(file)).collect();
    assert_eq!(found.len() as u64, stopped.counts.safe);
    let missing = u64::from(found[found.len() - 1] - found[0] + 1) - found.len() as u64;
    // The pictures, the counters and the ledger tell the same loss.
    assert_eq!(stopped.counts.source - stopped.counts.safe, missing);
    assert_eq!(station.verify("s1").inputs[0].frames_lost, missing);
    drop(capture);
}
