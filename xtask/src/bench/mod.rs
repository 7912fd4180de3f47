//! The figures. Each bench prints a table for people and, with `--json`, one object for programs.

mod bus;
mod capture;
mod clip;
mod copy;
mod device;
mod panel;
mod powercut;
mod rotate;
mod scale;
mod slices;
mod start;
mod update;
mod usage;
mod wear;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::interrupt::Interrupt;
use crate::workspace::{Built, Profile};
use crate::{setup, terminal};

/// Measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    common: Common,
}

/// What all benches take.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// End with one JSON object on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// A short form that shows that the bench works; its figures mean little.
    #[arg(long, global = true)]
    pub quick: bool,
    /// How the programs are compiled.
    #[arg(long, global = true, value_enum, default_value_t = Profile::Release)]
    pub profile: Profile,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum What {
    /// All of them, one after the other; with --json all keys in one object.
    All,
    /// CPU and memory of stream copy, next to ffmpeg and splitmuxsink.
    Copy,
    /// CPU and memory per input with 1, 8 and 32 inputs.
    Scale,
    /// From the command to the first safe chunk, armed and cold.
    Start,
    /// Hundreds of rotations with audio, picture by picture against what the camera sent.
    Rotate,
    /// Latency of reads and of Start and Stop under 20 clients.
    Bus,
    /// The front panel: press to light, press to safe footage, recorder dead to fault pattern, and what it costs.
    Panel,
    /// Bytes that reach the disk per byte of footage.
    Wear,
    /// An update installed beside a recording: what the recording notices of it, with the throttle and without.
    Update,
    /// Seconds of footage lost at a power cut, next to other writers; draws the picture of the README.
    Powercut,
}

/// What a bench found: keys for programs. The table for people is printed by then.
pub type Figures = Map<String, Value>;

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    setup::run(&setup::SetupArgs::default())?;
    let interrupt = Interrupt::listen()?;
    let built = Built::when_wanted(args.common.profile);
    let figures = one(args.what, &args.common, &built, &interrupt)?;
    if args.common.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

/// Why there can be no filesystem of our own on this machine, if so.
pub fn device_impossible() -> Option<&'static str> {
    device::Device::impossible()
}

/// The short form of all benches in the tests' profile: shows that they work.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<()> {
    let common = Common { json: false, quick: true, profile: Profile::Dev };
    all(&common, &Built::when_wanted(common.profile), interrupt).map(|_| ())
}

fn all(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let mut figures = Figures::new();
    for what in [
        What::Copy,
        What::Wear,
        What::Scale,
        What::Start,
        What::Rotate,
        What::Bus,
        What::Panel,
        What::Update,
        What::Powercut,
    ] {
        figures.extend(one(what, common, built, interrupt)?);
    }
    Ok(figures)
}

fn one(what: What, common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    match what {
        What::All => all(common, built, interrupt),
        What::Copy => copy::run(common, built, interrupt),
        // It writes by itself.
        What::Wear => wear::run(common, interrupt),
        What::Scale => scale::run(common, built, interrupt),
        What::Start => start::run(common, built, interrupt),
        What::Rotate => rotate::run(common, built, interrupt),
        What::Bus => bus::run(common, built, interrupt),
        What::Panel => panel::run(common, built, interrupt),
        What::Update => update::run(common, built, interrupt),
        What::Powercut => powercut::run(common, built, interrupt),
    }
}

/// A bench that can't run on this machine says so, and goes without figures: no machine passes for one that was measured.
fn skipped(bench: &str, why: &str) -> Figures {
    terminal::note(&format!("SKIPPED bench {bench}: {why}"));
    let mut figures = Figures::new();
    figures.insert(format!("skipped_{bench}"), why.into());
    figures
}

/// Rounds a figure to what is worth reading.
fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    ((value * scale).round() / scale).into()
}

/// The value below which `percent` of the values lie (nearest rank). The values are sorted by this.
fn percentile(values: &mut [f64], percent: u32) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent as usize).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_of_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        for (percent, value) in [(50, 100.0), (95, 190.0), (99, 198.0), (100, 200.0)] {
            assert_eq!(percentile(&mut values, percent), value);
        }
        assert_eq!(percentile(&mut [7.0], 50), 7.0);
        assert!(percentile(&mut [], 50).is_nan());
    }
}
