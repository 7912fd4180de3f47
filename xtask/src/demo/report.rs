//! What a session amounted to: for people, and as JSON.

mod panel;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use holdfast_segment::verify::verify_session;

pub use self::panel::{Figures, Told};
use super::Session;
use super::account::{Account, ends_early};
use super::footage::Footage;
use crate::rig::Directory;
use crate::terminal::{self, Table, thousands};
use crate::workspace::Programs;

/// What to look with.
pub struct Look<'a> {
    pub programs: &'a Programs,
    pub names: &'a [String],
    /// The pictures carry numbers, and must.
    pub numbered: bool,
    pub directory: &'a Directory,
    pub json: bool,
    /// What the panel said all the time.
    pub told: &'a Told,
}

struct Row<'a> {
    name: &'a str,
    footage: Footage,
    account: Account,
}

impl Look<'_> {
    /// Verifies a session, decodes it, and accounts for every frame.
    pub fn at(&self, session: &Session) -> anyhow::Result<()> {
        terminal::step("verifying digests and structure, decoding every picture and reading its number");
        let verified = verify_session(&session.path)?;
        let mut rows = Vec::new();
        for name in self.names {
            let footage = Footage::read(&session.path.join(name)).with_context(|| format!("input {name}"))?;
            let account = footage.account();
            rows.push(Row { name, footage, account });
        }
        eprintln!();
        self.print(session, &rows);
        if self.json {
            println!("{}", self.json(session, &rows, verified.is_ok()));
        }

        for finding in verified.findings().filter(|_| !verified.is_ok()) {
            terminal::fail(&finding.to_string());
        }
        if !verified.is_ok() {
            bail!("verify found damage");
        }
        if let Some(row) = rows.iter().find(|row| self.numbered && row.account.numbered != row.account.safe_frames) {
            bail!("{}: pictures without a number", row.name);
        }
        let unaccounted: u64 = rows.iter().map(|row| row.account.unaccounted_frames).sum();
        if unaccounted > 0 {
            bail!("{unaccounted} frames are missing or doubled without a reason on record");
        }
        let last: Vec<Option<u64>> =
            rows.iter().map(|row| row.footage.pictures.last().map(|picture| picture.mono_ns)).collect();
        let early: Vec<(&str, u64)> =
            rows.iter().zip(ends_early(&last)).filter_map(|(row, early_ns)| Some((row.name, early_ns?))).collect();
        for (name, early_ns) in &early {
            let early = terminal::duration(Duration::from_nanos(*early_ns));
            terminal::note(&format!(
                "{name} ends {early} before the others: its capture was not back when the recording was stopped, and no gap is on record"
            ));
        }
        if !early.is_empty() {
            return Ok(());
        }
        terminal::good(
            "every frame is accounted for: safe, or lost with its reason on record; digests and chain verify",
        );
        Ok(())
    }

    fn print(&self, session: &Session, rows: &[Row<'_>]) {
        let mut table = Table::new(["input", "files", "safe frames", "MB", "lost", "gap", "cause", "unaccounted"]);
        for Row { name, footage, account } in rows {
            let mut causes: Vec<&str> = footage.gaps.iter().map(|gap| gap.cause.as_str()).collect();
            causes.extend(account.holes.iter().filter_map(|hole| hole.cause.as_deref()));
            causes.sort_unstable();
            causes.dedup();
            table.row([
                (*name).to_owned(),
                footage.files.len().to_string(),
                thousands(account.safe_frames),
                format!("{:.1}", footage.bytes as f64 / 1e6),
                thousands(account.lost_frames),
                terminal::duration(Duration::from_nanos(footage.gap_ns())),
                causes.join(", "),
                account.unaccounted_frames.to_string(),
            ]);
        }
        table.print();
        eprintln!(
            "  lost: pictures of the camera that are not in the files, those too that came while nobody was there to take them in"
        );
        for Row { name, account, .. } in rows {
            for hole in account.holes.iter().filter(|hole| hole.cause.is_none()) {
                let length = terminal::duration(Duration::from_nanos(hole.duration_ns));
                terminal::fail(&format!("{name}: {} frames ({length}) are missing without a reason", hole.frames));
            }
        }
        let Some(row) = rows.iter().find(|row| !row.footage.files.is_empty()) else {
            return;
        };
        let holdfast = self.programs.path("holdfast");
        let config = self.directory.path().join("holdfast.toml");
        eprintln!("  play    ffplay -autoexit {}", from_here(&row.footage.files[0]));
        eprintln!("          mpv {}/*.mp4", from_here(&session.path.join(row.name)));
        eprintln!(
            "  export  {} --config {} export {} -i {}",
            from_here(&holdfast),
            from_here(&config),
            session.id,
            row.name
        );
        eprintln!();
    }

    fn json(&self, session: &Session, rows: &[Row<'_>], verified: bool) -> serde_json::Value {
        let sum = |value: fn(&Row<'_>) -> u64| rows.iter().map(value).sum::<u64>();
        let per_input: Vec<serde_json::Value> = rows
            .iter()
            .map(|Row { name, footage, account }| {
                serde_json::json!({
                    "input": name,
                    "segments": footage.files.len(),
                    "safe_frames": account.safe_frames,
                    "lost_frames": account.lost_frames,
                    "unaccounted_frames": account.unaccounted_frames,
                    "gap_ms": footage.gap_ns() / 1_000_000,
                    "bytes": footage.bytes,
                })
            })
            .collect();
        serde_json::json!({
            "session": session.id,
            "inputs": rows.len(),
            "segments": sum(|row| row.footage.files.len() as u64),
            "safe_frames": sum(|row| row.account.safe_frames),
            "lost_frames": sum(|row| row.account.lost_frames),
            "unaccounted_frames": sum(|row| row.account.unaccounted_frames),
            "gap_ms": sum(|row| row.footage.gap_ns() / 1_000_000),
            "verify": if verified { "ok" } else { "failed" },
            "per_input": per_input,
            "panel": self.told.json(),
        })
    }
}

/// A path as one would type it here.
pub fn from_here(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).display().to_string()
}
