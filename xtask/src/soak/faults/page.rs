//! docs/faults.md, made from what was measured.

use std::fmt::Write as _;

use anyhow::Context;

use super::row::Row;
use super::stage::FPS;
use crate::workspace::root;

const HEAD: &str = "# What may go wrong, and what it costs

Made by `cargo xtask soak faults` from what it measured; don't edit. Each row is a recording of numbered pictures to which
something is done. *Noticed*: from the fault to the alert of that name, or to what the row says. *Recovered*: to the next safe
frame, from the fault, or, where something outside has to be mended first, from then. *Lost*: counted from the numbers in the
pictures that are on disk; each of them stands in a ledger with its reason, and none may be *unaccounted* for. In rows with a camera
or a failing encoder a second input runs beside, which may lose nothing. Where something was tried several times, the times are
the 95th percentile and the frames those of the worst. There is no index that could be corrupt: the files explain themselves.

";

pub fn write(rows: &[Row]) -> anyhow::Result<()> {
    let mut text = HEAD.to_owned();
    writeln!(text, "Pictures come at {FPS} a second. A bound follows each figure, behind the ≤.\n")?;
    writeln!(text, "| fault | what is done | what Holdfast does | alert | noticed | recovered | frames lost | |")?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        writeln!(text, "{}", line(row))?;
    }
    write!(text, "{}{}", repeated(rows), compared(rows))?;
    let skipped: Vec<&str> = rows.iter().filter(|row| row.skipped.is_some()).map(|row| row.fault.name).collect();
    if !skipped.is_empty() {
        writeln!(text, "\nNot tried on the machine that made this page: {}.", skipped.join(", "))?;
    }
    let path = root().join("docs/faults.md");
    std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
}

/// Those that were tried more than once.
fn repeated(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.runs.len() > 1) {
        for (what, took) in [("noticed", row.detected()), ("recovered", row.recovered())] {
            if let Some(took) = took {
                let (name, runs) = (row.fault.name, row.runs.len());
                text +=
                    &format!("| `{name}` | {what} | {runs} | {} ms | {} ms | {} ms |\n", took.p50, took.p95, took.max);
            }
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\n## Tried many times\n\n| fault | | runs | p50 | p95 | max |\n|---|---|---|---|---|---|\n{text}")
}

/// Those that a recording must not feel at all, beside the one that nothing happened to.
fn compared(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows.iter().filter(|row| row.fault.compared || row.fault.name == "none") {
        if let (Some(losses), Some(pace)) = (row.losses(), row.pace()) {
            let seconds = losses.span_ns as f64 / 1e9;
            text +=
                &format!("| `{}` | {} | {seconds:.2} s | {pace:.2} | {} |\n", row.fault.name, losses.safe, losses.lost);
        }
    }
    if text.is_empty() {
        return text;
    }
    let head =
        "| fault | safe frames | from the first to the last | safe frames a second | lost |\n|---|---|---|---|---|";
    format!(
        "\n## Beside an undisturbed recording\n\nThese must lose nothing and keep 99 % of the pace of `none`, which was recorded in \
         the same hour on the same machine.\n\n{head}\n{text}"
    )
}

fn line(row: &Row) -> String {
    let fault = row.fault;
    let alerts: Vec<String> = fault.alerts.iter().map(|code| format!("`{}`", code.name())).collect();
    let figure = |value: Option<u64>, bound: u64, unit: &str| match value {
        Some(value) if bound > 0 || unit.is_empty() => format!("{value}{unit} ≤ {bound}"),
        Some(value) => format!("{value}{unit}"),
        None => "–".to_owned(),
    };
    let verdict = match (row.skipped, row.ok()) {
        (Some(_), _) => "not tried",
        (None, true) => "✔",
        (None, false) => "**fails**",
    };
    format!(
        "| `{}` | {} | {} | {} | {} | {} | {} | {verdict} |",
        fault.name,
        fault.what,
        fault.action,
        alerts.join(" or "),
        figure(row.detected().map(|took| took.p95), fault.bound.detected_ms, " ms"),
        figure(row.recovered().map(|took| took.p95), fault.bound.recovered_ms, " ms"),
        figure(row.losses().map(|losses| losses.lost), fault.bound.frames_lost, ""),
    )
}
