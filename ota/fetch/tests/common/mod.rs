//! A real server to fetch from: TLS with certificates made on the fly, and any misbehaviour that a test asks for.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "tests, of which each uses a part")]

use std::io::Read as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_fetch::{Cache, CacheLimits, Options, Retries, Roots, Sha256, Source, Tls};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto::ring};

pub const MIB: u64 = 1 << 20;

/// A file of any length, whose bytes follow from its seed.
#[derive(Debug, Clone)]
pub struct Content {
    pub seed: u8,
    pub total: u64,
    /// Its bytes, where they don't follow from the seed.
    pub given: Option<Arc<Vec<u8>>>,
}

impl Content {
    pub fn of(seed: u8, total: u64) -> Self {
        Self { seed, total, given: None }
    }

    pub fn given(bytes: Vec<u8>) -> Self {
        Self { seed: 0, total: u64::try_from(bytes.len()).unwrap(), given: Some(Arc::new(bytes)) }
    }

    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        if let Some(bytes) = &self.given {
            return bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
        }
        let mut reader = blake3::Hasher::new().update(&[self.seed]).finalize_xof();
        reader.set_position(range.start);
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn sha256(&self) -> Sha256 {
        let mut context = ::ring::digest::Context::new(&::ring::digest::SHA256);
        let mut at = 0;
        while at < self.total {
            let end = self.total.min(at + MIB);
            context.update(&self.bytes(at..end));
            at = end;
        }
        context.finish().as_ref().try_into().unwrap()
    }

    /// Fails unless `path` has exactly these bytes.
    pub fn assert_is(&self, path: &std::path::Path) {
        let mut file = std::fs::File::open(path).unwrap();
        assert_eq!(file.metadata().unwrap().len(), self.total);
        let mut at = 0;
        let mut bytes = vec![0; 1 << 20];
        while at < self.total {
            let end = self.total.min(at + MIB);
            let got = &mut bytes[..usize::try_from(end - at).unwrap()];
            file.read_exact(got).unwrap();
            assert!(got == self.bytes(at..end), "bytes {at}..{end} differ");
            at = end;
        }
    }
}

/// What a request said.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Counted from one.
    pub number: u64,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn range(&self) -> Option<(u64, Option<u64>)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().ok()))
    }
}

/// How to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// These bytes of this content.
    pub body: Option<(Content, Range<u64>)>,
    /// `Content-Length`, where it isn't the body's.
    pub length: Option<u64>,
    /// Sent in chunks of no announced length.
    pub chunked: bool,
    /// Breaks the connection after so many bytes.
    pub cut_after: Option<u64>,
    /// Sends nothing more after so many bytes, and keeps the connection.
    pub stall_after: Option<u64>,
    /// Waits so long between pieces of 16 KiB.
    pub pace: Option<Duration>,
}

pub fn status(status: u16, headers: &[(&str, &str)]) -> Reply {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (body, length, cut_after, stall_after, pace) = (None, None, None, None, None);
    Reply { status, headers, body, length, chunked: false, cut_after, stall_after, pace }
}

/// The answer of an honest server.
pub fn honest(asked: &Asked, content: &Content, etag: &str) -> Reply {
    let tagged =
        |code, more: &[(&str, &str)]| status(code, &[&[("etag", etag), ("accept-ranges", "bytes")], more].concat());
    let fits = asked.header("if-range").is_none_or(|wanted| wanted == etag);
    match asked.range().filter(|_| fits) {
        Some((first, _)) if first >= content.total => tagged(416, &[]),
        Some((first, last)) => {
            let last = last.unwrap_or(u64::MAX).min(content.total - 1);
            let range = format!("bytes {first}-{last}/{}", content.total);
            Reply { body: Some((content.clone(), first..last + 1)), ..tagged(206, &[("content-range", &range)]) }
        }
        None => Reply { body: Some((content.clone(), 0..content.total)), ..tagged(200, &[]) },
    }
}

type Script = Box<dyn FnMut(&Asked) -> Reply + Send>;

pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<Mutex<Vec<Asked>>>,
    /// Bytes of bodies handed to the kernel.
    pub sent: Arc<AtomicU64>,
    ca_pem: Option<String>,
    client: Option<(String, String)>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Over TLS.
    pub async fn tls(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::start(Some(false), Box::new(script)).await
    }

    /// Over TLS, for those alone who show the certificate it made for them.
    pub async fn mutual(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::start(Some(true), Box::new(script)).await
    }

    pub async fn plain(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Self {
        Self::start(None, Box::new(script)).await
    }

    async fn start(tls: Option<bool>, script: Script) -> Self {
        let (acceptor, ca_pem, client) = tls.map_or((None, None, None), |mutual| {
            let (acceptor, ca, client) = certificates(mutual);
            (Some(acceptor), Some(ca), Some(client))
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, sent) = (Arc::<Mutex<Vec<Asked>>>::default(), Arc::<AtomicU64>::default());
        let shared = (Arc::new(Mutex::new(script)), requests.clone(), sent.clone());
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (shared, acceptor) = (shared.clone(), acceptor.clone());
                connections.spawn(async move {
                    let Some(acceptor) = acceptor else { return connection(stream, shared).await };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, shared).await;
                    }
                });
            }
        });
        Self { address, requests, sent, ca_pem, client, task }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.ca_pem.is_some() { "https" } else { "http" }, self.address)
    }

    pub fn ca_pem(&self) -> &str {
        self.ca_pem.as_deref().unwrap()
    }

    pub fn trust(&self, with_client: bool) -> Tls {
        let pair = self.client.clone().filter(|_| with_client);
        let client = pair.map(|(chain, key)| (chain.into_bytes(), key.into_bytes()));
        Tls { roots: Roots::Only(self.ca_pem().into()), client }
    }

    /// The bundle, trusted.
    pub fn source(&self) -> Source {
        let source = Source::new(&self.url("/bundle.raucb")).unwrap();
        if self.ca_pem.is_some() { source.tls(self.trust(false)) } else { source.allow_plain_loopback() }
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

fn certificates(mutual: bool) -> (TlsAcceptor, String, (String, String)) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let signed = |names: &[&str]| {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        (CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap(), key)
    };
    let ((server, server_key), (client, client_key)) = (signed(&["127.0.0.1", "localhost"]), signed(&["box"]));
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let config = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(ca_cert.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let config = config.with_single_cert(vec![server.der().clone()], key).unwrap();
    (TlsAcceptor::from(Arc::new(config)), ca_cert.pem(), (client.pem(), client_key.serialize_pem()))
}

type Shared = (Arc<Mutex<Script>>, Arc<Mutex<Vec<Asked>>>, Arc<AtomicU64>);

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, (script, requests, sent): Shared) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = vec![];
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let mut first = head[0].split(' ').map(str::to_owned);
        let headers = head[1..].iter().map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_lowercase(), value.trim().to_owned())
        });
        let headers = headers.collect();
        let reply = {
            let mut requests = requests.lock().unwrap();
            let number = u64::try_from(requests.len() + 1).unwrap();
            let asked = Asked { number, method: first.next().unwrap(), path: first.next().unwrap(), headers };
            requests.push(asked.clone());
            script.lock().unwrap()(&asked)
        };
        if !matches!(answer(&mut stream, &reply, &sent).await, Ok(true)) {
            return;
        }
    }
}

/// Whether the connection goes on.
async fn answer(stream: &mut (impl AsyncWrite + Unpin), reply: &Reply, sent: &AtomicU64) -> std::io::Result<bool> {
    let range = reply.body.as_ref().map_or(0..0, |(_, range)| range.clone());
    let length = reply.length.unwrap_or(range.end - range.start);
    let mut head = format!("HTTP/1.1 {} Said\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &if reply.chunked {
        "transfer-encoding: chunked\r\n\r\n".into()
    } else {
        format!("content-length: {length}\r\n\r\n")
    };
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await?;
    let mut at = range.start;
    while at < range.end {
        let (content, _) = reply.body.as_ref().unwrap();
        let mut end = range.end.min(at + if reply.pace.is_some() { 16 << 10 } else { 128 << 10 });
        for stop in [reply.cut_after, reply.stall_after].into_iter().flatten() {
            end = end.min((range.start + stop).max(at));
        }
        let bytes = content.bytes(at..end);
        if reply.chunked {
            stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        }
        stream.write_all(&bytes).await?;
        if reply.chunked {
            stream.write_all(b"\r\n").await?;
        }
        stream.flush().await?;
        sent.fetch_add(end - at, Ordering::SeqCst);
        at = end;
        if reply.cut_after.is_some_and(|cut| at >= range.start + cut) {
            return Ok(false);
        }
        if reply.stall_after.is_some_and(|stall| at >= range.start + stall) {
            std::future::pending::<()>().await;
        }
        if let Some(pace) = reply.pace {
            tokio::time::sleep(pace).await;
        }
    }
    if reply.chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    stream.flush().await?;
    Ok(true)
}

/// No margin: the disk of whoever runs the tests is what it is.
pub fn limits() -> CacheLimits {
    CacheLimits { margin_bytes: 0, ..CacheLimits::default() }
}

pub fn open(dir: &std::path::Path) -> Cache {
    Cache::open(dir, limits()).unwrap()
}

/// Attempts follow each other fast, and nothing waits long.
pub fn fast() -> Options {
    let ms = Duration::from_millis;
    let retries = Retries { base: ms(2), max: ms(20), max_asked: Duration::from_secs(2), attempts: Some(8) };
    Options { stall_timeout: ms(500), retries, ..Options::default() }
}

/// A deadline for what must happen: only a hang reaches it.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.unwrap()
}
