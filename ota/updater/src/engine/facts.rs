//! From what RAUC says to what the plan and the fleet are told.

use std::collections::BTreeMap;

use holdfast_rauc::{BootStatus, Slot, SlotStatus, Status};
use holdfast_update_plan::Facts;

/// What is so, from what RAUC and the kernel say. `None`: RAUC does not know slots that could be updated.
pub(super) fn read(status: &Status, boot_id: String) -> Option<(Facts, String, String)> {
    let booted = status.booted()?;
    let other = status.slots.iter().find(|slot| slot.name != booted.name && slot.class == booted.class)?;
    let boot_name = |slot: &Slot| slot.bootname.clone().unwrap_or_else(|| slot.name.clone());
    let is_good = |slot: &Slot| slot.boot_status == Some(BootStatus::Good);
    let primary = status.primary.as_deref().and_then(|name| status.slot(name)).map(boot_name);
    let facts = Facts {
        boot_id,
        booted: boot_name(booted),
        other: boot_name(other),
        // Where nobody knows, it is taken to be as it should.
        primary: primary.unwrap_or_else(|| boot_name(booted)),
        booted_good: is_good(booted),
        other_good: is_good(other),
        runs: written(booted),
        written: written(other),
    };
    Some((facts, booted.name.clone(), other.name.clone()))
}

/// The release that runs, where RAUC has installed it or the system says so.
pub(super) fn release(status: &Status) -> Option<String> {
    let version = status.booted().and_then(|slot| slot.bundle_version.clone()).or(status.system_version.clone());
    version.filter(|version| !version.is_empty())
}

/// What the fleet is told of this box.
pub(super) fn attributes(status: &Status, facts: &Facts) -> BTreeMap<String, String> {
    [
        ("compatible", status.compatible.clone()),
        ("slot", facts.booted.clone()),
        ("release", release(status).unwrap_or_default()),
        ("updater", env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// What RAUC has written whole to a slot, as a bundle is known by.
fn written(slot: &Slot) -> Option<String> {
    let version = slot.bundle_version.as_ref().map(|version| identity(None, version));
    let is_whole = slot.status == Some(SlotStatus::Ok);
    slot.bundle_hash.clone().or(version).filter(|_| is_whole)
}

/// What a bundle is known by. RAUC 1.8 does not tell its hash.
pub(super) fn identity(manifest_hash: Option<String>, version: &str) -> String {
    manifest_hash.unwrap_or_else(|| format!("release {version}"))
}
