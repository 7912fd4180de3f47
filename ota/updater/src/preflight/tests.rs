use holdfast_rauc::{BootStatus, Bundle, Environment, Image, Jetson, Slot, Status};

use super::{Box, check, obstacles, older};
use crate::power::Power;
use crate::surroundings::Surroundings;
use crate::target::Target;

/// A box on which all is well; each case spoils one thing.
#[derive(Clone)]
struct Case {
    status: Status,
    around: Surroundings,
    bundle: Bundle,
    now_unix_s: i64,
}

fn slot(name: &str, bootname: &str, version: Option<&str>) -> Slot {
    Slot {
        name: name.into(),
        class: "rootfs".into(),
        bootname: Some(bootname.into()),
        boot_status: Some(BootStatus::Good),
        bundle_version: version.map(str::to_owned),
        ..Slot::default()
    }
}

impl Case {
    fn good() -> Self {
        let slots = vec![slot("rootfs.0", "A", Some("1.10.0")), slot("rootfs.1", "B", None)];
        let image = Image { class: "rootfs".into(), size_bytes: Some(1000), ..Image::default() };
        Self {
            status: Status { compatible: "box".into(), slots, ..Status::default() },
            around: Surroundings {
                environment: Ok(Some(Environment::Whole { copies: 2, present: 0 })),
                jetson: Ok(None),
                power: Power::Battery(Some(30)),
                target: Target::Free { bytes: 1000 },
                state_free_bytes: Some(1 << 30),
            },
            bundle: Bundle {
                compatible: "box".into(),
                version: Some("1.11.0".into()),
                images: vec![image],
                ..Bundle::default()
            },
            now_unix_s: 2000,
        }
    }

    fn the_box(&self) -> Box<'_> {
        Box {
            status: &self.status,
            booted: "rootfs.0",
            other: "rootfs.1",
            around: &self.around,
            now_unix_s: self.now_unix_s,
            built_unix_s: 1000,
            least_battery_percent: 30,
        }
    }

    fn code(&self, force: bool) -> String {
        check(&self.the_box(), &self.bundle, force).err().map(|reason| reason.code).unwrap_or_default()
    }
}

/// What is spoilt, the code, and a part of the remedy.
type Spoilt = (fn(&mut Case), &'static str, &'static str);

const SPOILT: &[Spoilt] = &[
    (|case| case.now_unix_s = 999, "clock-wrong", "timedatectl"),
    (|case| drop(case.status.slots.pop()), "slots", "rauc status"),
    (|case| case.status.slots[1].boot_status = Some(BootStatus::Unknown), "boot-state", "fw_printenv"),
    (|case| case.around.environment = Err("no".into()), "boot-state", "/etc/fw_env.config"),
    (|case| case.around.environment = Ok(Some(Environment::Lost)), "boot-state", "saveenv"),
    (
        |case| case.around.environment = Ok(Some(Environment::Damaged { copy: 1 })),
        "environment-damaged",
        "copy 2 of 2 of U-Boot's environment is damaged, and a power cut may take the other; write it once: \
         fw_setenv holdfast_mended $(date +%s)",
    ),
    (|case| case.around.jetson = Err("no".into()), "boot-state", "efivarfs"),
    (|case| case.around.jetson = Ok(Some(Jetson::default())), "redundancy-unset", "ROOTFS_AB=1"),
    (
        |case| case.around.jetson = Ok(Some(Jetson { redundancy_level: Some(0), slot_status: [Some(0), Some(0)] })),
        "redundancy-unset",
        "ROOTFS_AB=1",
    ),
    (
        |case| case.around.jetson = Ok(Some(Jetson { redundancy_level: Some(1), slot_status: [Some(0xff), Some(0)] })),
        "slot-status-stuck",
        "L4T Configuration",
    ),
    (|case| case.around.target = Target::Missing("no such file".into()), "slot-unusable", "partition table"),
    (|case| case.around.target = Target::ReadOnly, "slot-unusable", "blockdev --getro"),
    (|case| case.around.target = Target::Mounted("/mnt".into()), "slot-unusable", "umount /mnt"),
    (|case| case.status.slots[1].mount_point = Some("/mnt".into()), "slot-unusable", "umount /mnt"),
    (|case| case.around.target = Target::Held("dm-0".into()), "slot-unusable", "dm-0"),
    (|case| case.around.state_free_bytes = Some(4095 << 10), "no-space", "update.state_dir"),
    (|case| case.around.power = Power::Battery(Some(29)), "power-low", "update.least_battery_percent"),
];

#[test]
fn a_box_on_which_all_is_well_is_updated() {
    let case = Case::good();
    assert_eq!((case.code(false).as_str(), obstacles(&case.the_box()).len()), ("", 0));
    // Neither a slot that was found bad, which is about to be written, nor what nobody can tell is in the way.
    let mut case = Case::good();
    case.status.slots[1].boot_status = Some(BootStatus::Bad);
    case.around.jetson = Ok(Some(Jetson { redundancy_level: Some(1), slot_status: [Some(0), Some(0xff)] }));
    case.around.environment = Ok(None);
    case.around.state_free_bytes = None;
    assert_eq!((case.code(false).as_str(), obstacles(&case.the_box()).len()), ("", 0));
}

#[test]
fn each_obstacle_has_its_code_and_a_remedy_and_none_can_be_forced() {
    for (number, (spoil, code, remedy)) in SPOILT.iter().enumerate() {
        let mut case = Case::good();
        spoil(&mut case);
        assert_eq!((case.code(false).as_str(), case.code(true).as_str()), (*code, *code), "{number}");
        let found = obstacles(&case.the_box());
        assert_eq!(found.len(), 1, "{number}: {found:?}");
        assert!(found[0].text.contains(remedy), "{number}: {found:?}");
    }
}

#[test]
fn all_obstacles_are_told_at_once() {
    let mut case = Case::good();
    for (spoil, _, _) in SPOILT.iter().filter(|(_, code, _)| *code != "slots") {
        spoil(&mut case);
    }
    let codes: Vec<String> = obstacles(&case.the_box()).into_iter().map(|reason| reason.code).collect();
    assert_eq!(codes, ["clock-wrong", "slot-status-stuck", "slot-unusable", "no-space", "power-low"]);
}

/// The plan waits for that, and people are told what it waits for.
#[test]
fn a_running_system_that_is_not_marked_good_is_told_and_not_refused() {
    let mut case = Case::good();
    case.status.slots[0].boot_status = Some(BootStatus::Bad);
    assert_eq!(case.code(false), "");
    let found = obstacles(&case.the_box());
    assert_eq!(found.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>(), ["not-proven"]);
}

#[test]
fn a_bundle_that_does_not_fit_is_refused() {
    let mut case = Case::good();
    case.bundle.compatible = "other".into();
    assert_eq!(case.code(true), "wrong-compatible");
    let mut case = Case::good();
    case.around.target = Target::Free { bytes: 999 };
    assert_eq!(case.code(true), "too-large");
    // What is for other slots does not matter.
    case.bundle.images[0].class = "boot".into();
    assert_eq!(case.code(true), "");
    let mut case = Case::good();
    case.bundle.version = Some("1.9.7".into());
    assert_eq!((case.code(false).as_str(), case.code(true).as_str()), ("downgrade", ""));
}

#[test]
fn releases_are_compared_by_their_numbers() {
    assert!(older("1.9.9", "1.10.0") && older("1.9", "1.9.1") && older("2026.11", "2026.12-rc1"));
    assert!(!older("1.10.0", "1.9.9") && !older("1.0", "1.0") && !older("nightly", "1.0") && !older("1.0", "nightly"));
}
