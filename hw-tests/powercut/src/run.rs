//! Image after image of a logged run: made, mounted, judged, thrown away.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use crate::cuts::{Cut, Fate, Pick, Plan};
use crate::given::steal;
use crate::judge::{Verdict, judge};
use crate::log::Log;
use crate::namespace::Mounted;
use crate::pictures::Pictures;
use crate::process::go_on;
use crate::replay::{Disk, Undo};
use crate::seals::Seals;
use crate::story::{Retention, Run};

/// So many images with something wrong are told in full.
const TOLD: usize = 12;
/// Between two lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What is done with the images.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which images.
    pub plan: Plan,
    /// Only this one of them.
    pub only: Option<u64>,
    /// Files are decoded in every so-many-th image; 0 for never.
    pub decode_every: u64,
    /// A thief takes a file from each image before the judge looks.
    pub thief: bool,
    /// Says how far it is.
    pub progress: bool,
}

/// What all images came to.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Tally {
    /// Images judged.
    pub images: u64,
    /// Pictures that had been reported safe and were not there, over all images.
    pub safe_frames_lost: u64,
    /// Files with damage, over all images.
    pub files_unplayable: u64,
    /// The most chunks of a file that were on their way and not there.
    pub chunks_missing_max: u64,
    /// Images with anything wrong at all.
    pub images_bad: u64,
    /// Images that the thief found something on.
    pub stolen: u64,
    /// Images in which safe pictures were missing.
    pub images_with_loss: u64,
    /// Images by what became of the writes that no flush covered: all arrived, lost, reordered, torn.
    pub fates: [u64; 4],
    /// Writes that did not arrive, or not whole, over all images.
    pub writes_lost: u64,
    /// Images that ext4 mounted only after `e2fsck -p`, as a box runs it at boot.
    pub images_repaired: u64,
    /// Files judged, over all images.
    pub files: u64,
    /// Safe pictures that had to be there, over all images.
    pub frames_owed: u64,
    /// Different files decoded, and their pictures.
    pub files_decoded: u64,
    /// Pictures decoded.
    pub pictures_decoded: u64,
    /// How long it took.
    pub seconds: f64,
    /// What was wrong, with the number of the image.
    pub problems: Vec<(u64, String)>,
}

/// Judges the images of a plan.
///
/// # Errors
/// The rig itself does not work.
pub fn images(logged: &Run, directory: &Path, options: &Options) -> anyhow::Result<Tally> {
    let mut cuts = options.plan.cuts(&logged.log);
    if let Some(only) = options.only {
        cuts.retain(|cut| cut.number == only);
    }
    let begun = Instant::now();
    let seals = Seals::find(&logged.log);
    let shared = Shared {
        logged,
        seals: &seals,
        options,
        pictures: Pictures::default(),
        tally: Mutex::default(),
        done: AtomicU64::new(0),
        all: cuts.len() as u64,
    };
    let judge = |directory: &Path, disk: &Disk, cut: &Cut, lost: usize| {
        shared.judge(directory, disk, cut, lost)?;
        shared.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let tell = || shared.tell(begun);
    each(&logged.base, &logged.log, &cuts, directory, options.progress.then_some(&tell), &judge)?;
    let (files, pictures) = shared.pictures.count();
    let mut tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    (tally.files_decoded, tally.pictures_decoded) = (files as u64, pictures);
    tally.seconds = begun.elapsed().as_secs_f64();
    tally.problems.sort();
    Ok(tally)
}

/// What is done with an image: where there is room for it, what is on the disk, which cut it is, and how many of the writes that no flush
/// covers did not arrive or not whole.
pub type Judge<'a> = &'a (dyn Fn(&Path, &Disk, &Cut, usize) -> anyhow::Result<()> + Sync);

/// Makes the images of some cuts, in the order of their places, by several threads. `tell` is called now and then.
///
/// # Errors
/// What a judge says, or that the rig is to end.
pub fn each(
    base: &Disk,
    log: &Log,
    cuts: &[Cut],
    directory: &Path,
    tell: Option<&dyn Fn()>,
    judge: Judge<'_>,
) -> anyhow::Result<()> {
    // Mounting and unmounting is mostly waiting.
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(4) * 3;
    let share = cuts.len().div_ceil(workers).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..)
            .zip(cuts.chunks(share))
            .map(|(number, cuts)| {
                let directory = directory.join(format!("worker{number}"));
                scope.spawn(move || work(base, log, &directory, cuts, judge))
            })
            .collect();
        let mut told = Instant::now();
        while tell.is_some() && workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                tell.into_iter().for_each(|tell| tell());
            }
        }
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))?)
    })
}

/// Cuts come in the order of their places, so that the disk only ever goes forward.
fn work(base: &Disk, log: &Log, directory: &Path, cuts: &[Cut], judge: Judge<'_>) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    let mut disk = base.clone();
    let mut applied = 0;
    for cut in cuts {
        go_on()?;
        for entry in applied..cut.durable {
            disk.apply(log, &Pick { entry, sectors: None }, None);
        }
        applied = applied.max(cut.durable);
        let picks = cut.picks(log);
        let mut undo = Undo::default();
        for pick in &picks {
            disk.apply(log, pick, Some(&mut undo));
        }
        let whole = picks.iter().filter(|pick| pick.sectors.is_none()).count();
        let open = log.entries[cut.durable..cut.at].iter().filter(|entry| entry.bytes > 0).count();
        judge(directory, &disk, cut, open - whole).with_context(|| format!("image {}: {cut:?}", cut.number))?;
        disk.undo(undo);
    }
    Ok(())
}

struct Shared<'a> {
    logged: &'a Run,
    seals: &'a Seals,
    options: &'a Options,
    pictures: Pictures,
    tally: Mutex<Tally>,
    done: AtomicU64,
    all: u64,
}

impl Shared<'_> {
    fn judge(&self, directory: &Path, disk: &Disk, cut: &Cut, writes_lost: usize) -> anyhow::Result<()> {
        let image = directory.join("image");
        disk.save(&image)?;
        let owed = self.logged.claims.owed(cut.at);
        let (mounted, repaired) = match mount(&image, &directory.join("data")) {
            Ok((mounted, repaired)) => (Ok(mounted), repaired),
            Err(error) => (Err(error), true),
        };
        let verdict = match &mounted {
            Ok(mounted) => {
                let stolen = self.options.thief && steal(mounted.path(), &owed)?;
                self.lock().stolen += u64::from(stolen);
                let mut verdict = judge(mounted.path(), &owed, self.seals, cut.at)?;
                let every = self.options.decode_every;
                if every > 0 && (cut.number.is_multiple_of(every) || self.options.only.is_some()) {
                    for problem in verdict.files.iter().filter_map(|file| self.pictures.check(file)).collect::<Vec<_>>()
                    {
                        verdict.files_unplayable += 1;
                        verdict.problems.push(problem);
                    }
                }
                verdict
            }
            Err(error) => {
                let mut verdict = Verdict::default();
                verdict.missing_everything(&owed, &format!("ext4 does not mount: {error:#}"));
                verdict
            }
        };
        drop(mounted);
        self.add(cut, &verdict, repaired, writes_lost);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, cut: &Cut, verdict: &Verdict, repaired: bool, writes_lost: usize) {
        let mut tally = self.lock();
        tally.images += 1;
        tally.safe_frames_lost += verdict.safe_frames_lost;
        tally.files_unplayable += verdict.files_unplayable;
        tally.chunks_missing_max = tally.chunks_missing_max.max(verdict.chunks_missing);
        tally.images_with_loss += u64::from(verdict.safe_frames_lost > 0);
        tally.images_repaired += u64::from(repaired);
        tally.files += verdict.files.len() as u64;
        tally.writes_lost += writes_lost as u64;
        tally.frames_owed += verdict.frames_owed;
        let fate = match cut.fate {
            Fate::Arrived => 0,
            Fate::Lost => 1,
            Fate::Reordered => 2,
            Fate::Torn => 3,
        };
        tally.fates[fate] += 1;
        if !verdict.is_good() {
            tally.images_bad += 1;
            if tally.problems.len() < TOLD {
                let mut what = verdict.problems.clone();
                if verdict.chunks_missing > 1 {
                    what.push(format!("{} chunks of a file are missing", verdict.chunks_missing));
                }
                tally.problems.push((cut.number, format!("{cut:?}: {}", what.join("; "))));
            }
        }
    }

    fn tell(&self, begun: Instant) {
        let done = self.done.load(Ordering::Relaxed);
        let tally = self.lock();
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        let left_s = (self.all.saturating_sub(done)) as f64 / rate.max(0.01);
        eprintln!(
            "  {done} of {} images, {rate:.1} a second, {} left; safe frames lost {}, files unplayable {}, chunks missing at most {}",
            self.all,
            if left_s < 90.0 { format!("{left_s:.0} s") } else { format!("{:.0} min", left_s / 60.0) },
            tally.safe_frames_lost,
            tally.files_unplayable,
            tally.chunks_missing_max
        );
    }
}

/// Mounts an image; where ext4 refuses, after a repair as at boot. Whether that was needed.
///
/// # Errors
/// Not even then.
pub fn mount(image: &Path, at: &Path) -> anyhow::Result<(Mounted, bool)> {
    let first = match Mounted::image(image, at) {
        Ok(mounted) => return Ok((mounted, false)),
        Err(error) => error,
    };
    // 1: errors were corrected. As systemd-fsck sees it, too.
    let output = Command::new("e2fsck").arg("-p").arg(image).output().context("e2fsck does not start")?;
    if !matches!(output.status.code(), Some(0 | 1)) {
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        anyhow::bail!("{first:#}; e2fsck -p: {}: {said}", output.status);
    }
    Mounted::image(image, at).map(|mounted| (mounted, true))
}

/// Keeps a run, to be looked at again.
///
/// # Errors
/// It can't be written.
pub fn keep(logged: &Run, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    logged.base.save(&directory.join("base.img"))?;
    std::fs::write(directory.join("log.img"), logged.log.bytes()).context("the log can't be kept")?;
    let rest = serde_json::json!({ "begin": logged.begin, "end": logged.end, "claims": logged.claims });
    std::fs::write(directory.join("claims.json"), rest.to_string()).context("the promises can't be kept")?;
    Ok(())
}

/// A run that was kept.
///
/// # Errors
/// It can't be read.
pub fn kept(directory: &Path) -> anyhow::Result<Run> {
    let path: PathBuf = directory.join("claims.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let mut rest: serde_json::Value = serde_json::from_str(&text)?;
    let index = |value: &serde_json::Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
    Ok(Run {
        base: Disk::load(&directory.join("base.img"))?,
        log: crate::log::Log::parse(std::fs::read(directory.join("log.img"))?)?,
        begin: index(&rest["begin"]).context("no begin")?,
        end: index(&rest["end"]).context("no end")?,
        claims: serde_json::from_value(rest["claims"].take())?,
        retention: Retention::default(),
    })
}
