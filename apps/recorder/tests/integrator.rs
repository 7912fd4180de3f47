//! Runs the examples of docs/integrator.md, as they stand there, against a real recorder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::{Box, DEADLINE, test_input};
use holdfast_dbus::{ErrorCode, ListOptions};
use tokio::process::Command;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/integrator.md")).unwrap()
}

/// The code blocks with this info string, in order.
fn blocks(page: &str, info: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{info}") {
            found.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
        }
    }
    assert!(!found.is_empty(), "no blocks of {info}");
    found
}

/// Whether a tool is there. If not, says so and the test ends well: the page can't be tested on this machine.
async fn has(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let there = found.is_ok_and(|status| status.success());
    if !there {
        holdfast_aloud::skip(format_args!(
            "`{program} {}` does not work here, so its examples are not tested",
            arguments.join(" ")
        ));
    }
    there
}

/// Runs all blocks of one kind; each must succeed, leave nothing recording, and have recorded something if it says Start.
async fn run(info: &str, program: &str, arguments: &[&str]) {
    let holdfast = Box::new(&(test_input("cam0", true) + &test_input("cam-1", false))).await;
    let recorder = holdfast.recorder().await;
    let mut sessions = 0;
    for block in blocks(&page(), info) {
        let mut command = Command::new(program);
        // The page speaks of the system bus. Here that is ours.
        command.args(arguments).arg(&block).env("DBUS_SYSTEM_BUS_ADDRESS", &holdfast.bus.address).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .unwrap_or_else(|_| panic!("never ends:\n{block}"))
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{block}\n--- failed:\n{out}{err}\n--- recorder:\n{}", holdfast.log());
        assert!(!err.contains("Traceback"), "{block}\n---\n{err}");
        assert_eq!(recorder.state().await.unwrap(), "idle", "{block}");
        let listed = recorder.list_sessions(ListOptions::default()).await.unwrap();
        sessions += usize::from(block.contains("Start"));
        assert_eq!(listed.len(), sessions, "{block}");
        assert!(listed.iter().all(|session| session.state == "stopped" && session.safe_frames > 0), "{listed:?}");
    }
}

#[tokio::test]
async fn busctl_examples_work() {
    if has("busctl", &["--version"]).await && has("bash", &["--version"]).await {
        run("bash busctl", "bash", &["-eu", "-o", "pipefail", "-c"]).await;
    }
}

#[tokio::test]
async fn gdbus_examples_work() {
    if has("gdbus", &["help"]).await && has("bash", &["--version"]).await {
        run("bash gdbus", "bash", &["-eu", "-o", "pipefail", "-c"]).await;
    }
}

#[tokio::test]
async fn python_examples_work() {
    // The distribution's Python: dasbus comes with its packages.
    if has("/usr/bin/python3", &["-c", "import dasbus"]).await {
        run("python dasbus", "/usr/bin/python3", &["-c"]).await;
    }
}

#[test]
fn the_table_of_errors_is_complete() {
    let page = page();
    for code in ErrorCode::ALL {
        let name = code.name().rsplit('.').next().unwrap();
        let row = format!("| {} | {name} |", code.number());
        assert!(page.contains(&row), "docs/integrator.md has no row {row}");
    }
}
