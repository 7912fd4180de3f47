//! `recover` and `export`: work on files, with or without a recorder.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use holdfast_dbus::ErrorCode;
use holdfast_segment::export::{Export, Gaps, Options, Summary, find_segments};
use holdfast_segment::recover::{self, Outcome as Became};
use holdfast_segment::{Error, PART_SUFFIX, Pool};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::args::{self, Global};
use crate::config;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{self, Output};
use crate::resolve;

/// A path that is there, or a session below the storage root.
pub fn locate(global: &Global, out: &Output, word: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(word);
    if path.exists() {
        return Ok(path);
    }
    if word.contains('/') {
        return Err(Failure::usage(format!("{word} does not exist"), "name a file, a directory or a session"));
    }
    let root = match config::load(global, out) {
        Ok(loaded) => loaded.config.storage.root,
        Err(failure) => {
            return Err(Failure::new(
                Exit::Configuration,
                format!(
                    "{word} is no path here, and to look for a session of that name the configuration is needed: {}",
                    failure.message
                ),
                "name the directory instead, or the configuration with --config",
            ));
        }
    };
    resolve::on_disk(&root, word)
}

pub fn recover(global: &Global, out: &Output, path: Option<PathBuf>) -> Outcome {
    let configured = config::load(global, out);
    let path = match (path, &configured) {
        (Some(path), _) => path,
        (None, Ok(loaded)) => loaded.config.storage.root.clone(),
        (None, Err(_)) => return configured.map(|_| Exit::Ok),
    };
    if !path.exists() {
        return Err(Failure::usage(format!("{} does not exist", path.display()), "name a .part file or a directory"));
    }
    let parts = if path.is_dir() { recover::scan_tree(&path)? } else { vec![path.clone()] };
    // Blocks that were never written go back to the pool, where there is one.
    let pool = configured.ok().and_then(|loaded| {
        let root = loaded.config.storage.root;
        let dir = root.join(".holdfast/recycle");
        (dir.is_dir() && path.starts_with(&root)).then(|| Pool::open(&dir).ok()).flatten()
    });
    let (mut done, mut busy, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        match recover::recover(&part, pool.as_ref()) {
            Ok(recovered) => done.push(recovered),
            Err(Error::Busy { path }) => busy.push(path),
            Err(error) => failed.push((part, error)),
        }
    }
    let unrecoverable = done.iter().any(|recovered| matches!(recovered.outcome, Became::Unrecoverable { .. }));
    let failures: Vec<_> = failed
        .iter()
        .map(|(path, error)| json!({ "path": path, "message": error.to_string(), "remedy": error.remedy() }))
        .collect();
    out.result(&json!({ "recovered": done, "busy": busy, "failed": failures }), || {
        let mut lines: Vec<String> = done.iter().map(ToString::to_string).collect();
        lines.extend(busy.iter().map(|path| format!("{}: is being written right now; left alone", path.display())));
        lines.extend(
            failed.iter().map(|(_, error)| format!("{}: {error}\n  help: {}", out.state("error"), error.remedy())),
        );
        if lines.is_empty() {
            lines.push(format!("nothing to recover in {}", path.display()));
        }
        lines.join("\n")
    })?;
    Ok(if !failed.is_empty() || unrecoverable { Exit::Findings } else { Exit::Ok })
}

pub fn export(global: &Global, out: &Output, wanted: &args::Export) -> Outcome {
    let dir = locate(global, out, &wanted.what)?;
    let into_directory = wanted.output.as_deref().is_some_and(Path::is_dir);
    let sources = sources(&dir, &wanted.inputs, into_directory)?;
    let gaps = if wanted.cut_gaps { Gaps::Cut } else { Gaps::Keep };
    let options = Options { gaps, chapters: !wanted.no_chapters };
    let mut results = Vec::new();
    let mut texts = Vec::new();
    let mut damaged = false;
    for source in sources {
        let segments = if source.is_dir() { find_segments(&source)? } else { vec![source.clone()] };
        let plan = Export::plan(&segments, &options)?;
        let summary = plan.summary();
        let name = format!("{}_{}.mp4", summary.session, summary.input);
        let file = match &wanted.output {
            Some(path) if into_directory => path.join(name),
            Some(path) => path.clone(),
            None => PathBuf::from(name),
        };
        room(&file, summary.bytes)?;
        let bar = if out.json {
            ProgressBar::hidden()
        } else {
            bar(summary.bytes, "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left")
        };
        let done = plan.write(&file, |progress| {
            bar.set_position(progress.done_bytes);
            ControlFlow::Continue(())
        });
        bar.finish_and_clear();
        let done = done?;
        damaged |= !summary.damaged.is_empty();
        results.push(
            json!({ "file": file, "bytes": done.bytes, "resumed_bytes": done.resumed_bytes, "summary": summary }),
        );
        texts.push(export_text(out, &file, summary, done.resumed_bytes));
    }
    out.result(&results, || texts.join("\n"))?;
    Ok(if damaged { Exit::Findings } else { Exit::Ok })
}

fn export_text(out: &Output, file: &Path, summary: &Summary, resumed_bytes: u64) -> String {
    let tracks: Vec<String> = summary
        .tracks
        .iter()
        .map(|track| format!("{} {}", track.codecs.join("+"), output::count(track.frames, "frame")))
        .collect();
    let mut text = format!(
        "{}: {}, {} from {} ({})",
        file.display(),
        output::duration(summary.duration_ns / 1000),
        output::bytes(summary.bytes),
        output::count(summary.segments as u64, "segment"),
        tracks.join(", ")
    );
    if resumed_bytes > 0 {
        text.push_str(&format!("\n  went on behind {} of an earlier run", output::bytes(resumed_bytes)));
    }
    for gap in &summary.gaps {
        let became = if gap.kept_ns == 0 { "cut out" } else { "kept" };
        text.push_str(&format!(
            "\n  gap at {}: {} missing, {became}",
            output::duration(gap.at_ns / 1000),
            output::short(gap.missing_ns / 1000)
        ));
    }
    for (at_ns, mark) in &summary.chapters {
        text.push_str(&format!("\n  chapter at {}: {mark}", output::duration(at_ns / 1000)));
    }
    if summary.chapters_left_out > 0 {
        text.push_str(&format!("\n  {} marks are no chapters: the format takes 255", summary.chapters_left_out));
    }
    for damage in &summary.damaged {
        text.push_str(&format!("\n  {}: {damage}; the rest is there", out.state("warning")));
    }
    text
}

/// The directories (or the file) to export: of one input, or of a session those of its inputs.
fn sources(path: &Path, inputs: &[String], several: bool) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() || !find_segments(path)?.is_empty() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let entries = std::fs::read_dir(path).map_err(|error| {
        Failure::failed(format!("{} can't be listed: {error}", path.display()), "check the permissions")
    })?;
    for entry in entries.flatten() {
        let dir = entry.path();
        if dir.is_dir() && !find_segments(&dir)?.is_empty() {
            found.push(dir);
        }
    }
    found.sort();
    let name = |dir: &PathBuf| dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let names: Vec<String> = found.iter().map(name).collect();
    for input in inputs {
        if !names.contains(input) {
            return Err(Failure::refused(
                ErrorCode::UnknownInput,
                format!("there is no footage of input {input} in {}", path.display()),
                format!("its inputs are: {}", names.join(", ")),
            ));
        }
    }
    if !inputs.is_empty() {
        found.retain(|dir| inputs.contains(&name(dir)));
    }
    match found.as_slice() {
        [] => Err(Failure::failed(
            format!("there is no footage in {}", path.display()),
            "name the directory of a session or of an input",
        )),
        [_] => Ok(found),
        _ if several => Ok(found),
        _ => Err(Failure::usage(
            format!("the session has several inputs: {}", names.join(", ")),
            "choose one with --input, or name an existing directory with -o for all of them",
        )),
    }
}

/// Says so before the disk is full, not after.
fn room(file: &Path, bytes: u64) -> Result<(), Failure> {
    let mut part = file.as_os_str().to_owned();
    part.push(PART_SUFFIX);
    let there = std::fs::metadata(&part).map_or(0, |metadata| metadata.len());
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let usage = holdfast_config::root::usage(dir).map_err(|error| {
        Failure::failed(
            format!("{} can't be written to: {error}", dir.display()),
            "name a directory that exists with -o",
        )
    })?;
    let needed = bytes.saturating_sub(there);
    if needed > usage.free_bytes {
        return Err(Failure::failed(
            format!(
                "{} needs {}, and {} are free there",
                file.display(),
                output::bytes(needed),
                output::bytes(usage.free_bytes)
            ),
            "free space, or choose another disk with -o",
        ));
    }
    Ok(())
}

pub fn bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    ProgressStyle::with_template(template).map_or(bar.clone(), |style| bar.with_style(style))
}
