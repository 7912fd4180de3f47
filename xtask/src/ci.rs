//! What CI runs, step by step.

mod testing;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;

use crate::interrupt::Interrupt;
use crate::setup::{self, SetupArgs};
use crate::terminal::{self, Table};
use crate::workspace::cargo;
use crate::{bench, demo, fuzz, hw, soak, yocto};

/// The release of cargo-deny that `deny.toml` is written for.
const DENY_VERSION: &str = "0.20.2";

/// Run all tests.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Passed on to `cargo test --workspace`, such as a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub rest: Vec<String>,
}

/// Run what CI runs.
#[derive(Debug, Args)]
pub struct CiArgs {
    /// Do not install packages: only check them.
    #[arg(long)]
    pub no_install: bool,
    /// Leave out the virtual appliance: building it, booting it, and cutting its power takes a quarter of an hour.
    #[arg(long)]
    pub no_appliance: bool,
    /// Leave out the steps before this one; the beginning of its name will do.
    #[arg(long, value_name = "STEP")]
    pub from: Option<String>,
}

/// Sets up and runs the tests.
pub fn test(args: &TestArgs) -> anyhow::Result<()> {
    setup::run(&SetupArgs::default())?;
    build()?;
    let said = testing::run(&args.rest)?;
    terminal::good(&said);
    Ok(())
}

/// Sets up and runs everything, and prints what took how long.
pub fn run(args: &CiArgs) -> anyhow::Result<()> {
    let mut steps = Steps { from: args.from.clone(), done: Vec::new() };
    let done = run_steps(&mut steps, args);
    steps.print();
    done?;
    if let Some(from) = steps.from {
        bail!("no step begins with \"{from}\" (--from)");
    }
    terminal::good("all of it passed");
    Ok(())
}

fn run_steps(steps: &mut Steps, args: &CiArgs) -> anyhow::Result<()> {
    steps.run("setup", || setup::run(&SetupArgs { check: args.no_install }).map(|()| String::new()))?;
    steps.run("format", || command(cargo().args(["fmt", "--all", "--check"])))?;
    steps.run("lints", || {
        command(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
    })?;
    steps.run("licences and advisories", deny)?;
    steps.run("the Yocto layer", yocto::sanity)?;
    steps.run("build", || build().map(|()| String::new()))?;
    steps.run("tests", || testing::run(&[]))?;
    // From here on we start programs that have to be ended in order.
    let interrupt = Interrupt::listen()?;
    steps.run("fuzzing, a short run", || fuzz::sanity(&interrupt))?;
    steps.run("demo", || demo::sanity(&interrupt).map(|()| String::new()))?;
    steps.run("faults, the quick ones", || soak::sanity(&interrupt))?;
    steps.run("bench, short form", || bench::sanity(&interrupt).map(|()| String::new()))?;
    if !args.no_appliance {
        steps.run("virtual appliance", hw::sanity)?;
    }
    Ok(())
}

/// All programs in the profile of the tests: the tests start them.
fn build() -> anyhow::Result<()> {
    command(cargo().args(["build", "--workspace", "--bins"])).map(|_| ())
}

/// Licences, bans and sources must be in order; so must the advisories, wherever their database can be reached.
fn deny() -> anyhow::Result<String> {
    let deny = cargo_deny()?;
    command(Command::new(&deny).args(["check", "bans", "licenses", "sources"]))?;
    let advisories = Command::new(&deny)
        .args(["check", "advisories"])
        .output()
        .with_context(|| format!("{} does not start", deny.display()))?;
    let said = String::from_utf8_lossy(&advisories.stderr);
    if advisories.status.success() {
        return Ok(String::new());
    }
    if said.contains("failed to fetch advisory database") {
        let said = "SKIPPED: advisories (their database can't be reached); licences, bans and sources are in order";
        terminal::note(said);
        return Ok(said.to_owned());
    }
    bail!("cargo deny check advisories: {}\n{said}", advisories.status)
}

/// The program, as it is in `PATH` or in the user's cache, built into the cache where it is missing.
fn cargo_deny() -> anyhow::Result<PathBuf> {
    let in_path = Command::new("cargo-deny").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if in_path.is_ok_and(|status| status.success()) {
        return Ok(PathBuf::from("cargo-deny"));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let root = cache.join("holdfast/tools").join(DENY_VERSION);
    let program = root.join("bin/cargo-deny");
    if !program.exists() {
        terminal::note("building cargo-deny, once for this user (some minutes)");
        // Unoptimised: it runs for a second, and is built in a third of the time.
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", "--debug", "--version", DENY_VERSION, "--root"]);
        // Not below target/: other builds of ours would wait for its lock, and `cargo clean` would take it along.
        command(install.arg(&root).arg("cargo-deny").env("CARGO_TARGET_DIR", root.join("target")))?;
        // What it was built from is large and not needed again.
        std::fs::remove_dir_all(root.join("target")).ok();
    }
    Ok(program)
}

fn command(command: &mut Command) -> anyhow::Result<String> {
    let line = format!("{command:?}").replace('"', "");
    let status = command.status().with_context(|| format!("{line} does not start"))?;
    if !status.success() {
        bail!("{line} failed: {status}");
    }
    Ok(String::new())
}

/// The steps done so far.
#[derive(Debug)]
struct Steps {
    /// With which to begin, until that is reached.
    from: Option<String>,
    done: Vec<(&'static str, Duration, Result<String, String>)>,
}

impl Steps {
    fn run(&mut self, name: &'static str, step: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<()> {
        if self.from.as_ref().is_some_and(|from| !name.starts_with(from.as_str())) {
            return Ok(());
        }
        self.from = None;
        terminal::step(name);
        let start = Instant::now();
        let done = step();
        let outcome = done.as_ref().map(Clone::clone).map_err(|error| format!("{error:#}"));
        self.done.push((name, start.elapsed(), outcome));
        done.map(|_| ()).with_context(|| format!("step \"{name}\""))
    }

    fn print(&self) {
        let mut table = Table::new(["step", "time", ""]);
        for (name, time, outcome) in &self.done {
            let outcome = match outcome {
                Ok(said) if said.is_empty() => "ok".to_owned(),
                Ok(said) => said.clone(),
                Err(_) => "FAILED".to_owned(),
            };
            table.row([(*name).to_owned(), terminal::duration(*time), outcome]);
        }
        table.row(["all".to_owned(), terminal::duration(self.done.iter().map(|(_, time, _)| *time).sum())]);
        eprintln!();
        table.print();
    }
}
