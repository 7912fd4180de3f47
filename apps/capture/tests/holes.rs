//! Where a hole begins, when what is told of it is only its end. Invented packets, real files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use holdfast_capture::clock::{self, Wall};
use holdfast_capture::packet::{Lost, Medium, Packet};
use holdfast_capture::record::{Files, Job, Sound, Station};
use holdfast_capture::state::Shared;
use holdfast_config::{Filesystem, Floors, Keep, Recording, Storage};
use holdfast_link::{self as link, DropReason};
use holdfast_segment::verify::verify_session;
use holdfast_segment::{BootId, CloseReason, Codec, Gap, GapCause, Media, Track};

const MS: u64 = 1_000_000;

fn recording() -> Recording {
    Recording {
        rotation: Duration::from_secs(60),
        rotation_bytes: 1 << 30,
        sync_interval: Duration::from_millis(200),
        preroll: Duration::ZERO,
        preroll_bytes: 0,
        buffer_bytes: 1 << 30,
    }
}

fn job(root: &Path) -> Job<Vec<u8>> {
    let storage = Storage {
        root: root.to_owned(),
        filesystem: Filesystem::Any,
        warn_percent: 98,
        block_percent: 99,
        floors: Floors::default(),
        ballast_bytes: 0,
        keep: Keep::default(),
    };
    let station = Station {
        storage,
        input: "cam0".to_owned(),
        device: "box".to_owned(),
        software: "test".to_owned(),
        boot_id: BootId([1; 16]),
        wall: Wall::default(),
    };
    let start = link::Start {
        request: 1,
        session: link::clip("s1"),
        directory: link::clip("s1/cam0"),
        sequence: 1,
        preroll: false,
        resume: None,
        trace: 0,
    };
    let files = Files::prepare(&station, &start).unwrap();
    Job::new(files, &recording(), start, clock::mono_ns(), Sound::default())
}

/// Pictures at 25/s from `from_ms` on, the first of them a keyframe of this size.
fn pictures(job: &mut Job<Vec<u8>>, shared: &Shared, base_ns: u64, from_ms: u64, count: u64, width: u16) {
    let media = Media::Video { width, height: 360 };
    let avcc = vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 0];
    let track = Arc::new(Track { codec: Codec::H264 { avcc }, media, timescale: 90_000 });
    for index in 0..count {
        let at_ns = base_ns + (from_ms + index * 40) * MS;
        let packet = Packet {
            medium: Medium::Video,
            track: track.clone(),
            dts_ns: at_ns,
            pts_ns: at_ns,
            duration_ns: 40 * MS,
            sync: index == 0,
            source_number: at_ns,
            encoded_number: at_ns,
            data: vec![0; 1000],
        };
        job.packet(Arc::new(packet), &Sound::default(), shared);
    }
}

/// Two seconds of pictures, four of nothing, one picture that came in damaged, and pictures again. The gaps that are on record,
/// counted from the first picture.
fn gaps(width_after: u16) -> Vec<Gap> {
    let root = tempfile::tempdir().unwrap();
    let shared = Shared::new(true).unwrap();
    let mut job = job(root.path());
    let base_ns = clock::mono_ns() - 20_000 * MS;
    pictures(&mut job, &shared, base_ns, 0, 50, 640);
    job.lost(&Lost { reason: DropReason::Corrupt, frames: 1, start_ns: base_ns + 6_000 * MS }, &shared);
    pictures(&mut job, &shared, base_ns, 6_040, 50, width_after);
    job.finish(2, CloseReason::Stop, 0, &shared);
    let report = verify_session(&root.path().join("s1")).unwrap();
    assert!(report.is_ok(), "{report}");
    let gaps = report.inputs[0].files.iter().flat_map(|file| file.gaps.clone());
    gaps.map(|gap| Gap { start_mono_ns: gap.start_mono_ns - base_ns, ..gap }).collect()
}

#[test]
fn a_hole_whose_last_picture_alone_is_told_as_lost_is_on_record_as_a_whole() {
    // The same file goes on, or another one begins: the gap stands in its seal or in its head.
    for width_after in [640, 1280] {
        let gap =
            Gap { cause: GapCause::SourceLost, start_mono_ns: 2_000 * MS, duration_ns: 4_040 * MS, frames_lost: 1 };
        assert_eq!(gaps(width_after), [gap], "{width_after}");
    }
}
