//! The bundle over HTTP, for RAUC on this box alone.

mod body;
mod range;

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE, RANGE,
    RETRY_AFTER,
};
use hyper::http::response::Builder;
use hyper::{Method, Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cache::{Cache, Edition};
use crate::source::hex;
use crate::{Error, Result};
use range::{Part, part};

/// The file's name behind the secret.
const NAME: &str = "bundle.raucb";

type Body = UnsyncBoxBody<Bytes, Error>;

/// How the proxy behaves.
#[derive(Debug, Clone)]
pub struct ProxyOptions {
    /// How long a reader waits for a chunk. RAUC's block device gives up after 300 s (`NBD_ATTR_TIMEOUT` in its `src/nbd.c`).
    pub patience: Duration,
    /// Connections at a time; each has a chunk in memory at most.
    pub connections: usize,
    /// How long a connection may stay without a request.
    pub idle: Duration,
}

impl Default for ProxyOptions {
    fn default() -> Self {
        Self { patience: Duration::from_secs(240), connections: 16, idle: Duration::from_secs(60) }
    }
}

/// A server on `127.0.0.1` for the one bundle of a cache. Ends when it is dropped.
///
/// Who does not know the random part of [`url`](Self::url) gets nothing. RAUC writes the URL into its log: it is good only as
/// long as the proxy lives. libcurl takes `http_proxy` for it too, so RAUC's environment needs `no_proxy=127.0.0.1` where
/// the former is set.
pub struct Proxy {
    url: String,
    _server: JoinSet<()>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts with the usual options.
    ///
    /// # Errors
    /// [`Error::Io`] where no port can be had.
    pub async fn start(cache: Cache) -> Result<Self> {
        Self::start_with(cache, ProxyOptions::default()).await
    }

    /// Starts.
    ///
    /// # Errors
    /// [`Error::Io`] where no port can be had.
    pub async fn start_with(cache: Cache, options: ProxyOptions) -> Result<Self> {
        let place = std::path::Path::new("127.0.0.1");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(Error::io("listen on", place))?;
        let port = listener.local_addr().map_err(Error::io("listen on", place))?.port();
        let path = format!("/{}/{NAME}", hex(&crate::cache::random::<16>(place)?));
        let url = format!("http://127.0.0.1:{port}{path}");
        let service = Service { cache, secret: blake3::hash(path.as_bytes()), patience: options.patience };
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::new(service), options));
        Ok(Self { url, _server: server })
    }

    /// The bundle's address. A secret.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

async fn serve(listener: TcpListener, service: Arc<Service>, options: ProxyOptions) {
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(options.connections.max(1)));
    loop {
        // Who is too many waits in the kernel's queue.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let (service, idle) = (service.clone(), options.idle);
                connections.spawn(async move {
                    connection(stream, service, idle).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Such as too many open files: others end some day.
                tracing::warn!(%error, "the bundle's proxy can't take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, service: Arc<Service>, idle: Duration) {
    stream.set_nodelay(true).ok();
    let answer = service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(&request).await) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(error) = http.await {
        // A reader that goes away is nothing to speak of.
        tracing::debug!(%error, "a connection to the bundle's proxy has ended");
    }
}

struct Service {
    cache: Cache,
    /// Of the path: its comparison takes the same time for all that are wrong.
    secret: blake3::Hash,
    patience: Duration,
}

impl Service {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if blake3::hash(request.uri().path().as_bytes()) != self.secret {
            return empty(Response::builder().status(StatusCode::NOT_FOUND).header(CONNECTION, "close"));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return empty(Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(ALLOW, "GET, HEAD"));
        }
        match body::edition(&self.cache, self.patience).await {
            Ok(edition) => self.file(request, edition),
            Err(error) => {
                tracing::warn!(%error, "a reader of the bundle's proxy gets nothing");
                empty(Response::builder().status(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER, "5"))
            }
        }
    }

    fn file<B>(&self, request: &Request<B>, edition: Edition) -> Response<Body> {
        let total_bytes = edition.version.total_bytes;
        // A tag of our own: it must change when the file in the cache does.
        let tag = format!("\"{:x}-{total_bytes:x}\"", edition.epoch);
        let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let same = header(IF_RANGE).is_none_or(|wanted| wanted == tag);
        // A range is for GET only (RFC 9110, 14.2), but curl asks with HEAD too and takes 206 for it, as servers answer so.
        let part = if same { part(header(RANGE), total_bytes) } else { Part::Whole };
        let builder = Response::builder()
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_TYPE, "application/vnd.rauc.bundle")
            .header(ETAG, tag);
        let (builder, range) = match part {
            Part::Whole => (builder, 0..total_bytes),
            Part::Of(range) => {
                let said = format!("bytes {}-{}/{total_bytes}", range.start, range.end.saturating_sub(1));
                (builder.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, said), range)
            }
            Part::Nothing => {
                let said = format!("bytes */{total_bytes}");
                return empty(builder.status(StatusCode::RANGE_NOT_SATISFIABLE).header(CONTENT_RANGE, said));
            }
        };
        let builder = builder.header(CONTENT_LENGTH, range.end - range.start);
        if *request.method() == Method::HEAD {
            return empty(builder);
        }
        let frames = body::frames(self.cache.clone(), edition, range, self.patience);
        finish(builder, BodyExt::boxed_unsync(StreamBody::new(frames)))
    }
}

fn empty(builder: Builder) -> Response<Body> {
    finish(builder, Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync())
}

fn finish(builder: Builder, body: Body) -> Response<Body> {
    builder.body(body).unwrap_or_else(|_| {
        // Only a header that can't be one leads here, and all of ours can.
        let mut response = Response::new(Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
