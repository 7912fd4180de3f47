//! Installs what is missing. Asks nothing; says what it does.

use std::collections::HashSet;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::Args;

use crate::packages::{self, Package};
use crate::{terminal, workspace};

/// Install what is missing.
#[derive(Debug, Default, Args)]
pub struct SetupArgs {
    /// Only tell what is missing; fails if anything is.
    #[arg(long)]
    pub check: bool,
}

pub fn run(args: &SetupArgs) -> anyhow::Result<()> {
    let packages = packages::read(workspace::root())?;
    let Some(installed) = installed()? else {
        terminal::note("this is neither Debian nor Ubuntu: install the equivalents of these packages yourself");
        for package in &packages {
            eprintln!("    {:<36} {}", package.names.join(" | "), package.reason);
        }
        return Ok(());
    };
    let missing = packages::missing(&packages, &installed);
    if missing.is_empty() {
        terminal::good(&format!("all {} packages are installed", packages.len()));
        return Ok(());
    }
    terminal::step("missing packages");
    for package in &missing {
        eprintln!("    {:<36} {}", package.names.join(" | "), package.reason);
    }
    if args.check {
        bail!("{} packages are missing; `cargo xtask setup` installs them", missing.len());
    }
    install(&missing)?;

    let left = packages::missing(&packages, &self::installed()?.unwrap_or_default()).len();
    if left > 0 {
        bail!("{left} packages are still missing after apt-get said that it installed them");
    }
    terminal::good(&format!("{} packages installed", missing.len()));
    Ok(())
}

/// Names of the installed packages and of what they provide, or `None` where there is no dpkg.
fn installed() -> anyhow::Result<Option<HashSet<String>>> {
    let output =
        Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\\t${Package}, ${Provides}\\n"]).output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("dpkg-query does not run"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(Some(
        text.lines()
            .filter_map(|line| line.strip_prefix("installed\t"))
            .flat_map(|names| names.split(','))
            // A provided name may carry a version: "pkg-config (= 1.8.1)".
            .filter_map(|name| name.split_whitespace().next())
            .map(str::to_owned)
            .collect(),
    ))
}

fn install(missing: &[&Package]) -> anyhow::Result<()> {
    let Some(mut apt_get) = AptGet::as_root() else {
        let names: Vec<&str> = missing.iter().filter_map(|package| package.names.first()).map(String::as_str).collect();
        bail!(
            "installing takes root, and sudo wants a password. Run this, then try again:\n\n    \
             sudo apt-get update && sudo apt-get install --no-install-recommends {}\n",
            names.join(" ")
        );
    };
    // A fresh container has no package lists; a machine in use has, and an update would only cost time.
    let names = match choose(missing) {
        Ok(names) => names,
        Err(_) => {
            apt_get.run(&["update"])?;
            choose(missing)?
        }
    };
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(names.iter().map(String::as_str));
    if apt_get.run(&install).is_err() {
        terminal::note("the package lists may be out of date: updating them, then once more");
        apt_get.run(&["update"])?;
        apt_get.run(&install)?;
    }
    Ok(())
}

/// For each package the first name that the release has.
fn choose(missing: &[&Package]) -> anyhow::Result<Vec<String>> {
    missing
        .iter()
        .map(|package| {
            package.names.iter().find(|name| has_candidate(name)).cloned().with_context(|| {
                format!("this release has no package {} (needed: {})", package.names.join(" or "), package.reason)
            })
        })
        .collect()
}

fn has_candidate(name: &str) -> bool {
    Command::new("apt-cache").args(["policy", name]).env("LC_ALL", "C").output().is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .any(|line| line.trim().strip_prefix("Candidate:").is_some_and(|version| version.trim() != "(none)"))
    })
}

/// `apt-get` with the rights to install.
struct AptGet {
    sudo: bool,
}

impl AptGet {
    fn as_root() -> Option<Self> {
        if rustix::process::geteuid().is_root() {
            return Some(Self { sudo: false });
        }
        let sudo = Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        sudo.is_ok_and(|status| status.success()).then_some(Self { sudo: true })
    }

    fn run(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        terminal::step(&format!("apt-get {}", arguments.join(" ")));
        // sudo drops the environment: what must reach apt-get goes through env.
        let mut command = Command::new(if self.sudo { "sudo" } else { "env" });
        if self.sudo {
            command.args(["-n", "env"]);
        }
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "Dpkg::Use-Pty=0"])
            .args(arguments)
            .stdin(Stdio::null());
        // Results go to standard output; this is none.
        let status = command.stdout(std::io::stderr()).status().context("apt-get does not start")?;
        if !status.success() {
            bail!("apt-get {} failed: {status}", arguments.first().unwrap_or(&""));
        }
        Ok(())
    }
}
