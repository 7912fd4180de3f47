//! An installation's course: one at a time, none that hangs, none whose end is missed.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::time::Duration;

use holdfast_rauc::{Error, Installing, Kind, Mark, Operation, Options, Rauc, Target};
use holdfast_rauc_rig::{Plan, Rig, Wrap};
use zbus::zvariant::Value;

/// A rig, a RAUC and an installation that waits before it touches a slot.
async fn held(plan: Plan<'_>) -> Option<(Rig, Rauc, Installing, String)> {
    let rig = Rig::start(plan).await?;
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), Wrap::default());
    let bundle = bundle.to_str().unwrap().to_owned();
    rig.hold();
    let installing = rauc.install(&bundle, &Options::default()).await.unwrap();
    rig.held().await;
    Some((rig, rauc, installing, bundle))
}

async fn end(installing: Installing) -> Result<(), Error> {
    let ended = tokio::time::timeout(Duration::from_secs(60), installing.finished()).await;
    ended.unwrap_or_else(|_| panic!("the installation's end was missed"))
}

#[tokio::test]
async fn a_second_one_is_told_busy_and_harms_nothing() {
    let Some((rig, rauc, installing, bundle)) = held(Plan::default()).await else { return };
    let second = rauc.install(&bundle, &Options::default()).await.unwrap_err();
    assert_eq!(second.kind(), Kind::Busy, "{second}");
    let others = [
        rauc.mark(Mark::Good, &Target::Booted).await.unwrap_err(),
        rauc.inspect(&bundle, &holdfast_rauc::Access::default()).await.unwrap_err(),
        rauc.primary().await.unwrap_err(),
    ];
    assert!(others.iter().all(|error| error.kind() == Kind::Busy), "{others:?}");
    let status = rauc.status().await.unwrap();
    assert_eq!((status.operation, status.slots.len(), status.untold.len()), (Operation::Installing, 0, 2));
    rig.release();
    end(installing).await.unwrap();
}

/// RAUC says `idle` when it has refused somebody else's installation, though ours goes on.
#[tokio::test]
async fn an_idle_that_is_none_is_not_believed() {
    let Some((rig, rauc, mut installing, bundle)) = held(Plan::default()).await else { return };
    let connection = rig.connection().await;
    let installer =
        zbus::Proxy::new(&connection, "de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer").await.unwrap();
    let refused: zbus::Result<()> =
        installer.call("InstallBundle", &(&bundle, HashMap::<&str, Value<'_>>::new())).await;
    refused.unwrap_err();
    assert_eq!(
        rauc.status().await.unwrap().operation,
        Operation::Idle,
        "RAUC has learned; this test is of no more use"
    );
    // It has been told so, and has asked: nothing ends.
    let early =
        tokio::time::timeout(Duration::from_millis(500), async { while installing.progress().await.is_some() {} })
            .await;
    early.unwrap_err();
    rig.release();
    end(installing).await.unwrap();
    let written = std::fs::read(rig.slot(1)).unwrap();
    assert!(written.starts_with(&std::fs::read(rig.dir().join("image.img")).unwrap()));
}

#[tokio::test]
async fn a_rauc_that_dies_in_the_middle_is_told() {
    let Some((mut rig, rauc, installing, bundle)) = held(Plan::default()).await else { return };
    rig.kill_service();
    let error = end(installing).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Gone, "{error}");
    assert_eq!(rauc.status().await.unwrap_err().kind(), Kind::Absent);
    let absent = rauc.install(&bundle, &Options::default()).await.unwrap_err();
    assert_eq!(absent.kind(), Kind::Absent, "{absent}");
    // And the same handle goes on with the next one.
    rig.release();
    rig.start_service().await;
    end(rauc.install(&bundle, &Options::default()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_bus_that_dies_in_the_middle_is_told() {
    let Some((mut rig, _rauc, installing, _)) = held(Plan::default()).await else { return };
    rig.kill_bus();
    let error = end(installing).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Bus | Kind::Gone), "{error}");
    rig.release();
}

#[tokio::test]
async fn what_an_older_rauc_does_not_know_is_told_and_left_out() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    // A plain one has no hash of its manifest.
    let format = (rig.version() >= (1, 14)).then_some(holdfast_rauc_rig::Format::Verity);
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), Wrap { format, ..Wrap::default() });
    let bundle = bundle.to_str().unwrap();
    let options = Options {
        manifest_hash: Some("00".repeat(32)),
        transaction: Some("2b9f1a52-6a0c-4c36-9e0b-0f3b7c1f9a11".into()),
        ignore_version_limit: true,
        ..Options::default()
    };
    let installing = rauc.install(bundle, &options).await.unwrap();
    let degraded = installing.degraded().len();
    let ended = end(installing).await;
    if rig.version() < (1, 14) {
        assert_eq!(degraded, if rig.version() < (1, 10) { 3 } else { 1 });
        ended.unwrap();
    } else {
        assert_eq!((degraded, ended.unwrap_err().kind()), (0, Kind::HashMismatch));
    }
}

#[tokio::test]
async fn a_bundle_is_looked_into() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let wrap = Wrap { version: "2.1.0", format: Some(holdfast_rauc_rig::Format::Verity), ..Wrap::default() };
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), wrap);
    let told = rauc.inspect(bundle.to_str().unwrap(), &holdfast_rauc::Access::default()).await.unwrap();
    assert_eq!((told.compatible.as_str(), told.version.as_deref()), ("holdfast-rig", Some("2.1.0")));
    if rig.version() < (1, 9) {
        assert!(told.untold.is_some() && told.images.is_empty(), "{told:?}");
    } else {
        assert_eq!(
            (told.format, told.manifest_hash.map(|hash| hash.len())),
            (Some(holdfast_rauc::Format::Verity), Some(64))
        );
        let [image] = told.images.as_slice() else { panic!("{:?}", told.images) };
        assert_eq!((image.class.as_str(), image.size_bytes), ("rootfs", Some(1 << 20)));
    }
}
