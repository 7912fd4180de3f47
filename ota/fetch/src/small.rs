//! Small files from the same servers, at once and into memory.

use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

use crate::answer::{Asked, judge};
use crate::client::{Server, Waits};
use crate::{Error, Result, Source};

/// Fetches a small file whole: at most `max_bytes`, within `patience`. Nothing is kept, and nothing is tried again.
///
/// # Errors
/// See [`Error`]; a file that is larger is a [`Error::BadAnswer`].
pub async fn small(source: Source, max_bytes: usize, patience: Duration) -> Result<Vec<u8>> {
    let server = Server::new(source, Waits { connect: patience, answer: patience })?;
    let stalled = || Error::Stalled { url: server.shown().to_owned(), bytes: 1, waited: patience };
    tokio::time::timeout(patience, read(&server, max_bytes)).await.map_err(|_| stalled())?
}

async fn read(server: &Server, max_bytes: usize) -> Result<Vec<u8>> {
    let mut own = HeaderMap::new();
    own.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let mut response = server.send(&own, || ()).await?;
    let url = server.shown().to_owned();
    if response.status().as_u16() != 200 {
        let asked = Asked { url: &url, range: 0..u64::MAX, known: None };
        let status = response.status();
        return match judge(&asked, status, response.headers()) {
            Err(error) => Err(error),
            Ok(_) => Err(Error::Status { url, status: status.as_u16() }),
        };
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| server.transport(error))? {
        if bytes.len().saturating_add(part.len()) > max_bytes {
            let what = format!("the file has more than {max_bytes} bytes, so it is not what was asked for");
            return Err(Error::BadAnswer { url, what });
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}
