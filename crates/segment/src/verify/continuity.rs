//! How the files of an input follow each other.

use super::TOLERANCE_NS;
use super::file::cause;
use super::report::{FileReport, Finding, InputReport, SessionReport, Severity};
use crate::identity::{Identity, Previous};
use std::collections::BTreeMap;

/// Sorts files by session, input and sequence, and looks at the seams.
pub(super) fn join(files: Vec<FileReport>) -> SessionReport {
    let mut strays = Vec::new();
    let mut groups: BTreeMap<(String, String), Vec<FileReport>> = BTreeMap::new();
    for file in files {
        match &file.identity {
            Some(identity) => {
                groups.entry((identity.session.clone(), identity.input.clone())).or_default().push(file);
            }
            None => strays.push(file),
        }
    }
    let inputs = groups.into_iter().map(|((session, input), files)| join_input(session, input, files)).collect();
    SessionReport { inputs, strays }
}

fn join_input(session: String, input: String, mut files: Vec<FileReport>) -> InputReport {
    files.sort_by_key(|file| file.identity.as_ref().map(|identity| identity.sequence));
    let mut findings = Vec::new();
    if let Some((file, identity)) = files.first().and_then(|file| file.identity.as_ref().map(|it| (file, it)))
        && identity.sequence > 1
    {
        let what = format!("begins with segment {}: earlier ones are not here", identity.sequence);
        findings.push(Finding::new(Severity::Note, &file.path, 0, what, "they were deleted by retention, or moved"));
    }
    for pair in files.windows(2) {
        if let [before, after] = pair {
            seam(before, after, &mut findings);
        }
    }
    let gaps = || files.iter().flat_map(|file| &file.gaps);
    InputReport {
        frames: files.iter().flat_map(|file| &file.tracks).map(|track| track.frames).sum(),
        file_bytes: files.iter().map(|file| file.file_bytes).sum(),
        duration_ns: files.iter().map(|file| file.duration_ns).fold(0, u64::saturating_add),
        gap_ns: gaps().map(|gap| gap.duration_ns).fold(0, u64::saturating_add),
        frames_lost: gaps().map(|gap| gap.frames_lost).fold(0, u64::saturating_add),
        session,
        input,
        files,
        findings,
    }
}

fn seam(before: &FileReport, after: &FileReport, findings: &mut Vec<Finding>) {
    let (Some(old), Some(new)) = (&before.identity, &after.identity) else {
        return;
    };
    let mut find = |severity, what: String, remedy: &str| {
        findings.push(Finding::new(severity, &after.path, 0, what, remedy));
    };
    if new.sequence == old.sequence {
        let what = format!("has the same place {} as {}", new.sequence, before.path.display());
        find(Severity::Error, what, "one of them is a copy, or was moved here");
        return;
    }
    // Sorted, so the newer one's number is larger.
    let expected = old.sequence.saturating_add(1);
    if new.sequence != expected {
        let (which, is) = match new.sequence - expected {
            1 => (format!("segment {expected}"), "is"),
            _ => (format!("segments {expected} to {}", new.sequence - 1), "are"),
        };
        // A number that was taken by a file whose writer died before its first chunk. The newer file knows what it follows.
        let follows = |previous: &Previous| previous.sequence == old.sequence && previous.file_id == old.file_id;
        if !new.previous.as_ref().is_some_and(follows) {
            let what = format!("{which} before it {is} missing");
            find(Severity::Error, what, "look for them in the archive and among files set aside by recovery");
            return;
        }
        find(Severity::Note, format!("{which} before it never had footage"), "nothing to do");
    }
    link(before, old, new, &mut find);
    time(before, old, after, new, &mut find);
}

/// Does the newer file name the older one?
fn link(before: &FileReport, old: &Identity, new: &Identity, find: &mut impl FnMut(Severity, String, &str)) {
    let name = before.path.display();
    match &new.previous {
        None => find(Severity::Warning, format!("does not name {name} as the one before it"), "check where it is from"),
        Some(previous) if previous.file_id != old.file_id || previous.sequence != old.sequence => {
            find(
                Severity::Error,
                format!("names another file than {name} as the one before it"),
                "a file was replaced",
            );
        }
        Some(previous) => {
            if let (Some(named), Some(found)) = (previous.digest, before.digest)
                && named != found
            {
                let what = format!("names digest {named} for {name}, which has {found}");
                find(Severity::Error, what, "the file before it was changed after it was closed");
            }
        }
    }
}

/// Does the newer file begin where the older one ends, or say why not?
fn time(
    before: &FileReport,
    old: &Identity,
    after: &FileReport,
    new: &Identity,
    find: &mut impl FnMut(Severity, String, &str),
) {
    if new.boot_id != old.boot_id {
        match &new.gap_before {
            Some(gap) => {
                find(Severity::Note, format!("the box was restarted before it: {:?}", gap.cause), "nothing to do");
            }
            None => find(
                Severity::Error,
                "the box was restarted before it and no gap is on record".into(),
                "look at the log of that time",
            ),
        }
        return;
    }
    // The track that goes on longest decides: the others end within a packet of it.
    let Some(end_ns) = before.tracks.iter().map(|track| track.end_mono_ns).max().filter(|end| *end > 0) else {
        return;
    };
    let start_ns = new.start_mono_ns;
    if start_ns.saturating_add(TOLERANCE_NS) < end_ns {
        let what = format!("begins {} ms before the one before it ends", (end_ns - start_ns) / 1_000_000);
        find(Severity::Warning, what, "footage may be doubled");
    } else if start_ns > end_ns.saturating_add(TOLERANCE_NS) {
        let ms = (start_ns - end_ns) / 1_000_000;
        let gaps: Vec<_> = before.gaps.iter().chain(&after.gaps).cloned().collect();
        match cause(&gaps, end_ns, start_ns) {
            Some(cause) => find(Severity::Note, format!("{ms} ms are missing before it: {cause}"), "nothing to do"),
            None => find(
                Severity::Error,
                format!("{ms} ms are missing before it and no gap is on record"),
                "look at the log of that time",
            ),
        }
    }
}
