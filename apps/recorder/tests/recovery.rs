//! All processes die at once, and the box is started again: what was interrupted goes on, waits or is closed, as the configuration
//! says; what was stopped stays stopped; damaged state stops nothing.
//!
//! Another boot is one of real processes in a time namespace, whose monotonic clock begins anew, with another boot id mounted over
//! the kernel's. Where this machine allows no namespaces, those tests say so and are skipped.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Box, code, kill, none, test_input};
use holdfast_dbus::{FilesOptions, ListOptions, RecoveryProxy, StartOptions, StopOptions};
use holdfast_segment::verify::verify_session;
use holdfast_segment::{BootId, GapCause};

async fn recovery(holdfast: &Box) -> RecoveryProxy<'static> {
    RecoveryProxy::builder(&holdfast.client).cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
}

/// Names of the alerts that hold, with what they are about.
async fn alerts(holdfast: &Box) -> Vec<(String, String, String)> {
    let proxy = zbus::Proxy::new(
        &holdfast.client,
        holdfast_dbus::BUS_NAME,
        holdfast_dbus::ROOT_PATH,
        "org.holdfast.Recorder1.Alerts",
    );
    let none: std::collections::HashMap<&str, zbus::zvariant::Value<'_>> = std::collections::HashMap::new();
    let list: Vec<holdfast_dbus::AlertInfo> = proxy.await.unwrap().call("ListAlerts", &(none,)).await.unwrap();
    list.into_iter().filter(|alert| alert.active).map(|alert| (alert.code, alert.source, alert.text)).collect()
}

fn holds(alerts: &[(String, String, String)], code: &str) -> bool {
    alerts.iter().any(|(name, ..)| name == code)
}

/// Everything dies in the same instant, as at a power cut: the recorder first, so that nothing is put down in order.
async fn everything_dies(holdfast: &mut Box, inputs: &[&str]) {
    let mut pids = Vec::new();
    for input in inputs {
        pids.push(holdfast.input(input).await.pid().await.unwrap());
    }
    holdfast.kill_recorder();
    pids.into_iter().filter(|pid| *pid > 0).for_each(kill);
}

fn causes(dir: &Path) -> Vec<(String, GapCause, u64)> {
    let report = verify_session(dir).unwrap();
    assert!(report.is_ok(), "{report}");
    let gaps = |input: &holdfast_segment::verify::InputReport| {
        let name = input.input.clone();
        let gaps = input.files.iter().flat_map(|file| file.gaps.clone()).collect::<Vec<_>>();
        gaps.into_iter().map(move |gap| (name.clone(), gap.cause, gap.duration_ns)).collect::<Vec<_>>()
    };
    report.inputs.iter().flat_map(gaps).collect()
}

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

fn two_inputs() -> String {
    test_input("cam0", true) + &test_input("cam1", true)
}

fn session_dir(holdfast: &Box, id: &str) -> PathBuf {
    holdfast.root().join(format!("{}-{}-{}", &id[..4], &id[4..6], &id[6..8])).join(id)
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

#[tokio::test]
async fn what_waits_is_resumed_or_dismissed_by_a_person() {
    let ask = "\n[protection]\nresume = \"ask\"\n";
    let mut holdfast = Box::new(&(ask.to_owned() + &test_input("cam0", true))).await;
    let options = StartOptions { token: Some("t".into()), wait_ms: Some(20_000), ..StartOptions::default() };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 20).await;
    let id = holdfast.session(&path).await.id().await.unwrap();
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let (recorder, recovery) = (holdfast.recorder().await, recovery(&holdfast).await);
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert!(holdfast.files(".part").is_empty(), "recovered all the same");
    assert_eq!(recovery.waiting().await.unwrap(), id);
    assert!(holds(&alerts(&holdfast).await, "resume-waiting"));
    assert_eq!(recovery.list_interrupted(Default::default()).await.unwrap()[0].state, "waiting");
    // It is not for others to be taken away meanwhile.
    assert_eq!(code(recovery.discard(&id, none()).await), -1005);
    assert_eq!(code(recovery.resume_session("20200101T000000Z-aaaaaa", none()).await), -1003);
    // It still waits after one more restart, and was interrupted once.
    assert!(holdfast.terminate_recorder().success());
    holdfast.start_recorder().await;
    assert_eq!(recovery.waiting().await.unwrap(), id, "{}", holdfast.log());
    assert_eq!(recovery.list_interrupted(Default::default()).await.unwrap()[0].times, 1);

    assert_eq!(recovery.resume_session(&id, none()).await.unwrap(), path);
    holdfast.until_safe_frames("cam0", 60).await;
    assert_eq!(recovery.waiting().await.unwrap(), "");
    assert!(!holds(&alerts(&holdfast).await, "resume-waiting"));
    assert_eq!(recorder.start(options).await.unwrap(), (path.clone(), false), "its token is its own");
    let totals = holdfast.stop().await;
    assert_eq!((totals.id.as_str(), totals.files, totals.gaps), (id.as_str(), 2, 1));

    // Dismissed: closed, and it stays closed.
    let second = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let waiting = recovery.waiting().await.unwrap();
    recovery.dismiss_session(&waiting, none()).await.unwrap();
    assert_eq!(holdfast.session(&second).await.state().await.unwrap(), "interrupted");
    assert_eq!(code(recovery.dismiss_session(&waiting, none()).await), -1003);

    // A new recording is a decision, too.
    let third = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    holdfast.start("instead").await;
    assert_eq!(recovery.waiting().await.unwrap(), "");
    holdfast.stop().await;
    assert_eq!(holdfast.session(&third).await.state().await.unwrap(), "interrupted");
    assert!(holdfast.terminate_recorder().success());
    holdfast.start_recorder().await;
    assert_eq!(recovery.waiting().await.unwrap(), "", "{}", holdfast.log());

    // Discarded: out of the way, back, and out of the way for good. A protected one is not.
    recorder.protect(&waiting, none()).await.unwrap();
    assert_eq!(code(recovery.discard(&waiting, none()).await), -1015);
    recorder.unprotect(&waiting, none()).await.unwrap();
    assert_eq!(code(recovery.discard("20200101T000000Z-aaaaaa", none()).await), -1003);
    assert_eq!(code(recovery.discard("/etc/passwd", none()).await), -1001);
    let moved = recovery.discard(&waiting, none()).await.unwrap();
    assert!(Path::new(&moved).join("cam0").is_dir());
    recovery.restore(&waiting, none()).await.unwrap();
    assert!(session_dir(&holdfast, &waiting).join("cam0").is_dir());
    let moved = recovery.discard(&waiting, none()).await.unwrap();
    recovery.purge(&moved, none()).await.unwrap();
    assert!(!Path::new(&moved).exists() && !session_dir(&holdfast, &waiting).exists());
}

#[tokio::test]
async fn never_closes_and_an_input_that_has_vanished_is_no_obstacle() {
    let mut holdfast = Box::new(&two_inputs()).await;
    let path = holdfast.start("").await;
    for input in ["cam0", "cam1"] {
        holdfast.until_safe_frames(input, 30).await;
    }
    everything_dies(&mut holdfast, &["cam0", "cam1"]).await;
    holdfast.edit_config(&test_input("cam1", true), "");
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.current_session().await.unwrap(), path, "{}", holdfast.log());
    holdfast.until_safe_frames("cam0", 60).await;
    let totals = holdfast.stop().await;
    let files = holdfast.session(&path).await.list_files(FilesOptions::default()).await.unwrap();
    let in_files: u64 = files.iter().map(|file| file.frames.unwrap()).sum();
    assert_eq!(totals.safe_frames, in_files, "with what the input that is gone had made: {totals:?}");
    assert!(files.iter().any(|file| file.input == "cam1"));
    causes(&session_dir(&holdfast, &totals.id));

    let path = holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 30).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.edit_config("[storage]", "[protection]\nresume = \"never\"\n[storage]");
    holdfast.start_recorder().await;
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert_eq!(holdfast.session(&path).await.state().await.unwrap(), "interrupted");
    assert!(holdfast.session(&path).await.safe_frames().await.unwrap() >= 30);
    assert!(holdfast.files(".part").is_empty() && holds(&alerts(&holdfast).await, "session-interrupted"));
}

/// Breaks the file at this path.
type Break = fn(&Path);

/// How state can be broken.
fn breaks() -> Vec<(&'static str, Break)> {
    vec![
        ("truncated", |path| fs::write(path, &fs::read(path).unwrap()[..100]).unwrap()),
        ("flipped", |path| {
            let mut bytes = fs::read(path).unwrap();
            let middle = 192 + (bytes.len() - 192) / 3;
            bytes[middle] ^= 0x10;
            fs::write(path, bytes).unwrap();
        }),
        ("newer", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[8..10].copy_from_slice(&999_u16.to_le_bytes());
            for copy in [0, 96] {
                bytes[copy + 8..copy + 10].copy_from_slice(&999_u16.to_le_bytes());
                let crc = crc32c(&bytes[copy..copy + 92]).to_le_bytes();
                bytes[copy + 92..copy + 96].copy_from_slice(&crc);
            }
            fs::write(path, bytes).unwrap();
        }),
        ("empty", |path| fs::write(path, b"").unwrap()),
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("a loop of links", |path| {
            fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(path, path).unwrap();
        }),
    ]
}

/// CRC-32C, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[tokio::test]
async fn no_damage_to_state_stops_a_recording_or_loses_what_files_know() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for (what, break_it) in breaks() {
        let path = holdfast.start(what).await;
        let recorder = holdfast.recorder().await;
        recorder.mark("kept", none()).await.unwrap();
        recorder.protect(path.as_str(), none()).await.unwrap();
        // What came in before the mark may be safe before the mark is.
        let safe = holdfast.input("cam0").await.safe_frames().await.unwrap();
        holdfast.until_safe_frames("cam0", safe + 40).await;
        let id = holdfast.session(&path).await.id().await.unwrap();
        everything_dies(&mut holdfast, &["cam0"]).await;
        // Both the session's journal and the recorder's state.
        break_it(&session_dir(&holdfast, &id).join("session.journal"));
        let _ = fs::remove_file(session_dir(&holdfast, &id).join("session.journal.prev"));
        break_it(&holdfast.dir.path().join("state/recorder.journal"));
        holdfast.start_recorder().await;
        assert_eq!(recorder.current_session().await.unwrap(), path, "{what}: {}", holdfast.log());
        let safe = holdfast.input("cam0").await.safe_frames().await.unwrap();
        holdfast.until_safe_frames("cam0", safe + 20).await;
        let told = alerts(&holdfast).await;
        let corrupt = told.iter().filter(|(code, ..)| code == "state-corrupt").count();
        // A state that is not there at all looks like a first start.
        assert!(corrupt >= if what == "missing" { 1 } else { 2 }, "{what}: {told:?}");
        let session = holdfast.session(&path).await;
        let marks = session.marks().await.unwrap();
        assert!(marks.len() == 1 && marks[0].text == "kept", "{what}: {marks:?}\n{}", holdfast.log());
        let totals = holdfast.stop().await;
        assert_eq!((totals.id.as_str(), totals.files, totals.gaps), (id.as_str(), 2, 1), "{what}");
        let listed = recorder.list_sessions(ListOptions::default()).await.unwrap();
        let row = listed.iter().find(|row| row.id == id).unwrap();
        assert_eq!((row.state.as_str(), row.safe_frames), ("stopped", totals.safe_frames), "{what}");
        if !matches!(what, "missing" | "empty") {
            let aside = recovery(&holdfast).await.list_set_aside(none()).await.unwrap();
            let kinds: Vec<_> = aside.iter().map(|item| item.kind.as_str()).collect();
            assert!(kinds.contains(&"session-journal") && kinds.contains(&"recorder-state"), "{what}: {kinds:?}");
        }
        holdfast.terminate_recorder();
        let _ = fs::remove_dir_all(holdfast.dir.path().join("state"));
        holdfast.start_recorder().await;
    }
}

/// Label and token are in two places; each is rebuilt from the other.
#[tokio::test]
async fn a_lost_journal_comes_back_with_label_and_token_from_the_recorders_own_copy() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let options = StartOptions {
        label: Some("Match 7".into()),
        token: Some("t".into()),
        wait_ms: Some(20_000),
        ..StartOptions::default()
    };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 20).await;
    let journal = holdfast.files("session.journal").remove(0);
    everything_dies(&mut holdfast, &["cam0"]).await;
    fs::remove_file(&journal).unwrap();
    fs::write(&journal, b"this is no journal").unwrap();
    holdfast.start_recorder().await;
    assert_eq!(holdfast.recorder().await.start(options).await.unwrap(), (path.clone(), false), "{}", holdfast.log());
    assert_eq!(holdfast.session(&path).await.label().await.unwrap(), "Match 7");
    holdfast.stop().await;
}

/// Three witnesses; any one of them is enough.
#[tokio::test]
async fn what_was_stopped_never_goes_on_whatever_is_lost() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for lost in ["the journal", "the state", "both"] {
        let path = holdfast.start(lost).await;
        holdfast.until_safe_frames("cam0", 20).await;
        let totals = holdfast.stop().await;
        everything_dies(&mut holdfast, &["cam0"]).await;
        if lost != "the state" {
            let dir = session_dir(&holdfast, &totals.id);
            for name in ["session.journal", "session.journal.prev"] {
                let _ = fs::remove_file(dir.join(name));
            }
        }
        if lost != "the journal" {
            fs::remove_dir_all(holdfast.dir.path().join("state")).unwrap();
        }
        holdfast.start_recorder().await;
        assert_eq!(holdfast.recorder().await.state().await.unwrap(), "idle", "{lost}: {}", holdfast.log());
        let session = holdfast.session(&path).await;
        assert_eq!(session.state().await.unwrap(), "stopped", "{lost}: {}", holdfast.log());
        assert_eq!(session.safe_frames().await.unwrap(), totals.safe_frames, "{lost}");
    }
}

/// The recorder dies between the order to stop and the end: the captures have heard it, or not.
#[tokio::test]
async fn a_stop_that_was_begun_is_finished_by_the_next_recorder() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    for _ in 0..5 {
        let path = holdfast.start("").await;
        holdfast.until_safe_frames("cam0", 20).await;
        let recorder = holdfast.recorder().await;
        let stop = tokio::spawn(async move { recorder.stop(StopOptions::default()).await });
        holdfast
            .until("the state to leave recording", || async {
                holdfast.recorder().await.state().await.unwrap() != "recording"
            })
            .await;
        holdfast.kill_recorder();
        let answered = stop.await.unwrap();
        holdfast.start_recorder().await;
        let recorder = holdfast.recorder().await;
        holdfast.until("rest", || async { recorder.state().await.unwrap() == "idle" }).await;
        let state = holdfast.session(&path).await.state().await.unwrap();
        assert!(answered.is_err() || state == "stopped");
        assert_eq!(state, "stopped", "{}", holdfast.log());
        assert!(holdfast.files(".part").is_empty());
    }
}

#[tokio::test]
async fn a_storage_that_comes_back_late_is_recovered_and_recorded_to() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let options = StartOptions { token: Some("t".into()), wait_ms: Some(20_000), ..StartOptions::default() };
    let (path, _) = holdfast.recorder().await.start(options.clone()).await.unwrap();
    holdfast.until_safe_frames("cam0", 30).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    let away = holdfast.dir.path().join("away");
    fs::rename(holdfast.root(), &away).unwrap();
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert_eq!(recorder.storage_level().await.unwrap(), "unavailable");
    assert!(!holdfast.root().exists(), "nothing is made where the storage should be");
    fs::rename(&away, holdfast.root()).unwrap();
    holdfast.until("the session to go on", || async { recorder.current_session().await.unwrap() == path }).await;
    holdfast.until_safe_frames("cam0", 60).await;
    assert_eq!(recorder.start(options).await.unwrap(), (path.clone(), false));
    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.gaps, totals.files), (path, 1, 2), "{}", holdfast.log());
    causes(&session_dir(&holdfast, &totals.id));
}

#[tokio::test]
async fn the_reason_is_what_is_known_and_no_more() {
    let mut holdfast = Box::new(&test_input("cam0", true)).await;
    let reason = async |holdfast: &Box| {
        let list = recovery(holdfast).await.list_interrupted(Default::default()).await.unwrap();
        (list[0].reason.clone(), list[0].evidence.clone())
    };
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    holdfast.start_recorder().await;
    let (name, evidence) = reason(&holdfast).await;
    // Unless this machine has killed something for want of memory in these seconds, nobody can know.
    assert!(name == "unknown" || name == "oom", "{name}: {evidence}");
    holdfast.stop().await;

    // What systemd would say, by the same program that its unit calls.
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 20).await;
    everything_dies(&mut holdfast, &["cam0"]).await;
    let noted = Command::new(env!("CARGO_BIN_EXE_holdfast-recorder"))
        .arg("--config")
        .arg(holdfast.config_path())
        .arg("--note-end")
        .envs([("SERVICE_RESULT", "oom-kill"), ("EXIT_CODE", "killed"), ("EXIT_STATUS", "KILL")])
        .status();
    assert!(noted.unwrap().success());
    holdfast.start_recorder().await;
    assert_eq!(reason(&holdfast).await.0, "oom");
    assert!(holds(&alerts(&holdfast).await, "crashed"));
    holdfast.stop().await;
    // What was told is history with the next recording.
    holdfast.start("").await;
    assert!(!holds(&alerts(&holdfast).await, "crashed"));
    holdfast.stop().await;
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
