//! Peers that are mad, foreign, deaf or too many: a recording does not notice them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use common::frames::assert_whole;
use common::{Box_, Client, PATIENCE, start};
use holdfast_link::{self as link, Event, FromCapture, ToCapture, WireError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};

const SMALL: &str = "source = \"test\"\nwidth = 320\nheight = 180\nframerate = 30\naudio = false\nbitrate_kbps = 500";

/// Everything the capture sends until it hangs up.
fn until_hangup(fd: &std::os::fd::OwnedFd) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let patience = Timespec::try_from(PATIENCE).unwrap();
        assert!(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&patience)).unwrap() > 0, "it does not hang up");
        let mut buffer = [0; link::MAX_FRAME_BYTES];
        match rustix::net::recv(fd, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, 0)) | Err(rustix::io::Errno::CONNRESET) => return all,
            Ok((_, length)) => all.push(buffer[..length].to_vec()),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn garbage_is_refused_and_the_recording_goes_on() {
    let station = Box_::new("sync_interval_ms = 100", SMALL);
    let mut capture = station.capture();
    capture.client().start(start("s1"));
    capture.client().started();

    let mut frame = [0; link::MAX_FRAME_BYTES];
    let hello = link::encode(&ToCapture::Hello, &mut frame).unwrap().to_vec();
    let with_tail = [hello.clone(), vec![0; 40]].concat();
    let huge = vec![b'H'; 60_000];
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"H", b"HF\x04\x00\xff\xff\xff", &with_tail, &huge] {
        let fd = Client::dial(&station.socket()).unwrap();
        rustix::net::send(&fd, garbage, SendFlags::NOSIGNAL).unwrap();
        let answers = until_hangup(&fd);
        let answer = link::decode::<FromCapture>(&answers[0]).unwrap();
        let FromCapture::Event(Event::Refused(refused)) = answer else { panic!("{answer:?}") };
        assert_eq!(refused.code, -1001, "{refused:?}");
    }
    // Commands before the greeting are no way to begin.
    let fd = Client::dial(&station.socket()).unwrap();
    let shutdown = link::encode(&ToCapture::Shutdown, &mut frame).unwrap();
    rustix::net::send(&fd, shutdown, SendFlags::NOSIGNAL).unwrap();
    assert_eq!(until_hangup(&fd).len(), 1);

    let safe = capture.client().status().counts.safe;
    capture.client().until_safe(safe + 15);
    let stopped = capture.client().stop("s1");
    assert_eq!(stopped.counts.source, stopped.counts.safe);
    assert_whole(&station.files("s1"));
}

#[test]
fn a_peer_of_another_version_is_told_which_one_we_speak() {
    let station = Box_::new("", SMALL);
    let mut capture = station.capture();
    let fd = Client::dial(&station.socket()).unwrap();
    rustix::net::send(&fd, b"HF\x63\x00whatever version 99 says", SendFlags::NOSIGNAL).unwrap();
    let answers = until_hangup(&fd);
    let told = link::decode::<FromCapture>(&answers[0]).unwrap_err();
    assert_eq!(told, WireError::RefusedByPeer { theirs: link::VERSION, ours: link::VERSION });
    assert!(capture.client().read(PATIENCE), "the others are served as before");
}

#[test]
fn a_peer_that_does_not_listen_is_disconnected() {
    let station = Box_::new("sync_interval_ms = 50", SMALL);
    let mut capture = station.capture();
    let deaf = Client::dial(&station.socket()).unwrap();
    let mut frame = [0; link::MAX_FRAME_BYTES];
    let hello = link::encode(&ToCapture::Hello, &mut frame).unwrap();
    // Each greeting is answered by two messages that nobody reads.
    let hung_up =
        (0..100_000).any(|_| match rustix::net::send(&deaf, hello, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => false,
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let room = Timespec::try_from(PATIENCE).unwrap();
                poll(&mut [PollFd::new(&deaf, PollFlags::OUT)], Some(&room)).unwrap();
                false
            }
            Err(_) => true,
        });
    assert!(hung_up, "100 000 greetings without reading an answer");
    assert!(capture.client().read(PATIENCE));
}

#[test]
fn more_peers_than_seats_are_turned_away() {
    let station = Box_::new("", SMALL);
    let mut capture = station.capture();
    let peers: Vec<_> = (0..40).map(|_| Client::dial(&station.socket()).unwrap()).collect();
    let patience = Timespec::try_from(Duration::from_secs(10)).unwrap();
    let turned_away = peers.iter().rev().take(20).all(|peer| {
        poll(&mut [PollFd::new(peer, PollFlags::IN)], Some(&patience)).unwrap() > 0
            && matches!(rustix::net::recv(peer, &mut [0_u8; 16][..], RecvFlags::empty()), Ok((_, 0)))
    });
    assert!(turned_away);
    assert!(capture.client().read(PATIENCE));
    drop(peers);
    Client::connect_within(&station.socket(), PATIENCE);
}

#[test]
fn a_second_capture_of_an_input_does_not_start() {
    let station = Box_::new("", SMALL);
    let mut capture = station.capture();
    let mut second = station.spawn(Stdio::piped());
    assert!(!second.wait().unwrap().success());
    let mut text = String::new();
    second.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("another capture serves this input"), "{text}");
    assert!(capture.client().read(PATIENCE), "the first is served as before");
    // A capture that was killed leaves socket and lock behind; they are in nobody's way.
    capture.kill();
    assert!(station.socket().exists());
    station.capture();
}
