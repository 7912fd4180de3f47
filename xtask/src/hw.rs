//! `cargo xtask hw`: the suites of `hw-tests/suites`, on the virtual appliance or on a board.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::image::{self, Built, ImageArgs, Variant};
use crate::rehearsal::Rehearsal;
use crate::terminal;
use crate::workspace::{Profile, Programs, root};

const SUITES: &str = "hw-tests/suites";
/// The environment that needs a machine of its own built.
const VIRTUAL: &str = "virtual";
/// A bench without a board.
const REHEARSAL: &str = "rehearsal";
/// What a bench is, where its variables don't say.
const BENCH_DEFAULTS: [(&str, &str); 2] = [("HOLDFAST_USER", "holdfast-admin"), ("HOLDFAST_RELAY_INDEX", "0")];
/// What a run leaves.
const REPORT: [&str; 6] = ["report.html", "figures.json", "cuts.jsonl", "pytest.log", "serial.log", "qemu.log"];
/// Only what has changed in here makes a new Python environment.
const REQUIREMENTS: &str = "requirements.txt";

/// The suite that takes a camera on the network.
const RECORD: &str = "record";
/// The suite that takes an image of its own: the one that is delivered.
const RELEASE: &str = "release";
/// The suite that takes a fleet's server.
const UPDATE: &str = "update";
const HAWKBIT: &str = "holdfast-hawkbit-server";

/// Suites of a short run, and how often it cuts the power.
const SHORT: [&str; 3] = ["boot", "release", "power"];
const SHORT_CUTS: u32 = 10;
/// The suite that cuts the power, and what makes of a disk's log what a cut leaves.
const POWER: &str = "power";
const REPLAYER: &str = "holdfast-powercut";

/// Run the hardware suites.
#[derive(Debug, Args)]
pub struct HwArgs {
    /// On what: the name of a labgrid environment in hw-tests/suites, or "rehearsal", which does with the virtual appliance what is done
    /// with boards.
    #[arg(long, default_value = VIRTUAL, value_name = "NAME")]
    on: String,
    /// Power cuts of the suite "power".
    #[arg(long, default_value_t = 3)]
    cuts: u32,
    /// So many of the cuts on a disk that writes everything down, and loses what was not flushed. Default: a third.
    #[arg(long, value_name = "N")]
    logged_cuts: Option<u32>,
    /// All chances of the suite "power" follow from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Processors of the virtual appliance.
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Where the report goes: report.html, figures.json, serial.log.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// End with one JSON object of the figures; all else goes to the standard error.
    #[arg(long)]
    json: bool,
    /// Suites: the names behind test_ in hw-tests/suites; all, if none is named. Behind --, what goes to pytest.
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    /// Passed on to pytest.
    #[arg(last = true)]
    rest: Vec<String>,
}

impl HwArgs {
    /// Whether a suite is asked for.
    fn wants(&self, suite: &str) -> bool {
        self.suites.is_empty() || self.suites.iter().any(|name| name == suite || name.starts_with(&format!("{suite}_")))
    }
}

pub fn run(args: &HwArgs) -> anyhow::Result<()> {
    let said = suites(args)?;
    if !args.json {
        terminal::good(&said);
    }
    Ok(())
}

/// The files of a suite: `test_NAME.py`, and what has grown out of it, `test_NAME_*.py`.
fn files(directory: &Path, suite: &str) -> anyhow::Result<Vec<String>> {
    let (whole, part) = (format!("test_{suite}.py"), format!("test_{suite}_"));
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name == whole || name.starts_with(&part) && name.ends_with(".py") {
            files.push(name);
        }
    }
    if !files.contains(&whole) {
        bail!("there is no suite \"{suite}\": {SUITES}/{whole} is not there");
    }
    // The suite's own file is first: "." comes before "_".
    files.sort();
    Ok(files)
}

/// A short run, for CI.
pub fn sanity() -> anyhow::Result<String> {
    if let Err(error) = image::can_cross_build() {
        let said = format!("SKIPPED: the virtual appliance: {error:#}");
        terminal::note(&said);
        return Ok(said);
    }
    image::build(&ImageArgs { check_reproducible: true, ..ImageArgs::default() })?;
    suites(&HwArgs {
        on: VIRTUAL.to_owned(),
        cuts: SHORT_CUTS,
        logged_cuts: None,
        seed: 1,
        cpus: 2,
        report: None,
        json: false,
        suites: SHORT.map(str::to_owned).to_vec(),
        rest: Vec::new(),
    })
}

/// Runs them; what is said is pytest's closing line.
fn suites(args: &HwArgs) -> anyhow::Result<String> {
    let directory = root().join(SUITES);
    let rehearsal = (args.on == REHEARSAL).then(Rehearsal::set_up).transpose()?;
    let in_suites = directory.join(format!("{}.yaml", args.on));
    let environment = rehearsal.as_ref().map_or(in_suites, Rehearsal::environment);
    if !environment.exists() {
        bail!("--on {}: there is no {}", args.on, environment.display());
    }
    let cache = image::cache_directory()?;
    let python = python(&cache, &directory)?;
    let report = args.report.clone().unwrap_or_else(|| crate::workspace::target().join("hw"));
    fs::create_dir_all(&report).with_context(|| format!("{} can't be made", report.display()))?;
    // What a run before has left would be taken for this one's.
    for file in REPORT {
        fs::remove_file(report.join(file)).ok();
    }

    let mut pytest = Command::new(python);
    pytest.current_dir(&directory).args(["-m", "pytest", "-p", "no:cacheprovider", "--tb=short", "-v", "--lg-env"]);
    pytest.arg(&environment);
    pytest.arg(format!("--html={}", report.join("report.html").display())).arg("--self-contained-html");
    for suite in &args.suites {
        pytest.args(files(&directory, suite)?);
    }
    pytest.args(&args.rest);
    pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONPATH", &directory);
    pytest.env("HOLDFAST_CUTS", args.cuts.to_string()).env("HOLDFAST_FIGURES", report.join("figures.json"));
    pytest.env("HOLDFAST_XTASK", crate::process::this_program());
    pytest.env("HOLDFAST_SEED", args.seed.to_string()).env("HOLDFAST_CPUS", args.cpus.to_string());
    if let Some(logged) = args.logged_cuts {
        pytest.env("HOLDFAST_LOGGED_CUTS", logged.to_string());
    }
    if args.on == VIRTUAL && args.wants(POWER) {
        pytest.env("HOLDFAST_POWERCUT", Programs::build(Profile::Dev, &[REPLAYER])?.path(REPLAYER));
    }
    // Images stay in the cache until the suites are done with them.
    let mut images = Vec::new();
    let place = if args.on == VIRTUAL {
        let built = image::build(&ImageArgs::default())?;
        let place = appliance(&mut pytest, &built)?;
        images.push(built);
        images.extend(beside(&mut pytest, args)?);
        Some(place)
    } else {
        pytest.envs(bench(&fs::read_to_string(&environment)?, |name| std::env::var(name).ok())?);
        None
    };
    let log = report.join("pytest.log");
    let status = told(&mut pytest, &log, args.json)?;
    drop((images, rehearsal));
    if let Some(place) = place {
        for file in ["serial.log", "qemu.log"] {
            fs::copy(place.path().join("vm").join(file), report.join(file)).ok();
        }
    }
    let closing = closing(&fs::read_to_string(&log)?);
    if args.json {
        println!("{}", figures(&args.on, &closing, &report.join("figures.json")));
    }
    // Where all were skipped nothing is known, and pytest is content.
    if !status || !closing.contains(" passed") {
        bail!("hw suites on {}: {closing}; see {}", args.on, report.display());
    }
    Ok(format!("hw suites on {}: {closing}", args.on))
}

/// The variables of a bench under the names that labgrid takes (`LG_*`), as an environment's file asks for them.
fn bench(environment: &str, set: impl Fn(&str) -> Option<String>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for word in environment.split(|c: char| !c.is_ascii_uppercase() && c != '_' && c != '$') {
        let Some(name) = word.strip_prefix("$LG_") else { continue };
        let default =
            BENCH_DEFAULTS.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned());
        let Some(value) = set(name).or(default) else {
            bail!("{name} is not set; {SUITES}/README.md, \"A bench\", says what it is");
        };
        variables.insert(format!("LG_{name}"), value);
    }
    Ok(variables)
}

/// A place for the machine, and what its driver must know.
fn appliance(pytest: &mut Command, built: &Built) -> anyhow::Result<tempfile::TempDir> {
    let place = tempfile::Builder::new().prefix("holdfast-hw-").tempdir().context("no temporary directory")?;
    let (vm, share) = (place.path().join("vm"), place.path().join("share"));
    fs::create_dir(&vm)?;
    fs::create_dir(&share)?;
    pytest.env("HOLDFAST_VM_DIR", vm).env("HOLDFAST_SHARE", share).env("HOLDFAST_IMAGE", &built.disk);
    pytest.env("HOLDFAST_BUILT", built.json().to_string());
    Ok(place)
}

/// What single suites need, and take time to make: only where they are asked for. The release image, if it is.
fn beside(pytest: &mut Command, args: &HwArgs) -> anyhow::Result<Option<Built>> {
    if args.wants(RECORD) {
        let programs = Programs::build(Profile::Dev, &["holdfast-simcam"])?;
        pytest.env("HOLDFAST_SIMCAM", programs.path("holdfast-simcam"));
    }
    if args.wants(UPDATE) {
        let programs = Programs::build(Profile::Dev, &[HAWKBIT])?;
        pytest.env("HOLDFAST_HAWKBIT", programs.path(HAWKBIT));
    }
    if args.wants(RELEASE) {
        let release = image::build(&ImageArgs { variant: Variant::Release, ..ImageArgs::default() })?;
        pytest.env("HOLDFAST_RELEASE_BUILT", release.json().to_string());
        return Ok(Some(release));
    }
    Ok(None)
}

/// Runs a program whose words are shown, aside on the standard error, and kept; whether it succeeded.
fn told(command: &mut Command, log: &Path, aside: bool) -> anyhow::Result<bool> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut file = fs::File::create(log).with_context(|| format!("{} can't be written", log.display()))?;
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().context("pytest does not start")?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.context("the output of pytest can't be read")?;
            if aside {
                eprintln!("{line}");
            } else {
                println!("{line}");
            }
            writeln!(file, "{line}")?;
        }
    }
    Ok(child.wait()?.success())
}

/// The line between "=" that sums all up.
fn closing(log: &str) -> String {
    let line = log.lines().rev().find(|line| line.starts_with("==") && line.contains(" in "));
    line.map_or_else(|| "pytest did not come to an end".to_owned(), |line| line.trim_matches(['=', ' ']).to_owned())
}

/// What a run has measured, in one object: each figure with all its values, and how many tests had which end.
fn figures(on: &str, closing: &str, measured: &Path) -> serde_json::Value {
    // Where pytest came to no end there are none.
    let measured = fs::read_to_string(measured).ok().and_then(|text| serde_json::from_str(&text).ok());
    let mut all: serde_json::Map<String, serde_json::Value> = measured.unwrap_or_default();
    let (ends, seconds) = closing.rsplit_once(" in ").unwrap_or((closing, ""));
    for end in ["passed", "failed", "skipped", "errors"] {
        let of = |part: &str| {
            part.trim().strip_suffix(end).or(part.trim().strip_suffix(end.trim_end_matches('s')))?.trim().parse().ok()
        };
        let count: u64 = ends.split(',').find_map(of).unwrap_or(0);
        all.insert(end.to_owned(), count.into());
    }
    let seconds = seconds.split('s').next().and_then(|seconds| seconds.parse::<f64>().ok());
    all.insert("seconds".to_owned(), seconds.into());
    all.insert("on".to_owned(), on.into());
    all.into()
}

/// Python with what the suites need.
fn python(cache: &Path, directory: &Path) -> anyhow::Result<PathBuf> {
    let wanted = fs::read(directory.join(REQUIREMENTS))?;
    let hash: String = blake3::hash(&wanted).to_hex().as_str().chars().take(16).collect();
    let place = cache.join(format!("python-{hash}"));
    let (python, done) = (place.join("bin/python"), place.join("done"));
    if !done.exists() {
        terminal::step("labgrid and pytest, once for this user");
        command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
        let mut pip = Command::new(&python);
        command(pip.args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(directory.join(REQUIREMENTS)))?;
        fs::write(&done, "")?;
    }
    Ok(python)
}

fn command(command: &mut Command) -> anyhow::Result<()> {
    let line = format!("{command:?}").replace('"', "");
    let status = command.status().with_context(|| format!("{line} does not start"))?;
    if !status.success() {
        bail!("{line} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{bench, closing, figures};

    #[test]
    fn a_bench_says_what_is_not_set_before_anything_is_switched_on() {
        let environment = include_str!("../../hw-tests/suites/rock-5b.yaml");
        let set = |name: &str| (name != "HOLDFAST_USER").then(|| format!("of {name}"));
        let variables = bench(environment, set).unwrap();
        assert_eq!(variables["LG_HOLDFAST_BOARD"], "of HOLDFAST_BOARD");
        assert_eq!(variables["LG_HOLDFAST_USER"], "holdfast-admin");
        let without = bench(environment, |name| set(name).filter(|_| name != "HOLDFAST_RELAY_MODEL"));
        assert!(without.unwrap_err().to_string().starts_with("HOLDFAST_RELAY_MODEL is not set"));
    }

    #[test]
    fn the_closing_line_is_found() {
        let log =
            "=== test session starts ===\n x\n= short test summary info =\n==== 1 failed, 7 passed in 12.34s ====\n";
        assert_eq!(closing(log), "1 failed, 7 passed in 12.34s");
        assert!(closing("killed").contains("did not"));
    }

    #[test]
    fn the_figures_are_one_object() {
        let place = tempfile::tempdir().unwrap();
        let measured = place.path().join("figures.json");
        std::fs::write(&measured, "{\"boot_s\": [41.5, 40.0]}").unwrap();
        let told = figures("virtual", "1 failed, 7 passed, 2 errors in 12.34s (0:00:12)", &measured);
        let wanted = serde_json::json!({
            "boot_s": [41.5, 40.0], "failed": 1, "passed": 7, "errors": 2, "skipped": 0, "seconds": 12.34, "on": "virtual",
        });
        assert_eq!(told, wanted);
        let none = figures("virtual", &closing("killed"), &place.path().join("none"));
        assert_eq!((&none["passed"], &none["seconds"]), (&0.into(), &serde_json::Value::Null));
    }
}
