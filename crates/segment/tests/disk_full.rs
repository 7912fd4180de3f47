//! A disk that refuses: the error says where, the books stay right, and what was safe stays safe.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{chunk, identity, tracks};
use holdfast_segment::{CloseReason, Error, Reader, WriteOptions, Writer, recover, verify};
use std::path::Path;
use std::process::Command;

const DIR: &str = "HOLDFAST_TEST_SMALL_DISK";

/// Runs the named test of this program again, in a shell that has set `DIR` up.
fn in_shell(program: &str, args: &[&str], script: &str, test: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let exec = format!("{script} && exec \"$0\" --exact {test} --nocapture");
    let output = Command::new(program)
        .args(args)
        .args(["sh", "-c", &exec])
        .arg(std::env::current_exe().unwrap())
        .env(DIR, dir.path())
        .output();
    let Ok(output) = output else { return false };
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // The setting up may not be allowed here; a test that ran tells.
    if !text.contains("running 1 test") {
        return false;
    }
    assert!(output.status.success(), "{text}");
    true
}

/// Records until the disk refuses, with whole seconds in a chunk so that one is larger than a page.
fn fill(dir: &Path) -> (Writer, Error, u64) {
    let options = WriteOptions { preallocate_bytes: 256 * 1024, ..WriteOptions::default() };
    let mut writer = Writer::create(dir, "x.mp4", identity(1), tracks(), &options).unwrap();
    for n in 0..100_000 {
        let mut frames = chunk(n, 3);
        frames[0].data = vec![7; 9000];
        if let Err(error) = writer.append(&frames) {
            return (writer, error, n);
        }
    }
    panic!("the disk took everything");
}

/// What must hold after the disk refused chunk number `safe` (from 0).
fn check(mut writer: Writer, error: &Error, safe: u64) {
    assert!(error.is_io() && error.to_string().contains("x.mp4.part: cannot write at byte"), "{error}");
    assert!(error.offset() >= writer.file_bytes() && safe > 3);
    assert_eq!((writer.ledger().chunks, writer.ledger().frames()), (safe, safe * 15));
    // It still refuses, and that changes nothing.
    let mut frames = chunk(safe, 3);
    frames[0].data = vec![7; 9000];
    assert!(writer.append(&frames).is_err());
    assert_eq!(writer.ledger().chunks, safe);
    let part = writer.part_path().to_owned();
    // A shorter chunk may still fit: what the refused one left behind it must not matter.
    let safe = safe + u64::from(writer.append(&chunk(safe, 3)[..3]).is_ok());
    let path = match writer.close(CloseReason::DiskFailed) {
        Ok(closed) => closed.path,
        Err(error) => {
            assert!(error.is_io(), "{error}");
            assert_eq!(Reader::open(&part).unwrap().chunks().map(Result::unwrap).count() as u64, safe);
            // Somebody makes room; here the rest of the test's process has it.
            let elsewhere = tempfile::tempdir().unwrap().keep();
            let moved = elsewhere.join("x.mp4.part");
            std::fs::copy(&part, &moved).unwrap();
            recover::recover(&moved, None).unwrap().path
        }
    };
    let report = verify::verify_file(&path);
    assert!(report.is_ok() && report.chunks == safe, "{report}");
}

#[test]
fn a_full_disk() {
    if let Some(dir) = std::env::var_os(DIR) {
        let (writer, error, safe) = fill(Path::new(&dir));
        assert!(error.is_disk_full() && error.remedy().contains("free space"), "{error}");
        // Blocks ahead were kept for the end: even a full disk lets it close.
        check(writer, &error, safe);
        assert!(Path::new(&dir).join("x.mp4").exists());
        return;
    }
    let mount = format!("mount -t tmpfs -o size=1m none \"${DIR}\"");
    if !in_shell("unshare", &["-rm"], &mount, "a_full_disk") {
        holdfast_aloud::skip("a full disk: no user namespaces here");
    }
}

#[test]
fn a_file_that_may_not_grow() {
    if let Some(dir) = std::env::var_os(DIR) {
        let (writer, error, safe) = fill(Path::new(&dir));
        check(writer, &error, safe);
        return;
    }
    // The limit counts blocks of 512 bytes in some shells and of 1024 in others.
    if !in_shell("env", &[], "trap '' XFSZ && ulimit -f 300", "a_file_that_may_not_grow") {
        holdfast_aloud::skip("a file that may not grow: no limits in this shell");
    }
}
