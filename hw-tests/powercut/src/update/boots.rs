//! An image before the programs themselves: a real updater with a real RAUC goes on from it, to one end.

use std::path::Path;

use anyhow::{Context, ensure};
use holdfast_update_plan::{Phase, Record};

use super::judge::slots;
use super::rest::name;
use super::site::STATE;
use super::story::{BAD, Logged};
use crate::boot::disk;
use crate::cuts::{Cut, Fate, Plan};
use crate::run::mount;

/// Starts the box on so many images, spread over the story, with torn writes, and lets each come to its end. Only those whose bundle is
/// on the box already: the server has nothing to offer any more. On how many it was done.
///
/// # Errors
/// A box does not come up, or to a good end.
pub async fn boots(logged: &mut Logged, directory: &Path, plan: &Plan, wanted: usize) -> anyhow::Result<usize> {
    let cuts = plan.cuts(&logged.log);
    let torn = |cut: &&Cut| cut.fate == Fate::Torn;
    let mut cuts: Vec<Cut> = cuts.iter().filter(torn).copied().collect();
    cuts.sort_by_key(|cut| cut.number);
    let (mut done, mut seen) = (0, std::collections::BTreeSet::new());
    // Each in another phase, as far as there are so many.
    for cut in &cuts {
        if done < wanted
            && let Some(phase) =
                one(logged, directory, cut, &seen).await.with_context(|| format!("a box on {cut:?}"))?
        {
            seen.insert(phase);
            done += 1;
        }
    }
    Ok(done)
}

async fn one(
    logged: &mut Logged,
    directory: &Path,
    cut: &Cut,
    seen: &std::collections::BTreeSet<&str>,
) -> anyhow::Result<Option<&'static str>> {
    let image = directory.join("boot");
    disk(&logged.base, &logged.log, cut).save(&image)?;
    // Where it was: all that is written in it of itself is right again.
    let (mounted, _) = mount(&image, &logged.data)?;
    let record = holdfast_journal::read::<Record>(mounted.path().join(STATE), "update", 1)
        .map(|read| read.records.into_iter().next_back().unwrap_or_default())
        .unwrap_or_default();
    let phase = record.phase.name();
    if record.phase == Phase::Idle || matches!(phase, "available" | "downloading") || seen.contains(phase) {
        return Ok(None);
    }
    let before = slots(mounted.path(), &logged.told)?;
    let booted = before.boots().context("nothing boots")?;
    eprintln!("  a real updater and RAUC on image {}: {phase}, slot {} boots", cut.number, name(booted));
    let site = &mut logged.site;
    site.start_recorder()?;
    site.boot_into(name(booted)).await?;
    let wanted = record.outcomes.len() + 1;
    loop {
        site.until("a reboot or the end", async |site| {
            let is_idle = site.state().await.is_some_and(|state| state == "idle");
            Ok(site.would_reboot() || is_idle && site.outcomes().await?.len() >= wanted)
        })
        .await?;
        if !site.would_reboot() {
            break;
        }
        let slot = site.rig.boot("primary");
        site.boot_into(&slot).await?;
    }
    let outcomes = site.outcomes().await?;
    ensure!(outcomes.len() == wanted, "not one end: {outcomes:?}");
    site.end()?;
    let after = slots(mounted.path(), &logged.told)?;
    ensure!(after.has_good() && after.boots() == Some(after.primary), "{after:?}");
    let runs = after.slots[after.primary].content.clone();
    // Here the recorder works, so even that release is good, unless it was being left already.
    let wanted = if outcomes[0].result == "good" { &outcomes[0].version } else { "2.0" };
    ensure!(
        runs.as_deref() == Some(wanted) || outcomes[0].result != "good" && runs.as_deref() != Some(BAD),
        "{outcomes:?}, and {runs:?} runs"
    );
    Ok(Some(phase))
}
