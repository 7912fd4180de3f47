//! Against a real `rauc service`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use holdfast_rauc::{BootStatus, Kind, Mark, Operation, Options, Rauc, SlotState, SlotStatus, Target};
use holdfast_rauc_rig::{Plan, Rig, Wrap};

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn connect(rig: &Rig) -> Rauc {
    Rauc::connect(&rig.connection().await).await.unwrap()
}

#[tokio::test]
async fn status_tells_box_and_slots() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let status = connect(&rig).await.status().await.unwrap();
    assert_eq!((status.compatible.as_str(), status.boot_slot.as_deref()), ("holdfast-rig", Some("A")));
    assert_eq!((status.operation, status.last_error, status.untold), (Operation::Idle, None, vec![]));
    assert_eq!(status.primary.as_deref(), Some("rootfs.0"));
    let [a, b] = status.slots.as_slice() else { panic!("{:?}", status.slots) };
    assert_eq!(
        (a.name.as_str(), &a.state, b.name.as_str(), &b.state),
        ("rootfs.0", &SlotState::Booted, "rootfs.1", &SlotState::Inactive)
    );
    assert_eq!((a.class.as_str(), a.kind.as_str(), a.bootname.as_deref()), ("rootfs", "raw", Some("A")));
    assert_eq!((a.device.as_str(), a.boot_status.as_ref()), (name(rig.slot(0)), Some(&BootStatus::Good)));
    assert_eq!((&a.status, &a.sha256, &a.installed), (&None, &None, &None));
}

#[tokio::test]
async fn a_good_bundle_goes_to_the_other_slot() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let image = rig.image("new", 3 << 20, 7);
    let bundle = rig.bundle("good", &image, Wrap::default());
    let rauc = connect(&rig).await;
    let before = std::fs::read(rig.slot(0)).unwrap();
    let mut installing = rauc.install(name(&bundle), &Options::default()).await.unwrap();
    let mut seen = vec![];
    while let Some(progress) = installing.progress().await {
        seen.push(progress.percent);
    }
    assert_eq!(installing.latest().percent, 100, "{seen:?}");
    assert!(seen.is_sorted() && seen.len() > 3, "{seen:?}");
    installing.finished().await.unwrap();
    let written = std::fs::read(rig.slot(1)).unwrap();
    assert!(written.starts_with(&std::fs::read(&image).unwrap()), "the slot does not hold the image");
    assert_eq!(std::fs::read(rig.slot(0)).unwrap(), before, "the booted slot was touched");
    let status = rauc.status().await.unwrap();
    let slot = status.slot("rootfs.1").unwrap();
    assert_eq!((&slot.status, slot.size_bytes), (&Some(SlotStatus::Ok), Some(3 << 20)));
    assert_eq!(
        (slot.bundle_version.as_deref(), slot.installed.as_ref().map(|installed| installed.times)),
        (Some("1.0.0"), Some(1))
    );
    // activate-installed=false: it is there, and nothing boots it yet.
    assert_eq!(
        (status.primary.as_deref(), &slot.boot_status, &status.last_error),
        (Some("rootfs.0"), &Some(BootStatus::Bad), &None)
    );
    let marked = rauc.mark(Mark::Active, &Target::Other).await.unwrap();
    assert_eq!(
        (marked.slot.as_str(), rauc.primary().await.unwrap().as_str(), rig.boot("primary").as_str()),
        ("rootfs.1", "rootfs.1", "B")
    );
    let kind = rauc.mark(Mark::Good, &Target::Named("rootfs.7".into())).await.unwrap_err();
    assert_eq!(kind.kind(), Kind::NoSlot, "{kind}");
}
