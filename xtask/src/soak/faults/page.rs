//! docs/faults.md, made from what was measured.

use std::fmt::Write as _;

use anyhow::Context;

use super::Row;
use super::stage::FPS;
use crate::workspace::root;

const HEAD: &str = "# What may go wrong, and what it costs

Made by `cargo xtask soak faults` from what it measured; don't edit. Each row is a recording of numbered pictures to which
something is done. *Noticed*: from the fault to the alert of that name, or to what the row says. *Recovered*: to the next safe
frame, from the fault, or, where something outside has to be mended first, from then. *Lost*: counted from the numbers in the
pictures that are on disk; each of them stands in a ledger with its reason, and none may be *unaccounted* for. In rows with a camera
or a failing encoder a second input runs beside, which may lose nothing.

";

pub fn write(rows: &[Row]) -> anyhow::Result<()> {
    let mut text = HEAD.to_owned();
    writeln!(text, "Pictures come at {FPS} a second. A bound follows each figure, behind the ≤.\n")?;
    writeln!(text, "| fault | what is done | what Holdfast does | alert | noticed | recovered | frames lost | |")?;
    writeln!(text, "|---|---|---|---|---|---|---|---|")?;
    for row in rows {
        writeln!(text, "{}", line(row))?;
    }
    let skipped: Vec<&str> = rows.iter().filter(|row| row.skipped.is_some()).map(|row| row.fault.name).collect();
    if !skipped.is_empty() {
        writeln!(text, "\nNot tried on the machine that made this page: {}.", skipped.join(", "))?;
    }
    let path = root().join("docs/faults.md");
    std::fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
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
        figure(row.detected_ms(), fault.bound.detected_ms, " ms"),
        figure(row.recovered_ms(), fault.bound.recovered_ms, " ms"),
        figure(row.losses().map(|losses| losses.lost), fault.bound.frames_lost, ""),
    )
}
