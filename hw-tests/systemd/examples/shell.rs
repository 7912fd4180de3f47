//! Boots a rig with what is built installed in it, and opens a shell there: to try units, policies and `busctl` by hand.
//!
//! `sudo -E cargo run --package holdfast-systemd-tests --example shell [TREE…]`, where the contents of each TREE are laid over it.

use std::path::PathBuf;
use std::process::ExitCode;

use holdfast_systemd_tests::{Rig, install, possible};

fn main() -> ExitCode {
    if !possible() {
        return ExitCode::FAILURE;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            holdfast_aloud::say(error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let installed = tempfile::tempdir()?;
    install(installed.path())?;
    let mut trees = vec![installed.path().to_owned()];
    trees.extend(std::env::args_os().skip(1).map(PathBuf::from));
    let trees: Vec<_> = trees.iter().map(PathBuf::as_path).collect();
    let rig = Rig::boot(&trees, None)?;
    rig.shell()?;
    Ok(())
}
