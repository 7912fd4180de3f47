//! Whether footage decodes: every picture of a file through ffmpeg, with the number burnt into it.
//!
//! The digest of a file covers all of it, so each content is decoded once, however many images hold it.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};
use holdfast_segment::{Digest, FileId, Media, Reader};

use crate::judge::Found;

/// Rows of a picture that hold the number; `holdfast-framemark` never makes its blocks larger than 32 pixels.
const MARK_ROWS: usize = 64;

/// What was decoded so far. For several threads.
#[derive(Debug, Default)]
pub struct Pictures(Mutex<Decoded>);

#[derive(Debug, Default)]
struct Decoded {
    contents: HashMap<(FileId, Digest), Option<String>>,
    /// The longest run of numbers seen of each file: shorter ones must be its beginning.
    numbers: HashMap<FileId, Vec<u32>>,
    pictures: u64,
}

impl Pictures {
    /// Decodes a file, unless its content is known already. What is wrong with it, if anything.
    #[must_use]
    pub fn check(&self, found: &Found) -> Option<String> {
        let key = (found.file, found.digest);
        if let Some(known) = self.lock().contents.get(&key) {
            return known.clone();
        }
        let wrong = match numbers(&found.path) {
            Ok(numbers) => self.compare(found, numbers),
            Err(error) => Some(format!("{}: {error:#}", found.path.display())),
        };
        self.lock().contents.insert(key, wrong.clone());
        wrong
    }

    fn compare(&self, found: &Found, numbers: Vec<Option<u32>>) -> Option<String> {
        let mut decoded = self.lock();
        decoded.pictures += numbers.len() as u64;
        let path = found.path.display();
        if numbers.len() as u64 != found.frames {
            return Some(format!("{path}: {} pictures, of which {} decode", found.frames, numbers.len()));
        }
        let Some(numbers) = numbers.into_iter().collect::<Option<Vec<u32>>>() else {
            return Some(format!("{path}: a picture's number can't be read"));
        };
        if numbers.windows(2).any(|pair| pair[1] <= pair[0]) {
            return Some(format!("{path}: pictures out of order: {numbers:?}"));
        }
        let longest = decoded.numbers.entry(found.file).or_default();
        let common = longest.len().min(numbers.len());
        if longest[..common] != numbers[..common] {
            return Some(format!("{path}: other pictures than on another image"));
        }
        if numbers.len() > longest.len() {
            *longest = numbers;
        }
        None
    }

    /// How many contents and pictures were decoded.
    #[must_use]
    pub fn count(&self) -> (usize, u64) {
        let decoded = self.lock();
        (decoded.contents.len(), decoded.pictures)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Decoded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of every picture of one of our files, in the order in which they are shown. Its sound is decoded along.
///
/// # Errors
/// ffmpeg finds something wrong with it.
fn numbers(path: &Path) -> anyhow::Result<Vec<Option<u32>>> {
    let reader = Reader::open(path)?;
    let size = reader.tracks().iter().find_map(|track| match track.media {
        Media::Video { width, height } => Some((usize::from(width), usize::from(height))),
        Media::Audio { .. } => None,
    });
    let (width, height) = size.context("there is no video in it")?;
    decode(path, width, height, true)
}

/// Decodes any file that ffmpeg knows. `strict`: not a single complaint is accepted.
///
/// # Errors
/// ffmpeg gives up, or complains.
pub fn decode(path: &Path, width: usize, height: usize, strict: bool) -> anyhow::Result<Vec<Option<u32>>> {
    let rows = MARK_ROWS.min(height);
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-threads", "1", "-i"]).arg(path);
    command.args(["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "-1"]);
    // Others' times may stand still or run backwards: that costs no picture.
    let times = if strict { "" } else { ",setpts=N/30/TB" };
    command.args(["-vf", &format!("crop={width}:{rows}:0:0{times}"), "-f", "rawvideo", "-pix_fmt", "gray", "-"]);
    if strict {
        command.args(["-map", "0:a?", "-f", "null", "/dev/null"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut ffmpeg = command.spawn().context("ffmpeg does not start")?;
    let mut output = ffmpeg.stdout.take().context("ffmpeg without output")?;
    // The place of the number depends on the height of the whole picture, so that is what is handed to the reader.
    let mut luma = vec![0; width * height];
    let mut numbers = Vec::new();
    while output.read_exact(&mut luma[..width * rows]).is_ok() {
        numbers.push(holdfast_framemark::read(&luma, width, width, height));
    }
    let output = ffmpeg.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if strict && !(output.status.success() && said.trim().is_empty()) {
        bail!("ffmpeg: {}: {}", output.status, said.trim());
    }
    Ok(numbers)
}
