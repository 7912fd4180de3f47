//! `holdfast-capture` with another clock, another patience, and a thread that panics when told to: what tests cannot have of the
//! real one. All else is the real thing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdfast_capture::clock::{self, Wall};
use holdfast_capture::wiring::{self, Tuning};
use holdfast_config::Config;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    config: PathBuf,
    #[arg(long)]
    input: String,
    /// A file with the seconds by which the wall clock is wrong; read at every look.
    #[arg(long)]
    wall_offset: Option<PathBuf>,
    /// See `Tuning::alone`.
    #[arg(long, default_value_t = 60_000)]
    alone_ms: u64,
    /// A thread of that name panics as soon as this file exists.
    #[arg(long)]
    panic_file: Option<PathBuf>,
    #[arg(long)]
    rotation_ms: Option<u64>,
}

fn main() -> ExitCode {
    wiring::abort_on_panic();
    let _log = holdfast_log::begin("info");
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tampered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::load(&arguments.config)?;
    if let Some(rotation_ms) = arguments.rotation_ms {
        config.recording.rotation = Duration::from_millis(rotation_ms);
    }
    let wall = match arguments.wall_offset.clone() {
        None => Wall::default(),
        Some(path) => Wall::new(move || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let seconds: i64 = text.trim().parse().unwrap_or(0);
            clock::wall_ns() + seconds * 1_000_000_000
        }),
    };
    if let Some(path) = arguments.panic_file.clone() {
        std::thread::Builder::new().name("sabotage".to_owned()).spawn(move || {
            while !path.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(!path.exists(), "it was told to panic");
        })?;
    }
    let program = std::env::current_exe()?.parent().map(|examples| examples.with_file_name("holdfast-capture"));
    let tuning = Tuning { alone: Duration::from_millis(arguments.alone_ms), wall };
    wiring::serve(&config, &arguments.input, &program.ok_or("this program is nowhere")?, &tuning)?;
    Ok(())
}
