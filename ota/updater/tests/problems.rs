//! What went wrong with other people's updates in the field, tried here. docs/update-problems.md is the whole list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::fs;

use holdfast_rauc_rig::{Signed, Wrap};
use site::Site;

/// rauc#1758, rauc#459: an installation was reported as done, and what was in the slot was not what had been written.
#[tokio::test]
async fn a_slot_that_lost_what_was_written_to_it_is_never_booted() {
    let Some(site) = Site::start_with("attempts = 2\n").await else { return };
    site.rig.spoil();
    site.install(&site.bundle("2.0")).await;
    let outcome = site.until_outcome("failed").await;
    assert_eq!(outcome.code, "read-back", "{outcome:?}");
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.A")), ("A".to_owned(), "good".to_owned()));
    assert_eq!(site.rig.boot("state.B"), "bad");
    assert!(!fs::exists(site.path("rebooting")).unwrap());
}

/// nerves_runtime#375, home-assistant/operating-system#1978: the boot loader's environment is half written or has a bad checksum.
#[tokio::test]
async fn while_the_boot_state_can_not_be_read_no_slot_is_written() {
    let Some(site) = Site::start().await else { return };
    let before = [0, 1].map(|slot| fs::read(site.rig.slot(slot)).unwrap());
    site.rig.break_boot_loader();
    site.install(&site.bundle("2.0")).await;
    // Refused, or not gone on with: RAUC 1.8 tells an environment that it can't read as a slot that is bad.
    let is_held = || async {
        let waits = site.updater().await.waits_for().await.unwrap_or_default();
        !site.outcomes().await.is_empty() || waits.contains("the running system to prove itself")
    };
    site.until("it to be refused or to wait", is_held).await;
    assert!([0, 1].map(|slot| fs::read(site.rig.slot(slot)).unwrap()) == before, "a slot was touched");
    // Once it is mended, it goes.
    fs::remove_file(site.rig.dir().join("broken")).unwrap();
    if site.state().await == "idle" {
        site.install(&site.bundle("2.1")).await;
    }
    let flag = site.path("rebooting");
    site.until("a reboot", || async { fs::exists(&flag).unwrap() }).await;
}

/// pithead#793: nothing marked the running slot good, so that both were bad. pithead#2383 (found by its #2044): something marked it
/// good that did not look whether the box does what it is for.
#[tokio::test]
async fn each_boot_is_marked_good_when_the_recorder_works_and_not_before() {
    let Some(mut site) = Site::start().await else { return };
    // As a boot loader leaves it that counts its attempts.
    let uncounted = |site: &Site| fs::write(site.rig.dir().join("state.A"), "bad\n").unwrap();
    site.break_recorder();
    uncounted(&site);
    site.reboot().await;
    // It has looked, as it answers; and goes on looking.
    let mut looks = 0;
    site.until("it to look for a while", || {
        looks += 1;
        let is_bad = site.rig.boot("state.A") == "bad";
        async move { looks > 100 || !is_bad }
    })
    .await;
    assert_eq!(site.rig.boot("state.A"), "bad", "marked good though nothing records");
    site.start_recorder();
    site.until("the boot to be marked good", || async { site.rig.boot("state.A") == "good" }).await;
}

/// A fleet's token that was not there kept the updater from starting, and so each boot from being marked good.
#[tokio::test]
async fn a_fleet_that_can_not_be_asked_keeps_no_boot_from_being_marked_good() {
    let Some(mut site) = Site::start().await else { return };
    let token = site.path("token");
    // Where nobody listens.
    site.set(&format!(
        "fleet_url = \"http://127.0.0.1:9/\"\nfleet_id = \"box\"\nfleet_plain_http = true\nfleet_token_file = {token:?}\n"
    ))
    .await;
    let notice = async |site: &Site| site.updater().await.notice().await.unwrap();
    site.until("a notice", || async { notice(&site).await.contains(&token) }).await;
    fs::write(site.rig.dir().join("state.A"), "bad\n").unwrap();
    site.reboot().await;
    site.until("the boot to be marked good", || async { site.rig.boot("state.A") == "good" }).await;
    // Once it is there, it needs no other updater.
    site.until("the notice again", || async { notice(&site).await.contains(&token) }).await;
    // Without a recorder doctor does not go on to the updater.
    site.until("the recorder", || async { site.recorder().await.state().await.is_ok() }).await;
    let (_, text) = site.holdfast(&["doctor"]).await;
    let line = text.lines().find(|line| line.contains("updates")).unwrap_or_default();
    assert!(line.starts_with("warning") && line.contains("the fleet's server can't be asked"), "{text}");
    fs::write(&token, "token\n").unwrap();
    site.updater().await.check(std::collections::HashMap::new()).await.unwrap();
    site.until("the notice to be gone", || async { notice(&site).await.is_empty() }).await;
    let (_, text) = site.holdfast(&["doctor"]).await;
    assert!(text.contains("nothing keeps this box from being updated"), "{text}");
}

/// rauc#581, rauc#781, rauc#353: a certificate that is not valid yet, as the clock is wrong, or no longer.
#[tokio::test]
async fn what_is_signed_out_of_its_time_is_refused_and_nothing_is_written() {
    let Some(site) = Site::start().await else { return };
    let before = fs::read(site.rig.slot(1)).unwrap();
    let image = site.rig.image("image", 1 << 20, 3);
    // The oldest RAUC keeps to itself why.
    let tells = site.rig.version() >= (1, 9);
    for (number, signed, code) in [(1, Signed::Expired, "expired"), (2, Signed::NotYet, "not-yet-valid")] {
        let bundle = site.rig.bundle(code, &image, Wrap { signed, ..Wrap::default() });
        site.install(bundle.to_str().unwrap()).await;
        site.until("its end", || async { site.outcomes().await.len() == number }).await;
        let outcome = site.outcomes().await.remove(0);
        assert_eq!(outcome.result, "failed", "{outcome:?}");
        assert_eq!(outcome.code, if tells { code } else { "untold" }, "{outcome:?}");
    }
    assert!(fs::read(site.rig.slot(1)).unwrap() == before);
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("A".to_owned(), "good".to_owned()));
}
