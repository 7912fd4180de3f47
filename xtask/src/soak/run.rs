//! For long, with faults at random: every frame accounted for, and nothing that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;

use super::books::{Librarian, Turnover};
use super::faults::count::Losses;
use super::faults::proxy::Manner;
use super::faults::stage::{FPS, Stage, VICTIM};
use super::faults::table::{Scene, Source};
use super::growth::Lives;
use super::{Common, Outcome};
use crate::demo::account::Account;
use crate::interrupt::Interrupt;
use crate::process;
use crate::rig::Directory;
use crate::terminal::{self, Table, thousands};
use crate::workspace::Programs;

/// How long, and which faults.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// How long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// The same number, the same faults in the same order.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Small: what is kept is some four minutes of both inputs, beside the blocks that open files have ahead. The older sessions go
/// as a whole, and a long one gives up its own oldest files while it is recorded.
const SCENE: Scene = Scene {
    source: Source::Camera,
    disk: Some(512 << 20),
    storage: &["filesystem = \"mounted\"", "warn_percent = 98", "block_percent = 99", "keep_free_percent = 60"],
    tables: "",
    wall: false,
};
/// Sessions last so long, in turn.
const SESSIONS: [Duration; 3] = [Duration::from_secs(90), Duration::from_secs(90), Duration::from_secs(480)];
/// In those that last longer no process is ended: a process that grows has the time to show it.
const SHORT: Duration = Duration::from_secs(90);
/// A run of so many minutes must have seen files go, of the session that is recorded too.
const TURNED_OVER_MINUTES: u64 = 20;
/// Between two faults.
const CALM_S: std::ops::Range<u64> = 4..12;
/// How often is said how it goes.
const PROGRESS: Duration = Duration::from_secs(60);

/// Numbers at random that are the same in each run with the same seed (SplitMix64).
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// What happens to a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    CaptureKilled,
    CaptureStopped,
    RecorderKilled,
    CameraGone,
    CameraSilent,
    CameraSwitched,
    DiskFrozen,
}

/// Those that end a process come last.
const TROUBLES: [Trouble; 7] = [
    Trouble::CameraGone,
    Trouble::CameraSilent,
    Trouble::CameraSwitched,
    Trouble::DiskFrozen,
    Trouble::CaptureKilled,
    Trouble::CaptureStopped,
    Trouble::RecorderKilled,
];
const HARMLESS_TO_PROCESSES: u64 = 4;

/// What was recorded, and what of the processes was seen.
#[derive(Debug, Default)]
struct Sum {
    losses: Losses,
    faults: BTreeMap<Trouble, u64>,
    sessions: u64,
    lives: Lives,
    turnover: Turnover,
    complaints: Vec<String>,
}

pub fn run(args: &RunArgs, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    if let Some(why) = super::faults::disk_impossible() {
        bail!("a soak needs a disk of its own: {why}");
    }
    let programs = Programs::build_all(common.profile)?;
    let mut directory = Directory::temporary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let mut sum = Sum::default();
    let done = runtime.block_on(async {
        let mut stage = Stage::set(&SCENE, &[], &programs, directory.path(), interrupt).await?;
        let disk = stage.disk.as_ref().context("no disk")?;
        let librarian = Librarian::start(disk.path(), &directory.path().join("copies"), true)?;
        let done = soak(args, &mut stage, &librarian, &mut sum).await;
        let read = librarian.open(|books| {
            let read = if done.is_ok() { books.read_again() } else { Ok(()) };
            sum.turnover = books.turnover();
            sum.complaints.extend_from_slice(books.complaints());
            read
        });
        done.and(read)
    });
    // What there is to tell is told even then.
    if let Err(error) = done {
        sum.complaints.push(format!("it did not last: {error:#}"));
    }
    sum.judge(args);
    if !sum.complaints.is_empty() {
        terminal::note(&format!("logs and footage are in {}", directory.keep().display()));
    }
    Ok(report(args, &sum))
}

async fn soak(args: &RunArgs, stage: &mut Stage<'_>, librarian: &Librarian, sum: &mut Sum) -> anyhow::Result<()> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs(args.minutes * 60);
    let mut dice = Dice(args.seed);
    for length in SESSIONS.into_iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        stage.start().await?;
        let session_end = (Instant::now() + length).min(end);
        let mut told = Instant::now();
        while Instant::now() < session_end {
            let calm = Duration::from_secs(CALM_S.start + dice.below(CALM_S.end - CALM_S.start));
            let calm_end = Instant::now() + calm;
            while Instant::now() < calm_end {
                stage.hold(Duration::from_millis(1000)).await?;
                sum.lives.sample(stage.rig.place().config.as_os_str());
            }
            let among = if length > SHORT { HARMLESS_TO_PROCESSES } else { TROUBLES.len() as u64 };
            let trouble = TROUBLES[usize::try_from(dice.below(among))?];
            let since = Instant::now();
            make(trouble, stage, &mut dice).await.with_context(|| format!("{trouble:?}"))?;
            *sum.faults.entry(trouble).or_default() += 1;
            // Recovered before the next one: each is to be survived, and all of them to be told apart.
            let times = stage.until_safe(Instant::now()).await?;
            times.recovered.with_context(|| format!("{trouble:?}: it never recovered"))?;
            terminal::note(&format!("{trouble:?}, safe again {} later", terminal::duration(since.elapsed())));
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                sum.tell(begun.elapsed(), &librarian.open(|books| books.turnover()));
            }
        }
        let (id, told) = stage.stop_session().await?;
        let accounts = librarian.open(|books| books.settle(&id, stage.inputs()))?;
        sum.close_session(&accounts, told.safe_frames);
        sum.tell(begun.elapsed(), &librarian.open(|books| books.turnover()));
    }
    Ok(())
}

impl Sum {
    /// Adds what was read of a session, which is said to have so many safe frames.
    fn close_session(&mut self, accounts: &[(String, Account)], told_safe_frames: u64) {
        let mut losses = Losses::default();
        for (input, counted) in accounts {
            losses.safe += counted.safe_frames;
            losses.unaccounted += counted.unaccounted_frames;
            *(if input == VICTIM { &mut losses.lost } else { &mut losses.beside }) += counted.lost_frames;
        }
        losses.unaccounted += told_safe_frames.abs_diff(losses.safe);
        self.sessions += 1;
        self.losses.add(&losses);
        terminal::step(&format!(
            "session {}: {} safe ({} told), {} lost with their reason, {} unaccounted for",
            self.sessions,
            thousands(losses.safe),
            thousands(told_safe_frames),
            losses.lost + losses.beside,
            losses.unaccounted
        ));
    }

    fn tell(&self, elapsed: Duration, turnover: &Turnover) {
        terminal::step(&format!(
            "{}: {} faults, {} frames on disk, {} given up by retention in {} files ({} of a running session)",
            terminal::duration(elapsed),
            self.faults.values().sum::<u64>(),
            thousands(turnover.frames_on_disk),
            thousands(turnover.frames_deleted),
            turnover.files_deleted,
            turnover.of_running,
        ));
    }

    /// What is not as it should be.
    fn judge(&mut self, args: &RunArgs) {
        if self.losses.unaccounted > 0 {
            self.complaints.push(format!("{} frames are unaccounted for", self.losses.unaccounted));
        }
        let known = self.turnover.frames_on_disk + self.turnover.frames_deleted;
        if self.complaints.is_empty() && known != self.losses.safe {
            self.complaints.push(format!("{} frames were safe, of {known} is known where they are", self.losses.safe));
        }
        self.complaints.extend(self.lives.complaints());
        if args.minutes >= TURNED_OVER_MINUTES && (self.turnover.of_running == 0 || self.turnover.sessions_gone == 0) {
            self.complaints.push("retention took nothing of a running session, or no old session".to_owned());
        }
    }
}

async fn make(trouble: Trouble, stage: &mut Stage<'_>, dice: &mut Dice) -> anyhow::Result<()> {
    let bad = Duration::from_millis(500 + dice.below(4000));
    let before = stage.clock().await?;
    let manner = match trouble {
        Trouble::CaptureKilled => {
            stage.signal(&before, Signal::KILL)?;
            return stage.until_replaced(&before).await.map(drop);
        }
        Trouble::CaptureStopped => {
            stage.signal(&before, Signal::STOP)?;
            return stage.until_replaced(&before).await.map(drop);
        }
        Trouble::RecorderKilled => {
            process::signal(stage.rig.recorder_pid(), Signal::KILL);
            return super::faults::recorder_comes_back(stage).await.map(drop);
        }
        Trouble::DiskFrozen => {
            stage.disk.as_mut().context("no disk")?.freeze(true)?;
            stage.hold(bad).await?;
            return stage.disk.as_mut().context("no disk")?.freeze(false);
        }
        Trouble::CameraSwitched => return stage.camera.as_mut().context("no camera")?.tell("switch"),
        Trouble::CameraGone => Manner::Gone,
        Trouble::CameraSilent => Manner::Silent,
    };
    let proxy = stage.proxy.as_ref().context("no camera")?;
    proxy.behave(manner)?;
    stage.hold(bad).await?;
    stage.proxy.as_ref().context("no camera")?.behave(Manner::Good)
}

fn report(args: &RunArgs, sum: &Sum) -> Outcome {
    let (losses, turnover) = (&sum.losses, &sum.turnover);
    let lost = losses.lost + losses.beside;
    let frames_in = losses.safe + lost + losses.unaccounted;
    let rss = sum.lives.rss_growth_percent();
    let fds = sum.lives.fds_growth();
    let faults: u64 = sum.faults.values().sum();
    let mut table = Table::new(["what", "figure"]);
    for (what, figure) in [
        ("frames that came in", thousands(frames_in)),
        ("safe", thousands(losses.safe)),
        ("of these on disk at the end", thousands(turnover.frames_on_disk)),
        ("and given up by retention", thousands(turnover.frames_deleted)),
        ("in so many files", thousands(turnover.files_deleted)),
        ("of them of the running session", thousands(turnover.of_running)),
        ("lost, with their reason on record", thousands(lost)),
        ("unaccounted for", thousands(losses.unaccounted)),
        ("hours of pictures", format!("{:.2}", frames_in as f64 / FPS as f64 / 3600.0)),
        ("sessions", sum.sessions.to_string()),
        ("faults", faults.to_string()),
        ("growth of memory", format!("{rss:.1} %")),
        ("growth of descriptors", fds.to_string()),
    ] {
        table.row([what.to_owned(), figure]);
    }
    table.print();
    for complaint in &sum.complaints {
        terminal::fail(complaint);
    }
    let by_kind: BTreeMap<String, u64> = sum.faults.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect();
    let figures = json!({
        "minutes": args.minutes,
        "seed": args.seed,
        "frames_in": frames_in,
        "safe": losses.safe,
        "safe_on_disk": turnover.frames_on_disk,
        "deleted_frames": turnover.frames_deleted,
        "deleted_frames_unread": turnover.frames_unread,
        "deleted_files": turnover.files_deleted,
        "deleted_files_of_running_sessions": turnover.of_running,
        "deleted_sessions": turnover.sessions_gone,
        "lost_accounted": lost,
        "unaccounted": losses.unaccounted,
        "rss_growth_percent": (rss * 10.0).round() / 10.0,
        "fds_growth": fds,
        "processes": sum.lives.longest(),
        "faults": faults,
        "faults_by_kind": by_kind,
        "sessions": sum.sessions,
        "complaints": sum.complaints,
    });
    let verdict = match sum.complaints.as_slice() {
        [] => Ok(()),
        complaints => Err(anyhow::anyhow!("{}", complaints.join("; "))),
    };
    (figures, verdict)
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throw = |seed| {
            let mut dice = Dice(seed);
            (0..100).map(|_| dice.below(8)).collect::<Vec<_>>()
        };
        assert_eq!(throw(1), throw(1));
        assert_ne!(throw(1), throw(2));
        assert!((0..8).all(|face| throw(1).contains(&face)));
    }
}
