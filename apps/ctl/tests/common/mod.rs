//! A place with recordings, made by the crate that makes real ones, and the real program.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod bus;

use std::collections::HashMap;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use holdfast_segment::{
    BootId, CloseReason, Codec, Digest, FileId, Frame, Identity, Media, Previous, Track, WriteOptions, Writer,
};

pub const SESSION: &str = "20261121T071503Z-k3f9w2";
pub const START_NS: u64 = 4_711_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What the program said, and how it ended.
pub struct Run {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn holdfast(arguments: &[&str]) -> Run {
    run_with(arguments, &[])
}

pub fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOLDFAST_") {
            command.env_remove(name);
        }
    }
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A program of another package, built as this test was. Always built first: cargo builds no other package's programs for a
/// package's tests, and one that lies there from before may be another than the one under test. `None` is told.
pub fn built(program: &str) -> Option<PathBuf> {
    static BUILT: Mutex<Option<HashMap<String, bool>>> = Mutex::new(None);
    let path = Path::new(env!("CARGO_BIN_EXE_holdfast")).with_file_name(program);
    let release = path.parent().is_some_and(|directory| directory.ends_with("release")).then_some("--release");
    let build = || {
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--package", program]).args(release).status();
        let is_new = built.is_ok_and(|status| status.success());
        match (is_new, path.exists()) {
            (true, _) => {}
            (false, true) => {
                holdfast_aloud::say(format_args!("WARNING: {program} can't be built, an old one is tested with"))
            }
            (false, false) => holdfast_aloud::skip(format_args!("{program} can't be built")),
        }
        path.exists()
    };
    let mut known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().entry(program.to_owned()).or_insert_with(build).then_some(path)
}

/// The one document on standard output.
pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A directory with a storage root in it.
pub struct Shelf(tempfile::TempDir);

impl Shelf {
    pub fn new() -> Self {
        let shelf = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(shelf.root()).unwrap();
        shelf
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn root(&self) -> PathBuf {
        self.path("root")
    }

    pub fn session(&self) -> PathBuf {
        self.root().join("2026-11-21").join(SESSION)
    }

    /// At once and whole: a program may be reading what was there before.
    pub fn write(&self, name: &str, text: &str) -> String {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A configuration for this root.
    pub fn config(&self, more: &str) -> String {
        let root = self.root();
        // However full the disk is that the tests run on.
        let room =
            "warn_percent = 98\nblock_percent = 99\nwarn_floor_mib = 0\nstart_floor_mib = 0\nstop_floor_mib = 0\n";
        let storage = format!("[storage]\nroot = \"{}\"\nfilesystem = \"any\"\n{room}", root.display());
        self.write("holdfast.toml", &format!("{storage}{more}"))
    }

    pub fn writer(&self, input: &str, sequence: u64) -> Writer {
        self.writer_after(input, sequence, None)
    }

    fn writer_after(&self, input: &str, sequence: u64, previous: Option<Previous>) -> Writer {
        let dir = self.session().join(input);
        std::fs::create_dir_all(&dir).unwrap();
        let identity = Identity {
            session: SESSION.into(),
            input: input.into(),
            sequence,
            file_id: FileId::random().unwrap(),
            boot_id: BootId([9; 16]),
            start_mono_ns: START_NS,
            start_wall_ns: 1_795_245_303_000_000_000,
            device: "bench".into(),
            software: "holdfast-ctl tests".into(),
            previous,
            gap_before: None,
        };
        let track = Track {
            codec: Codec::H264 { avcc: vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 0] },
            media: Media::Video { width: 320, height: 180 },
            timescale: 90_000,
        };
        let options = WriteOptions { preallocate_bytes: 0, recycle: None, sync: false };
        Writer::create(&dir, &format!("{sequence:06}_20261121T071503Z.mp4"), identity, vec![track], &options).unwrap()
    }

    /// Files of two seconds each, one behind the other.
    pub fn record(&self, input: &str, files: u64) -> Vec<PathBuf> {
        let mut previous: Option<(u64, FileId, Digest)> = None;
        (1..=files)
            .map(|sequence| {
                let before =
                    previous.map(|(sequence, file_id, digest)| Previous { sequence, file_id, digest: Some(digest) });
                let mut writer = self.writer_after(input, sequence, before);
                for n in 0..2 {
                    writer.append(&chunk((sequence - 1) * 2 + n)).unwrap();
                }
                let closed = writer.close(CloseReason::Rotation).unwrap();
                previous = Some((sequence, closed.file_id, closed.digest));
                closed.path
            })
            .collect()
    }

    /// A file whose writer died in the middle of its second chunk.
    pub fn crash(&self, input: &str) -> PathBuf {
        let mut writer = self.writer(input, 1);
        writer.append(&chunk(0)).unwrap();
        writer.append(&chunk(1)).unwrap();
        let part = writer.part_path().to_owned();
        drop(writer);
        let file = std::fs::OpenOptions::new().write(true).open(&part).unwrap();
        file.set_len(file.metadata().unwrap().len() - 100).unwrap();
        part
    }

    pub fn flip(&self, path: &Path, offset: u64) {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0xff], offset).unwrap();
    }
}

/// A second of pictures that no decoder would take.
pub fn chunk(n: u64) -> Vec<Frame<Vec<u8>>> {
    (0..25)
        .map(|picture| {
            let dts_ns = START_NS + n * SECOND_NS + picture * SECOND_NS / 25;
            Frame {
                track: 0,
                dts_ns,
                pts_ns: dts_ns,
                duration_ns: SECOND_NS / 25,
                sync: picture == 0,
                data: vec![picture.to_le_bytes()[0]; 400],
            }
        })
        .collect()
}
