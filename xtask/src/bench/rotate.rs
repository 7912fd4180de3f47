//! Rotations under the microscope: what the camera sent is in the files, once, picture by picture.
//!
//! A second client of the camera (ffmpeg) writes down the coded stream as it is. Files are cut every half second, much oftener
//! than any configuration allows.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_segment::verify::verify_session;

use super::capture::Capture;
use super::slices::{self, Digest, Files};
use super::{Common, Figures};
use crate::interrupt::Interrupt;
use crate::process::Guarded;
use crate::rig::{Camera, Directory, Place, Settings};
use crate::terminal::{self, Table, thousands};
use crate::workspace::Programs;

const ROTATION_MS: u32 = 500;
const GOP_MS: u32 = 250;

pub fn run(common: &Common, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let rotations = if common.quick { 8 } else { 220 };
    let programs = Programs::build(common.profile, &["holdfast-simcam"])?;
    let program = Programs::build_example(common.profile, "holdfast-capture", "short-rotation")?;
    let directory = Directory::temporary()?;
    let gop = format!("--gop-ms={GOP_MS}");
    let mut camera = Camera::start(
        &programs,
        ["--size=320x240", "--audio=aac", "--bitrate-kbps=1000", &gop],
    )?;
    let url = camera.url()?.to_owned();
    let lines = [
        "source = \"rtsp\"".to_owned(),
        format!("url = \"{url}\""),
        "armed = false".to_owned(),
    ];
    let settings = Settings {
        recording: Vec::new(),
        inputs: vec![("cam0".to_owned(), lines.to_vec())],
    };
    let place = Place::new(&programs, directory.path(), &settings)?;

    terminal::step(&format!(
        "rotate: {rotations} rotations, one every {ROTATION_MS} ms, with audio"
    ));
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
    if !verified.is_ok() {
        bail!("verify: {verified}");
    }
    report(&files, &sent, &sent_audio)
}

fn report(files: &Files, sent: &[Digest], sent_audio: &[Digest]) -> anyhow::Result<Figures> {
    let Count {
        frames_in,
        frames_safe,
        frames_doubled,
        frames_strange,
    } = count(&files.pictures, sent)?;
    let audio_whole = contains(sent_audio, &files.packets);
    let rotations = files.files - 1;
    let mut table = Table::new(["", "count"]);
    let number = |number: usize| thousands(number as u64);
    table.row(["rotations".to_owned(), number(rotations)]);
    table.row(["frames in".to_owned(), number(frames_in)]);
    table.row(["frames safe".to_owned(), number(frames_safe)]);
    table.row(["frames doubled".to_owned(), number(frames_doubled)]);
    table.row(["frames never sent".to_owned(), number(frames_strange)]);
    table.row(["audio packets".to_owned(), number(files.packets.len())]);
    table.row(["audio without a break", if audio_whole { "yes" } else { "NO" }]);
    table.print();
    if frames_safe != frames_in || frames_doubled + frames_strange > 0 || !audio_whole {
        bail!("rotation loses, doubles or invents");
    }
    let mut figures = Figures::new();
    figures.insert("rotations".to_owned(), rotations.into());
    figures.insert("frames_in".to_owned(), frames_in.into());
    figures.insert("frames_safe".to_owned(), frames_safe.into());
    figures.insert("frames_doubled".to_owned(), frames_doubled.into());
    figures.insert("frames_strange".to_owned(), frames_strange.into());
    figures.insert("audio_packets".to_owned(), files.packets.len().into());
    figures.insert("audio_whole".to_owned(), audio_whole.into());
    Ok(figures)
}

#[derive(Debug, PartialEq, Eq)]
struct Count {
    frames_in: usize,
    frames_safe: usize,
    frames_doubled: usize,
    frames_strange: usize,
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

/// Whether `part` stands in `whole` without a break.
fn contains(whole: &[Digest], part: &[Digest]) -> bool {
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
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
        command.args([
            "-nostdin",
            "-v",
            "error",
            "-rtsp_transport",
            "tcp",
            "-i",
            url,
            "-flush_packets",
            "1",
        ]);
        command.args(["-map", "0:v", "-c", "copy", "-f", "h264"]).arg(&video);
        command
            .args(["-map", "0:a", "-c", "copy", "-f", "adts", "-flush_packets", "1"])
            .arg(&audio);
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
        Ok((
            slices::of_annex_b(&read(&self.video)?),
            slices::of_adts(&read(&self.audio)?)?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, contains, count};

    fn digests(numbers: &[u8]) -> Vec<[u8; 32]> {
        numbers.iter().map(|number| [*number; 32]).collect()
    }

    #[test]
    fn lost_doubled_and_strange_pictures_are_counted() {
        let sent = digests(&[1, 2, 3, 4, 5, 6, 7, 8]);
        let counted = |files: &[u8]| count(&digests(files), &sent).unwrap();
        let all = Count {
            frames_in: 5,
            frames_safe: 5,
            frames_doubled: 0,
            frames_strange: 0,
        };
        assert_eq!(counted(&[2, 3, 4, 5, 6]), all);
        assert_eq!(counted(&[2, 3, 5, 6]), Count { frames_safe: 4, ..all });
        assert_eq!(
            counted(&[2, 3, 4, 4, 5, 6]),
            Count {
                frames_doubled: 1,
                ..all
            }
        );
        assert_eq!(
            counted(&[2, 3, 4, 99, 5, 6]),
            Count {
                frames_strange: 1,
                ..all
            }
        );
        assert!(count(&digests(&[99, 2]), &sent).is_err());
    }

    #[test]
    fn audio_must_not_break() {
        let sent = digests(&[0, 0, 1, 0, 0, 0, 2, 0]);
        assert!(contains(&sent, &digests(&[0, 1, 0, 0])));
        assert!(!contains(&sent, &digests(&[1, 0, 0, 2])));
        assert!(!contains(&sent, &[]));
    }
}
