//! Reading back what was written, from files and from a slot that RAUC wrote.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use holdfast_rauc::{Digest, Options, Rauc, ReadBackError, read_back, verify_slot};
use holdfast_rauc_rig::{Plan, Rig, Wrap};
use tokio::sync::watch;

/// By another program than ours.
fn sha256sum(path: &Path) -> Digest {
    let output = Command::new("sha256sum").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().trim_start_matches('\\').parse().unwrap()
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

fn go_on(_: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn all_lengths_are_read_to_their_last_byte() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("slot");
    let image = dir.path().join("image");
    for size in [1, 511, 4096, 4097, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_001] {
        let data = bytes(size);
        fs::write(&image, &data).unwrap();
        let wanted = sha256sum(&image);
        // As in a slot, other things follow; or nothing does.
        for more in [0, 1, 4096, 70_000] {
            fs::write(&path, [data.as_slice(), &vec![0xee; more]].concat()).unwrap();
            let mut seen = vec![];
            let read = verify_slot(&path, size as u64, wanted, |at| {
                seen.push(at);
                ControlFlow::Continue(())
            });
            assert_eq!(read.unwrap().bytes, size as u64, "{size} + {more}");
            assert!(seen.is_sorted() && seen.last() == Some(&(size as u64)), "{seen:?}");
        }
        // The last byte counts, and so does the one that is missing.
        let mut wrong = data.clone();
        *wrong.last_mut().unwrap() ^= 1;
        fs::write(&path, &wrong).unwrap();
        let error = verify_slot(&path, size as u64, wanted, go_on).unwrap_err();
        assert!(matches!(error, ReadBackError::Mismatch { .. }), "{size}: {error}");
        fs::write(&path, &data[..size - 1]).unwrap();
        let error = verify_slot(&path, size as u64, wanted, go_on).unwrap_err();
        assert!(matches!(error, ReadBackError::Short { have, .. } if have == size as u64 - 1), "{size}: {error}");
    }
}

/// A filesystem of memory has no medium to read from, and says so.
#[test]
fn a_filesystem_without_o_direct_is_read_too() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return holdfast_aloud::skip("there is no /dev/shm here");
    };
    let path = dir.path().join("slot");
    fs::write(&path, bytes(5000)).unwrap();
    verify_slot(&path, 5000, sha256sum(&path), go_on).unwrap();
}

#[test]
fn what_is_not_there_is_named() {
    let error = verify_slot(Path::new("/nowhere/slot"), 1, "00".repeat(32).parse().unwrap(), go_on).unwrap_err();
    assert!(matches!(&error, ReadBackError::Read { .. }) && error.to_string().contains("/nowhere/slot"), "{error}");
}

#[test]
fn only_digests_are_digests() {
    for text in ["", "00", &"0".repeat(63), &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
        text.parse::<Digest>().unwrap_err();
    }
    let text = "0123456789abcdef".repeat(4);
    assert_eq!(text.to_uppercase().parse::<Digest>().unwrap().to_string(), text);
}

/// A slot that RAUC wrote is what its manifest says; one that lost a byte since is not, though RAUC still says it is.
#[tokio::test]
async fn a_slot_that_lost_a_byte_is_found() {
    let Some(rig) = Rig::start(Plan { block_devices: true, ..Plan::default() }).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("good", &rig.image("image", 3 << 20, 5), Wrap::default());
    rauc.install(bundle.to_str().unwrap(), &Options::default()).await.unwrap().finished().await.unwrap();
    let told = || async { rauc.status().await.unwrap().slot("rootfs.1").unwrap().clone() };
    let slot = told().await;
    let (size, wanted): (u64, Digest) = (slot.size_bytes.unwrap(), slot.sha256.clone().unwrap().parse().unwrap());
    let (sender, progress) = watch::channel(0);
    let read = read_back(rig.slot(1).to_owned(), size, wanted, sender).await.unwrap();
    assert_eq!((read.bytes, *progress.borrow()), (3 << 20, 3 << 20));
    let mut device = OpenOptions::new().write(true).open(rig.slot(1)).unwrap();
    device.seek(SeekFrom::Start(2_000_000)).unwrap();
    device.write_all(b"!").unwrap();
    drop(device);
    let (sender, _progress) = watch::channel(0);
    let error = read_back(rig.slot(1).to_owned(), size, wanted, sender).await.unwrap_err();
    assert!(matches!(error, ReadBackError::Mismatch { .. }), "{error}");
    assert_eq!(told().await, slot);
}

#[tokio::test]
async fn reading_back_can_be_broken_off() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("slot");
    fs::write(&path, bytes(3 << 20)).unwrap();
    let wanted = sha256sum(&path);
    let error = verify_slot(&path, 3 << 20, wanted, |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, ReadBackError::Stopped { at: 1_048_576, .. }), "{error}");
    let (sender, progress) = watch::channel(0);
    drop(progress);
    let error = read_back(path, 3 << 20, wanted, sender).await.unwrap_err();
    assert!(matches!(error, ReadBackError::Stopped { .. }), "{error}");
}
