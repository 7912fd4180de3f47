//! Shell completions and man pages.

use std::path::Path;

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;

pub fn completions(out: &Output, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    out.say(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Ok)
}

pub fn man(out: &Output, directory: Option<&Path>) -> Outcome {
    let fail = |error: std::io::Error| {
        Failure::failed(format!("the man page can't be written: {error}"), "check the directory")
    };
    if let Some(directory) = directory {
        std::fs::create_dir_all(directory).map_err(fail)?;
        clap_mangen::generate_to(Cli::command(), directory).map_err(fail)?;
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(fail)?;
    out.say(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Ok)
}
