//! No secret leaves: alone in its program, so that it hears what all threads log.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use common::{Content, MIB, Reply, Server, fast, honest, open, status, within};
use holdfast_fetch::{Fetcher, Source};

/// Keeps all that anybody logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_in_logs_errors_progress_or_files() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    let file = Content::of(35, MIB);
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { cut_after: Some(600_000), ..honest(asked, &file, "\"a\"") },
        2 => status(307, &[("location", "/bundle.raucb?sig=s3cr3t-in-redirect")]),
        3 => status(503, &[]),
        _ => status(403, &[]),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let url = server.url("/bundle.raucb?sig=s3cr3t-in-query#s3cr3t").replace("https://", "https://me:s3cr3t-pass@");
    let source = Source::new(&url).unwrap().tls(server.trust(false)).header("X-Token", "s3cr3t-token").unwrap();
    let (fetcher, handle) = Fetcher::new(open(dir.path()), source, fast()).unwrap();
    let error = within(fetcher.run()).await.unwrap_err();
    let mut seen = format!("{error} {error:?} {handle:?} {:?}", handle.progress().borrow()).into_bytes();
    seen.extend_from_slice(&log.0.lock().unwrap());
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        seen.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.contains("the download is interrupted") && seen.contains("bundle.raucb"), "nothing was seen");
    let place = seen.find("s3cr3t").map(|at| seen[at.saturating_sub(200)..].chars().take(300).collect::<String>());
    assert_eq!(place, None);
    // The server did get them.
    assert!(server.requests.lock().unwrap()[0].header("authorization").is_some());
}
