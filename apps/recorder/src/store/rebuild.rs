//! What a session's files still know when its journal does not: the records that were lost, as far as files can tell them.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_records::{Checkpoint, Record};
use holdfast_segment::{PART_SUFFIX, Reader};

use super::catalog::file_names;
use super::summary::directories;
use crate::captures::segment_cause_name;

/// One thing a file knows, and where it belongs in time.
struct Fact {
    wall_ns: i64,
    record: Record,
}

/// The records that are missing from `known`, in the order of their labels. `checkpoint`: the recorder's own copy of the
/// journal's first record.
pub fn from_files(dir: &Path, id: &str, known: &[Record], checkpoint: Option<&Checkpoint>) -> Vec<Record> {
    let mut known_files = BTreeSet::new();
    let mut known_gaps = BTreeSet::new();
    let mut known_marks = BTreeSet::new();
    for record in known {
        match record {
            Record::FileClosed { input, sequence, .. } => drop(known_files.insert((input.clone(), *sequence))),
            Record::Gap { input, start_mono_ns, .. } => drop(known_gaps.insert((input.clone(), *start_mono_ns))),
            Record::Mark { text, mono_ns, .. } => drop(known_marks.insert((*mono_ns, text.clone()))),
            _ => (),
        }
    }
    let mut first: Option<Checkpoint> = None;
    let mut inputs = Vec::new();
    let mut facts = Vec::new();
    for input in directories(dir) {
        for name in file_names(&dir.join(&input)) {
            let Ok(reader) = Reader::open(&dir.join(&input).join(&name)) else {
                continue;
            };
            let identity = reader.identity();
            if first.as_ref().is_none_or(|first| identity.start_wall_ns < first.wall_ns) {
                first = Some(Checkpoint {
                    wall_ns: identity.start_wall_ns,
                    mono_ns: identity.start_mono_ns,
                    boot_id: identity.boot_id.0,
                    ..Checkpoint::default()
                });
            }
            let wall_of = |mono_ns: u64| {
                let offset = i128::from(mono_ns) - i128::from(identity.start_mono_ns);
                i64::try_from(i128::from(identity.start_wall_ns) + offset).unwrap_or(identity.start_wall_ns)
            };
            let ledger = reader.ledger().filter(|_| !name.ends_with(PART_SUFFIX));
            for gap in identity.gap_before.iter().chain(ledger.iter().flat_map(|ledger| &ledger.gaps)) {
                // Told twice by some files, and by the journal: it begins at the same moment.
                if known_gaps.insert((input.clone(), gap.start_mono_ns)) {
                    let record = Record::Gap {
                        input: input.clone(),
                        cause: segment_cause_name(gap.cause).to_owned(),
                        start_mono_ns: gap.start_mono_ns,
                        duration_ms: gap.duration_ns / 1_000_000,
                        frames_lost: gap.frames_lost,
                        wall_ns: identity.start_wall_ns,
                    };
                    facts.push(Fact { wall_ns: identity.start_wall_ns, record });
                }
            }
            let Some(ledger) = ledger else { continue };
            for mark in &ledger.marks {
                // Every input's file has it.
                if known_marks.insert((mark.mono_ns, mark.text.clone())) {
                    let record = Record::Mark { text: mark.text.clone(), wall_ns: mark.wall_ns, mono_ns: mark.mono_ns };
                    facts.push(Fact { wall_ns: mark.wall_ns, record });
                }
            }
            if let Some(file) = crate::captures::summary(&dir.join(&input).join(&name))
                && known_files.insert((input.clone(), file.sequence))
            {
                let wall_ns = wall_of(file.end_mono_ns);
                let record = Record::FileClosed {
                    input: input.clone(),
                    sequence: file.sequence,
                    file: name.clone(),
                    frames: file.frames,
                    bytes: file.bytes,
                    duration_ms: file.duration_ms,
                    recovered: file.by_recovery,
                };
                facts.push(Fact { wall_ns, record });
            }
        }
        inputs.push(input);
    }
    facts.sort_by_key(|fact| fact.wall_ns);
    let mut records = Vec::new();
    if !matches!(known.first(), Some(Record::Created { .. })) {
        let copy = checkpoint.filter(|checkpoint| checkpoint.id == id).cloned();
        let wall_ns = crate::ids::wall_ns_of(id);
        let from_files = || {
            let first = first.unwrap_or(Checkpoint { wall_ns, ..Checkpoint::default() });
            Checkpoint { id: id.to_owned(), inputs, ..first }
        };
        records.push(copy.unwrap_or_else(from_files).created());
    }
    records.extend(facts.into_iter().map(|fact| fact.record));
    records
}
