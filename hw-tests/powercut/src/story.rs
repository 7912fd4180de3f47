//! What happens on the logged disk: a real recorder with two captures records, rotates, loses a capture, is stopped and started
//! again; old files are given up and their blocks taken again; journals are written, a take is exported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_segment::{FileId, Pool, Reader, durable};
use rustix::process::Signal;

use crate::claims::{Claim, Claims};
use crate::disk::LoggedDisk;
use crate::log::Log;
use crate::process::{PATIENCE, tell, until};
use crate::replay::Disk;
use crate::station::{POOL, Programs, STATE, STORAGE, Settings, Station};
use crate::witness::{Witness, promises};

/// Room enough that no floor of the storage guard is touched. Sparse.
pub const DISK_BYTES: u64 = 16 << 30;
/// So many closed files an input keeps; older ones are given up, as retention does.
const KEPT_FILES: usize = 3;
const ROTATION_MS: u32 = 2000;

/// A logged run and what was promised in it.
#[derive(Debug)]
pub struct Run {
    /// The disk before anything was logged.
    pub base: Disk,
    /// All that was asked of it.
    pub log: Log,
    /// The first entry that is part of the run.
    pub begin: usize,
    /// The entry behind the last.
    pub end: usize,
    /// What was promised.
    pub claims: Claims,
    /// How often blocks of a file that was given up were taken again.
    pub recycled: usize,
}

/// Two small cameras: pictures with sound, and pictures alone at another rate.
#[must_use]
pub fn settings() -> Settings {
    let input = |name: &str, rate: u32, audio: bool| {
        let lines = format!(
            "source = \"test\"\nwidth = 320\nheight = 240\nframerate = {rate}\naudio = {audio}\nencoder = \"x264enc\"\nbitrate_kbps = 400\n"
        );
        (name.to_owned(), lines)
    };
    Settings { rotation_ms: ROTATION_MS, inputs: vec![input("cam0", 30, true), input("cam1", 15, false)] }
}

/// Records for two times `seconds`.
///
/// # Errors
/// Something does not work as it should even with the power on.
pub fn record(programs: &Programs, directory: &Path, seconds: u64) -> anyhow::Result<Run> {
    let disk = LoggedDisk::start(&directory.join("disk"), DISK_BYTES)?;
    for name in [STORAGE, STATE] {
        durable::create_dir_all(&disk.path().join(name))?;
    }
    let begin = usize::try_from(disk.position()?.0)?;
    let station = Station::start(programs, &directory.join("station"), disk.path(), &settings())?;
    let meters = ["cam0", "cam1"].map(|input| Ok((input.to_owned(), disk.meter()?)));
    let witness = Witness::start(&station.runtime, meters.into_iter().collect::<anyhow::Result<_>>()?)?;
    let armed = || ["cam0", "cam1"].iter().all(|input| witness.latest(input).is_some());
    until("both captures are armed", || Ok(armed().then_some(()))).with_context(|| station.last_words())?;
    let root = disk.path().join(STORAGE);
    let mut teller = Teller { disk: &disk, station: &station, root, claims: Claims::default(), noted: BTreeMap::new() };

    teller.session(&witness, "first", seconds, true)?;
    station.holdfast(&["export", "last", "-i", "cam0", "-o", &disk.path().join("take.mp4").display().to_string()])?;
    teller.tell(&["disarm", "cam1"])?;
    teller.state("cam1", 1)?;
    teller.tell(&["arm", "cam1"])?;
    teller.state("cam1", 2)?;
    teller.session(&witness, "second", seconds, false)?;

    let mut claims = teller.claims;
    station.end()?;
    promises(&witness.end()?, &mut claims)?;
    let given = claims.0.iter().filter(|stamped| matches!(stamped.claim, Claim::Given { .. })).count();
    let left = Pool::open(&disk.path().join(STORAGE).join(POOL))?.files()?.len();
    let (base, log, end) = disk.finish()?;
    let recycled = given.saturating_sub(left);
    if recycled == 0 {
        bail!("the run was too short: {given} files were given up, and the blocks of none were taken again");
    }
    Ok(Run { base, log, begin, end, claims, recycled })
}

struct Teller<'a> {
    disk: &'a LoggedDisk,
    station: &'a Station,
    root: PathBuf,
    claims: Claims,
    /// Marks per session.
    noted: BTreeMap<String, usize>,
}

impl Teller<'_> {
    fn tell(&self, words: &[&str]) -> anyhow::Result<String> {
        self.station.holdfast(words)
    }

    /// One session from Start to Stop. With `crash`, a capture is killed in the middle.
    fn session(&mut self, witness: &Witness, label: &str, seconds: u64, crash: bool) -> anyhow::Result<()> {
        self.tell(&["start", "--label", label])?;
        let session = self.newest_session()?;
        let begun = Instant::now();
        let length = Duration::from_secs(seconds);
        let mut crash = crash;
        let mut next_mark = Duration::from_secs(1);
        while begun.elapsed() < length {
            if begun.elapsed() > PATIENCE + length {
                bail!("the run takes too long");
            }
            self.give_up_old_files()?;
            if begun.elapsed() > next_mark {
                self.mark(&session)?;
                next_mark += Duration::from_secs(1);
            }
            if crash && begun.elapsed() > length / 2 {
                let (pid, _) = witness.latest("cam1").context("cam1 was never heard")?;
                tell(pid, Signal::KILL);
                crash = false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.tell(&["stop"])?;
        Ok(())
    }

    fn newest_session(&self) -> anyhow::Result<PathBuf> {
        let newest = |directory: &Path| -> anyhow::Result<PathBuf> {
            let entries = std::fs::read_dir(directory)?.flatten().map(|entry| entry.path());
            let visible =
                entries.filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
            visible.max().context("no session")
        };
        newest(&newest(&self.root)?)
    }

    fn mark(&mut self, session: &Path) -> anyhow::Result<()> {
        self.tell(&["mark", "a mark of the rig"])?;
        let directory = below(self.disk.path(), session)?;
        let records = self.noted.entry(directory.clone()).or_default();
        *records += 1;
        let (journal, text) = ("session".to_owned(), "a mark of the rig".to_owned());
        let claim = Claim::Noted { directory, journal, text, records: *records };
        self.claims.add(self.disk.position()?, claim);
        Ok(())
    }

    fn state(&mut self, text: &str, records: usize) -> anyhow::Result<()> {
        let (directory, journal, text) = (STATE.to_owned(), "recorder".to_owned(), text.to_owned());
        self.claims.add(self.disk.position()?, Claim::Noted { directory, journal, text, records });
        Ok(())
    }

    /// What retention does: the oldest files go, and their blocks into the pool.
    fn give_up_old_files(&mut self) -> anyhow::Result<()> {
        let pool = Pool::open(&self.root.join(POOL))?;
        for input in ["cam0", "cam1"] {
            let mut files = closed_files(&self.root, input)?;
            while files.len() > KEPT_FILES {
                let oldest = files.remove(0);
                let file: FileId = Reader::open(&oldest)?.identity().file_id;
                // Before the first step of it: see `claims`.
                self.claims.add(self.disk.position()?, Claim::Given { file });
                pool.retire(&oldest)?;
            }
        }
        Ok(())
    }
}

/// Closed files of an input, of all sessions, oldest first.
fn closed_files(root: &Path, input: &str) -> anyhow::Result<Vec<PathBuf>> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))).collect()
    };
    let sessions = list(root).into_iter().flat_map(|day| list(&day));
    let files = sessions.flat_map(|session| list(&session.join(input)));
    let mut closed: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "mp4")).collect();
    closed.sort();
    Ok(closed)
}

fn below(root: &Path, path: &Path) -> anyhow::Result<String> {
    Ok(path.strip_prefix(root).context("not on the data partition")?.to_string_lossy().into_owned())
}
