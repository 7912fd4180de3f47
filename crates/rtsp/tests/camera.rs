//! Against a real RTSP server: the simulated camera, in a process of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_rtsp::client::open;
use holdfast_rtsp::{Credentials, Error, Frame, Options, Output, Player};

struct Camera {
    child: Child,
    url: String,
}

impl Camera {
    /// `None` (told on stderr) where the program cannot be built.
    fn start(arguments: &[&str]) -> Option<Self> {
        let built = Command::new(env!("CARGO")).args(["build", "-q", "-p", "holdfast-simcam"]).status();
        // This test lies in target/<profile>/deps.
        let test = std::env::current_exe().unwrap();
        let program: PathBuf = test.ancestors().nth(2).unwrap().with_file_name("debug/holdfast-simcam");
        if !built.is_ok_and(|status| status.success()) || !program.exists() {
            holdfast_aloud::skip(format_args!("{} cannot be built", program.display()));
            return None;
        }
        let mut child = Command::new(program)
            .args(["--size", "640x360", "--bitrate-kbps", "1000"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        let url = ready["url"].as_str().unwrap().to_owned();
        Some(Self { child, url })
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn options(known: Option<(&str, &str)>) -> Options {
    Options {
        user_agent: "test".into(),
        credentials: known.map(|(user, password)| Credentials { user: user.into(), password: password.into() }),
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(10),
        silence_timeout: Duration::from_secs(10),
    }
}

/// Plays all streams until every one has given `count` frames.
fn frames(url: &str, known: Option<(&str, &str)>, count: usize) -> Vec<Vec<Frame>> {
    let (client, presentation) = open(url, &options(known), &mut |_| {}).unwrap();
    let chosen: Vec<usize> = (0..presentation.streams.len()).collect();
    let mut frames = vec![Vec::new(); chosen.len()];
    let mut player = Player::play(client, &presentation, &chosen).unwrap();
    let begun = Instant::now();
    let now = || 1_000_000_000 + u64::try_from(begun.elapsed().as_nanos()).unwrap();
    while frames.iter().any(|frames: &Vec<Frame>| frames.len() < count) {
        let received = player.receive(&now, &mut |output| match output {
            Output::Frame(frame) => frames[frame.track].push(frame),
            Output::Broken { .. } => panic!("{output:?}"),
        });
        received.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60), "too few frames");
    }
    for track in 0..chosen.len() {
        assert_eq!(player.packets(track).1, 0);
    }
    player.teardown();
    frames
}

fn distances_ms(frames: &[Frame]) -> Vec<u64> {
    frames.windows(2).map(|pair| (pair[1].at_ns - pair[0].at_ns) / 1_000_000).collect()
}

#[test]
fn plays_every_codec_with_the_cameras_times() {
    for (video, audio, key) in [
        ("h264", "aac", &[0x67_u8, 0x09] as &[u8]),
        ("h264", "pcma", &[0x67, 0x09]),
        ("h264", "opus", &[0x67, 0x09]),
        ("h265", "none", &[0x40, 0x46]),
    ] {
        let Some(camera) = Camera::start(&["--codec", video, "--audio", audio]) else {
            return;
        };
        let tracks = frames(&camera.url, None, 40);
        assert_eq!(tracks.len(), if audio == "none" { 1 } else { 2 });
        let first = &tracks[0][0].data;
        assert!(first.starts_with(&[0, 0, 0, 1]) && key.contains(&first[4]), "{video}: {:02x?}", &first[..8]);
        let distances = distances_ms(&tracks[0]);
        assert!(distances.iter().all(|ms| (31..=36).contains(ms)), "{video}: {distances:?}");
        assert!(tracks[1..].iter().flatten().all(|frame| !frame.data.is_empty()));
        let strange = tracks[1..].iter().flat_map(|frames| distances_ms(frames)).find(|ms| *ms > 140);
        assert_eq!(strange, None, "{audio}");
    }
}

#[test]
fn proves_who_it_is() {
    let Some(camera) = Camera::start(&["--user", "eye", "--password", "secret", "--audio", "none"]) else {
        return;
    };
    frames(&camera.url, Some(("eye", "secret")), 3);
    let refused = |known| open(&camera.url, &options(known), &mut |_| {}).unwrap_err();
    assert!(matches!(refused(Some(("eye", "wrong"))), Error::WrongPassword));
    assert!(matches!(refused(None), Error::NeedsCredentials));
}

#[test]
fn tells_what_is_not_there() {
    let Some(camera) = Camera::start(&["--audio", "none"]) else {
        return;
    };
    let url = camera.url.replace("/cam0", "/nothing");
    let error = open(&url, &options(None), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::NotFound { status: 404 }), "{error}");
    let url = camera.url.clone();
    drop(camera);
    let error = open(&url, &options(None), &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error}");
}
