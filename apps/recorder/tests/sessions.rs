//! Sessions over the real bus with real captures: start, stop, mark, protect, list, refuse.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::{Box, Bus, code, none, test_input};
use futures_util::StreamExt;
use futures_util::future::join_all;
use holdfast_dbus::{FilesOptions, ListOptions, NO_OBJECT, RecorderProxy, StartOptions, StopOptions, session_path};
use holdfast_segment::Reader;

fn two_inputs() -> String {
    test_input("cam0", true) + &test_input("cam-1", false)
}

#[tokio::test]
async fn a_session_from_start_to_stop() {
    let holdfast = Box::new(&two_inputs()).await;
    let recorder = holdfast.recorder().await;
    let mut stopped = recorder.receive_session_stopped().await.unwrap();
    let mut states = recorder.receive_recorder_state_changed().await.unwrap();
    assert_eq!(recorder.state().await.unwrap(), "idle");
    assert_eq!(recorder.current_session().await.unwrap().as_str(), NO_OBJECT);

    let path = holdfast.start("first").await;
    assert_eq!(recorder.state().await.unwrap(), "recording");
    assert_eq!(recorder.current_session().await.unwrap(), path);
    recorder.mark("the moment", none()).await.unwrap();
    for input in ["cam0", "cam-1"] {
        holdfast.until_safe_frames(input, 40).await;
    }
    let session = holdfast.session(&path).await;
    assert_eq!(session.state().await.unwrap(), "recording");
    assert!(session.safe_frames().await.unwrap() >= 80);
    assert_eq!(session.marks().await.unwrap()[0].text, "the moment");
    assert!(recorder.duration_usec().await.unwrap() > 0);

    let totals = holdfast.stop().await;
    assert_eq!((totals.session.clone(), totals.files, totals.lost_frames, totals.gaps), (path.clone(), 2, 0, 0));
    assert!(totals.incomplete.is_empty());
    assert_eq!(recorder.state().await.unwrap(), "idle");

    // What was promised is in the files.
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    assert_eq!(files.len(), 2);
    let in_files: u64 = files.iter().map(|file| file.frames.unwrap()).sum();
    assert_eq!(in_files, totals.safe_frames);
    for file in &files {
        let reader = Reader::open(&holdfast.root().join(&file.path)).unwrap();
        assert_eq!(reader.identity().session, totals.id);
        let marks: Vec<_> = reader.ledger().unwrap().marks.iter().map(|mark| mark.text.clone()).collect();
        assert_eq!(marks, ["the moment"]);
    }
    assert_eq!(holdfast.files(".part"), Vec::<std::path::PathBuf>::new());

    // The same is told to whoever listens.
    let told = stopped.next().await.unwrap();
    assert_eq!(told.args().unwrap().totals, totals);
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("idle") {
        seen.push(states.next().await.unwrap().args().unwrap().state);
    }
    assert_eq!(seen.first().map(String::as_str), Some("starting"));

    // And kept over a restart of the recorder.
    let mut holdfast = holdfast;
    assert!(holdfast.terminate_recorder().success());
    holdfast.start_recorder().await;
    let listed = holdfast.recorder().await.list_sessions(ListOptions::default()).await.unwrap();
    assert_eq!(listed.len(), 1);
    let row = &listed[0];
    assert_eq!((row.id.as_str(), row.label.as_str(), row.state.as_str()), (totals.id.as_str(), "first", "stopped"));
    assert_eq!((row.safe_frames, row.files, row.marks), (totals.safe_frames, 2, 1));
    assert_eq!(holdfast.session(&path).await.safe_frames().await.unwrap(), totals.safe_frames);
}

#[tokio::test]
async fn twenty_clients_with_one_token_get_one_session() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    let clients = join_all((0..20).map(|_| holdfast.bus.connect())).await;
    let proxies = join_all(clients.iter().map(RecorderProxy::new)).await;
    let start = |token: &str| StartOptions { token: Some(token.to_owned()), ..StartOptions::default() };
    let answers = join_all(proxies.iter().map(|proxy| proxy.as_ref().unwrap().start(start("t")))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let sessions: BTreeSet<_> = answers.iter().map(|(session, _)| session.to_string()).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);

    // Twenty that stop it all hear the same, or that nothing is recorded any more.
    let stops = join_all(proxies.iter().map(|proxy| proxy.as_ref().unwrap().stop(StopOptions::default()))).await;
    let (told, refused): (Vec<_>, Vec<_>) = stops.into_iter().partition(Result::is_ok);
    let told: BTreeSet<_> = told.into_iter().map(|totals| totals.unwrap().id).collect();
    assert_eq!(told.len(), 1);
    for refusal in refused {
        assert_eq!(code(refusal), -1004);
    }

    // The token still names the session that has ended, and another one does not.
    let first = proxies[0].as_ref().unwrap();
    let again = first.start(start("t")).await.unwrap();
    assert_eq!((&again.0, again.1), (&answers[0].0, false));
    let other = first.start(start("u")).await.unwrap();
    assert!(other.1 && other.0 != again.0);
    holdfast.stop().await;
}

/// Supervisors see only the engine's latest word: a session may be over before they have heard of it.
#[tokio::test]
async fn a_stop_on_the_heels_of_a_start_is_answered_at_once() {
    let holdfast = Box::new(&two_inputs()).await;
    let recorder = holdfast.recorder().await;
    for _ in 0..10 {
        let (start, stop) =
            tokio::join!(recorder.start(StartOptions::default()), recorder.stop(StopOptions::default()));
        let began = std::time::Instant::now();
        // Whichever came first; in the end nothing is recorded.
        if start.is_ok() && stop.is_err() {
            holdfast.stop().await;
        }
        assert_eq!(recorder.state().await.unwrap(), "idle");
        assert!(began.elapsed().as_secs() < 10, "{}", holdfast.log());
        assert!(!holdfast.log().contains("in time"), "{}", holdfast.log());
    }
}

#[tokio::test]
async fn every_refusal_has_its_number() {
    let holdfast = Box::new(&two_inputs()).await;
    let recorder = holdfast.recorder().await;
    let start = |options: StartOptions| recorder.start(options);
    let inputs = |names: &[&str]| StartOptions {
        inputs: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..StartOptions::default()
    };

    assert_eq!(code(start(inputs(&["nobody"])).await), -1002);
    assert_eq!(code(start(StartOptions { token: Some(String::new()), ..StartOptions::default() }).await), -1001);
    assert_eq!(code(start(StartOptions { token: Some("x".repeat(65)), ..StartOptions::default() }).await), -1001);
    assert_eq!(code(start(StartOptions { label: Some("x".repeat(257)), ..StartOptions::default() }).await), -1001);
    assert_eq!(code(start(StartOptions { wait_ms: Some(99_999), ..StartOptions::default() }).await), -1001);
    let unknown = std::collections::HashMap::from([("lable", zbus::zvariant::Value::from("x"))]);
    let raw: zbus::Result<(zbus::zvariant::OwnedObjectPath, bool)> = recorder.inner().call("Start", &(unknown,)).await;
    assert_eq!(code(raw), -1001);
    assert_eq!(code(recorder.stop(StopOptions::default()).await), -1004);
    assert_eq!(code(recorder.mark("x", none()).await), -1004);
    assert_eq!(code(recorder.arm(&["nobody".to_owned()], none()).await), -1002);
    assert_eq!(code(recorder.protect("20200101T000000Z-nobody", none()).await), -1003);
    assert_eq!(code(recorder.protect("../../etc/passwd", none()).await), -1003);

    let session = holdfast.start("").await;
    let second = start(StartOptions::default()).await.unwrap_err();
    let error = holdfast_dbus::Error::from_zbus(&second).unwrap();
    assert_eq!(error.code.number(), -1006);
    assert_eq!(error.details["session"], holdfast_dbus::Detail::Text(holdfast_dbus::session_id_of(&session).unwrap()));
    let other = StopOptions { session: Some(session_path("20200101T000000Z-nobody")), trace: None };
    assert_eq!(code(recorder.stop(other).await), -1004);
    assert_eq!(recorder.state().await.unwrap(), "recording");
    holdfast.stop().await;
}

#[tokio::test]
async fn a_recording_that_has_ended_has_no_rate_any_more() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    let recorder = holdfast.recorder().await;
    holdfast.start("rate").await;
    holdfast
        .until("a rate", || async {
            let info = recorder.get_storage_info(none()).await;
            info.is_ok_and(|info| info.rate_bytes_per_second > 0 && info.seconds_left.is_some())
        })
        .await;
    holdfast.stop().await;
    let info = recorder.get_storage_info(none()).await.unwrap();
    assert_eq!((info.rate_bytes_per_second, info.seconds_left), (0, None));
}

#[tokio::test]
async fn storage_that_is_full_missing_or_read_only_is_refused_by_name() {
    // Everything is "full" from one percent on.
    let mut holdfast = Box::without_recorder("warn_percent = 1\nblock_percent = 2\n", &test_input("cam0", false)).await;
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    let full = recorder.start(StartOptions::default()).await;
    // A disk that is all but full says so differently.
    assert!([-1008, -1010].contains(&code(full)));
    assert_eq!(recorder.state().await.unwrap(), "idle", "a refusal is no error");
    let info = recorder.get_storage_info(none()).await.unwrap();
    assert_eq!((info.level.as_str(), info.block_percent, info.seconds_left), ("low", 2, None));
    assert!(info.total_bytes > info.free_bytes && info.used_percent > 1.0, "{info:?}");

    std::fs::remove_dir(holdfast.root()).unwrap();
    assert_eq!(code(recorder.start(StartOptions::default()).await), -1009);
    assert_eq!(recorder.get_storage_info(none()).await.unwrap().level, "unavailable");
    assert_eq!(recorder.state().await.unwrap(), "error");
    assert!(recorder.state_message().await.unwrap().contains("root"));
    // Still there, still answering, and well again when the disk is.
    std::fs::create_dir(holdfast.root()).unwrap();
    assert!([-1008, -1010].contains(&code(recorder.start(StartOptions::default()).await)));
    assert_eq!(recorder.state().await.unwrap(), "idle");
}

#[tokio::test]
async fn protecting_survives_restarts_and_works_on_old_sessions() {
    let mut holdfast = Box::new(&test_input("cam0", false)).await;
    let session = holdfast.start("").await;
    let totals = holdfast.stop().await;
    let recorder = holdfast.recorder().await;
    recorder.protect(&totals.id, none()).await.unwrap();
    assert!(holdfast.session(&session).await.protected().await.unwrap());
    holdfast.terminate_recorder();
    holdfast.start_recorder().await;
    assert!(holdfast.session(&session).await.protected().await.unwrap());
    recorder.unprotect(session.as_str(), none()).await.unwrap();
    assert!(!recorder.list_sessions(ListOptions::default()).await.unwrap()[0].protected);
}

#[tokio::test]
async fn arming_starts_a_capture_and_disarming_ends_it() {
    let mut holdfast = Box::new(&test_input("cam0", false)).await;
    let input = holdfast.input("cam0").await;
    let recorder = holdfast.recorder().await;
    assert_eq!((input.state().await.unwrap().as_str(), input.pid().await.unwrap()), ("off", 0));
    recorder.arm(&[], none()).await.unwrap();
    let is_armed = || async { input.state().await.unwrap() == "armed" && input.preroll_ms().await.unwrap() > 0 };
    holdfast.until("pre-roll in memory", is_armed).await;
    let pid = input.pid().await.unwrap();
    // Remembered.
    holdfast.kill_recorder();
    holdfast.start_recorder().await;
    holdfast.until("the same capture", || async { input.pid().await.unwrap() == pid }).await;
    holdfast.until("still armed", is_armed).await;
    assert!(input.armed().await.unwrap());
    recorder.disarm(&["cam0".to_owned()], none()).await.unwrap();
    holdfast.until("no capture", || async { input.state().await.unwrap() == "off" }).await;
    assert_eq!(input.pid().await.unwrap(), 0);
}

#[tokio::test]
async fn a_missing_capture_program_is_named_and_nothing_is_begun() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", true)).await;
    let program = common::capture_program();
    holdfast.edit_config(&format!("{:?}", program.display().to_string()), "\"/nowhere/holdfast-capture\"");
    holdfast.start_recorder().await;
    let recorder = holdfast.recorder().await;
    let refused = recorder.start(StartOptions::default()).await.unwrap_err();
    let error = holdfast_dbus::Error::from_zbus(&refused).unwrap();
    assert_eq!(error.code.number(), -1013);
    assert!(error.message.contains("/nowhere/holdfast-capture"), "{error}");
    let input = holdfast.input("cam0").await;
    holdfast.until("the input's error", || async { input.source_error().await.unwrap().contains("/nowhere") }).await;
    assert_eq!(input.state().await.unwrap(), "failed");
    assert!(recorder.list_sessions(ListOptions::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bad_configuration_or_a_second_recorder_ends_with_words() {
    let mut holdfast = Box::new(&test_input("cam0", false)).await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast-recorder"))
        .arg("--config")
        .arg(holdfast.config_path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another recorder"), "{second:?}");
    holdfast.terminate_recorder();

    holdfast.edit_config("framerate = 30", "framerat = 30");
    holdfast.spawn_recorder();
    assert_eq!(holdfast.wait_for_exit().code(), Some(78));
    assert!(holdfast.log().contains("framerat"), "{}", holdfast.log());

    holdfast.edit_config("framerat = 30", "framerate = 30");
    holdfast.edit_config("bus.sock", "no-bus.sock");
    holdfast.spawn_recorder();
    assert_eq!(holdfast.wait_for_exit().code(), Some(1));
    assert!(holdfast.log().contains("no connection to the bus at"), "{}", holdfast.log());
}

#[tokio::test]
async fn changes_are_told_but_no_more_than_four_times_a_second() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    let mut rule =
        zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal).member("PropertiesChanged").unwrap();
    rule = rule.path("/org/holdfast/Recorder1/input/cam0").unwrap();
    let mut signals = zbus::MessageStream::for_match_rule(rule.build(), &holdfast.client, Some(1000)).await.unwrap();
    let began = std::time::Instant::now();
    holdfast.start("").await;
    holdfast.until_safe_frames("cam0", 90).await;
    holdfast.stop().await;
    let elapsed = began.elapsed().as_secs_f64();
    let mut count = 0;
    let mut names = BTreeSet::new();
    while let Some(Some(signal)) = futures_util::FutureExt::now_or_never(signals.next()) {
        let body = signal.unwrap().body();
        let (_, changed, _): (String, std::collections::HashMap<String, zbus::zvariant::Value<'_>>, Vec<String>) =
            body.deserialize().unwrap();
        names.extend(changed.into_keys());
        count += 1;
    }
    assert!(f64::from(count) <= 4.0 * elapsed + 1.0, "{count} signals in {elapsed} s");
    assert!(names.contains("State") && names.contains("SafeFrames") && names.contains("CurrentFile"), "{names:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_harms_nobody() {
    let holdfast = Box::new(&test_input("cam0", true)).await;
    // Subscribes to everything and never looks.
    let wedged = Bus::connect(&holdfast.bus).await;
    let rule = zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal).build();
    let _stream = zbus::MessageStream::for_match_rule(rule, &wedged, Some(1)).await.unwrap();
    for round in 0..5 {
        holdfast.start(&format!("round {round}")).await;
        holdfast.stop().await;
    }
    let listed = holdfast.recorder().await.list_sessions(ListOptions { limit: Some(2), before: None }).await.unwrap();
    let labels: Vec<_> = listed.iter().map(|row| row.label.as_str()).collect();
    assert_eq!(labels.len(), 2);
    let rest = ListOptions { limit: None, before: Some(listed[1].id.clone()) };
    assert_eq!(holdfast.recorder().await.list_sessions(rest).await.unwrap().len(), 3);
    // A page that can't be is no page, rather than the first one.
    for (limit, before) in [(Some(0), None), (None, Some("nosuch".to_owned()))] {
        let refused = holdfast.recorder().await.list_sessions(ListOptions { limit, before }).await.unwrap_err();
        assert!(refused.to_string().contains("-1001"), "{refused}");
    }
}
