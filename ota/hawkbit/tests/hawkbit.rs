//! Against a real hawkBit server: one for all tests of this file.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use holdfast_hawkbit::{
    ActionId, CancelAnswer, Client, Delivery, Error, Execution, Feedback, Handling, MaintenanceWindow, Outbox, Outcome,
    Queued, Settings, Token, UpdateMode, deliver,
};
use holdfast_hawkbit_server::{
    Assignment, GATEWAY_TOKEN, ISSUER_HASH, Manage, POLLING_SECONDS, Server, TENANT, Window,
};

/// The server, or `None` after saying aloud why there is none.
fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let start = || Server::start().map_err(|why| holdfast_aloud::skip(why.0)).ok();
    SERVER.get_or_init(start).as_ref()
}

fn settings(server: &Server, controller_id: &str, token: Token) -> Settings {
    let mut settings = Settings::new(server.url().parse().unwrap(), TENANT, controller_id, token);
    settings.plain_http = true;
    settings
}

/// A device with software assigned to it.
struct Device {
    manage: Manage,
    client: Client,
    controller_id: String,
    action: u64,
    id: ActionId,
}

const FILE: &[u8] = b"not really a bundle";

impl Device {
    async fn assigned(server: &Server, name: &str, kind: &str, window: Option<Window<'_>>) -> Self {
        let manage = server.manage();
        let token = manage.create_target(name).await.unwrap();
        let client = Client::new(settings(server, name, Token::Target(token.into()))).unwrap();
        let set = manage.create_software(name, "1", &[("bundle.raucb", FILE)]).await.unwrap();
        let action = manage.assign(set, &Assignment { controller_id: name, kind, window }).await.unwrap();
        let id = ActionId::try_from(action.to_string()).unwrap();
        Self { manage, client, controller_id: name.to_owned(), action, id }
    }

    async fn history(&self) -> Vec<(String, Vec<String>)> {
        self.manage.history(&self.controller_id, self.action).await.unwrap()
    }

    /// How often a message of ours was taken.
    async fn heard(&self, message: &str) -> usize {
        self.history().await.iter().flat_map(|(_, messages)| messages).filter(|found| *found == message).count()
    }

    async fn status(&self) -> String {
        self.manage.action(&self.controller_id, self.action).await.unwrap()["status"].as_str().unwrap().to_owned()
    }

    async fn last_kind(&self) -> String {
        self.history().await.pop().unwrap().0
    }
}

fn closed(outcome: Outcome, why: &str) -> Feedback {
    Feedback::new(Execution::Closed(outcome), [why])
}

#[tokio::test]
async fn a_deployment_from_the_first_poll_to_success() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "deploy", "forced", None).await;
    let poll = device.client.poll().await.unwrap();
    assert_eq!(poll.sleep, Some(Duration::from_secs(POLLING_SECONDS)));
    assert!(
        poll.config_data_wanted && poll.cancel.is_none() && poll.confirmation.is_none() && poll.installed.is_none()
    );
    let action = poll.deployment.unwrap();
    assert_eq!(action.id, device.id);

    let deployment = device.client.deployment(&action).await.unwrap();
    assert_eq!(deployment.action, device.id);
    assert_eq!((deployment.download, deployment.update), (Handling::Forced, Handling::Forced));
    assert_eq!(deployment.maintenance_window, MaintenanceWindow::None);
    assert!(deployment.may_download() && deployment.may_install());
    let [chunk] = &deployment.chunks[..] else { panic!("{deployment:?}") };
    assert_eq!((chunk.part.as_str(), chunk.name.as_str(), chunk.version.as_str()), ("os", "deploy", "1"));
    let [artifact] = &chunk.artifacts[..] else { panic!("{deployment:?}") };
    assert_eq!((artifact.filename.as_str(), artifact.size_bytes), ("bundle.raucb", Some(FILE.len() as u64)));
    // What sha256sum says of FILE.
    let sha256 = "e8d034c0ae48e5d70f70c8e72fe60372fb0c5b938aba6cfd1ebacae7a9976462";
    assert_eq!(hex::encode(artifact.sha256.unwrap()), sha256);
    assert!(artifact.sha1.is_some() && artifact.md5.is_some());

    // The address and the headers that are handed out do get the file.
    let url = artifact.http.clone().unwrap();
    let get = |headers| reqwest_get(url.clone(), headers);
    assert_eq!(get(device.client.download_headers(&url)).await.unwrap(), FILE);
    assert_eq!(get(Default::default()).await.unwrap_err(), 401);

    for percent in [0, 50] {
        let feedback = Feedback::new(Execution::Proceeding { percent: Some(percent) }, [format!("at {percent} %")]);
        device.client.feedback(&device.id, &feedback).await.unwrap();
    }
    assert_eq!(device.last_kind().await, "running");
    let history = device.client.deployment(&action).await.unwrap().history.unwrap();
    assert!(history.messages.contains(&"at 50 %".to_owned()), "{history:?}");
    assert_eq!(device.status().await, "pending");

    device.client.feedback(&device.id, &closed(Outcome::Success, "proven")).await.unwrap();
    assert_eq!(device.status().await, "finished");
    assert_eq!((device.last_kind().await.as_str(), device.heard("proven").await), ("finished", 1));
    // A second result is not taken, and that is told as such.
    let again = device.client.feedback(&device.id, &closed(Outcome::Failure, "no")).await;
    assert!(matches!(again, Err(Error::Gone { status: 410, .. })), "{again:?}");
    // This server is too old to name what is installed (`_links.installedBase`): that is in `scripted.rs`.
    assert_eq!(device.client.poll().await.unwrap().deployment, None);
}

async fn reqwest_get(url: url::Url, headers: holdfast_hawkbit::HeaderMap) -> Result<Vec<u8>, u16> {
    let answer = support::plain_client().get(url).headers(headers).send().await.unwrap();
    match answer.status().as_u16() {
        200 => Ok(answer.bytes().await.unwrap().to_vec()),
        status => Err(status),
    }
}

#[tokio::test]
async fn a_rollback_is_a_failure_with_its_reason() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "rollback", "forced", None).await;
    device.client.feedback(&device.id, &closed(Outcome::Failure, "rolled back: no picture on cam0")).await.unwrap();
    let history = device.history().await;
    assert_eq!(history.last().unwrap(), &("error".to_owned(), vec!["rolled back: no picture on cam0".to_owned()]));
    let target = device.manage.request(support::GET, "/targets/rollback", None).await.unwrap();
    assert_eq!(target["updateStatus"], "error");
}

#[tokio::test]
async fn cancel_before_install() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "cancel", "forced", None).await;
    let action = device.client.poll().await.unwrap().deployment.unwrap();
    device.manage.cancel("cancel", device.action).await.unwrap();
    let poll = device.client.poll().await.unwrap();
    assert_eq!(poll.deployment, None);
    let cancel = device.client.cancel(&poll.cancel.unwrap()).await.unwrap();
    assert_eq!(cancel.stop, device.id);
    let gone = device.client.deployment(&action).await;
    assert!(matches!(gone, Err(Error::Gone { .. })), "{gone:?}");
    device.client.cancel_feedback(&cancel.id, CancelAnswer::Canceled, &["nothing was installed".into()]).await.unwrap();
    assert_eq!(device.last_kind().await, "canceled");
    let poll = device.client.poll().await.unwrap();
    assert_eq!((poll.deployment, poll.cancel), (None, None));
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_is_rejected_and_the_action_goes_on() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "too-late", "forced", None).await;
    device.manage.cancel("too-late", device.action).await.unwrap();
    let cancel = device.client.cancel(&device.client.poll().await.unwrap().cancel.unwrap()).await.unwrap();
    device.client.cancel_feedback(&cancel.id, CancelAnswer::Rejected, &["installing".into()]).await.unwrap();
    assert_eq!(device.client.poll().await.unwrap().deployment.unwrap().id, device.id);
    device.client.feedback(&device.id, &closed(Outcome::Success, "done")).await.unwrap();
    assert_eq!(device.status().await, "finished");
}

#[tokio::test]
async fn soft_and_download_only() {
    let Some(server) = server() else { return };
    let soft = Device::assigned(server, "soft", "soft", None).await;
    let deployment = soft.client.deployment(&soft.client.poll().await.unwrap().deployment.unwrap()).await.unwrap();
    assert_eq!((deployment.download, deployment.update), (Handling::Attempt, Handling::Attempt));

    let only = Device::assigned(server, "download-only", "downloadonly", None).await;
    let deployment = only.client.deployment(&only.client.poll().await.unwrap().deployment.unwrap()).await.unwrap();
    assert_eq!(deployment.update, Handling::Skip);
    assert!(deployment.may_download() && !deployment.may_install());
    only.client.feedback(&only.id, &Feedback::new(Execution::Downloaded, ["all here"])).await.unwrap();
    assert_eq!(only.client.poll().await.unwrap().deployment, None);
    assert_eq!(only.last_kind().await, "downloaded");
}

#[tokio::test]
async fn a_maintenance_window_opens() {
    let Some(server) = server() else { return };
    // A day of the far future; then every second, and open for long: by the server's clock.
    let far = Window { schedule: "0 0 3 1 1 ? 2099", duration: "00:10:00", timezone: "+00:00" };
    let closed = Device::assigned(server, "window", "forced", Some(far)).await;
    let action = closed.client.poll().await.unwrap().deployment.unwrap();
    let deployment = closed.client.deployment(&action).await.unwrap();
    assert_eq!(deployment.maintenance_window, MaintenanceWindow::Unavailable);
    assert!(deployment.may_download() && !deployment.may_install());

    let set = closed.manage.create_software("window", "2", &[("b", b"b")]).await.unwrap();
    let now = Window { schedule: "0 * * * * ? *", duration: "12:00:00", timezone: "+00:00" };
    let assignment = Assignment { controller_id: "window", kind: "forced", window: Some(now) };
    closed.manage.assign(set, &assignment).await.unwrap();
    // A newer assignment has the older one cancelled first.
    let cancel = closed.client.cancel(&closed.client.poll().await.unwrap().cancel.unwrap()).await.unwrap();
    closed.client.cancel_feedback(&cancel.id, CancelAnswer::Canceled, &[]).await.unwrap();
    let newer = closed.client.poll().await.unwrap().deployment.unwrap();
    assert_ne!(newer, action);
    let deployment = closed.client.deployment(&newer).await.unwrap();
    assert_eq!(deployment.maintenance_window, MaintenanceWindow::Available);
    assert!(deployment.may_install());
}

#[tokio::test]
async fn a_rollout_reaches_the_device() {
    let Some(server) = server() else { return };
    let manage = server.manage();
    let token = manage.create_target("rollout-1").await.unwrap();
    let client = Client::new(settings(server, "rollout-1", Token::Target(token.into()))).unwrap();
    let set = manage.create_software("rollout", "1", &[("b", b"b")]).await.unwrap();
    let rollout = manage.create_rollout("ring-0", set, "rollout-*").await.unwrap();
    let path = format!("/rollouts/{rollout}");
    support::until("the rollout is ready", async || {
        manage.request(support::GET, &path, None).await.unwrap()["status"] == "ready"
    })
    .await;
    assert_eq!(client.poll().await.unwrap().deployment, None);
    manage.request(support::POST, &format!("{path}/start"), None).await.unwrap();
    support::until("the rollout has an action for us", async || client.poll().await.unwrap().deployment.is_some())
        .await;
    let action = client.poll().await.unwrap().deployment.unwrap();
    client.feedback(&action.id, &closed(Outcome::Success, "done")).await.unwrap();
    support::until("the rollout is finished", async || {
        manage.request(support::GET, &path, None).await.unwrap()["status"] == "finished"
    })
    .await;
}

#[tokio::test]
async fn attributes_are_merged_replaced_and_removed() {
    let Some(server) = server() else { return };
    let manage = server.manage();
    let token = manage.create_target("attributes").await.unwrap();
    let client = Client::new(settings(server, "attributes", Token::Target(token.into()))).unwrap();
    assert!(client.poll().await.unwrap().config_data_wanted);
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let found = async || {
        let found = manage.request(support::GET, "/targets/attributes/attributes", None).await.unwrap();
        found
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    client.config_data(&map(&[("version", "1"), ("board", "rk3588")]), UpdateMode::Replace).await.unwrap();
    assert!(!client.poll().await.unwrap().config_data_wanted);
    assert_eq!(found().await, map(&[("version", "1"), ("board", "rk3588")]));
    client.config_data(&map(&[("version", "2")]), UpdateMode::Merge).await.unwrap();
    assert_eq!(found().await, map(&[("version", "2"), ("board", "rk3588")]));
    client.config_data(&map(&[("board", "")]), UpdateMode::Remove).await.unwrap();
    assert_eq!(found().await, map(&[("version", "2")]));
    let long = client.config_data(&map(&[("key", &"x".repeat(2000))]), UpdateMode::Merge).await;
    assert!(matches!(long, Err(Error::Refused { status: 400, .. })), "{long:?}");
}

#[tokio::test]
async fn who_we_are() {
    let Some(server) = server() else { return };
    let manage = server.manage();
    manage.create_target("known").await.unwrap();
    let poll = async |id: &str, token: Token| Client::new(settings(server, id, token)).unwrap().poll().await;

    poll("known", Token::Gateway(GATEWAY_TOKEN.into())).await.unwrap();
    // A gateway's token makes targets that were not there.
    poll("brand-new", Token::Gateway(GATEWAY_TOKEN.into())).await.unwrap();
    manage.request(support::GET, "/targets/brand-new", None).await.unwrap();

    let other = manage.create_target("other").await.unwrap();
    for (id, token, named) in [
        ("known", Token::Target("wrong-secret".into()), "security token of target Settings.controller_id \"known\""),
        ("known", Token::Target(other.into()), "security token of target"),
        ("nobody", Token::Target("wrong-secret".into()), "\"nobody\""),
        ("known", Token::Gateway("wrong-secret".into()), "gateway token"),
        ("known", Token::None, "set Settings.token or Settings.certificate"),
    ] {
        let error = poll(id, token).await.unwrap_err();
        assert!(matches!(error, Error::Denied { status: 401, .. }), "{error:?}");
        assert!(error.to_string().contains(named), "{error}");
        assert!(!format!("{error} {error:?}").contains("wrong-secret"));
    }
}

/// A device with a certificate, a proxy that demands one and tells hawkBit whose it is, and hawkBit, which believes it.
#[tokio::test]
async fn a_certificate_through_a_proxy() {
    let Some(server) = server() else { return };
    server.manage().create_target("with-certificate").await.unwrap();
    let pki = support::Pki::new("with-certificate");
    let headers = vec![("X-Ssl-Client-Cn", "with-certificate"), ("X-Ssl-Issuer-Hash-1", ISSUER_HASH)];
    let upstream = server.url().strip_prefix("http://").unwrap().to_owned();
    let proxy = support::mtls_proxy(&pki, upstream, headers).await;

    let client = |certificate| {
        let mut settings = Settings::new(
            format!("https://localhost:{proxy}").parse().unwrap(),
            TENANT,
            "with-certificate",
            Token::None,
        );
        settings.ca = pki.ca();
        settings.certificate = certificate;
        Client::new(settings).unwrap()
    };
    assert!(client(Some(pki.device())).poll().await.unwrap().config_data_wanted);
    let without = client(None).poll().await.unwrap_err();
    assert!(matches!(without, Error::Unreachable { .. }), "{without:?}");
    let stranger = support::Pki::new("with-certificate");
    let strange = client(Some(stranger.device())).poll().await.unwrap_err();
    assert!(matches!(strange, Error::Unreachable { .. }), "{strange:?}");
    // Someone else's authority: a name that nobody vouches for.
    let mut settings = Settings::new(format!("https://localhost:{proxy}").parse().unwrap(), TENANT, "x", Token::None);
    settings.ca = stranger.ca();
    settings.certificate = Some(pki.device());
    let error = Client::new(settings).unwrap().poll().await.unwrap_err();
    assert!(error.to_string().contains("Settings.ca"), "{error}");
}

/// An outbox whose every answer got lost just before a crash: what arrived is not told again.
#[tokio::test]
async fn an_outbox_after_crashes_tells_nothing_twice() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "outbox", "forced", None).await;
    let upstream = server.url().strip_prefix("http://").unwrap().to_owned();
    let (deaf, switch) = support::deaf_proxy(upstream).await;
    let mut settings = device.settings_at(deaf).await;
    settings.timeout = Duration::from_secs(20);
    let client = Client::new(settings).unwrap();

    let directory = tempfile::tempdir().unwrap();
    let (mut outbox, _) = Outbox::open(directory.path()).unwrap();
    let tell = |outbox: &mut Outbox, execution, text: &str| {
        let queued = outbox.feedback(&device.id, Feedback::new(execution, [text])).unwrap();
        assert!(matches!(queued, Queued::Yes { .. }));
    };
    let crash = |outbox: Outbox| {
        drop(outbox);
        Outbox::open(directory.path()).unwrap().0
    };

    for (execution, text) in [
        (Execution::Scheduled, "seen"),
        (Execution::Proceeding { percent: Some(40) }, "at 40 %"),
        (Execution::Closed(Outcome::Success), "proven good"),
    ] {
        tell(&mut outbox, execution, text);
        // The server takes it, and nobody hears of that.
        switch.deaf(true);
        let lost = deliver(&client, &mut outbox).await.unwrap();
        assert!(matches!(&lost, Delivery::Later { error } if error.is_uncertain()), "{lost:?}");
        assert_eq!(device.heard(text).await, 1);
        switch.deaf(false);
        outbox = crash(outbox);
        let found = deliver(&client, &mut outbox).await.unwrap();
        assert!(matches!(found, Delivery::Over { .. }), "{found:?}");
        assert!(matches!(deliver(&client, &mut outbox).await.unwrap(), Delivery::Empty));
        assert_eq!(device.heard(text).await, 1);
    }
    assert_eq!(device.status().await, "finished");
    // It has ended, and stays so after another restart.
    outbox = crash(outbox);
    let more = outbox.feedback(&device.id, closed(Outcome::Failure, "no")).unwrap();
    assert_eq!(more, Queued::Ended);
}

/// What the server can't be told now it is told later, once.
#[tokio::test]
async fn an_outbox_waits_for_the_server() {
    let Some(server) = server() else { return };
    let device = Device::assigned(server, "outage", "forced", None).await;
    let directory = tempfile::tempdir().unwrap();
    let (mut outbox, _) = Outbox::open(directory.path()).unwrap();
    for percent in 0..=100 {
        let feedback = Feedback::new(Execution::Proceeding { percent: Some(percent) }, [format!("at {percent} %")]);
        let _ = outbox.feedback(&device.id, feedback).unwrap();
    }
    let _ = outbox.feedback(&device.id, Feedback::new(Execution::Downloaded, ["all here"])).unwrap();
    let nobody = Client::new(device.settings_at(1).await).unwrap();
    let later = deliver(&nobody, &mut outbox).await.unwrap();
    assert!(matches!(later, Delivery::Later { error: Error::Unreachable { .. } }), "{later:?}");
    drop(outbox);
    let (mut outbox, _) = Outbox::open(directory.path()).unwrap();
    let _ = outbox.feedback(&device.id, closed(Outcome::Success, "proven")).unwrap();
    while let Delivery::Taken { .. } = deliver(&device.client, &mut outbox).await.unwrap() {}
    assert_eq!(outbox.waiting().count(), 0);
    let history: Vec<String> = device.history().await.into_iter().flat_map(|(_, messages)| messages).collect();
    let ours: Vec<&str> = history
        .iter()
        .map(String::as_str)
        .filter(|text| ["at", "all", "proven"].iter().any(|s| text.starts_with(s)))
        .collect();
    assert_eq!(ours, ["at 100 %", "all here", "proven"]);
}

impl Device {
    /// The same device, by another port.
    async fn settings_at(&self, port: u16) -> Settings {
        let target =
            self.manage.request(support::GET, &format!("/targets/{}", self.controller_id), None).await.unwrap();
        let token = Token::Target(target["securityToken"].as_str().unwrap().to_owned().into());
        let mut settings =
            Settings::new(format!("http://127.0.0.1:{port}").parse().unwrap(), TENANT, &self.controller_id, token);
        settings.plain_http = true;
        settings
    }
}
