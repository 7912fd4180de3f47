//! `cargo xtask yocto`: the Yocto layer's generated files, its linters, and whether it resolves with the real layers.

mod check;
mod generate;
mod layers;
mod lint;
#[cfg(test)]
mod slot;
#[cfg(test)]
mod tegra;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::workspace::root;

pub use check::CheckArgs;

/// The layer, in the repository.
pub const LAYER: &str = "yocto-layer";
/// The compiler of the series, `wrynose`: what is built for a board is built with it.
#[cfg(test)]
const SERIES_RUST: &str = "1.94.1";

#[derive(Debug, Args)]
pub struct YoctoArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write what recipes take from Cargo.lock and from the table of what goes where: before each build, and after each change of them.
    #[command(alias = "crates", alias = "files")]
    Generate,
    /// Run oelint-adv, yamllint and kas's schema over the layer.
    Lint,
    /// Resolve images and bundles for all boards with the real layers, and run yocto-check-layer. Fetches and builds nothing.
    Check(CheckArgs),
}

pub fn run(args: &YoctoArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Generate => generate::run(),
        Command::Lint => lint::run().map(|_| ()),
        Command::Check(args) => check::run(args).map(|_| ()),
    }
}

/// Writes what recipes include.
pub fn generate() -> anyhow::Result<()> {
    generate::run()
}

/// As CI runs it: the linters, and the real layers where they are at hand.
pub fn sanity() -> anyhow::Result<String> {
    let lint = lint::run()?;
    let layers = std::env::var_os("HOLDFAST_YOCTO_LAYERS").map(PathBuf::from);
    let check = check::run(&CheckArgs { layers, ..CheckArgs::default() })?;
    Ok(format!("{lint}; {check}"))
}

fn layer() -> PathBuf {
    root().join(LAYER)
}
