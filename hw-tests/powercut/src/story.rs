//! What happens on the logged disk: a real recorder with two captures records, rotates, loses a capture, is stopped and started
//! again; its retention gives up old files, whose blocks are taken again, and a whole session; journals are written, a take is
//! exported.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use holdfast_segment::durable;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::process::Signal;
use serde::Serialize;

use crate::claims::{Claim, Claims};
use crate::disk::LoggedDisk;
use crate::given::Watch;
use crate::log::Log;
use crate::process::{PATIENCE, go_on, tell, until};
use crate::replay::Disk;
use crate::station::{Programs, STATE, STORAGE, Settings, Station};
use crate::witness::{Witness, promises};

/// Room enough that no floor of the storage guard is touched. Sparse.
pub const DISK_BYTES: u64 = 16 << 30;
const ROTATION_MS: u32 = 2000;
/// Between two looks at what retention does.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What retention is told to keep free.
const KEEP_FREE_PERCENT: u8 = 90;
const MIB: u64 = 1024 * 1024;
/// Of the rest, what is not footage: the recorder's ballast, and what two captures allocate ahead of what they write.
const HELD_BYTES: u64 = 3 * 64 * MIB;
/// And so much footage may stay: three or four files of each input.
const FOOTAGE_BYTES: u64 = 5 * MIB;

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
    /// What retention did.
    pub retention: Retention,
}

/// What retention did in a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Retention {
    /// Files that it gave up.
    pub files_deleted: usize,
    /// Sessions of which nothing was left.
    pub sessions_deleted: usize,
    /// Files that were written over the blocks of others.
    pub files_recycled: usize,
}

/// Two cameras: one with sound, whose files are large enough for retention to keep their blocks, and a small one at another rate.
#[must_use]
pub fn settings() -> Settings {
    let input = |name: &str, pixels: (u32, u32), rate: u32, kbps: u32, audio: bool| {
        let (width, height) = pixels;
        let lines = format!(
            "source = \"test\"\nwidth = {width}\nheight = {height}\nframerate = {rate}\naudio = {audio}\n\
             encoder = \"x264enc\"\nbitrate_kbps = {kbps}\n"
        );
        (name.to_owned(), lines)
    };
    let inputs = vec![input("cam0", (960, 720), 30, 6000, true), input("cam1", (320, 240), 15, 400, false)];
    Settings { rotation_ms: ROTATION_MS, keep_free_percent: 0, inputs }
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
    fill(disk.path()).context("the disk can't be filled")?;
    let begin = usize::try_from(disk.position()?.0)?;
    let settings = Settings { keep_free_percent: KEEP_FREE_PERCENT, ..settings() };
    let station = Station::start(programs, &directory.join("station"), disk.path(), &settings)?;
    let meters = ["cam0", "cam1"].map(|input| Ok((input.to_owned(), disk.meter()?)));
    let witness = Witness::start(&station.runtime, meters.into_iter().collect::<anyhow::Result<_>>()?)?;
    let armed = || ["cam0", "cam1"].iter().all(|input| witness.latest(input).is_some());
    until("both captures are armed", || Ok(armed().then_some(()))).with_context(|| station.last_words())?;
    let root = disk.path().join(STORAGE);
    let (claims, noted, watch) = (Claims::default(), BTreeMap::new(), Watch::default());
    let mut teller = Teller { disk: &disk, station: &station, root, claims, noted, watch };

    teller.session(&witness, "first", seconds, true)?;
    station.holdfast(&["export", "last", "-i", "cam1", "-o", &disk.path().join("take.mp4").display().to_string()])?;
    teller.tell(&["disarm", "cam1"])?;
    teller.state("cam1", 1)?;
    teller.tell(&["arm", "cam1"])?;
    teller.state("cam1", 2)?;
    teller.session(&witness, "second", seconds, false)?;

    let (mut claims, mut watch) = (teller.claims, teller.watch);
    station.end()?;
    watch.look(&disk, &mut claims)?;
    promises(&witness.end()?, &mut claims)?;
    let (base, log, end) = disk.finish()?;
    let (files_deleted, sessions_deleted, files_recycled) = watch.count();
    if files_deleted == 0 || files_recycled == 0 {
        bail!(
            "the run was too short: retention gave up {files_deleted} files, and the blocks of {files_recycled} were taken again"
        );
    }
    Ok(Run { base, log, begin, end, claims, retention: Retention { files_deleted, sessions_deleted, files_recycled } })
}

/// Leaves so little room that retention has work to do. Takes blocks, and writes none of them.
fn fill(data: &Path) -> anyhow::Result<()> {
    let stat = statvfs(data)?;
    let wanted = stat.f_blocks * stat.f_frsize / 100 * u64::from(KEEP_FREE_PERCENT) + HELD_BYTES + FOOTAGE_BYTES;
    let rest = (stat.f_bavail * stat.f_frsize).checked_sub(wanted).context("it is too small")?;
    let file = File::create(data.join("filler"))?;
    fallocate(&file, FallocateFlags::empty(), 0, rest)?;
    file.sync_all()?;
    Ok(durable::sync_parent(&data.join("filler"))?)
}

struct Teller<'a> {
    disk: &'a LoggedDisk,
    station: &'a Station,
    root: PathBuf,
    claims: Claims,
    /// Marks per session.
    noted: BTreeMap<String, usize>,
    watch: Watch,
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
            go_on()?;
            self.watch.look(self.disk, &mut self.claims)?;
            if begun.elapsed() > next_mark {
                self.mark(&session)?;
                next_mark += Duration::from_secs(1);
            }
            if crash && begun.elapsed() > length / 2 {
                let (pid, _) = witness.latest("cam1").context("cam1 was never heard")?;
                tell(pid, Signal::KILL);
                crash = false;
            }
            std::thread::sleep(LOOK_EVERY);
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
}

fn below(root: &Path, path: &Path) -> anyhow::Result<String> {
    Ok(path.strip_prefix(root).context("not on the data partition")?.to_string_lossy().into_owned())
}
