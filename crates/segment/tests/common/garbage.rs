//! Whatever the bytes: nothing panics, nothing asks for memory that the file does not have, nothing is deleted.
//! Shared by the property tests (stable toolchain) and the fuzz target.

use holdfast_segment::recover::{self, Outcome};
use holdfast_segment::{Error, Reader, verify};
use std::path::Path;

/// Reads, verifies and recovers these bytes as a file in `dir`, which must be empty and is left empty.
pub fn try_everything(dir: &Path, bytes: &[u8]) {
    let closed = dir.join("x.mp4");
    std::fs::write(&closed, bytes).expect("the test's own directory takes files");
    read(&closed);
    let report = verify::verify_file(&closed);
    assert!(report.chunks == 0 || report.identity.is_some());
    drop(report.to_string());

    let part = dir.join("x.mp4.part");
    std::fs::rename(&closed, &part).expect("nobody else is here");
    read(&part);
    match recover::recover(&part, None) {
        Ok(recovered) => {
            assert!(!part.exists() && recovered.path.exists());
            if matches!(recovered.outcome, Outcome::Cut(_) | Outcome::Closed) {
                again(&recovered.path, &part);
            } else {
                let kept = std::fs::read(&recovered.path).expect("it was set aside, not deleted");
                assert!(kept == bytes, "what was set aside has changed");
            }
        }
        Err(error) => {
            assert!(part.exists(), "{error}");
            drop((error.to_string(), error.remedy()));
        }
    }
    for entry in std::fs::read_dir(dir).expect("it is there") {
        std::fs::remove_file(entry.expect("nobody else is here").path()).expect("it is ours");
    }
}

/// What was recovered is a closed file; recovered again it stays what it is, to the bit.
fn again(path: &Path, part: &Path) {
    let reader = Reader::open(path).expect("what was recovered opens");
    assert!(reader.ledger().is_some());
    let whole = std::fs::read(path).expect("it is there");
    std::fs::rename(path, part).expect("nobody else is here");
    let recovered = recover::recover(part, None).expect("it could be recovered before");
    assert_eq!(recovered.path, path);
    let again = std::fs::read(path).expect("it is there");
    assert!(again == whole, "{recovered}: not the same a second time");
}

fn read(path: &Path) {
    let reader = match Reader::open(path) {
        Ok(reader) => reader,
        Err(error) => {
            assert!(error.to_string().contains("x.mp4"), "{error} names the file");
            return;
        }
    };
    let mut data = Vec::new();
    for chunk in reader.chunks() {
        match chunk {
            Ok(chunk) => {
                for sample in &chunk.samples {
                    assert!(sample.track < reader.tracks().len());
                    let _ = reader.mono_ns(sample.track, sample.pts);
                    reader.read_sample(sample, &mut data).expect("samples were checked against the file");
                }
            }
            Err(error) => assert!(matches!(error, Error::Malformed { .. }), "{error}"),
        }
    }
}
