//! What speaks against an update before anything is written: each refusal with a code and a remedy. Pure; what is so is handed in.
//!
//! Signature, dates and format are RAUC's to judge, which has been asked before (`bundle-formats=-plain` in every `system.conf`).

use std::cmp::Ordering;

use holdfast_rauc::{BootStatus, Bundle, Slot, Status};
use holdfast_update_plan::{Reason, compare};

/// What the box is like.
#[derive(Debug, Clone, Copy)]
pub struct Box<'a> {
    /// As RAUC says.
    pub status: &'a Status,
    /// The running slot, by RAUC's name.
    pub booted: &'a str,
    /// The other one.
    pub other: &'a str,
    /// Unix time in seconds.
    pub now_unix_s: i64,
    /// When this program was built: a clock that is older is wrong, and certificates can't be judged by it.
    pub built_unix_s: i64,
}

/// Looks at a bundle, and at the box with it. `force`: a person wants it all the same, where that is theirs to say.
///
/// # Errors
/// Why it is not installed, and what to do.
pub fn check(the_box: &Box<'_>, bundle: &Bundle, force: bool) -> Result<(), Reason> {
    let status = the_box.status;
    if the_box.now_unix_s < the_box.built_unix_s {
        let text =
            "the clock is older than this system, so no certificate can be judged; set it: timedatectl set-ntp true";
        return Err(Reason::new("clock-wrong", text));
    }
    if bundle.compatible != status.compatible {
        let text = format!("the bundle is for {}, and this box is {}", bundle.compatible, status.compatible);
        return Err(Reason::new("wrong-compatible", text));
    }
    let slots = (status.slot(the_box.booted), status.slot(the_box.other));
    let (Some(booted), Some(other)) = slots else {
        let text = "RAUC no longer knows both slots; look at system.conf and at rauc status";
        return Err(Reason::new("slots", text));
    };
    // Where RAUC can't read the boot loader's side it could not change it either.
    for slot in [booted, other] {
        if slot.boot_status == Some(BootStatus::Unknown) {
            let text = format!(
                "the boot loader's state of {} can't be read; check its environment (fw_printenv, nvbootctrl dump-slots-info)",
                slot.name
            );
            return Err(Reason::new("boot-state", text));
        }
    }
    too_large(bundle, other)?;
    let is_older = bundle.version.as_deref().zip(booted.bundle_version.as_deref());
    if let Some((offered, runs)) = is_older.filter(|(offered, runs)| older(offered, runs) && !force) {
        let text = format!("release {offered} is older than {runs}, which runs; to go back all the same: --force");
        return Err(Reason::new("downgrade", text));
    }
    Ok(())
}

/// An image that does not fit is found out before the slot is touched. A device's size is not known here: RAUC looks at that.
fn too_large(bundle: &Bundle, other: &Slot) -> Result<(), Reason> {
    let size =
        bundle.images.iter().filter(|image| image.class == other.class).filter_map(|image| image.size_bytes).max();
    let holds = std::fs::metadata(&other.device).ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
    match (size, holds) {
        (Some(size), Some(holds)) if size > holds => {
            let text = format!("the image has {size} bytes, and {} holds {holds}; make a smaller system", other.name);
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
mod tests {
    use holdfast_rauc::{BootStatus, Bundle, Slot, Status};

    use super::{Box, check, older};

    fn slot(name: &str, version: &str) -> Slot {
        Slot {
            name: name.into(),
            class: "rootfs".into(),
            boot_status: Some(BootStatus::Good),
            bundle_version: Some(version.into()).filter(|version: &String| !version.is_empty()),
            ..Slot::default()
        }
    }

    fn status() -> Status {
        let slots = vec![slot("rootfs.0", "1.10.0"), slot("rootfs.1", "")];
        Status { compatible: "box".into(), slots, ..Status::default() }
    }

    fn bundle() -> Bundle {
        Bundle { compatible: "box".into(), version: Some("1.11.0".into()), ..Bundle::default() }
    }

    fn code(status: &Status, bundle: &Bundle, now_unix_s: i64, force: bool) -> String {
        let the_box = Box { status, booted: "rootfs.0", other: "rootfs.1", now_unix_s, built_unix_s: 1000 };
        check(&the_box, bundle, force).err().map(|reason| reason.code).unwrap_or_default()
    }

    #[test]
    fn each_refusal_has_its_code_and_a_good_bundle_has_none() {
        assert_eq!(code(&status(), &bundle(), 2000, false), "");
        assert_eq!(code(&status(), &bundle(), 999, false), "clock-wrong");
        assert_eq!(
            code(&status(), &Bundle { compatible: "other".into(), ..bundle() }, 2000, false),
            "wrong-compatible"
        );
        let old = Bundle { version: Some("1.9.7".into()), ..bundle() };
        assert_eq!(
            (code(&status(), &old, 2000, false), code(&status(), &old, 2000, true)),
            ("downgrade".into(), String::new())
        );
        let mut unreadable = status();
        unreadable.slots[1].boot_status = Some(BootStatus::Unknown);
        assert_eq!(code(&unreadable, &bundle(), 2000, false), "boot-state");
        let mut single = status();
        single.slots.pop();
        assert_eq!(code(&single, &bundle(), 2000, false), "slots");
    }

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert!(older("1.9.9", "1.10.0") && older("1.9", "1.9.1") && older("2026.11", "2026.12-rc1"));
        assert!(
            !older("1.10.0", "1.9.9") && !older("1.0", "1.0") && !older("nightly", "1.0") && !older("1.0", "nightly")
        );
    }
}
