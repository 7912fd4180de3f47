//! Says whether footage is what it claims to be: boxes, digests, chain, sums, times, and continuity from file to file.
//!
//! Verification only reads, and reports what it finds as data; it never fails itself. Whether the pictures decode is
//! for a decoder to say.

mod cadence;
mod continuity;
mod file;
mod report;

pub use cadence::Cadence;
pub use file::verify_file;
pub use report::{FileReport, Finding, InputReport, SessionReport, Severity};

use crate::PART_SUFFIX;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Steps in time up to this are jitter, not a gap. Larger ones must be on record with their cause (of tracks whose frames are far
/// apart: those larger than four frames).
pub const TOLERANCE_NS: u64 = 250_000_000;

/// Verifies all segments (`*.mp4`, `*.mp4.part`) below a directory, and how those of each input follow each other.
///
/// # Errors
/// A directory cannot be read. What is wrong with files is in the report.
pub fn verify_session(dir: &Path) -> Result<SessionReport> {
    let mut paths = Vec::new();
    list(dir, &mut paths)?;
    paths.sort();
    Ok(verify_files(&paths))
}

/// Verifies these files, and how those of each input follow each other.
#[must_use]
pub fn verify_files(paths: &[PathBuf]) -> SessionReport {
    verify_files_with(paths, |_| {})
}

/// Verifies these files as [`verify_files`] does, and hands over the report of each as soon as it is done: reading all
/// of a long session takes minutes, and somebody waits.
///
/// The files may belong to a recording that goes on. One that has been closed since is read again under its final name: what
/// was read of it before may not reach to where the next one begins. One that is gone when all have been read is left out:
/// retention deletes the oldest, and what it has given up is in the session's journal.
pub fn verify_files_with(paths: &[PathBuf], mut done: impl FnMut(&FileReport)) -> SessionReport {
    let verify = |path: &PathBuf| {
        let report = verify_file(path);
        done(&report);
        report
    };
    let never_there: Vec<&PathBuf> = paths.iter().filter(|path| !path.exists()).collect();
    let mut reports: Vec<FileReport> = paths.iter().map(verify).collect();
    for report in &mut reports {
        if let Some(closed) = closed_since(&report.path) {
            *report = verify_file(&closed);
        }
    }
    let mut left =
        still_there(&reports, |path| path.exists() || never_there.iter().any(|never| *never == path)).into_iter();
    reports.retain(|_| left.next().unwrap_or(true));
    continuity::join(reports)
}

/// Which of these are there still. Retention goes on meanwhile, the oldest first: asked for the newest first, none can be found gone
/// whose predecessor was found there.
fn still_there(reports: &[FileReport], mut exists: impl FnMut(&Path) -> bool) -> Vec<bool> {
    let mut there: Vec<bool> = reports.iter().rev().map(|report| exists(&report.path)).collect();
    there.reverse();
    there
}

/// The final name of a file that is not open any more.
fn closed_since(part: &Path) -> Option<PathBuf> {
    let name = part.file_name()?.to_str()?.strip_suffix(PART_SUFFIX)?;
    let closed = part.with_file_name(name);
    (!part.exists() && closed.exists()).then_some(closed)
}

fn list(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let fail = |error| Error::io(dir, 0, "list", error);
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let kind = entry.file_type().map_err(fail)?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if kind.is_dir() && !name.starts_with(b".") {
            list(&path, paths)?;
        } else if kind.is_file() && (name.ends_with(b".mp4") || name.ends_with(b".mp4.part")) {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{still_there, verify_file};
    use std::path::Path;

    #[test]
    fn what_retention_gives_up_meanwhile_leaves_no_hole() {
        let names = ["5", "6", "7"].map(|name| format!("/nowhere/{name}.mp4"));
        let reports: Vec<_> = names.iter().map(|name| verify_file(Path::new(name))).collect();
        // Between any two looks the two oldest go.
        for deleted_after in 0..=3 {
            let mut looks = 0;
            let there = still_there(&reports, |path| {
                looks += 1;
                looks <= deleted_after || path == Path::new(&names[2])
            });
            assert!(there.is_sorted(), "after {deleted_after} looks: {there:?}");
        }
    }
}
