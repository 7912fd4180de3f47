//! A real process that panics: what it says, and how it ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

const SIGABRT: i32 = 6;
const ROLE: &str = "HOLDFAST_TEST_PANICS";

/// Runs this very test in a process of its own, as the one that panics.
#[test]
fn a_panic_is_told_with_its_context_and_ends_the_process() {
    if let Some(file) = std::env::var_os(ROLE) {
        return panics(file.into());
    }
    let dir = std::env::temp_dir().join(format!("holdfast-log-{}", std::process::id()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_panic_is_told_with_its_context_and_ends_the_process", "--nocapture", "--test-threads=1"])
        .env(ROLE, &dir)
        .env_remove("RUST_BACKTRACE")
        .env_remove(holdfast_log::VARIABLE)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
    let line = said
        .lines()
        .find(|line| line.contains("panic: of 7 frames one is missing"))
        .unwrap_or_else(|| panic!("{said}"));
    for part in
        ["ERROR", "thread=writer", "location=", "panic.rs:", "task=supervisor", "input=cam0", "trace=00000000000000ff"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(said.matches("of 7 frames").count(), 1, "told twice:\n{said}");
    // Whoever wanted the last word has had it.
    assert_eq!(std::fs::read_to_string(&dir).unwrap(), "writer: of 7 frames one is missing");
    std::fs::remove_file(dir).unwrap();
}

fn panics(file: std::path::PathBuf) {
    let _log = holdfast_log::begin("info");
    holdfast_log::end_on_panic(move |panic| {
        std::fs::write(&file, format!("{}: {}", panic.thread, panic.message)).unwrap();
    });
    let thread = std::thread::Builder::new().name("writer".to_owned()).spawn(|| {
        let _task = tracing::error_span!("task", task = "supervisor", input = "cam0").entered();
        let _call = tracing::error_span!("call", trace = 255_u64).entered();
        let frames = 7;
        panic!("of {frames} frames one is missing");
    });
    let _ = thread.unwrap().join();
    unreachable!("the process has ended");
}
