//! An interrupted session over a restart of the box, and over a clock that is set.
//!
//! Another boot is one of real processes in a time namespace, whose monotonic clock begins anew, with another boot id mounted over
//! the kernel's. Where this machine allows no namespaces, those tests say so and are skipped.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::interrupted::{alerts, causes, everything_dies, holds, recovery, session_dir, two_inputs};
use common::{Box, kill, none, test_input};
use holdfast_dbus::FilesOptions;
use holdfast_segment::{BootId, GapCause};

/// Whether this machine lets a process have another boot, as far as it can see.
fn other_boots() -> bool {
    let probe = "unshare --fork --kill-child --mount --time --monotonic=-1 --boottime=-1 --propagation private \
                 mount --bind /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id";
    let works = Command::new("sh").args(["-c", probe]).output().is_ok_and(|output| output.status.success());
    if !works {
        holdfast_aloud::skip("no time and mount namespaces here (root is needed): nothing is tested over a boot");
    }
    works
}

/// From now on the recorder and its captures live in another boot, which began a second before this call.
fn reboot(holdfast: &mut Box, number: u8) {
    let id = BootId([number; 16]).to_string();
    let file = holdfast.dir.path().join(format!("boot-{number}"));
    let id = format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..]);
    fs::write(&file, id).unwrap();
    let uptime: f64 = fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    #[allow(clippy::cast_possible_truncation, reason = "seconds since the boot")]
    let back = uptime as i64 - 1;
    let program = holdfast.dir.path().join(format!("recorder-{number}"));
    // The captures are its children and live in its namespaces.
    let script = format!(
        "#!/bin/sh\nexec unshare --fork --kill-child --mount --time --monotonic=-{back} --boottime=-{back} --propagation private sh -c \
         'mount --bind {} /proc/sys/kernel/random/boot_id && exec {} \"$@\"' sh \"$@\"\n",
        file.display(),
        env!("CARGO_BIN_EXE_holdfast-recorder")
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    holdfast.recorder_program = program;
    // What lies in the runtime directory does not outlive a boot.
    let _ = fs::remove_dir_all(holdfast.dir.path().join("run"));
    fs::create_dir(holdfast.dir.path().join("run")).unwrap();
}

#[tokio::test]
async fn a_session_goes_on_after_another_boot_under_its_id_with_its_gap() {
    if !other_boots() {
        return;
    }
    let mut holdfast = Box::new(&two_inputs()).await;
    let path = holdfast.start("over a boot").await;
    holdfast.recorder().await.mark("before", none()).await.unwrap();
    for input in ["cam0", "cam1"] {
        holdfast.until_safe_frames(input, 240).await;
    }
    let length = holdfast.recorder().await.duration_usec().await.unwrap();
    everything_dies(&mut holdfast, &["cam0", "cam1"]).await;
    reboot(&mut holdfast, 1);
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
    // Counted on at once, without the break, and far below the time since this machine's boot.
    let now = recorder.duration_usec().await.unwrap();
    assert!(now + 1_500_000 >= length && now < length + 120_000_000, "{length} then {now}");
    for input in ["cam0", "cam1"] {
        holdfast.until_safe_frames(input, 300).await;
    }
    recorder.mark("after", none()).await.unwrap();

    let last = recovery(&holdfast).await.last_resume().await.unwrap();
    let figures = (last.boot_to_safe_usec.unwrap(), last.recorder_to_safe_usec.unwrap());
    println!("power-on to recording: {} ms, recorder start to recording: {} ms", figures.0 / 1000, figures.1 / 1000);
    assert!(figures.0 > figures.1 && figures.0 >= 1_000_000 && figures.0 < 120_000_000, "{figures:?}");
    assert_eq!((last.reason.as_deref(), last.rebooted), (Some("power"), Some(true)), "{}", holdfast.log());
    let interrupted = recovery(&holdfast).await.list_interrupted(Default::default()).await.unwrap();
    assert_eq!((interrupted.len(), interrupted[0].state.as_str(), interrupted[0].times), (1, "recording", 1));
    assert!(interrupted[0].rebooted && interrupted[0].evidence.contains("look alike"), "{interrupted:?}");
    assert!(holds(&alerts(&holdfast).await, "session-interrupted"));

    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.files, totals.gaps), (path.clone(), 4, 2), "{}", holdfast.log());
    let session = holdfast.session(&path).await;
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    assert_eq!(files.iter().filter(|file| file.recovered == Some(true)).count(), 2);
    assert_eq!(files.iter().map(|file| file.frames.unwrap()).sum::<u64>(), totals.safe_frames);
    let gaps = session.gaps().await.unwrap();
    assert!(gaps.iter().all(|gap| gap.cause == "reboot"), "{gaps:?}");
    // As long as the wall clocks say.
    assert!(gaps.iter().all(|gap| (1..300_000_000).contains(&gap.duration_usec)), "{gaps:?}");
    let on_file = causes(Path::new(&session.path().await.unwrap()));
    assert!(on_file.iter().all(|(_, cause, _)| *cause == GapCause::Reboot) && on_file.len() == 2, "{on_file:?}");
    // The files alone know it too.
    for (input, _, length_ns) in &on_file {
        let told_usec = gaps.iter().find(|gap| gap.input == *input).unwrap().duration_usec;
        assert!(told_usec.abs_diff(length_ns / 1000) <= 1000, "{input}: {length_ns} ns on file, {gaps:?}");
    }
    let marks = session.marks().await.unwrap();
    assert!(marks.len() == 2 && marks[0].offset_usec < marks[1].offset_usec, "{marks:?}");
    assert!(marks[1].offset_usec + 1_500_000 >= length, "{marks:?}");
    assert!(marks[1].offset_usec < length + 120_000_000);
}

#[tokio::test]
async fn a_second_boot_and_a_death_within_it_keep_their_clocks_apart() {
    if !other_boots() {
        return;
    }
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    for boot in 1..=2 {
        everything_dies(&mut holdfast, &["cam0"]).await;
        reboot(&mut holdfast, boot);
        holdfast.start_recorder().await;
        let input = holdfast.input("cam0").await;
        let before = input.safe_frames().await.unwrap();
        holdfast.until_safe_frames("cam0", before + 20).await;
        // A capture that dies now must not wait for the clock of the boot before, which is far ahead.
        let (pid, safe) = (input.pid().await.unwrap(), input.safe_frames().await.unwrap());
        kill(pid);
        holdfast.until_safe_frames("cam0", safe + 30).await;
    }
    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.gaps, totals.files), (path, 4, 5), "{}", holdfast.log());
    let gaps = causes(&session_dir(&holdfast, &totals.id));
    let named: Vec<_> = gaps.iter().map(|(_, cause, _)| *cause).collect();
    let (reboot, died) = (GapCause::Reboot, GapCause::CaptureDied);
    assert_eq!(named, [reboot, died, reboot, died]);
    assert!(gaps[1].2 < 60_000_000_000 && gaps[3].2 < 60_000_000_000, "{gaps:?}");
}

/// libfaketime, where it is installed.
fn faketime() -> Option<PathBuf> {
    let dirs = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("faketime"));
    let found = dirs.map(|dir| dir.join("libfaketimeMT.so.1")).find(|path| path.is_file());
    if found.is_none() {
        holdfast_aloud::skip("no libfaketime here (Debian: faketime): nothing is tested with a clock that is set");
    }
    found
}

/// The wall clock is set by hours, back and forth, and to 1970, while the recorder and its capture record.
#[tokio::test]
async fn a_clock_that_is_set_restarts_nothing_and_corrects_the_labels() {
    let Some(library) = faketime() else { return };
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    let offset = holdfast.dir.path().join("offset");
    let set = |by: &str| {
        fs::write(offset.with_extension("new"), format!("{by}\n")).unwrap();
        fs::rename(offset.with_extension("new"), &offset).unwrap();
    };
    set("+0");
    holdfast.set_environment("LD_PRELOAD", library.to_str().unwrap());
    holdfast.set_environment("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap());
    holdfast.set_environment("FAKETIME_NO_CACHE", "1");
    holdfast.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    holdfast.start_recorder().await;
    let path = holdfast.start("").await;
    let (session, recorder) = (holdfast.session(&path).await, holdfast.recorder().await);
    let pid = holdfast.input("cam0").await.pid().await.unwrap();
    let began = session.started_at().await.unwrap();
    recorder.mark("first", none()).await.unwrap();
    let hour = 3_600_000_000_i64;
    let mut last = 0;
    for (by, expected) in [("+3h", 3 * hour), ("-5h", -5 * hour), ("-400000h", -400_000 * hour), ("+0", 0)] {
        set(by);
        let near = |at: i64| (at - began - expected).abs() < 30_000_000;
        holdfast
            .until("the session's start to be corrected", || async { session.started_at().await.is_ok_and(near) })
            .await;
        let length = recorder.duration_usec().await.unwrap();
        assert!(length >= last && length < 120_000_000, "{by}: {last} then {length}");
        last = length;
        assert!((session.marks().await.unwrap()[0].at - began - expected).abs() < 60_000_000, "{by}");
        assert!(session.marks().await.unwrap()[0].offset_usec < 60_000_000, "{by}");
    }
    // Restarted in 1970, it finds its session all the same; one that is started then has a name of its own.
    set("-400000h");
    holdfast.kill_recorder();
    holdfast.start_recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
    assert_eq!(holdfast.input("cam0").await.pid().await.unwrap(), pid);
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.files), (0, 1), "{}", holdfast.log());
    assert!(totals.duration_usec < 180_000_000, "{totals:?}");
    let second = holdfast.start("in another age").await;
    assert!(second != path);
    holdfast.until_safe_frames("cam0", 20).await;
    let totals = holdfast.stop().await;
    assert!(totals.id.starts_with("19"), "{}", totals.id);
    causes(&session_dir(&holdfast, &totals.id));
}
