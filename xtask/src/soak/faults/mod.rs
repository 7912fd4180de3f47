//! One fault after the other, each against what it may cost.

mod clients;
pub mod count;
mod disk;
mod page;
mod play;
pub mod proxy;
mod row;
mod rows;
pub mod stage;
pub mod table;
mod wall;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;

use super::{Common, Outcome};
use crate::interrupt::Interrupt;
use crate::rig::Directory;
use crate::terminal::{self, Table};
use crate::workspace::{Profile, Programs};
use disk::Disk;
pub use play::recorder_comes_back;
use row::{CI_TRIES, Judged, Row, Run};
use rows::FAULTS;
use stage::Stage;
use table::Fault;

/// Which faults.
#[derive(Debug, Args)]
pub struct FaultsArgs {
    /// Only this one, or those whose names begin so. docs/faults.md is written only by a run of all, as often as it wants each.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only those that CI tries, and as CI does: slow ones up to three times, whose usual time counts.
    #[arg(long)]
    quick: bool,
    /// Each so often, and its 95th percentile held to the bound. Without it: those that have such a bound 20 times, others once.
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
}

/// Why there can be no disk of our own on this machine, if so.
pub fn disk_impossible() -> Option<&'static str> {
    Disk::impossible()
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
    let tries = match (args.repeat, args.quick) {
        (Some(times), _) => Tries::Times(times),
        (None, true) => Tries::UntilUsual,
        (None, false) => Tries::AsOftenAsItWants,
    };
    let rows = try_all(&faults, tries, common.profile, interrupt)?;
    if faults.len() == FAULTS.len() && args.repeat.is_none() {
        page::write(&rows)?;
    }
    let figures = json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() });
    Ok((figures, verdict(&rows).map(drop)))
}

/// The quick ones in the tests' profile.
pub fn sanity(interrupt: &Interrupt) -> anyhow::Result<String> {
    let faults: Vec<&'static Fault> = FAULTS.iter().filter(|fault| fault.quick).collect();
    verdict(&try_all(&faults, Tries::UntilUsual, Profile::Dev, interrupt)?)
}

/// How often each is tried.
#[derive(Debug, Clone, Copy)]
enum Tries {
    /// As the table says.
    AsOftenAsItWants,
    /// So often.
    Times(u32),
    /// Once, and again only if it was slow and nothing else: [`CI_TRIES`] at most, and the usual time counts.
    UntilUsual,
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

fn try_all(
    faults: &[&'static Fault],
    tries: Tries,
    profile: Profile,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<Row>> {
    let programs = Programs::build_all(profile)?;
    let mut rows = Vec::<Row>::new();
    for fault in faults {
        terminal::step(&format!("{}: {}", fault.name, fault.what));
        // The first of all is the one that nothing happens to.
        let undisturbed = rows.first().filter(|row| row.fault.name == FAULTS[0].name).and_then(Row::pace);
        let (times, judged) = match tries {
            Tries::AsOftenAsItWants => (fault.repeat, Judged::P95),
            Tries::Times(times) => (times, Judged::P95),
            Tries::UntilUsual => (1, Judged::P50),
        };
        let mut row = Row { undisturbed, judged, ..Row::new(fault) };
        row.skipped = fault.scene.impossible();
        if let Some(why) = row.skipped {
            terminal::note(&format!("SKIPPED: {why}"));
        }
        let times = if row.skipped.is_some() { 0 } else { times };
        for _ in 0..times {
            interrupt.check()?;
            try_once(&mut row, &programs, interrupt)?;
        }
        while judged == Judged::P50 && row.is_only_slow() && row.runs.len() < CI_TRIES {
            terminal::note(&format!("slow, tried once more: {}", row.complaints().join(", ")));
            try_once(&mut row, &programs, interrupt)?;
        }
        for complaint in row.complaints() {
            terminal::fail(&complaint);
        }
        rows.push(row);
    }
    print(&rows);
    Ok(rows)
}

fn try_once(row: &mut Row, programs: &Programs, interrupt: &Interrupt) -> anyhow::Result<()> {
    let fault = row.fault;
    let mut directory = Directory::temporary()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    let done = runtime.block_on(async {
        let mut stage = Stage::set(&fault.scene, fault.alerts, programs, directory.path(), interrupt).await?;
        let times = (fault.play)(&mut stage).await?;
        let losses = stage.finish().await?;
        anyhow::Ok(Run { times, losses })
    });
    let was_well = row.runs.is_empty() || row.ok();
    row.runs.push(done.map_err(|error| format!("{error:#}")));
    // Of many, only the one that made it fail.
    if was_well && !row.ok() {
        terminal::note(&format!("logs and footage are in {}", directory.keep().display()));
    }
    Ok(())
}

fn print(rows: &[Row]) {
    let mut table = Table::new(["fault", "noticed", "bound", "recovered", "bound", "lost", "bound", "unaccounted", ""]);
    let mut spreads = Table::new(["fault", "runs", "what", "p50", "p95", "max"]);
    let or_dash = |value: Option<u64>, unit: &str| value.map_or("–".to_owned(), |value| format!("{value}{unit}"));
    for row in rows {
        let (bound, losses) = (&row.fault.bound, row.losses());
        let noticed_bound = if bound.detected_ms > 0 { format!("{} ms", bound.detected_ms) } else { "–".to_owned() };
        table.row([
            row.fault.name.to_owned(),
            or_dash(row.detected().map(|took| took.p95), " ms"),
            noticed_bound,
            or_dash(row.recovered().map(|took| took.p95), " ms"),
            format!("{} ms", bound.recovered_ms),
            or_dash(losses.as_ref().map(|losses| losses.lost), ""),
            bound.frames_lost.to_string(),
            or_dash(losses.map(|losses| losses.unaccounted), ""),
            match (row.skipped, row.ok()) {
                (Some(_), _) => "SKIPPED",
                (None, true) => "ok",
                (None, false) => "FAILED",
            }
            .to_owned(),
        ]);
        for (what, took) in [("noticed", row.detected()), ("recovered", row.recovered())] {
            if let Some(took) = took.filter(|_| row.runs.len() > 1) {
                let figures = [took.p50, took.p95, took.max].map(|ms| format!("{ms} ms"));
                let head = [row.fault.name.to_owned(), row.runs.len().to_string(), what.to_owned()];
                spreads.row(head.into_iter().chain(figures));
            }
        }
    }
    table.print();
    if rows.iter().any(|row| row.runs.len() > 1) {
        spreads.print();
    }
}
