//! Our own programs for the appliance's processor, against the libraries of its release.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::{Apt, Deb};
use super::tools::{output, run};
use crate::workspace::{cargo, root, target};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Of Cargo.toml: as a release, less what only costs time.
const PROFILE: &str = "appliance";
const COMPILER: &str = "aarch64-linux-gnu-gcc";
/// What our programs are built against.
pub const PACKAGES: [&str; 4] =
    ["libgstreamer1.0-dev", "libgstreamer-plugins-base1.0-dev", "libc6-dev", "libgcc-14-dev"];

/// Unpacks headers and libraries.
pub fn sysroot(apt: &Apt, debs: &[Deb], into: &Path) -> anyhow::Result<()> {
    for directory in ["bin", "lib", "sbin"] {
        fs::create_dir_all(into.join("usr").join(directory))?;
        symlink(format!("usr/{directory}"), into.join(directory))?;
    }
    let without = ["usr/share/doc/*", "usr/share/locale/*", "usr/share/gir-1.0/*", "usr/share/icons/*"];
    let without = without.map(str::to_owned);
    debs.iter().try_for_each(|deb| apt.unpack(deb, into, &without))
}

/// Builds packages, and says where their programs are.
pub fn build(sysroot: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    standard_library()?;
    let pkg_config = ["usr/lib/aarch64-linux-gnu/pkgconfig", "usr/share/pkgconfig"];
    let pkg_config = pkg_config.map(|path| sysroot.join(path).display().to_string()).join(":");
    let variable = TARGET.replace('-', "_");
    let upper = variable.to_uppercase();
    let in_sysroot = format!("--sysroot={}", sysroot.display());
    let mut command = cargo();
    command
        .args(["build", "--profile", PROFILE, "--bins", "--target", TARGET])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .env("PKG_CONFIG_ALLOW_CROSS", "1")
        .env("PKG_CONFIG_SYSROOT_DIR", sysroot)
        .env("PKG_CONFIG_LIBDIR", pkg_config)
        .env(format!("CARGO_TARGET_{upper}_LINKER"), COMPILER)
        .env(format!("CARGO_TARGET_{upper}_RUSTFLAGS"), format!("-Clink-arg={in_sysroot}"))
        .env(format!("CC_{variable}"), COMPILER)
        .env(format!("CFLAGS_{variable}"), in_sysroot);
    let status = command.status().context("cargo does not start")?;
    if !status.success() {
        bail!("the programs can't be built for {TARGET} (see above)");
    }
    Ok(target().join(TARGET).join(PROFILE))
}

/// Sees to it that Rust's standard library for the target is there: rustup has it.
pub fn standard_library() -> anyhow::Result<()> {
    let libraries =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(root()))?;
    let there = fs::read_dir(libraries.trim()).is_ok_and(|mut entries| entries.next().is_some());
    if there {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", TARGET]).current_dir(root())).with_context(|| {
        format!(
            "Rust's standard library for {TARGET} is not there, and rustup can't get it; where Rust is not rustup's, install \
             the distribution's package of it"
        )
    })
}
