//! `cargo xtask`: set up, demo, test, ci, bench, bundle, fuzz, soak, install; image, vm, panel, hw, yocto.
//!
//! Nothing here needs GStreamer or anything else that `setup` installs: it has to build on a machine that has only Rust and
//! a C compiler.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod bench;
mod bundle;
mod ci;
mod demo;
mod fuzz;
mod hw;
mod image;
mod install;
mod interrupt;
mod packages;
mod panel;
mod process;
mod rehearsal;
mod rig;
mod setup;
mod soak;
mod terminal;
mod vm;
mod workspace;
mod yocto;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Holdfast's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing on this machine (Debian, Ubuntu).
    Setup(setup::SetupArgs),
    /// Record by the panel's button, kill a capture in the middle, and account for every frame.
    Demo(demo::DemoArgs),
    /// Measure: copy, wear, scale, start, rotate, bus, update, powercut.
    Bench(bench::BenchArgs),
    /// Make, sign and look into update bundles.
    Bundle(bundle::BundleArgs),
    /// Fuzz the parsers and protocols.
    Fuzz(fuzz::FuzzArgs),
    /// Build the virtual appliance: a disk that boots in QEMU, and an update bundle.
    Image(image::ImageArgs),
    /// Run the hardware suites on the virtual appliance, or on a board.
    Hw(hw::HwArgs),
    /// Boot the virtual appliance in this terminal.
    Vm(vm::VmArgs),
    /// Install what was built below a directory, as a package does.
    Install(install::InstallArgs),
    /// Try to harm a recording: one fault after the other, or for long at random.
    Soak(soak::SoakArgs),
    /// The Yocto layer: its generated files, its linters, and whether it resolves.
    Yocto(yocto::YoctoArgs),
    /// The same as `yocto generate`: crates and files for the recipes.
    YoctoCrates,
    /// Run all tests.
    Test(ci::TestArgs),
    /// Run what CI runs: format, lints, licences, build, tests, demo, a short bench.
    Ci(ci::CiArgs),
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Setup(args) => setup::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Bundle(args) => bundle::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Hw(args) => hw::run(&args),
        Command::Vm(args) => vm::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Yocto(args) => yocto::run(&args),
        Command::YoctoCrates => yocto::generate(),
        Command::Test(args) => ci::test(&args),
        Command::Ci(args) => ci::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
