//! Updates from sticks: real file systems on block devices, looked at by the very program that systemd starts.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use holdfast_dbus::panel::PanelProxy;
use site::Site;
use site::stick::Stick;
use zbus::proxy::CacheProperties;

/// A signed bundle, made once.
fn made(site: &Site, version: &str) -> String {
    let kept = site.path(&format!("{version}.raucb"));
    if !Path::new(&kept).exists() {
        fs::rename(site.bundle(version), &kept).unwrap();
    }
    kept
}

/// Puts a signed bundle into a directory.
fn put(site: &Site, directory: &Path, version: &str) {
    fs::copy(made(site, version), directory.join(format!("holdfast-{version}.raucb"))).unwrap();
}

#[tokio::test]
async fn a_stick_is_shown_copied_let_go_and_installed() {
    let Some(mut site) = Site::start().await else { return };
    let Some(mut stick) = Stick::make(|inside| {
        put(&site, inside, "1.9");
        put(&site, inside, "2.0");
    }) else {
        return;
    };
    site.start_panel();
    let panel = PanelProxy::builder(&site.client).cache_properties(CacheProperties::No).build().await.unwrap();
    let mut holder = site.plug(&stick);
    site.until_state("available").await;
    let lit = || async {
        let lights = panel.lights().await.unwrap_or_default();
        lights.iter().any(|light| light.name == "status" && light.condition == "update-available")
    };
    site.until("the light of an update", lit).await;
    let (code, text) = site.holdfast(&["update"]).await;
    assert!(code == 0 && text.contains("update to 2.0, from a USB stick"), "{code} {text}");
    assert!(text.contains("waits for somebody") && text.contains("leave it in"), "{text}");
    assert_eq!(site.updater().await.source().await.unwrap(), "usb");

    // Somebody says so; RAUC is held before it writes.
    site.rig.hold();
    let (code, text) = site.holdfast(&["update", "approve"]).await;
    assert_eq!(code, 0, "{text}");
    site.until_notice("may be pulled out").await;
    assert!(holder.until_let_go().await.success(), "{}", site.log());
    site.rig.held().await;
    // In the middle of the installation.
    assert!(stick.is_free(), "it is still mounted");
    site.rig.release();
    site.until_reboot().await;
    assert_eq!(site.until_outcome("good").await.version, "2.0");

    // Left in, or plugged in once more: it runs already.
    let Some(again) = Stick::make(|inside| put(&site, inside, "2.0")) else { return };
    assert!(site.plug(&again).until_let_go().await.success());
    site.until_notice("release 2.0, which runs already").await;
    let Some(unnamed) = Stick::make(|inside| {
        fs::copy(made(&site, "2.0"), inside.join("update.raucb")).unwrap();
    }) else {
        return;
    };
    // What its name does not tell is found out once it is copied.
    let mut holder = site.plug(&unnamed);
    site.until_state("available").await;
    site.updater().await.cancel(HashMap::new()).await.unwrap();
    assert!(holder.until_let_go().await.success());
    site.until("its end", || async { site.outcomes().await.len() == 2 }).await;
    let Some(older) = Stick::make(|inside| put(&site, inside, "1.9")) else { return };
    assert!(site.plug(&older).until_let_go().await.success());
    site.until_notice("older than 2.0, which runs").await;
    assert_eq!((site.state().await.as_str(), site.outcomes().await.len()), ("idle", 2));
}

#[tokio::test]
async fn it_goes_on_by_itself_where_it_may() {
    let Some(mut site) = Site::start_with("usb = \"reboot\"\n").await else { return };
    let Some(stick) = Stick::make(|inside| put(&site, inside, "2.0")) else { return };
    let mut holder = site.plug(&stick);
    assert!(holder.until_let_go().await.success(), "{}", site.log());
    site.until_reboot().await;
    assert_eq!(site.until_outcome("good").await.version, "2.0");
}

#[tokio::test]
async fn a_stick_that_is_left_in_is_not_installed_again() {
    let Some(mut site) = Site::start_with("usb = \"reboot\"\n").await else { return };
    // Its name does not say which release it is.
    let bundle = made(&site, "2.0");
    let stick = Stick::directory(|inside| {
        fs::copy(&bundle, inside.join("update.raucb")).unwrap();
    });
    assert!(site.plug(&stick).until_let_go().await.success(), "{}", site.log());
    site.until_reboot().await;
    site.until_outcome("good").await;
    // As udev does it at each start.
    assert!(site.plug(&stick).until_let_go().await.success(), "{}", site.log());
    site.until_notice("runs already").await;
    assert_eq!((site.state().await.as_str(), site.outcomes().await.len()), ("idle", 1));
}

#[tokio::test]
async fn a_stick_that_is_pulled_out_too_early_is_told_and_nothing_breaks() {
    // 2 MiB take half a minute.
    let Some(mut site) = Site::start_with("download_kib_per_second = 64\n").await else { return };
    let Some(stick) = Stick::make(|inside| put(&site, inside, "2.0")) else { return };
    // Before anything was done about it.
    let holder = site.plug(&stick);
    site.until_state("available").await;
    drop(holder);
    site.until_state("idle").await;
    site.until_notice("was pulled out").await;
    assert!(site.outcomes().await.is_empty());

    // While it is copied.
    let holder = site.plug(&stick);
    site.until_state("available").await;
    site.updater().await.approve("reboot", HashMap::new()).await.unwrap();
    site.until("some of it to be copied", || async { site.updater().await.percent().await.unwrap() > 0 }).await;
    drop(holder);
    let outcome = site.until_outcome("failed").await;
    assert_eq!(outcome.code, "stick-gone");
    assert!(outcome.text.contains("plug it in again"), "{outcome:?}");
    site.until_state("idle").await;

    // Once more; now the updater is killed, and whoever holds the stick offers it to the next one.
    let mut holder = site.plug(&stick);
    site.until_state("available").await;
    site.updater().await.approve("reboot", HashMap::new()).await.unwrap();
    site.until("some of it to be copied", || async { site.updater().await.percent().await.unwrap() > 0 }).await;
    site.restart_updater().await;
    site.until("more of it to be copied", || async { site.updater().await.percent().await.unwrap() > 1 }).await;
    assert_eq!(site.state().await, "downloading");
    // It is given up, and the stick let go.
    site.updater().await.cancel(HashMap::new()).await.unwrap();
    assert!(holder.until_let_go().await.success());
    site.until_notice("may be pulled out").await;
    assert_eq!((site.outcomes().await.len(), site.outcomes().await[0].result.as_str()), (2, "cancelled"));
    assert_eq!(site.rig.boot("primary"), "A");
}

#[tokio::test]
async fn hostile_sticks_neither_hang_nor_hurt() {
    let Some(site) = Site::start_with("usb = \"reboot\"\n").await else { return };
    // Links, pipes, and what is no bundle.
    let Some(stick) = Stick::hostile(|inside| {
        symlink("/etc/passwd", inside.join("link-9.0.raucb")).unwrap();
        symlink("/dev/zero", inside.join("zero-9.1.raucb")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(inside.join("fifo-9.2.raucb")).status().unwrap().success());
        fs::write(inside.join("rubbish-8.0.raucb"), vec![7; 300_000]).unwrap();
        fs::write(inside.join("rubbish-7.0.raucb"), "").unwrap();
    }) else {
        return;
    };
    assert!(site.plug(&stick).until_let_go().await.success(), "{}", site.log());
    let outcome = site.until_outcome("failed").await;
    assert_eq!(outcome.version, "8.0", "{outcome:?}");
    site.until_state("idle").await;
    // Nothing to be had.
    for (fill, part) in [
        (&(|_: &Path| {}) as &dyn Fn(&Path), "has no bundle"),
        (
            &|inside: &Path| (0..200).for_each(|n| fs::write(inside.join(format!("b-{n}.0.raucb")), "x").unwrap()),
            "more than 64",
        ),
        (&|inside: &Path| fs::write(inside.join("b-9.0.raucb"), "").unwrap(), "is empty"),
    ] {
        let Some(stick) = Stick::hostile(|inside| fill(inside)) else { return };
        let mut holder = site.plug(&stick);
        assert!(holder.until_let_go().await.success(), "{part}: {}", site.log());
        if part == "is empty" {
            site.until("it to be told", || async { site.outcomes().await[0].text.contains(part) }).await;
        } else {
            site.until_notice(part).await;
        }
    }
    // One that is for others.
    let other = Stick::directory(|inside| {
        put(&site, inside, "2.0");
        let text = format!(
            "channel = \"beta\"\nrelease = \"2.0\"\nbundle = \"holdfast-2.0.raucb\"\nsize = 1\nsha256 = \"{}\"\n",
            "0".repeat(64)
        );
        fs::write(inside.join("channel.toml"), text).unwrap();
    });
    assert!(site.plug(&other).until_let_go().await.success());
    site.until_notice("of the channel beta").await;
    assert_eq!(site.rig.boot("primary"), "A");
}

#[tokio::test]
async fn what_changes_while_it_is_copied_is_not_taken() {
    let Some(site) = Site::start_with("usb = \"reboot\"\ndownload_kib_per_second = 512\n").await else { return };
    for (number, change) in ["shorter", "changed"].into_iter().enumerate() {
        let stick = Stick::directory(|inside| put(&site, inside, &format!("2.{number}")));
        let mut holder = site.plug(&stick);
        site.until("some of it to be copied", || async { site.updater().await.percent().await.unwrap() > 0 }).await;
        let path = stick.inside().join(format!("holdfast-2.{number}.raucb"));
        let file = fs::File::options().write(true).open(&path).unwrap();
        match change {
            "shorter" => file.set_len(1000).unwrap(),
            _ => std::os::unix::fs::FileExt::write_all_at(&file, b"something else", 0).unwrap(),
        }
        assert!(holder.until_let_go().await.success());
        site.until("its end", || async { site.outcomes().await.len() > number }).await;
        let outcome = site.outcomes().await.remove(0);
        assert!(outcome.code == "copy" && outcome.text.contains(change), "{outcome:?}");
    }
    assert_eq!(site.rig.boot("primary"), "A");
}

#[tokio::test]
async fn the_disk_is_not_filled_and_sticks_can_be_switched_off() {
    let Some(mut site) = Site::start_with("usb = \"install\"\nkeep_free_mib = 10000000\n").await else { return };
    let stick = Stick::directory(|inside| put(&site, inside, "2.0"));
    let mut holder = site.plug(&stick);
    let outcome = site.until_outcome("failed").await;
    assert!(outcome.text.contains("must stay free"), "{outcome:?}");
    assert!(holder.until_let_go().await.success());
    site.set("usb = \"off\"\n").await;
    assert!(site.plug(&stick).until_let_go().await.success());
    assert_eq!((site.state().await.as_str(), site.outcomes().await.len()), ("idle", 1));
}
