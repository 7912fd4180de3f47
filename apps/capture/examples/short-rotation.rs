//! `holdfast-capture` with files as short as one likes: the configuration allows no rotation below a minute, and rightly so,
//! but `cargo xtask bench rotate` wants to see hundreds of them. All but that one value is the real thing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdfast_capture::wiring::{self, Tuning};
use holdfast_config::Config;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    input: String,
    #[arg(long)]
    rotation_ms: u64,
}

fn main() -> ExitCode {
    wiring::abort_on_panic();
    let _log = holdfast_log::begin("info");
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("short-rotation: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::load(&arguments.config)?;
    config.recording.rotation = Duration::from_millis(arguments.rotation_ms);
    // The real program, which probes encoders, stands one directory above the examples.
    let program = std::env::current_exe()?.parent().map(|examples| examples.with_file_name("holdfast-capture"));
    wiring::serve(&config, &arguments.input, &program.ok_or("this program is nowhere")?, &Tuning::default())?;
    Ok(())
}
