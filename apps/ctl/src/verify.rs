//! `verify`: reads all footage, with or without a recorder, and looks for what is not there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_segment::PART_SUFFIX;
use holdfast_segment::verify::{self, Finding, SessionReport, Severity};
use serde_json::json;

use crate::args::Global;
use crate::decode;
use crate::failure::{Exit, Failure, Outcome};
use crate::footage::{bar, locate};
use crate::output::{self, Output};

mod journal;

use journal::{Told, has_journal};

/// How often names are read again at most: each time a file would have to be closed just then.
const LOOKS: usize = 5;

/// How thoroughly.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Warnings count.
    pub strict: bool,
    /// Pictures are decoded.
    pub decode: bool,
}

/// Verifies what is there, and holds it against what the sessions' journals say should be.
pub fn run(global: &Global, out: &Output, what: &[String], how: How) -> Outcome {
    let places = what.iter().map(|word| locate(global, out, word)).collect::<Result<Vec<_>, _>>()?;
    let mut found = Found::at(&places)?;
    // A recording that closes a file while names are read may hide both of its names: until two looks agree.
    for _ in 0..LOOKS {
        let before = std::mem::replace(&mut found, Found::at(&places)?);
        if before == found {
            break;
        }
    }
    let Found { paths, journals } = found;
    if paths.is_empty() && journals.is_empty() {
        return Err(Failure::failed(
            "there are no segments to verify",
            "name segment files, or a directory that holds some",
        ));
    }
    let report = verify_with_progress(&paths, out);
    // Afterwards: while files were read, retention may have deleted some.
    let journals: Vec<_> = journals.iter().map(|(dir, input)| Told::by(dir, input.as_deref())).collect();
    let missing: Vec<&Finding> = journals.iter().flat_map(|told| &told.findings).collect();
    let given_up: Vec<_> = journals.iter().flat_map(Told::given_up_json).collect();
    let decoded = how.decode.then(|| decode::decode(global, out, &paths)).transpose()?;
    let undecodable = decoded.as_ref().map(decode::Decoded::findings).unwrap_or_default();
    let findings: Vec<_> = report.findings().chain(missing).chain(&undecodable).collect();
    let worst = findings.iter().map(|finding| finding.severity).max();
    let ok = worst < Some(if how.strict { Severity::Warning } else { Severity::Error });
    let mut document = json!({ "ok": ok, "findings": findings, "report": report, "given_up": given_up });
    if let (Some(decoded), Some(document)) = (&decoded, document.as_object_mut()) {
        document.insert("decoded".to_owned(), json!(decoded.files));
    }
    out.result(&document, || {
        let mut text = String::new();
        for input in &report.inputs {
            text.push_str(&format!(
                "{} {}: {}, {} of all tracks, {}, {} of gaps on record ({} lost)\n",
                input.session,
                input.input,
                output::count(input.files.len() as u64, "file"),
                output::count(input.frames, "frame"),
                output::duration(input.duration_ns / 1000),
                output::short(input.gap_ns / 1000),
                output::count(input.frames_lost, "frame"),
            ));
        }
        text.extend(journals.iter().map(Told::given_up_text));
        if let Some(decoded) = &decoded {
            text.push_str(&decoded.sums());
        }
        for finding in &findings {
            let word = match finding.severity {
                Severity::Note => "note",
                Severity::Warning => "warning",
                Severity::Error => "error",
            };
            text.push_str(&format!(
                "{}: {}, byte {}: {}\n",
                out.state(word),
                finding.path.display(),
                finding.offset,
                finding.what
            ));
            if finding.severity > Severity::Note && !finding.remedy.is_empty() {
                text.push_str(&format!("  help: {}\n", finding.remedy));
            }
        }
        text.push_str(&match ok {
            true if journals.is_empty() => {
                format!("{}: what is there is whole and accounted for", out.state("ok"))
            }
            true => format!("{}: all that was recorded is there, whole and accounted for", out.state("ok")),
            false => format!("{}: not all is well", out.state("fail")),
        });
        text
    })?;
    Ok(if ok { Exit::Ok } else { Exit::Findings })
}

/// Verification reads every byte: on a terminal it shows how far it is.
fn verify_with_progress(paths: &[PathBuf], out: &Output) -> SessionReport {
    if out.json {
        return verify::verify_files(paths);
    }
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let bar = bar(paths.iter().map(|path| size(path)).sum(), "{bar:30} {percent} %, {msg}, {eta} left");
    let mut files = 0;
    let mut tell = |bytes| {
        bar.set_message(format!("{files} of {}", output::count(paths.len() as u64, "file")));
        bar.inc(bytes);
        files += 1;
    };
    tell(0);
    let report = verify::verify_files_with(paths, |file| tell(size(&file.path)));
    bar.finish_and_clear();
    report
}

/// What there is to verify.
#[derive(Default, PartialEq)]
struct Found {
    /// Segment files.
    paths: Vec<PathBuf>,
    /// Directories of sessions with a journal, and of which input alone, if not of all.
    journals: BTreeSet<(PathBuf, Option<String>)>,
}

impl Found {
    fn at(places: &[PathBuf]) -> Result<Self, Failure> {
        let mut found = Self::default();
        places.iter().try_for_each(|place| found.look(place))?;
        found.paths.sort();
        found.paths.dedup();
        Ok(found)
    }

    /// A file, or all that is below a directory.
    fn look(&mut self, path: &Path) -> Result<(), Failure> {
        if !path.is_dir() {
            self.paths.push(path.to_owned());
            return Ok(());
        }
        // The directory of one input: the journal is beside it. Through its real name, as it may be `.`.
        if let Ok(real) = path.canonicalize()
            && let (Some(session), Some(input)) = (real.parent(), real.file_name())
            && has_journal(session)
        {
            self.journals.insert((session.to_owned(), Some(input.to_string_lossy().into_owned())));
        }
        self.below(path)
    }

    fn below(&mut self, dir: &Path) -> Result<(), Failure> {
        if has_journal(dir) {
            self.journals.insert((dir.to_owned(), None));
        }
        let fail = |error: std::io::Error| {
            Failure::failed(format!("{} can't be listed: {error}", dir.display()), "check the path and the permissions")
        };
        for entry in std::fs::read_dir(dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type().map_err(fail)?.is_dir() {
                if !name.starts_with('.') {
                    self.below(&entry.path())?;
                }
            } else if name.strip_suffix(PART_SUFFIX).unwrap_or(&name).ends_with(".mp4") {
                self.paths.push(entry.path());
            }
        }
        Ok(())
    }
}
