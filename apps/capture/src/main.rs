//! The data plane of Holdfast: one input, from source to safe bytes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_capture::encoders::{self, Job};
use holdfast_capture::source::needs;
use holdfast_capture::{decode, priority, probe, wiring};
use holdfast_config::Config;

#[derive(Debug, Parser)]
#[command(name = "holdfast-capture", version, about = "Records one input of Holdfast")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Task>,
    /// The configuration.
    #[arg(long, env = "HOLDFAST_CONFIG", default_value = holdfast_config::DEFAULT_PATH)]
    config: PathBuf,
    /// The input to serve, as the configuration names it.
    #[arg(long)]
    input: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Shows which encoders work on this box.
    ProbeEncoders {
        /// For programs.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        picture: PictureArguments,
    },
    /// Shows which GStreamer elements the configured inputs need and this box lacks.
    ProbeElements {
        /// For programs.
        #[arg(long)]
        json: bool,
    },
    /// Shows whether an input's source can be reached, as one line of JSON. Begins nothing, and takes 1.5 s at most. Fails if it
    /// can't, and does not look while a capture serves the input.
    ProbeInput {
        /// The input, as the configuration names it.
        name: String,
        /// Leaves the answer in the runtime directory, too: the recorder looks for it there.
        #[arg(long)]
        keep: bool,
    },
    /// Decodes footage and compares it with its index, frame for frame. Prints lines of JSON: {"progress": BYTES}, and at the end
    /// the answer. Fails if something is wrong.
    Decode {
        /// Segment files, or directories of sessions and inputs.
        #[arg(required_unless_present = "job", value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Only so much of each input's end.
        #[arg(long, value_name = "SECONDS")]
        last_seconds: Option<u64>,
        /// When to be done.
        #[arg(long, value_name = "SECONDS", default_value_t = 7 * 86_400)]
        within_seconds: u64,
        /// Instead of all these: what the recorder has left under this name in the runtime directory. The answer is left beside it.
        #[arg(long, hide = true, conflicts_with = "paths")]
        job: Option<String>,
    },
    /// Tries one encoder; what other tasks run as a child with a deadline.
    #[command(hide = true)]
    ProbeEncoder {
        /// A name from the table.
        name: String,
        #[command(flatten)]
        picture: PictureArguments,
    },
}

#[derive(Debug, clap::Args)]
struct PictureArguments {
    /// Pixels.
    #[arg(long, default_value_t = 1280)]
    width: u32,
    /// Pixels.
    #[arg(long, default_value_t = 720)]
    height: u32,
    /// Pictures per second.
    #[arg(long, default_value_t = 30)]
    framerate: u32,
    /// Target bit rate.
    #[arg(long, default_value_t = 4000)]
    bitrate_kbps: u32,
}

impl PictureArguments {
    fn job(&self) -> Job {
        Job { width: self.width, height: self.height, framerate: self.framerate, bitrate_kbps: self.bitrate_kbps }
    }
}

fn main() -> ExitCode {
    wiring::abort_on_panic();
    let _log = holdfast_log::begin("info");
    let arguments = Arguments::parse();
    if let Some(Task::ProbeInput { name, keep }) = &arguments.command {
        return probe_input(&arguments.config, name, *keep);
    }
    if let Some(Task::Decode { paths, last_seconds, within_seconds, job }) = arguments.command {
        priority::lower_most();
        let decoded = match job {
            Some(job) => decode::run_job(&arguments.config, &job).map(|()| true),
            None => decode_all(paths, last_seconds, within_seconds),
        };
        return told(decoded);
    }
    let result = match (arguments.command, arguments.input) {
        (Some(Task::ProbeEncoder { name, picture }), _) => probe_one(&name, &picture.job()),
        (Some(Task::ProbeEncoders { json, picture }), _) => probe_all(json, &picture.job()),
        (Some(Task::ProbeElements { json }), _) => probe_elements(&arguments.config, json),
        (Some(Task::ProbeInput { .. } | Task::Decode { .. }), _) => Ok(()),
        (None, Some(input)) => wiring::run(&arguments.config, &input).map_err(Into::into),
        (None, None) => Err("say which input: --input NAME".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("holdfast-capture: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Nothing could be looked at, which says nothing about the source.
const TROUBLE: u8 = 2;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn probe_one(name: &str, job: &Job) -> Outcome {
    // Nobody's recording waits for a probe.
    priority::lower();
    gstreamer::init()?;
    let evidence = probe::try_encoder(encoders::row(name)?, job);
    println!("{}", serde_json::to_string(&evidence)?);
    Ok(())
}

fn probe_input(config: &Path, name: &str, keep: bool) -> ExitCode {
    priority::lower_most();
    let found = wiring::look(config, name, keep).map_err(Into::into);
    told(found.and_then(|found| {
        println!("{}", serde_json::to_string(&found)?);
        Ok::<_, Box<dyn std::error::Error>>(found.reachable == Some(true))
    }))
}

fn decode_all(
    paths: Vec<PathBuf>,
    last_seconds: Option<u64>,
    within_seconds: u64,
) -> Result<bool, Box<dyn std::error::Error>> {
    let within_ms = within_seconds.saturating_mul(1000);
    let request = decode::Request { paths, last_seconds, within_ms, numbered: Vec::new() };
    let answer = decode::run(&request, |bytes| println!("{{\"progress\":{bytes}}}"))?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(answer.is_well())
}

/// How a look that may find something wrong ends.
fn told(well: Result<bool, Box<dyn std::error::Error>>) -> ExitCode {
    match well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("holdfast-capture: {error}");
            ExitCode::from(TROUBLE)
        }
    }
}

fn probe_elements(config: &Path, json: bool) -> Outcome {
    let config = Config::load(config)?;
    gstreamer::init()?;
    let found: Vec<_> = config.inputs.iter().map(|input| (&input.name, needs::missing(input))).collect();
    if json {
        let rows: Vec<_> =
            found.iter().map(|(input, missing)| serde_json::json!({ "input": input, "missing": missing })).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    for (input, missing) in found {
        if missing.is_empty() {
            println!("{input}: all elements are installed");
        }
        for needs::Missing { element, package, costs } in missing {
            let or_else = match costs {
                needs::Costs::Recording => "",
                needs::Costs::Sound => ", and without it there is no sound",
            };
            println!("{input}: {element} is not installed; it comes with {package}{or_else}");
        }
    }
    Ok(())
}

fn probe_all(json: bool, job: &Job) -> Outcome {
    gstreamer::init()?;
    // Asked by a person: found out anew, nothing is kept.
    let scratch = std::env::temp_dir().join(format!("holdfast-probe-{}", std::process::id()));
    let probe = probe::Probe::new(std::env::current_exe()?, &scratch);
    let mut found = Vec::new();
    for row in encoders::TABLE {
        let evidence = row.is_installed().then(|| probe.evidence(row, job));
        if json {
            found.push(serde_json::json!({
                "encoder": row.element,
                "codec": row.codec,
                "installed": evidence.is_some(),
                "works": evidence.as_ref().is_some_and(probe::Evidence::works),
                "evidence": evidence,
                "package": row.package,
            }));
            continue;
        }
        let line = match &evidence {
            None => format!("not installed; it comes with {}", row.package),
            Some(evidence) if evidence.works() => match &evidence.decoder {
                Some(decoder) => format!("works ({} pictures came back through {decoder})", evidence.frames),
                None => format!("works ({} pictures; this box has no decoder to check them)", evidence.frames),
            },
            Some(evidence) => {
                format!("does not work: {}", evidence.error.as_deref().unwrap_or("too few pictures came back"))
            }
        };
        println!("{:<14} {line}", row.element);
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    }
    Ok(())
}
