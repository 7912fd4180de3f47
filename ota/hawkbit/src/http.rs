//! One request and its answer: limits, redirects, and what a status means.

use std::time::{Duration, SystemTime};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Client, Error};

/// The most that is read of an answer. hawkBit's largest, a deployment of hundreds of files, is below 1 MiB.
pub(crate) const BODY_LIMIT_BYTES: usize = 4 << 20;

/// Redirects followed within one server.
const MAX_REDIRECTS: u32 = 3;

/// hawkBit's answer to what it refuses.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "errorCode")]
    code: Option<String>,
}

impl Client {
    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        let body = self.exchange(Method::GET, url.clone(), None).await?;
        serde_json::from_slice(&body).map_err(|error| Error::Malformed { url: shown(&url), reason: error.to_string() })
    }

    /// Sends JSON; what comes back besides the status is of no interest.
    pub(crate) async fn send(&self, method: Method, url: Url, body: &serde_json::Value) -> Result<(), Error> {
        self.exchange(method, url, Some(body.to_string())).await.map(drop)
    }

    async fn exchange(&self, method: Method, url: Url, body: Option<String>) -> Result<Vec<u8>, Error> {
        let mut at = url;
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(&method, &at, body.clone()).await?;
            if !answer.status().is_redirection() {
                return self.read(&at, answer).await;
            }
            at = self.redirected(&method, &at, &answer)?;
        }
        Err(Error::Redirected { url: shown(&at), to: "itself, again and again".to_owned() })
    }

    async fn once(&self, method: &Method, url: &Url, body: Option<String>) -> Result<Response, Error> {
        let mut request = self.http.request(method.clone(), url.clone());
        request = request.header(ACCEPT, HeaderValue::from_static("application/hal+json, application/json"));
        if let Some(token) = &self.authorization {
            request = request.header(AUTHORIZATION, token.clone());
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        request.send().await.map_err(|error| self.transport(url, &error))
    }

    /// Where a redirect leads: to the same server or nowhere. A report is sent on only where that keeps it a report.
    fn redirected(&self, method: &Method, url: &Url, answer: &Response) -> Result<Url, Error> {
        let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let keeps_method = matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
        match url.join(to) {
            Ok(next) if next.origin() == url.origin() && (keeps_method || *method == Method::GET) => Ok(next),
            Ok(next) => Err(Error::Redirected { url: shown(url), to: shown(&next).to_string() }),
            Err(_) => Err(Error::Redirected { url: shown(url), to: "no address".to_owned() }),
        }
    }

    async fn read(&self, url: &Url, mut answer: Response) -> Result<Vec<u8>, Error> {
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = vec![];
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.transport(url, &error))? {
            if body.len() + chunk.len() > BODY_LIMIT_BYTES {
                return Err(Error::TooLarge { url: shown(url), limit_bytes: BODY_LIMIT_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() { Ok(body) } else { Err(self.refused(url, status, &headers, &body)) }
    }

    fn refused(&self, url: &Url, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
        // The name is shown to people: only if it is one.
        let name =
            |code: &String| code.len() < 100 && code.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let code = serde_json::from_slice(body).ok().and_then(|Refusal { code }| code).filter(name);
        let quota = code.as_ref().is_some_and(|code| code.to_ascii_lowercase().contains("quota"));
        let url = shown(url);
        match status.as_u16() {
            status @ (403 | 429) if quota => Error::Quota { url, status, code },
            status @ (401 | 403) => {
                let check = self.settings.token.check(status, &self.settings);
                Error::Denied { url, status, check }
            }
            status @ (404 | 410) => Error::Gone { url, status },
            409 => Error::Conflict { url, code },
            status @ (429 | 503) => Error::Busy { url, status, retry_after: retry_after(headers) },
            status if status >= 500 => Error::Broken { url, status, code },
            status => Error::Refused { url, status, code },
        }
    }

    fn transport(&self, url: &Url, error: &reqwest::Error) -> Error {
        let url = shown(url);
        if error.is_timeout() {
            let after = if error.is_connect() { self.settings.connect_timeout } else { self.settings.timeout };
            return Error::TimedOut { url, after };
        }
        // The first cause says it best: "Connection refused", "certificate expired".
        let mut cause: &dyn std::error::Error = error;
        while let Some(below) = cause.source() {
            cause = below;
        }
        let reason = cause.to_string();
        Error::Unreachable { url, reason }
    }
}

/// An address as people may see it.
pub(crate) fn shown(url: &Url) -> Box<Url> {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Refused only by addresses that have no user either.
    let _ = (url.set_username(""), url.set_password(None));
    Box::new(url)
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is held against the server's own `Date`.
///
/// So our clock, which may be wrong, plays no part; a date without `Date` counts for nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let (then, now): (SystemTime, SystemTime) = (date(after)?, date(text(DATE)?)?);
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let headers = |pairs: &[(reqwest::header::HeaderName, &str)]| {
            pairs
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
                .collect::<HeaderMap>()
        };
        let seconds = |pairs: &[_]| retry_after(&headers(pairs)).map(|after| after.as_secs());
        let (now, later) = ("Fri, 01 Jan 1999 00:00:00 GMT", "Fri, 01 Jan 1999 00:02:00 GMT");
        assert_eq!(seconds(&[(RETRY_AFTER, "7")]), Some(7));
        assert_eq!(seconds(&[(RETRY_AFTER, later), (DATE, now)]), Some(120));
        assert_eq!(seconds(&[(RETRY_AFTER, now), (DATE, later)]), Some(0));
        assert_eq!(seconds(&[(RETRY_AFTER, later)]), None);
        assert_eq!(seconds(&[(RETRY_AFTER, "soon"), (DATE, now)]), None);
        assert_eq!(seconds(&[(DATE, now)]), None);
    }
}
