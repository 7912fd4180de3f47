//! Draws what the lights show into the operator's part of the guide: the picture of every pattern, and the table
//! below it. A test holds both to what the panel does.

mod chart;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match write(&chart::docs()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("draw-patterns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(docs: &Path) -> Result<(), String> {
    let put = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    put(&docs.join(chart::PICTURE), &chart::picture())?;
    let guide = docs.join(chart::GUIDE);
    let text = std::fs::read_to_string(&guide).map_err(|e| format!("{}: {e}", guide.display()))?;
    let new = chart::with_table(&text).ok_or_else(|| format!("{}: {} is missing", guide.display(), chart::BEGIN))?;
    put(&guide, &new)
}
