//! Looks at what is on disk: ledgers, pictures, and the numbers in them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use holdfast_segment::{DropReason, Media, Reader};

use super::account::{Account, Gap, Picture, account, frame_duration_ns};

/// Rows of a picture that hold the number; `holdfast-framemark` never makes its blocks larger than 32 pixels.
const MARK_ROWS: usize = 64;

/// What one input's files hold.
#[derive(Debug, Default)]
pub struct Footage {
    pub files: Vec<PathBuf>,
    pub bytes: u64,
    pub gaps: Vec<Gap>,
    pub pictures: Vec<Picture>,
    /// Frames on record as dropped for a reason.
    pub dropped: u64,
}

impl Footage {
    /// Reads and decodes all files of an input, in their order.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        Self::read_with(directory, true)
    }

    /// Reads them without decoding: pictures have times and no numbers.
    pub fn read_times(directory: &Path) -> anyhow::Result<Self> {
        Self::read_with(directory, false)
    }

    fn read_with(directory: &Path, decode: bool) -> anyhow::Result<Self> {
        let mut footage = Self::default();
        let entries = std::fs::read_dir(directory).with_context(|| format!("{} can't be read", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                bail!("{} was left open", path.display());
            }
            if path.extension().is_some_and(|extension| extension == "mp4") {
                footage.files.push(path);
            }
        }
        footage.files.sort();
        for file in footage.files.clone() {
            footage.add(&file, decode).with_context(|| file.display().to_string())?;
        }
        Ok(footage)
    }

    pub fn account(&self) -> Account {
        account(&self.pictures, &self.gaps, frame_duration_ns(&self.pictures), self.dropped)
    }

    pub fn gap_ns(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.end_ns.saturating_sub(gap.start_ns)).sum()
    }

    /// Adds a file, decoded or not.
    pub fn add(&mut self, file: &Path, decode: bool) -> anyhow::Result<()> {
        let reader = Reader::open(file)?;
        let ledger = reader.ledger().context("it is not closed")?;
        self.bytes += reader.file_bytes();
        let gaps = reader.identity().gap_before.iter().chain(&ledger.gaps);
        self.gaps.extend(gaps.map(|gap| {
            Gap {
                cause: serde_json::to_value(gap.cause)
                    .ok()
                    .and_then(|cause| Some(cause.as_str()?.to_owned()))
                    .unwrap_or_default(),
                start_ns: gap.start_mono_ns,
                end_ns: gap.start_mono_ns.saturating_add(gap.duration_ns),
            }
        }));
        // What came before the first keyframe was never part of the recording: it leaves no hole.
        let holes = ledger.counts.dropped.iter().filter(|(reason, _)| *reason != DropReason::NoKeyframe);
        self.dropped += holes.map(|(_, frames)| frames).sum::<u64>();

        let video =
            reader.tracks().iter().position(|track| track.codec.is_video()).context("there is no video in it")?;
        let Media::Video { width, height } = reader.tracks()[video].media else { bail!("its video has no size") };
        let mut times = Vec::new();
        for chunk in reader.chunks() {
            let samples = chunk?.samples;
            times.extend(
                samples.iter().filter(|sample| sample.track == video).map(|sample| reader.mono_ns(video, sample.pts)),
            );
        }
        times.sort_unstable();
        if !decode {
            self.pictures.extend(times.into_iter().map(|mono_ns| Picture { mono_ns, number: None }));
            return Ok(());
        }
        let numbers = decode_numbers(file, usize::from(width), usize::from(height))?;
        if numbers.len() != times.len() {
            bail!("it holds {} frames, of which ffmpeg decodes {}", times.len(), numbers.len());
        }
        self.pictures.extend(times.into_iter().zip(numbers).map(|(mono_ns, number)| Picture { mono_ns, number }));
        Ok(())
    }
}

/// Decodes every picture of a file and reads its number.
fn decode_numbers(file: &Path, width: usize, height: usize) -> anyhow::Result<Vec<Option<u32>>> {
    let rows = MARK_ROWS.min(height);
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "-1"])
        .args(["-vf", &format!("crop={width}:{rows}:0:0")])
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("ffmpeg does not start: `cargo xtask setup` installs it")?;
    let mut output = ffmpeg.stdout.take().context("ffmpeg without output")?;
    // The place of the number depends on the height of the whole picture, so that is what is handed to the reader.
    let mut luma = vec![0; width * height];
    let mut numbers = Vec::new();
    loop {
        match output.read_exact(&mut luma[..width * rows]) {
            Ok(()) => numbers.push(holdfast_framemark::read(&luma, width, width, height)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error).context("ffmpeg's pictures can't be read"),
        }
    }
    let status = ffmpeg.wait()?;
    if !status.success() {
        bail!("ffmpeg can't decode it: {status}");
    }
    Ok(numbers)
}
