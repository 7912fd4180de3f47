//! What the integration tests share: made-up recordings.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod media;

use holdfast_segment::{BootId, Codec, FileId, Frame, Identity, Media, Track};

/// A directory in memory, if there is such a place: thousands of recoveries sync, and none of these tests cuts power.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub const SECOND_NS: u64 = 1_000_000_000;
/// Where the tests' monotonic clock starts: not at 0, and not on a tick.
pub const START_NS: u64 = 4_711 * SECOND_NS + 123_456_789;

pub fn identity(sequence: u64) -> Identity {
    Identity {
        session: "20261121T071503Z-k3f9w2".into(),
        input: "cam0".into(),
        sequence,
        file_id: FileId::random().unwrap(),
        boot_id: BootId([9; 16]),
        start_mono_ns: START_NS,
        start_wall_ns: 1_795_245_303_000_000_000,
        device: "bench".into(),
        software: "holdfast-segment tests".into(),
        previous: None,
        gap_before: None,
    }
}

/// Video that no decoder would take and PCMA that any would: enough wherever only the file matters.
pub fn tracks() -> Vec<Track> {
    vec![
        Track {
            codec: Codec::H264 { avcc: vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 0] },
            media: Media::Video { width: 320, height: 180 },
            timescale: 90_000,
        },
        Track { codec: Codec::Pcma, media: Media::Audio { channels: 1, sample_rate: 8000 }, timescale: 8000 },
    ]
}

/// Chunk `n` of a recording: 5 pictures of 25 per second, one GOP per second, and 10 packets of sound.
pub fn chunk(n: u64, fill: u8) -> Vec<Frame<Vec<u8>>> {
    let mut frames = Vec::new();
    for picture in n * 5..n * 5 + 5 {
        let dts_ns = START_NS + picture * SECOND_NS / 25;
        let size = 40 + (picture * 37 % 101) as usize;
        frames.push(Frame {
            track: 0,
            dts_ns,
            pts_ns: dts_ns + SECOND_NS / 25,
            duration_ns: SECOND_NS / 25,
            sync: picture % 25 == 0,
            data: vec![fill ^ picture.to_le_bytes()[0]; size],
        });
        for half in 0..2 {
            let dts_ns = dts_ns + half * SECOND_NS / 50;
            let data = vec![fill; 160];
            frames.push(Frame { track: 1, dts_ns, pts_ns: dts_ns, duration_ns: SECOND_NS / 50, sync: true, data });
        }
    }
    frames
}
