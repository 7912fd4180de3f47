//! Updates from a real hawkBit server, through a real RAUC, to a recording; and what the fleet is told of it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::collections::HashMap;
use std::sync::OnceLock;

use holdfast_dbus::{StartOptions, StopOptions};
use holdfast_hawkbit_server::{Assignment, Manage, Server};
use site::Site;

/// The server, or `None` after saying aloud why there is none.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let start = || Server::start().map_err(|why| holdfast_aloud::skip(why.0)).ok();
    SERVER.get_or_init(start).as_ref()
}

/// A box of the fleet that does all that the fleet wants, and the operator's side.
struct Member {
    site: Site,
    manage: Manage,
    name: String,
    action: u64,
    /// The file of its token.
    token: std::path::PathBuf,
}

impl Member {
    /// With an update that waits for it.
    async fn with_update(server: &'static Server, name: &str) -> Option<Self> {
        let manage = server.manage();
        let token = manage.create_target(name).await.unwrap();
        let file = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
        std::fs::write(&file, token).unwrap();
        let more = format!(
            "automatic = \"reboot\"\nfleet_url = {:?}\nfleet_id = {name:?}\nfleet_token_file = {:?}\nfleet_plain_http = true\n",
            server.url(),
            file,
        );
        let site = Site::start_with(&more).await?;
        let bundle = std::fs::read(site.bundle("2.0")).unwrap();
        let set = manage.create_software(name, "2.0", &[("holdfast-2.0.raucb", &bundle)]).await.unwrap();
        let assignment = Assignment { controller_id: name, kind: "forced", window: None };
        let action = manage.assign(set, &assignment).await.unwrap();
        Some(Self { site, manage, name: name.to_owned(), action, token: file })
    }

    /// Looks at the server now, not when it is time.
    async fn check(&self) {
        self.site.updater().await.check(HashMap::new()).await.unwrap();
    }

    async fn history(&self) -> Vec<(String, Vec<String>)> {
        self.manage.history(&self.name, self.action).await.unwrap()
    }

    /// Waits until the fleet has been told the end: of this kind, once, and last of all.
    async fn until_told(&self, kind: &str) -> Vec<(String, Vec<String>)> {
        let told = || async { self.history().await.iter().any(|(known, _)| known == kind) };
        self.site.until(&format!("the fleet to be told {kind}"), told).await;
        let history = self.history().await;
        let ends = ["finished", "error", "canceled"];
        let ended: Vec<_> = history.iter().filter(|(known, _)| ends.contains(&known.as_str())).collect();
        assert_eq!(ended.len(), 1, "{history:#?}");
        history
    }
}

#[tokio::test]
async fn success_is_told_when_the_new_system_has_proven_itself_and_not_before() {
    let Some(server) = server() else { return };
    let Some(mut member) = Member::with_update(server, "good").await else { return };
    member.check().await;
    member.site.until_about_to_reboot().await;
    let before = member.history().await;
    assert!(before.iter().all(|(kind, _)| kind != "finished"), "told before it was so: {before:#?}");
    member.site.reboot().await;
    member.site.until_outcome("good").await;
    let history = member.until_told("finished").await;
    let told: Vec<_> = history.iter().flat_map(|(_, messages)| messages).collect();
    assert!(told.iter().any(|message| message.contains("made a recording")), "{told:#?}");
    // It is not offered again, and would not be taken.
    member.check().await;
    member.site.until_state("idle").await;
    assert_eq!(member.site.outcomes().await.len(), 1);
}

#[tokio::test]
async fn a_rollback_is_told_as_a_failure_with_its_reason() {
    let Some(server) = server() else { return };
    let Some(mut member) = Member::with_update(server, "bad").await else { return };
    member.check().await;
    member.site.until_about_to_reboot().await;
    member.site.break_recorder();
    member.site.reboot().await;
    member.site.until_state("reverting").await;
    member.site.start_recorder();
    member.site.until_reboot().await;
    member.site.until_outcome("rolled-back").await;
    let history = member.until_told("error").await;
    let told: Vec<_> = history.iter().flat_map(|(_, messages)| messages).collect();
    assert!(told.iter().any(|message| message.contains("rolled back")), "{told:#?}");
}

/// It records well, and would never be heard of again: the fleet could not even give it a better one.
#[tokio::test]
async fn a_system_that_can_not_use_its_fleets_settings_is_left() {
    let Some(server) = server() else { return };
    let Some(mut member) = Member::with_update(server, "deaf").await else { return };
    member.check().await;
    member.site.until_about_to_reboot().await;
    let token = std::fs::read(&member.token).unwrap();
    std::fs::remove_file(&member.token).unwrap();
    member.site.reboot().await;
    member.site.until_state("reverting").await;
    std::fs::write(&member.token, token).unwrap();
    member.site.until_reboot().await;
    let outcome = member.site.until_outcome("rolled-back").await;
    assert_eq!(outcome.code, "fleet-unusable", "{outcome:?}");
    member.until_told("error").await;
}

#[tokio::test]
async fn what_the_fleet_takes_back_while_something_is_recorded_is_never_written() {
    let Some(server) = server() else { return };
    let Some(member) = Member::with_update(server, "taken-back").await else { return };
    let recorder = member.site.recorder().await;
    recorder.start(StartOptions { wait_ms: Some(10_000), ..StartOptions::default() }).await.unwrap();
    let before = std::fs::read(member.site.rig.slot(1)).unwrap();
    member.check().await;
    // Fetched beside the recording, and no further.
    member.site.until_state("verified").await;
    member.manage.cancel(&member.name, member.action).await.unwrap();
    member.check().await;
    member.site.until_outcome("cancelled").await;
    member.until_told("canceled").await;
    let totals = recorder.stop(StopOptions::default()).await.unwrap();
    assert_eq!(totals.lost_frames, 0);
    assert_eq!(std::fs::read(member.site.rig.slot(1)).unwrap(), before);
}
