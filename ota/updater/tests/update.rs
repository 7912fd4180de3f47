//! Updates from the bundle to the proof, with a real RAUC and real recordings.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use holdfast_dbus::updater::{InstallOptions, UPDATER_BUS_NAME, UPDATER_INTERFACE_XML};
use holdfast_dbus::{Error, ErrorCode, FilesOptions, SessionProxy, StartOptions, StopOptions};
use holdfast_rauc_rig::{Signed, Wrap};
use site::Site;
use site::tls::Certificate;
use zbus::zvariant::OwnedObjectPath;

fn code<T: std::fmt::Debug>(result: zbus::Result<T>) -> ErrorCode {
    Error::from_zbus(&result.expect_err("it should have been refused")).unwrap().code
}

#[tokio::test]
async fn a_good_update_is_installed_booted_and_proven_by_a_recording() {
    let Some(mut site) = Site::start().await else { return };
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_reboot().await;
    let outcome = site.until_outcome("good").await;
    assert_eq!((outcome.version.as_str(), outcome.code.as_str()), ("2.0", ""));
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("B".to_owned(), "good".to_owned()));
    assert_eq!((site.state().await, site.updater().await.booted_slot().await.unwrap()), ("idle".into(), "B".into()));
    assert!(site.log().contains("decoded, and compared frame for frame"), "{}", site.log());
    // The proof is footage like any other.
    let sessions = site.recorder().await.list_sessions(holdfast_dbus::ListOptions::default()).await.unwrap();
    assert!(sessions.iter().any(|session| session.label.contains("proof") && session.safe_frames > 0), "{sessions:?}");
}

#[tokio::test]
async fn a_system_that_does_not_record_is_left_and_never_tried_again() {
    let Some(mut site) = Site::start().await else { return };
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_about_to_reboot().await;
    // On the new system it does not come up.
    site.break_recorder();
    site.reboot().await;
    site.until_state("trial").await;
    site.until_state("reverting").await;
    // Even to leave it, nothing may be recorded: somebody has to say so.
    site.start_recorder();
    site.until_reboot().await;
    let outcome = site.until_outcome("rolled-back").await;
    assert!(["recorder-refuses", "recorder-absent"].contains(&outcome.code.as_str()), "{outcome:?}");
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("A".to_owned(), "bad".to_owned()));
    site.install(&bundle).await;
    site.until("the second outcome", || async { site.outcomes().await.len() == 2 }).await;
    assert_eq!(site.outcomes().await[0].code, "known-bad");
}

/// A systemd that knows these units, by name and state.
struct Systemd(Vec<(&'static str, &'static str)>);

type Unit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    fn list_units_by_patterns(&self, _states: Vec<String>, patterns: Vec<String>) -> Vec<Unit> {
        let matches = |name: &str| patterns.iter().any(|pattern| name.starts_with(pattern.split('*').next().unwrap()));
        let (text, path) = (String::new, || OwnedObjectPath::try_from("/").unwrap());
        let unit = |(name, state): &(&str, &str)| {
            let (name, state) = ((*name).to_owned(), (*state).to_owned());
            (name, text(), text(), state, text(), text(), path(), 0, text(), path())
        };
        self.0.iter().filter(|(name, _)| matches(name)).map(unit).collect()
    }
}

/// On a new system whose recorder never comes up, with what systemd says of captures.
async fn without_recorder(capture: &'static str) -> Option<(Site, zbus::Connection)> {
    let mut site = Site::start().await?;
    let systemd = Systemd(vec![("holdfast-capture@cam0.service", capture)]);
    let bus = zbus::connection::Builder::address(site.rig.address()).unwrap().name("org.freedesktop.systemd1").unwrap();
    let bus = bus.serve_at("/org/freedesktop/systemd1", systemd).unwrap().build().await.unwrap();
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_about_to_reboot().await;
    site.break_recorder();
    site.reboot().await;
    site.until_state("reverting").await;
    Some((site, bus))
}

#[tokio::test]
async fn a_system_whose_recorder_never_comes_up_is_left_when_systemd_knows_of_no_capture() {
    let Some((mut site, _bus)) = without_recorder("failed").await else { return };
    site.until_reboot().await;
    let outcome = site.until_outcome("rolled-back").await;
    // Not only that time was up.
    assert!(["recorder-absent", "recorder-refuses"].contains(&outcome.code.as_str()), "{outcome:?}");
}

#[tokio::test]
async fn and_is_not_left_while_a_capture_runs() {
    let Some((site, _bus)) = without_recorder("active").await else { return };
    site.until("systemd was asked", || async { site.log().contains("a capture may run") }).await;
    assert!(!std::path::Path::new(&site.path("rebooting")).exists(), "{}", site.log());
}

/// A new system that records with an encoder that fails as its name says, from the third second on.
async fn proof_with(encoder: &'static str) -> Option<(Site, holdfast_dbus::updater::OutcomeInfo)> {
    let mut site = Site::start().await?;
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_about_to_reboot().await;
    (site.encoder, site.probe_seconds) = (encoder, 4);
    site.reboot().await;
    site.until_reboot().await;
    let outcome = site.until_outcome("rolled-back").await;
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("A".to_owned(), "bad".to_owned()));
    Some((site, outcome))
}

#[tokio::test]
async fn a_system_whose_pictures_are_damaged_is_left() {
    // The bytes are those that the encoder gave, and their digests are right.
    let Some((site, outcome)) = proof_with("sim-smear").await else { return };
    assert!(outcome.code == "footage-undecodable" && outcome.text.contains(".mp4"), "{outcome:?}\n{}", site.log());
}

#[tokio::test]
async fn a_system_whose_pictures_stand_still_is_left() {
    let Some((site, outcome)) = proof_with("sim-freeze").await else { return };
    assert!(outcome.code == "footage-differs" && outcome.text.contains("again"), "{outcome:?}\n{}", site.log());
}

#[tokio::test]
async fn a_system_that_can_not_read_what_was_recorded_before_is_left() {
    let Some(mut site) = Site::start().await else { return };
    site.until("the recorder", || async { site.recorder().await.state().await.is_ok() }).await;
    let recorder = site.recorder().await;
    let (session, _) = recorder.start(StartOptions { wait_ms: Some(20_000), ..StartOptions::default() }).await.unwrap();
    site.until("safe footage", || async { recorder.safe_frames().await.is_ok_and(|frames| frames > 30) }).await;
    recorder.stop(StopOptions::default()).await.unwrap();
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_about_to_reboot().await;
    // What the new system reads is not what was written.
    let session = SessionProxy::new(site.recorder().await.inner().connection(), session).await.unwrap();
    let files = session.list_files(FilesOptions::default()).await.unwrap();
    let newest = PathBuf::from(site.path("root")).join(&files.last().unwrap().path);
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&newest, bytes).unwrap();
    site.reboot().await;
    site.until_reboot().await;
    let outcome = site.until_outcome("rolled-back").await;
    assert_eq!(outcome.code, "footage-unreadable", "{outcome:?}");
    assert!(outcome.text.contains(&newest.display().to_string()), "{outcome:?}");
}

#[tokio::test]
async fn a_recording_that_goes_on_is_decoded_as_it_lies_there() {
    let Some(mut site) = Site::start().await else { return };
    let bundle = site.bundle("2.0");
    site.install(&bundle).await;
    site.until_about_to_reboot().await;
    site.records_at_boot = true;
    site.reboot().await;
    let outcome = site.until_outcome("good").await;
    assert_eq!(outcome.code, "", "{}", site.log());
    let log = site.log();
    assert!(log.contains("a recording runs: it is the proof"), "{log}");
    assert!(log.contains("decoded, and compared frame for frame"), "{log}");
    let totals = site.recorder().await.stop(StopOptions::default()).await.unwrap();
    assert!(totals.safe_frames > 0, "{totals:?}");
}

#[tokio::test]
async fn a_take_is_never_touched() {
    let Some(mut site) = Site::start().await else { return };
    let (recorder, updater) = (site.recorder().await, site.updater().await);
    let start =
        || async { recorder.start(StartOptions { wait_ms: Some(10_000), ..StartOptions::default() }).await.unwrap() };
    let bundle = site.bundle("2.0");
    start().await;
    site.install(&bundle).await;
    site.until_state("verified").await;
    assert!(updater.waits_for().await.unwrap().contains("leave to install"), "{}", site.log());
    let before = fs::read(site.rig.slot(1)).unwrap();

    // It begins once nothing is recorded, and stands still when something is.
    site.rig.hold();
    recorder.stop(StopOptions::default()).await.unwrap();
    site.until_state("installing").await;
    site.rig.held().await;
    start().await;
    site.until("RAUC to stand still", || async { updater.frozen().await == Ok(true) }).await;
    site.rig.release();
    assert_eq!(fs::read(site.rig.slot(1)).unwrap(), before, "written beside a recording");
    // The updater is killed in the middle of it.
    site.restart_updater().await;
    assert_eq!(site.state().await, "installing");
    let totals = recorder.stop(StopOptions::default()).await.unwrap();
    assert_eq!(totals.lost_frames, 0);

    // Nor is the boot order changed, or the box rebooted.
    site.until("it to be written", || async {
        ["installed", "activating", "awaiting-reboot"].contains(&site.state().await.as_str())
    })
    .await;
    site.until_reboot().await;
    site.until_outcome("good").await;
}

#[tokio::test]
async fn what_can_not_be_installed_is_refused_with_a_reason() {
    let Some(site) = Site::start().await else { return };
    let updater = site.updater().await;
    let image = site.rig.image("image", 1 << 20, 3);
    // The oldest RAUC keeps to itself why.
    let tells = site.rig.version() >= (1, 9);
    for (name, wrap, code) in [
        ("foreign", Wrap { signed: Signed::Foreign, ..Wrap::default() }, "signature"),
        ("another-box", Wrap { compatible: "another-box", ..Wrap::default() }, "compatible"),
    ] {
        let bundle = site.rig.bundle(name, &image, wrap);
        let before = site.outcomes().await.len();
        site.install(bundle.to_str().unwrap()).await;
        site.until("its end", || async { site.outcomes().await.len() > before }).await;
        let outcome = site.outcomes().await.remove(0);
        assert_eq!(outcome.result, "failed", "{name}: {outcome:?}");
        assert!(
            !tells && outcome.code == "untold"
                || outcome.code.contains(code)
                || outcome.text.to_lowercase().contains(code),
            "{name}: {outcome:?}"
        );
    }
    assert_eq!(code(updater.install("relative.raucb", InstallOptions::default()).await), ErrorCode::InvalidArgument);
    assert_eq!(code(updater.install("/no/such/bundle", InstallOptions::default()).await), ErrorCode::InvalidArgument);
    let until = InstallOptions { until: Some("tomorrow".into()), ..InstallOptions::default() };
    assert_eq!(code(updater.install("/no/such/bundle", until).await), ErrorCode::InvalidArgument);
    assert_eq!(code(updater.approve("reboot", HashMap::new()).await), ErrorCode::InvalidArgument);
    assert_eq!(code(updater.cancel(HashMap::new()).await), ErrorCode::InvalidArgument);
    assert_eq!(code(updater.check(HashMap::new()).await), ErrorCode::Configuration);
    let live = updater.inner().introspect().await.unwrap();
    assert!(holdfast_contract::hold(UPDATER_INTERFACE_XML, &live, UPDATER_BUS_NAME) >= 6);
}

#[tokio::test]
async fn an_update_goes_as_far_as_it_may_and_can_be_cancelled() {
    let Some(site) = Site::start().await else { return };
    let updater = site.updater().await;
    let bundle = site.bundle("2.0");
    let until = InstallOptions { until: Some("install".into()), ..InstallOptions::default() };
    updater.install(&bundle, until).await.unwrap();
    site.until_state("installed").await;
    assert!(updater.waits_for().await.unwrap().contains("reboot"));
    assert_eq!(site.rig.boot("primary"), "A", "written is not yet booted");
    assert_eq!(code(updater.install(&bundle, InstallOptions::default()).await), ErrorCode::Busy);
    updater.cancel(HashMap::new()).await.unwrap();
    let outcome = site.until_outcome("cancelled").await;
    assert_eq!(outcome.version, "2.0");
    assert_eq!(site.state().await, "idle");
}

#[tokio::test]
async fn what_is_cancelled_before_the_box_goes_down_can_not_be_booted_by_chance() {
    let Some(site) = Site::start().await else { return };
    site.install(&site.bundle("2.0")).await;
    // It is told to reboot, and does not: the new system is the first one, with all its attempts.
    let flag = site.path("rebooting");
    site.until("the order to reboot", || async { fs::exists(&flag).unwrap() }).await;
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("B".to_owned(), "good".to_owned()));
    site.updater().await.cancel(HashMap::new()).await.unwrap();
    site.until_outcome("cancelled").await;
    // A boot loader that has used up those of A must not come to B, which has proven nothing.
    assert_eq!((site.rig.boot("primary"), site.rig.boot("state.B")), ("A".to_owned(), "bad".to_owned()));
}

#[tokio::test]
async fn a_bundle_from_a_server_is_fetched_verified_and_installed() {
    let Some(certificate) = Certificate::make() else { return };
    let more = format!("server_ca = {:?}\n", certificate.path());
    let Some(mut site) = Site::start_with(&more).await else { return };
    // More than 8 MiB, which is all that RAUC fetches by itself if it is not told otherwise (br2rauc#18).
    fs::File::options().write(true).open(site.rig.slot(1)).unwrap().set_len(16 << 20).unwrap();
    let image = site.rig.image("2.0", 9 << 20, 7);
    let wrap = Wrap { version: "2.0", ..Wrap::default() };
    let bundle = site.rig.bundle("2.0", &image, wrap).display().to_string();
    assert!(fs::metadata(&bundle).unwrap().len() > 8 << 20);
    let server = site.serve(std::path::Path::new(&bundle).parent().unwrap(), &certificate);
    let name = std::path::Path::new(&bundle).file_name().unwrap().to_str().unwrap();
    // What is not there is told, and nothing is done.
    site.install(&format!("https://localhost:{server}/no-such.raucb")).await;
    let outcome = site.until_outcome("failed").await;
    assert!(outcome.code == "download" && outcome.text.contains("404"), "{outcome:?}");
    site.install(&format!("https://localhost:{server}/{name}")).await;
    site.until_reboot().await;
    site.until("the second outcome", || async { site.outcomes().await.len() == 2 }).await;
    assert_eq!(site.outcomes().await[0].result, "good");
    assert_eq!(site.rig.boot("primary"), "B");
}

#[tokio::test]
async fn people_update_with_the_command_line() {
    let Some(mut site) = Site::start().await else { return };
    let bundle = site.bundle("2.0");
    let (code, text) = site.holdfast(&["update"]).await;
    assert!(code == 0 && text.contains("idle (running from slot A)"), "{code} {text}");
    let (code, text) = site.holdfast(&["update", "history"]).await;
    assert!(code == 0 && text.contains("no update has ended yet"), "{code} {text}");
    let (code, text) = site.holdfast(&["update", "cancel"]).await;
    assert!(code == 5 && text.contains("there is no update"), "{code} {text}");
    // It stays until a person is asked.
    let (code, text) = site.holdfast(&["update", "install", &bundle, "--until", "install"]).await;
    assert!(code == 0 && text.contains("installed") && text.contains("waits for somebody"), "{code} {text}");
    let (code, text) = site.holdfast(&["--json", "update", "approve", "reboot"]).await;
    assert!(
        code == 0 && text.contains("\"offered\": \"2.0\"") || text.contains("\"offered\":\"2.0\""),
        "{code} {text}"
    );
    site.until_reboot().await;
    site.until_outcome("good").await;
    let (code, text) = site.holdfast(&["update", "history"]).await;
    assert!(code == 0 && text.contains("2.0") && text.contains("good"), "{code} {text}");
    // Back, as both have proven themselves.
    let (code, text) = site.holdfast(&["update", "rollback"]).await;
    assert_eq!(code, 0, "{text}");
    site.until_reboot().await;
    site.until("the way back to be over", || async { site.outcomes().await.len() == 2 }).await;
    let (code, text) = site.holdfast(&["update"]).await;
    assert!(code == 0 && text.contains("running from slot A") && text.contains("a person wanted"), "{code} {text}");
    // It can be gone back to.
    assert_eq!((site.rig.boot("primary").as_str(), site.rig.boot("state.B").as_str()), ("A", "good"));
    // A bundle that can't be installed has its own exit code, and says why.
    let (code, text) = site.holdfast(&["update", "install", "/no/such/bundle"]).await;
    assert!(code == 5 && text.contains("/no/such/bundle"), "{code} {text}");
}

/// Nothing of it is written, people are told what to do, and when it is done the same bundle goes in.
#[tokio::test]
async fn a_box_that_is_not_fit_is_told_so_by_doctor_and_before_anything_is_written() {
    let Some(mut site) = Site::start().await else { return };
    let bundle = site.bundle("2.0");
    let slot = fs::read(site.rig.slot(1)).unwrap();
    site.drain(12);
    site.environment(true);
    // Until it knows where it stands it says that it is busy.
    site.until("the updater to have settled", || async {
        site.updater().await.list_obstacles(HashMap::new()).await.is_ok()
    })
    .await;
    let obstacles = || async { site.updater().await.list_obstacles(HashMap::new()).await.unwrap() };
    let codes: Vec<String> = obstacles().await.into_iter().map(|obstacle| obstacle.code).collect();
    assert_eq!(codes, ["environment-damaged", "power-low"]);
    let (_, text) = site.holdfast(&["doctor"]).await;
    for part in ["fw_setenv holdfast_mended", "12 % left", "connect the supply"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    for (number, code) in (1..).zip(["environment-damaged", "power-low"]) {
        site.install(&bundle).await;
        site.until("an outcome", || async { site.outcomes().await.len() == number }).await;
        assert_eq!(site.outcomes().await[0].code, code);
        site.environment(false);
    }
    assert_eq!((fs::read(site.rig.slot(1)).unwrap() == slot, site.rig.boot("state.B")), (true, "good".to_owned()));
    site.drain(30);
    assert_eq!(obstacles().await, []);
    let (_, text) = site.holdfast(&["doctor"]).await;
    assert!(text.contains("nothing keeps this box from being updated"), "{text}");
    let until = InstallOptions { until: Some("install".into()), ..InstallOptions::default() };
    site.updater().await.install(&bundle, until).await.unwrap();
    site.until_state("installed").await;
    // And what ran out meanwhile is not sent into its trial.
    site.drain(29);
    site.updater().await.approve("reboot", HashMap::new()).await.unwrap();
    site.until("the third outcome", || async { site.outcomes().await.len() == 3 }).await;
    assert_eq!((site.outcomes().await[0].code.as_str(), site.rig.boot("primary").as_str()), ("power-low", "A"));
    assert!(!std::path::Path::new(&site.path("rebooting")).exists());
    site.drain(90);
    site.install(&bundle).await;
    site.until_reboot().await;
    site.until("the fourth outcome", || async { site.outcomes().await.len() == 4 }).await;
    assert_eq!(site.outcomes().await[0].result, "good");
}

/// Adds an RTSP input at which nobody answers yet, and waits until the recorder has found that out.
async fn lose_a_camera(site: &mut Site) -> std::net::SocketAddr {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    site.inputs =
        format!("[[input]]\nname = \"gone\"\nsource = \"rtsp\"\nurl = \"rtsp://{nobody}/cam0\"\narmed = false\n");
    site.break_recorder();
    site.start_recorder();
    let gone = holdfast_dbus::InputProxy::builder(&site.client).path(holdfast_dbus::input_path("gone")).unwrap();
    let gone = gone.cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap();
    site.until("it to be known", || async { gone.reachable().await.is_ok_and(|reachable| reachable == "no") }).await;
    nobody
}

#[tokio::test]
async fn a_box_whose_camera_is_away_is_not_sent_into_a_trial_that_it_can_not_pass() {
    let Some(mut site) = Site::start().await else { return };
    lose_a_camera(&mut site).await;
    site.install(&site.bundle("2.0")).await;
    let outcome = site.until_outcome("failed").await;
    assert!(outcome.code == "input-silent" && outcome.text.starts_with("gone can't be reached"), "{outcome:?}");
}

#[tokio::test]
async fn a_camera_that_is_only_late_is_waited_for() {
    let Some(mut site) = Site::start().await else { return };
    let address = lose_a_camera(&mut site).await;
    site.install(&site.bundle("2.0")).await;
    site.until_state("available").await;
    // As a camera is that starts together with the box.
    let _camera = site.start_camera(address);
    site.until_about_to_reboot().await;
    assert_eq!(site.outcomes().await, []);
}
