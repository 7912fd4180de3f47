//! Rotations under the microscope: what the camera sent is in the files, once, picture by picture.
//!
//! A second client of the camera (ffmpeg) writes down the coded stream as it is. Files are cut every half second, much oftener
//! than any configuration allows.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_segment::verify::{Severity, verify_session};

use super::capture::Capture;
use super::slices::{self, Digest, Files};
use super::{Common, Figures};
use crate::interrupt::Interrupt;
use crate::process::Guarded;
use crate::rig::{Camera, Directory, Place, Settings};
use crate::terminal::{self, Table, thousands};
use crate::workspace::Built;

const ROTATION_MS: u32 = 500;
const GOP_MS: u32 = 250;

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let rotations = if common.quick { 8 } else { 220 };
    let programs = built.get()?;
    let program = programs.short_rotation();
    let mut directory = Directory::temporary()?;
    let gop = format!("--gop-ms={GOP_MS}");
    let mut camera =
        Camera::start(programs, ["--size=320x240", "--audio=aac", "--sound=noise", "--bitrate-kbps=1000", &gop])?;
    let url = camera.url()?.to_owned();
    let lines = ["source = \"rtsp\"".to_owned(), format!("url = \"{url}\""), "armed = false".to_owned()];
    let settings = Settings { inputs: vec![("cam0".to_owned(), lines.to_vec())], ..Settings::default() };
    let place = Place::new(programs, directory.path(), &settings)?;

    terminal::step(&format!("rotate: {rotations} rotations, one every {ROTATION_MS} ms, with audio"));
    let witness = Witness::start(&url, directory.path())?;
    witness.wait_until_it_sees(interrupt)?;
    let mut command = Command::new(program);
    command.args(["--rotation-ms", &ROTATION_MS.to_string()]);
    let mut capture = Capture::start(&mut command, &place, "cam0")?;
    capture.record("bench", "bench/cam0")?;
    let deadline = Instant::now() + Duration::from_millis(u64::from(ROTATION_MS) * (rotations + 60));
    loop {
        interrupt.check()?;
        camera.must_run()?;
        let status = capture.drain()?;
        if status.is_some_and(|status| status.file_sequence > rotations) {
            break;
        }
        if Instant::now() > deadline {
            bail!("too few rotations in time");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    capture.stop("bench")?;
    // What came last has to reach the witness, too.
    std::thread::sleep(Duration::from_secs(1));
    let (sent, sent_audio) = witness.end()?;

    let session = place.root.join("bench");
    let files = Files::read(&session.join("cam0"))?;
    let verified = verify_session(&session)?;
    for finding in verified.findings().filter(|finding| finding.severity > Severity::Note) {
        terminal::note(&finding.to_string());
    }
    let figures = report(&files, &sent, &sent_audio);
    if figures.is_err() || !verified.is_ok() {
        terminal::note(&format!("left for a look: {}", directory.keep().display()));
    }
    if !verified.is_ok() {
        bail!("verify finds damage, or footage missing without a reason");
    }
    figures
}

fn report(files: &Files, sent: &[Digest], sent_audio: &[Digest]) -> anyhow::Result<Figures> {
    let video = count(&files.pictures, sent).context("video")?;
    let audio = count(&files.packets, sent_audio).context("audio")?;
    let rotations = files.files - 1;
    terminal::good(&format!("{rotations} rotations"));
    let mut table = Table::new(["", "in", "safe", "doubled", "never sent"]);
    for (name, count) in [("video frames", &video), ("audio packets", &audio)] {
        let numbers = [count.frames_in, count.frames_safe, count.frames_doubled, count.frames_strange];
        table.row([name.to_owned()].into_iter().chain(numbers.map(|number| thousands(number as u64))));
    }
    table.print();
    if [&video, &audio].iter().any(|count| !count.is_whole()) {
        bail!("rotation loses, doubles or invents");
    }
    let mut figures = Figures::new();
    figures.insert("rotations".to_owned(), rotations.into());
    for (prefix, count) in [("frames", video), ("audio_packets", audio)] {
        figures.insert(format!("{prefix}_in"), count.frames_in.into());
        figures.insert(format!("{prefix}_safe"), count.frames_safe.into());
        figures.insert(format!("{prefix}_doubled"), count.frames_doubled.into());
    }
    Ok(figures)
}

/// Video frames or audio packets.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    frames_in: usize,
    frames_safe: usize,
    frames_doubled: usize,
    frames_strange: usize,
}

impl Count {
    fn is_whole(&self) -> bool {
        self.frames_in == self.frames_safe && self.frames_doubled == 0 && self.frames_strange == 0
    }
}

/// Compares what is in the files with what was sent from the first of these pictures to the last.
fn count(files: &[Digest], sent: &[Digest]) -> anyhow::Result<Count> {
    let places: HashMap<&Digest, usize> = sent.iter().enumerate().map(|(place, digest)| (digest, place)).collect();
    let place = |digest: Option<&Digest>| digest.and_then(|digest| places.get(digest)).copied();
    let (Some(first), Some(last)) = (place(files.first()), place(files.last())) else {
        bail!("the first or the last picture in the files was never sent");
    };
    let distinct: HashSet<&Digest> = files.iter().collect();
    let safe = distinct
        .iter()
        .filter(|digest| places.get(*digest).is_some_and(|place| (first..=last).contains(place)))
        .count();
    Ok(Count {
        frames_in: (last + 1).saturating_sub(first),
        frames_safe: safe,
        frames_doubled: files.len() - distinct.len(),
        frames_strange: distinct.len() - safe,
    })
}

/// Writes down what the camera sends.
struct Witness {
    ffmpeg: Guarded,
    video: std::path::PathBuf,
    audio: std::path::PathBuf,
}

impl Witness {
    fn start(url: &str, directory: &Path) -> anyhow::Result<Self> {
        let (video, audio) = (directory.join("sent.h264"), directory.join("sent.aac"));
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-v", "fatal", "-rtsp_transport", "tcp", "-i", url, "-flush_packets", "1"]);
        command.args(["-map", "0:v", "-c", "copy", "-f", "h264"]).arg(&video);
        command.args(["-map", "0:a", "-c", "copy", "-f", "adts", "-flush_packets", "1"]).arg(&audio);
        let ffmpeg = Guarded::spawn(command.stdin(Stdio::null())).context("`cargo xtask setup` installs it")?;
        Ok(Self { ffmpeg, video, audio })
    }

    fn wait_until_it_sees(&self, interrupt: &Interrupt) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let seen = |path: &Path| std::fs::metadata(path).is_ok_and(|data| data.len() > 4096);
        while !(seen(&self.video) && seen(&self.audio)) {
            interrupt.check()?;
            if Instant::now() > deadline {
                bail!("ffmpeg sees nothing of the camera");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<(Vec<Digest>, Vec<Digest>)> {
        self.ffmpeg.end();
        let read = |path: &Path| std::fs::read(path).with_context(|| format!("{} can't be read", path.display()));
        Ok((slices::of_annex_b(&read(&self.video)?), slices::of_adts(&read(&self.audio)?)?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, count};

    fn digests(numbers: &[u8]) -> Vec<[u8; 32]> {
        numbers.iter().map(|number| [*number; 32]).collect()
    }

    #[test]
    fn lost_doubled_and_strange_pictures_are_counted() {
        let sent = digests(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let counted = |files: &[u8]| count(&digests(files), &sent).unwrap();
        let all = Count { frames_in: 5, frames_safe: 5, frames_doubled: 0, frames_strange: 0 };
        assert_eq!(counted(&[2, 3, 4, 5, 6]), all);
        assert_eq!(counted(&[2, 3, 5, 6]), Count { frames_safe: 4, ..all });
        assert_eq!(counted(&[2, 3, 4, 4, 5, 6]), Count { frames_doubled: 1, ..all });
        assert_eq!(counted(&[2, 3, 4, 99, 5, 6]), Count { frames_strange: 1, ..all });
        assert!(count(&digests(&[99, 2]), &sent).is_err());
    }
}
