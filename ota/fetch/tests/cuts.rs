//! Power cuts and kills in the middle of downloads: what comes out is always the file, and little is fetched twice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{Content, MIB, Reply, Server, fast, honest, open, within};
use holdfast_aloud::say;
use holdfast_fetch::{Cache, Error, Fetcher, Proxy, Roots, Source, Tls};
use tokio::io::AsyncWriteExt as _;

/// What a power cut does to what was written and not synced: chunks that no record tells of are zeros, and of the last
/// record there may be a part.
fn lose_unsynced(dir: &Path, content: &Content, recorded: &[bool], chunk_bytes: u64, torn: Option<u64>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".raucb") {
            for (chunk, _) in (0..).zip(recorded).filter(|(_, there)| !**there) {
                let at = chunk * chunk_bytes;
                let zeros = vec![0; usize::try_from(chunk_bytes.min(content.total - at)).unwrap()];
                file.write_all_at(&zeros, at).unwrap();
            }
        } else if let (true, Some(bytes)) = (name == "fetch.journal", torn) {
            let length = file.metadata().unwrap().len();
            file.set_len(length.saturating_sub(bytes)).unwrap();
        }
    }
}

/// Twenty cuts of one download of half a gibibyte: what a bundle of a small image has.
#[tokio::test]
async fn twenty_power_cuts_cost_less_than_five_percent() {
    let content = Content::of(40, 512 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let (mut received, mut cuts) = (0, 0);
    let expected = content.sha256();
    let path = loop {
        let cache = open(dir.path());
        let source = server.source().expect_sha256(expected);
        let (fetcher, handle) = Fetcher::new(cache.clone(), source, fast()).unwrap();
        let mut progress = handle.progress();
        // Anywhere: within a chunk, within a sync, right after either.
        let cut_at = 19 * MIB + 131_071 * (cuts * 7 % 41);
        let fetched = tokio::select! {
            fetched = fetcher.run() => Some(fetched.unwrap()),
            _ = progress.wait_for(|progress| cuts < 20 && progress.received_bytes >= cut_at) => None,
        };
        let progress = handle.progress().borrow().clone();
        received += progress.received_bytes;
        if let Some(fetched) = fetched {
            break fetched.path;
        }
        cuts += 1;
        drop(cache);
        freed(dir.path()).await;
        // A sync that was under way at the cut has ended since; the power would not have let it.
        if safe_bytes(dir.path()) > progress.safe_bytes {
            lose_unsynced(dir.path(), &content, &[], 256 << 10, Some(1));
        }
        assert!(safe_bytes(dir.path()) >= progress.safe_bytes, "what was told as safe is gone");
        let recorded = claims(dir.path(), &content);
        lose_unsynced(dir.path(), &content, &recorded, 256 << 10, None);
    };
    content.assert_is(&path);
    assert_eq!(cuts, 20);
    #[expect(clippy::cast_precision_loss, reason = "a percentage")]
    let percent = (received - content.total) as f64 * 100.0 / content.total as f64;
    say(format_args!("redownloaded_pct={percent:.2} cuts={cuts} bytes={} requests={}", content.total, server.count()));
    assert!(percent < 5.0, "{percent} %");
    assert!(server.count() <= 21, "{}", server.count());
}

/// Returns when the write that was under way at the cut has ended, and with it its hold on the cache.
async fn freed(dir: &Path) {
    let open = || Cache::open(dir, common::limits());
    within(async {
        while matches!(open(), Err(Error::Journal(holdfast_journal::Error::Locked { .. }))) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn safe_bytes(dir: &Path) -> u64 {
    open(dir).holding().map_or(0, |holding| holding.safe_bytes)
}

/// Which chunks the record tells of: the first so many, as one download without jumps fills them.
fn claims(dir: &Path, content: &Content) -> Vec<bool> {
    let safe = safe_bytes(dir);
    let chunks = content.total.div_ceil(256 << 10);
    (0..chunks).map(|chunk| chunk < safe.div_ceil(256 << 10)).collect()
}

/// Torn records and lost data together, at many places, without a word about how little it costs.
#[tokio::test]
async fn torn_records_cost_their_chunks_only() {
    let content = Content::of(41, 6 * MIB + 17);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    for torn in [1, 5, 33, 100, 200, 400] {
        let cache = open(dir.path());
        let (fetcher, _handle) = Fetcher::new(cache.clone(), server.source(), fast()).unwrap();
        content.assert_is(&within(fetcher.run()).await.unwrap().path);
        drop(cache);
        lose_unsynced(dir.path(), &content, &[], 256 << 10, Some(torn));
        let recorded = claims(dir.path(), &content);
        lose_unsynced(dir.path(), &content, &recorded, 256 << 10, None);
    }
    let cache = open(dir.path());
    let (fetcher, handle) = Fetcher::new(cache, server.source(), fast()).unwrap();
    content.assert_is(&within(fetcher.run()).await.unwrap().path);
    assert!(handle.progress().borrow().received_bytes <= 4 * MIB);
}

/// The process that is killed: this test program again, with this test alone and these variables.
#[tokio::test]
#[ignore = "run by others of this file"]
async fn child() {
    let Ok(url) = std::env::var("HOLDFAST_FETCH_URL") else { return };
    let ca = std::env::var("HOLDFAST_FETCH_CA").unwrap().into_bytes();
    let source = Source::new(&url).unwrap().tls(Tls { roots: Roots::Only(ca), client: None });
    let cache = open(Path::new(&std::env::var("HOLDFAST_FETCH_DIR").unwrap()));
    // As in the updater: with the proxy, and somebody who reads through it.
    let proxy = Proxy::start(cache.clone()).await.unwrap();
    let (fetcher, _handle) = Fetcher::new(cache, source, fast()).unwrap();
    let reader = read_all(proxy.url().to_owned());
    let (fetched, _) = tokio::join!(fetcher.run(), reader);
    fetched.unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    say(format_args!("rss_mb={} at most, fetching and serving, unoptimised", kib / 1000));
    assert!(kib < 30_000, "{kib} KiB");
}

/// Reads and throws away.
async fn read_all(url: String) {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
}

fn spawn(server: &Server, dir: &Path, url: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--ignored"]).env("HOLDFAST_FETCH_URL", url);
    command.env("HOLDFAST_FETCH_CA", server.ca_pem()).env("HOLDFAST_FETCH_DIR", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn kill_9_in_the_middle_a_few_times() {
    let content = Content::of(42, 48 * MIB + 3);
    let file = content.clone();
    let server =
        Server::tls(move |asked| Reply { pace: Some(Duration::from_micros(100)), ..honest(asked, &file, "\"a\"") })
            .await;
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("/bundle.raucb");
    for kill in 1..=5_u64 {
        let mut child = spawn(&server, dir.path(), &url).spawn().unwrap();
        let goal = server.sent() + 7 * MIB + kill * 99_999;
        while server.sent() < goal {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        child.start_kill().unwrap();
        assert_eq!(within(child.wait()).await.unwrap().signal(), Some(9));
    }
    let before = server.sent();
    assert!(within(spawn(&server, dir.path(), &url).status()).await.unwrap().success());
    assert!(before < server.sent() && server.sent() - before < content.total / 2, "nothing was kept");
    let holding = open(dir.path()).holding().unwrap();
    assert_eq!(holding.safe_bytes, content.total);
    content.assert_is(&holding.path);
    let (sent, total) = (server.sent(), content.total);
    say(format_args!("kill -9 ×5: {sent} bytes sent for {total}, in {} requests", server.count()));
}

#[tokio::test]
async fn the_environments_proxy_is_asked() {
    let content = Content::of(43, MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    // It refuses: what counts is that it was asked, and that nobody went round it.
    let proxy = Server::plain(|_| common::status(502, &[])).await;
    let mut command = spawn(&server, dir.path(), &server.url("/bundle.raucb"));
    command.env("HTTPS_PROXY", proxy.url("")).env_remove("NO_PROXY").env_remove("no_proxy");
    assert!(!within(command.stderr(Stdio::null()).status()).await.unwrap().success());
    let asked = proxy.requests.lock().unwrap();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.method == "CONNECT"), "{asked:?}");
    assert_eq!(server.count(), 0);
}
