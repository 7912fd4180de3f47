//! Files of one input follow each other without a seam; what is missing is told, and whether the reason is on record.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{SECOND_NS, START_NS, chunk, identity, scratch, tracks};
use holdfast_segment::verify::{Severity, verify_files_with, verify_session};
use holdfast_segment::{
    BootId, CloseReason, Closed, FileId, Frame, Gap, GapCause, Identity, Previous, WriteOptions, Writer,
};
use std::path::Path;

/// Records chunks of a fifth of a second as segment `sequence`, moved in time; the first picture becomes a keyframe.
fn record(dir: &Path, identity: Identity, chunks: std::ops::Range<u64>, moved_ns: u64) -> Closed {
    let name = format!("{:06}.mp4", identity.sequence);
    let options = WriteOptions { sync: false, ..WriteOptions::default() };
    let mut writer = Writer::create(dir, &name, identity, tracks(), &options).unwrap();
    for n in chunks {
        let mut frames = chunk(n, 1);
        for frame in &mut frames {
            frame.dts_ns += moved_ns;
            frame.pts_ns += moved_ns;
            frame.sync = true;
        }
        writer.append(&frames).unwrap();
    }
    writer.close(CloseReason::Rotation).unwrap()
}

fn after(closed: &Closed, sequence: u64) -> Identity {
    let previous = Previous { sequence: sequence - 1, file_id: closed.file_id, digest: Some(closed.digest) };
    Identity { previous: Some(previous), ..identity(sequence) }
}

/// Verifies; the findings from `least` on, as text.
fn findings(dir: &Path, least: Severity) -> Vec<String> {
    let report = verify_session(dir).unwrap();
    assert_eq!(report.is_ok(), report.findings().all(|finding| finding.severity < Severity::Error));
    report.findings().filter(|finding| finding.severity >= least).map(|finding| finding.what.clone()).collect()
}

fn only(dir: &Path, least: Severity, words: &str) {
    let found = findings(dir, least);
    assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
}

#[test]
fn a_rotation_without_loss_has_no_findings() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let two = record(dir.path(), after(&one, 2), 10..20, 0);
    // The writer of the third did not wait for the second to be closed.
    let mut third = after(&two, 3);
    third.previous.as_mut().unwrap().digest = None;
    record(dir.path(), third, 20..25, 0);
    let report = verify_session(dir.path()).unwrap();
    assert_eq!(report.findings().count(), 0, "{report}");
    let input = &report.inputs[0];
    assert_eq!((input.files.len(), input.frames, input.gap_ns), (3, 25 * 15, 0));
    assert_eq!(input.duration_ns, 5 * SECOND_NS);
    assert!(report.to_string().contains("all footage is whole"));
}

#[test]
fn a_closed_file_that_has_lost_its_end_is_damaged() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let whole = std::fs::metadata(&one.path).unwrap().len();
    for length in [whole - 3000, whole / 2, 0] {
        std::fs::OpenOptions::new().write(true).open(&one.path).unwrap().set_len(length).unwrap();
        let report = verify_session(dir.path()).unwrap();
        assert!(!report.is_ok(), "{length} of {whole} bytes: {report}");
    }
}

#[test]
fn a_gap_between_files_needs_a_reason_on_record() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let mut second = after(&one, 2);
    record(dir.path(), second.clone(), 10..15, 3 * SECOND_NS);
    only(dir.path(), Severity::Note, "3000 ms are missing before it and no gap is on record");
    std::fs::remove_file(dir.path().join("000002.mp4")).unwrap();

    let start_mono_ns = START_NS + 2 * SECOND_NS;
    let gap = Gap { cause: GapCause::CaptureDied, start_mono_ns, duration_ns: 3 * SECOND_NS, frames_lost: 75 };
    second.gap_before = Some(gap.clone());
    second.file_id = FileId::random().unwrap();
    record(dir.path(), second.clone(), 10..15, 3 * SECOND_NS);
    only(dir.path(), Severity::Note, "3000 ms are missing before it: capture-died");
    let report = verify_session(dir.path()).unwrap();
    assert!(report.is_ok());
    assert_eq!((report.inputs[0].gap_ns, report.inputs[0].frames_lost), (3 * SECOND_NS, 75));
    std::fs::remove_file(dir.path().join("000002.mp4")).unwrap();

    // A gap that is much too short explains nothing.
    second.gap_before = Some(Gap { duration_ns: SECOND_NS, ..gap.clone() });
    record(dir.path(), second.clone(), 10..15, 3 * SECOND_NS);
    only(dir.path(), Severity::Note, "no gap is on record");
    std::fs::remove_file(dir.path().join("000002.mp4")).unwrap();

    // Nor does one over a restart of the box, whose times are those of another clock.
    second.gap_before = Some(Gap { cause: GapCause::Reboot, ..gap });
    record(dir.path(), second, 10..15, 3 * SECOND_NS);
    only(dir.path(), Severity::Note, "no gap is on record");
}

#[test]
fn a_reboot_needs_a_gap_on_record() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let mut second = Identity { boot_id: BootId([1; 16]), ..after(&one, 2) };
    record(dir.path(), second.clone(), 0..5, 0);
    only(dir.path(), Severity::Note, "restarted before it and no gap is on record");
    std::fs::remove_file(dir.path().join("000002.mp4")).unwrap();
    second.gap_before = Some(Gap { cause: GapCause::Reboot, start_mono_ns: 0, duration_ns: 1, frames_lost: 0 });
    record(dir.path(), second, 0..5, 0);
    only(dir.path(), Severity::Note, "restarted before it: Reboot");
}

/// A capture died between taking a number for its next file and the first chunk of it.
#[test]
fn a_number_that_never_had_footage_is_no_missing_file() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let previous = Previous { sequence: 1, file_id: one.file_id, digest: Some(one.digest) };
    record(dir.path(), Identity { previous: Some(previous), ..identity(3) }, 10..20, 0);
    only(dir.path(), Severity::Note, "segment 2 before it never had footage");
    assert!(verify_session(dir.path()).unwrap().is_ok());
}

#[test]
fn missing_doubled_and_exchanged_files_are_found() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..10, 0);
    let two = record(dir.path(), after(&one, 2), 10..20, 0);
    let three = record(dir.path(), after(&two, 3), 20..30, 0);
    assert!(findings(dir.path(), Severity::Note).is_empty());

    std::fs::rename(&two.path, dir.path().join("gone")).unwrap();
    only(dir.path(), Severity::Note, "segment 2 before it is missing");
    // What retention takes from the beginning is no error.
    std::fs::rename(&one.path, dir.path().join("gone too")).unwrap();
    only(dir.path(), Severity::Note, "begins with segment 3");
    std::fs::rename(dir.path().join("gone too"), &one.path).unwrap();

    let other = record(dir.path(), after(&one, 2), 10..20, 0);
    only(dir.path(), Severity::Note, "names another file");
    std::fs::copy(dir.path().join("gone"), dir.path().join("copy.mp4")).unwrap();
    assert!(findings(dir.path(), Severity::Error).iter().any(|what| what.contains("has the same place 2")));
    std::fs::remove_file(dir.path().join("copy.mp4")).unwrap();
    std::fs::rename(dir.path().join("gone"), &other.path).unwrap();

    // The same file, but with another ledger than it was closed with.
    let mut third = after(&two, 3);
    third.previous.as_mut().unwrap().digest = Some(one.digest);
    std::fs::remove_file(&three.path).unwrap();
    record(dir.path(), third, 20..30, 0);
    only(dir.path(), Severity::Note, "which has");
    std::fs::remove_file(&three.path).unwrap();

    let third = Identity { previous: None, ..identity(3) };
    record(dir.path(), third.clone(), 20..30, 0);
    only(dir.path(), Severity::Note, "does not name");
    std::fs::remove_file(&three.path).unwrap();
    record(dir.path(), Identity { previous: after(&two, 3).previous, ..third }, 15..30, 0);
    only(dir.path(), Severity::Note, "begins 1000 ms before the one before it ends");
}

#[test]
fn a_leap_in_time_inside_a_file_needs_a_reason_on_record() {
    let step = |with_gap: bool, inside_chunk: bool| {
        let dir = scratch();
        let mut writer = Writer::create(dir.path(), "1.mp4", identity(1), tracks(), &WriteOptions::default()).unwrap();
        let moved = |frames: &mut [Frame<Vec<u8>>]| {
            for frame in frames {
                frame.dts_ns += 2 * SECOND_NS;
                frame.pts_ns += 2 * SECOND_NS;
            }
        };
        for n in 0..6 {
            let mut frames = chunk(n, 1);
            match (n, inside_chunk) {
                (3, true) => moved(&mut frames[6..]),
                (3.., false) | (4.., true) => moved(&mut frames),
                _ => (),
            }
            writer.append(&frames).unwrap();
        }
        if with_gap {
            // Told late: at the end of the file.
            let start_mono_ns = START_NS + 600_000_000;
            let cause = GapCause::SourceLost;
            writer.note_gap(Gap { cause, start_mono_ns, duration_ns: 2 * SECOND_NS, frames_lost: 0 });
        }
        writer.close(CloseReason::Stop).unwrap();
        verify_session(dir.path()).unwrap()
    };
    for inside_chunk in [false, true] {
        let report = step(false, inside_chunk);
        assert!(!report.is_ok(), "{report}");
        // Picture and sound.
        assert_eq!(report.findings().filter(|finding| finding.what.contains("no gap is on record")).count(), 2);
        let report = step(true, inside_chunk);
        assert!(report.is_ok(), "{report}");
        assert_eq!(report.findings().filter(|finding| finding.what.contains("source-lost")).count(), 2);
    }
}

#[test]
fn a_recording_that_goes_on_while_it_is_read_is_no_damage() {
    let dir = scratch();
    let one = record(dir.path(), identity(1), 0..5, 0);
    let two = record(dir.path(), after(&one, 2), 5..10, 0);
    let options = WriteOptions { sync: false, ..WriteOptions::default() };
    let mut third = Writer::create(dir.path(), "000003.mp4", after(&two, 3), tracks(), &options).unwrap();
    third.append(&chunk(10, 1)).unwrap();
    let paths = ["000001.mp4", "000002.mp4", "000003.mp4.part", "000009.mp4"].map(|name| dir.path().join(name));

    // While the first is read, the third is closed; while the second is read, retention deletes the first.
    let mut third = Some(third);
    let report = verify_files_with(&paths, |file| {
        if let Some(mut third) = third.take() {
            third.append(&chunk(11, 1)).unwrap();
            third.close(CloseReason::Rotation).unwrap();
        } else if file.path == two.path {
            std::fs::remove_file(&one.path).unwrap();
        }
    });
    let files: Vec<_> = report.inputs[0].files.iter().map(|file| file.path.clone()).collect();
    assert_eq!(files, [two.path, dir.path().join("000003.mp4")]);
    assert_eq!(report.inputs[0].files[1].chunks, 2, "all of it");
    let errors: Vec<_> = report.findings().filter(|finding| finding.severity > Severity::Note).collect();
    // What was never there is an error as ever.
    assert!(errors.len() == 1 && errors[0].path == paths[3], "{errors:?}");
}
