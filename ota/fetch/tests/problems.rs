//! What other clients of update servers get wrong, tried here. docs/update-problems.md is the whole list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use common::{Content, MIB, Reply, Server, fast, honest, open, status, within};
use holdfast_fetch::{Cache, Error, Fetched, Fetcher, Source};

async fn fetch(cache: &Cache, source: Source) -> Result<Fetched, Error> {
    let (fetcher, _handle) = Fetcher::new(cache.clone(), source, fast()).unwrap();
    within(fetcher.run()).await
}

/// The crate `hawkbit` 0.7: all bytes are there, and the program ends before the file has its final name. From then on it asks for what
/// comes behind the end, and is told 416 each time.
#[tokio::test]
async fn a_file_that_is_complete_and_not_yet_ended_is_taken_without_asking_for_more() {
    let content = Content::of(41, 3 * MIB);
    let file = content.clone();
    // As servers are: behind the end there is nothing.
    let server = Server::tls(move |asked| match asked.range() {
        Some((from, _)) if from >= file.total => status(416, &[("content-range", "bytes */3145728")]),
        // The connection breaks behind the last byte, before the end of the answer is known.
        _ => Reply { cut_after: Some(file.total), ..honest(asked, &file, "\"a\"") },
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    content.assert_is(&fetch(&cache, server.source()).await.unwrap().path);
    let asked = server.count();
    // The program ends, and another finds what it left.
    drop(cache);
    let cache = open(dir.path());
    content.assert_is(&fetch(&cache, server.source()).await.unwrap().path);
    let ranges: Vec<_> = server.requests.lock().unwrap().iter().filter_map(|asked| asked.range()).collect();
    assert!(ranges.iter().all(|(from, _)| *from < content.total), "asked for what is behind the end: {ranges:?}");
    assert!(server.count() <= asked + 1, "{} requests, {asked} before", server.count());
}

/// The crate `hawkbit` 0.7 sends no `If-Range`: what is fetched after a break may be of another file.
#[tokio::test]
async fn what_goes_on_after_a_break_is_asked_of_the_same_file_only() {
    let content = Content::of(42, 3 * MIB);
    let file = content.clone();
    let server = Server::tls(move |asked| Reply {
        cut_after: (asked.number == 1).then_some(MIB),
        ..honest(asked, &file, "\"a\"")
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    content.assert_is(&fetch(&open(dir.path()), server.source()).await.unwrap().path);
    let asked: Vec<_> = server
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|asked| (asked.range().is_some(), asked.header("if-range").map(str::to_owned)))
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1], (true, Some("\"a\"".to_owned())));
}
