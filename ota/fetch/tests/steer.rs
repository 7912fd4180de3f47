//! Caps, pauses and the end by order of the caller; trust, redirects and secrets.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Content, MIB, Reply, Server, fast, honest, open, status, within};
use holdfast_fetch::{Error, Fetcher, Handle, Options, Phase, Progress, Roots, Source, Tls};

async fn until(handle: &Handle, wanted: impl FnMut(&Progress) -> bool) -> Progress {
    within(async { handle.progress().wait_for(wanted).await.unwrap().clone() }).await
}

#[tokio::test]
async fn a_cap_is_never_exceeded_and_changes_at_once() {
    let content = Content::of(30, 8 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let (fetcher, handle) = Fetcher::new(open(dir.path()), server.source(), fast()).unwrap();
    handle.cap(Some(MIB));
    let start = Instant::now();
    let run = tokio::spawn(fetcher.run());
    let progress = until(&handle, |progress| progress.received_bytes >= MIB).await;
    // What has come on top of the cap's rate is a burst and one piece at most.
    let allowed = start.elapsed().as_secs_f64() + 0.1;
    #[expect(clippy::cast_precision_loss, reason = "a few MiB")]
    let rate = (progress.received_bytes - (512 << 10)) as f64 / allowed;
    assert!(rate <= 1_048_576.0, "{rate} in {allowed}");
    // Zero stands still, although the debt of the old rate is not paid yet.
    handle.cap(Some(0));
    let stood = until(&handle, |progress| progress.phase == Phase::Paused).await;
    assert!(stood.safe_bytes < content.total);
    // At the old rate this would take seven seconds, and with one byte per second for ever.
    handle.cap(None);
    content.assert_is(&within(run).await.unwrap().unwrap().path);
    assert_eq!((server.count(), handle.progress().borrow().redownloaded_bytes), (1, 0));
}

#[tokio::test]
async fn short_pauses_keep_the_connection_and_long_ones_lose_nothing() {
    for (pause_hold, requests) in [(Duration::from_secs(60), 1), (Duration::from_millis(1), 2)] {
        let content = Content::of(31, 12 * MIB);
        let file = content.clone();
        let server =
            Server::tls(move |asked| Reply { pace: Some(Duration::from_micros(500)), ..honest(asked, &file, "\"a\"") })
                .await;
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        let options = Options { pause_hold, ..fast() };
        let (fetcher, handle) = Fetcher::new(cache.clone(), server.source(), options).unwrap();
        let run = tokio::spawn(fetcher.run());
        until(&handle, |progress| progress.received_bytes > 700_000).await;
        handle.pause();
        let paused = until(&handle, |progress| progress.phase == Phase::Paused).await;
        // All whole chunks that came are safe before it stands still.
        assert!(paused.safe_bytes + (256 << 10) > paused.received_bytes, "{paused:?}");
        // Longer than the stall timeout: our own standing still is no stall.
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(handle.progress().borrow().received_bytes, paused.received_bytes);
        handle.resume();
        content.assert_is(&within(run).await.unwrap().unwrap().path);
        let progress = handle.progress().borrow().clone();
        assert_eq!((server.count(), progress.failures, progress.redownloaded_bytes), (requests, 0, 0));
    }
}

#[tokio::test]
async fn cancelling_ends_every_wait_and_keeps_what_is_there() {
    let content = Content::of(32, 4 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { stall_after: Some(3 * MIB + 1000), ..honest(asked, &file, "\"a\"") },
        2 => status(503, &[("retry-after", "3600")]),
        _ => honest(asked, &file, "\"a\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let slow = || Options { stall_timeout: Duration::from_secs(3600), ..Options::default() };
    // While nothing comes.
    let (fetcher, handle) = Fetcher::new(cache.clone(), server.source(), slow()).unwrap();
    let run = tokio::spawn(fetcher.run());
    until(&handle, |progress| progress.received_bytes == 3 * MIB + 1000).await;
    handle.cancel();
    assert!(matches!(within(run).await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(cache.holding().unwrap().safe_bytes, 3 * MIB);
    // While it waits for its next attempt.
    let (fetcher, handle) = Fetcher::new(cache.clone(), server.source(), slow()).unwrap();
    let run = tokio::spawn(fetcher.run());
    until(&handle, |progress| progress.phase == Phase::Waiting).await;
    handle.cancel();
    assert!(matches!(within(run).await.unwrap(), Err(Error::Cancelled)));
    // While it is paused, before it sent anything.
    let (fetcher, handle) = Fetcher::new(cache.clone(), server.source(), slow()).unwrap();
    handle.pause();
    let run = tokio::spawn(fetcher.run());
    until(&handle, |progress| progress.phase == Phase::Paused).await;
    handle.cancel();
    assert!(matches!(within(run).await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(server.count(), 2);
    let (fetcher, handle) = Fetcher::new(cache, server.source(), slow()).unwrap();
    content.assert_is(&within(fetcher.run()).await.unwrap().path);
    assert_eq!(handle.progress().borrow().received_bytes, MIB);
}

#[tokio::test]
async fn only_trusted_servers_and_known_boxes() {
    let content = Content::of(33, MIB);
    let file = content.clone();
    let server = Server::mutual(move |asked| honest(asked, &file, "\"a\"")).await;
    let other = Server::tls(|_| status(404, &[])).await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    for tls in [server.trust(false), other.trust(false), Tls::default()] {
        let (fetcher, _handle) = Fetcher::new(cache.clone(), server.source().tls(tls), fast()).unwrap();
        let error = within(fetcher.run()).await.unwrap_err();
        assert!(matches!(error, Error::Exhausted { .. }), "{error}");
    }
    assert_eq!(server.count(), 0);
    let (fetcher, _handle) = Fetcher::new(cache.clone(), server.source().tls(server.trust(true)), fast()).unwrap();
    content.assert_is(&within(fetcher.run()).await.unwrap().path);
    // What can't work is told before anything is sent, and quotes no key.
    let pem = |text: &str| text.as_bytes().to_vec();
    for tls in [
        Tls { roots: Roots::Only(pem("nothing")), client: None },
        Tls { roots: Roots::Only(pem(server.ca_pem())), client: Some((pem(server.ca_pem()), pem("hunter2"))) },
        Tls { roots: Roots::Only(pem(server.ca_pem())), client: Some((pem("hunter2"), pem("hunter2"))) },
    ] {
        let error = Fetcher::new(cache.clone(), server.source().tls(tls), fast()).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::BadSource { .. }) && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let plain = Source::new("http://192.0.2.1/bundle.raucb").unwrap().allow_plain_loopback();
    assert!(matches!(Fetcher::new(cache, plain, fast()), Err(Error::BadSource { .. })));
}

#[tokio::test]
async fn redirects_stay_on_tls_and_tokens_at_home() {
    let content = Content::of(34, MIB);
    let file = content.clone();
    let plain = Server::plain(|_| status(200, &[])).await;
    let insecure = plain.url("/x");
    // Both by the same certificate: one server under two names is two origins.
    let server = Arc::new(Mutex::new(None::<u16>));
    let port = server.clone();
    let tls = Server::tls(move |asked| match asked.path.as_str() {
        "/bundle.raucb" => status(307, &[("location", "/next?sig=s3cr3t")]),
        "/next?sig=s3cr3t" => {
            let there = format!("https://localhost:{}/there", port.lock().unwrap().unwrap());
            status(302, &[("location", &there)])
        }
        "/there" => honest(asked, &file, "\"a\""),
        "/insecure" => status(301, &[("location", &insecure)]),
        "/round" => status(308, &[("location", "/round")]),
        _ => status(304, &[]),
    })
    .await;
    *server.lock().unwrap() = Some(tls.address.port());
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let source = tls.source().header("X-Token", "s3cr3t").unwrap();
    let (fetcher, handle) = Fetcher::new(cache.clone(), source, fast()).unwrap();
    content.assert_is(&within(fetcher.run()).await.unwrap().path);
    assert_eq!(handle.progress().borrow().requests, 3);
    let sent: Vec<bool> = tls.requests.lock().unwrap().iter().map(|asked| asked.header("x-token").is_some()).collect();
    assert_eq!(sent, [true, true, false]);
    for (path, wanted) in [("/insecure", "TLS"), ("/round", "again and again"), ("/304", "304")] {
        let source = Source::new(&tls.url(path)).unwrap().tls(tls.trust(false)).allow_plain_loopback();
        let (fetcher, _handle) = Fetcher::new(cache.clone(), source, fast()).unwrap();
        let error = within(fetcher.run()).await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{path}: {error}");
    }
    assert_eq!(plain.count(), 0);
    // What starts without TLS on this box does not leave it.
    let outward = Server::plain(|_| status(302, &[("location", "http://192.0.2.1/bundle.raucb")])).await;
    let (fetcher, _handle) = Fetcher::new(cache, outward.source(), fast()).unwrap();
    let error = within(fetcher.run()).await.unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
}

#[tokio::test]
async fn a_cap_so_low_that_every_piece_waits_is_no_stall() {
    let content = Content::of(36, 192 << 10);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    // Each piece of about 16 KiB is waited off longer than a stall would take.
    let options = Options { stall_timeout: Duration::from_millis(100), ..fast() };
    let (fetcher, handle) = Fetcher::new(open(dir.path()), server.source(), options).unwrap();
    handle.cap(Some(64 << 10));
    content.assert_is(&within(fetcher.run()).await.unwrap().path);
    assert_eq!((handle.progress().borrow().failures, server.count()), (0, 1));
}
