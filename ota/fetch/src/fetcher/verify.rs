//! The last step: the whole file, read from the disk.

use std::ops::Range;

use ring::digest::{Context, SHA256};

use super::{Fetched, Fetcher};
use crate::cache::Cache;
use crate::handle::Phase;
use crate::source::hex;
use crate::{Error, Result};

/// Chunks between two looks at the caller's orders.
const CHUNKS_AT_ONCE: u64 = 16;
/// How often damage may be found before the disk is to blame.
const MAX_DAMAGED: u32 = 5;

impl Fetcher {
    /// Reads all chunks, each against its digest, and takes the SHA-256 of them all. `None` where one is missing after all.
    pub(super) async fn verify(&mut self) -> Result<Option<Fetched>> {
        self.sync().await?;
        let Some(edition) = self.cache.edition() else { return Ok(None) };
        self.report(|progress| (progress.phase, progress.rate) = (Phase::Verifying, 0));
        let chunks = edition.version.total_bytes.div_ceil(edition.chunk_bytes);
        let mut context = Context::new(&SHA256);
        let mut chunk = 0;
        while chunk < chunks {
            self.stand_still().await?;
            let (epoch, until) = (edition.epoch, chunks.min(chunk + CHUNKS_AT_ONCE));
            let read = self.blocking(move |cache| digest(cache, epoch, chunk..until, context));
            let Some(so_far) = read.await? else {
                self.damaged += 1;
                if self.damaged >= MAX_DAMAGED {
                    let path = self.cache.holding().map(|holding| holding.path).unwrap_or_default();
                    return Err(Error::Damaged { path, times: self.damaged });
                }
                return Ok(None);
            };
            context = so_far;
            chunk = until;
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(context.finish().as_ref());
        if let Some(expected) = self.server.source().expected_sha256.filter(|expected| *expected != sha256) {
            // Nothing tells which of its bytes are wrong.
            self.blocking(|cache| cache.remove()).await?;
            let url = self.server.shown().to_owned();
            return Err(Error::Digest { url, expected: hex(&expected), found: hex(&sha256) });
        }
        let Some(holding) = self.cache.holding() else { return Ok(None) };
        Ok(Some(Fetched { path: holding.path, bytes: holding.total_bytes, sha256 }))
    }
}

/// Goes on with the digest of all chunks, each read and held against its own. `None`: one is missing. Blocks.
pub(crate) fn digest(cache: &Cache, epoch: u64, chunks: Range<u64>, mut context: Context) -> Result<Option<Context>> {
    for chunk in chunks {
        let Some(bytes) = cache.read(epoch, chunk)? else { return Ok(None) };
        context.update(&bytes);
    }
    Ok(Some(context))
}
