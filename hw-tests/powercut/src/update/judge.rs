//! One image: what the cut has left of the updater's state, and whether the box comes to a good end from there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use holdfast_fetch::{Cache, CacheLimits};
use holdfast_hawkbit::{Message, Outbox};
use holdfast_update_plan::{Bundle, Offer, Origin, Phase, Record};

use super::heard::{Owed, owed};
use super::rest::{Rest, Slot, Slots, id, name, tell};
use super::site::STATE;
use super::store::Store;
use super::story::{HEAD_BYTES, Promised, head};

/// What is wrong with an image.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    /// The record can't be read, or is older than what was said.
    pub records_lost: u64,
    /// An end that was written down is gone, or the fleet would not hear of it.
    pub results_lost: u64,
    /// The fleet would be told an end again.
    pub told_twice: u64,
    /// No slot boots a whole system.
    pub two_bad_slots: u64,
    /// The boot order begins with half a system.
    pub half_first: u64,
    /// A bundle that was fetched and looked at is no longer whole.
    pub bundles_lost: u64,
    /// From here the plan comes to no good end.
    pub stuck: u64,
    /// A slot holds half a system: so it must be, in the middle of an installation.
    pub half_written: bool,
    /// All of it, for people.
    pub problems: Vec<String>,
    /// In which phase the box was.
    pub phase: String,
}

impl Verdict {
    fn bad(&mut self, count: impl FnOnce(&mut Self) -> &mut u64, problem: String) {
        *count(self) += 1;
        self.problems.push(problem);
    }
}

/// Judges what is on a mounted image.
#[must_use]
pub fn judge(data: &Path, told: &Promised, at: usize) -> Verdict {
    let mut verdict = Verdict::default();
    let owed = owed(&told.saved, &told.heard, at);
    let state = data.join(STATE);
    let record = match record(&state) {
        Ok(record) => record,
        Err(error) => {
            verdict.bad(|verdict| &mut verdict.records_lost, format!("the record: {error:#}"));
            return verdict;
        }
    };
    record.phase.name().clone_into(&mut verdict.phase);
    against_what_was_said(&record, told, &owed, &mut verdict);
    let slots = match slots(data, told) {
        Ok(slots) => slots,
        Err(error) => {
            verdict.bad(|verdict| &mut verdict.two_bad_slots, format!("the boot state: {error:#}"));
            return verdict;
        }
    };
    verdict.half_written = slots.slots.iter().any(|slot| slot.content.is_none());
    if !slots.has_good() {
        verdict.bad(|verdict| &mut verdict.two_bad_slots, format!("two bad slots: {slots:?}"));
    }
    if slots.slots[slots.primary].content.is_none() {
        verdict.bad(|verdict| &mut verdict.half_first, format!("half a system is the first: {slots:?}"));
    }
    if let Err(error) = bundle(&state, &record, told) {
        verdict.bad(|verdict| &mut verdict.bundles_lost, format!("{}: the bundle: {error:#}", record.phase.name()));
    }
    if let Err(error) = outbox(&state, &record, &owed, &mut verdict) {
        verdict.bad(|verdict| &mut verdict.results_lost, format!("the outbox: {error:#}"));
    }
    if let Err(error) = go_on(&state, &record, slots, told, &owed) {
        verdict.bad(|verdict| &mut verdict.stuck, format!("from {}: {error:#}", record.phase.name()));
    }
    verdict
}

/// By the updater's own store, which takes damage for better than nothing: here it is none.
fn record(state: &Path) -> anyhow::Result<Record> {
    match holdfast_journal::read::<Record>(state, "update", 1) {
        Ok(read) => ensure!(!read.report.is_damaged(), "{}", read.report),
        // Before the updater was first started.
        Err(holdfast_journal::Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Store::open(state)?.1)
}

fn against_what_was_said(record: &Record, told: &Promised, owed: &Owed, verdict: &mut Verdict) {
    let newest = told.saved.iter().rposition(|saved| saved == record);
    let is_known = newest.is_some() || *record == Record::default();
    if !is_known {
        verdict.bad(|verdict| &mut verdict.records_lost, format!("nobody has ever saved {record:?}"));
    } else if newest < owed.record {
        let text = format!("the record is number {newest:?}, and {:?} was shown", owed.record);
        verdict.bad(|verdict| &mut verdict.records_lost, text);
    }
    for number in &owed.ended {
        if !record.outcomes.iter().any(|outcome| outcome.number == *number) {
            verdict.bad(|verdict| &mut verdict.results_lost, format!("outcome {number} was shown, and is gone"));
        }
    }
}

/// What RAUC and the boot loader would find.
///
/// # Errors
/// A file of the boot state is not there or makes no sense.
pub fn slots(data: &Path, told: &Promised) -> anyhow::Result<Slots> {
    let rig = data.join(&told.rig);
    let text = |file: &str| -> anyhow::Result<String> {
        let text = std::fs::read_to_string(rig.join(file)).with_context(|| file.to_owned())?;
        Ok(text.trim().to_owned())
    };
    let status = std::fs::read_to_string(rig.join("data/central.raucs")).unwrap_or_default();
    let mut slots = vec![];
    for (number, boot_name) in ["A", "B"].into_iter().enumerate() {
        let good = match text(&format!("state.{boot_name}"))?.as_str() {
            "good" => true,
            "bad" => false,
            other => anyhow::bail!("state.{boot_name} is {other:?}"),
        };
        let content = told.contents.get(&head(&rig.join(format!("slot.{boot_name}")), HEAD_BYTES)?).cloned();
        slots.push(Slot { good, content, written: written(&status, number) });
    }
    let primary = match text("primary")?.as_str() {
        "A" => 0,
        "B" => 1,
        other => anyhow::bail!("the first is {other:?}"),
    };
    let slots = <[Slot; 2]>::try_from(slots).map_err(|_| anyhow::anyhow!("not two slots"))?;
    Ok(Slots { slots, primary })
}

/// As the updater reads it of RAUC: what a slot was written with, if whole.
fn written(status: &str, slot: usize) -> Option<String> {
    let group =
        status.split("\n[").find(|group| group.trim_start_matches('[').starts_with(&format!("slot.rootfs.{slot}]")))?;
    let value = |key: &str| group.lines().find_map(|line| line.strip_prefix(&format!("{key}=")).map(str::to_owned));
    let known = value("bundle.hash").or(value("bundle.version").map(|version| format!("release {version}")));
    known.filter(|_| value("status").as_deref() == Some("ok"))
}

/// From when a bundle was looked at until its update has ended it is on the disk, whole.
fn bundle(state: &Path, record: &Record, told: &Promised) -> anyhow::Result<()> {
    let directory = state.join("download");
    if !directory.is_dir() {
        return Ok(());
    }
    let cache = Cache::open(&directory, CacheLimits { margin_bytes: 0, ..CacheLimits::default() })?;
    let looked_at = matches!(record.phase, Phase::Verified { .. } | Phase::Installing { .. } | Phase::Installed { .. });
    let Some(Origin::Fleet(action)) = record.offer.as_ref().map(|offer| &offer.origin).filter(|_| looked_at) else {
        return Ok(());
    };
    let holding = cache.holding().context("it is gone")?;
    ensure!(holding.safe_bytes == holding.total_bytes, "{holding:?}");
    ensure!(told.bundles.get(action) == Some(&head(&holding.path, usize::MAX)?), "it is not what was fetched");
    Ok(())
}

/// What the record says that the fleet's outbox has, it has; what the server has it is not told blindly again.
fn outbox(state: &Path, record: &Record, owed: &Owed, verdict: &mut Verdict) -> anyhow::Result<()> {
    let (mut outbox, report) = Outbox::open(state)?;
    ensure!(!report.is_damaged(), "{report}");
    for outcome in record.outcomes.iter().filter(|outcome| outcome.told) {
        if tell(&mut outbox, outcome)? {
            let text = format!("outcome {} is told by the record, and the outbox knows nothing of it", outcome.number);
            verdict.bad(|verdict| &mut verdict.results_lost, text);
        }
    }
    for action in &owed.told {
        if outbox.waiting().any(|waiting| !waiting.unsure && is_end_of(&waiting.message, *action)) {
            verdict.bad(|verdict| &mut verdict.told_twice, format!("the server has the end of {action} already"));
        }
    }
    Ok(())
}

fn is_end_of(message: &Message, action: u64) -> bool {
    let of = match message {
        Message::Feedback { action, .. } => action,
        Message::Cancel { cancel, .. } => cancel,
    };
    message.is_final() && id(action).is_ok_and(|action| *of == action)
}

/// The plan goes on, to one end for each update that was taken up, each of them told once.
fn go_on(state: &Path, record: &Record, slots: Slots, told: &Promised, owed: &Owed) -> anyhow::Result<()> {
    let bundles: BTreeMap<String, Bundle> =
        told.saved.iter().filter_map(Record::bundle).map(|bundle| (bundle.version.clone(), bundle.clone())).collect();
    let (after, slots, outbox) = Rest::play(state, slots, bundles, record.offer.clone())?;
    let fleet = |offer: &Offer| match offer.origin {
        Origin::Fleet(action) => Some(action),
        _ => None,
    };
    let ended = record.outcomes.iter().filter_map(|outcome| outcome.offer.as_ref());
    for action in ended.chain(&record.offer).filter_map(fleet) {
        let ends = after.outcomes.iter().filter(|outcome| outcome.offer.as_ref().and_then(fleet) == Some(action));
        ensure!(ends.count() == 1, "action {action} has not one end: {:?}", after.outcomes);
        let waiting = outbox.waiting().filter(|waiting| is_end_of(&waiting.message, action)).count();
        ensure!(waiting <= 1, "the end of action {action} waits {waiting} times");
        ensure!(
            waiting == 0 || !owed.told.contains(&action) || outbox.waiting().any(|waiting| waiting.unsure),
            "the end of action {action} is told again"
        );
    }
    let booted = slots.boots().context("nothing boots")?;
    ensure!(slots.slots[booted].content.is_some(), "{} boots, and is half a system", name(booted));
    ensure!(slots.primary == booted, "{} boots, and is not the first in the boot order: {slots:?}", name(booted));
    Ok(())
}
