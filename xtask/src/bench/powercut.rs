//! The same power cut for other writers and for ours (docs/powercut.md). Prints the table and draws it for the README.

use std::fmt::Write as _;

use anyhow::Context;
use serde_json::Value;

use super::{Common, Figures, rounded, skipped};
use crate::interrupt::Interrupt;
use crate::soak;
use crate::terminal::{self, Table};
use crate::workspace;
use crate::workspace::Built;

/// Where the picture goes.
const PICTURE: &str = "docs/pictures/powercut.svg";
/// What our row is called by the rig.
const OURS: &str = "holdfast";

/// What the cuts cost a writer.
struct Row {
    writer: String,
    mean_s: f64,
    max_s: f64,
    unplayable: u64,
    files: u64,
    cuts: u64,
}

pub fn run(common: &Common, built: &Built, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let (seconds, file_seconds, cuts) = if common.quick { (12, 4, 2) } else { (64, 20, 9) };
    terminal::step(&format!("powercut: six writers record for {seconds} s, {cuts} cuts"));
    let words = [
        "bench".to_owned(),
        format!("--seconds={seconds}"),
        format!("--file-seconds={file_seconds}"),
        format!("--cuts={cuts}"),
    ];
    let found = soak::powercut_rig(built.get()?, words.map(Into::into).to_vec(), interrupt)?;
    if let Some(why) = found["skipped"].as_str() {
        return Ok(skipped("powercut", why));
    }
    let rows = rows(&found).context("the rig's rows make no sense")?;
    let mut table = Table::new(["writer", "seconds lost", "at worst", "files unplayable"]);
    let mut figures = Figures::new();
    let mut listed = Vec::new();
    for row in &rows {
        let unplayable = format!("{} of {}", row.unplayable, row.files);
        table.row([row.writer.clone(), format!("{:.2}", row.mean_s), format!("{:.2}", row.max_s), unplayable]);
        listed.push(serde_json::json!({
            "writer": row.writer,
            "seconds_lost": rounded(row.mean_s, 2),
            "seconds_lost_max": rounded(row.max_s, 2),
            "unplayable": row.unplayable,
            "files": row.files,
            "cuts": row.cuts,
        }));
    }
    table.print();
    figures.insert("rows".to_owned(), listed.into());
    if !common.quick {
        let path = workspace::root().join(PICTURE);
        std::fs::write(&path, draw(&rows)).with_context(|| format!("{} can't be written", path.display()))?;
        terminal::good(&format!("drawn: {PICTURE}"));
    }
    Ok(figures)
}

fn rows(found: &Value) -> Option<Vec<Row>> {
    let row = |row: &Value| {
        Some(Row {
            writer: row["writer"].as_str()?.to_owned(),
            mean_s: row["seconds_lost"].as_f64()?,
            max_s: row["seconds_lost_max"].as_f64()?,
            unplayable: row["unplayable"].as_u64()?,
            files: row["files"].as_u64()?,
            cuts: row["cuts"].as_u64()?,
        })
    };
    found["rows"].as_array()?.iter().map(row).collect()
}

/// A bar for the mean of each writer, a line to its worst cut, and what became of its files.
fn draw(rows: &[Row]) -> String {
    const WIDTH: f64 = 760.0;
    const LEFT: f64 = 190.0;
    const RIGHT: f64 = 590.0;
    const TOP: f64 = 96.0;
    const ROW: f64 = 38.0;
    let worst = rows.iter().map(|row| row.max_s).fold(1.0, f64::max);
    // A round step with four to seven lines.
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| worst / step <= 7.0).unwrap_or(100.0);
    let scale = (RIGHT - LEFT) / (worst / step).ceil() / step;
    let bottom = TOP + ROW * rows.len() as f64;
    let height = bottom + 62.0;
    let cuts = rows.first().map_or(0, |row| row.cuts);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n\
         <title>Seconds of footage lost at a power cut, by writer</title>\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n\
         <text x=\"24\" y=\"38\" font-size=\"19\" font-weight=\"bold\" fill=\"#1f2328\">The power goes: how much footage is lost?</text>\n\
         <text x=\"24\" y=\"62\" font-size=\"13\" fill=\"#59636e\">seconds, mean of {cuts} cuts, line to the worst</text>\n\
         <text x=\"{}\" y=\"62\" font-size=\"13\" fill=\"#59636e\" text-anchor=\"end\">files unplayable</text>\n",
        WIDTH - 1.0,
        height - 1.0,
        WIDTH - 24.0,
    );
    let mut tick = 0.0;
    while tick * scale <= RIGHT - LEFT + 0.5 {
        let x = LEFT + tick * scale;
        // Nothing fails to be written into a string.
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#e6e9ed\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"12\" fill=\"#59636e\" text-anchor=\"middle\">{tick:.0} s</text>",
            TOP - 14.0,
            bottom + 18.0,
        );
        tick += step;
    }
    for (number, row) in rows.iter().enumerate() {
        let (y, ours) = (TOP + ROW * number as f64, row.writer == OURS);
        let (bar, line, weight) = if ours { ("#1a7f37", "#0f5323", "bold") } else { ("#f0a36b", "#a04a12", "normal") };
        let (mean, max) = ((row.mean_s * scale).max(2.0), row.max_s * scale);
        let name = if ours { "Holdfast" } else { &row.writer };
        let value_x = LEFT + max.max(mean) + 8.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"14\" font-weight=\"{weight}\" fill=\"#1f2328\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{mean:.1}\" height=\"20\" rx=\"2\" fill=\"{bar}\"/>\
             <path d=\"M{:.1} {:.1}H{:.1}M{:.1} {:.1}v12\" stroke=\"{line}\" stroke-width=\"1.6\" fill=\"none\"/>\
             <text x=\"{value_x:.1}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"{weight}\" fill=\"#1f2328\">{:.1}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"13\" font-weight=\"{weight}\" fill=\"#1f2328\" text-anchor=\"end\">{} of {}</text>",
            LEFT - 12.0,
            y + 15.0,
            LEFT + mean,
            y + 10.0,
            LEFT + max.max(mean),
            LEFT + max.max(mean),
            y + 4.0,
            y + 15.0,
            row.mean_s,
            WIDTH - 24.0,
            y + 15.0,
            row.unplayable,
            row.files,
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"24\" y=\"{:.1}\" font-size=\"12\" fill=\"#59636e\">One RTSP camera for all, 20 s files, ext4 with default options, \
         nothing repaired before playing</text>\n</svg>",
        bottom + 44.0,
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::{draw, rows};

    #[test]
    fn every_writer_has_a_bar_and_no_bar_leaves_the_picture() {
        let row = |writer: &str, mean: f64, max: f64| {
            serde_json::json!({
                "writer": writer, "seconds_lost": mean, "seconds_lost_max": max, "unplayable": 1, "files": 9, "cuts": 3
            })
        };
        let found = serde_json::json!({ "rows": [row("holdfast", 0.2, 0.4), row("other", 17.0, 29.5)] });
        let svg = draw(&rows(&found).unwrap());
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        for width in svg.split(" width=\"").skip(2).filter_map(|rest| rest.split('"').next()?.parse::<f64>().ok()) {
            assert!(width > 0.0 && width <= 760.0, "{width}");
        }
        assert!(svg.contains(">17.0<") && svg.contains(">1 of 9<"));
        assert!(rows(&serde_json::json!({ "rows": [{}] })).is_none());
    }
}
