//! Where things are.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::terminal;

/// The directory of the workspace.
pub fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cargo, run in the workspace's directory.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// How programs are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// As tests are: quick to build.
    Dev,
    /// As on a box: for figures.
    Release,
}

/// All programs, built when the first that needs them asks; not every bench does.
#[derive(Debug)]
pub struct Built {
    profile: Profile,
    programs: OnceCell<Programs>,
}

impl Built {
    pub fn when_wanted(profile: Profile) -> Self {
        Self { profile, programs: OnceCell::new() }
    }

    pub fn get(&self) -> anyhow::Result<&Programs> {
        if let Some(programs) = self.programs.get() {
            return Ok(programs);
        }
        let programs = Programs::build_all(self.profile)?;
        Ok(self.programs.get_or_init(|| programs))
    }
}

/// What benches and soaks take their programs from.
const MEASURED: [&str; 7] = [
    "holdfast-recorder",
    "holdfast-capture",
    "holdfast-ctl",
    "holdfast-panel",
    "holdfast-simcam",
    "holdfast-powercut",
    "holdfast-updater",
];
/// The capture that rotates by the second, and so has to be built beside the real one.
const SHORT_ROTATION: &str = "short-rotation";

/// The programs of the house, built.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Builds the named packages.
    pub fn build(profile: Profile, packages: &[&str]) -> anyhow::Result<Self> {
        Self::run_build(profile, packages, &["--bins"])
    }

    /// Builds all that benches and soaks run, and says so: it takes minutes the first time, and whoever waits for a figure should
    /// know for what.
    ///
    /// Always the same packages in one call. Cargo picks the features of shared dependencies by what is built together, so that
    /// each other set of packages compiles half of them, and all that depends on them, once more.
    pub fn build_all(profile: Profile) -> anyhow::Result<Self> {
        terminal::step(match profile {
            Profile::Dev => "building what is run",
            Profile::Release => "building what is run, as on a box (minutes, the first time)",
        });
        let began = Instant::now();
        let built = Self::run_build(profile, &MEASURED, &["--bins", "--example", SHORT_ROTATION])?;
        terminal::good(&format!("built in {}", terminal::duration(began.elapsed())));
        Ok(built)
    }

    fn run_build(profile: Profile, packages: &[&str], targets: &[&str]) -> anyhow::Result<Self> {
        let mut cargo = cargo();
        cargo.arg("build").args(targets).args(packages.iter().flat_map(|package| ["--package", package]));
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        let status = cargo.status().context("cargo does not start")?;
        if !status.success() {
            bail!("the build failed (see above); `cargo xtask setup` installs what a build needs");
        }
        let directory = target().join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        });
        Ok(Self { directory })
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Where all of them are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The capture that rotates by the second. Only [`Programs::build_all`] builds it.
    pub fn short_rotation(&self) -> PathBuf {
        self.directory.join("examples").join(SHORT_ROTATION)
    }
}
