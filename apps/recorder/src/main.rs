//! The control plane of Holdfast: sessions, supervision, storage, D-Bus.
//!
//! It owns no footage and is in nobody's way: captures record without it, and it finds them again when it comes back.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod alerts;
mod bus;
mod captures;
mod checking;
mod clock;
mod engine;
mod facade;
mod failsafe;
mod gauge;
mod guard;
mod health;
mod ids;
mod inhibit;
mod leases;
mod lessor;
mod meter;
mod metrics;
mod pressure;
mod probing;
mod reports;
mod resume;
mod retention;
mod session;
mod startup;
mod storage;
mod store;
mod tasks;
mod wiring;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use holdfast_config::Config;
use tracing::error;

/// Records from cameras and inputs, driven over D-Bus (org.holdfast.Recorder1).
#[derive(Debug, Parser)]
#[command(name = "holdfast-recorder", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, env = "HOLDFAST_CONFIG", default_value = holdfast_config::DEFAULT_PATH)]
    config: PathBuf,
    /// Where the kernel tells how hard the box is pressed.
    #[arg(long, default_value = "/proc", hide = true)]
    proc: PathBuf,
    /// The same.
    #[arg(long, default_value = "/sys", hide = true)]
    sys: PathBuf,
    /// Note how systemd says that the recorder has ended, and do nothing else. For `ExecStopPost=`.
    #[arg(long, hide = true)]
    note_end: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let _log = holdfast_log::begin("info,zbus=warn");
    // systemd starts the next recorder, which finds the captures as they are.
    holdfast_log::end_on_panic(|_| {});
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(mistakes) => {
            // For people at a terminal; the journal takes it line by line just as well.
            eprintln!("{mistakes}");
            error!("the configuration is not usable");
            return ExitCode::from(78); // EX_CONFIG of sysexits.h: systemd shows it as "config".
        }
    };
    if arguments.note_end {
        startup::evidence::note_end(&config.recorder.state_dir);
        return ExitCode::SUCCESS;
    }
    let runtime_dir = config.recorder.runtime_dir.clone();
    holdfast_log::end_on_panic(move |panic| startup::evidence::note_panic(&runtime_dir, panic));
    // One thread is plenty for control; what reads or writes a disk runs on threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(failure) => {
            error!("no runtime: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let roots = gauge::Roots { proc: arguments.proc, sys: arguments.sys };
    let result = runtime.block_on(wiring::run(config, &arguments.config, roots));
    // A disk that does not answer must not keep the process from ending.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            ExitCode::FAILURE
        }
    }
}
