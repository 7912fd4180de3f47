//! Fetching from a real TLS server that behaves as servers and networks do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::sync::atomic::Ordering;

use common::{Content, MIB, Reply, Server, fast, honest, open, status, within};
use holdfast_fetch::{Cache, Error, Fetched, Fetcher, Options, Phase, Progress, Source};

async fn fetch(cache: &Cache, source: Source, options: Options) -> (Result<Fetched, Error>, Progress) {
    let (fetcher, handle) = Fetcher::new(cache.clone(), source, options).unwrap();
    let result = within(fetcher.run()).await;
    let progress = handle.progress().borrow().clone();
    (result, progress)
}

#[tokio::test]
async fn a_whole_file_takes_one_request() {
    let content = Content::of(1, 64 * MIB + 4711);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (fetched, progress) = fetch(&cache, server.source().expect_sha256(content.sha256()), fast()).await;
    let fetched = fetched.unwrap();
    assert_eq!((fetched.bytes, fetched.sha256), (content.total, content.sha256()));
    content.assert_is(&fetched.path);
    assert_eq!((server.count(), server.sent()), (1, content.total));
    assert_eq!((progress.phase, progress.requests, progress.safe_bytes), (Phase::Complete, 1, content.total));
    assert_eq!((progress.received_bytes, progress.redownloaded_bytes), (content.total, 0));
    // What is whole costs nothing again, in another process too.
    drop(cache);
    let (again, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    assert_eq!((again.unwrap(), progress.requests, server.count()), (fetched, 0, 1));
}

#[tokio::test]
async fn broken_connections_cost_no_byte_twice() {
    let content = Content::of(2, 8 * MIB + 1);
    let file = content.clone();
    let server = Server::tls(move |asked| {
        // Places that are no chunk's.
        Reply { cut_after: Some(777_777), ..honest(asked, &file, "\"a\"") }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert!(progress.failures >= 10, "{progress:?}");
    assert_eq!((progress.received_bytes, progress.redownloaded_bytes), (content.total, 0));
    let requests = server.requests.lock().unwrap();
    assert!(requests[1..].iter().all(|asked| asked.header("if-range") == Some("\"a\"")), "{requests:?}");
}

#[tokio::test]
async fn stalls_and_trickles_are_noticed() {
    let content = Content::of(3, 2 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { stall_after: Some(MIB + 5), ..honest(asked, &file, "\"a\"") },
        // No head at all comes of this one.
        2 => Reply { pace: Some(std::time::Duration::from_secs(3600)), ..honest(asked, &file, "\"a\"") },
        _ => honest(asked, &file, "\"a\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert_eq!((progress.failures, progress.redownloaded_bytes, server.count()), (2, 0, 3));
    assert!(progress.note.unwrap().contains("less than 1024 bytes in 0.5s"));
}

#[tokio::test]
async fn a_file_that_changes_is_begun_anew_and_never_mixed() {
    let (old, new) = (Content::of(4, 3 * MIB), Content::of(5, 2 * MIB + 9));
    for same_length in [false, true] {
        let new = if same_length { Content { total: old.total, ..new.clone() } } else { new.clone() };
        let (first, then) = (old.clone(), new.clone());
        let server = Server::tls(move |asked| match asked.number {
            1 => Reply { cut_after: Some(2 * MIB), ..honest(asked, &first, "\"old\"") },
            _ => honest(asked, &then, "\"new\""),
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
        new.assert_is(&fetched.unwrap().path);
        assert_eq!((progress.anew, server.count()), (1, 4));
        assert!(progress.note.unwrap().contains("begun anew"));
        let left = std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "raucb");
        assert_eq!(left.count(), 1);
    }
}

#[tokio::test]
async fn a_file_that_never_stays_is_given_up() {
    let server = Server::tls(|asked| {
        let content = Content::of(6, MIB + asked.number);
        Reply { cut_after: Some(1000), ..honest(asked, &content, &format!("\"{}\"", asked.number)) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (result, _) = fetch(&open(dir.path()), server.source(), fast()).await;
    assert!(matches!(result, Err(Error::KeepsChanging { .. })), "{result:?}");
    assert!(server.count() <= 12, "{}", server.count());
}

#[tokio::test]
async fn lies_never_get_into_the_file() {
    let content = Content::of(7, 3 * MIB);
    let part = |range: &str| status(206, &[("etag", "\"a\""), ("content-range", range)]);
    let other = Content::of(8, 3 * MIB);
    let lies: Vec<(&str, Reply)> = vec![
        ("another range", Reply { body: Some((content.clone(), 0..3 * MIB)), ..part("bytes 0-3145727/3145728") }),
        (
            "a longer range",
            Reply { body: Some((content.clone(), MIB..3 * MIB)), ..part("bytes 1048576-3145728/3145729") },
        ),
        ("no range", Reply { body: Some((content.clone(), MIB..3 * MIB)), ..status(206, &[("etag", "\"a\"")]) }),
        (
            "a wrong length",
            Reply { body: Some((content.clone(), MIB..2 * MIB)), ..part("bytes 1048576-3145727/3145728") },
        ),
        ("too much", Reply { body: Some((other, 0..3 * MIB)), chunked: true, ..part("bytes 1048576-3145727/3145728") }),
        (
            "encoded",
            Reply {
                body: Some((content.clone(), MIB..3 * MIB)),
                ..status(206, &[("content-encoding", "gzip"), ("content-range", "bytes 1048576-3145727/3145728")])
            },
        ),
    ];
    for (name, lie) in lies {
        let file = content.clone();
        let too_much = name == "too much";
        let server = Server::tls(move |asked| match asked.number {
            1 => Reply { cut_after: Some(MIB), ..honest(asked, &file, "\"a\"") },
            2 => lie.clone(),
            _ => honest(asked, &file, "\"a\""),
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        let (result, progress) = fetch(&cache, server.source().expect_sha256(content.sha256()), fast()).await;
        if too_much {
            // Its first bytes could not be told from true ones: the hash of the whole can, and nothing is left.
            assert!(matches!(result, Err(Error::Digest { .. })), "{name}: {result:?}");
            assert_eq!(cache.holding(), None);
        } else {
            content.assert_is(&result.unwrap_or_else(|error| panic!("{name}: {error}")).path);
        }
        // The cut, and the lie. One about the length alone is taken for a changed file, until that is asked again.
        let noticed = progress.failures + u64::from(name == "a longer range");
        assert!(noticed >= 2, "{name}: {progress:?}");
    }
}

#[tokio::test]
async fn other_bytes_are_caught_by_the_hash_of_the_whole() {
    let (content, other) = (Content::of(9, 2 * MIB), Content::of(10, 2 * MIB));
    let server = Server::tls(move |asked| honest(asked, &other, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (result, _) = fetch(&cache, server.source().expect_sha256(content.sha256()), fast()).await;
    assert!(matches!(result, Err(Error::Digest { .. })), "{result:?}");
    assert_eq!(cache.holding(), None);
}

#[tokio::test]
async fn a_server_without_ranges_serves_whole_files_only() {
    let content = Content::of(11, 2 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| {
        let reply = status(200, &[("etag", "\"a\"")]);
        Reply { body: Some((file.clone(), 0..file.total)), cut_after: (asked.number == 2).then_some(MIB), ..reply }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let (fetched, _) = fetch(&cache, server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    cache.remove().unwrap();
    let (result, _) = fetch(&cache, server.source(), fast()).await;
    assert!(matches!(result, Err(Error::RangesIgnored { .. })), "{result:?}");
}

#[tokio::test]
async fn refusals_are_typed_and_not_repeated() {
    for (code, wanted) in
        [(401, "token"), (403, "grant"), (404, "publish"), (410, "withdrawn"), (416, "empty"), (418, "418")]
    {
        let server = Server::tls(move |_| status(code, &[])).await;
        let dir = tempfile::tempdir().unwrap();
        let (result, _) = fetch(&open(dir.path()), server.source(), fast()).await;
        let text = result.unwrap_err().to_string();
        assert!(text.contains(wanted) && server.count() == 1, "{code}: {text}, {} requests", server.count());
    }
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let content = Content::of(12, MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| match asked.number {
        1 => status(429, &[("retry-after", "1")]),
        2 => {
            status(503, &[("date", "Wed, 21 Oct 2015 07:28:00 GMT"), ("retry-after", "Wed, 21 Oct 2015 07:28:01 GMT")])
        }
        3 => status(500, &[]),
        _ => honest(asked, &file, "\"a\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert_eq!((progress.failures, server.count()), (3, 4));
    // Never earlier than asked; how much later is not ours to say.
    assert!(start.elapsed() >= std::time::Duration::from_secs(2));
    let down = Server::tls(|_| status(503, &[])).await;
    let (result, _) = fetch(&open(tempfile::tempdir().unwrap().path()), down.source(), fast()).await;
    assert!(matches!(result, Err(Error::Exhausted { attempts: 8, .. })), "{result:?}");
    assert_eq!(down.count(), 8);
}

#[tokio::test]
async fn a_damaged_chunk_is_fetched_again_and_it_alone() {
    let content = Content::of(13, 4 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| honest(asked, &file, "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let (fetched, _) = fetch(&open(dir.path()), server.source(), fast()).await;
    let path = fetched.unwrap().path;
    use std::os::unix::fs::FileExt as _;
    let on_disk = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    on_disk.write_all_at(b"damage", 300_000).unwrap();
    let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert_eq!((progress.received_bytes, progress.redownloaded_bytes, progress.requests), (256 << 10, 256 << 10, 1));
    assert_eq!(server.sent.load(Ordering::SeqCst), content.total + (256 << 10));
}

#[tokio::test]
async fn room_and_size_are_checked_before_a_byte_is_written() {
    let server = Server::tls(|asked| honest(asked, &Content::of(14, 5 << 30), "\"a\"")).await;
    let dir = tempfile::tempdir().unwrap();
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    // Room for the margin, but not for the bundle beside it.
    let almost = (stat.f_bavail * stat.f_frsize).saturating_sub(2 << 30);
    for (margin_bytes, max_bytes) in [(almost, u64::MAX), (0, 4 << 30)] {
        let limits = holdfast_fetch::CacheLimits { margin_bytes, max_bytes, ..common::limits() };
        let cache = Cache::open(dir.path(), limits).unwrap();
        let (result, progress) = fetch(&cache, server.source(), fast()).await;
        let error = result.unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. } | Error::TooLarge { .. }), "{error}");
        assert_eq!((progress.safe_bytes, cache.holding()), (0, None));
    }
}

#[tokio::test]
async fn one_answer_of_another_file_does_not_cost_what_is_there() {
    let (content, stale) = (Content::of(15, 3 * MIB), Content::of(16, 2 * MIB));
    let file = content.clone();
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { cut_after: Some(2 * MIB), ..honest(asked, &file, "\"a\"") },
        // As from a mirror that is behind.
        2 => honest(asked, &stale, "\"before\""),
        _ => honest(asked, &file, "\"a\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (fetched, progress) = fetch(&open(dir.path()), server.source(), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert_eq!((progress.anew, progress.received_bytes, progress.redownloaded_bytes), (0, content.total, 0));
}

#[tokio::test]
async fn the_same_hash_is_the_same_file_wherever_it_lies() {
    let content = Content::of(17, 3 * MIB);
    let sha256 = content.sha256();
    let file = content.clone();
    // Two servers, each with a tag of its own; the first goes down for good.
    let first = Server::tls(move |asked| match asked.number {
        1 => Reply { cut_after: Some(2 * MIB), ..honest(asked, &file, "\"first\"") },
        _ => status(410, &[]),
    })
    .await;
    let file = content.clone();
    let second = Server::tls(move |asked| match asked.number {
        1 => Reply { cut_after: Some(MIB / 2), ..honest(asked, &file, "\"second\"") },
        _ => honest(asked, &file, "\"second\""),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    // Begun without a hash; what is there is held to it later on.
    let (result, _) = fetch(&cache, first.source(), fast()).await;
    assert!(matches!(result, Err(Error::Gone { .. })), "{result:?}");
    let (result, _) = fetch(&cache, first.source().expect_sha256(sha256), fast()).await;
    assert!(matches!(result, Err(Error::Gone { .. })), "{result:?}");
    drop(cache);
    let cache = open(dir.path());
    let (fetched, progress) = fetch(&cache, second.source().expect_sha256(sha256), fast()).await;
    content.assert_is(&fetched.unwrap().path);
    assert_eq!((progress.anew, progress.received_bytes), (0, MIB));
    let if_range: Vec<Option<String>> =
        second.requests.lock().unwrap().iter().map(|asked| asked.header("if-range").map(str::to_owned)).collect();
    assert_eq!(if_range, [None, Some("\"second\"".to_owned())]);
    // Another hash, or another place without one, is another file.
    for source in
        [second.source().expect_sha256([7; 32]), Source::new(&second.url("/other")).unwrap().tls(second.trust(false))]
    {
        let (_, progress) = fetch(&cache, source, fast()).await;
        assert_eq!((progress.anew, progress.received_bytes), (1, content.total));
        let (fetched, _) = fetch(&cache, second.source(), fast()).await;
        content.assert_is(&fetched.unwrap().path);
    }
}
