//! The footage that benches record: 1080p30 at 4 Mb/s, encoded once.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use super::Common;
use crate::{terminal, workspace};

/// Makes the clip, unless it is there. It is longer than anything is measured, because not every contender can loop.
pub fn hd(common: &Common) -> anyhow::Result<PathBuf> {
    let seconds = if common.quick { 20 } else { 90 };
    let path = workspace::target().join(format!("bench-1080p30-4mbit-{seconds}s.mp4"));
    if path.is_file() {
        return Ok(path);
    }
    terminal::step("encoding the clip for benches (once)");
    let partial = path.with_extension("new.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i"]);
    // Noise, so that the encoder has something to spend its bits on.
    ffmpeg.args([
        &format!("testsrc2=size=1920x1080:rate=30:duration={seconds},noise=alls=12:allf=t"),
        "-pix_fmt",
        "yuv420p",
    ]);
    ffmpeg.args(["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-bf", "0"]);
    ffmpeg.args(["-g", "30", "-keyint_min", "30", "-sc_threshold", "0"]);
    ffmpeg.args([
        "-b:v",
        "4M",
        "-minrate",
        "4M",
        "-maxrate",
        "4M",
        "-bufsize",
        "2M",
        "-x264-params",
        "nal-hrd=cbr:sliced-threads=0",
    ]);
    let status = ffmpeg.arg(&partial).status().context("ffmpeg does not start: `cargo xtask setup` installs it")?;
    if !status.success() {
        bail!("ffmpeg can't encode the clip: {status}");
    }
    std::fs::rename(&partial, &path).with_context(|| format!("{} can't be renamed", partial.display()))?;
    Ok(path)
}
