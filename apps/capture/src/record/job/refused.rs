//! What a recording does when the storage refuses.

use std::sync::Arc;

use holdfast_link::DropReason;
use holdfast_segment::CloseReason;

use super::Job;
use crate::clock;
use crate::packet::Packet;
use crate::record::files::StorageError;
use crate::record::trouble::Kind;
use crate::state::Shared;

impl<D: AsRef<[u8]>> Job<D> {
    /// The file is given up (its safe part is completed if the disk still lets us); the next keyframe tries a new one.
    pub(super) fn storage_failed(&mut self, error: &StorageError, shared: &Shared) {
        if let Some((_, hole)) = self.opening.take() {
            self.gaps.reopen(hole);
        }
        let kind = Kind::of(error);
        let (over, is_news) = self.trouble.refused(kind, clock::mono_ns());
        if let Some(code) = over {
            shared.clear(code);
        }
        tracing::debug!(session = self.session(), ?kind, %error, "refused");
        if is_news && shared.alerts.all().iter().all(|(code, _)| *code != kind.code()) {
            tracing::error!(session = self.session(), ?kind, %error, "writing failed");
            // What the last attempt met differs from file to file: told once, until it is over.
            let text = match error {
                StorageError::Segment { source } => format!("{source}. Remedy: {}", kind.remedy()),
                // These say by themselves what to do.
                other => other.to_string(),
            };
            shared.raise(kind.code(), &text);
        }
        self.close(CloseReason::DiskFailed, shared);
        let unwritten = self.segmenter.abandon();
        self.lose_unwritten(unwritten.iter());
        let drops = self.tally.drops();
        shared.report(|report| report.drops = drops);
    }

    pub(super) fn lose_unwritten<'p>(&mut self, packets: impl Iterator<Item = &'p Arc<Packet<D>>>)
    where
        D: 'p,
    {
        let mut video = packets.filter(|packet| packet.is_video()).peekable();
        let Some(start_ns) = video.peek().map(|first| first.dts_ns) else {
            return;
        };
        self.lose(DropReason::WriteFailed, video.count() as u64, start_ns);
    }
}
