//! Gathers what is left of the end of the last recorder: marks of its own, systemd's, the kernel's.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use holdfast_log::Panic;
use serde_json::{Value, json};
use tracing::warn;

use super::reason::Evidence;
use crate::clock;
use crate::store::state::State;

/// `WDIOF_CARDRESET` of linux/watchdog.h.
const WATCHDOG_RESET: u64 = 0x20;

/// What the recorder leaves when it panics.
fn crash_path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("recorder.crash")
}

/// What systemd says of the end of the recorder's unit; written by `holdfast-recorder --note-end`.
fn end_path(state_dir: &Path) -> PathBuf {
    state_dir.join("recorder.end")
}

/// Reads it all. What is only about one end is taken away, so that it is not taken for the next.
pub fn gather(runtime_dir: &Path, state_dir: &Path, inputs: &[String], state: &State) -> Evidence {
    let boot_id = clock::boot_id();
    let run = state.run.clone().unwrap_or_default();
    let rebooted = run.boot_id != boot_id.0;
    let of_this_boot = |object: &Value| object["boot_id"].as_str() == Some(&boot_id.to_string());
    let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
    let oom_now = oom_kills().unwrap_or_default();
    Evidence {
        has_run: state.run.is_some(),
        rebooted,
        in_order: state.run_ended,
        panic: take(&crash_path(runtime_dir)).filter(of_this_boot).map(|crash| text(&crash, "text")),
        captures: inputs.iter().filter_map(|input| capture_crash(runtime_dir, input)).collect(),
        systemd: take(&end_path(state_dir))
            .filter(of_this_boot)
            .map(|end| (text(&end, "service_result"), text(&end, "exit_status"))),
        oom_kills: if rebooted { 0 } else { run.oom_kills.map_or(0, |before| oom_now.saturating_sub(before)) },
        watchdog: watchdog_reset(Path::new("/sys/class/watchdog")),
        kernel_crash: ["/sys/fs/pstore", "/var/lib/systemd/pstore"]
            .iter()
            .any(|dir| newer_than(Path::new(dir), run.wall_ns)),
    }
}

/// Processes that the kernel has killed for want of memory since the boot.
pub fn oom_kills() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// What a capture left when it crashed: input, reason, text, when.
fn capture_crash(runtime_dir: &Path, input: &str) -> Option<(String, String, String, i64)> {
    let path = runtime_dir.join(holdfast_link::SOCKET_DIRECTORY).join(format!("{input}.crash"));
    let object = read(&path)?;
    let first = |keys: &[&str]| keys.iter().find_map(|key| object[*key].as_str()).map(str::to_owned);
    let name = first(&["reason", "cause", "kind"]).unwrap_or_else(|| "crash".to_owned());
    let text = first(&["text", "message", "what"]).unwrap_or_else(|| object.to_string());
    Some((input.to_owned(), name, text, modified_wall_ns(&path).unwrap_or_default()))
}

/// A small JSON object in a file, if it is one.
fn read(path: &Path) -> Option<Value> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > 64 * 1024 {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn take(path: &Path) -> Option<Value> {
    let object = read(path);
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        warn!("{} can't be removed: {error}", path.display());
    }
    object
}

fn watchdog_reset(class: &Path) -> bool {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let status = |path: PathBuf| fs::read_to_string(path.join("bootstatus")).ok()?.trim().parse::<u64>().ok();
    entries.filter_map(|entry| status(entry.path())).any(|status| status & WATCHDOG_RESET != 0)
}

/// Whether anything in a directory is newer than that.
fn newer_than(dir: &Path, wall_ns: i64) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    wall_ns > 0 && entries.filter_map(|entry| modified_wall_ns(&entry.path())).any(|modified| modified > wall_ns)
}

fn modified_wall_ns(path: &Path) -> Option<i64> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// Leaves a note of a panic for the next recorder.
pub fn note_panic(runtime_dir: &Path, panic: &Panic) {
    let Panic { thread, location, message } = panic;
    let note = json!({
        "reason": "panic",
        "text": format!("{message} at {location} in thread {thread}"),
        "boot_id": clock::boot_id().to_string(),
        "wall_ns": clock::wall_ns(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    leave(&crash_path(runtime_dir), &note);
}

/// For `ExecStopPost=`: writes down how systemd says that the unit has ended.
pub fn note_end(state_dir: &Path) {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let note = json!({
        "service_result": variable("SERVICE_RESULT"),
        "exit_code": variable("EXIT_CODE"),
        "exit_status": variable("EXIT_STATUS"),
        "boot_id": clock::boot_id().to_string(),
        "wall_ns": clock::wall_ns(),
    });
    leave(&end_path(state_dir), &note);
}

/// As well as it can be done by who is about to end: a note that is lost makes the reason "unknown", no more.
fn leave(path: &Path, note: &Value) {
    let _ = fs::File::create(path).and_then(|mut file| file.write_all(note.to_string().as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::{gather, newer_than, oom_kills, watchdog_reset};
    use crate::clock;
    use crate::store::state::State;
    use crate::store::{Run, StateRecord};
    use serde_json::json;
    use std::fs;

    fn state(boot_id: [u8; 16], ended: bool) -> State {
        let run = Run { boot_id, wall_ns: 1, pid: 1, oom_kills: oom_kills() };
        let mut records = vec![StateRecord::RunBegan(run)];
        if ended {
            records.push(StateRecord::RunEnded { wall_ns: 2 });
        }
        State::of(&records)
    }

    #[test]
    fn notes_count_once_and_only_in_their_boot() {
        let dir = tempfile::tempdir().unwrap();
        let boot = clock::boot_id();
        let look = |state: &State| gather(dir.path(), dir.path(), &["cam0".to_owned()], state);
        let write = |name: &str, boot: &str| {
            let note = json!({"text": "t", "service_result": "signal", "exit_status": "KILL", "boot_id": boot});
            fs::write(dir.path().join(name), note.to_string()).unwrap();
        };
        write("recorder.crash", &boot.to_string());
        write("recorder.end", &boot.to_string());
        let found = look(&state(boot.0, true));
        assert!(found.has_run && found.in_order && !found.rebooted);
        assert_eq!((found.panic.as_deref(), found.oom_kills), (Some("t"), 0));
        assert_eq!(found.systemd, Some(("signal".into(), "KILL".into())));
        let again = look(&state(boot.0, false));
        assert!(again.panic.is_none() && again.systemd.is_none() && !again.in_order);
        write("recorder.crash", "0123");
        write("recorder.end", "0123");
        let other = look(&state([9; 16], false));
        assert!(other.rebooted && other.panic.is_none() && other.systemd.is_none());
        assert!(!look(&State::default()).has_run);
        // Garbage is no note.
        fs::write(dir.path().join("recorder.crash"), b"\xff{").unwrap();
        assert!(look(&State::default()).panic.is_none());
    }

    #[test]
    fn a_crash_of_a_capture_is_read_whatever_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("capture")).unwrap();
        let path = dir.path().join("capture/cam0.crash");
        for (note, reason, text) in [
            (json!({"reason": "panic", "text": "boom"}), "panic", "boom"),
            (json!({"kind": "signal", "message": "SIGSEGV"}), "signal", "SIGSEGV"),
            (json!({"strange": 1}), "crash", "{\"strange\":1}"),
        ] {
            fs::write(&path, note.to_string()).unwrap();
            let found = gather(dir.path(), dir.path(), &["cam0".to_owned()], &State::default());
            assert_eq!((found.captures[0].1.as_str(), found.captures[0].2.as_str()), (reason, text));
        }
    }

    #[test]
    fn kernel_and_watchdog_leave_their_marks() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!watchdog_reset(dir.path()));
        fs::create_dir(dir.path().join("watchdog0")).unwrap();
        for (status, reset) in [("0", false), ("32", true), ("16", false), ("x", false)] {
            fs::write(dir.path().join("watchdog0/bootstatus"), status).unwrap();
            assert_eq!(watchdog_reset(dir.path()), reset, "{status}");
        }
        let now = clock::wall_ns();
        assert!(newer_than(dir.path(), now - 3_600_000_000_000));
        assert!(!newer_than(dir.path(), now + 3_600_000_000_000));
        assert!(oom_kills().is_some(), "/proc/vmstat tells");
    }
}
