//! One fault after the other, each against what it may cost.

mod clients;
mod disk;
mod page;
mod play;
pub mod proxy;
pub mod stage;
pub mod table;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Common, Outcome};
use crate::interrupt::Interrupt;
use crate::rig::Directory;
use crate::terminal::{self, Table};
use crate::workspace::{Profile, Programs};
use disk::Disk;
pub use play::recorder_comes_back;
use stage::{Losses, Stage, Times};
use table::{FAULTS, Fault};

/// Which faults.
#[derive(Debug, Args)]
pub struct FaultsArgs {
    /// Only this one, or those whose names begin so; docs/faults.md stays as it is.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only those that CI tries.
    #[arg(long)]
    quick: bool,
}

/// What a fault cost.
pub struct Row {
    pub fault: &'static Fault,
    pub outcome: Result<(Times, Losses), String>,
    /// Why it could not be tried here.
    pub skipped: Option<&'static str>,
}

impl Row {
    pub fn detected_ms(&self) -> Option<u64> {
        self.outcome.as_ref().ok().and_then(|(times, _)| times.detected).map(ms)
    }

    pub fn recovered_ms(&self) -> Option<u64> {
        self.outcome.as_ref().ok().and_then(|(times, _)| times.recovered).map(ms)
    }

    pub fn losses(&self) -> Option<&Losses> {
        self.outcome.as_ref().ok().map(|(_, losses)| losses)
    }

    /// What is not as it should be.
    pub fn complaints(&self) -> Vec<String> {
        let (times, losses) = match &self.outcome {
            Ok(measured) => measured,
            Err(why) => return vec![why.clone()],
        };
        let bound = &self.fault.bound;
        let mut complaints = Vec::new();
        match times.detected.map(ms) {
            Some(detected) if detected > bound.detected_ms && bound.detected_ms > 0 => {
                complaints.push(format!("noticed after {detected} ms instead of {}", bound.detected_ms));
            }
            None if bound.detected_ms > 0 => complaints.push("never noticed".to_owned()),
            _ => {}
        }
        match times.recovered.map(ms) {
            Some(recovered) if recovered > bound.recovered_ms => {
                complaints.push(format!("recovered after {recovered} ms instead of {}", bound.recovered_ms));
            }
            None => complaints.push("never recovered".to_owned()),
            Some(_) => {}
        }
        if losses.lost > bound.frames_lost {
            complaints.push(format!("{} frames lost instead of {}", losses.lost, bound.frames_lost));
        }
        if losses.unaccounted > 0 {
            complaints.push(format!("{} frames unaccounted for", losses.unaccounted));
        }
        if losses.beside > 0 {
            complaints.push(format!("{} frames of another input lost", losses.beside));
        }
        complaints
    }

    pub fn ok(&self) -> bool {
        self.skipped.is_none() && self.complaints().is_empty()
    }

    fn json(&self) -> Value {
        let losses = self.losses();
        let mut row = json!({
            "fault": self.fault.name,
            "detected_ms": self.detected_ms(),
            "recovered_ms": self.recovered_ms(),
            "frames_lost": losses.map(|losses| losses.lost),
            "frames_unaccounted": losses.map(|losses| losses.unaccounted),
            "frames_safe": losses.map(|losses| losses.safe),
            "bound": self.fault.bound.frames_lost,
            "bound_detected_ms": self.fault.bound.detected_ms,
            "bound_recovered_ms": self.fault.bound.recovered_ms,
            "ok": self.ok(),
        });
        if let Some(why) = self.skipped {
            row["skipped"] = why.into();
        } else if !self.ok() {
            row["complaints"] = self.complaints().into();
        }
        row
    }
}

/// Why there can be no disk of our own on this machine, if so.
pub fn disk_impossible() -> Option<&'static str> {
    Disk::impossible()
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub fn run(args: &FaultsArgs, common: &Common, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
    let wanted = |fault: &&Fault| {
        (args.only.is_empty() || args.only.iter().any(|name| fault.name.starts_with(name.as_str())))
            && (!args.quick || fault.quick)
    };
    let faults: Vec<&'static Fault> = FAULTS.iter().filter(wanted).collect();
    if faults.is_empty() {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        bail!("there is no such fault; there are: {}", names.join(", "));
    }
    let rows = try_all(&faults, common.profile, interrupt)?;
    if faults.len() == FAULTS.len() {
        page::write(&rows)?;
    }
    let figures = json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() });
    Ok((figures, verdict(&rows).map(drop)))
}

/// The quick ones in the tests' profile.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<String> {
    let faults: Vec<&'static Fault> = FAULTS.iter().filter(|fault| fault.quick).collect();
    verdict(&try_all(&faults, Profile::Dev, interrupt)?)
}

fn verdict(rows: &[Row]) -> anyhow::Result<String> {
    let failed: Vec<String> = rows
        .iter()
        .filter(|row| row.skipped.is_none() && !row.ok())
        .map(|row| format!("{}: {}", row.fault.name, row.complaints().join(", ")))
        .collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    let skipped = rows.iter().filter(|row| row.skipped.is_some()).count();
    let said = format!("{} faults within their bounds, {skipped} skipped", rows.len() - skipped);
    terminal::good(&said);
    Ok(said)
}

fn try_all(faults: &[&'static Fault], profile: Profile, interrupt: &Interrupt) -> anyhow::Result<Vec<Row>> {
    let packages = ["holdfast-recorder", "holdfast-capture", "holdfast-simcam"];
    let programs = Programs::build(profile, &packages)?;
    let mut rows = Vec::new();
    for fault in faults {
        interrupt.check()?;
        terminal::step(&format!("{}: {}", fault.name, fault.what));
        let impossible = if fault.scene.disk.is_some() { Disk::impossible() } else { None };
        let row = match impossible {
            Some(why) => {
                terminal::note(&format!("SKIPPED: {why}"));
                Row { fault, outcome: Err(why.to_owned()), skipped: Some(why) }
            }
            None => one(fault, &programs, interrupt)?,
        };
        for complaint in row.complaints().iter().filter(|_| row.skipped.is_none()) {
            terminal::fail(complaint);
        }
        rows.push(row);
    }
    print(&rows);
    Ok(rows)
}

fn one(fault: &'static Fault, programs: &Programs, interrupt: &Interrupt) -> anyhow::Result<Row> {
    let mut directory = Directory::temporary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let done = runtime.block_on(async {
        let mut stage = Stage::set(&fault.scene, fault.alerts, programs, directory.path(), interrupt).await?;
        let times = (fault.play)(&mut stage).await?;
        let losses = stage.finish().await?;
        anyhow::Ok((times, losses))
    });
    let row = Row { fault, outcome: done.map_err(|error| format!("{error:#}")), skipped: None };
    if !row.ok() {
        terminal::note(&format!("logs and footage are in {}", directory.keep().display()));
    }
    Ok(row)
}

fn print(rows: &[Row]) {
    let mut table = Table::new(["fault", "noticed", "bound", "recovered", "bound", "lost", "bound", "unaccounted", ""]);
    let or_dash = |value: Option<u64>, unit: &str| value.map_or("–".to_owned(), |value| format!("{value}{unit}"));
    for row in rows {
        let bound = &row.fault.bound;
        let noticed_bound = if bound.detected_ms > 0 { format!("{} ms", bound.detected_ms) } else { "–".to_owned() };
        table.row([
            row.fault.name.to_owned(),
            or_dash(row.detected_ms(), " ms"),
            noticed_bound,
            or_dash(row.recovered_ms(), " ms"),
            format!("{} ms", bound.recovered_ms),
            or_dash(row.losses().map(|losses| losses.lost), ""),
            bound.frames_lost.to_string(),
            or_dash(row.losses().map(|losses| losses.unaccounted), ""),
            match (row.skipped, row.ok()) {
                (Some(_), _) => "SKIPPED",
                (None, true) => "ok",
                (None, false) => "FAILED",
            }
            .to_owned(),
        ]);
    }
    table.print();
}
