//! The command line of Holdfast.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod alerts;
mod args;
mod background;
mod bus;
mod config;
mod control;
mod decode;
mod doctor;
mod failure;
mod footage;
mod generate;
mod lease;
mod output;
mod recovery;
mod resolve;
mod sessions;
mod snapshot;
mod update;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use failure::{Failure, Outcome};
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let out = Output::new(&cli.global);
    match run(cli, &out) {
        Ok(exit) => exit.code(),
        Err(failure) => {
            out.failure(&failure);
            failure.exit.code()
        }
    }
}

fn run(cli: Cli, out: &Output) -> Outcome {
    let Cli { global, command } = cli;
    match command {
        Command::Verify { what, strict, decode } => {
            background::give_way();
            verify::run(&global, out, &what, verify::How { strict, decode })
        }
        Command::Recover { path } => footage::recover(&global, out, path),
        Command::Export(wanted) => {
            background::give_way();
            footage::export(&global, out, &wanted)
        }
        Command::Config { command } => config::run(&global, out, command),
        Command::Alerts { codes: true, .. } => alerts::codes(out),
        Command::Completions { shell } => generate::completions(out, shell),
        Command::Man { out: directory } => generate::man(out, directory.as_deref()),
        on_bus => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| Failure::failed(format!("no runtime: {error}"), "the system is out of resources"))?;
            runtime.block_on(async {
                match on_bus {
                    Command::Status => watch::status(&global, out).await,
                    Command::Watch { count, interval } => watch::watch(&global, out, count, interval).await,
                    Command::Inputs => watch::inputs(&global, out).await,
                    Command::Alerts { all, follow, .. } => alerts::run(&global, out, all, follow).await,
                    Command::Start(start) => control::start(&global, out, start).await,
                    Command::Stop { session } => control::stop(&global, out, session).await,
                    Command::Mark { text } => control::mark(&global, out, &text.join(" ")).await,
                    Command::Arm { inputs } => control::arm(&global, out, &inputs, true).await,
                    Command::Disarm { inputs } => control::arm(&global, out, &inputs, false).await,
                    Command::Recovery { command } => recovery::run(&global, out, command).await,
                    Command::Sessions { limit } => sessions::list(&global, out, limit).await,
                    Command::Show { session } => sessions::show(&global, out, &session).await,
                    Command::Protect { session } => control::protect(&global, out, &session, true).await,
                    Command::Unprotect { session } => control::protect(&global, out, &session, false).await,
                    Command::Leases { command } => lease::run(&global, out, command).await,
                    Command::Lease(wanted) => lease::command(&global, out, &wanted).await,
                    Command::Update { command } => update::run(&global, out, command).await,
                    _ => doctor::run(&global, out).await,
                }
            })
        }
    }
}
