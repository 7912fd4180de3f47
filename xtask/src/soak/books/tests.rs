use std::path::{Path, PathBuf};

use holdfast_journal::Journal;
use holdfast_records::{Record, SESSION_JOURNAL, SESSION_SCHEMA};
use holdfast_segment::{BootId, CloseReason, Codec, FileId, Frame, Identity, Media, Track, WriteOptions, Writer};

use super::{Books, Turnover};

const SECOND_NS: u64 = 1_000_000_000;
const INPUT: &str = "cam0";

struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> (Self, Books) {
        let shelf = Self(tempfile::tempdir().unwrap());
        let [root, scratch] = ["root", "scratch"].map(|name| shelf.0.path().join(name));
        std::fs::create_dir(&scratch).unwrap();
        let books = Books { root, scratch, decode: false, ..Books::default() };
        (shelf, books)
    }

    fn session(&self, id: &str) -> PathBuf {
        self.0.path().join("root/2026-11-21").join(id)
    }

    /// A session with so many files of a second each, one right behind the other.
    fn record(&self, id: &str, files: u64) -> Vec<PathBuf> {
        let dir = self.session(id).join(INPUT);
        std::fs::create_dir_all(&dir).unwrap();
        self.note(id, &Record::Protected(false));
        (1..=files).map(|sequence| file(&dir, id, sequence)).collect()
    }

    fn note(&self, id: &str, record: &Record) {
        let opened = Journal::<Record>::open(self.session(id), SESSION_JOURNAL, SESSION_SCHEMA).unwrap();
        let mut journal = opened.journal;
        journal.append(record).unwrap();
    }

    /// As retention does it.
    fn give_up(&self, id: &str, path: &Path, frames: u64) {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let (input, cause) = (INPUT.to_owned(), "free".to_owned());
        self.note(id, &Record::Deleted { input, sequence: 1, file, frames, bytes: 1, cause, wall_ns: 0 });
        std::fs::remove_file(path).unwrap();
    }
}

fn file(dir: &Path, session: &str, sequence: u64) -> PathBuf {
    let identity = Identity {
        session: session.into(),
        input: INPUT.into(),
        sequence,
        file_id: FileId::random().unwrap(),
        boot_id: BootId([9; 16]),
        start_mono_ns: sequence * SECOND_NS,
        start_wall_ns: 0,
        device: "bench".into(),
        software: "xtask tests".into(),
        previous: None,
        gap_before: None,
    };
    let track = Track {
        codec: Codec::H264 { avcc: vec![1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 0] },
        media: Media::Video { width: 320, height: 180 },
        timescale: 90_000,
    };
    let options = WriteOptions { preallocate_bytes: 0, recycle: None, sync: false };
    let mut writer = Writer::create(dir, &format!("{sequence:06}.mp4"), identity, vec![track], &options).unwrap();
    let frames: Vec<_> = (0..25)
        .map(|picture| {
            let dts_ns = sequence * SECOND_NS + picture * SECOND_NS / 25;
            Frame {
                track: 0,
                dts_ns,
                pts_ns: dts_ns,
                duration_ns: SECOND_NS / 25,
                sync: picture == 0,
                data: vec![7; 40],
            }
        })
        .collect();
    writer.append(&frames).unwrap();
    writer.close(CloseReason::Rotation).unwrap().path
}

#[test]
fn what_retention_gives_up_is_counted_and_what_just_goes_is_a_loss() {
    let (shelf, mut books) = Shelf::new();
    let files = shelf.record("a", 3);
    books.look().unwrap();
    shelf.give_up("a", &files[0], 25);
    books.look().unwrap();
    assert_eq!(books.complaints(), [""; 0]);
    let turnover = books.turnover();
    assert_eq!((turnover.files_deleted, turnover.frames_deleted, turnover.of_running), (1, 25, 1), "{turnover:?}");
    assert_eq!((turnover.files_on_disk, turnover.frames_on_disk), (2, 50));

    let accounts = books.settle("a", &[INPUT]).unwrap();
    let counted = &accounts[0].1;
    assert_eq!((counted.safe_frames, counted.lost_frames, counted.unaccounted_frames), (75, 0, 0), "{counted:?}");
    std::fs::remove_file(&files[2]).unwrap();
    books.look().unwrap();
    assert!(books.complaints()[0].contains("nobody gave it up"), "{:?}", books.complaints());
}

#[test]
fn a_file_that_changes_or_is_given_up_as_another_is_told() {
    let (shelf, mut books) = Shelf::new();
    let files = shelf.record("a", 2);
    books.look().unwrap();
    shelf.give_up("a", &files[0], 24);
    books.look().unwrap();
    assert!(books.complaints()[0].contains("given up with 24 frames and had 25"), "{:?}", books.complaints());
    std::fs::write(&files[1], "something else").unwrap();
    books.read_again().unwrap();
    assert!(books.complaints()[1].contains("had 25 frames"), "{:?}", books.complaints());
}

#[test]
fn sessions_go_oldest_first_and_not_while_they_are_recorded() {
    let gone = |ids: &[&str]| {
        let (shelf, mut books) = Shelf::new();
        for id in ["a", "b", "c"] {
            shelf.record(id, 1);
        }
        books.look().unwrap();
        for id in ["a", "b"] {
            books.settle(id, &[INPUT]).unwrap();
        }
        for id in ids {
            std::fs::remove_dir_all(shelf.session(id)).unwrap();
            books.look().unwrap();
        }
        (books.complaints().len(), books.turnover())
    };
    let (complaints, turnover) = gone(&["a", "b"]);
    assert_eq!((complaints, turnover.sessions_gone, turnover.frames_deleted), (0, 2, 50));
    assert_eq!((turnover.frames_on_disk, turnover.of_running), (25, 0));
    assert_eq!(gone(&["b"]).0, 1, "an older one is there");
    assert_eq!(gone(&["a", "b", "c"]).0, 1, "it is being recorded");
    assert_eq!(gone(&[]), (0, Turnover { frames_on_disk: 75, files_on_disk: 3, ..Turnover::default() }));
}

#[test]
fn what_was_given_up_unread_is_known_by_the_journal_alone() {
    let (shelf, mut books) = Shelf::new();
    let files = shelf.record("a", 3);
    shelf.give_up("a", &files[1], 25);
    let accounts = books.settle("a", &[INPUT]).unwrap();
    let counted = &accounts[0].1;
    assert_eq!((counted.safe_frames, counted.lost_frames, counted.unaccounted_frames), (75, 0, 0), "{counted:?}");
    let turnover = books.turnover();
    assert_eq!((turnover.files_deleted, turnover.frames_unread), (1, 25));
    assert_eq!(books.complaints(), [""; 0]);
}
