//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

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

/// The programs of the house, built.
#[derive(Debug, Clone)]
pub struct Programs {
    directory: PathBuf,
}

impl Programs {
    /// Builds the named packages.
    pub fn build(profile: Profile, packages: &[&str]) -> anyhow::Result<Self> {
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        Self::run_build(profile, ["--bins"].into_iter().chain(packages))
    }

    /// Builds an example of a package, and returns where it is.
    pub fn build_example(profile: Profile, package: &str, example: &str) -> anyhow::Result<PathBuf> {
        let built = Self::run_build(profile, ["--package", package, "--example", example])?;
        Ok(built.directory.join("examples").join(example))
    }

    fn run_build<'a>(profile: Profile, arguments: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut cargo = cargo();
        cargo.arg("build").args(arguments);
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
}
