//! An input's files on disk: what is the newest, what needs recovery.

use std::fs;
use std::path::Path;

use holdfast_segment::{CloseReason, Error, PART_SUFFIX, Pool, Reader, recover};
use tracing::{info, warn};

/// A file that recovery has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Its final name.
    pub path: String,
    /// Its place in the sequence.
    pub sequence: u64,
    /// Video frames in it.
    pub frames: u64,
    /// Its length.
    pub bytes: u64,
    /// Its duration.
    pub duration_ms: u64,
    /// End of its last video frame.
    pub end_mono_ns: u64,
    /// It was closed by recovery.
    pub by_recovery: bool,
}

/// The sequence number that a file name begins with.
pub fn sequence_of(name: &str) -> Option<u64> {
    let (digits, rest) = name.split_once('_')?;
    let is_segment = rest.strip_suffix(PART_SUFFIX).unwrap_or(rest).ends_with(".mp4");
    if is_segment && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// What is newest in an input's directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// The highest sequence number that was ever given to a file which is there; 0 if there is none.
    pub number: u64,
    /// The newest file that has footage, or may have: its number, and its id if its head can be read.
    pub footage: Option<(u64, Option<[u8; 16]>)>,
}

/// Looks. A file that a capture has begun and died before its first chunk has a number and no footage: recovery sets it aside, and
/// nothing can follow it.
pub fn newest(dir: &Path) -> Newest {
    let mut files: Vec<_> = names(dir).into_iter().filter_map(|name| Some((sequence_of(&name)?, name))).collect();
    files.sort();
    let number = files.last().map_or(0, |(number, _)| *number);
    let footage = files.iter().rev().find_map(|(number, name)| {
        let reader = Reader::open(&dir.join(name)).ok();
        let is_empty =
            || reader.as_ref().is_none_or(|reader| reader.chunks().next().is_none_or(|chunk| chunk.is_err()));
        if name.ends_with(PART_SUFFIX) && is_empty() {
            return None;
        }
        Some((*number, reader.map(|reader| reader.identity().file_id.0)))
    });
    Newest { number, footage }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Closes every file in this directory that a dead capture left open. A file that someone is writing is left alone.
/// `pool`: where blocks that were never written go back to.
pub fn recover_parts(dir: &Path, pool: &Path) -> Vec<Recovered> {
    let parts = names(dir).into_iter().filter(|name| name.ends_with(PART_SUFFIX) && sequence_of(name).is_some());
    parts.filter_map(|name| recover_one(&dir.join(name), pool)).collect()
}

fn recover_one(part: &Path, pool: &Path) -> Option<Recovered> {
    match recover::recover(part, Pool::open(pool).ok().as_ref()) {
        Ok(done) => {
            info!("{done}");
            summary(&done.path)
        }
        Err(Error::Busy { .. }) => None,
        Err(error) => {
            // Never deleted, never renamed: it stays for a person or a later version to look at.
            warn!(file = %part.display(), "not recovered, the file stays as it is: {error}. Remedy: {}", error.remedy());
            None
        }
    }
}

/// What a closed file says of itself.
pub fn summary(path: &Path) -> Option<Recovered> {
    let reader = Reader::open(path).ok()?;
    let ledger = reader.ledger()?;
    let video = reader.tracks().iter().position(|track| track.codec.is_video()).unwrap_or(0);
    let (frames, end_mono_ns) = ledger.tracks.get(video).map_or((0, 0), |track| (track.frames, track.end_mono_ns));
    Some(Recovered {
        path: path.file_name()?.to_str()?.to_owned(),
        sequence: reader.identity().sequence,
        frames,
        bytes: reader.file_bytes(),
        duration_ms: ledger.duration_ns / 1_000_000,
        end_mono_ns,
        by_recovery: ledger.reason == CloseReason::Recovered,
    })
}

#[cfg(test)]
mod tests {
    use super::{Newest, newest, sequence_of};

    #[test]
    fn only_segments_count() {
        assert_eq!(sequence_of("000012_20261121T071503Z.mp4"), Some(12));
        assert_eq!(sequence_of("000012_20261121T071503Z.mp4.part"), Some(12));
        for other in ["session.journal", "x_1.mp4", "12.mp4", "000012_x.txt", "+12_x.mp4"] {
            assert_eq!(sequence_of(other), None, "{other}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(newest(dir.path()), Newest::default());
        assert_eq!(newest(&dir.path().join("none")), Newest::default());
        std::fs::write(dir.path().join("000003_a.mp4"), "").unwrap();
        std::fs::write(dir.path().join("000004_a.mp4.part"), "").unwrap();
        // What was begun and never written is nobody's predecessor, and its number is taken all the same.
        assert_eq!(newest(dir.path()), Newest { number: 4, footage: Some((3, None)) });
    }
}
