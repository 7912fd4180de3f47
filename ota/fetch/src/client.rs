//! Asking the server: TLS, redirects, and one request at a time.

use std::error::Error as _;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{Client, Response, redirect};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use crate::answer::{Asked, Verdict, Version, judge};
use crate::source::{Roots, Tls, shown};
use crate::{Error, Result, Source};

/// How often the server may send us on for one answer; as curl's and RAUC's users know it.
const MAX_REDIRECTS: usize = 8;

/// How long to wait for the server.
#[derive(Debug, Clone)]
pub(crate) struct Waits {
    pub connect: Duration,
    pub answer: Duration,
}

pub(crate) struct Server {
    client: Client,
    source: Source,
    waits: Waits,
    shown: String,
}

impl Server {
    pub fn new(source: Source, waits: Waits) -> Result<Self> {
        let shown = source.shown();
        if let Some(why) = source.refuses(&source.url) {
            return Err(Error::BadSource { what: "URL of the bundle", why: format!("{shown}, {why}") });
        }
        // HTTP/1.1: one long answer at a time needs no more, and its buffers are small. No compression: ranges are of the
        // file itself. Proxies of the environment are honoured by reqwest itself.
        let client = Client::builder()
            .tls_backend_preconfigured(tls(&source.tls)?)
            .redirect(redirect::Policy::none())
            .connect_timeout(waits.connect)
            .http1_only()
            .pool_max_idle_per_host(1)
            .tcp_keepalive(Duration::from_secs(30))
            .referer(false)
            .user_agent(concat!("holdfast-updater/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::BadSource { what: "settings of the client", why: causes(&error) })?;
        Ok(Self { client, source, waits, shown })
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The URL for messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Asks for bytes of the file; an end of `u64::MAX` is open. `count` is called for every request on the wire.
    pub async fn get(
        &self,
        range: Range<u64>,
        known: Option<&Version>,
        count: impl FnMut(),
    ) -> Result<(Verdict, Response)> {
        let response = self.send(&own_headers(&range, known), count).await?;
        let asked = Asked { url: &self.shown, range, known };
        let verdict = judge(&asked, response.status(), response.headers())?;
        Ok((verdict, response))
    }

    /// Asks with these headers beside the source's, and goes where the server sends us, if that may be.
    pub async fn send(&self, own: &HeaderMap, mut count: impl FnMut()) -> Result<Response> {
        let mut headers = self.source.headers.clone();
        let mut url = self.source.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            count();
            let request = self.client.get(url.clone()).headers(headers.clone()).headers(own.clone());
            let sent = tokio::time::timeout(self.waits.answer, request.send()).await;
            let response = sent
                .map_err(|_| Error::Stalled { url: self.shown.clone(), bytes: 1, waited: self.waits.answer })?
                .map_err(|error| self.transport(error))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let Some(next) = location(&url, &response) else {
                return Err(Error::Status { url: self.shown.clone(), status: response.status().as_u16() });
            };
            let refused = |why| Error::Redirect { url: self.shown.clone(), to: shown(&next), why };
            if let Some(why) = self.source.refuses(&next) {
                return Err(refused(why));
            }
            if url.scheme() == "https" && next.scheme() != "https" {
                return Err(refused("from TLS to none"));
            }
            if next.origin() != url.origin() {
                // Tokens are for the server they were given for.
                headers = HeaderMap::new();
            }
            url = next;
        }
        let to = shown(&url);
        Err(Error::Redirect { url: self.shown.clone(), to, why: "again and again; correct the server" })
    }

    /// An error of the connection, without its URL.
    pub fn transport(&self, error: reqwest::Error) -> Error {
        Error::Transport { url: self.shown.clone(), what: causes(&error.without_url()) }
    }
}

fn own_headers(range: &Range<u64>, known: Option<&Version>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let range = match range.end {
        u64::MAX => format!("bytes={}-", range.start),
        end => format!("bytes={}-{}", range.start, end.saturating_sub(1)),
    };
    let values = [(RANGE, Some(range.as_str())), (IF_RANGE, known.and_then(Version::if_range))];
    for (name, value) in values {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    }
    headers
}

fn location(url: &Url, response: &Response) -> Option<Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    url.join(location).ok()
}

fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn tls(tls: &Tls) -> Result<ClientConfig> {
    let bad = |what, why: String| Error::BadSource { what, why };
    let mut roots = RootCertStore::empty();
    let trusted = match &tls.roots {
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::Only(pem) => certificates("CA certificates", pem)?,
    };
    roots.add_parsable_certificates(trusted);
    if roots.is_empty() {
        let why = "there is none, so that no server can be trusted; install ca-certificates, or name a file of them";
        return Err(bad("CA certificates", why.to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS", error.to_string()))?
        .with_root_certificates(roots);
    let Some((chain, key)) = &tls.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates("client certificate", chain)?;
    // The parser's error might quote the key.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| bad("client key", "it is no private key as PEM; give PKCS#8, PKCS#1 or SEC1".to_owned()))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| bad("client certificate", error.to_string()))
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::BadSource { what, why: "there is none in it; give certificates as PEM".to_owned() }),
        Err(error) => Err(Error::BadSource { what, why: format!("{error:?}; give certificates as PEM") }),
    }
}
