//! What CI runs, step by step.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::Signal;

use crate::interrupt::Interrupt;
use crate::setup::{self, SetupArgs};
use crate::terminal::{self, Table};
use crate::workspace::cargo;
use crate::{bench, demo, fuzz, hw, process, soak, yocto};

/// The release of cargo-deny that `deny.toml` is written for.
const DENY_VERSION: &str = "0.20.2";
/// Tests that say nothing for so long hang: the longest one takes two minutes.
const SILENCE: Duration = Duration::from_secs(15 * 60);

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
    let said = run_tests(&args.rest)?;
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
    steps.run("tests", || run_tests(&[]))?;
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

/// Runs the tests and sums up their closing lines.
fn run_tests(rest: &[String]) -> anyhow::Result<String> {
    // Compiling says nothing that is heard below.
    command(cargo().args(["test", "--workspace", "--no-run"]))?;
    let mut child = cargo()
        // One run shows all that fails.
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(rest)
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo test does not start")?;
    let mut sum = Sum::default();
    if let Some(output) = child.stdout.take() {
        // Full: the tests wait until what they have said is printed.
        let (said, lines) = mpsc::sync_channel(64);
        // It ends with the output, or with the first line that nobody wants any more.
        std::thread::spawn(move || BufReader::new(output).lines().try_for_each(|line| said.send(line)));
        loop {
            let line = match lines.recv_timeout(SILENCE) {
                Ok(line) => line.context("the output of cargo test can't be read")?,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let running = process::tree(child.id());
                    let told: Vec<_> = running.iter().map(|(pid, line)| format!("{pid} {line}")).collect();
                    // The elder first: they would start others.
                    for (pid, _) in &running {
                        process::signal(*pid, Signal::KILL);
                    }
                    child.wait()?;
                    bail!(
                        "the tests have said nothing for {} s and were ended:\n{}",
                        SILENCE.as_secs(),
                        told.join("\n")
                    );
                }
            };
            sum.add(&line);
            println!("{line}");
        }
    }
    let status = child.wait()?;
    let said = sum.to_string();
    println!("{said}");
    if !status.success() {
        bail!("{said}; cargo test: {status}");
    }
    Ok(said)
}

/// The sum of the lines "test result: ok. 7 passed; 0 failed; 0 ignored; …".
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    suites: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Sum {
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else {
            return;
        };
        self.suites += 1;
        for part in result.split([';', '.']) {
            let Some((number, kind)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { suites, passed, failed, ignored } = self;
        write!(f, "{passed} tests passed, {failed} failed, {ignored} ignored, in {suites} suites")
    }
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

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn closing_lines_are_summed_up() {
        let mut sum = Sum::default();
        for line in [
            "running 9 tests",
            "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 1 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ] {
            sum.add(line);
        }
        assert_eq!(sum, Sum { suites: 2, passed: 9, failed: 3, ignored: 1 });
    }
}
