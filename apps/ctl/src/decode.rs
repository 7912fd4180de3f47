//! `verify --decode`: every picture, through a decoder, by processes of the capture program: a decoder may crash.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_segment::decoded::{Answer, DecodedFile};
use holdfast_segment::verify::{Finding, Severity};
use serde::Deserialize;

use crate::args::Global;
use crate::config;
use crate::doctor::find_capture;
use crate::failure::Failure;
use crate::footage::bar;
use crate::output::{self, Output};

/// Where there is no configuration.
const PROGRAM: &str = "holdfast-capture";
/// So many files share a process.
const FILES_AT_A_TIME: usize = 200;

/// A line of the program that decodes.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Line {
    Progress { progress: u64 },
    Answer(Answer),
}

/// What decoding has found.
pub struct Decoded {
    /// In each file.
    pub files: Vec<DecodedFile>,
}

impl Decoded {
    /// What is wrong, and what nobody could look at.
    pub fn findings(&self) -> Vec<Finding> {
        let finding = |severity, file: &DecodedFile, what: String, remedy: &str| Finding {
            severity,
            path: file.path.clone(),
            offset: 0,
            what,
            remedy: remedy.to_owned(),
        };
        let mut findings = Vec::new();
        for file in &self.files {
            if let Some(fault) = &file.fault {
                let what = format!(
                    "decoded ({} of {}): {}",
                    fault.kind.name(),
                    output::count(file.faults, "fault"),
                    fault.text
                );
                let remedy = "if its digests are right, this is what was recorded: look at the camera and the encoder of that time";
                findings.push(finding(Severity::Error, file, what, remedy));
            }
            for why in &file.undecoded {
                let what = format!("not all of it was decoded: {why}");
                findings.push(finding(
                    Severity::Warning,
                    file,
                    what,
                    "install it, or verify a copy where it is installed",
                ));
            }
        }
        findings
    }

    /// For people.
    pub fn sums(&self) -> String {
        let sum = |of: fn(&DecodedFile) -> u64| self.files.iter().map(of).fold(0, u64::saturating_add);
        let decoders: BTreeSet<&str> = self.files.iter().flat_map(|file| &file.decoders).map(String::as_str).collect();
        let by = if decoders.is_empty() {
            "nothing".to_owned()
        } else {
            decoders.into_iter().collect::<Vec<_>>().join(", ")
        };
        format!(
            "decoded by {by}: {} gave {} ({} with a number), {} of sound\n",
            output::count(sum(|file| file.frames), "frame"),
            output::count(sum(|file| file.pictures), "picture"),
            sum(|file| file.numbered),
            output::count(sum(|file| file.packets), "packet"),
        )
    }
}

/// Decodes these files.
pub fn decode(global: &Global, out: &Output, paths: &[PathBuf]) -> Result<Decoded, Failure> {
    // Files can be verified on any machine: without a configuration the program is where it usually is.
    let program = config::load(global, out)
        .map_or_else(|_| PathBuf::from(PROGRAM), |loaded| loaded.config.recorder.capture_program);
    let program = find_capture(&program).ok_or_else(|| {
        Failure::failed(
            format!("{} is not found, and it is what decodes", program.display()),
            "install it beside this program or in PATH, or set recorder.capture_program to where it is",
        )
    })?;
    let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bar = bar(paths.iter().map(size).sum(), "{bar:30} {percent} % decoded, {eta} left");
    let mut files = Vec::new();
    for paths in paths.chunks(FILES_AT_A_TIME) {
        files.extend(some(&program, paths, |bytes| {
            if !out.json {
                bar.inc(bytes);
            }
        })?);
    }
    bar.finish_and_clear();
    Ok(Decoded { files })
}

fn some(program: &Path, paths: &[PathBuf], mut progress: impl FnMut(u64)) -> Result<Vec<DecodedFile>, Failure> {
    let failed = |what: String| {
        let remedy = format!("see what `{} decode FILE` says, file by file", program.display());
        Failure::failed(format!("{}: {what}", program.display()), remedy)
    };
    let child = Command::new(program).arg("decode").args(paths).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    let mut answer = None;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(|lines| lines.lines()) {
        match line.map(|line| serde_json::from_str(&line)) {
            Ok(Ok(Line::Progress { progress: bytes })) => progress(bytes),
            Ok(Ok(Line::Answer(found))) => answer = Some(found.files),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    answer.ok_or_else(|| failed(format!("it gave no answer, and ended with {status}")))
}
