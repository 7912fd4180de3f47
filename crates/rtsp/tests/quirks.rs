//! Cameras with manners of their own: a socket that plays a script.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holdfast_rtsp::client::open;
use holdfast_rtsp::{Credentials, Error, Options, Output, Player};

fn options() -> Options {
    Options {
        user_agent: "test".into(),
        credentials: None,
        connect_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(1),
        silence_timeout: Duration::from_secs(2),
    }
}

/// A camera that gives these answers, one per request, with `{n}` for the request's number and `{url}` for its own address;
/// then it closes, or waits for the client to do so. Gives what it was asked.
fn camera(answers: &[&str], closes: bool) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}", listener.local_addr().unwrap());
    let answers: Vec<String> = answers.iter().map(|answer| answer.replace("{url}", &url)).collect();
    let thread = std::thread::spawn(move || {
        let mut asked = Vec::new();
        let (mut socket, _) = listener.accept().unwrap();
        for answer in answers {
            if answer == "next connection" {
                socket = listener.accept().unwrap().0;
                continue;
            }
            let Some(request) = request(&mut socket) else { break };
            let number = request.lines().find_map(|line| line.strip_prefix("CSeq: ")).unwrap().to_owned();
            asked.push(request);
            socket.write_all(&bytes(&answer.replace("{n}", &number))).unwrap();
        }
        if !closes {
            asked.extend(std::iter::from_fn(|| request(&mut socket)));
        }
        asked
    });
    (format!("{url}/stream"), thread)
}

/// A line of `$channel hex` is a packet, all else is text as it stands.
fn bytes(answer: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in answer.split_inclusive('\n') {
        let Some(packet) = line.strip_prefix('$') else {
            bytes.extend(line.replace('\n', "\r\n").into_bytes());
            continue;
        };
        let (channel, hex) = packet.trim().split_once(' ').unwrap();
        let payload: Vec<u8> =
            (0..hex.len() / 2).map(|n| u8::from_str_radix(&hex[n * 2..n * 2 + 2], 16).unwrap()).collect();
        bytes.extend([b'$', channel.parse().unwrap(), 0, u8::try_from(payload.len()).unwrap()]);
        bytes.extend(payload);
    }
    bytes
}

fn request(socket: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&text).into_owned())
}

fn description(control: &str) -> String {
    let sdp = format!("v=0\ns=x\nm=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{control}\n");
    let length = sdp.len() + sdp.matches('\n').count();
    format!("RTSP/1.0 200 OK\nCSeq: {{n}}\nContent-Length: {length}\n\n{sdp}")
}

const OK: &str = "RTSP/1.0 200 OK\nCSeq: {n}\n\n";

fn refusal(answers: &[&str], closes: bool) -> (Error, Vec<String>) {
    let (url, thread) = camera(answers, closes);
    let error = open(&url, &options(), &mut |_| {})
        .and_then(|(client, presentation)| Player::play(client, &presentation, &[0]))
        .unwrap_err();
    (error, thread.join().unwrap())
}

#[test]
fn plays_a_camera_that_does_everything_in_its_own_way() {
    let setup = "\nRTSP/1.0 200 OK\nCSeq: {n}\nSession: 77; timeout=2\nTransport: RTP/AVP/TCP;interleaved=4-5\n\n";
    // Packets overtake the answer, some on channels that nobody has asked for; then it asks something itself.
    let play = "$4 80e00001000000000000000965aa\n$9 80e0\nRTSP/1.0 200 OK\nSession: 77\n\n\
                OPTIONS rtsp://x/y RTSP/1.0\nCSeq: 5\n\n$4 80e0000200000bb80000000941bb\n";
    let (url, thread) = camera(&["RTSP/1.0 405 No\nCSeq: {n}\n\n", &description("t=1"), setup, play], false);
    let (client, presentation) = open(&url, &options(), &mut |_| {}).unwrap();
    let mut player = Player::play(client, &presentation, &[0]).unwrap();
    let mut frames = Vec::new();
    let begun = Instant::now();
    let silent = loop {
        let now = || 1_000_000_000_000;
        let received = player.receive(&now, &mut |output| {
            let Output::Frame(frame) = output else { panic!("{output:?}") };
            frames.push((frame.data, frame.at_ns));
        });
        if let Err(error) = received {
            break error;
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    };
    assert!(matches!(silent, Error::Silent { .. }), "{silent}");
    player.teardown();
    let data: Vec<_> = frames.iter().map(|(data, _)| data.as_slice()).collect();
    assert_eq!(data, [[0, 0, 0, 1, 0x65, 0xaa], [0, 0, 0, 1, 0x41, 0xbb]]);
    assert_eq!(frames[1].1 - frames[0].1, 33_333_333, "the camera's distance, not that of arrival");

    let asked = thread.join().unwrap();
    let lines: Vec<_> = asked.iter().map(|request| request.lines().next().unwrap()).collect();
    assert_eq!(lines[2], format!("SETUP {url}/t=1 RTSP/1.0"));
    assert_eq!(lines[3], format!("PLAY {url} RTSP/1.0"));
    assert!(asked[3].contains("Session: 77\r\n"), "{}", asked[3]);
    assert!(lines[4].starts_with("RTSP/1.0 200"), "its own question is answered");
    assert_eq!(lines[5], format!("OPTIONS {url} RTSP/1.0"), "a sign of life after half of its timeout");
    assert_eq!(lines[6], format!("TEARDOWN {url} RTSP/1.0"));
}

#[test]
fn follows_a_redirection_and_not_for_ever() {
    let on = "RTSP/1.0 302 Moved\nCSeq: {n}\nLocation: {url}/other\n\n";
    let (url, thread) = camera(&[OK, on, "next connection", OK, &description("*")], false);
    let (client, presentation) = open(&url, &options(), &mut |_| {}).unwrap();
    assert!(presentation.control.as_str().ends_with("/other"));
    client.teardown();
    assert!(thread.join().unwrap()[3].starts_with("DESCRIBE"));
    let round = [OK, on, "next connection", OK, on, "next connection", OK, on, "next connection", OK, on];
    let (error, _) = refusal(&round, true);
    assert!(matches!(error, Error::Redirected { .. }), "{error}");
    let (error, _) = refusal(&[OK, "RTSP/1.0 301 Moved\nCSeq: {n}\nLocation: http://x/\n\n"], true);
    assert!(error.to_string().contains("http://x/"), "{error}");
}

#[test]
fn refusals_are_told_apart() {
    let no = |status: &str| format!("RTSP/1.0 {status}\nCSeq: {{n}}\n\n");
    let setup = |status: &str| refusal(&[OK, &description("*"), &no(status)], true).0.to_string();
    assert!(setup("461 Unsupported Transport").contains("udp"));
    assert!(setup("453 Not Enough Bandwidth").contains("viewers"));
    assert!(setup("454 Session Not Found").contains("454"));
    assert!(setup("551 Option Not Supported").contains("SETUP: 551"));
    let udp = "RTSP/1.0 200 OK\nCSeq: {n}\nSession: 1\nTransport: RTP/AVP;unicast;client_port=1-2\n\n";
    assert!(matches!(refusal(&[OK, &description("*"), udp], true).0, Error::NoTcp));
    let sessionless = refusal(&[OK, &description("*"), OK], true).0;
    assert!(matches!(sessionless, Error::BadAnswer { .. }), "{sessionless}");
    assert!(matches!(refusal(&[OK, &no("403 Forbidden")], true).0, Error::Forbidden));
    assert!(matches!(refusal(&[OK, OK], true).0, Error::BadDescription { .. }));
    let jpeg = description("*").replace("H264", "JPEG");
    assert!(refusal(&[OK, &jpeg], true).0.to_string().contains("JPEG"));
}

#[test]
fn a_password_is_tried_once() {
    let challenge = "RTSP/1.0 401 No\nCSeq: {n}\nWWW-Authenticate: Basic realm=\"cam\"\n\n";
    let (url, thread) = camera(&[OK, challenge, challenge], true);
    let known = Options { credentials: Some(Credentials { user: "a".into(), password: "b".into() }), ..options() };
    let error = open(&url, &known, &mut |_| {}).unwrap_err();
    assert!(matches!(error, Error::WrongPassword), "{error}");
    assert!(thread.join().unwrap()[2].contains("Authorization: Basic YTpi"));
    assert!(matches!(refusal(&[OK, challenge], true).0, Error::NeedsCredentials));
}

#[test]
fn what_is_no_camera_is_told() {
    let http = "HTTP/1.1 400 Bad Request\nContent-Length: 3\n\nno\n";
    assert!(matches!(refusal(&[http], true).0, Error::NotRtsp { .. }));
    assert!(matches!(refusal(&[http], false).0, Error::NotRtsp { .. }));
    assert!(matches!(refusal(&[], true).0, Error::NotRtsp { .. }), "it hangs up at once");
    let (mute, _) = refusal(&[""], false);
    assert!(matches!(mute, Error::NoAnswer { method: "OPTIONS", .. }), "{mute}");
    for url in ["nonsense", "http://a/b", "rtsp:///b"] {
        let error = open(url, &options(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, Error::BadUrl { .. }), "{url}: {error}");
    }
}
