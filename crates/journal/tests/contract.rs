//! One writer, clear refusals, and what a killed or starved writer leaves.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use holdfast_journal::{Error, Journal, MAX_RECORD_BYTES, Opened, Source, read};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The record type as older software knew it, and as this one does: one variant more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Old {
    Started(u64),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum New {
    Started(u64),
    Stopped,
}

fn open<R: Serialize + DeserializeOwned>(dir: &Path, version: u32) -> Opened<R> {
    Journal::open(dir, "session", version).unwrap()
}

fn refusal<R: Serialize + DeserializeOwned>(dir: &Path, version: u32) -> Error {
    let path = dir.join("session.journal");
    let before = fs::read(&path).unwrap();
    let error = Journal::<R>::open(dir, "session", version).err().unwrap();
    let from_read = read::<R>(dir, "session", version).err().unwrap();
    assert_eq!(error.to_string(), from_read.to_string(), "reading refuses alike");
    assert!(error.to_string().contains(path.to_str().unwrap()), "names the file: {error}");
    assert_eq!(fs::read(&path).unwrap(), before, "a refused file is not changed");
    error
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open::<Old>(dir.path(), 1).journal;
    journal.append(&Old::Started(1)).unwrap();
    for _ in 0..2 {
        let error = Journal::<Old>::open(dir.path(), "session", 1).err().unwrap();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        assert_eq!(read::<Old>(dir.path(), "session", 1).unwrap().records.len(), 1);
        // The lock must follow the journal to its new file.
        journal.compact([Old::Started(2)]).unwrap();
    }
    // Another journal in the same directory is another lock.
    Journal::<Old>::open(dir.path(), "other", 1).unwrap();
    drop(journal);
    assert_eq!(open::<Old>(dir.path(), 1).records, [Old::Started(2)]);
}

#[test]
fn a_journal_made_with_its_first_records_is_like_one_they_were_appended_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::create(dir.path(), "session", 1, [Old::Started(1), Old::Started(2)]).unwrap();
    // It has the lock, and is there for readers.
    assert!(matches!(Journal::<Old>::open(dir.path(), "session", 1).err().unwrap(), Error::Locked { .. }));
    assert_eq!(read::<Old>(dir.path(), "session", 1).unwrap().records.len(), 2);
    journal.append(&Old::Started(3)).unwrap();
    assert_eq!((journal.records(), journal.records_since_compaction(), journal.generation()), (3, 1, 1));
    drop(journal);
    let opened = open::<Old>(dir.path(), 1);
    assert!(opened.report.is_clean(), "{}", opened.report);
    assert_eq!(opened.records, [Old::Started(1), Old::Started(2), Old::Started(3)]);
    drop(opened);

    // Never in place of one that is there, and be it only the generation before.
    let before = fs::read(dir.path().join("session.journal")).unwrap();
    let exists = |error: &Error| matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists);
    let again = || Journal::create(dir.path(), "session", 1, [Old::Started(9)]).err().unwrap();
    assert!(exists(&again()), "{}", again());
    assert_eq!(fs::read(dir.path().join("session.journal")).unwrap(), before);
    fs::rename(dir.path().join("session.journal"), dir.path().join("session.journal.prev")).unwrap();
    assert!(exists(&again()), "{}", again());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["session.journal.prev"], "nothing is left of the attempt");
}

/// A child that another thread forks shares all open files until its exec; it must not keep the journal locked.
#[test]
fn closing_unlocks_even_while_a_fork_shares_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open::<Old>(dir.path(), 1).journal;
    let this_journal = |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|target| target == journal.path());
    let fd = fs::read_dir("/proc/self/fd").unwrap().map(Result::unwrap).find(this_journal).unwrap();
    let fd: i32 = fd.file_name().to_str().unwrap().parse().unwrap();
    let me = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty()).unwrap();
    // What a fork would have: another descriptor of the same open file.
    let _shared = rustix::process::pidfd_getfd(&me, fd, rustix::process::PidfdGetfdFlags::empty()).unwrap();
    drop(journal);
    drop(open::<Old>(dir.path(), 1));
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    open::<New>(dir.path(), 9).journal.append(&New::Stopped).unwrap();
    let error = refusal::<Old>(dir.path(), 4);
    assert!(matches!(&error, Error::NewerSchema { found: 9, supported: 4, .. }), "{error}");
    assert!(error.to_string().contains("version 9") && error.to_string().contains("update the software"), "{error}");
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    drop(open::<Old>(dir.path(), 1));
    let path = dir.path().join("session.journal");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..92]);
    bytes[92..96].copy_from_slice(&crc.to_le_bytes());
    bytes.truncate(96);
    bytes.extend_from_slice(
        b"whatever a newer format puts here, for as long as it likes, which may well be quite a while \
                              and surely more than a header of format 1 takes up in all",
    );
    fs::write(&path, bytes).unwrap();
    let error = refusal::<Old>(dir.path(), 1);
    assert!(matches!(error, Error::NewerFormat { found: 2, supported: 1, .. }), "{error}");
}

#[test]
fn a_journal_of_something_else_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Journal::<Old>::open(dir.path(), "panel", 1).unwrap());
    fs::rename(dir.path().join("panel.journal"), dir.path().join("session.journal")).unwrap();
    let error = refusal::<Old>(dir.path(), 1);
    assert!(matches!(&error, Error::WrongSchema { found, .. } if found == "panel"), "{error}");
}

#[test]
fn a_whole_record_that_does_not_decode_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open::<New>(dir.path(), 1).journal;
    journal.append(&New::Started(5)).unwrap();
    journal.append(&New::Stopped).unwrap();
    drop(journal);
    let error = refusal::<Old>(dir.path(), 1);
    // 192 of header, then one record of 16 + 2 + 4.
    assert!(matches!(error, Error::Undecodable { offset_bytes: 214, version: 1, .. }), "{error}");
}

/// Newer software that only looks must not lock the older one out: an update may yet be rolled back.
/// What can stand where a journal should, and what its name says afterwards.
#[test]
fn nothing_keeps_a_journal_from_being_opened_always() {
    let name = "session.journal";
    let fresh = || {
        let dir = tempfile::tempdir().unwrap();
        open::<New>(dir.path(), 2).journal.append(&New::Stopped).unwrap();
        dir
    };
    type Break = fn(&Path);
    let table: [(&str, Break); 7] = [
        ("a newer schema", |dir| {
            fs::remove_file(dir.join("session.journal")).unwrap();
            open::<New>(dir, 9).journal.append(&New::Stopped).unwrap();
        }),
        ("a newer format", |dir| {
            let mut bytes = fs::read(dir.join("session.journal")).unwrap();
            bytes[8] = 9;
            let crc = crc32c::crc32c(&bytes[..92]).to_le_bytes();
            bytes[92..96].copy_from_slice(&crc);
            fs::write(dir.join("session.journal"), bytes).unwrap();
        }),
        ("another journal", |dir| {
            open_named(dir, "other");
            fs::rename(dir.join("other.journal"), dir.join("session.journal")).unwrap();
        }),
        ("a directory", |dir| {
            fs::remove_file(dir.join("session.journal")).unwrap();
            fs::create_dir(dir.join("session.journal")).unwrap();
            fs::write(dir.join("session.journal/kept"), "kept").unwrap();
        }),
        ("a link to nowhere", |dir| {
            fs::remove_file(dir.join("session.journal")).unwrap();
            std::os::unix::fs::symlink("/nowhere/at/all", dir.join("session.journal")).unwrap();
        }),
        ("a pipe", |dir| {
            fs::remove_file(dir.join("session.journal")).unwrap();
            let made = Command::new("mkfifo").arg(dir.join("session.journal")).status().unwrap();
            assert!(made.success());
        }),
        ("a directory where the next generation is written", |dir| {
            fs::remove_file(dir.join("session.journal")).unwrap();
            fs::create_dir(dir.join("session.journal.tmp")).unwrap();
        }),
    ];
    for (what, break_it) in table {
        let dir = fresh();
        break_it(dir.path());
        let Opened { mut journal, records, report } =
            Journal::<New>::open_always(dir.path(), "session", 2).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(records.is_empty() && !report.is_clean() && report.is_damaged(), "{what}: {report}");
        let aside = dir.path().join("session.journal.unusable-1");
        assert_eq!(report.set_aside, std::slice::from_ref(&aside), "{what}");
        assert!(fs::symlink_metadata(&aside).is_ok(), "{what}");
        if what == "a directory" {
            assert_eq!(fs::read_to_string(aside.join("kept")).unwrap(), "kept");
        }
        journal.append(&New::Started(1)).unwrap();
        drop(journal);
        let again = Journal::<New>::open_always(dir.path(), "session", 2).unwrap();
        assert_eq!((again.records, again.report.is_clean()), (vec![New::Started(1)], true), "{what}");
        assert!(dir.path().join(name).is_file());
    }
    // A whole generation before it is better than nothing.
    let dir = fresh();
    open::<New>(dir.path(), 2).journal.compact([New::Started(7)]).unwrap();
    fs::remove_file(dir.path().join(name)).unwrap();
    fs::create_dir(dir.path().join(name)).unwrap();
    let opened = Journal::<New>::open_always(dir.path(), "session", 2).unwrap();
    assert_eq!((opened.records, opened.report.source), (vec![New::Stopped], Source::Previous));
    // Whoever has it keeps it.
    let refused = Journal::<New>::open_always(dir.path(), "session", 2).err().unwrap();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
}

fn open_named(dir: &Path, name: &str) {
    Journal::<New>::open(dir, name, 1).unwrap().journal.append(&New::Stopped).unwrap();
}

#[test]
fn an_older_schema_is_read_and_carried_over_by_the_first_write_only() {
    let dir = tempfile::tempdir().unwrap();
    open::<Old>(dir.path(), 1).journal.append(&Old::Started(7)).unwrap();
    let old_file = fs::read(dir.path().join("session.journal")).unwrap();

    let opened = open::<New>(dir.path(), 2);
    assert_eq!((&opened.records[..], opened.report.schema_version), (&[New::Started(7)][..], 1));
    drop(opened);
    assert_eq!(open::<Old>(dir.path(), 1).records, [Old::Started(7)]);

    let mut journal = open::<New>(dir.path(), 2).journal;
    journal.append(&New::Stopped).unwrap();
    journal.append(&New::Started(8)).unwrap();
    drop(journal);
    assert!(matches!(refusal::<Old>(dir.path(), 1), Error::NewerSchema { .. }));
    let opened = open::<New>(dir.path(), 2);
    assert_eq!(opened.records, [New::Started(7), New::Stopped, New::Started(8)]);
    assert!(opened.report.is_clean());
    assert_eq!(fs::read(dir.path().join("session.journal.prev")).unwrap(), old_file);
}

#[test]
fn records_over_the_limit_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::<Vec<u8>>::open(dir.path(), "session", 1).unwrap().journal;
    let error = journal.append(&vec![1; MAX_RECORD_BYTES]).unwrap_err();
    assert!(matches!(error, Error::RecordTooLarge { .. }), "{error}");
    // Three bytes of length, and the rest just fits.
    journal.append(&vec![1; MAX_RECORD_BYTES - 3]).unwrap();
    drop(journal);
    assert_eq!(Journal::<Vec<u8>>::open(dir.path(), "session", 1).unwrap().records, [vec![1; MAX_RECORD_BYTES - 3]]);
}

#[test]
fn names_and_places_that_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", ".hidden", "a/b", "..", "ä", "x".repeat(41).as_str()] {
        let error = Journal::<Old>::open(dir.path(), name, 1).err().unwrap();
        assert!(matches!(error, Error::BadName { .. }), "{error}");
    }
    let missing = dir.path().join("missing");
    assert!(matches!(Journal::<Old>::open(&missing, "session", 1), Err(Error::NotFound { .. })));
    assert!(matches!(read::<Old>(dir.path(), "session", 1), Err(Error::NotFound { .. })));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a refusal leaves nothing behind");
    fs::create_dir(dir.path().join("session.journal")).unwrap();
    let error = Journal::<Old>::open(dir.path(), "session", 1).err().unwrap();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("session.journal"), "{error}");
}

const CHILD_DIR: &str = "HOLDFAST_JOURNAL_TEST_DIR";

/// Not a test of its own: what [`kill_at_any_moment`] and [`a_full_disk_is_an_error_and_no_more`] run as a child.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    let Opened { mut journal, mut records, .. } = Journal::<(u64, Vec<u8>)>::open(dir, "session", 1).unwrap();
    let mut out = std::io::stdout().lock();
    let next = records.last().map_or(0, |(n, _)| n + 1);
    for n in next.. {
        let record = (n, vec![0xa5; usize::try_from(n % 300).unwrap()]);
        if let Err(error) = journal.append(&record) {
            // Once more, smaller: a full disk may still have room for that.
            let small = journal.append(&(n, vec![]));
            writeln!(out, "\nfailed {} {}", u8::from(small.is_ok()), error).unwrap();
            return;
        }
        writeln!(out, "\nsafe {n}").unwrap();
        records.push(record);
        if n % 7 == 6 {
            records.drain(..records.len() - 3);
            journal.compact(&records).unwrap();
        }
    }
}

fn child_command(program: &str, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(CHILD_DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut last_safe, mut kills_in_compaction) = (None, 0);
    for round in 0..60 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let mut child = child_command(std::env::current_exe().unwrap().to_str().unwrap(), dir.path())
            .args(["child", "--exact", "--nocapture"])
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut safe = |line: String| {
            if let Some(n) = line.strip_prefix("safe ") {
                last_safe = Some(n.parse::<u64>().unwrap());
            }
            last_safe
        };
        let wait_for = seed % 20;
        let mut seen = 0;
        while seen < wait_for {
            let line = lines.next().expect("the child writes until it is killed").unwrap();
            seen += u64::from(line.starts_with("safe "));
            safe(line);
        }
        // A moment that nothing is in step with: between none and some hundred microseconds later.
        (0..seed >> 40 & 0xffff).for_each(|spin| {
            std::hint::black_box(spin);
        });
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            safe(line.unwrap());
        }
        kills_in_compaction += u32::from(dir.path().join("session.journal.tmp").exists());

        let Opened { records, report, .. } = Journal::<(u64, Vec<u8>)>::open(dir.path(), "session", 1).unwrap();
        assert!(report.damage.is_empty() && report.source != Source::Previous, "round {round}: {report}");
        let numbers: Vec<u64> = records.iter().map(|(n, _)| *n).collect();
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "round {round}: {numbers:?}");
        assert!(numbers.last() >= last_safe.as_ref(), "round {round}: {last_safe:?} was safe, {numbers:?} are there");
        // At most the one that was being appended is there beyond what was told.
        assert!(numbers.last().map_or(0, |n| n + 1) <= last_safe.map_or(0, |n| n + 1) + 1);
    }
    eprintln!("{kills_in_compaction} of 60 kills came within a compaction; {last_safe:?} was the last safe record");
    assert!(last_safe.is_some());
}

/// A limit on the file's size stands for the disk: both end a write in the middle.
#[test]
fn a_full_disk_is_an_error_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" child --exact --nocapture";
    let exe = std::env::current_exe().unwrap();
    let output = child_command("sh", dir.path()).args(["-c", script]).arg(exe).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let failed = lines.lines().find(|line| line.starts_with("failed ")).unwrap_or_else(|| panic!("{lines}"));
    assert!(failed.starts_with("failed 1 cannot append to") && failed.contains("File too large"), "{failed}");

    let last_safe = lines.lines().filter_map(|line| line.strip_prefix("safe ")).next_back().unwrap().parse::<u64>();
    let Opened { records, report, .. } = Journal::<(u64, Vec<u8>)>::open(dir.path(), "session", 1).unwrap();
    assert!(report.is_clean(), "the half-written record was taken back: {report}");
    assert_eq!(records.last(), Some(&(last_safe.unwrap() + 1, vec![])));
}
