//! What an answer of the server says, and whether it fits what was asked and what was known. Pure.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, RETRY_AFTER,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Longest validator that is kept; what is longer counts as none.
const VALIDATOR_BYTES: usize = 512;

/// What tells a version of the file from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub total_bytes: u64,
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Version {
    /// For `If-Range`, which takes no weak tag (RFC 9110, 13.1.5).
    pub fn if_range(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }

    /// Why `other` is another file, if so. What one of the two lacks decides nothing.
    fn differs(&self, other: &Self) -> Option<String> {
        let both = |name, ours: &Option<String>, theirs: &Option<String>| match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours != theirs => Some(format!("its {name} was {ours} and is {theirs}")),
            _ => None,
        };
        if self.total_bytes != other.total_bytes {
            return Some(format!("it had {} bytes and has {}", self.total_bytes, other.total_bytes));
        }
        both("ETag", &self.etag, &other.etag)
            .or_else(|| both("Last-Modified", &self.last_modified, &other.last_modified))
    }
}

/// What was asked, and what we know.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// For messages.
    pub url: &'a str,
    /// The file's bytes that we want; an open end is `u64::MAX`.
    pub range: Range<u64>,
    pub known: Option<&'a Version>,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its body is these bytes of this version.
    Take(Version, Range<u64>),
    /// The file is another than the one we have parts of.
    Anew(String),
}

/// Judges status and headers.
pub(crate) fn judge(asked: &Asked<'_>, status: StatusCode, headers: &HeaderMap) -> Result<Verdict> {
    let url = || asked.url.to_owned();
    let bad = |what: String| Error::BadAnswer { url: url(), what };
    let encoding = text(headers, &CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    if let (true, Some(encoding)) = (status.is_success(), encoding) {
        return Err(bad(format!("the answer is encoded ({encoding}), though that was not asked for")));
    }
    let length: Option<u64> = text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let version = |total_bytes| Version {
        total_bytes,
        etag: text(headers, &ETAG).map(str::to_owned),
        last_modified: text(headers, &LAST_MODIFIED).map(str::to_owned),
    };
    match status.as_u16() {
        206 => {
            let said = text(headers, &CONTENT_RANGE);
            let Some((range, total_bytes)) = said.and_then(content_range) else {
                return Err(bad(format!("it sends a part, but says of which range only {said:?}")));
            };
            let version = version(total_bytes);
            if let Some(why) = asked.known.and_then(|known| known.differs(&version)) {
                return Ok(Verdict::Anew(why));
            }
            // Less than was asked for is allowed, anything else is not.
            if range.start != asked.range.start || range.end > asked.range.end {
                return Err(bad(format!("bytes from {} were asked for, and {said:?} is sent", asked.range.start)));
            }
            match length {
                Some(length) if length != range.end - range.start => {
                    Err(bad(format!("it sends {length} bytes and calls them {said:?}")))
                }
                _ => Ok(Verdict::Take(version, range)),
            }
        }
        200 => {
            let Some(length) = length else {
                return Err(bad("it does not say how long the file is".to_owned()));
            };
            if length == 0 {
                return Err(Error::Empty { url: url() });
            }
            let version = version(length);
            match asked.known.and_then(|known| known.differs(&version)) {
                Some(why) => Ok(Verdict::Anew(why)),
                None if asked.range.start > 0 => Err(Error::RangesIgnored { url: url() }),
                None => Ok(Verdict::Take(version, 0..length)),
            }
        }
        416 if asked.known.is_some() => Ok(Verdict::Anew("it no longer has the bytes asked for (416)".to_owned())),
        416 => Err(Error::Empty { url: url() }),
        401 => Err(Error::Unauthorized { url: url() }),
        403 => Err(Error::Forbidden { url: url() }),
        404 => Err(Error::NotFound { url: url() }),
        410 => Err(Error::Gone { url: url() }),
        429 => Err(Error::TooManyRequests { url: url(), retry_after: retry_after(headers) }),
        code @ (408 | 425 | 500..=599) => {
            Err(Error::Unavailable { url: url(), status: code, retry_after: retry_after(headers) })
        }
        code => Err(Error::Status { url: url(), status: code }),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| text.len() <= VALIDATOR_BYTES)
}

/// `bytes 0-99/1000` as a range with exclusive end, and the whole length.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    (first <= last && last < total).then(|| (first..last.saturating_add(1), total))
}

/// Seconds, or a date. A date is taken against the answer's own `Date`: the clock of this box may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let said = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    let now = text(headers, &DATE).and_then(date)?;
    Some(date(said)?.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.parse().unwrap())).collect()
    }

    fn version(etag: &str, total_bytes: u64) -> Version {
        Version { total_bytes, etag: Some(etag.to_owned()), last_modified: None }
    }

    fn ask(range: Range<u64>, known: Option<&Version>, status: u16, pairs: &[(&str, &str)]) -> Result<Verdict> {
        judge(&Asked { url: "u", range, known }, StatusCode::from_u16(status).unwrap(), &headers(pairs))
    }

    const GIB5: u64 = 5 << 30;

    #[test]
    fn parts_that_fit_are_taken_beyond_four_gibibytes_too() {
        let known = version("\"a\"", GIB5);
        let range = format!("bytes {}-{}/{GIB5}", GIB5 - 10, GIB5 - 1);
        let pairs = [("content-range", range.as_str()), ("etag", "\"a\""), ("content-length", "10")];
        let verdict = ask(GIB5 - 10..u64::MAX, Some(&known), 206, &pairs).unwrap();
        assert_eq!(verdict, Verdict::Take(known.clone(), GIB5 - 10..GIB5));
        // Less than asked for is a part too.
        let pairs = [("content-range", "bytes 0-9/100"), ("content-length", "10")];
        let verdict = ask(0..100, None, 206, &pairs).unwrap();
        assert_eq!(verdict, Verdict::Take(Version { total_bytes: 100, etag: None, last_modified: None }, 0..10));
    }

    #[test]
    fn lies_are_caught() {
        let known = version("\"a\"", 100);
        for (range, pairs) in [
            (10..100, &[("content-range", "bytes 0-99/100")][..]),
            (10..100, &[("content-range", "bytes 11-99/100")]),
            (10..50, &[("content-range", "bytes 10-99/100")]),
            (10..100, &[("content-range", "bytes 10-99/*")]),
            (10..100, &[("content-range", "bytes 10-100/100")]),
            (10..100, &[("content-range", "bytes 20-10/100")]),
            (10..100, &[("content-range", "bytes 10-99/100"), ("content-length", "89")]),
            (10..100, &[("content-range", "bytes 10-99/100"), ("content-encoding", "gzip")]),
            (10..100, &[("content-type", "multipart/byteranges")]),
            (10..100, &[]),
        ] {
            let verdict = ask(range, Some(&known), 206, pairs);
            assert!(matches!(verdict, Err(Error::BadAnswer { .. })), "{pairs:?}: {verdict:?}");
        }
        let verdict = ask(10..100, Some(&known), 200, &[("content-length", "100"), ("etag", "\"a\"")]);
        assert!(matches!(verdict, Err(Error::RangesIgnored { .. })), "{verdict:?}");
        assert!(matches!(ask(0..100, None, 200, &[]), Err(Error::BadAnswer { .. })));
        assert!(matches!(ask(0..100, None, 200, &[("content-length", "0")]), Err(Error::Empty { .. })));
    }

    #[test]
    fn another_file_is_told_from_ours() {
        let known = Version { last_modified: Some("m1".to_owned()), ..version("\"a\"", 100) };
        for (status, pairs) in [
            (206, &[("content-range", "bytes 10-99/100"), ("etag", "\"b\"")][..]),
            (206, &[("content-range", "bytes 10-100/101"), ("etag", "\"a\"")]),
            (206, &[("content-range", "bytes 10-99/100"), ("last-modified", "m2")]),
            (200, &[("content-length", "100"), ("etag", "\"b\"")]),
            (200, &[("content-length", "99")]),
            (416, &[]),
        ] {
            let verdict = ask(10..100, Some(&known), status, pairs);
            assert!(matches!(verdict, Ok(Verdict::Anew(_))), "{pairs:?}: {verdict:?}");
        }
        assert_eq!(known.if_range(), Some("\"a\""));
        let weak = Version { etag: Some("W/\"a\"".to_owned()), ..known };
        assert_eq!(weak.if_range(), Some("m1"));
    }

    #[test]
    fn waiting_goes_by_the_servers_own_clock() {
        assert_eq!(retry_after(&headers(&[("retry-after", "120")])), Some(Duration::from_secs(120)));
        let date = ("date", "Wed, 21 Oct 2015 07:28:00 GMT");
        let at = [date, ("retry-after", "Wed, 21 Oct 2015 07:29:30 GMT")];
        assert_eq!(retry_after(&headers(&at)), Some(Duration::from_secs(90)));
        let past = [date, ("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT")];
        assert_eq!(retry_after(&headers(&past)), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers(&[("retry-after", "soon")])), None);
        let limited = ask(0..9, None, 429, &[("retry-after", "7")]).unwrap_err();
        assert_eq!((limited.retry_after(), limited.is_transient()), (Some(Duration::from_secs(7)), true));
        for (status, transient) in [(401, false), (403, false), (404, false), (410, false), (503, true), (304, false)] {
            assert_eq!(ask(0..9, None, status, &[]).unwrap_err().is_transient(), transient, "{status}");
        }
    }
}
