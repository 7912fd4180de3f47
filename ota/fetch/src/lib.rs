//! How an update bundle gets from an HTTPS server onto the box, and into RAUC.
//!
//! RAUC can stream a bundle itself, by many small range requests, and gives up on a bad network. So there is a cache
//! between: a [`Fetcher`] fills it in few long requests, over as many interruptions as it takes, and RAUC gets the finished
//! file, or reads through a [`Proxy`] while it is still coming.
//!
//! ```no_run
//! # use holdfast_fetch::{Cache, CacheLimits, Fetcher, Options, Proxy, Source};
//! # async fn update() -> holdfast_fetch::Result<()> {
//! let cache = Cache::open("/var/lib/holdfast/update", CacheLimits::default())?;
//! let source = Source::new("https://updates.example.org/box-1.2.raucb")?.header("Authorization", "TargetToken …")?;
//! let (fetcher, handle) = Fetcher::new(cache.clone(), source, Options::default())?;
//! handle.cap(Some(500_000));                        // bytes per second; 0 pauses
//! let proxy = Proxy::start(cache).await?;           // RAUC may be given proxy.url() from here on,
//! let fetched = fetcher.run().await?;               // or fetched.path, which is whole and verified
//! # drop(proxy); Ok(()) }
//! ```
//!
//! A file on a stick gets into the same cache by a [`Copier`]; small files come whole by [`small`].
//!
//! # What holds
//! - A chunk counts only after its bytes were synced, and is given out only if it still has its BLAKE3 digest. A power cut at
//!   any instant costs the chunk in work and what was not yet synced ([`CacheLimits::sync_bytes`]); damage costs its chunk.
//! - Parts of two versions of a file are never mixed: length, `ETag` and `Last-Modified` of every answer are held against what
//!   was begun. Where a server gives none of the latter two, only the expected SHA-256 and the bundle's signature can tell.
//! - A file ends with the SHA-256 of the whole, read from the disk. Where it is not the expected one, all is dropped.
//! - Tokens, queries and passwords are in no log, error, `Debug` or file, and are not sent to other hosts.
//! - Memory is bounded: a chunk for the fetch, and one for each of the proxy's few readers.
//!
//! # What is absent
//! No trust: that a bundle is ours is RAUC's to say, by its signature. No policy: when to fetch, and how fast, is the caller's.

#![forbid(unsafe_code)]

mod answer;
mod cache;
mod client;
mod copier;
mod error;
mod fetcher;
mod handle;
mod proxy;
mod small;
mod source;
mod tempo;

pub use cache::{Cache, CacheLimits, Holding};
pub use copier::Copier;
pub use error::{Error, Result};
pub use fetcher::{Fetched, Fetcher, Options};
pub use handle::{Handle, Phase, Progress};
pub use proxy::{Proxy, ProxyOptions};
pub use small::small;
pub use source::{Roots, Sha256, Source, Tls};
pub use tempo::Retries;
