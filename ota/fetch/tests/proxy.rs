//! The proxy, read by curl, which is what RAUC reads with, and by hand.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::process::Stdio;
use std::time::Duration;

use common::{Content, MIB, Reply, Server, fast, honest, open, within};
use holdfast_fetch::{Cache, Error, Fetcher, Handle, Proxy, ProxyOptions, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

fn start(cache: &Cache, source: Source) -> (JoinHandle<Result<holdfast_fetch::Fetched, Error>>, Handle) {
    let (fetcher, handle) = Fetcher::new(cache.clone(), source, fast()).unwrap();
    (tokio::spawn(fetcher.run()), handle)
}

/// What curl prints and with what it ends; `None` where there is no curl.
async fn curl(arguments: &[&str]) -> Option<(Vec<u8>, i32)> {
    let mut command = tokio::process::Command::new("curl");
    command.args(["--silent", "--noproxy", "*", "--max-time", "100"]).args(arguments);
    match command.stdin(Stdio::null()).kill_on_drop(true).output().await {
        Ok(output) => Some((output.stdout, output.status.code().unwrap())),
        Err(error) => {
            holdfast_aloud::skip(format_args!("curl does not start: {error}; install curl"));
            None
        }
    }
}

#[tokio::test]
async fn curl_reads_while_it_comes_and_jumps_as_rauc_does() {
    let content = Content::of(20, 24 * MIB + 99);
    let file = content.clone();
    let server = Server::tls(move |asked| Reply {
        // On a bad network, which the reader knows nothing of.
        cut_after: (asked.number % 2 == 1).then_some(3 * MIB),
        pace: Some(Duration::from_micros(300)),
        ..honest(asked, &file, "\"a\"")
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let proxy = Proxy::start(cache.clone()).await.unwrap();
    let (fetch, handle) = start(&cache, server.source());
    let total = content.total;
    // RAUC: four bytes for magic and length, then the signature at the very end, then from the front.
    let Some((magic, _)) = within(curl(&["--range", "0-3", proxy.url()])).await else { return };
    assert_eq!(magic, content.bytes(0..4));
    let (tail, code) = within(curl(&["--range", &format!("{}-{}", total - 8, total - 1), proxy.url()])).await.unwrap();
    assert!(code == 0 && tail == content.bytes(total - 8..total));
    // It did not wait for all that lies between.
    assert!(handle.progress().borrow().received_bytes < total / 2, "{:?}", handle.progress().borrow());
    let (whole, code) = within(curl(&[proxy.url()])).await.unwrap();
    assert!(code == 0 && whole == content.bytes(0..total));
    let fetched = within(fetch).await.unwrap().unwrap();
    content.assert_is(&fetched.path);
    let progress = handle.progress().borrow().clone();
    assert!(progress.redownloaded_bytes <= MIB, "{progress:?}");
    assert!(server.count() < 20, "{}", server.count());
    // And from the whole file: heads, ends, and what is beyond.
    let (head, _) = within(curl(&["--head", proxy.url()])).await.unwrap();
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("accept-ranges: bytes"), "{head}");
    assert!(head.contains(&format!("content-length: {total}")), "{head}");
    let (suffix, _) = within(curl(&["--range", "-5", proxy.url()])).await.unwrap();
    assert_eq!(suffix, content.bytes(total - 5..total));
    let beyond = format!("{total}-");
    let (said, _) = within(curl(&["--include", "--range", &beyond, proxy.url()])).await.unwrap();
    let said = String::from_utf8(said).unwrap().to_lowercase();
    assert!(said.starts_with("http/1.1 416") && said.contains(&format!("content-range: bytes */{total}")), "{said}");
    // One connection for many small ranges.
    let mut many =
        vec!["--write-out".to_owned(), "%{num_connects},".to_owned(), "--output".to_owned(), "/dev/null".to_owned()];
    for at in 0..5 {
        many.extend([
            "--next".into(),
            "--silent".into(),
            "--noproxy".into(),
            "*".into(),
            "--write-out".into(),
            "%{num_connects},".into(),
        ]);
        many.extend([
            "--output".into(),
            "/dev/null".into(),
            "--range".into(),
            format!("{at}000000-{at}099999"),
            proxy.url().into(),
        ]);
    }
    let first = many.iter().position(|argument| argument == "--next").unwrap();
    many.insert(first, proxy.url().to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (connects, code) = within(curl(&many)).await.unwrap();
    assert_eq!((String::from_utf8(connects).unwrap().as_str(), code), ("1,0,0,0,0,0,", 0));
}

#[tokio::test]
async fn what_lies_beyond_four_gibibytes_is_reached_at_once() {
    let content = Content::of(21, (5 << 30) + 77);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let proxy = Proxy::start(cache.clone()).await.unwrap();
    let (fetch, handle) = start(&cache, server.source());
    let range = format!("{}-", content.total - 1000);
    let Some((tail, code)) = within(curl(&["--range", &range, proxy.url()])).await else { return };
    assert!(code == 0 && tail == content.bytes(content.total - 1000..content.total));
    handle.cancel();
    assert!(matches!(within(fetch).await.unwrap(), Err(Error::Cancelled)));
    let holding = cache.holding().unwrap();
    assert!(holding.total_bytes == content.total && holding.safe_bytes < 1 << 30, "{holding:?}");
}

async fn by_hand(proxy: &Proxy, request: &str) -> String {
    let address = proxy.url().strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn nobody_gets_in_without_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(open(dir.path())).await.unwrap();
    let path = proxy.url().splitn(4, '/').nth(3).unwrap().to_owned();
    let mut wrong = path.clone();
    wrong.replace_range(0..1, if path.starts_with('0') { "1" } else { "0" });
    for path in ["", "bundle.raucb", &wrong, &path[1..], &format!("{path}/"), &format!("x/../{path}")] {
        let answer = within(by_hand(&proxy, &format!("GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n"))).await;
        assert!(answer.starts_with("HTTP/1.1 404") && answer.to_lowercase().contains("connection: close"), "{answer}");
    }
    let secret = path.split('/').next().unwrap();
    assert!(secret.len() == 32 && !format!("{proxy:?}").contains(secret));
    let post = format!("POST /{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(within(by_hand(&proxy, &post)).await.starts_with("HTTP/1.1 405"));
    // Another proxy has another secret.
    let dir = tempfile::tempdir().unwrap();
    let other = Proxy::start(open(dir.path())).await.unwrap();
    assert!(!other.url().contains(secret));
}

#[tokio::test]
async fn a_reader_that_goes_away_harms_nothing_and_one_in_vain_is_told() {
    let content = Content::of(22, 6 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { stall_after: Some(2 * MIB), ..honest(asked, &file, "\"a\"") },
        _ => honest(asked, &file, "\"a\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let options = ProxyOptions { patience: Duration::from_secs(3600), connections: 2, ..ProxyOptions::default() };
    let proxy = Proxy::start_with(cache.clone(), options).await.unwrap();
    let (fetch, _handle) = start(&cache, server.source());
    // More readers than there is room for, each gone in the middle of what has come, or of the wait for it.
    for at in 0..6 {
        let (address, path) = proxy.url().strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nrange: bytes={}-\r\n\r\n", at * 900_000);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut some = [0; 100];
        within(stream.read_exact(&mut some)).await.unwrap();
    }
    content.assert_is(&within(fetch).await.unwrap().unwrap().path);
    let Some((whole, code)) = within(curl(&[proxy.url()])).await else { return };
    assert!(code == 0 && whole == content.bytes(0..content.total));

    // A fetch that ends badly ends its readers: a part is never taken for the whole.
    let refusing = Server::tls(move |asked| match asked.number {
        1 => Reply { cut_after: Some(MIB), ..honest(asked, &content, "\"a\"") },
        _ => common::status(403, &[]),
    })
    .await;
    cache.remove().unwrap();
    let (fetch, _handle) = start(&cache, refusing.source());
    let (some, code) = within(curl(&[proxy.url()])).await.unwrap();
    assert!(matches!(within(fetch).await.unwrap(), Err(Error::Forbidden { .. })));
    // 18: the connection was closed before all was there. Not 28, curl's own patience.
    assert!(code == 18 && some.len() <= 1 << 20, "{code}, {} bytes", some.len());
    // And so does a fetch that never got so far.
    cache.remove().unwrap();
    let (said, _) = within(curl(&["--include", proxy.url()])).await.unwrap();
    assert!(String::from_utf8(said).unwrap().starts_with("HTTP/1.1 503"));
}
