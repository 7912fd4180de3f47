//! Writes what fuzzing starts from below the directory named on the command line, a directory for each target: `corpus`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use holdfast_link::panel::{self, About, FromPanel, LightLevel, Lines, Show, ToPanel};
use holdfast_link::{MAX_FRAME_BYTES, Mark, Stop, StopReason, ToCapture, clip, encode};
use holdfast_segment::{
    BootId, CloseReason, Codec, FileId, Frame, Gap, GapCause, Identity, Mark as Chapter, Media, Track, WriteOptions,
    Writer,
};
use zbus::zvariant::serialized::Context;
use zbus::zvariant::{LE, ObjectPath, Value, to_bytes};

type Done = Result<(), Box<dyn std::error::Error>>;

fn main() -> Done {
    let root = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: seeds DIRECTORY")?;
    let dir = |target: &str| -> Result<PathBuf, std::io::Error> {
        let dir = root.join(target);
        std::fs::create_dir_all(&dir).map(|()| dir)
    };
    segments(&dir("segment")?)?;
    journals(&dir("journal")?)?;
    links(&dir("link")?)?;
    panels(&dir("panel")?)?;
    configs(&dir("config")?)?;
    options(&dir("dbus")?)
}

/// The first byte says what becomes of the rest: see `src/journal.rs`.
fn journals(dir: &Path) -> Done {
    std::fs::write(dir.join("nothing"), [0])?;
    std::fs::write(dir.join("records"), b"\x01\x03\xff\x02\x01\x01s\xff\x01\x09\x00\xff\x00\x01s\x01\x04cam0\x02")?;
    std::fs::write(dir.join("spoilt-header"), [2, 2, 9, 0, 1])?;
    std::fs::write(dir.join("spoilt-record"), [2, 2, 200, 0, 1, 3, 150, 0, 1])?;
    std::fs::write(dir.join("cut"), [2, 0, 180, 0, 0])?;
    let own = tempfile::tempdir()?;
    let mut journal = holdfast_journal::Journal::<Option<String>>::open(own.path(), "session", 1)?.journal;
    journal.append(&None)?;
    let bytes = std::fs::read(own.path().join("session.journal"))?;
    std::fs::write(dir.join("whole"), [&[0, 255][..], &bytes].concat())?;
    Ok(())
}

fn links(dir: &Path) -> Done {
    let put = |name: &str, message: &[u8]| std::fs::write(dir.join(name), message);
    let mut buffer = [0; MAX_FRAME_BYTES];
    put("hello", encode(&ToCapture::Hello, &mut buffer)?)?;
    put("arm", encode(&ToCapture::Arm(true), &mut buffer)?)?;
    let mark = Mark { mono_ns: 1, wall_ns: -1, text: clip("goal") };
    put("mark", encode(&ToCapture::Mark(mark), &mut buffer)?)?;
    let stop = Stop { request: 1, session: clip("s1"), reason: StopReason::StorageCritical, trace: 0 };
    put("stop", encode(&ToCapture::Stop(stop), &mut buffer)?)?;
    // A message without its frame, and a refusal.
    put("bare", &[0, 4, b'c', b'a', b'm', b'0', 1, 2, 3])?;
    put("refusal", &holdfast_link::encode_refusal())?;
    Ok(())
}

/// The first byte says what becomes of the rest: see `src/panel.rs`.
fn panels(dir: &Path) -> Done {
    let put = |name: &str, first: u8, bytes: &[u8]| std::fs::write(dir.join(name), [&[first], bytes].concat());
    let mut show = Show { buzzer: true, ..Show::default() };
    for index in 0..3 {
        show.lights.push(LightLevel { index, red: 255, green: 110, blue: 0 }).map_err(|_| "too many lights")?;
    }
    let lines = Lines { upper: clip("REC 00:01:07"), lower: clip("7 h left") };
    let about = About { name: clip("rp2040 1.0"), lights: 3, buttons: 2, display: true, buzzer: false };
    let said =
        [panel::encode(&ToPanel::Hello)?, panel::encode(&ToPanel::Show(show))?, panel::encode(&ToPanel::Text(lines))?];
    put("host", 0, &said.concat())?;
    let hello = panel::encode(&FromPanel::Hello { about, down: 1 })?;
    let edge = panel::encode(&FromPanel::Edge { button: 1, pressed: true, age_us: 1500 })?;
    put("board", 0, &[hello, edge, panel::refusal()].concat())?;
    put("half", 0, &said.concat()[5..])?;
    put("noise", 0, &[7; 300])?;
    // Without their frames, so that what is inside is reached: the version, then the message.
    put("bare-show", 1, &[1, 1, 1, 2, 255, 0, 0, 1])?;
    put("bare-text", 1, b"\x01\x02\x02hi\x00")?;
    put("bare-hello", 1, b"\x01\x00\x02hi\x03\x02\x01\x00\x81\x01")?;
    put("bare-version", 1, &[9, 0])?;
    put("bare-refusal", 1, &[0, 9])?;
    Ok(())
}

fn configs(dir: &Path) -> Done {
    let shipped = include_str!("../apps/recorder/holdfast.toml");
    std::fs::write(dir.join("shipped.toml"), shipped)?;
    let inputs = "[storage]\nroot = \"/data\"\nfilesystem = \"uuid:1-2\"\n[recording]\nrotation_minutes = 5\n[recorder]\nbus = \"unix:path=/x\"\n\
        [[input]]\nname = \"cam0\"\nsource = \"rtsp\"\nurl = \"rtsp://user:secret@host:554/a\"\n\
        [[input]]\nname = \"hdmi\"\nsource = \"v4l2\"\ndevice = \"/dev/video0\"\nwidth = 640\nheight = 480\nframerate = 30\n\
        [[input]]\nname = \"t\"\nsource = \"test\"\narmed = false\nencoder = \"x264enc\"\ncodec = \"h265\"\n";
    std::fs::write(dir.join("inputs.toml"), inputs)?;
    std::fs::write(
        dir.join("broken.toml"),
        "[storage\nroot = \"a\nwarn_percent = 99\nblock_percent = 1\n[[input]]\nname = 7\n",
    )?;
    Ok(())
}

fn options(dir: &Path) -> Done {
    let put = |name: &str, entries: &[(&str, Value<'_>)]| -> Done {
        let dict: HashMap<&str, &Value<'_>> = entries.iter().map(|(key, value)| (*key, value)).collect();
        let bytes = to_bytes(Context::new_dbus(LE, 0), &dict)?;
        std::fs::write(dir.join(name), bytes.bytes())?;
        Ok(())
    };
    put("none", &[])?;
    put("label", &[("label", "x".into())])?;
    put("inputs", &[("inputs", vec!["cam0", "cam1"].into())])?;
    put("wait", &[("wait_ms", 5_i32.into())])?;
    put("wait64", &[("wait_ms", u64::MAX.into())])?;
    put("session", &[("session", ObjectPath::try_from("/org/holdfast/Recorder1/session/a_2db")?.into())])?;
    put("nested", &[("unknown", Value::new(vec![Value::new(vec![1_u8]), Value::new("deep")]))])?;
    std::fs::write(dir.join("path"), "/org/holdfast/Recorder1/session/20261121T071503Z_2dk3f9w2")?;
    Ok(())
}

fn segments(dir: &Path) -> Done {
    let video = Media::Video { width: 64, height: 64 };
    let audio = |sample_rate| Media::Audio { channels: 1, sample_rate };
    let h264 = Track { codec: Codec::H264 { avcc: vec![1; 9] }, media: video, timescale: 90_000 };
    let h265 = Track { codec: Codec::H265 { hvcc: vec![1; 23] }, media: video, timescale: 90_000 };
    let aac = Track { codec: Codec::Aac { asc: vec![0x11, 0x90] }, media: audio(48_000), timescale: 48_000 };
    let opus = Track { codec: Codec::Opus { dops: vec![0; 11] }, media: audio(48_000), timescale: 48_000 };
    let pcma = Track { codec: Codec::Pcma, media: audio(8000), timescale: 8000 };
    write(dir, "closed.mp4", vec![h264.clone(), aac], true)?;
    write(dir, "open.mp4", vec![h265, opus], false)?;
    write(dir, "sound.mp4", vec![pcma], true)?;
    Ok(())
}

fn write(dir: &Path, name: &str, tracks: Vec<Track>, close: bool) -> Done {
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
    let mut writer = Writer::create(dir, name, identity, tracks, &WriteOptions { sync: false, ..Default::default() })?;
    for chunk in 0..3_u64 {
        let frame = |n: u64, track| Frame {
            track,
            dts_ns: n * 40_000_000,
            pts_ns: n * 40_000_000 + 80_000_000,
            duration_ns: 40_000_000,
            sync: n % 4 == 0,
            data: vec![7; 5 + n as usize],
        };
        let frames: Vec<_> =
            (chunk * 4..chunk * 4 + 4).flat_map(|n| (0..count).map(move |track| frame(n, track))).collect();
        writer.note_mark(Chapter { mono_ns: chunk, wall_ns: 0, text: "m".into() });
        writer.note_gap(Gap { cause: GapCause::SourceLost, start_mono_ns: 1, duration_ns: 1, frames_lost: 1 });
        writer.append(&frames)?;
    }
    if close {
        writer.close(CloseReason::Stop)?;
        return Ok(());
    }
    // As it is found after a crash, without what was reserved for it.
    drop(writer);
    let open = dir.join(format!("{name}.part"));
    let bytes = std::fs::read(&open)?;
    std::fs::remove_file(open)?;
    std::fs::write(dir.join(name), bytes)?;
    Ok(())
}
