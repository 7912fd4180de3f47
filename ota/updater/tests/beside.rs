//! An update that is installed while something is recorded, where the policy allows it: real RAUC, real recorder, real recording.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::fs;

use holdfast_dbus::updater::InstallOptions;
use holdfast_dbus::{StartOptions, StopOptions};
use holdfast_rauc_rig::Wrap;
use site::Site;

const POLICY: &str = "install_beside_recording = true\n";
/// At a modest start this takes some seconds.
const IMAGE_BYTES: u64 = 12 << 20;

async fn start(site: &Site) {
    let options = StartOptions { wait_ms: Some(20_000), ..StartOptions::default() };
    site.recorder().await.start(options).await.unwrap();
}

/// Nothing of the throttle is left: RAUC goes on, and answers.
async fn is_free(site: &Site) {
    let stat = fs::read_to_string(format!("/proc/{}/stat", site.rig.pid())).unwrap();
    assert!(!stat.rsplit(") ").next().unwrap().starts_with('T'), "RAUC was left frozen: {stat}");
    let rauc = holdfast_rauc::Rauc::connect(&site.client).await.unwrap();
    let status = tokio::time::timeout(site::DEADLINE, rauc.status()).await.unwrap().unwrap();
    assert_eq!(status.slots.len(), 2);
    assert_eq!(site.updater().await.throttled().await.unwrap(), "");
}

fn bundle(site: &Site) -> (String, Vec<u8>) {
    let image = site.rig.image("2.0", IMAGE_BYTES, 7);
    let bundle = site.rig.bundle("2.0", &image, Wrap { version: "2.0", ..Wrap::default() });
    (bundle.display().to_string(), fs::read(image).unwrap())
}

#[tokio::test]
async fn it_is_written_whole_beside_a_recording_and_activated_after_it() {
    let Some(mut site) = Site::start_with(POLICY).await else { return };
    let (bundle, image) = bundle(&site);
    start(&site).await;
    let updater = site.updater().await;
    // Nothing is written before it was asked how people see it.
    site.rig.hold();
    site.install(&bundle).await;
    let mut told = String::new();
    site.until("it to be throttled", || async { updater.throttled().await.unwrap().starts_with("writing at") }).await;
    let (code, text) = site.holdfast(&["update", "status"]).await;
    assert!(code == 0 && text.contains("installing") && text.contains("beside a recording"), "{code} {text}");
    site.rig.release();
    while site.state().await != "installed" {
        let throttled = updater.throttled().await.unwrap();
        if throttled != told {
            println!("{throttled}");
            told = throttled;
        }
        site.until("the next", || async {
            site.state().await == "installed" || updater.throttled().await.unwrap() != told
        })
        .await;
    }
    // Written, read back, and not activated: it waits for the end of the recording.
    site.until("it to wait", || async { updater.waits_for().await.unwrap().contains("leave to reboot") }).await;
    assert_eq!((site.rig.boot("primary"), site.state().await), ("A".to_owned(), "installed".to_owned()));
    assert!(fs::read(site.rig.slot(1)).unwrap().starts_with(&image), "not what is in the bundle");
    is_free(&site).await;
    assert_eq!(site.recorder().await.state().await.unwrap(), "recording");
    let totals = site.recorder().await.stop(StopOptions::default()).await.unwrap();
    assert!(totals.lost_frames == 0 && totals.safe_frames > 0, "{totals:?}");
    site.until_reboot().await;
    site.until_outcome("good").await;
}

#[tokio::test]
async fn the_throttle_survives_a_kill_of_the_updater_and_is_gone_at_the_end() {
    let Some(mut site) = Site::start_with(POLICY).await else { return };
    let (bundle, image) = bundle(&site);
    start(&site).await;
    let until = InstallOptions { until: Some("install".into()), ..InstallOptions::default() };
    site.updater().await.install(&bundle, until).await.unwrap();
    for _ in 0..3 {
        let updater = site.updater().await;
        site.until("a write or the end", || async {
            updater.throttled().await.is_ok_and(|told| told.starts_with("writing at"))
                || site.state().await == "installed"
        })
        .await;
        site.restart_updater().await;
    }
    site.until_state("installed").await;
    assert!(fs::read(site.rig.slot(1)).unwrap().starts_with(&image), "not what is in the bundle");
    assert_eq!(site.rig.boot("primary"), "A");
    is_free(&site).await;
    let totals = site.recorder().await.stop(StopOptions::default()).await.unwrap();
    assert_eq!(totals.lost_frames, 0);
}
