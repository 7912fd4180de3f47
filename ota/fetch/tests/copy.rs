//! Copying from a stick into the cache, and small files from the real TLS server.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Content, MIB, Reply, Server, honest, open, status, within};
use holdfast_fetch::{Cache, CacheLimits, Copier, Error, Fetched, Phase, small};

/// A file of this content.
fn original(directory: &Path, content: &Content) -> PathBuf {
    let path = directory.join("original");
    std::fs::write(&path, content.bytes(0..content.total)).unwrap();
    path
}

async fn copy(cache: &Cache, path: &Path, sha256: Option<[u8; 32]>) -> Result<Fetched, Error> {
    let (copier, _handle) = Copier::new(cache.clone(), "box.raucb", File::open(path).unwrap(), sha256)?;
    within(copier.run()).await
}

#[tokio::test]
async fn a_file_is_copied_whole_and_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::of(7, 9 * MIB + 4711);
    let path = original(dir.path(), &content);
    let cache = open(&dir.path().join("cache"));
    // Stopped in the middle.
    let (copier, handle) = Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), None).unwrap();
    handle.cap(Some(4 * MIB));
    let mut progress = handle.progress();
    let stops = async {
        progress.wait_for(|progress| progress.safe_bytes >= 2 * MIB).await.unwrap();
        handle.cancel();
    };
    let (result, ()) = within(async { tokio::join!(copier.run(), stops) }).await;
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    let before = cache.holding().unwrap().safe_bytes;
    assert!((2 * MIB..content.total).contains(&before), "{before}");
    drop(cache);
    // In another process.
    let cache = open(&dir.path().join("cache"));
    let (copier, handle) =
        Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), Some(content.sha256())).unwrap();
    let fetched = within(copier.run()).await;
    // Held to a digest it is another one than that which was begun without.
    assert_eq!(fetched.as_ref().unwrap().sha256, content.sha256());
    content.assert_is(&fetched.unwrap().path);
    assert_eq!(handle.progress().borrow().phase, Phase::Complete);
    // What is whole is not copied again.
    let (copier, handle) =
        Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), Some(content.sha256())).unwrap();
    within(copier.run()).await.unwrap();
    assert_eq!(handle.progress().borrow().received_bytes, 0);
}

#[tokio::test]
async fn what_has_come_before_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::of(8, 6 * MIB);
    let path = original(dir.path(), &content);
    let cache = open(&dir.path().join("cache"));
    let (copier, handle) = Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), None).unwrap();
    handle.cap(Some(4 * MIB));
    let mut progress = handle.progress();
    let stops = async {
        progress.wait_for(|progress| progress.safe_bytes >= 2 * MIB).await.unwrap();
        handle.cancel();
    };
    let (_, ()) = within(async { tokio::join!(copier.run(), stops) }).await;
    let before = cache.holding().unwrap().safe_bytes;
    let (copier, handle) = Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), None).unwrap();
    content.assert_is(&within(copier.run()).await.unwrap().path);
    assert_eq!(handle.progress().borrow().received_bytes, content.total - before);
}

#[tokio::test]
async fn what_is_wrong_with_an_original_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let content = Content::of(9, 2 * MIB);
    let path = original(dir.path(), &content);
    let cache = open(&dir.path().join("cache"));
    let told = copy(&cache, &path, Some([7; 32])).await.unwrap_err();
    assert!(matches!(told, Error::Digest { .. }), "{told}");
    assert_eq!(cache.holding(), None, "what is wrong is not kept");
    let told = copy(&cache, Path::new("/dev/zero"), None).await.unwrap_err();
    assert!(told.to_string().contains("no file"), "{told}");
    let empty = dir.path().join("empty");
    File::create(&empty).unwrap();
    assert!(copy(&cache, &empty, None).await.unwrap_err().to_string().contains("empty"));
    // A file without end that has no bytes: it is its size that counts, before anything is written.
    let huge = dir.path().join("huge");
    File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(copy(&cache, &huge, None).await.unwrap_err(), Error::TooLarge { .. }));
    let limits = CacheLimits { margin_bytes: u64::MAX >> 1, ..CacheLimits::default() };
    let full = Cache::open(dir.path().join("full"), limits).unwrap();
    assert!(matches!(copy(&full, &path, None).await.unwrap_err(), Error::NoSpace { .. }));
    // It is written to while it is copied.
    for (part, change) in [("changed", 10_u64), ("shorter", 0)] {
        let path = original(dir.path(), &content);
        let (copier, handle) = Copier::new(cache.clone(), "box.raucb", File::open(&path).unwrap(), None).unwrap();
        handle.cap(Some(MIB));
        let mut progress = handle.progress();
        let changes = async {
            progress.wait_for(|progress| progress.received_bytes > 0).await.unwrap();
            let file = File::options().write(true).open(&path).unwrap();
            match change {
                0 => file.set_len(1000).unwrap(),
                offset => file.write_all_at(b"another", offset).unwrap(),
            }
            handle.cap(None);
        };
        let (result, ()) = within(async { tokio::join!(copier.run(), changes) }).await;
        assert!(result.as_ref().unwrap_err().to_string().contains(part), "{result:?}");
        assert_eq!(cache.holding(), None);
    }
}

#[tokio::test]
async fn small_files_come_whole_or_not_at_all() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let content = Content::given(b"channel = \"stable\"\n".to_vec());
    let file = content.clone();
    let large = Content::of(1, 200_000);
    let server = Server::tls(move |asked| match asked.number {
        1 => Reply { chunked: true, length: None, ..honest(asked, &file, "\"a\"") },
        2 => status(404, &[]),
        3 => honest(asked, &large, "\"b\""),
        4 => status(302, &[("Location", "http://localhost/x")]),
        _ => Reply { stall_after: Some(3), ..honest(asked, &file, "\"a\"") },
    })
    .await;
    assert_eq!(small(server.source(), 1000, PATIENCE).await.unwrap(), content.bytes(0..content.total));
    assert!(matches!(small(server.source(), 1000, PATIENCE).await, Err(Error::NotFound { .. })));
    let told = small(server.source(), 65_536, PATIENCE).await.unwrap_err().to_string();
    assert!(told.contains("more than 65536 bytes"), "{told}");
    assert!(matches!(small(server.source(), 1000, PATIENCE).await, Err(Error::Redirect { .. })));
    assert!(matches!(small(server.source(), 1000, Duration::from_millis(300)).await, Err(Error::Stalled { .. })));
}
