//! RAUC itself reads a signed bundle through the proxy while it is still coming.
//!
//! `rauc info URL` starts RAUC's own streaming process (libcurl behind the NBD protocol) and reads with it what an install
//! reads first: magic, length and signature at the very end, and the manifest in it. What follows in an install goes the
//! same way, from a kernel block device.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::{Content, Reply, Server, fast, honest, open, within};
use holdfast_fetch::{Fetcher, Proxy};
use rcgen::{CertificateParams, KeyPair};

/// Output and whether it went well; `None` where the program is missing.
async fn run(program: &str, arguments: &[&str]) -> Option<(String, bool)> {
    let mut command = tokio::process::Command::new(program);
    // libcurl would ask a proxy of the environment even for this box.
    command.args(arguments).env("no_proxy", "127.0.0.1").stdin(Stdio::null()).kill_on_drop(true);
    match within(command.output()).await {
        Ok(output) => {
            let text = [output.stdout, output.stderr].concat();
            Some((String::from_utf8_lossy(&text).into_owned(), output.status.success()))
        }
        Err(error) => {
            holdfast_aloud::skip(format_args!("{program} does not start: {error}; install rauc and squashfs-tools"));
            None
        }
    }
}

/// A verity bundle of 24 MiB, signed by a key made on the fly; and the path of its certificate.
async fn bundle(dir: &Path) -> Option<(Vec<u8>, String)> {
    run("mksquashfs", &["-version"]).await?;
    run("rauc", &["--version"]).await?;
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    std::fs::write(path("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
    std::fs::create_dir(path("in")).unwrap();
    std::fs::write(path("in/rootfs.img"), Content::of(50, 24 << 20).bytes(0..24 << 20)).unwrap();
    let manifest = "[update]\ncompatible=holdfast-test\nversion=1.2\n[bundle]\nformat=verity\n[image.rootfs]\nfilename=rootfs.img\n";
    std::fs::write(path("in/manifest.raucm"), manifest).unwrap();
    let (cert, key, output) = (path("cert.pem"), path("key.pem"), path("out.raucb"));
    let (said, fine) = run("rauc", &["bundle", "--cert", &cert, "--key", &key, &path("in"), &output]).await?;
    assert!(fine, "{said}");
    Some((std::fs::read(output).unwrap(), cert))
}

#[tokio::test]
async fn rauc_reads_through_the_proxy_while_the_bundle_comes() {
    let dir = tempfile::tempdir().unwrap();
    let Some((bytes, keyring)) = bundle(dir.path()).await else { return };
    let content = Content::given(bytes);
    let file = content.clone();
    let server = Server::tls(move |asked| Reply {
        // RAUC would give this network up after five attempts.
        cut_after: (asked.number < 8).then_some(300_000),
        pace: Some(Duration::from_millis(1)),
        ..honest(asked, &file, "\"a\"")
    })
    .await;
    let cache = open(&dir.path().join("cache"));
    let proxy = Proxy::start(cache.clone()).await.unwrap();
    let (fetcher, handle) = Fetcher::new(cache, server.source().expect_sha256(content.sha256()), fast()).unwrap();
    let fetch = tokio::spawn(fetcher.run());
    // A RAUC without streaming (Debian 12's) loads the whole, and takes 8 MiB only if it isn't told otherwise.
    let configuration = dir.path().join("system.conf");
    let text = "[system]\ncompatible=holdfast-test\nbootloader=noop\nmax-bundle-download-size=100000000\n";
    std::fs::write(&configuration, text).unwrap();
    let configuration = configuration.to_str().unwrap();
    let arguments = ["--conf", configuration, "--keyring", &keyring, "info", proxy.url()];
    let (said, fine) = run("rauc", &arguments).await.unwrap();
    let progress = handle.progress().borrow().clone();
    assert!(fine && said.contains("holdfast-test") && said.contains("verity"), "{said}");
    if said.contains("downloading bundle") {
        holdfast_aloud::skip("this rauc has no streaming: it took the whole bundle through the proxy instead");
    } else {
        assert!(progress.received_bytes < content.total, "it came while it was read: {progress:?}");
    }
    // And from the finished file, as when streaming isn't wanted.
    let fetched = within(fetch).await.unwrap().unwrap();
    let path = fetched.path.to_str().unwrap();
    let (said, fine) = run("rauc", &["--keyring", &keyring, "info", path]).await.unwrap();
    assert!(fine && said.contains("holdfast-test"), "{said}");
    holdfast_aloud::say(format_args!(
        "rauc read signature and manifest after {} of {} bytes",
        progress.received_bytes, content.total
    ));
}
