//! Clock steps, last words, priorities, and captures that nobody needs any more.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::frames::assert_whole;
use common::{Box_, Client, PATIENCE, start};
use holdfast_link::{self as link, AlertCode, CrashReport, Event};
use holdfast_segment::{CloseReason, Reader};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = false\nbitrate_kbps = 500";

fn stepped(client: &mut Client) -> String {
    client.event("ClockStepped", |event| match event {
        Event::Alert { code: AlertCode::ClockStepped, text } => Some(text.as_str().to_owned()),
        _ => None,
    })
}

/// Hours forward and back again: the recording does not notice; the next files carry the time that was right when they began.
#[test]
fn the_clock_may_be_set_while_a_recording_runs() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let offset = station.directory.path().join("offset");
    std::fs::write(&offset, "0").unwrap();
    let mut capture =
        station.tampered(&["--wall-offset", offset.to_str().unwrap(), "--rotation-ms", "1500"], Stdio::inherit());
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let mut turns = Vec::new();
    for (seconds, said) in [("10800", "+10800 s"), ("-86400", "-97200 s"), ("0", "+86400 s")] {
        let sequence = client.status().file_sequence;
        // As a whole, or the capture may read it empty.
        let new = offset.with_extension("new");
        std::fs::write(&new, seconds).unwrap();
        std::fs::rename(&new, &offset).unwrap();
        let text = stepped(client);
        assert!(text.contains(said), "{text}");
        turns.push(sequence);
        client.until("two more files", PATIENCE, |client| client.status().file_sequence >= sequence + 2);
    }
    let stopped = client.stop("s1");
    assert!(!client.events.iter().any(|event| matches!(event, Event::Alert { code: AlertCode::ClockStepped, .. })));
    assert!(!client.events.iter().any(|event| matches!(event, Event::Gap(_))));
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    let files = station.files("s1");
    assert_eq!(assert_whole(&files).len() as u64, stopped.counts.safe);
    station.verify("s1");
    let identities: Vec<_> = files.iter().map(|file| Reader::open(file).unwrap().identity().clone()).collect();
    let offset_s = |sequence: u64| {
        let identity = identities.iter().find(|identity| identity.sequence == sequence).unwrap();
        let now = holdfast_capture::clock::wall_ns() - i64::try_from(holdfast_capture::clock::mono_ns()).unwrap();
        (identity.start_wall_ns - i64::try_from(identity.start_mono_ns).unwrap() - now) / 1_000_000_000
    };
    // The file that was open keeps the time it began with, the one after the next has the new time.
    assert_eq!(offset_s(turns[0]), 0);
    assert!((offset_s(turns[0] + 2) - 10_800).abs() <= 1);
    assert!((offset_s(turns[1] + 2) + 86_400).abs() <= 1);
    assert!(offset_s(turns[2] + 2).abs() <= 1);
    assert!(identities.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1), "names do not collide");
    assert!(identities.windows(2).all(|pair| pair[1].start_mono_ns > pair[0].start_mono_ns));
    drop(capture);
}

#[test]
fn a_panic_leaves_a_report() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let trigger = station.directory.path().join("panic");
    let mut capture = station.tampered(&["--panic-file", trigger.to_str().unwrap()], Stdio::null());
    let pid = capture.child.id();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    std::fs::write(&trigger, "").unwrap();
    let status = capture.child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "{status}");
    let path = station.socket().with_file_name("cam0.crash");
    let report: CrashReport = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!((report.input.as_str(), report.pid, report.thread.as_str()), ("cam0", pid, "sabotage"));
    assert_eq!((report.session.as_deref(), report.trace), (Some("s1"), 7));
    assert!(report.message.contains("told to panic") && report.location.contains("tampered.rs"), "{report:?}");
    assert!(report.software.starts_with("holdfast-capture ") && report.mono_ns > 0 && report.wall_ns > 0);
    assert_eq!(report.boot_id.len(), 32);
    // What had been safe is there.
    let mut next = station.capture();
    assert_ne!(next.child.id(), pid);
    next.client().until_armed_with(0);
}

#[test]
fn an_idle_capture_without_a_recorder_ends_and_a_recording_one_does_not() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.tampered(&["--alone-ms", "1000"], Stdio::inherit());
    // As long as somebody is there it stays.
    let long = Instant::now() + Duration::from_millis(2500);
    capture.client().until("some time", PATIENCE, |_| Instant::now() >= long);
    assert!(capture.child.try_wait().unwrap().is_none());
    capture.client().start(start("s1"));
    capture.client().started();
    capture.leave();
    std::thread::sleep(Duration::from_millis(2500));
    assert!(capture.child.try_wait().unwrap().is_none(), "it records");
    let mut second = Client::connect_within(&station.socket(), PATIENCE);
    second.until_safe(90);
    second.stop("s1");
    drop(second);
    capture.leave();
    let gone = Instant::now() + PATIENCE;
    let status = loop {
        match capture.child.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(Instant::now() < gone, "it does not end"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
    assert!(!station.socket().exists());
    let reader = Reader::open(&station.files("s1")[0]).unwrap();
    assert_eq!(reader.ledger().unwrap().reason, CloseReason::Stop);
}

fn field(pid: u32, thread: &str, number: usize) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).unwrap();
    // The name in parentheses may hold spaces.
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_whitespace().nth(number - 3).unwrap().parse().unwrap()
}

fn threads(pid: u32) -> Vec<String> {
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn holds(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap() & (1 << capability) != 0
}

const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

#[test]
fn a_capture_goes_first_with_all_its_threads() {
    if !holds(CAP_SYS_NICE) {
        holdfast_aloud::skip("this user may not raise priorities");
        return;
    }
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    let denied = client.events.iter().find_map(|event| match event {
        Event::Alert { code: AlertCode::Priority, text } => Some(text.as_str().to_owned()),
        _ => None,
    });
    client.stop("s1");
    let pid = capture.child.id();
    let all = threads(pid);
    assert!(all.len() >= 4, "{all:?}");
    for thread in &all {
        assert_eq!(field(pid, thread, 19), -10, "thread {thread}");
    }
    match Command::new("ionice").args(["-p", &pid.to_string()]).output() {
        Ok(said) => assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "best-effort: prio 0"),
        Err(_) => holdfast_aloud::skip("no ionice to see the I/O priority with"),
    }
    let oom = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    match (holds(CAP_SYS_RESOURCE), denied) {
        (true, denied) => assert_eq!((oom.trim(), denied), ("-900", None)),
        // What cannot be had is told, and nothing else.
        (false, Some(denied)) => assert!(denied.contains("OOM") && !denied.contains("nice -10"), "{denied}"),
        (false, None) => panic!("nothing was told, and the OOM score is {oom}"),
    }
}

#[test]
fn without_privileges_it_records_and_says_so_once() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let program = PathBuf::from(env!("CARGO_BIN_EXE_holdfast-capture"));
    let dropped = ["--bounding-set", "-sys_nice,-sys_resource", "--inh-caps", "-sys_nice,-sys_resource"];
    let able = Command::new("setpriv").args(dropped).arg("true").status().is_ok_and(|status| status.success());
    if !able {
        holdfast_aloud::skip("setpriv cannot take capabilities away here");
        return;
    }
    let child = Command::new("setpriv")
        .args(dropped)
        .arg(program)
        .args(["--input", "cam0", "--config"])
        .arg(&station.config)
        .env("HOLDFAST_LOG", "error")
        .spawn()
        .unwrap();
    let mut capture = station.greet(child);
    let client = capture.client();
    let told = client.event("Priority", |event| match event {
        Event::Alert { code: AlertCode::Priority, text } => Some(text.as_str().to_owned()),
        _ => None,
    });
    assert!(told.contains("nice -10") && told.contains("OOM score"), "{told}");
    client.start(start("s1"));
    client.started();
    client.until_safe(10);
    let stopped = client.stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert!(
        !client.events.iter().any(|event| matches!(event, Event::Alert { code: AlertCode::Priority, .. })),
        "twice"
    );
    // It holds, so whoever comes later hears of it too.
    let mut later = Client::connect_within(&station.socket(), PATIENCE);
    later.event("Priority", |event| matches!(event, Event::Alert { code: AlertCode::Priority, .. }).then_some(()));
}

#[test]
fn late_pictures_are_counted() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    let client = capture.client();
    client.start(start("s1"));
    client.started();
    client.until_safe(15);
    assert_eq!(client.status().late, link::Late::default());
    // All threads stand still, as on a box that is overloaded; the source makes up for nothing.
    let pid = rustix::process::Pid::from_child(&capture.child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(900));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    let client = capture.client();
    client.until("the late picture", PATIENCE, |client| client.status().late.frames >= 1);
    let late = client.status().late;
    assert!((800..60_000).contains(&late.longest_ms), "{late:?}");
    client.stop("s1");
    client.start(start("s2"));
    client.started();
    assert_eq!(client.status().late, link::Late::default(), "each recording counts for itself");
}
