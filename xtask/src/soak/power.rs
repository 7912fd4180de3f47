//! Power cuts of the whole box: the suite "power" (hw-tests/suites), on several virtual appliances side by side.

mod tally;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process_group};

use self::tally::{Seen, Tally};
use super::Outcome;
use crate::image::{self, ImageArgs};
use crate::interrupt::Interrupt;
use crate::process::{Guarded, this_program};
use crate::terminal::{self, Table};
use crate::workspace;

/// What a machine has seen, cut by cut.
const JOURNAL: &str = "cuts.jsonl";
/// How long an interrupted suite may take to write its report.
const GRACE: Duration = Duration::from_secs(60);

/// Cut the power of the virtual appliance.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// How many cuts, over all machines.
    #[arg(long, default_value_t = 100)]
    cuts: u32,
    /// So many machines run side by side, each on one processor.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    machines: u32,
    /// All chances follow from it; each machine takes the next one.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// One suite on a machine of its own. Its process group ends with it.
struct Machine {
    suite: Guarded,
    report: PathBuf,
    cuts: u32,
    told: usize,
}

/// Runs the suites, and tells of each cut as it comes.
pub fn run(args: &PowerArgs, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    terminal::step(&format!("power: {} cuts on {} machines, seed {}", args.cuts, args.machines, args.seed));
    // Once, before all of them want it; and there until they are done.
    let _image = image::build(&ImageArgs::default())?;
    let place = tempfile::Builder::new().prefix("holdfast-power-").tempdir().context("no temporary directory")?;
    let mut machines = Vec::new();
    for number in 0..args.machines.min(args.cuts) {
        machines.push(Machine::start(args, number, place.path())?);
    }
    let begun = Instant::now();
    let mut seen = Vec::new();
    let mut interrupted = false;
    loop {
        for (number, machine) in machines.iter_mut().enumerate() {
            for cut in machine.news()? {
                tell(number, &cut, seen.len() + 1, args.cuts);
                seen.push(cut);
            }
        }
        if machines.iter_mut().all(Machine::has_ended) {
            break;
        }
        if interrupt.is_set() && !interrupted {
            interrupted = true;
            machines.iter().for_each(|machine| machine.signal(Signal::INT));
        }
        if interrupted && machines.iter_mut().all(|machine| machine.has_ended_within(GRACE)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    for (number, machine) in machines.iter_mut().enumerate() {
        for cut in machine.news()? {
            tell(number, &cut, seen.len() + 1, args.cuts);
            seen.push(cut);
        }
    }
    let failed: Vec<&Machine> =
        machines.iter_mut().filter_map(|machine| machine.failed().then_some(&*machine)).collect();
    let tally = Tally::of(&seen);
    tally.print();
    terminal::note(&format!("{} in all", terminal::duration(begun.elapsed())));
    let verdict = if interrupted {
        Err(anyhow::anyhow!("interrupted after {} of {} cuts", seen.len(), args.cuts))
    } else if failed.is_empty() && seen.len() == args.cuts as usize {
        tally.verdict()
    } else {
        let reports: Vec<String> = failed.iter().map(|machine| machine.report.display().to_string()).collect();
        Err(anyhow::anyhow!("not all is as it should be, see report.html in {}", reports.join(", ")))
    };
    Ok((serde_json::to_value(&tally)?, verdict))
}

impl Machine {
    fn start(args: &PowerArgs, number: u32, place: &std::path::Path) -> anyhow::Result<Self> {
        let report = workspace::target().join("power").join(format!("machine-{}", number + 1));
        fs::create_dir_all(&report).with_context(|| format!("{} can't be made", report.display()))?;
        fs::remove_file(report.join(JOURNAL)).ok();
        let cuts = args.cuts / args.machines + u32::from(number < args.cuts % args.machines);
        let log = File::create(report.join("suite.log")).context("no log")?;
        let mut suite = Command::new(this_program());
        // What an interrupted suite leaves goes with our directory.
        suite.args(["hw", "power", "--cpus", "1", "--report"]).arg(&report).env("TMPDIR", place);
        suite.args(["--cuts", &cuts.to_string(), "--seed", &(args.seed + u64::from(number)).to_string()]);
        suite.stdin(std::process::Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { suite: Guarded::spawn(&mut suite)?, report, cuts, told: 0 })
    }

    /// The cuts that were written down since it was asked last.
    fn news(&mut self) -> anyhow::Result<Vec<Seen>> {
        let text = fs::read_to_string(self.report.join(JOURNAL)).unwrap_or_default();
        // The last line may be in the making.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let news: Vec<Seen> = whole
            .lines()
            .skip(self.told)
            .map(|line| serde_json::from_str(line).with_context(|| format!("{JOURNAL}: {line}")))
            .collect::<anyhow::Result<_>>()?;
        self.told += news.len();
        if self.told > self.cuts as usize {
            bail!("{} tells of more cuts than it was to make", self.report.display());
        }
        Ok(news)
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.suite.child().try_wait(), Ok(None))
    }

    /// Waits so long, and then ends it and all that it started.
    fn has_ended_within(&mut self, grace: Duration) -> bool {
        let deadline = Instant::now() + grace;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(100));
        }
        self.signal(Signal::KILL);
        true
    }

    fn failed(&mut self) -> bool {
        !matches!(self.suite.child().try_wait(), Ok(Some(status)) if status.success())
    }

    /// To the suite, the test runner and QEMU.
    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.suite.pid()).ok().and_then(Pid::from_raw) {
            // Only fails if all of them have ended.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A line per cut.
fn tell(machine: usize, cut: &Seen, number: usize, of: u32) {
    let recording = cut.recording_s.map_or_else(String::new, |seconds| format!(", recording after {seconds:.0} s"));
    let logged = if cut.logged { ", unflushed writes lost" } else { "" };
    let line = format!(
        "{number}/{of} machine {}: {} ({}){logged}{recording}; {:.0} s",
        machine + 1,
        cut.phase,
        cut.moment.as_deref().unwrap_or("before its moment"),
        cut.seconds
    );
    match &cut.problem {
        None => terminal::good(&line),
        Some(problem) => terminal::fail(&format!("{line}\n  {problem}")),
    }
}

/// For the table of phases.
fn table(rows: impl IntoIterator<Item = [String; 5]>) {
    let mut table = Table::new(["phase", "cuts", "failed", "safe frames lost", "s per cut"]);
    rows.into_iter().for_each(|row| table.row(row));
    table.print();
}
