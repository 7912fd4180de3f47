//! The bytes on the wire, written down. A change here is a change of the protocol: raise `VERSION`, then bless the new bytes.
#![allow(clippy::unwrap_used, reason = "tests")]

use heapless::Vec;
use holdfast_link::{
    Counts, DropCount, DropReason, Event, FromCapture, GapCause, Hello, Id, MAX_FRAME_BYTES, Mark, Path, Phase, Resume,
    SourceState, Start, Status, Stop, StopReason, Text, ToCapture, VERSION, WireError, clip, decode, encode,
    encode_refusal,
};
use proptest::prelude::{any, prop_assert, proptest};

fn id(text: &str) -> Id {
    Id::try_from(text).unwrap()
}

fn bytes<T: serde::Serialize>(message: &T) -> std::vec::Vec<u8> {
    encode(message, &mut [0; MAX_FRAME_BYTES]).unwrap().to_vec()
}

fn start() -> ToCapture {
    ToCapture::Start(Start {
        request: 7,
        session: id("s1"),
        directory: Path::try_from("d/s1/cam0").unwrap(),
        sequence: 300,
        preroll: true,
        resume: Some(Resume {
            cause: GapCause::CaptureDied,
            safe_until_mono_ns: 1_000,
            frames_lost: 3,
            previous_sequence: 299,
            previous_file_id: None,
        }),
        trace: 5,
    })
}

/// Every field at its longest: what `MAX_FRAME_BYTES` must hold.
fn longest_status() -> FromCapture {
    let text: Text = clip(&"x".repeat(1_000));
    let drop = DropCount { reason: DropReason::Corrupt, frames: u64::MAX };
    FromCapture::Status(Status {
        mono_ns: u64::MAX,
        phase: Phase::Stopping,
        session: Some(clip(&text)),
        source: SourceState::Waiting { attempts: u32::MAX, retry_ms: u32::MAX, error: text.clone() },
        encoder: clip(&text),
        counts: Counts { source: u64::MAX, encoded: u64::MAX, muxed: u64::MAX, safe: u64::MAX },
        drops: Vec::from_slice(&[drop; 8]).unwrap(),
        safe_bytes: u64::MAX,
        safe_until_mono_ns: u64::MAX,
        first_mono_ns: u64::MAX,
        file_sequence: u64::MAX,
        file_id: [0xff; 16],
        file: clip(&text),
        queue_bytes: u64::MAX,
        queue_capacity_bytes: u64::MAX,
        preroll_ms: u32::MAX,
        sync_us: u32::MAX,
        sync_max_us: u32::MAX,
    })
}

#[test]
fn golden_requests() {
    assert_eq!(VERSION, 1, "the golden bytes below are those of version 1");
    assert_eq!(bytes(&ToCapture::Hello), b"HF\x01\x00\x00");
    assert_eq!(
        bytes(&start()),
        b"HF\x01\x00\x01\x07\x02s1\x09d/s1/cam0\xac\x02\x01\x01\x00\xe8\x07\x03\xab\x02\x00\x05"
    );
    let stop = ToCapture::Stop(Stop { request: 1, session: id("s1"), reason: StopReason::StorageCritical, trace: 0 });
    assert_eq!(bytes(&stop), b"HF\x01\x00\x02\x01\x02s1\x01\x00");
    let mark = ToCapture::Mark(Mark { mono_ns: 1, wall_ns: -1, text: clip("goal") });
    assert_eq!(bytes(&mark), b"HF\x01\x00\x03\x01\x01\x04goal");
    assert_eq!(bytes(&ToCapture::Shutdown), b"HF\x01\x00\x04");
    assert_eq!(bytes(&ToCapture::Arm(true)), b"HF\x01\x00\x05\x01");
}

#[test]
fn golden_hello() {
    let hello = FromCapture::Hello(Hello {
        input: id("cam0"),
        pid: 300,
        boot_id: [7; 16],
        config_digest: 1,
        software: clip("hc 0.1"),
    });
    let mut expected = b"HF\x01\x00\x00\x04cam0\xac\x02".to_vec();
    expected.extend([7; 16]);
    expected.extend(b"\x01\x06hc 0.1");
    assert_eq!(bytes(&hello), expected);
}

#[test]
fn what_was_encoded_decodes() {
    assert_eq!(decode::<ToCapture>(&bytes(&start())).unwrap(), start());
    let status = longest_status();
    assert_eq!(decode::<FromCapture>(&bytes(&status)).unwrap(), status);
}

#[test]
fn a_peer_of_another_version_gets_a_clear_refusal() {
    let mut frame = bytes(&ToCapture::Hello);
    frame[2] = 9;
    let error = decode::<ToCapture>(&frame).unwrap_err();
    assert_eq!(error, WireError::Version { theirs: 9, ours: VERSION });
    assert!(error.to_string().contains("version 9"), "{error}");
    // And what we answer is understood, in every version to come, as this.
    assert_eq!(encode_refusal(), *b"HF\x00\x00\x01\x00");
    assert_eq!(
        decode::<FromCapture>(&encode_refusal()).unwrap_err(),
        WireError::RefusedByPeer { theirs: VERSION, ours: VERSION }
    );
}

#[test]
fn trailing_bytes_and_strangers_are_refused() {
    let mut frame = bytes(&ToCapture::Hello);
    frame.push(0);
    assert_eq!(decode::<ToCapture>(&frame).unwrap_err(), WireError::Malformed { length: 6 });
    assert_eq!(decode::<ToCapture>(b"GET / HTTP/1.1").unwrap_err(), WireError::Foreign { length: 14 });
    assert_eq!(decode::<ToCapture>(b"").unwrap_err(), WireError::Foreign { length: 0 });
}

#[test]
fn a_small_buffer_is_an_error() {
    assert_eq!(encode(&start(), &mut [0; 8]).unwrap_err(), WireError::TooLong);
    assert_eq!(encode(&start(), &mut [0; 3]).unwrap_err(), WireError::TooLong);
}

proptest! {
    /// Nothing that arrives on the socket may panic us, and what decodes encodes again.
    #[test]
    fn garbage_never_panics(tail in proptest::collection::vec(any::<u8>(), 0..300), ours in any::<bool>()) {
        let mut frame = if ours { b"HF\x01\x00".to_vec() } else { std::vec::Vec::new() };
        frame.extend(tail);
        if let Ok(message) = decode::<ToCapture>(&frame) {
            prop_assert!(encode(&message, &mut [0; MAX_FRAME_BYTES]).is_ok());
        }
        if let Ok(FromCapture::Event(Event::Refused(refused))) = decode::<FromCapture>(&frame) {
            prop_assert!(refused.text.len() <= 256);
        }
    }
}
