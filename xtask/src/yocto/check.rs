//! Whether the layer resolves with the real layers: BitBake reads all recipes and works out every task, for each board; nothing is
//! fetched or built. Unknown packages, sources that are missing, appends to nothing are found that way; what tasks do is not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use super::layers::{Board, boards};
use super::{generate, layer};
use crate::terminal::{self, Table};
use crate::workspace::{root, target};

const TARGETS: [&str; 2] = ["holdfast-image", "holdfast-bundle"];
/// BitBake refuses to run as root: nobody, on every Linux.
const NOBODY: u32 = 65534;
/// What its tools are looked for in; nothing else of our environment is handed on.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// Resolve images and bundles.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    /// The directory in which the layers are checked out, under the names that kas gives them: bitbake, openembedded-core,
    /// meta-openembedded, meta-rauc, and of boards meta-arm, meta-rockchip, meta-tegra.
    #[arg(long, env = "HOLDFAST_YOCTO_LAYERS", value_name = "DIR")]
    pub layers: Option<PathBuf>,
    /// Only these boards.
    #[arg(long = "machine", value_name = "NAME")]
    pub machines: Vec<String>,
    /// Also work out every single task (bitbake -n): minutes more for each board.
    #[arg(long)]
    pub tasks: bool,
    /// Also run yocto-check-layer.
    #[arg(long)]
    pub layer_check: bool,
}

/// How far a board resolves.
#[derive(Debug)]
struct Resolved {
    machine: &'static str,
    recipes: usize,
    /// Only with `tasks`.
    tasks: Option<u64>,
}

/// Resolves what can be; says aloud what can't.
pub fn run(args: &CheckArgs) -> anyhow::Result<String> {
    let boards = boards(&args.machines)?;
    let Some(all) = &args.layers else {
        return Ok(skipped(
            "the layer against the real layers (--layers or HOLDFAST_YOCTO_LAYERS says where they are; see yocto-layer/README.md)",
        ));
    };
    let all = fs::canonicalize(all).with_context(|| format!("{} can't be opened", all.display()))?;
    if !all.join("bitbake/bin/bitbake").is_file() {
        bail!(
            "{} has no bitbake/bin/bitbake: check it out there (yocto-layer/README.md has the branches)",
            all.display()
        );
    }
    need_locale()?;
    generate::run()?;
    let mut done = vec![];
    for board in boards {
        let missing = board.missing(&all);
        if !missing.is_empty() {
            let names: Vec<String> = missing.iter().map(|path| path.display().to_string()).collect();
            let said = skipped(&format!("{}: there is no {}", board.machine, names.join(", ")));
            if !args.machines.is_empty() {
                bail!("{said}");
            }
            continue;
        }
        done.push(resolve(board, &all, args.tasks)?);
    }
    if done.is_empty() {
        bail!("{} has no board's layers (yocto-layer/README.md has them)", all.display());
    }
    if args.layer_check {
        check_layer(&all)?;
    }
    let mut table = Table::new(["board", "recipes", "tasks"]);
    for Resolved { machine, recipes, tasks } in &done {
        let tasks = tasks.map_or_else(|| "-".to_owned(), terminal::thousands);
        table.row([(*machine).to_owned(), recipes.to_string(), tasks]);
    }
    table.print();
    Ok(format!("{} boards resolve", done.len()))
}

fn skipped(what: &str) -> String {
    let said = format!("SKIPPED: {what}");
    terminal::note(&said);
    said
}

fn resolve(board: &Board, all: &Path, tasks: bool) -> anyhow::Result<Resolved> {
    let machine = board.machine;
    terminal::step(&format!("{machine}: reading all recipes (minutes, the first time)"));
    let began = Instant::now();
    let build = Build::prepare(board, all)?;
    build.bitbake(all, &[&["-g"], &TARGETS[..]].concat())?;
    let list = build.directory.join("pn-buildlist");
    let text = fs::read_to_string(&list).with_context(|| format!("{} can't be read", list.display()))?;
    let recipes = text.lines().count();
    let tasks = if tasks {
        terminal::step(&format!("{machine}: working out every task"));
        let said = build.bitbake(all, &[&["-n"], &TARGETS[..]].concat())?;
        Some(attempted(&said).with_context(|| format!("bitbake -n told no number of tasks:\n{said}"))?)
    } else {
        None
    };
    terminal::good(&format!("{machine}: {recipes} recipes, {}", terminal::duration(began.elapsed())));
    Ok(Resolved { machine, recipes, tasks })
}

/// "NOTE: Tasks Summary: Attempted 5071 tasks of which 0 didn't need to be rerun and all succeeded."
fn attempted(said: &str) -> Option<u64> {
    let line = said.lines().rev().find_map(|line| line.split_once("Tasks Summary: Attempted "))?;
    line.1.split(' ').next()?.parse().ok()
}

/// A build directory below target/, with its configuration.
struct Build {
    directory: PathBuf,
}

impl Build {
    fn prepare(board: &Board, all: &Path) -> anyhow::Result<Self> {
        let mut layers = board.layers(all);
        layers.push(layer());
        let local = format!(
            "MACHINE ?= \"{}\"\nDISTRO ?= \"holdfast\"\n\
             BB_NO_NETWORK = \"1\"\nCONNECTIVITY_CHECK_URIS = \"\"\n\
             BB_HASHSERVE = \"\"\nBB_SIGNATURE_HANDLER = \"OEBasicHash\"\n",
            board.machine
        );
        Self::with(board.machine, &layers, &local)
    }

    fn with(name: &str, layers: &[PathBuf], local: &str) -> anyhow::Result<Self> {
        let directory = target().join("yocto").join(name);
        let conf = directory.join("conf");
        fs::create_dir_all(&conf).with_context(|| format!("{} can't be made", conf.display()))?;
        let paths: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        let bblayers = format!("BBPATH = \"${{TOPDIR}}\"\nBBFILES ?= \"\"\nBBLAYERS = \"{}\"\n", paths.join(" "));
        for (name, text) in [("bblayers.conf", bblayers.as_str()), ("local.conf", local)] {
            let path = conf.join(name);
            fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
        }
        let build = Self { directory };
        if rustix::process::geteuid().is_root() {
            build.give_to_nobody()?;
        }
        Ok(build)
    }

    fn give_to_nobody(&self) -> anyhow::Result<()> {
        // The checkouts stay root's: git, which BitBake asks for their revisions, reads no one else's repository unless told.
        let trust = self.directory.join(".gitconfig");
        fs::write(&trust, "[safe]\n\tdirectory = *\n")
            .with_context(|| format!("{} can't be written", trust.display()))?;
        let owner = format!("{NOBODY}:{NOBODY}");
        let status =
            Command::new("chown").args(["-R", &owner]).arg(&self.directory).status().context("chown does not start")?;
        if !status.success() {
            bail!("{} can't be given to nobody, as whom BitBake has to run", self.directory.display());
        }
        Ok(())
    }

    fn bitbake(&self, all: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        self.run(all, &all.join("bitbake/bin/bitbake"), arguments)
    }

    /// Runs a program of the layers as a plain user in an environment of its own, and shows what it warns of.
    fn run(&self, all: &Path, program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = if rustix::process::geteuid().is_root() {
            let nobody = NOBODY.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let tools = [all.join("bitbake/bin"), all.join("openembedded-core/scripts")];
        let path =
            tools.iter().map(|tool| tool.display().to_string()).chain([SYSTEM_PATH.to_owned()]).collect::<Vec<_>>();
        let mut child = command
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs([("HOME", self.directory.as_os_str()), ("BUILDDIR", self.directory.as_os_str())])
            .envs([("PATH", path.join(":").as_str()), ("LANG", "en_US.UTF-8"), ("LC_ALL", "en_US.UTF-8")])
            // Without it MACHINE= of the environment is ignored and nobody says so.
            .env("BB_ENV_PASSTHROUGH_ADDITIONS", "MACHINE DISTRO")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut said = String::new();
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).lines() {
                let line = line.context("the output of bitbake can't be read")?;
                if line.starts_with("WARNING") || line.starts_with("ERROR") {
                    eprintln!("    {line}");
                }
                said += &line;
                said.push('\n');
            }
        }
        let status = child.wait()?;
        let log = self.directory.join("last.log");
        fs::write(&log, &said).with_context(|| format!("{} can't be written", log.display()))?;
        if !status.success() {
            let last: Vec<&str> = said.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            bail!(
                "{} {} failed: {status} (all of its output: {})\n{}",
                program.display(),
                arguments.join(" "),
                log.display(),
                last.join("\n")
            );
        }
        Ok(said)
    }
}

/// The layer behaves beside others: it changes nothing for who does not build our distribution.
fn check_layer(all: &Path) -> anyhow::Result<()> {
    terminal::step("yocto-check-layer");
    let began = Instant::now();
    let layers = [
        all.join("openembedded-core/meta"),
        all.join("meta-openembedded/meta-oe"),
        all.join("meta-openembedded/meta-python"),
        all.join("meta-openembedded/meta-networking"),
        all.join("meta-rauc"),
    ];
    let local = "MACHINE ?= \"qemuarm64\"\nDISTRO = \"nodistro\"\nBB_NO_NETWORK = \"1\"\nCONNECTIVITY_CHECK_URIS = \"\"\n\
                 BB_HASHSERVE = \"\"\nBB_SIGNATURE_HANDLER = \"OEBasicHash\"\nSKIP_META_RAUC_FEATURE_CHECK = \"1\"\n\
                 # All is read three times, so of two thousand recipes that this layer appends nothing to, just those that it needs.\n\
                 BBMASK = \"meta-openembedded/(?!meta-oe/recipes-(crypto/cryptsetup|extended/jansson|support/(libssh|lvm2)|test/cmocka)/\
                           |meta-networking/recipes-filter/(libnftnl|nftables)/)\"\n";
    // It adds the layer itself, and what an earlier run left would count as changed.
    let directory = target().join("yocto/check-layer");
    fs::remove_dir_all(&directory).ok();
    let build = Build::with("check-layer", &layers[..1], local)?;
    let ours = layer().display().to_string();
    let mut arguments = vec![ours.as_str(), "--no-auto-dependency", "--dependency"];
    let layers: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
    arguments.extend(layers.iter().map(String::as_str));
    let said = build.run(all, &all.join("openembedded-core/scripts/yocto-check-layer"), &arguments)?;
    if !said.contains("PASS") || said.contains("FAIL:") {
        bail!("yocto-check-layer did not pass:\n{said}");
    }
    terminal::good(&format!("yocto-check-layer passes, {}", terminal::duration(began.elapsed())));
    Ok(())
}

/// BitBake runs in no other.
fn need_locale() -> anyhow::Result<()> {
    let output = Command::new("locale").arg("-a").output().context("locale does not start")?;
    let has = String::from_utf8_lossy(&output.stdout).lines().any(|line| line.eq_ignore_ascii_case("en_US.utf8"));
    if !has {
        bail!(
            "BitBake needs the locale en_US.UTF-8: install the package locales, then localedef -i en_US -f UTF-8 en_US.UTF-8"
        );
    }
    if !root().join("Cargo.lock").is_file() {
        bail!("{} is no repository of ours", root().display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{CheckArgs, attempted, run};

    #[test]
    fn the_number_of_tasks_is_in_the_summary() {
        let said = "NOTE: a\nNOTE: Tasks Summary: Attempted 5071 tasks of which 0 didn't need to be rerun and all succeeded.\n";
        assert_eq!(attempted(said), Some(5071));
        assert_eq!(attempted("NOTE: nothing"), None);
    }

    #[test]
    fn without_layers_it_says_that_nothing_was_checked() {
        assert!(run(&CheckArgs::default()).unwrap().starts_with("SKIPPED: "));
    }

    #[test]
    fn a_place_without_bitbake_is_refused_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let args = CheckArgs { layers: Some(directory.path().to_owned()), ..CheckArgs::default() };
        let said = run(&args).unwrap_err().to_string();
        assert!(said.contains("bitbake/bin/bitbake") && said.contains("README"), "{said}");
    }
}
