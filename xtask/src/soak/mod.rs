//! Long runs that try to harm a recording. Each prints a table for people and, with `--json`, ends with one object for programs.

mod books;
mod faults;
mod growth;
mod power;
mod powercut;
mod run;
mod updater;

use clap::{Args, Subcommand};

use crate::interrupt::Interrupt;
use crate::setup;
use crate::workspace::Profile;

pub use powercut::rig as powercut_rig;

/// Try to harm a recording.
#[derive(Debug, Args)]
pub struct SoakArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    common: Common,
}

/// What all of them take.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// End with one JSON object on standard output.
    #[arg(long, global = true)]
    pub json: bool,
    /// How the programs are compiled.
    #[arg(long, global = true, value_enum, default_value_t = Profile::Dev)]
    pub profile: Profile,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One fault after the other, each against its stated bounds; writes docs/faults.md.
    Faults(faults::FaultsArgs),
    /// Cut the power of the virtual appliance, at every phase of its life.
    Power(power::PowerArgs),
    /// Cut the power of a recording thousands of times; everything that was safe must be there.
    Powercut(powercut::PowercutArgs),
    /// Record for long, with faults at random; nothing may be unaccounted for, nothing may grow.
    Run(run::RunArgs),
    /// Cut the power of an update thousands of times; no two bad slots, no lost result.
    Updater(updater::UpdaterArgs),
}

pub fn run(args: &SoakArgs) -> anyhow::Result<()> {
    setup::run(&setup::SetupArgs::default())?;
    let interrupt = Interrupt::listen()?;
    let figures = match &args.what {
        What::Faults(faults) => faults::run(faults, &args.common, &interrupt),
        What::Power(power) => power::run(power, &interrupt),
        What::Powercut(powercut) => powercut::run(powercut, &args.common, &interrupt),
        What::Run(run) => run::run(run, &args.common, &interrupt),
        What::Updater(updater) => updater::run(updater, &args.common, &interrupt),
    };
    // Told even where it failed: the figures say how.
    let (figures, verdict) = figures?;
    if args.common.json {
        println!("{figures}");
    }
    verdict
}

/// Figures for programs, and whether all is as it should be.
type Outcome = (serde_json::Value, anyhow::Result<()>);

/// The faults that are quick to try: shows that the suite works.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<String> {
    faults::sanity(interrupt)
}
