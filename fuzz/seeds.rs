//! Writes a few small real files into the directory named on the command line: seeds for the `segment` target.

use holdfast_segment::{
    BootId, CloseReason, Codec, FileId, Frame, Gap, GapCause, Identity, Mark, Media, Track, WriteOptions, Writer,
};
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("usage: seeds DIRECTORY")?;
    std::fs::create_dir_all(&dir)?;
    let video = Media::Video { width: 64, height: 64 };
    let audio = |sample_rate| Media::Audio {
        channels: 1,
        sample_rate,
    };
    let h264 = Track {
        codec: Codec::H264 { avcc: vec![1; 9] },
        media: video,
        timescale: 90_000,
    };
    let h265 = Track {
        codec: Codec::H265 { hvcc: vec![1; 23] },
        media: video,
        timescale: 90_000,
    };
    let aac = Track {
        codec: Codec::Aac { asc: vec![0x11, 0x90] },
        media: audio(48_000),
        timescale: 48_000,
    };
    let opus = Track {
        codec: Codec::Opus { dops: vec![0; 11] },
        media: audio(48_000),
        timescale: 48_000,
    };
    let pcma = Track {
        codec: Codec::Pcma,
        media: audio(8000),
        timescale: 8000,
    };
    write(&dir, "closed.mp4", vec![h264.clone(), aac], true)?;
    write(&dir, "open.mp4", vec![h265, opus], false)?;
    write(&dir, "sound.mp4", vec![pcma], true)?;
    Ok(())
}

fn write(dir: &Path, name: &str, tracks: Vec<Track>, close: bool) -> Result<(), Box<dyn std::error::Error>> {
    let identity = Identity {
        session: "s".into(),
        input: "i".into(),
        sequence: 1,
        file_id: FileId([7; 16]),
        boot_id: BootId([8; 16]),
        start_mono_ns: 0,
        start_wall_ns: 0,
        device: String::new(),
        software: String::new(),
        previous: None,
        gap_before: None,
    };
    let count = tracks.len();
    let mut writer = Writer::create(
        dir,
        name,
        identity,
        tracks,
        &WriteOptions {
            sync: false,
            ..Default::default()
        },
    )?;
    for chunk in 0..3_u64 {
        let frame = |n: u64, track| Frame {
            track,
            dts_ns: n * 40_000_000,
            pts_ns: n * 40_000_000 + 80_000_000,
            duration_ns: 40_000_000,
            sync: n % 4 == 0,
            data: vec![7; 5 + n as usize],
        };
        let frames: Vec<_> = (chunk * 4..chunk * 4 + 4)
            .flat_map(|n| (0..count).map(move |track| frame(n, track)))
            .collect();
        writer.note_mark(Mark {
            mono_ns: chunk,
            wall_ns: 0,
            text: "m".into(),
        });
        writer.note_gap(Gap {
            cause: GapCause::SourceLost,
            start_mono_ns: 1,
            duration_ns: 1,
            frames_lost: 1,
        });
        writer.append(&frames)?;
    }
    if close {
        writer.close(CloseReason::Stop)?;
    }
    Ok(())
}
