//! What has failed in a recording, for the process that goes on with it.

use std::path::PathBuf;

use holdfast_segment::BootId;
use serde::{Deserialize, Serialize};

use crate::clock::{self, NS_PER_S};
use crate::ladder::Slate;

/// A process that is started later than this does not go on where the one before gave up.
const LASTS_NS: u64 = 30 * NS_PER_S;

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    boot: String,
    mono_ns: u64,
    slate: Slate,
}

/// A file below the runtime directory. Losing it costs a few failures more, so nothing is synced.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
}

impl Memory {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// What the process before has left, if that was just now.
    pub fn recall(&self) -> Slate {
        let kept = std::fs::read(&self.path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let fresh = kept.filter(|kept| {
            kept.boot == boot() && clock::mono_ns().checked_sub(kept.mono_ns).is_some_and(|age_ns| age_ns < LASTS_NS)
        });
        fresh.map(|kept| kept.slate).unwrap_or_default()
    }

    pub fn keep(&self, slate: &Slate) {
        let kept = Kept { boot: boot(), mono_ns: clock::mono_ns(), slate: slate.clone() };
        let unfinished = self.path.with_extension("encoders.tmp");
        let saved = serde_json::to_vec(&kept)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&unfinished, bytes))
            .and_then(|()| std::fs::rename(&unfinished, &self.path));
        if let Err(error) = saved {
            tracing::debug!(%error, "what failed is not remembered");
        }
    }

    pub fn forget(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn boot() -> String {
    BootId::current().map(|id| id.to_string()).unwrap_or_default()
}
