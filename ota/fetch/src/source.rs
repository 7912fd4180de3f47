//! What to fetch, and with which rights.

use std::fmt;
use std::net::IpAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::{Host, Url};

use crate::{Error, Result};

/// A SHA-256.
pub type Sha256 = [u8; 32];

/// Which certificates a server's must go back to.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those of the distribution.
    #[default]
    System,
    /// These alone, as PEM.
    Only(Vec<u8>),
}

/// What TLS needs to know.
#[derive(Clone, Default)]
pub struct Tls {
    /// Whom to trust.
    pub roots: Roots,
    /// Certificate chain and private key to show to the server (mTLS), each as PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("roots", &self.roots).field("client", &self.client.as_ref().map(|_| "…")).finish()
    }
}

/// A bundle on a server. `Debug` shows no header's value, no user, no password and no query.
#[derive(Clone)]
pub struct Source {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) expected_sha256: Option<Sha256>,
    pub(crate) tls: Tls,
    pub(crate) plain_loopback: bool,
}

impl Source {
    /// A file by its URL, which must be `https`.
    ///
    /// # Errors
    /// [`Error::BadSource`] for what is no URL. That it is `https` is checked by [`Fetcher::new`](crate::Fetcher::new).
    pub fn new(url: &str) -> Result<Self> {
        // The text itself may hold a password: the error tells only what is wrong with it.
        let url = Url::parse(url).map_err(|error| bad("URL of the bundle", &error.to_string()))?;
        Ok(Self { url, headers: HeaderMap::new(), expected_sha256: None, tls: Tls::default(), plain_loopback: false })
    }

    /// Sends a header along, such as `Authorization`. Not sent to other hosts that the server sends us on to.
    ///
    /// # Errors
    /// [`Error::BadSource`] where name or value can't stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self> {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| bad("name of a header", "it may hold letters, digits and hyphens only"))?;
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| bad("value of a header", "it may hold visible ASCII characters and spaces only"))?;
        value.set_sensitive(true);
        self.headers.append(name, value);
        Ok(self)
    }

    /// What the whole file must be.
    #[must_use]
    pub fn expect_sha256(mut self, expected: Sha256) -> Self {
        self.expected_sha256 = Some(expected);
        self
    }

    /// Certificates to trust and to show.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// Allows `http` to this very box: for tests, and for servers behind a tunnel that ends here.
    #[must_use]
    pub fn allow_plain_loopback(mut self) -> Self {
        self.plain_loopback = true;
        self
    }

    /// The URL as it may be shown.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// Why `url` must not be asked, if so.
    pub(crate) fn refuses(&self, url: &Url) -> Option<&'static str> {
        match url.scheme() {
            "https" => None,
            "http" if self.plain_loopback && is_loopback(url) => None,
            _ => Some("which is not https: bundles are fetched over TLS only"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.keys().map(HeaderName::as_str).collect();
        f.debug_struct("Source")
            .field("url", &self.shown())
            .field("headers", &names)
            .field("expected_sha256", &self.expected_sha256.map(|sha256| hex(&sha256)))
            .field("tls", &self.tls)
            .field("plain_loopback", &self.plain_loopback)
            .finish()
    }
}

fn bad(what: &'static str, why: &str) -> Error {
    Error::BadSource { what, why: why.to_owned() }
}

/// A URL without what may be secret in it: links that are signed carry their signature in the query.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        // A name is what its resolver says.
        Some(Host::Domain(_)) | None => false,
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let source = Source::new("https://me:pass@host:8443/a/b.raucb?sig=query#frag").unwrap();
        let source = source
            .header("Authorization", "TargetToken token1")
            .unwrap()
            .tls(Tls { roots: Roots::Only(vec![]), client: Some((b"chain".to_vec(), b"keykey".to_vec())) });
        assert_eq!(source.shown(), "https://host:8443/a/b.raucb");
        let text = format!("{source:?}");
        for secret in ["me:", "pass", "query", "frag", "token1", "keykey", "[107"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert!(text.contains("authorization") && text.contains("https://host:8443/a/b.raucb"), "{text}");
        let error = Source::new("https://me:pass@host:99999/").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("pass"), "{error:?}");
        let error = Source::new("https://host/").unwrap().header("X-Token", "sec\nret").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("sec"), "{error:?}");
    }

    #[test]
    fn only_tls_and_where_allowed_the_box_itself() {
        let strict = Source::new("https://host/").unwrap();
        let lax = strict.clone().allow_plain_loopback();
        let refused = |source: &Source, url: &str| source.refuses(&Url::parse(url).unwrap()).is_some();
        assert!(!refused(&strict, "https://host/") && refused(&strict, "http://127.0.0.1/"));
        assert!(!refused(&lax, "http://127.0.0.1:1/") && !refused(&lax, "http://[::1]/"));
        assert!(
            refused(&lax, "http://host/")
                && refused(&lax, "http://localhost.host/")
                && refused(&lax, "ftp://127.0.0.1/")
        );
        assert!(refused(&lax, "http://127.0.0.1.host/") && refused(&lax, "file:///etc/passwd"));
    }
}
