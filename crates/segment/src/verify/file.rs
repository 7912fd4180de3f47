//! One file.

use super::report::{FileReport, Finding, Severity};
use super::{Cadence, TOLERANCE_NS};
use crate::PART_SUFFIX;
use crate::error::{Error, Result};
use crate::identity::{Gap, GapCause};
use crate::ledger::Ledger;
use crate::mfra::put_mfra;
use crate::reader::{Chunk, Sample};
use crate::scan::{Found, Head, Item, Scan, load_chunk, payload_is_whole, read_head};
use crate::source::Source;
use crate::tally::Tally;
use crate::types::ticks_to_ns;
use std::path::Path;

/// A file can be bad in more places than anybody wants to read about.
const MAX_FINDINGS: usize = 200;

/// Verifies one segment: every byte of footage is read.
#[must_use]
pub fn verify_file(path: &Path) -> FileReport {
    let mut report = FileReport {
        path: path.to_owned(),
        identity: None,
        closed: None,
        digest: None,
        file_bytes: 0,
        chunks: 0,
        tracks: Vec::new(),
        duration_ns: 0,
        gaps: Vec::new(),
        findings: Vec::new(),
    };
    if let Err(error) = look(path, &mut report) {
        report.findings.push(Finding::from_error(severity(path, &error), path, &error));
    }
    report
}

fn severity(path: &Path, error: &Error) -> Severity {
    let is_open = path.as_os_str().as_encoded_bytes().ends_with(PART_SUFFIX.as_bytes());
    match error {
        // A crash may leave a file without footage, but never under its final name.
        Error::Empty { .. } | Error::Recycled { .. } if is_open => Severity::Warning,
        _ => Severity::Error,
    }
}

fn look(path: &Path, report: &mut FileReport) -> Result<()> {
    let source = Source::open(path)?;
    report.file_bytes = source.len();
    let head = read_head(&source)?;
    report.identity = Some(head.identity.clone());
    let mut walk = Walk::new(&source, &head);
    let end = walk.run();
    let ledger = walk.tally.ledger();
    report.chunks = ledger.chunks;
    report.tracks = ledger.tracks.clone();
    report.duration_ns = ledger.duration_ns;
    report.gaps = head.identity.gap_before.iter().chain(&ledger.gaps).cloned().collect();
    if let Some(closed) = &walk.closed {
        report.closed = Some(closed.reason);
        report.digest = walk.digest;
        report.gaps = head.identity.gap_before.iter().chain(&closed.gaps).cloned().collect();
    }
    walk.explain_jumps(&report.gaps);
    report.findings = walk.findings;
    end
}

/// One pass over a file.
struct Walk<'a> {
    source: &'a Source,
    head: &'a Head,
    tally: Tally,
    clocks: Vec<Clock>,
    jumps: Vec<Jump>,
    /// Damaged places, by where they begin.
    damaged: Vec<u64>,
    closed: Option<Ledger>,
    digest: Option<crate::types::Digest>,
    findings: Vec<Finding>,
}

/// Time of one track.
#[derive(Default)]
struct Clock {
    next_dts: Option<u64>,
    last_dts: Option<u64>,
    cadence: Cadence,
}

/// A step in time that is larger than usual.
struct Jump {
    track: usize,
    offset: u64,
    start_ns: u64,
    end_ns: u64,
}

impl<'a> Walk<'a> {
    fn new(source: &'a Source, head: &'a Head) -> Self {
        Self {
            source,
            head,
            tally: Tally::new(head.identity.start_mono_ns, &head.tracks),
            clocks: head.tracks.iter().map(|_| Clock::default()).collect(),
            jumps: Vec::new(),
            damaged: Vec::new(),
            closed: None,
            digest: None,
            findings: Vec::new(),
        }
    }

    fn find(&mut self, severity: Severity, offset: u64, what: impl Into<String>, remedy: &str) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding::new(severity, self.source.path(), offset, what, remedy));
        }
    }

    fn run(&mut self) -> Result<()> {
        let mut scan = Scan::new(self.source, self.head, true);
        let mut end = self.head.bytes;
        // Of a file that is not closed the last chunk may be torn: nobody said that it is safe.
        let mut torn: Option<Found> = None;
        while let Some(item) = scan.next()? {
            if let Some(found) = torn.take() {
                self.damage(&found)?;
            }
            match item {
                Item::Chunk(found) => {
                    if !found.chained {
                        let what = format!("chunk {} does not follow the one before it", found.seal.sequence);
                        self.find(Severity::Error, found.seal.offset, what, "chunks are missing before it");
                    }
                    end = found.end;
                    if payload_is_whole(self.source, &found)? {
                        self.chunk(&found)?;
                    } else {
                        torn = Some(found);
                    }
                }
                Item::Torn(found) => torn = Some(found),
                Item::Hole { offset, bytes } => {
                    self.damaged.push(offset);
                    self.lose_time();
                    let what = format!("{bytes} bytes are no chunk of this file");
                    self.find(Severity::Error, offset, what, "the rest of the file is still readable");
                }
                Item::Ledger { offset, ledger, chained } => {
                    if !chained {
                        let what = "the ledger does not follow the last chunk";
                        self.find(Severity::Error, offset, what, "chunks are missing before it");
                    }
                    self.digest = Some(ledger.digest);
                    self.ledger(offset, &ledger.ledger);
                    self.closed = Some(ledger.ledger);
                    end = offset;
                }
            }
        }
        match (&self.closed, torn) {
            (Some(_), _) => self.tail(end)?,
            (None, torn) => self.open_end(end, torn),
        }
        Ok(())
    }

    fn damage(&mut self, found: &Found) -> Result<()> {
        self.damaged.push(found.seal.offset);
        let what = format!("chunk {} does not match its digest", found.seal.sequence);
        self.find(Severity::Error, found.seal.offset, what, "parts of it may still play; compare with a copy");
        // Count it as the ledger does, if it is sound enough.
        match load_chunk(self.source, self.head, found) {
            Ok(chunk) => {
                self.times(&chunk);
                self.tally.add(chunk.moof_offset, &chunk.samples, chunk.notes);
            }
            Err(Error::Malformed { .. }) => self.lose_time(),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Behind a damaged place nobody can say how much time should have passed; the place itself is reported.
    fn lose_time(&mut self) {
        self.clocks.iter_mut().for_each(|clock| (clock.last_dts, clock.next_dts) = (None, None));
    }

    fn chunk(&mut self, found: &Found) -> Result<()> {
        match load_chunk(self.source, self.head, found) {
            Ok(chunk) => {
                self.times(&chunk);
                self.tally.add(chunk.moof_offset, &chunk.samples, chunk.notes);
            }
            Err(error @ Error::Malformed { .. }) => {
                self.findings.push(Finding::from_error(Severity::Error, self.source.path(), &error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decode times must not go backwards; where they leap forward, somebody must have said why.
    fn times(&mut self, chunk: &Chunk) {
        for sample in &chunk.samples {
            let clock = &mut self.clocks[sample.track];
            let backwards = clock.last_dts.filter(|last| sample.dts < *last);
            let (last, next) = (clock.last_dts.replace(sample.dts), clock.next_dts);
            clock.next_dts = Some(sample.dts.saturating_add(u64::from(sample.duration)));
            if let Some(last) = backwards {
                let what = format!("track {}: decode time {} is before {last}", sample.track, sample.dts);
                self.find(Severity::Error, chunk.moof_offset, what, "players may refuse or reorder it");
            } else if let (Some(last), Some(next)) = (last, next) {
                self.step(chunk, sample, last, next.min(sample.dts));
            }
        }
    }

    fn step(&mut self, chunk: &Chunk, sample: &Sample, last: u64, next: u64) {
        let timescale = self.head.tracks[sample.track].timescale;
        let ns = |ticks: u64| u64::try_from(ticks_to_ns(i128::from(ticks), timescale)).unwrap_or(u64::MAX);
        let cadence = &mut self.clocks[sample.track].cadence;
        let typical_ns = cadence.typical_ns();
        let step_ns = ns(sample.dts - last);
        if !cadence.jumps(step_ns, ns(next.saturating_sub(last))) || self.jumps.len() >= MAX_FINDINGS {
            return;
        }
        let base_ns = self.head.identity.start_mono_ns;
        // Inside a chunk the frame before a gap lasts through it: assume that it lasted as usual.
        let lasted_ns = typical_ns.unwrap_or(0).min(step_ns);
        let start_ns = if next < sample.dts { ns(next) } else { ns(last).saturating_add(lasted_ns) };
        self.jumps.push(Jump {
            track: sample.track,
            offset: chunk.moof_offset,
            start_ns: base_ns.saturating_add(start_ns),
            end_ns: base_ns.saturating_add(ns(sample.dts)),
        });
    }

    fn ledger(&mut self, offset: u64, ledger: &Ledger) {
        let found = self.tally.ledger().clone();
        if (ledger.chunks, &ledger.tracks) != (found.chunks, &found.tracks) {
            let what = format!(
                "the ledger says {} chunks, {} frames, {} bytes; found {}, {}, {}",
                ledger.chunks,
                ledger.frames(),
                ledger.media_bytes(),
                found.chunks,
                found.frames(),
                found.media_bytes()
            );
            self.find(Severity::Error, offset, what, "see the findings about damaged chunks");
        }
        if ledger.holes.len() < self.damaged.len() && !ledger.holes.is_empty() {
            self.find(Severity::Warning, offset, "damaged further since it was recovered", "look after the disk");
        }
        if let Some(cut) = ledger.cut {
            let what = format!("recovered after a crash; {} frames that were not safe yet were cut", cut.frames);
            self.find(Severity::Note, cut.offset, what, "nothing to do");
        }
    }

    /// Behind the ledger stands the index, and nothing else.
    fn tail(&mut self, ledger_offset: u64) -> Result<()> {
        let mut index = Vec::new();
        put_mfra(&mut index, self.tally.index_track(), self.tally.index());
        let size = self.source.read_up_to(ledger_offset, 4)?;
        let size = size.first_chunk().map_or(0, |size| u64::from(u32::from_be_bytes(*size)));
        let offset = ledger_offset + size;
        let rest = self.source.len().saturating_sub(offset);
        if rest != index.len() as u64 || self.source.read(offset, rest)? != index {
            let what = "the index at the end is missing or does not match the chunks";
            self.find(Severity::Warning, offset, what, "seeking may be slow in some players; export writes a new one");
        }
        Ok(())
    }

    fn open_end(&mut self, end: u64, torn: Option<Found>) {
        let what = match torn {
            Some(found) => format!("not closed, and its last chunk {} is not whole", found.seal.sequence),
            None => "not closed".to_owned(),
        };
        if self.source.path().as_os_str().as_encoded_bytes().ends_with(PART_SUFFIX.as_bytes()) {
            self.find(Severity::Warning, end, what, "if nothing is recording into it, recover it");
            return;
        }
        // Only a file that has been closed gets its final name, so this one was longer once.
        let what = format!("{what}, though its name says that it was: its end is missing");
        self.find(
            Severity::Error,
            end,
            what,
            "take it from another copy; what is left of it can be played and exported",
        );
    }

    /// Turns the jumps that no gap on record covers into findings, the others into notes.
    fn explain_jumps(&mut self, gaps: &[Gap]) {
        for jump in std::mem::take(&mut self.jumps) {
            let track = jump.track;
            let ms = (jump.end_ns - jump.start_ns) / 1_000_000;
            match cause(gaps, jump.start_ns, jump.end_ns) {
                Some(cause) => {
                    let what = format!("track {track}: {ms} ms are missing: {cause}");
                    self.find(Severity::Note, jump.offset, what, "nothing to do: the reason is on record");
                }
                None => {
                    let what = format!("track {track}: {ms} ms are missing and no gap is on record");
                    self.find(Severity::Error, jump.offset, what, "look at the log of that time");
                }
            }
        }
    }
}

/// The cause of the gaps that cover a stretch of time together, give or take the tolerance. One over a restart of the box begins
/// on the clock of another boot: it covers nothing of this one's.
pub(super) fn cause(gaps: &[Gap], start_ns: u64, end_ns: u64) -> Option<GapCause> {
    let covered = |gap: &Gap| {
        if gap.cause == GapCause::Reboot {
            return 0;
        }
        let gap_end = gap.start_mono_ns.saturating_add(gap.duration_ns);
        end_ns.min(gap_end).saturating_sub(start_ns.max(gap.start_mono_ns))
    };
    let total = gaps.iter().map(covered).fold(0, u64::saturating_add);
    let enough = total.saturating_add(2 * TOLERANCE_NS) >= end_ns.saturating_sub(start_ns);
    gaps.iter().filter(|gap| enough && covered(gap) > 0).max_by_key(|gap| covered(gap)).map(|gap| gap.cause)
}
