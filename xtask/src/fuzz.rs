//! Fuzzing: any bytes for everything that reads bytes from outside.
//!
//! The engine is libFuzzer, guided by coverage, on the stable toolchain: the compiler's options for instrumentation are stable,
//! only the sanitizers are not. Those find what unsafe code does; ours forbids it, and what is left (panics, overflows, memory,
//! time) is found without.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use crate::interrupt::Interrupt;
use crate::terminal::{self, Table, thousands};
use crate::workspace::{cargo, root, target};

/// The targets of `fuzz/`, each a program.
const TARGETS: [&str; 6] = ["segment", "journal", "link", "panel", "config", "dbus"];

/// What cargo-fuzz passes, too, but for the sanitizer.
const INSTRUMENTATION: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table";
/// One input may take so long; a hundredth of it is usual.
const TIMEOUT_S: u32 = 10;
const MEMORY_MIB: u32 = 1024;
/// Longer than all that is in the corpus.
const MAX_INPUT_BYTES: u32 = 20_000;

/// Fuzz the parsers and protocols.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// Which targets; all of them without.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    targets: Vec<String>,
    /// How long, for each target.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// End with one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// What a run amounted to.
#[derive(Debug)]
struct Run {
    target: String,
    executions: u64,
    coverage: u64,
    corpus: usize,
}

pub fn run(args: &FuzzArgs) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let targets = if args.targets.is_empty() { TARGETS.map(str::to_owned).to_vec() } else { args.targets.clone() };
    let runs = fuzz(&targets, args.seconds, &interrupt)?;
    let mut table = Table::new(["target", "inputs tried", "places reached", "in the corpus"]);
    for Run { target, executions, coverage, corpus } in &runs {
        table.row([target.clone(), thousands(*executions), thousands(*coverage), corpus.to_string()]);
    }
    table.print();
    if args.json {
        let rows = runs.iter().map(|Run { target, executions, coverage, corpus }| {
            json!({ "target": target, "executions": executions, "coverage": coverage, "corpus": corpus })
        });
        println!("{}", json!({ "seconds": args.seconds, "targets": rows.collect::<Vec<_>>() }));
    }
    Ok(())
}

/// A few seconds each, as CI runs them.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<String> {
    let runs = fuzz(&TARGETS.map(str::to_owned), 4, interrupt)?;
    Ok(format!("{} inputs tried", thousands(runs.iter().map(|run| run.executions).sum())))
}

fn fuzz(targets: &[String], seconds: u32, interrupt: &Interrupt) -> anyhow::Result<Vec<Run>> {
    terminal::step("building the fuzz targets");
    let host = host()?;
    let build_directory = target().join("fuzz");
    // With --target the instrumentation is not for build scripts and macros.
    let status = cargo()
        .args(["build", "--release", "--bins", "--target", &host, "--manifest-path"])
        .arg(root().join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(&build_directory)
        .env("RUSTFLAGS", INSTRUMENTATION)
        .status()
        .context("cargo does not start")?;
    if !status.success() {
        bail!(
            "the fuzz targets don't build (see above); libFuzzer takes a C++ compiler: `cargo xtask setup` installs it"
        );
    }
    let programs = build_directory.join(host).join("release");
    targets
        .iter()
        .map(|name| {
            interrupt.check()?;
            one(name, &programs.join(name), &build_directory, seconds)
        })
        .collect()
}

fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("rustc does not start")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not name its host")
}

/// Tries what is in the corpus, then what comes of it. What is new stays below `target/`.
fn one(name: &str, program: &Path, build_directory: &Path, seconds: u32) -> anyhow::Result<Run> {
    terminal::step(&format!("{name}, {seconds} s"));
    let [corpus, artifacts] = ["corpus", "artifacts"].map(|kind| build_directory.join(kind).join(name));
    for directory in [&corpus, &artifacts] {
        std::fs::create_dir_all(directory).with_context(|| format!("{} can't be made", directory.display()))?;
    }
    let committed = root().join("fuzz/corpus").join(name);
    let seeds = std::fs::read_dir(&committed).with_context(|| format!("{} can't be read", committed.display()))?;
    if seeds.count() == 0 {
        bail!("{} is empty: a target without seeds finds little", committed.display());
    }
    let output = Command::new(program)
        .arg(&corpus)
        .arg(&committed)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT_S}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-max_len={MAX_INPUT_BYTES}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} does not start", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().rev().take(40).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        bail!("{name} failed ({}):\n{}\nThe input is in {}", output.status, tail.join("\n"), artifacts.display());
    }
    let executions = number_after(&said, "stat::number_of_executed_units:").context("libFuzzer tells no figures")?;
    let coverage = number_after(&said, "cov:").unwrap_or(0);
    let corpus = std::fs::read_dir(&corpus).map_or(0, Iterator::count);
    Ok(Run { target: name.to_owned(), executions, coverage, corpus })
}

/// The number behind the last `key`.
fn number_after(text: &str, key: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(key)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{TARGETS, number_after};
    use crate::workspace::root;

    #[test]
    fn every_target_is_run_and_has_a_corpus() {
        let mut programs: Vec<String> = std::fs::read_dir(root().join("fuzz/fuzz_targets"))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
            .collect();
        programs.sort();
        let mut targets = TARGETS.to_vec();
        targets.sort_unstable();
        assert_eq!(programs, targets);
        for target in targets {
            let seeds = std::fs::read_dir(root().join("fuzz/corpus").join(target)).unwrap();
            assert!(seeds.count() > 0, "{target}");
        }
    }

    #[test]
    fn figures_are_read_from_what_libfuzzer_says() {
        let said = "#2 INITED cov: 12 ft: 13\n#99 NEW    cov: 345 ft: 400\nstat::number_of_executed_units: 12345\n";
        assert_eq!(number_after(said, "cov:"), Some(345));
        assert_eq!(number_after(said, "stat::number_of_executed_units:"), Some(12_345));
        assert_eq!(number_after(said, "nothing:"), None);
    }
}
