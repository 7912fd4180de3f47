//! What a real RAUC refuses, and that each refusal is told by its kind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use holdfast_rauc::{Access, BootStatus, Error, Kind, Options, Rauc};
use holdfast_rauc_rig::{Format, Plan, Rig, Signed, Strict, Wrap};

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn refused(rauc: &Rauc, bundle: &Path) -> Error {
    let installing = rauc.install(name(bundle), &Options::default()).await.unwrap();
    installing.finished().await.unwrap_err()
}

/// A refused bundle leaves both slots as they were.
#[tokio::test]
async fn bad_bundles_are_refused_by_kind() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let image = rig.image("image", 1 << 20, 3);
    let slots = [0, 1].map(|number| std::fs::read(rig.slot(number)).unwrap());
    let wrap = Wrap::default();
    let verity = Some(Format::Verity);
    let cut = rig.bundle("cut", &image, wrap);
    rig.cut(&cut, 700_000);
    let tail = rig.bundle("tail", &image, wrap);
    rig.cut(&tail, std::fs::metadata(&tail).unwrap().len() - 100);
    let empty = rig.bundle("empty", &image, wrap);
    rig.cut(&empty, 0);
    let unsigned = rig.dir().join("unsigned.raucb");
    std::fs::copy(&image, &unsigned).unwrap();
    let cases = [
        ("foreign", rig.bundle("foreign", &image, Wrap { signed: Signed::Foreign, ..wrap }), Kind::Signature),
        (
            "foreign verity",
            rig.bundle("fv", &image, Wrap { signed: Signed::Foreign, format: verity, ..wrap }),
            Kind::Signature,
        ),
        ("expired", rig.bundle("expired", &image, Wrap { signed: Signed::Expired, ..wrap }), Kind::Expired),
        (
            "expired verity",
            rig.bundle("ev", &image, Wrap { signed: Signed::Expired, format: verity, ..wrap }),
            Kind::Expired,
        ),
        ("not yet valid", rig.bundle("not-yet", &image, Wrap { signed: Signed::NotYet, ..wrap }), Kind::NotYetValid),
        ("other box", rig.bundle("other", &image, Wrap { compatible: "toaster", ..wrap }), Kind::WrongCompatible),
        ("cut", cut, Kind::Damaged),
        ("cut in its signature", tail, Kind::Damaged),
        ("empty", empty, Kind::Damaged),
        ("not signed", unsigned, Kind::Damaged),
        ("not there", rig.dir().join("nothing.raucb"), Kind::NotFound),
    ];
    for (what, bundle, kind) in &cases {
        let error = refused(&rauc, bundle).await;
        assert_eq!(error.kind(), *kind, "{what}: {error}");
        assert!(error.to_string().contains(error.remedy()) && error.to_string().contains(name(bundle)), "{error}");
        if *kind != Kind::WrongCompatible {
            let error = rauc.inspect(name(bundle), &Access::default()).await.unwrap_err();
            let told = if rig.version() < (1, 9) { Kind::Untold } else { *kind };
            assert_eq!(error.kind(), told, "inspecting {what}: {error}");
        }
        let status = rauc.status().await.unwrap();
        let told = status.last_error.map(|told| Kind::of_text(&told));
        assert_eq!(told, Some(*kind), "{what}");
    }
    assert_eq!([0, 1].map(|number| std::fs::read(rig.slot(number)).unwrap()), slots, "a slot was touched");
    assert_eq!((rig.boot("primary").as_str(), rig.boot("state.B").as_str()), ("A", "good"));
}

/// What each certificate has wrong, in the words of OpenSSL: a box that looks closely tells them apart.
#[tokio::test]
async fn certificates_are_refused_by_kind() {
    let Some(rig) = Rig::start(Plan { strict: Strict::Yes, ..Plan::default() }).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let image = rig.image("image", 1 << 20, 3);
    let slots = [0, 1].map(|number| std::fs::read(rig.slot(number)).unwrap());
    let bundle = |signed| rig.bundle(&format!("{signed:?}"), &image, Wrap { signed, ..Wrap::default() });
    let mut remedies = std::collections::BTreeSet::new();
    for (signed, kind) in [
        (Signed::Foreign, Kind::Signature),
        (Signed::Unconnected, Kind::Signature),
        (Signed::Revoked, Kind::Revoked),
        (Signed::Server, Kind::WrongPurpose),
        (Signed::Expired, Kind::Expired),
        (Signed::NotYet, Kind::NotYetValid),
    ] {
        let error = refused(&rauc, &bundle(signed)).await;
        assert_eq!(error.kind(), kind, "{signed:?}: {error}");
        remedies.insert(error.remedy());
    }
    assert_eq!(remedies.len(), 5);
    assert_eq!([0, 1].map(|number| std::fs::read(rig.slot(number)).unwrap()), slots, "a slot was touched");
    for signed in [Signed::Well, Signed::Between] {
        let installing = rauc.install(name(&bundle(signed)), &Options::default()).await.unwrap();
        installing.finished().await.unwrap();
    }
    drop(rig);
    // A keyring without lists trusts nobody: rather that than somebody whose key was taken back.
    let Some(rig) = Rig::start(Plan { strict: Strict::Unlisted, ..Plan::default() }).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), Wrap::default());
    let error = refused(&rauc, &bundle).await;
    assert!(error.kind() == Kind::RevocationList && error.remedy().contains("-gencrl"), "{error}");
}

#[tokio::test]
async fn plain_bundles_are_refused_where_only_verity_is_allowed() {
    let Some(rig) = Rig::start(Plan { formats: Some("-plain"), ..Plan::default() }).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let image = rig.image("image", 1 << 20, 3);
    let bundle = rig.bundle("plain", &image, Wrap { format: Some(Format::Plain), ..Wrap::default() });
    let error = refused(&rauc, &bundle).await;
    assert_eq!(error.kind(), Kind::FormatNotAllowed, "{error}");
    let bundle = rig.bundle("verity", &image, Wrap { format: Some(Format::Verity), ..Wrap::default() });
    let installing = rauc.install(name(&bundle), &Options::default()).await.unwrap();
    // Where the kernel has no device mapper, that is what is told.
    match (rig.format(), installing.finished().await) {
        (Format::Verity, end) => end.unwrap(),
        (Format::Plain, end) => assert_eq!(end.unwrap_err().kind(), Kind::Kernel),
    }
}

#[tokio::test]
async fn an_image_larger_than_its_slot_is_refused() {
    let plan = Plan { block_devices: true, slot_bytes: 1 << 20, ..Plan::default() };
    let Some(rig) = Rig::start(plan).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("large", &rig.image("large", 2 << 20, 3), Wrap::default());
    let error = refused(&rauc, &bundle).await;
    assert_eq!(error.kind(), Kind::NoSpace, "{error}");
}

#[tokio::test]
async fn a_handler_that_says_no_is_told() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), Wrap::default());
    rig.refuse();
    let error = refused(&rauc, &bundle).await;
    assert_eq!(error.kind(), Kind::Rejected, "{error}");
}

#[tokio::test]
async fn a_boot_loader_that_fails_is_told() {
    let Some(rig) = Rig::start(Plan::default()).await else { return };
    let rauc = Rauc::connect(&rig.connection().await).await.unwrap();
    let bundle = rig.bundle("good", &rig.image("image", 1 << 20, 3), Wrap::default());
    rig.break_boot_loader();
    let error = refused(&rauc, &bundle).await;
    assert_eq!(error.kind(), Kind::BootLoader, "{error}");
    assert_eq!(rauc.primary().await.unwrap_err().kind(), Kind::BootLoader);
    // The rest is told all the same.
    let status = rauc.status().await.unwrap();
    assert_eq!((status.primary.as_ref(), status.slots.len(), status.untold.len()), (None, 2, 1), "{status:?}");
    assert!(matches!(status.slots[1].boot_status, Some(BootStatus::Bad | BootStatus::Unknown)), "{status:?}");
}
