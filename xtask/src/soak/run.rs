//! For long, with faults at random: every frame accounted for, and nothing that grows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;

use super::faults::proxy::Manner;
use super::faults::stage::{FPS, Losses, Stage};
use super::faults::table::{Scene, Source};
use super::{Common, Outcome};
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

/// Retention deletes the oldest sessions meanwhile: what each amounted to is counted as soon as it is stopped.
const SCENE: Scene = Scene {
    source: Source::Camera,
    disk: true,
    storage: &["filesystem = \"mounted\"", "warn_percent = 98", "block_percent = 99"],
    tables: "",
};
/// A session lasts so long, then the next begins.
const SESSION: Duration = Duration::from_secs(90);
/// Between two faults.
const CALM_S: std::ops::Range<u64> = 4..12;
/// A process that is younger is still warming up.
const WARM: Duration = Duration::from_secs(45);

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

const TROUBLES: [Trouble; 7] = [
    Trouble::CaptureKilled,
    Trouble::CaptureStopped,
    Trouble::RecorderKilled,
    Trouble::CameraGone,
    Trouble::CameraSilent,
    Trouble::CameraSwitched,
    Trouble::DiskFrozen,
];

/// One process, over its life.
#[derive(Debug, Clone)]
struct Life {
    begun: Instant,
    seen: Instant,
    rss_first: u64,
    rss_last: u64,
    fds_first: u64,
    fds_last: u64,
}

impl Life {
    fn age(&self) -> Duration {
        self.seen.duration_since(self.begun)
    }

    fn rss_growth_percent(&self) -> f64 {
        (self.rss_last as f64 - self.rss_first as f64) / (self.rss_first as f64).max(1.0) * 100.0
    }
}

/// What was recorded, and what of the processes was seen.
#[derive(Debug, Default)]
struct Sum {
    losses: Losses,
    faults: BTreeMap<Trouble, u64>,
    sessions: u64,
    lives: BTreeMap<u32, Life>,
}

pub fn run(args: &RunArgs, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    if let Some(why) = super::faults::disk_impossible() {
        bail!("a soak needs a disk of its own: {why}");
    }
    let programs = Programs::build(common.profile, &["holdfast-recorder", "holdfast-capture", "holdfast-simcam"])?;
    let mut directory = Directory::temporary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let mut sum = Sum::default();
    let done = runtime.block_on(soak(args, &programs, &directory, interrupt, &mut sum));
    if done.is_err() {
        let kept = directory.keep().display().to_string();
        done.with_context(|| format!("logs and footage are in {kept}"))?;
    }
    Ok(report(args, &sum))
}

async fn soak(
    args: &RunArgs,
    programs: &Programs,
    directory: &Directory,
    interrupt: &Interrupt,
    sum: &mut Sum,
) -> anyhow::Result<()> {
    let end = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut dice = Dice(args.seed);
    let mut stage = Stage::set(&SCENE, &[], programs, directory.path(), interrupt).await?;
    while Instant::now() < end {
        stage.start().await?;
        let session_end = (Instant::now() + SESSION).min(end);
        while Instant::now() < session_end {
            let calm = Duration::from_secs(CALM_S.start + dice.below(CALM_S.end - CALM_S.start));
            let calm_end = Instant::now() + calm;
            while Instant::now() < calm_end {
                stage.hold(Duration::from_millis(1000)).await?;
                sum.sample(&stage);
            }
            let index = usize::try_from(dice.below(TROUBLES.len() as u64))?;
            let trouble = TROUBLES[index];
            let since = Instant::now();
            make(trouble, &mut stage, &mut dice).await.with_context(|| format!("{trouble:?}"))?;
            *sum.faults.entry(trouble).or_default() += 1;
            // Recovered before the next one: each is to be survived, and all of them to be told apart.
            let times = stage.until_safe(Instant::now()).await?;
            let recovered = times.recovered.with_context(|| format!("{trouble:?}: it never recovered"))?;
            terminal::note(&format!(
                "{trouble:?}, safe again {} later",
                terminal::duration(since.elapsed().max(recovered))
            ));
        }
        let losses = stage.close_session().await?;
        sum.sessions += 1;
        sum.losses.add(&losses);
        terminal::step(&format!(
            "session {}: {} safe, {} lost with their reason, {} unaccounted for",
            sum.sessions,
            thousands(losses.safe),
            losses.lost + losses.beside,
            losses.unaccounted
        ));
    }
    Ok(())
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

impl Sum {
    /// Memory and descriptors of the recorder and the captures.
    fn sample(&mut self, stage: &Stage<'_>) {
        for pid in process::with_argument(stage.rig.place().config.as_os_str()) {
            let Some((rss, fds)) = usage(pid) else { continue };
            let now = Instant::now();
            let life = self.lives.entry(pid).or_insert(Life {
                begun: now,
                seen: now,
                rss_first: rss,
                rss_last: rss,
                fds_first: fds,
                fds_last: fds,
            });
            life.seen = now;
            (life.rss_last, life.fds_last) = (rss, fds);
            if life.age() < WARM {
                (life.rss_first, life.fds_first) = (rss, fds);
            }
        }
    }

    /// The lives that are long enough to tell.
    fn grown(&self) -> impl Iterator<Item = &Life> {
        let longest = self.lives.values().map(Life::age).max().unwrap_or_default();
        self.lives.values().filter(move |life| life.age() > 2 * WARM || life.age() == longest)
    }
}

/// Resident kilobytes and open descriptors.
fn usage(pid: u32) -> Option<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()?;
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    Some((rss, u64::try_from(fds).ok()?))
}

fn report(args: &RunArgs, sum: &Sum) -> Outcome {
    let lost = sum.losses.lost + sum.losses.beside;
    let frames_in = sum.losses.safe + lost + sum.losses.unaccounted;
    let rss = sum.grown().map(Life::rss_growth_percent).fold(0.0, f64::max);
    let fds = sum.grown().map(|life| life.fds_last.saturating_sub(life.fds_first)).max().unwrap_or(0);
    let faults: u64 = sum.faults.values().sum();
    let mut table = Table::new(["what", "figure"]);
    for (what, figure) in [
        ("frames that came in", thousands(frames_in)),
        ("safe", thousands(sum.losses.safe)),
        ("lost, with their reason on record", thousands(lost)),
        ("unaccounted for", thousands(sum.losses.unaccounted)),
        ("hours of pictures", format!("{:.2}", frames_in as f64 / FPS as f64 / 3600.0)),
        ("sessions", sum.sessions.to_string()),
        ("faults", faults.to_string()),
        ("growth of memory", format!("{rss:.1} %")),
        ("growth of descriptors", fds.to_string()),
    ] {
        table.row([what.to_owned(), figure]);
    }
    table.print();
    let by_kind: BTreeMap<String, u64> = sum.faults.iter().map(|(kind, count)| (format!("{kind:?}"), *count)).collect();
    let figures = json!({
        "minutes": args.minutes,
        "seed": args.seed,
        "frames_in": frames_in,
        "safe": sum.losses.safe,
        "lost_accounted": lost,
        "unaccounted": sum.losses.unaccounted,
        "rss_growth_percent": (rss * 10.0).round() / 10.0,
        "fds_growth": fds,
        "faults": faults,
        "faults_by_kind": by_kind,
        "sessions": sum.sessions,
    });
    let verdict = match sum.losses.unaccounted {
        0 => Ok(()),
        frames => Err(anyhow::anyhow!("{frames} frames are unaccounted for")),
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
