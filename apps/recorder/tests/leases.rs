//! Leases between real bus clients, real recordings beside them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::process::{Command, Stdio};

use common::{Box, DEADLINE, code, none, test_input};
use futures_util::StreamExt;
use futures_util::future::join_all;
use holdfast_dbus::{
    BUS_NAME, LeaseInfo, LeaseOptions, LeaseProxy, LeasesProxy, RecorderProxy, StartOptions, StopOptions,
};
use tokio::time::timeout;
use zbus::Connection;
use zbus::zvariant::OwnedObjectPath;

async fn holdfast(grace_seconds: u32) -> Box {
    let mut new = Box::without_recorder("", &test_input("cam0", true)).await;
    new.set_environment("HOLDFAST_LEASE_GRACE_SECONDS", &grace_seconds.to_string());
    new.start_recorder().await;
    new
}

async fn leases(client: &Connection) -> LeasesProxy<'static> {
    LeasesProxy::builder(client).cache_properties(zbus::proxy::CacheProperties::No).build().await.unwrap()
}

async fn lease(client: &Connection, path: &OwnedObjectPath) -> LeaseProxy<'static> {
    LeaseProxy::builder(client)
        .path(path.clone())
        .unwrap()
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .unwrap()
}

async fn list(client: &Connection) -> Vec<LeaseInfo> {
    leases(client).await.list_leases(none()).await.unwrap()
}

async fn soon<F: Future>(what: &str, work: F) -> F::Output {
    timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn plain() -> LeaseOptions {
    LeaseOptions::default()
}

#[tokio::test]
async fn the_queue_is_in_order_and_the_next_is_told() {
    let holdfast = holdfast(0).await;
    let [one, two] = [holdfast.bus.connect().await, holdfast.bus.connect().await];
    let (first, granted) = leases(&one).await.request_lease("install", "the update", plain()).await.unwrap();
    assert!(granted);
    let mut waiting = Vec::new();
    for (client, kind) in [(&two, "install"), (&one, "reboot"), (&two, "heavy-cpu")] {
        let (path, granted) = leases(client).await.request_lease(kind, "waits", plain()).await.unwrap();
        assert!(!granted, "{kind} beside an install");
        waiting.push((client, path));
    }
    let listed = list(&holdfast.client).await;
    let states: Vec<_> = listed.iter().map(|lease| lease.state.as_str()).collect();
    assert_eq!(states, ["granted", "queued", "queued", "queued"]);
    assert_eq!(listed[0].owner, one.unique_name().unwrap().as_str());
    assert_eq!((listed[0].pid, listed[0].reason.as_str()), (std::process::id(), "the update"));
    assert!(listed[0].deadline_usec > 0 && listed[1].waits_for.contains("install"), "{listed:#?}");
    assert_eq!(leases(&one).await.leases().await.unwrap().len(), 4);

    let mut holder = (&one, first);
    for next in waiting {
        let proxy = lease(next.0, &next.1).await;
        let mut told = proxy.receive_granted().await.unwrap();
        // Only its owner lets it go.
        let stranger = if std::ptr::eq(holder.0, &one) { &two } else { &one };
        assert_eq!(code(lease(stranger, &holder.1).await.release(none()).await), -1014);
        lease(holder.0, &holder.1).await.release(none()).await.unwrap();
        soon("the next in the queue to be told", told.next()).await.unwrap();
        assert_eq!(proxy.state().await.unwrap(), "granted");
        assert!(lease(holder.0, &holder.1).await.state().await.is_err(), "the object of an ended lease is still there");
        holder = next;
    }
}

#[tokio::test]
async fn a_recording_begins_at_once_and_takes_back_what_can_not_stand_beside_it() {
    let holdfast = holdfast(0).await;
    let client = holdfast.bus.connect().await;
    let (install, granted) = leases(&client).await.request_lease("install", "the update", plain()).await.unwrap();
    let (download, too) = leases(&client).await.request_lease("download", "the next one", plain()).await.unwrap();
    assert!(granted && too);
    let proxy = lease(&client, &install).await;
    let mut revoked = proxy.receive_revoked().await.unwrap();
    let mut all = leases(&holdfast.client).await.receive_lease_revoked().await.unwrap();

    // Nobody releases anything: the recording does not wait for that.
    let session = holdfast.start("at once").await;
    let told = soon("the lease to be revoked", revoked.next()).await.unwrap();
    assert_eq!(told.args().unwrap().why, "recording");
    let told = soon("everyone to hear of it", all.next()).await.unwrap();
    assert_eq!((&told.args().unwrap().lease, told.args().unwrap().kind.as_str()), (&install, "install"));
    assert_eq!(proxy.state().await.unwrap(), "revoked");
    assert_eq!(lease(&client, &download).await.state().await.unwrap(), "granted");

    // While it records: what must wait waits, or is refused if it does not want to.
    let (reboot, granted) = leases(&client).await.request_lease("reboot", "after it", plain()).await.unwrap();
    assert!(!granted);
    let listed = list(&client).await;
    assert!(listed.iter().any(|lease| lease.object == reboot && lease.waits_for.contains("recording")), "{listed:#?}");
    let now = LeaseOptions { queue: Some(false), ..plain() };
    assert_eq!(code(leases(&client).await.request_lease("heavy-io", "now", now).await), -1017);

    // It should have ended by now, and the operator is told that it has not.
    let overdue = || async { proxy.state().await.unwrap() == "overdue" };
    holdfast.until("the lease to be overdue", overdue).await;
    let alerts = || async {
        let all: Vec<holdfast_dbus::AlertInfo> = holdfast
            .client
            .call_method(
                Some(BUS_NAME),
                holdfast_dbus::ROOT_PATH,
                Some("org.holdfast.Recorder1.Alerts"),
                "ListAlerts",
                &none(),
            )
            .await
            .unwrap()
            .body()
            .deserialize()
            .unwrap();
        all.into_iter().find(|alert| alert.code == "lease-overdue")
    };
    let alert = alerts().await.unwrap();
    assert!(alert.active && alert.text.contains("the update"), "{alert:?}");
    assert_eq!(holdfast.recorder().await.current_session().await.unwrap(), session);
    proxy.release(none()).await.unwrap();
    holdfast.until("the alert to be cleared", || async { !alerts().await.unwrap().active }).await;

    // After it, the one that waited for its end; but not before the download, which came first.
    let mut granted = lease(&client, &reboot).await.receive_granted().await.unwrap();
    let totals = holdfast.stop().await;
    assert_eq!((totals.lost_frames, totals.gaps), (0, 0));
    holdfast
        .until("the reboot to wait for the download", || async {
            list(&client).await.iter().any(|lease| lease.object == reboot && lease.waits_for.contains("download"))
        })
        .await;
    lease(&client, &download).await.release(none()).await.unwrap();
    soon("the reboot to be granted", granted.next()).await.unwrap();
}

#[tokio::test]
async fn a_lease_ends_with_its_owner_however_that_ends() {
    let holdfast = holdfast(0).await;
    // A process of its own, which dies without a word: it holds one lease and waits for another.
    let mut other = Command::new("/usr/bin/python3");
    let script = format!(
        "import sys\ntry:\n  from gi.repository import Gio, GLib\nexcept ImportError:\n  sys.exit(77)\n\
         bus = Gio.DBusConnection.new_for_address_sync({:?}, Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | \
         Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION, None, None)\n\
         for kind in ['heavy-io', 'heavy-io', 'reboot']:\n  \
         bus.call_sync('{BUS_NAME}', '/org/holdfast/Recorder1', '{BUS_NAME}.Leases', 'RequestLease', \
         GLib.Variant('(ssa{{sv}})', (kind, 'dies', {{}})), None, 0, 20000, None)\n\
         print('held', flush=True)\nsys.stdin.read()\n",
        holdfast.bus.address
    );
    let spawned = other.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let client = holdfast.bus.connect().await;
    let owner = match spawned {
        Ok(mut process) => {
            let mut line = String::new();
            let mut out = std::io::BufReader::new(process.stdout.take().unwrap());
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            if line == "held\n" { Some(process) } else { None }
        }
        Err(_) => None,
    };
    let Some(mut owner) = owner else {
        holdfast_aloud::skip("no python3 with GLib, so no other process can hold a lease here");
        return;
    };
    let listed = list(&client).await;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|lease| lease.pid == owner.id()), "{listed:#?}");
    let (mine, granted) = leases(&client).await.request_lease("heavy-io", "the next", plain()).await.unwrap();
    assert!(!granted);
    let mut told = lease(&client, &mine).await.receive_granted().await.unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    soon("the survivor to be granted", told.next()).await.unwrap();
    assert_eq!(list(&client).await.len(), 1);
}

#[tokio::test]
async fn owners_that_vanish_while_they_ask_leave_nothing_behind() {
    let holdfast = holdfast(0).await;
    for _ in 0..20 {
        let clients = join_all((0..5).map(|_| holdfast.bus.connect())).await;
        for client in &clients {
            // The call is on its way when its sender leaves.
            let message = zbus::message::Message::method_call(holdfast_dbus::ROOT_PATH, "RequestLease").unwrap();
            let message = message.destination(BUS_NAME).unwrap().interface("org.holdfast.Recorder1.Leases").unwrap();
            client.send(&message.build(&("heavy-io", "vanishes", none())).unwrap()).await.unwrap();
        }
        drop(clients);
    }
    let client = holdfast.bus.connect().await;
    // Calls are taken in order: behind this one, all of the others have been.
    let (mine, _) = leases(&client).await.request_lease("heavy-io", "stays", plain()).await.unwrap();
    let proxy = lease(&client, &mine).await;
    holdfast.until("nothing but ours", || async { list(&client).await.len() == 1 }).await;
    assert_eq!(proxy.state().await.unwrap(), "granted");
}

#[tokio::test]
async fn time_and_operators_end_leases_and_mistakes_have_words() {
    let holdfast = holdfast(0).await;
    let [one, two] = [holdfast.bus.connect().await, holdfast.bus.connect().await];
    let ours = leases(&one).await;
    let short = LeaseOptions { duration_s: Some(1), ..plain() };
    let (path, _) = ours.request_lease("heavy-cpu", "short", short).await.unwrap();
    let mut ended = ours.receive_lease_ended().await.unwrap();
    let mut revoked = lease(&one, &path).await.receive_revoked().await.unwrap();
    assert_eq!(soon("the deadline", revoked.next()).await.unwrap().args().unwrap().why, "deadline");
    assert_eq!(soon("its end", ended.next()).await.unwrap().args().unwrap().why, "deadline");

    // First asked, then taken.
    let (path, _) = ours.request_lease("heavy-cpu", "long", plain()).await.unwrap();
    let mut revoked = lease(&one, &path).await.receive_revoked().await.unwrap();
    leases(&two).await.revoke_lease(path.as_str(), none()).await.unwrap();
    assert_eq!(soon("the operator's word", revoked.next()).await.unwrap().args().unwrap().why, "operator");
    assert_eq!(lease(&one, &path).await.state().await.unwrap(), "revoked");
    leases(&two).await.revoke_lease(path.as_str(), none()).await.unwrap();
    assert_eq!(soon("its end", ended.next()).await.unwrap().args().unwrap().why, "operator");
    assert!(list(&one).await.is_empty());

    assert_eq!(code(ours.request_lease("coffee", "x", plain()).await), -1001);
    assert_eq!(code(ours.request_lease("reboot", " ", plain()).await), -1001);
    let long = LeaseOptions { duration_s: Some(86_400), ..plain() };
    assert_eq!(code(ours.request_lease("reboot", "x", long).await), -1001);
    assert_eq!(code(ours.revoke_lease("4711", none()).await), -1018);
    assert_eq!(code(ours.revoke_lease("/", none()).await), -1018);

    // Whoever runs the recorder may override, and that is told for as long as it lasts.
    holdfast.start("beside").await;
    let force = LeaseOptions { overrides: Some(true), ..plain() };
    let (path, granted) = ours.request_lease("heavy-io", "must be", force).await.unwrap();
    assert!(granted);
    assert!(list(&one).await[0].overrides);
    lease(&one, &path).await.release(none()).await.unwrap();
    holdfast.stop().await;
}

#[tokio::test]
async fn after_a_recording_it_waits_for_the_grace() {
    let holdfast = holdfast(2).await;
    holdfast.start("").await;
    holdfast.stop().await;
    let client = holdfast.bus.connect().await;
    let (path, granted) = leases(&client).await.request_lease("heavy-io", "after", plain()).await.unwrap();
    assert!(!granted);
    let mut told = lease(&client, &path).await.receive_granted().await.unwrap();
    soon("the grace to be over", told.next()).await.unwrap();
}

/// 50 clients, each with a connection of its own, start and stop as they like, with tokens of their own or a shared one. At every
/// moment there is at most one session; in the end all agree on what happened.
#[tokio::test]
async fn fifty_clients_that_race_settle_to_one_session() {
    const CLIENTS: usize = 50;
    let holdfast = holdfast(0).await;
    let clients = join_all((0..CLIENTS).map(|_| holdfast.bus.connect())).await;
    let proxies: Vec<_> =
        join_all(clients.iter().map(RecorderProxy::new)).await.into_iter().map(Result::unwrap).collect();
    let start = |token: String| StartOptions { token: Some(token), ..StartOptions::default() };

    // One token.
    let answers = join_all(proxies.iter().map(|proxy| proxy.start(start("shared".into())))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
    assert!(answers.iter().all(|(path, _)| *path == answers[0].0));
    let stops = join_all(proxies.iter().map(|proxy| proxy.stop(StopOptions::default()))).await;
    for stop in stops {
        match stop {
            Ok(totals) => assert_eq!(totals.session, answers[0].0),
            Err(error) => assert_eq!(code::<()>(Err(error)), -1004),
        }
    }

    // Tokens of their own: one gets its session, the others its name.
    let answers = join_all(proxies.iter().enumerate().map(|(n, proxy)| proxy.start(start(format!("own-{n}"))))).await;
    let created: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(created.len(), 1, "{answers:?}");
    let (second, is_new) = created[0].clone();
    assert!(is_new);
    for error in answers.into_iter().filter_map(Result::err) {
        assert_eq!(holdfast_dbus::Error::from_zbus(&error).unwrap().code.number(), -1006);
    }
    holdfast.stop().await;

    // Everything at once, leases too: half start, half stop, with three tokens between them.
    let racing = proxies.iter().enumerate().map(|(n, proxy)| async move {
        if n % 2 == 0 {
            proxy.start(start(format!("race-{}", n % 3))).await.map(|(path, _)| path)
        } else {
            proxy.stop(StopOptions::default()).await.map(|totals| totals.session)
        }
    });
    let asking = clients
        .iter()
        .map(|client| async move { leases(client).await.request_lease("heavy-io", "races", plain()).await.map(drop) });
    let (raced, asked) = tokio::join!(join_all(racing), join_all(asking));
    asked.into_iter().for_each(|answer| answer.unwrap());
    for error in raced.into_iter().filter_map(Result::err) {
        let code = holdfast_dbus::Error::from_zbus(&error).unwrap_or_else(|| panic!("{error}")).code.number();
        assert!([-1004, -1005, -1006].contains(&code), "{error}");
    }
    // Settled: whatever won, one Stop ends it, and every session is whole and listed once.
    let recorder = holdfast.recorder().await;
    if recorder.state().await.unwrap() != "idle" {
        let _ = recorder.stop(StopOptions::default()).await;
    }
    holdfast.until("rest", || async { recorder.state().await.unwrap() == "idle" }).await;
    let listed = recorder.list_sessions(holdfast_dbus::ListOptions::default()).await.unwrap();
    let tokens: Vec<_> = listed.iter().map(|session| session.token.clone()).collect();
    let unique: std::collections::BTreeSet<_> = tokens.iter().collect();
    assert_eq!(unique.len(), tokens.len(), "a token with two sessions: {tokens:?}");
    assert!(listed.iter().all(|session| session.state == "stopped"), "{listed:?}");
    assert!(listed.iter().any(|session| holdfast_dbus::session_path(&session.id) == second));
    assert!(listed.len() <= 5, "{tokens:?}");
    // And of fifty leases of one kind, one is held.
    let held = list(&holdfast.client).await.into_iter().filter(|lease| lease.state == "granted").count();
    assert_eq!(held, 1, "{:#?}", list(&holdfast.client).await);
}
