//! Inputs that nobody records are looked at, and whatever their sources do then costs no recording anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Box, capture_program, none, test_input};
use holdfast_dbus::{AlertInfo, AlertsProxy, InputProxy, StartOptions};

/// A recorder that does not feel how busy the machine is that runs the tests: under pressure probing rests.
async fn calm(inputs: &str) -> Box {
    let mut holdfast = Box::without_recorder("", inputs).await;
    be_calm(&mut holdfast);
    holdfast.start_recorder().await;
    holdfast
}

fn be_calm(holdfast: &mut Box) {
    let nothing = holdfast.dir.path().join("proc");
    fs::create_dir(&nothing).unwrap();
    holdfast.arguments.extend(["--proc".to_owned(), nothing.display().to_string()]);
}

/// An RTSP input.
fn camera(name: &str, address: SocketAddr) -> String {
    format!("[[input]]\nname = \"{name}\"\nsource = \"rtsp\"\nurl = \"rtsp://{address}/cam0\"\narmed = false\n")
}

/// Nobody listens there.
fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// A simulated camera. Ends with the test.
struct Simcam(Child);

impl Simcam {
    /// `None`, said aloud, where it can't be built.
    fn listen(address: SocketAddr) -> Option<Self> {
        let program = capture_program().with_file_name("holdfast-simcam");
        let release = program.parent().is_some_and(|dir| dir.ends_with("release")).then_some("--release");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "holdfast-simcam"]).args(release);
        if !build.status().is_ok_and(|status| status.success()) && !program.exists() {
            holdfast_aloud::skip("holdfast-simcam can't be built");
            return None;
        }
        let mut child = Command::new(program)
            .args(["--listen", &address.to_string(), "--size", "320x240", "--audio", "none", "--end-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"url\""), "{line}");
        Some(Self(child))
    }
}

impl Drop for Simcam {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn begin(holdfast: &Box, input: &str) {
    let options =
        StartOptions { inputs: Some(vec![input.to_owned()]), wait_ms: Some(20_000), ..StartOptions::default() };
    holdfast.recorder().await.start(options).await.unwrap_or_else(|error| panic!("{error}\n{}", holdfast.log()));
}

async fn until(holdfast: &Box, input: &InputProxy<'_>, reachable: &str) {
    let what = format!("the input to be told as reachable: {reachable}");
    holdfast.until(&what, || async { input.reachable().await.unwrap() == reachable }).await;
}

/// The alert, if it holds.
async fn alert(holdfast: &Box, input: &str) -> Option<AlertInfo> {
    let proxy = AlertsProxy::builder(&holdfast.client);
    let proxy = proxy.cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap();
    let active = proxy.active().await.unwrap();
    active.into_iter().find(|alert| alert.code == "input-unreachable" && alert.source == input)
}

/// The probe of an input that runs now, by this recorder.
fn probe(holdfast: &Box) -> Option<u32> {
    let config = holdfast.config_path();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let has = |wanted: &[u8]| words.split(|byte| *byte == 0).any(|word| word == wanted);
        has(config.as_os_str().as_encoded_bytes()) && has(b"probe-input")
    })
}

#[tokio::test]
async fn a_camera_that_is_away_is_told_before_it_is_recorded() {
    let address = nobody();
    let holdfast = calm(&format!("{}{}", test_input("cam0", false), camera("cam1", address))).await;
    let (there, away) = (holdfast.input("cam0").await, holdfast.input("cam1").await);
    until(&holdfast, &away, "no").await;
    let why = away.reach_error().await.unwrap();
    assert!(why.contains(&address.to_string()) && why.contains("cannot be reached"), "{why}");
    let told = alert(&holdfast, "cam1").await.unwrap();
    assert_eq!((told.level.as_str(), &told.text, told.active), ("warning", &why, true));
    until(&holdfast, &there, "yes").await;
    assert_eq!((there.reach_error().await.unwrap(), alert(&holdfast, "cam0").await), (String::new(), None));

    // Somebody plugs it in. While something is recorded that is seen after 10 s at the latest.
    begin(&holdfast, "cam0").await;
    let Some(_camera) = Simcam::listen(address) else { return };
    let plugged = Instant::now();
    until(&holdfast, &away, "yes").await;
    println!("a camera that came back was seen after {:?}", plugged.elapsed());
    assert!(plugged.elapsed() < Duration::from_secs(13), "{:?}", plugged.elapsed());
    assert_eq!((away.reach_error().await.unwrap(), alert(&holdfast, "cam1").await), (String::new(), None));
    // The one that is recorded is not looked at: its capture knows.
    assert_eq!(there.reachable().await.unwrap(), "unknown");
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.lost_frames), (0, 0));
    until(&holdfast, &there, "yes").await;
}

#[tokio::test]
async fn what_is_wrong_is_forgotten_once_a_capture_has_the_input() {
    let holdfast = calm(&camera("cam0", nobody())).await;
    let input = holdfast.input("cam0").await;
    until(&holdfast, &input, "no").await;
    holdfast.recorder().await.arm(&["cam0".to_owned()], none()).await.unwrap();
    until(&holdfast, &input, "unknown").await;
    assert_eq!((input.reach_error().await.unwrap(), alert(&holdfast, "cam0").await), (String::new(), None));
    // The capture says it instead.
    holdfast.until("the capture's own word", || async { input.source_state().await.unwrap() == "waiting" }).await;
    holdfast.recorder().await.disarm(&["cam0".to_owned()], none()).await.unwrap();
    until(&holdfast, &input, "no").await;
    assert!(alert(&holdfast, "cam0").await.is_some());
}

#[tokio::test]
async fn a_camera_that_says_nothing_is_given_up_and_costs_the_recording_nothing() {
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let cameras = camera("cam1", mute.local_addr().unwrap());
    let holdfast = calm(&format!("{}{cameras}", test_input("cam0", false))).await;
    begin(&holdfast, "cam0").await;
    let input = holdfast.input("cam1").await;
    // Accepts, and holds its tongue; twice, so that there is a recording with probes beside it.
    mute.set_nonblocking(true).unwrap();
    let mute = tokio::net::TcpListener::from_std(mute).unwrap();
    for look in 1..=2 {
        let (connection, _) = tokio::time::timeout(common::DEADLINE, mute.accept()).await.unwrap().unwrap();
        let accepted = Instant::now();
        let pid = probe(&holdfast).unwrap_or_else(|| panic!("no probe runs\n{}", holdfast.log()));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let nice = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(19 - 3).unwrap();
        assert_eq!(nice, "19", "{stat}");
        let class = Command::new("ionice").args(["-p", &pid.to_string()]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&class.stdout).trim(), "idle");
        holdfast.until("the probe to end", || async { probe(&holdfast) != Some(pid) }).await;
        println!("look {look} was given up after {:?}", accepted.elapsed());
        assert!(accepted.elapsed() < Duration::from_millis(2500), "{:?}", accepted.elapsed());
        until(&holdfast, &input, "no").await;
        let why = input.reach_error().await.unwrap();
        assert!(why.contains("did not answer OPTIONS within 1 s"), "{why}");
        drop(connection);
    }
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.lost_frames), (0, 0));
}

/// In place of the capture program: its probes hang for ever, and its captures say whether one runs beside them.
fn hanging(holdfast: &Box) -> (PathBuf, PathBuf) {
    let path = |name: &str| holdfast.dir.path().join(name);
    let (script, probes, beside) = (path("capture.sh"), path("probes"), path("beside"));
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' probe-input '*) echo $$ >> {probes}; exec sleep 60;; esac\n\
         while read pid; do kill -0 $pid 2>&- && echo $pid >> {beside}; done < {probes}\nexec {capture} \"$@\"\n",
        probes = probes.display(),
        beside = beside.display(),
        capture = capture_program().display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&probes, "").unwrap();
    holdfast.edit_config(&capture_program().display().to_string(), &script.display().to_string());
    (probes, beside)
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_start_while_a_probe_hangs_records_at_once() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    let (probes, beside) = hanging(&holdfast);
    be_calm(&mut holdfast);
    holdfast.start_recorder().await;
    holdfast.until("a probe that hangs", || async { lines(&probes) == 1 }).await;
    let began = Instant::now();
    holdfast.start("").await;
    println!("footage was safe {:?} after the start", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}\n{}", began.elapsed(), holdfast.log());
    assert_eq!(lines(&beside), 0, "the probe still had the source when the capture began");
    let input = holdfast.input("cam0").await;
    assert_eq!(input.reachable().await.unwrap(), "unknown");
    holdfast.until_safe_frames("cam0", 30).await;
    let totals = holdfast.stop().await;
    assert_eq!((totals.gaps, totals.lost_frames, lines(&probes)), (0, 0, 1));
}

#[tokio::test]
async fn what_hangs_again_and_again_is_told() {
    let mut holdfast = Box::without_recorder("", &test_input("cam0", false)).await;
    let (probes, _) = hanging(&holdfast);
    be_calm(&mut holdfast);
    holdfast.start_recorder().await;
    let input = holdfast.input("cam0").await;
    holdfast.until("a second probe that hangs", || async { lines(&probes) == 2 }).await;
    assert_eq!(input.reachable().await.unwrap(), "unknown", "one alone says nothing");
    let began = Instant::now();
    until(&holdfast, &input, "no").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let pid = fs::read_to_string(&probes).unwrap().lines().next().unwrap().to_owned();
    assert!(!Path::new("/proc").join(&pid).exists(), "the first one was not ended: {pid}");
    let told = alert(&holdfast, "cam0").await.unwrap();
    assert!(told.text.contains("no end within 2 s"), "{}", told.text);
}
