#![allow(clippy::panic, reason = "tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use holdfast_dbus::ErrorCode;

use super::{Checker, Child, Wanted};

/// A program in the place of `holdfast-capture`; `$2` is the configuration, which here is the directory of requests and answers.
fn checker(directory: &Path, script: &str) -> Checker {
    let program = directory.join("capture");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let child = Child::new(&program, directory.to_owned());
    Checker::new(Box::new(child), directory.to_owned(), vec!["cam0".to_owned()])
}

fn wanted(within: Duration) -> Wanted {
    Wanted { session: "/footage/s1".into(), last_seconds: Some(7), within, numbered: true }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_is_asked_for_is_handed_on_and_the_answer_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let answer = r#"{"complete":true,"files":[{"path":"/f","input":"cam0","sequence":3,"extent":"part","frames":9,"keyframes":1,
        "pictures":8,"numbered":8,"packets":2,"decoders":["d"],"undecoded":[],"faults":1,
        "fault":{"kind":"differs","text":"one is missing"}}]}"#;
    let script = format!("cp $2/decode.check $2/asked; echo '{answer}' > $2/decode.checked");
    let info = checker(dir.path(), &script).check(&wanted(LONG)).await.unwrap();
    let asked = std::fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, r#"{"paths":["/footage/s1"],"last_seconds":7,"within_ms":60000,"numbered":["cam0"]}"#);
    assert!(info.complete && info.failure.is_empty() && (info.frames, info.pictures) == (9, 8), "{info:?}");
    let file = &info.files[0];
    assert_eq!((file.fault.as_str(), file.text.as_str(), file.extent.as_str()), ("differs", "one is missing", "part"));
    assert!(!dir.path().join("decode.checked").exists() && !dir.path().join("decode.check").exists());
}

#[tokio::test]
async fn a_decoder_that_crashes_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let info = checker(dir.path(), "kill -SEGV $$").check(&wanted(LONG)).await.unwrap();
    assert!(!info.complete && info.failure.contains("signal: 11"), "{info:?}");
    // The answer of an earlier one is none.
    std::fs::write(dir.path().join("decode.checked"), r#"{"complete":true,"files":[]}"#).unwrap();
    let info = checker(dir.path(), "exit 2").check(&wanted(LONG)).await.unwrap();
    assert!(!info.complete && info.failure.contains("exit status: 2"), "{info:?}");
}

#[tokio::test]
async fn a_decoder_that_hangs_is_ended_and_there_is_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let checker = checker(dir.path(), "exec sleep 1000");
    let short = wanted(Duration::ZERO);
    let (hangs, second) = tokio::join!(checker.check(&short), checker.check(&short));
    assert!(hangs.unwrap().failure.contains("hung"));
    assert_eq!(second.unwrap_err().code, ErrorCode::Busy);
}

#[tokio::test]
async fn without_the_program_nothing_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let child = Child::new(Path::new("/no/such/program"), "/no/config".into());
    let checker = Checker::new(Box::new(child), dir.path().to_owned(), Vec::new());
    let error = checker.check(&wanted(LONG)).await.unwrap_err();
    assert!(error.code == ErrorCode::CaptureFailed && error.to_string().contains("/no/such/program"), "{error}");
}
