//! Peers of the tests: a TLS proxy that demands certificates, and a proxy that keeps answers to itself.
#![allow(dead_code, reason = "each test file takes what it needs")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_hawkbit::{Ca, Certificate};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub use reqwest::Method;
pub const GET: Method = Method::GET;
pub const POST: Method = Method::POST;

/// A client of another make's habits: no token, no limits.
pub fn plain_client() -> reqwest::Client {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()
}

/// Asks again and again, until it is so.
pub async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// An authority, a server of the name `localhost`, and a device.
pub struct Pki {
    directory: tempfile::TempDir,
}

impl Pki {
    pub fn new(device: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str, purpose| {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            (params.signed_by(&key, &ca).unwrap().pem(), key.serialize_pem())
        };
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("ca.pem", &ca.pem());
        for (file, name, purpose) in [
            ("server", "localhost", ExtendedKeyUsagePurpose::ServerAuth),
            ("device", device, ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let (chain, key) = issue(name, purpose);
            write(&format!("{file}.pem"), &chain);
            write(&format!("{file}.key"), &key);
        }
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn ca(&self) -> Ca {
        Ca::File(self.path("ca.pem"))
    }

    pub fn device(&self) -> Certificate {
        Certificate { chain: self.path("device.pem"), key: self.path("device.key") }
    }

    fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_file(self.path("server.pem")).unwrap()],
                PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap(),
            )
            .unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    }
}

/// Demands a certificate, and passes requests on with headers added. Gives its port.
pub async fn mtls_proxy(pki: &Pki, upstream: String, headers: Vec<(&'static str, &'static str)>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = pki.acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who has no good certificate is not let in.
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(pass_on(stream, upstream.clone(), headers.clone(), Arc::default()));
            }
        }
    });
    port
}

/// Whether a proxy passes answers on.
#[derive(Clone, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    pub fn deaf(&self, deaf: bool) {
        self.0.store(deaf, Ordering::SeqCst);
    }
}

/// Passes requests on, and answers too while its switch lets it; else it closes the connection once the answer is there.
pub async fn deaf_proxy(upstream: String) -> (u16, Switch) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let switch = Switch::default();
    let deaf = switch.0.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(pass_on(stream, upstream.clone(), vec![], deaf.clone()));
        }
    });
    (port, switch)
}

/// One request for each connection.
async fn pass_on(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    upstream: String,
    headers: Vec<(&'static str, &'static str)>,
    deaf: Arc<AtomicBool>,
) {
    let Some(request) = read_message(&mut stream).await else { return };
    let (line, rest) = split_line(&request);
    let mut sent = line.to_vec();
    for (name, value) in headers {
        sent.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    sent.extend_from_slice(b"Connection: close\r\n");
    sent.extend_from_slice(rest);
    let mut server = TcpStream::connect(&upstream).await.unwrap();
    server.write_all(&sent).await.unwrap();
    let mut answer = vec![];
    server.read_to_end(&mut answer).await.unwrap();
    if !deaf.load(Ordering::SeqCst) {
        drop(stream.write_all(&answer).await);
    }
    drop(stream.shutdown().await);
}

fn split_line(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message.windows(2).position(|two| two == b"\r\n").unwrap() + 2;
    message.split_at(end)
}

/// A message with its body, by `Content-Length`; `None` when the peer goes away.
pub async fn read_message(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = vec![];
    loop {
        if let Some(head) = message.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&message[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            if message.len() >= head + 4 + length.unwrap_or(0) {
                return Some(message);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(n) => message.extend_from_slice(&buffer[..n]),
        }
    }
}
