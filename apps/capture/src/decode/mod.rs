//! Decodes footage and compares it with its index, frame for frame: in a process of its own, which may hang or crash.
//!
//! Whether bytes are those that were written is for digests to say (`holdfast_segment::verify`): they are made of what the encoder
//! gave, before it went to disk. Here it is whether these bytes are pictures: each frame of the index gives exactly one, shown
//! when the index says, none is damaged; and where pictures carry numbers (the test source), they count up as time does.

mod file;
pub mod judge;
mod lane;
mod noise;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_config::Config;
use holdfast_link::SOCKET_DIRECTORY;
use holdfast_segment::PART_SUFFIX;
use holdfast_segment::decoded::{ANSWER_SUFFIX, Fault, FaultKind, REQUEST_SUFFIX};
pub use holdfast_segment::decoded::{Answer, DecodedFile, Extent, Request};

use file::{Decoded, Task, decode};

/// The files of a request by directory, which is by input: of each only the end may be wanted.
fn groups(request: &Request) -> io::Result<Vec<Vec<PathBuf>>> {
    let mut groups: Vec<Vec<PathBuf>> = Vec::new();
    for path in &request.paths {
        if path.is_dir() {
            below(path, request.last_seconds.is_some(), &mut groups)?;
            continue;
        }
        match groups.last_mut().filter(|group| group.last().is_some_and(|last| last.parent() == path.parent())) {
            Some(group) => group.push(path.clone()),
            None => groups.push(vec![path.clone()]),
        }
    }
    Ok(groups)
}

/// What is missing between pictures must be on record as lost. By input, not by file: what is lost where one file ends and the next
/// begins is on record in either.
fn account(files: &mut [Decoded]) {
    let missing = files.iter().map(|file| file.missing_numbers).fold(0, u64::saturating_add);
    let on_record = files.iter().try_fold(0_u64, |sum, file| Some(sum.saturating_add(file.on_record?)));
    if let Some(on_record) = on_record.filter(|on_record| missing > *on_record)
        && let Some(Decoded { file, .. }) = files.iter_mut().find(|file| file.missing_numbers > 0)
    {
        let text = format!("{missing} pictures of {} are missing, and {on_record} are on record as lost", file.input);
        file.faults += 1;
        file.fault.get_or_insert(Fault { kind: FaultKind::Differs, text });
    }
}

fn below(directory: &Path, with_open: bool, groups: &mut Vec<Vec<PathBuf>>) -> io::Result<()> {
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') {
                directories.push(entry.path());
            }
        } else if name.ends_with(".mp4") || with_open && name.ends_with(&format!(".mp4{PART_SUFFIX}")) {
            files.push(entry.path());
        }
    }
    // Names count up.
    files.sort();
    directories.sort();
    if !files.is_empty() {
        groups.push(files);
    }
    directories.iter().try_for_each(|directory| below(directory, with_open, groups))
}

/// Does what was asked for. `progress` is told how many bytes were decoded since it was told last.
///
/// # Errors
/// A directory can't be read, or GStreamer can't be had.
pub fn run(request: &Request, mut progress: impl FnMut(u64)) -> Result<Answer, Box<dyn std::error::Error>> {
    let until = Instant::now() + Duration::from_millis(request.within_ms);
    gstreamer::init()?;
    let mut answer = Answer { complete: true, files: Vec::new() };
    for group in groups(request)? {
        let mut left_ns = request.last_seconds.map(|seconds| seconds.saturating_mul(1_000_000_000));
        // The end of a group may reach over several files, and its newest may have nothing safe in it yet.
        let (forwards, backwards) = (group.iter(), group.iter().rev());
        let files: Vec<_> = if left_ns.is_some() { backwards.collect() } else { forwards.collect() };
        let (mut found, mut is_over) = (Vec::new(), false);
        for path in files {
            if Instant::now() >= until {
                is_over = true;
                break;
            }
            let mut done = 0;
            let task = Task { last_ns: left_ns, numbered: &request.numbered, until };
            let decoded = decode(path, &task, |bytes| {
                progress(bytes.saturating_sub(done));
                done = bytes;
            });
            let Some((decoded, ns, is_hung)) = decoded else { continue };
            // Retention deletes the oldest meanwhile. Who names a file misses it.
            let file = &decoded.file;
            if file.extent == Extent::Unfinished && !file.path.exists() && !request.paths.contains(path) {
                continue;
            }
            answer.complete &= file.extent != Extent::Unfinished;
            found.push(decoded);
            if is_hung {
                is_over = true;
                break;
            }
            left_ns = left_ns.map(|left_ns| left_ns.saturating_sub(ns));
            if left_ns == Some(0) {
                break;
            }
        }
        // Of what was not looked at to its end nobody knows what is missing.
        if !is_over {
            account(&mut found);
        }
        answer.files.extend(found.into_iter().map(|decoded| decoded.file));
        if is_over {
            answer.complete = false;
            break;
        }
    }
    Ok(answer)
}

/// Does what the recorder has left to be done under this name, and leaves the answer beside it: whole or not at all.
///
/// # Errors
/// There is nothing of that name, or nothing can be left.
pub fn run_job(config: &Path, job: &str) -> Result<(), Box<dyn std::error::Error>> {
    let runtime_dir = Config::load(config)?.recorder.runtime_dir.join(SOCKET_DIRECTORY);
    let request = serde_json::from_slice(&std::fs::read(runtime_dir.join(format!("{job}.{REQUEST_SUFFIX}")))?)?;
    let answer = run(&request, |_| {})?;
    let file = runtime_dir.join(format!("{job}.{ANSWER_SUFFIX}"));
    let unfinished = file.with_extension("tmp");
    std::fs::write(&unfinished, serde_json::to_vec(&answer)?)?;
    Ok(std::fs::rename(&unfinished, &file)?)
}

#[cfg(test)]
mod tests {
    use super::{Decoded, account};

    #[test]
    fn what_is_missing_between_pictures_must_be_on_record() {
        let faults = |files: &[(u64, Option<u64>)]| {
            let file = |(missing_numbers, on_record): &(u64, Option<u64>)| {
                let (missing_numbers, on_record) = (*missing_numbers, *on_record);
                Decoded { missing_numbers, on_record, ..Decoded::default() }
            };
            let mut files: Vec<_> = files.iter().map(file).collect();
            account(&mut files);
            files.iter().map(|decoded| decoded.file.faults).sum::<u64>()
        };
        assert_eq!(faults(&[(0, Some(0)), (5, Some(5))]), 0);
        assert_eq!(faults(&[(5, Some(0)), (0, Some(5))]), 0, "on record in the next file");
        assert_eq!(faults(&[(5, None), (0, Some(0))]), 0, "nobody can know");
        assert_eq!(faults(&[(5, Some(4)), (0, Some(0))]), 1);
    }
}
