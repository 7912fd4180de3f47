//! Closes what a crash left open: cuts a `.part` to its last whole chunk, and never deletes anything.
//!
//! What a `.part` can be, and what becomes of it:
//!
//! | found | becomes |
//! |---|---|
//! | whole chunks, then nothing or something torn or old | cut behind the last whole chunk, closed with a ledger that says `recovered` and what was cut |
//! | whole chunks and a whole ledger (the crash came while it was closed) | closed as it was meant to be |
//! | damaged bytes between whole chunks (the disk) | closed with all of it; the ledger lists the holes |
//! | no byte, or a head and no whole chunk: nothing in it was ever safe | set aside as `<name>.empty` |
//! | the marker of a recycled file: taken from the pool, never written | back to the pool, or `<name>.empty` |
//! | a head that cannot be read | set aside as `<name>.unrecoverable` |
//!
//! Every step leaves a file that the next run brings to the same end: recovery may be killed at any moment. A file
//! whose writer is alive is left alone ([`Error::Busy`]: writers hold a lock). A disk that cannot be *read* is an
//! error and changes nothing: nobody knows what stands there.

use crate::boxes::{put_u32, put_u64};
use crate::durable;
use crate::error::{Error, Result};
use crate::finish::Finish;
use crate::identity::Identity;
use crate::ledger::{CloseReason, Cut, Hole, Ledger};
use crate::recycle::Pool;
use crate::scan::{Found, Head, Item, Scan, load_chunk, payload_is_whole, read_head};
use crate::source::Source;
use crate::tally::Tally;
use crate::types::Digest;
use serde::Serialize;
use std::fmt;
use std::fs::OpenOptions;
use std::io::IoSlice;
use std::path::{Path, PathBuf};

/// What recovery made of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Recovered {
    /// The `.part` that was found.
    pub from: PathBuf,
    /// What it is called now.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: Outcome,
    /// Who it is, if its head could be read.
    pub identity: Option<Identity>,
    /// Its sums, if it is a closed segment now.
    pub ledger: Option<Ledger>,
    /// Its digest, likewise; the next file's identity names it.
    pub digest: Option<Digest>,
}

/// What became of a `.part`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Cut to its last whole chunk and closed.
    Cut(Cut),
    /// It had been closed but for its name.
    Closed,
    /// Nothing in it was ever safe; set aside.
    Empty,
    /// Taken from the pool and never written; back in the pool.
    Recycled,
    /// Its head cannot be read; set aside as it is.
    Unrecoverable {
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let frames = self.ledger.as_ref().map_or(0, Ledger::frames);
        match &self.outcome {
            Outcome::Cut(cut) => {
                write!(f, "{path}: recovered with {frames} safe frames")?;
                if cut.frames > 0 {
                    write!(f, "; a torn chunk of {} frames that were not safe yet was cut", cut.frames)?;
                }
                match self.ledger.as_ref().map_or(0, |ledger| ledger.holes.len()) {
                    0 => Ok(()),
                    holes => write!(f, "; {holes} damaged places in the middle, see its ledger"),
                }
            }
            Outcome::Closed => write!(f, "{path}: was complete with {frames} frames, only its name was not"),
            Outcome::Empty => write!(f, "{path}: nothing in it was ever safe; set aside"),
            Outcome::Recycled => write!(f, "{}: never written; its blocks are in the pool again", self.from.display()),
            Outcome::Unrecoverable { why } => write!(f, "{path}: set aside, its head cannot be read: {why}"),
        }
    }
}

/// Recovers one `.part`. `pool` is where blocks that were never written go back to.
///
/// # Errors
/// [`Error::Busy`] if it is being written; [`Error::NewerFormat`] if only a newer version can judge it;
/// [`Error::Exists`] if a file of its final name is there; otherwise what the filesystem says. The file is there
/// unharmed in every case.
pub fn recover(part: &Path, pool: Option<&Pool>) -> Result<Recovered> {
    let path = final_name(part)?;
    let file = OpenOptions::new().read(true).write(true).open(part).map_err(|e| Error::io(part, 0, "open", e))?;
    match durable::try_lock(&file) {
        Ok(true) => (),
        Ok(false) => return Err(Error::Busy { path: part.to_owned() }),
        Err(error) => return Err(Error::io(part, 0, "lock", error)),
    }
    let source = Source::new(file, part)?;
    let head = match read_head(&source) {
        Ok(head) => head,
        Err(Error::Empty { .. }) => return set_aside(part, "empty", Outcome::Empty, None),
        Err(Error::Recycled { .. }) => {
            return match pool {
                Some(pool) => Ok(plain(part, pool.give_back(part)?, Outcome::Recycled, None)),
                None => set_aside(part, "empty", Outcome::Empty, None),
            };
        }
        Err(error @ (Error::Malformed { .. } | Error::NotASegment { .. })) => {
            if is_blank(&source)? {
                return set_aside(part, "empty", Outcome::Empty, None);
            }
            return set_aside(part, "unrecoverable", Outcome::Unrecoverable { why: error.to_string() }, None);
        }
        Err(error) => return Err(error),
    };
    let Some(survey) = survey(&source, &head)? else {
        return set_aside(part, "empty", Outcome::Empty, Some(head.identity));
    };
    close(&source, head, survey, part, path)
}

/// All `*.part` below a directory, in the order of their names. Links are not followed.
///
/// # Errors
/// A directory cannot be read.
pub fn scan_tree(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let fail = |error| Error::io(&dir, 0, "list", error);
        for entry in std::fs::read_dir(&dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            let path = entry.path();
            if kind.is_dir() {
                dirs.push(path);
            } else if kind.is_file() && final_name(&path).is_ok() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The name without `.part`.
fn final_name(part: &Path) -> Result<PathBuf> {
    let suffix = crate::PART_SUFFIX.trim_start_matches('.');
    match part.extension() {
        Some(extension) if extension == suffix => Ok(part.with_extension("")),
        _ => Err(Error::NotASegment { path: part.to_owned(), what: "recovery is for *.part files".into() }),
    }
}

fn plain(part: &Path, path: PathBuf, outcome: Outcome, identity: Option<Identity>) -> Recovered {
    Recovered { from: part.to_owned(), path, outcome, identity, ledger: None, digest: None }
}

/// Renames `x.mp4.part` to `x.mp4.<suffix>`, with a number if there is one already.
fn set_aside(part: &Path, suffix: &str, outcome: Outcome, identity: Option<Identity>) -> Result<Recovered> {
    let stem = final_name(part)?.into_os_string();
    for attempt in 0_u32.. {
        let mut name = stem.clone();
        name.push(if attempt == 0 { format!(".{suffix}") } else { format!(".{attempt}.{suffix}") });
        let path = PathBuf::from(name);
        match durable::rename_new(part, &path) {
            Ok(()) => return Ok(plain(part, path, outcome, identity)),
            Err(Error::Exists { .. }) if attempt < 1000 => (),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Exists { path: part.to_owned() })
}

/// True if there are only zeros: blocks were allocated and nothing written.
fn is_blank(source: &Source) -> Result<bool> {
    const STEP_BYTES: u64 = 256 * 1024;
    let mut offset = 0;
    while offset < source.len() {
        if source.read_up_to(offset, STEP_BYTES)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        offset += STEP_BYTES;
    }
    Ok(true)
}

/// What was found in a file with at least one whole chunk.
struct Survey {
    tally: Tally,
    /// End of the last whole chunk.
    end: u64,
    /// Chain value there.
    chain: Digest,
    cut_frames: u64,
    /// Bytes that no player can walk through; they get a box around them.
    gaps: Vec<Hole>,
    ledger: Option<Ledger>,
}

fn survey(source: &Source, head: &Head) -> Result<Option<Survey>> {
    let mut survey = Survey {
        tally: Tally::new(head.identity.start_mono_ns, &head.tracks),
        end: 0,
        chain: head.chain,
        cut_frames: 0,
        gaps: Vec::new(),
        ledger: None,
    };
    // What is damaged counts only if something whole stands behind it; till then it may be the torn tail.
    let mut doubtful: Vec<Doubt> = Vec::new();
    let mut scan = Scan::new(source, head, true);
    while let Some(item) = scan.next()? {
        match item {
            Item::Chunk(found) if payload_is_whole(source, &found)? => {
                for doubt in doubtful.drain(..) {
                    survey.accept(doubt, source, head)?;
                }
                let chunk = load_chunk(source, head, &found)?;
                survey.tally.add(chunk.moof_offset, &chunk.samples, chunk.notes);
                (survey.end, survey.chain, survey.cut_frames) = (found.end, scan.chain(), 0);
            }
            Item::Chunk(found) => {
                survey.cut_frames += frames_of(&found);
                doubtful.push(Doubt::Chunk(found));
            }
            Item::Torn(found) => survey.cut_frames += frames_of(&found),
            Item::Hole { offset, bytes } => doubtful.push(Doubt::Hole(Hole { offset, bytes })),
            // Written when all before it was on disk: what is doubtful is damage, not a torn tail.
            Item::Ledger { offset, ledger, .. } => {
                for doubt in doubtful.drain(..) {
                    survey.accept(doubt, source, head)?;
                }
                (survey.end, survey.chain, survey.cut_frames) = (offset, ledger.previous_chain, 0);
                survey.ledger = Some(ledger.ledger);
            }
        }
    }
    Ok((survey.end > 0).then_some(survey))
}

fn frames_of(found: &Found) -> u64 {
    found.seal.frames.iter().map(|frames| u64::from(*frames)).sum()
}

/// Something damaged.
enum Doubt {
    /// The seal is whole, the chunk isn't.
    Chunk(Found),
    Hole(Hole),
}

impl Survey {
    fn accept(&mut self, doubt: Doubt, source: &Source, head: &Head) -> Result<()> {
        let hole = match doubt {
            Doubt::Hole(hole) => hole,
            Doubt::Chunk(found) => {
                let hole = Hole { offset: found.seal.offset, bytes: found.end - found.seal.offset };
                match load_chunk(source, head, &found) {
                    // Its structure is sound: most of it will play.
                    Ok(chunk) => {
                        self.tally.add(chunk.moof_offset, &chunk.samples, chunk.notes);
                        self.tally.ledger_mut().holes.push(hole);
                        return Ok(());
                    }
                    Err(Error::Malformed { .. }) => hole,
                    Err(error) => return Err(error),
                }
            }
        };
        let holes = &mut self.tally.ledger_mut().holes;
        // Neighbours are one hole: the next run, if this one is killed, will not see what was between them.
        match (self.gaps.last_mut(), holes.last_mut()) {
            (Some(gap), Some(last)) if gap.offset + gap.bytes == hole.offset => {
                gap.bytes += hole.bytes;
                *last = *gap;
            }
            _ => {
                holes.push(hole);
                self.gaps.push(hole);
            }
        }
        Ok(())
    }
}

fn close(source: &Source, head: Head, mut survey: Survey, part: &Path, path: PathBuf) -> Result<Recovered> {
    let cut = Cut { offset: survey.end, bytes: source.len() - survey.end, frames: survey.cut_frames };
    let outcome = match survey.ledger.take() {
        // The ledger was written by somebody who knew more: keep it as it is.
        Some(ledger) => {
            let cut = ledger.cut;
            *survey.tally.ledger_mut() = ledger;
            cut.map_or(Outcome::Closed, Outcome::Cut)
        }
        None => {
            let ledger = survey.tally.ledger_mut();
            ledger.reason = CloseReason::Recovered;
            ledger.cut = Some(cut);
            Outcome::Cut(cut)
        }
    };
    for gap in &survey.gaps {
        let mut header = Vec::new();
        put_free(&mut header, gap.bytes);
        // A hole begins where a seal stood, so a header always fits; a file that was tampered with may differ.
        if header.len() as u64 > gap.bytes {
            continue;
        }
        durable::write_all_at(source.file(), part, gap.offset, &mut [IoSlice::new(&header)])?;
    }
    let finish = Finish { file: source.file(), part, path: &path, offset: survey.end };
    let (digest, _) = finish.run(head.identity.file_id, survey.chain, &survey.tally)?;
    Ok(Recovered {
        from: part.to_owned(),
        path,
        outcome,
        identity: Some(head.identity),
        ledger: Some(survey.tally.ledger().clone()),
        digest: Some(digest),
    })
}

/// Header of a `free` box (ISO/IEC 14496-12 §8.1.2) of so many bytes: players skip it. What stands there may be
/// anything, even chunks of an older recording.
fn put_free(out: &mut Vec<u8>, bytes: u64) {
    if let Ok(bytes) = u32::try_from(bytes) {
        put_u32(out, bytes);
        out.extend(b"free");
    } else {
        put_u32(out, 1);
        out.extend(b"free");
        put_u64(out, bytes);
    }
}
