//! An input's part in a session: taken up, ended, and what dead processes left of it.

use std::sync::Arc;

use super::{Recovering, Supervisor};
use crate::captures::engaged::Engaged;
use crate::captures::{Recovered, Report, Want, files};
use crate::clock;

impl Supervisor {
    /// Takes part in the session that is wanted, and ends the part in any other. The capture must not be recording.
    pub(in crate::captures) async fn engage(&mut self, want: &Want) {
        let wanted = want.record.as_ref();
        let is_over = |part: &Engaged| wanted.is_none_or(|record| record.session != part.record.session);
        if self.engaged.as_ref().is_some_and(is_over) {
            self.finish().await;
        }
        if let Some(session) = want.ended.clone().filter(|ended| self.ended_told.as_ref() != Some(ended)) {
            // Over before we took part.
            self.ended_told = Some(session.clone());
            self.report(Report::Ended { session }).await;
        }
        if let (None, Some(record)) = (&self.engaged, wanted) {
            self.engaged = Some(Engaged::new(record.clone(), clock::mono_ns()));
            self.show(|view| {
                view.session = Some(record.session.clone());
                view.tally_session = Some(record.session.clone());
                view.tally = record.base.clone();
            });
        }
    }

    /// The part is over and nothing records it any more: recovers what is left and says so.
    async fn finish(&mut self) {
        if let Some(part) = &mut self.engaged {
            part.ends();
        }
        self.recover();
        while self.recovering.is_some() {
            let done = joined(&mut self.recovering).await;
            self.recovered(done).await;
            self.recover();
        }
        // What has not reached this session's capture is not for the next one's; the session's journal has it.
        while self.marks.try_recv().is_ok() {}
        let Some(part) = self.engaged.take() else { return };
        let (session, tally) = (part.record.session.clone(), part.tally());
        let (over_mono_ns, source_waits) = self.over;
        if let Some(gap) = part.gap_at_end(over_mono_ns, source_waits) {
            self.report(Report::Gap { session: session.clone(), gap }).await;
        }
        self.show(|view| {
            view.session = None;
            view.refused = false;
            view.tally = tally;
        });
        self.ended_told = Some(session.clone());
        self.report(Report::Ended { session }).await;
    }

    /// Begins to close files that dead processes left open, beside whatever records now.
    pub(in crate::captures) fn recover(&mut self) {
        let Some(part) = &mut self.engaged else { return };
        if self.recovering.is_some() || !std::mem::take(&mut part.orphans) {
            return;
        }
        let dir = self.shared.root.join(&part.record.directory);
        let (session, shared) = (part.record.session.clone(), Arc::clone(&self.shared));
        let task = tokio::spawn(async move {
            // The semaphore is never closed.
            let _one_at_a_time = shared.recovery.acquire().await;
            let pool = shared.pool.clone();
            tokio::task::spawn_blocking(move || files::recover_parts(&dir, &pool)).await.unwrap_or_default()
        });
        self.recovering = Some((session, task));
    }

    /// Tells what a recovery found.
    pub(in crate::captures) async fn recovered(&mut self, (session, files): (String, Vec<Recovered>)) {
        for file in files {
            if let Some(part) = self.engaged.as_mut().filter(|part| part.record.session == session) {
                part.recovered(&file);
            }
            self.report(Report::FileRecovered { session: session.clone(), file }).await;
        }
        let part = self.engaged.as_ref().filter(|part| part.record.session == session);
        if let Some(base) = part.map(|part| part.base().clone()) {
            self.report(Report::Base { session, base }).await;
        }
    }
}

/// Waits for a recovery that is under way; for ever while there is none.
pub(in crate::captures) async fn joined(recovering: &mut Option<Recovering>) -> (String, Vec<Recovered>) {
    let Some((session, task)) = recovering else {
        return std::future::pending().await;
    };
    let files = task.await.unwrap_or_default();
    let session = std::mem::take(session);
    *recovering = None;
    (session, files)
}
