//! The bytes on the wire, written down. A change here is a change of the protocol: raise `VERSION`, then bless the new bytes.
#![allow(clippy::unwrap_used, reason = "tests")]

use heapless::Vec;
use holdfast_link::{
    AlertCode, Counts, CrashReport, DropCount, DropReason, Event, FileLeft, FromCapture, GapCause, Hello, Id, Late,
    MAX_FRAME_BYTES, Mark, Path, Phase, Resume, SourceState, Start, Status, Stop, StopReason, Text, ToCapture, VERSION,
    WireError, clip, decode, encode, encode_refusal,
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
            safe_until_wall_ns: 64,
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
        late: Late { frames: u64::MAX, longest_ms: u32::MAX },
        encoder_failures: u32::MAX,
        encoder_fallback: true,
        bitrate_percent: u8::MAX,
    })
}

#[test]
fn golden_requests() {
    assert_eq!(VERSION, 4, "the golden bytes below are those of version 4");
    assert_eq!(bytes(&ToCapture::Hello), b"HF\x04\x00\x00");
    assert_eq!(
        bytes(&start()),
        b"HF\x04\x00\x01\x07\x02s1\x09d/s1/cam0\xac\x02\x01\x01\x00\xe8\x07\x03\xab\x02\x00\x80\x01\x05"
    );
    let stop = ToCapture::Stop(Stop { request: 1, session: id("s1"), reason: StopReason::StorageCritical, trace: 0 });
    assert_eq!(bytes(&stop), b"HF\x04\x00\x02\x01\x02s1\x01\x00");
    let mark = ToCapture::Mark(Mark { mono_ns: 1, wall_ns: -1, text: clip("goal") });
    assert_eq!(bytes(&mark), b"HF\x04\x00\x03\x01\x01\x04goal");
    assert_eq!(bytes(&ToCapture::Shutdown), b"HF\x04\x00\x04");
    assert_eq!(bytes(&ToCapture::Arm(true)), b"HF\x04\x00\x05\x01");
    assert_eq!(bytes(&ToCapture::Bitrate { percent: 50 }), b"HF\x04\x00\x06\x32");
}

#[test]
fn golden_events() {
    let event = |event| bytes(&FromCapture::Event(event));
    let alert = Event::Alert { code: AlertCode::ClockStepped, text: clip("tick") };
    assert_eq!(event(alert), b"HF\x04\x00\x02\x06\x0a\x04tick");
    let cleared = Event::AlertCleared { code: AlertCode::StorageFull };
    assert_eq!(event(cleared), b"HF\x04\x00\x02\x07\x05");
    let leaving = Event::Leaving { cause: GapCause::EncoderFailed, text: clip("x") };
    assert_eq!(event(leaving), b"HF\x04\x00\x02\x08\x03\x01x");
    let left = Event::FileLeft(FileLeft { sequence: 2, frames: 300, bytes: 5 });
    assert_eq!(event(left), b"HF\x04\x00\x02\x09\x02\xac\x02\x05");
}

#[test]
fn golden_status() {
    let status = FromCapture::Status(Status {
        mono_ns: 1,
        phase: Phase::Recording,
        session: Some(id("s1")),
        source: SourceState::Streaming,
        encoder: id("x264enc"),
        counts: Counts { source: 4, encoded: 3, muxed: 2, safe: 1 },
        drops: Vec::from_slice(&[DropCount { reason: DropReason::WriteFailed, frames: 9 }]).unwrap(),
        safe_bytes: 5,
        safe_until_mono_ns: 6,
        first_mono_ns: 7,
        file_sequence: 8,
        file_id: [7; 16],
        file: Path::try_from("f").unwrap(),
        queue_bytes: 9,
        queue_capacity_bytes: 10,
        preroll_ms: 11,
        sync_us: 12,
        sync_max_us: 13,
        late: Late { frames: 14, longest_ms: 15 },
        encoder_failures: 16,
        encoder_fallback: true,
        bitrate_percent: 50,
    });
    let mut expected =
        b"HF\x04\x00\x01\x01\x03\x01\x02s1\x01\x07x264enc\x04\x03\x02\x01\x01\x01\x09\x05\x06\x07\x08".to_vec();
    expected.extend([7; 16]);
    expected.extend(b"\x01f\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x01\x32");
    assert_eq!(bytes(&status), expected);
}

/// Other programs read the report too: these are its fields, and what is added later is skipped.
#[test]
fn golden_crash_report() {
    let text = r#"{"software":"hc 0.1","input":"cam0","pid":300,"boot_id":"b","mono_ns":1,"wall_ns":-1,"thread":"writer","message":"boo","location":"a.rs:1:2","session":"s1","trace":5}"#;
    let report: CrashReport = serde_json::from_str(text).unwrap();
    assert_eq!((report.thread.as_str(), report.session.as_deref(), report.trace), ("writer", Some("s1"), 5));
    assert_eq!(serde_json::to_string(&report).unwrap(), text);
    let newer = text.replace("\"pid\":300", "\"pid\":300,\"mood\":\"bad\"");
    assert_eq!(serde_json::from_str::<CrashReport>(&newer).unwrap(), report);
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
    let mut expected = b"HF\x04\x00\x00\x04cam0\xac\x02".to_vec();
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
    assert_eq!(encode_refusal(), *b"HF\x00\x00\x04\x00");
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
        let mut frame = if ours { b"HF\x04\x00".to_vec() } else { std::vec::Vec::new() };
        frame.extend(tail);
        if let Ok(message) = decode::<ToCapture>(&frame) {
            prop_assert!(encode(&message, &mut [0; MAX_FRAME_BYTES]).is_ok());
        }
        if let Ok(FromCapture::Event(Event::Refused(refused))) = decode::<FromCapture>(&frame) {
            prop_assert!(refused.text.len() <= 256);
        }
    }
}
