//! One file, from its first frame that is wanted to its last, in bounded memory.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use holdfast_segment::decoded::{DecodedFile, Extent, Fault, FaultKind as Kind};
use holdfast_segment::{Chunk, DropReason, PART_SUFFIX, Reader, ticks_to_ns};

use super::judge::{Judge, Numbers, at};
use super::lane::{Lane, Stop, lock};
use super::noise;
use crate::nal;

/// What decoding a file has found, and what is for the sums of its input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decoded {
    /// For whoever asked.
    pub file: DecodedFile,
    /// Numbers that are missing between its pictures.
    pub missing_numbers: u64,
    /// Frames that are on record as lost while it was written; nothing if not all of it was looked at, or nobody has counted them.
    pub on_record: Option<u64>,
}

/// What to do with a file.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Only so much of its end.
    pub last_ns: Option<u64>,
    /// The inputs whose pictures must carry numbers.
    pub numbered: &'a [String],
    /// When to be done.
    pub until: Instant,
}

/// The same file, which may have been closed just now.
fn open(path: &Path) -> holdfast_segment::Result<Reader> {
    match Reader::open(path) {
        Err(error) => {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(PART_SUFFIX));
            match name.map(|name| path.with_file_name(name)).filter(|closed| closed.exists()) {
                Some(closed) => Reader::open(&closed),
                None => Err(error),
            }
        }
        reader => reader,
    }
}

/// Decodes a file. `progress` is told how many bytes of it are done. Also, whether the decoder hangs: then this process is of no
/// more use. `None`: it is one that is being written, and nothing in it is safe yet.
pub fn decode(path: &Path, task: &Task<'_>, progress: impl FnMut(u64)) -> Option<(Decoded, u64, bool)> {
    let reader = match open(path) {
        Ok(reader) => reader,
        Err(holdfast_segment::Error::Empty { .. } | holdfast_segment::Error::Recycled { .. }) => return None,
        Err(error) => {
            let fault = Fault { kind: Kind::Undecodable, text: error.to_string() };
            let file = DecodedFile { path: path.to_owned(), fault: Some(fault), faults: 1, ..DecodedFile::default() };
            return Some((Decoded { file, ..Decoded::default() }, 0, false));
        }
    };
    Some(Walk::new(&reader, task).run(progress))
}

struct Walk<'a> {
    reader: &'a Reader,
    task: &'a Task<'a>,
    judge: Arc<Mutex<Judge>>,
    /// One for each track; none for those that can't be decoded here.
    lanes: Vec<Option<Lane>>,
    found: Decoded,
    video: Option<usize>,
    /// From the first picture to the end of the last, in ticks.
    span: Option<(u64, u64)>,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a Reader, task: &'a Task<'a>) -> Self {
        let identity = reader.identity();
        let numbers = if task.numbered.contains(&identity.input) { Numbers::Must } else { Numbers::Perhaps };
        let judge = Arc::new(Mutex::new(Judge::new(numbers)));
        let mut file = DecodedFile {
            path: reader.path().to_owned(),
            input: identity.input.clone(),
            sequence: identity.sequence,
            ..DecodedFile::default()
        };
        noise::begin();
        let mut begin = |track| match Lane::begin(track, &judge) {
            Ok(lane) => {
                file.decoders.push(lane.decoder.clone());
                Some(lane)
            }
            Err(why) => {
                file.undecoded.push(why);
                None
            }
        };
        let lanes = reader.tracks().iter().map(&mut begin).collect();
        let video = reader.tracks().iter().position(|track| track.codec.is_video());
        let found = Decoded { file, ..Decoded::default() };
        Self { reader, task, judge, lanes, found, video, span: None }
    }

    fn run(mut self, progress: impl FnMut(u64)) -> (Decoded, u64, bool) {
        let walked = if self.lanes.iter().all(Option::is_none) { Ok(()) } else { self.walk(progress) };
        let nothing = self.lanes.iter().all(Option::is_none);
        let ended = walked.and_then(|()| self.end());
        let mut judge = lock(&self.judge);
        let (count, first) = noise::end();
        if count > 0 {
            judge.fault(Kind::Undecodable, format!("the decoder complains {count} times, first: {first}"));
        }
        self.found.file.extent = match &ended {
            Ok(()) if nothing => Extent::Nothing,
            Ok(()) if self.task.last_ns.is_some() || self.reader.ledger().is_none() => Extent::Part,
            Ok(()) => Extent::Whole,
            Err(_) => Extent::Unfinished,
        };
        let pictures_are_due = self.video.is_some_and(|video| self.lanes.get(video).is_some_and(Option::is_some));
        if ended.is_ok() && pictures_are_due {
            judge.end();
            self.found.on_record = self.on_record();
        }
        self.found.missing_numbers = judge.missing_numbers;
        if judge.is_blind {
            self.found.file.undecoded.push("numbers in pictures as this decoder gives them can't be read".to_owned());
        }
        let DecodedFile { frames, keyframes, pictures, numbered, faults, fault, .. } = &mut self.found.file;
        (*frames, *keyframes, *pictures) = (judge.frames, judge.keyframes, judge.pictures);
        (*numbered, *faults, *fault) = (judge.numbered, judge.faults, judge.verdict());
        drop(judge);
        let timescale = self.video.map_or(1, |video| self.reader.tracks()[video].timescale);
        let ticks = self.span.map_or(0, |(begin, end)| end.saturating_sub(begin));
        let ns = u64::try_from(ticks_to_ns(i128::from(ticks), timescale)).unwrap_or(0);
        let is_hung = ended == Err(Stop::Hung);
        if is_hung {
            // Not ended in good order: that would hang as well.
            self.lanes.into_iter().for_each(std::mem::forget);
        }
        (self.found, ns, is_hung)
    }

    /// All chunks that are wanted, as they come; of a file's end, once it is known where that begins.
    fn walk(&mut self, mut progress: impl FnMut(u64)) -> Result<(), Stop> {
        let reader = self.reader;
        let mut tail = self.task.last_ns.zip(self.video).map(|(last_ns, video)| Tail::new(reader, video, last_ns));
        for chunk in reader.chunks() {
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(error) => {
                    lock(&self.judge).fault(Kind::Undecodable, error.to_string());
                    continue;
                }
            };
            if let Some(tail) = &mut tail {
                tail.add(chunk);
                continue;
            }
            self.chunk(&chunk)?;
            progress(chunk.end);
        }
        for chunk in tail.into_iter().flat_map(|tail| tail.chunks) {
            self.chunk(&chunk)?;
        }
        progress(reader.file_bytes());
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Stop> {
        for sample in &chunk.samples {
            let Some(Some(lane)) = self.lanes.get(sample.track) else { continue };
            let track = &self.reader.tracks()[sample.track];
            let mut data = Vec::with_capacity(sample.size as usize);
            if let Err(error) = self.reader.read_sample(sample, &mut data) {
                lock(&self.judge).fault(Kind::Undecodable, error.to_string());
                return Err(Stop::Failed);
            }
            if self.video == Some(sample.track) {
                let begin = self.span.map_or(sample.dts, |(begin, _)| begin);
                self.span = Some((begin, sample.dts.saturating_add(u64::from(sample.duration))));
                if !nal::is_intact(&track.codec, &data, sample.sync) {
                    let ns = u64::try_from(ticks_to_ns(i128::from(sample.pts), track.timescale)).unwrap_or(0);
                    let text = format!("the frame at {} is not what the index says of it", at(ns));
                    lock(&self.judge).fault(Kind::Undecodable, text);
                }
            } else {
                self.found.file.packets += 1;
            }
            lane.push(sample, data, self.task.until)?;
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Stop> {
        for (track, lane) in self.lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            let given = match lane.end(self.task.until) {
                Err(Stop::Failed) => continue,
                given => given?,
            };
            if Some(track) != self.video && given == 0 && self.found.file.packets > 0 {
                let text = format!("{} makes no sound of {} packets", lane.decoder, self.found.file.packets);
                lock(&self.judge).fault(Kind::Undecodable, text);
            }
        }
        Ok(())
    }

    /// How many frames the file says are lost in it. Only all of a file that is closed can tell.
    fn on_record(&self) -> Option<u64> {
        let ledger = self.reader.ledger().filter(|_| self.task.last_ns.is_none())?;
        let dropped = ledger.counts.dropped.iter().filter(|(reason, _)| *reason != DropReason::NoKeyframe);
        let dropped = dropped.fold(0_u64, |sum, (_, frames)| sum.saturating_add(*frames));
        // Of a hole nobody may have counted the frames: then its length is not held against them.
        let uncounted = ledger.gaps.iter().any(|gap| gap.frames_lost == 0) || !ledger.holes.is_empty();
        let lost = ledger.gaps.iter().fold(0_u64, |sum, gap| sum.saturating_add(gap.frames_lost));
        (!uncounted).then(|| dropped.saturating_add(lost))
    }
}

/// The last chunks of a file, from one on that decoding can start at.
struct Tail {
    chunks: VecDeque<Chunk>,
    video: usize,
    ticks: u64,
}

impl Tail {
    fn new(reader: &Reader, video: usize, last_ns: u64) -> Self {
        let timescale = u128::from(reader.tracks()[video].timescale);
        let ticks = u64::try_from(u128::from(last_ns) * timescale / 1_000_000_000).unwrap_or(u64::MAX);
        Self { chunks: VecDeque::new(), video, ticks }
    }

    fn add(&mut self, chunk: Chunk) {
        self.chunks.push_back(chunk);
        let (video, ticks) = (self.video, self.ticks);
        let first = |chunk: &Chunk| chunk.samples.iter().find(|sample| sample.track == video).copied();
        let Some(now) = self.chunks.back().and_then(first) else { return };
        // The latest start that is still early enough.
        let is_start = |chunk: &Chunk| {
            first(chunk).is_some_and(|sample| sample.sync && sample.dts.saturating_add(ticks) <= now.dts)
        };
        if let Some(start) = self.chunks.iter().rposition(is_start) {
            self.chunks.drain(..start);
        }
    }
}
