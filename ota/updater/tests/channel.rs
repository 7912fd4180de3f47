//! A release channel on a real TLS server: the box waits for its turn and for its window, and then updates.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use site::Site;
use site::tls::Certificate;

/// A box and the server of its channel.
struct Published {
    site: Site,
    directory: tempfile::TempDir,
    _certificate: Certificate,
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn at(unix_s: i64) -> String {
    jiff::Timestamp::from_second(unix_s).unwrap().to_string()
}

impl Published {
    /// `None`, aloud, where it can't be.
    async fn start(more: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::make()?;
        let mut site = Site::start().await?;
        let port = site.serve(directory.path(), &certificate);
        let config = format!(
            "automatic = \"reboot\"\nserver_ca = {:?}\nchannel_url = \"https://localhost:{port}/stable.toml\"\n\
             fleet_id = \"box-17\"\n{more}",
            certificate.path()
        );
        site.set(&config).await;
        Some(Self { site, directory, _certificate: certificate })
    }

    /// As a publisher does it.
    fn publish(&self, version: &str, more: &[&str]) -> PathBuf {
        let bundle = self.directory.path().join(format!("holdfast-{version}.raucb"));
        fs::copy(self.site.bundle(version), &bundle).unwrap();
        let out = self.directory.path().join("stable.toml");
        xtask(&bundle, &out, more);
        out
    }

    async fn check(&self) {
        self.site.updater().await.check(HashMap::new()).await.unwrap();
    }
}

/// Writes a channel's file with the program that publishers have.
fn xtask(bundle: &Path, out: &Path, more: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "xtask", "--", "bundle", "channel"]).arg(bundle);
    let output = command.arg("--out").arg(out).args(more).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_box_waits_for_its_turn_and_then_updates() {
    let Some(mut published) = Published::start("").await else { return };
    // Nobody's turn yet, and the next is tomorrow.
    let tomorrow = now() + 86_400;
    let file = published.publish("2.0.0", &["--wave", &format!("{}=100", at(tomorrow))]);
    let (code, text) = published.site.holdfast(&["update", "check"]).await;
    assert_eq!(code, 0, "{text}");
    published.site.until_state("available").await;
    let updater = published.site.updater().await;
    assert_eq!((updater.turn().await.unwrap(), updater.source().await.unwrap()), (tomorrow, "channel".to_owned()));
    assert!(updater.waits_for().await.unwrap().contains(&at(tomorrow)), "{}", updater.waits_for().await.unwrap());
    let (_, text) = published.site.holdfast(&["update"]).await;
    assert!(text.contains("from the release channel") && text.contains("its turn comes at"), "{text}");

    // A file that can't be read is told, and nothing is lost.
    let good = fs::read_to_string(&file).unwrap();
    for (bad, part) in [
        ("channel = \"sta".to_owned(), "no TOML"),
        (good.replace("size = ", "size = -"), "size = -"),
        ("x".repeat(100_000), "more than 65536 bytes"),
    ] {
        fs::write(&file, bad).unwrap();
        published.check().await;
        published.site.until_notice(part).await;
        assert_eq!((published.site.state().await.as_str(), updater.turn().await.unwrap()), ("available", tomorrow));
    }
    // Another channel's file, and nothing newer than what runs, are not taken.
    fs::write(&file, good.replace("\"stable\"", "\"beta\"")).unwrap();
    published.check().await;
    published.site.until_state("idle").await;
    published.site.until_notice("is of the channel beta, and this box is of stable").await;
    let obstacles = updater.list_obstacles(HashMap::new()).await.unwrap();
    let told: Vec<_> = obstacles.iter().filter(|obstacle| obstacle.code == "channel").collect();
    assert!(told.len() == 1 && told[0].text.contains("is of the channel beta"), "{obstacles:?}");

    // It comes by itself, without another question.
    let soon = now() + 4;
    fs::write(&file, good.replace(&at(tomorrow), &at(soon))).unwrap();
    published.check().await;
    published.site.until_reboot().await;
    assert!(now() >= soon);
    assert_eq!(published.site.until_outcome("good").await.version, "2.0.0");
    // What runs is no news.
    published.check().await;
    published.site.until("the answer", || async { published.site.state().await != "checking" }).await;
    assert_eq!((published.site.state().await.as_str(), published.site.outcomes().await.len()), ("idle", 1));
    published.publish("1.9.0", &[]);
    published.check().await;
    published.site.until("the answer", || async { published.site.state().await != "checking" }).await;
    assert_eq!(published.site.state().await, "idle");
}

#[tokio::test]
async fn what_is_not_as_the_channel_says_is_not_installed() {
    let Some(published) = Published::start("").await else { return };
    let file = published.publish("2.0.0", &[]);
    let good = fs::read_to_string(&file).unwrap();
    let sha256 = good.split("sha256 = \"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    for (number, (from, to, code)) in [
        (sha256.as_str(), "0".repeat(64), "download"),
        ("release = \"2.0.0\"", "release = \"2.0.1\"".into(), "channel-release"),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, good.replace(from, &to)).unwrap();
        published.check().await;
        published.site.until("its end", || async { published.site.outcomes().await.len() > number }).await;
        let outcome = published.site.outcomes().await.remove(0);
        assert_eq!((outcome.result.as_str(), outcome.code.as_str()), ("failed", code), "{outcome:?}");
    }
    assert_eq!(published.site.rig.boot("primary"), "A");
}

#[tokio::test]
async fn nothing_is_installed_outside_the_window_until_a_person_says_so() {
    // It opens in six hours.
    let hour = jiff::Zoned::now().hour();
    let window = format!("{:02}:00-{:02}:00", (hour + 6) % 24, (hour + 7) % 24);
    let Some(mut published) = Published::start(&format!("window = {window:?}\n")).await else { return };
    published.publish("2.0.0", &[]);
    let before = fs::read(published.site.rig.slot(1)).unwrap();
    published.check().await;
    published.site.until_state("verified").await;
    let updater = published.site.updater().await;
    let waits_for = updater.waits_for().await.unwrap();
    assert!(waits_for.contains("the maintenance window") && waits_for.contains(&window), "{waits_for}");
    let (_, text) = published.site.holdfast(&["update"]).await;
    assert!(text.contains(&format!("at {window} only")), "{text}");
    assert_eq!(fs::read(published.site.rig.slot(1)).unwrap(), before);
    // Written now, booted in its time.
    updater.approve("install", HashMap::new()).await.unwrap();
    published.site.until_state("installed").await;
    assert!(updater.waits_for().await.unwrap().contains("the maintenance window"));
    assert_eq!(published.site.rig.boot("primary"), "A");
    updater.approve("reboot", HashMap::new()).await.unwrap();
    published.site.until_reboot().await;
    published.site.until_outcome("good").await;
}
