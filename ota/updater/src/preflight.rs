//! What speaks against an update before anything is written: each refusal with a code and a remedy. Pure; what is so is handed in.
//!
//! Signature, dates and format are RAUC's to judge, which has been asked before (`bundle-formats=-plain` in every `system.conf`).

use std::cmp::Ordering;

use holdfast_rauc::{BootStatus, Bundle, Environment, Slot, Status};
use holdfast_update_plan::{Reason, compare};

use crate::surroundings::Surroundings;
use crate::target::Target;

/// What the updater's own state may need: it writes down each step before it takes it.
const LEAST_STATE_BYTES: u64 = 4 << 20;

/// What the box is like.
#[derive(Debug, Clone, Copy)]
pub struct Box<'a> {
    /// As RAUC says.
    pub status: &'a Status,
    /// The running slot, by RAUC's name.
    pub booted: &'a str,
    /// The other one.
    pub other: &'a str,
    /// What RAUC does not say.
    pub around: &'a Surroundings,
    /// Unix time in seconds.
    pub now_unix_s: i64,
    /// When this program was built: a clock that is older is wrong, and certificates can't be judged by it.
    pub built_unix_s: i64,
    /// Below it a box that runs on its battery is not updated.
    pub least_battery_percent: u8,
}

/// The running system is not marked good: there would be nothing to go back to. The plan waits for that rather than giving up.
const NOT_PROVEN: &str = "not-proven";

/// Looks at a bundle, and at the box with it. `force`: a person wants it all the same, where that is theirs to say.
///
/// # Errors
/// Why it is not installed, and what to do.
pub fn check(the_box: &Box<'_>, bundle: &Bundle, force: bool) -> Result<(), Reason> {
    let status = the_box.status;
    if bundle.compatible != status.compatible {
        let text = format!("the bundle is for {}, and this box is {}", bundle.compatible, status.compatible);
        return Err(Reason::new("wrong-compatible", text));
    }
    if let Some(obstacle) = obstacles(the_box).into_iter().find(|obstacle| obstacle.code != NOT_PROVEN) {
        return Err(obstacle);
    }
    let (booted, other) = (status.slot(the_box.booted), status.slot(the_box.other));
    if let Some(other) = other {
        too_large(bundle, other, &the_box.around.target)?;
    }
    let runs = booted.and_then(|booted| booted.bundle_version.as_deref());
    let is_older = bundle.version.as_deref().zip(runs);
    if let Some((offered, runs)) = is_older.filter(|(offered, runs)| older(offered, runs) && !force) {
        let text = format!("release {offered} is older than {runs}, which runs; to go back all the same: --force");
        return Err(Reason::new("downgrade", text));
    }
    Ok(())
}

/// All that keeps this box from being updated, whatever the bundle; each with a code and what to do.
pub fn obstacles(the_box: &Box<'_>) -> Vec<Reason> {
    let mut found = vec![];
    if the_box.now_unix_s < the_box.built_unix_s {
        let text =
            "the clock is older than this system, so no certificate can be judged; set it: timedatectl set-ntp true";
        found.push(Reason::new("clock-wrong", text));
    }
    let slots = (the_box.status.slot(the_box.booted), the_box.status.slot(the_box.other));
    if let (Some(booted), Some(other)) = slots {
        found.extend(boot_loader(the_box.around, booted, other));
        found.extend(unwritable(&the_box.around.target, other));
        if booted.boot_status == Some(BootStatus::Bad) {
            let text = format!(
                "{} runs and is not marked good, so there would be nothing to go back to; see why the updater does not mark it \
                 (journalctl -u holdfast-updater)",
                booted.name
            );
            found.push(Reason::new(NOT_PROVEN, text));
        }
    } else {
        let text = "RAUC no longer knows both slots; look at system.conf and at rauc status";
        found.push(Reason::new("slots", text));
    }
    if let Some(free) = the_box.around.state_free_bytes.filter(|free| *free < LEAST_STATE_BYTES) {
        let text = format!(
            "{free} bytes are left for the updater's state (update.state_dir), and {LEAST_STATE_BYTES} are wanted; make room there"
        );
        found.push(Reason::new("no-space", text));
    }
    let power = the_box.around.power.refusal(the_box.least_battery_percent);
    found.extend(power.map(|text| Reason::new("power-low", text)));
    found
}

/// What is wrong with the boot loader's side. Told once, by what is most telling: all of it makes RAUC say "unknown", too.
fn boot_loader(around: &Surroundings, booted: &Slot, other: &Slot) -> Option<Reason> {
    let state = |text: String| Some(Reason::new("boot-state", text));
    match &around.jetson {
        Err(why) => return state(format!("the firmware's variables can't be read ({why}); mount efivarfs there")),
        Ok(Some(jetson)) if !jetson.is_redundant() => {
            let text = "the firmware's redundancy of root filesystems is off, so it would ignore the switch to the other slot; flash \
                        the board with ROOTFS_AB=1 (Yocto: USE_REDUNDANT_FLASH_LAYOUT_DEFAULT = \"1\")";
            return Some(Reason::new("redundancy-unset", text));
        }
        // Of the slot that runs: whatever it was set to, it has booted, and is marked good as soon as the box works.
        Ok(Some(jetson)) => {
            let name = booted.bootname.as_deref().unwrap_or_default();
            if let Some(status) = jetson.status(name).filter(|status| *status != 0) {
                let text = format!(
                    "the firmware holds slot {name}, which runs, for unbootable (RootfsStatusSlot{name} is {status:#x}); set it to Normal \
                     in UEFI (Device Manager, NVIDIA Configuration, L4T Configuration): \
                     /usr/lib/holdfast/boot-backend set-state {name} good tells why it can't be done from here"
                );
                return Some(Reason::new("slot-status-stuck", text));
            }
        }
        Ok(None) => {}
    }
    match &around.environment {
        Err(why) => return state(format!("U-Boot's environment can't be read: {why}; check /etc/fw_env.config")),
        Ok(Some(Environment::Lost)) => {
            let text = "no copy of U-Boot's environment is whole, so it boots with what it was built with; save it anew: fw_setenv \
                        BOOT_ORDER and BOOT_x_LEFT as RAUC wants them, or saveenv at U-Boot's prompt";
            return state(text.to_owned());
        }
        Ok(Some(Environment::Damaged { copy })) => {
            let text = format!(
                "copy {} of 2 of U-Boot's environment is damaged, and a power cut may take the other; write it once: \
                 fw_setenv holdfast_mended $(date +%s)",
                copy + 1
            );
            return Some(Reason::new("environment-damaged", text));
        }
        Ok(Some(Environment::Whole { .. }) | None) => {}
    }
    // Where RAUC can't read the boot loader's side it could not change it either.
    let unknown = [booted, other].into_iter().find(|slot| slot.boot_status == Some(BootStatus::Unknown))?;
    state(format!(
        "the boot loader's state of {} can't be read; check its environment (fw_printenv, nvbootctrl dump-slots-info)",
        unknown.name
    ))
}

/// Why the other slot can't be written.
fn unwritable(target: &Target, other: &Slot) -> Option<Reason> {
    let (slot, device) = (&other.name, &other.device);
    let text = match target {
        Target::Free { .. } => match &other.mount_point {
            Some(place) => format!("{slot} is mounted on {place}; unmount it: umount {place}"),
            None => return None,
        },
        Target::Missing(why) => {
            format!("{slot} is not there ({device}: {why}); check the partition table and system.conf's device=")
        }
        Target::ReadOnly => {
            format!("{slot} can't be written ({device} is read-only); see why: dmesg, blockdev --getro {device}")
        }
        Target::Mounted(place) => format!("{slot} is mounted on {place}; unmount it: umount {place}"),
        Target::Held(holder) => {
            format!("{slot} is in use by {holder}, which is built on {device}; take that down: lsblk {device}")
        }
    };
    Some(Reason::new("slot-unusable", text))
}

/// An image that does not fit is found out before the slot is touched.
fn too_large(bundle: &Bundle, other: &Slot, target: &Target) -> Result<(), Reason> {
    let size =
        bundle.images.iter().filter(|image| image.class == other.class).filter_map(|image| image.size_bytes).max();
    match (size, target) {
        (Some(size), Target::Free { bytes }) if size > *bytes => {
            let text = format!("the image has {size} bytes, and {} holds {bytes}; make a smaller system", other.name);
            Err(Reason::new("too-large", text))
        }
        _ => Ok(()),
    }
}

/// Whether one release surely comes before another.
fn older(one: &str, other: &str) -> bool {
    compare(one, other) == Some(Ordering::Less)
}

#[cfg(test)]
mod tests;
