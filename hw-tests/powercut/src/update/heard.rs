//! What the updater said on the bus, and how long the log was when it was heard; see [`crate::claims`] for what that means.
//!
//! The updater shows a state only after the record with it was saved. The records themselves, in their order, are in the journal at the
//! end of the story; which of them was meant is found by going along both. Where one state was shown again and again the earliest that
//! fits is taken: an image is never held to more than was said.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use anyhow::Context;
use futures_util::StreamExt as _;
use holdfast_dbus::updater::UpdaterProxy;
use holdfast_update_plan::Record;

use crate::disk::{Meter, Position};

/// A word of the updater's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// It is in this phase.
    State(String),
    /// Outcome of this number.
    Ended(u64),
    /// The fleet's server has been told the end of this action. (Heard of the server.)
    Told(u64),
}

/// Listens until it is ended.
pub struct Ear {
    stop: tokio::sync::oneshot::Sender<()>,
    thread: JoinHandle<anyhow::Result<Vec<(Position, Word)>>>,
}

impl Ear {
    /// Listens on a bus, from when this returns.
    ///
    /// # Errors
    /// There is no such bus.
    pub fn start(address: &str, meter: Meter) -> anyhow::Result<Self> {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        // Full (1): it is written to once.
        let (ready, is_ready): (SyncSender<()>, Receiver<()>) = sync_channel(1);
        let address = address.to_owned();
        let thread = std::thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(listen(&address, &meter, &ready, stopped))
        })?;
        if is_ready.recv().is_err() {
            thread.join().map_err(|_| anyhow::anyhow!("the listener panicked"))??;
            anyhow::bail!("the listener has ended");
        }
        Ok(Self { stop, thread })
    }

    /// All that was heard, in order.
    ///
    /// # Errors
    /// Not everything could be heard.
    pub fn end(self) -> anyhow::Result<Vec<(Position, Word)>> {
        // It has ended already: so it says why.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("the listener panicked"))?
    }
}

async fn listen(
    address: &str,
    meter: &Meter,
    ready: &SyncSender<()>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) -> anyhow::Result<Vec<(Position, Word)>> {
    let connection = zbus::connection::Builder::address(address)?.build().await?;
    let updater = UpdaterProxy::new(&connection).await?;
    let (mut states, mut ends) = (updater.receive_updater_state_changed().await?, updater.receive_ended().await?);
    ready.send(()).context("nobody waits")?;
    let mut heard = vec![];
    loop {
        let word = tokio::select! {
            Some(state) = states.next() => Word::State(state.args()?.new.clone()),
            Some(end) = ends.next() => Word::Ended(end.args()?.outcome.number),
            _ = &mut stopped => return Ok(heard),
        };
        // After hearing, not before.
        heard.push((meter.position()?, word));
    }
}

/// What is owed from where on.
#[derive(Debug, Clone, Default)]
pub struct Owed {
    /// The record of this number, or a later one.
    pub record: Option<usize>,
    /// Outcomes that the record has.
    pub ended: Vec<u64>,
    /// Actions whose end the server has.
    pub told: Vec<u64>,
}

/// What is owed after a cut at so many entries.
#[must_use]
pub fn owed(saved: &[Record], heard: &[(Position, Word)], entries: usize) -> Owed {
    let mut owed = Owed::default();
    for (_, word) in heard.iter().filter(|(position, _)| position.0 <= entries as u64) {
        match word {
            Word::State(state) => {
                let from = owed.record.map_or(0, |record| record + 1);
                let is_it = |record: &Record| record.phase.name() == state;
                // Not every state is a record's: `checking` is none.
                if let Some(more) = saved.get(from..).unwrap_or_default().iter().position(is_it) {
                    owed.record = Some(from + more);
                }
            }
            Word::Ended(number) => owed.ended.push(*number),
            Word::Told(action) => owed.told.push(*action),
        }
    }
    owed
}

#[cfg(test)]
mod tests {
    use holdfast_update_plan::{Phase, Record};

    use super::{Word, owed};
    use crate::disk::Position;

    #[test]
    fn a_word_is_owed_from_when_it_was_heard_and_the_earliest_record_that_fits() {
        let record = |phase| Record { phase, ..Record::default() };
        let saved = [Phase::Available, Phase::Downloading, Phase::Available, Phase::Downloading].map(record);
        let state = |state: &str| Word::State(state.to_owned());
        let heard = [
            (Position(5), state("available")),
            (Position(7), state("checking")),
            (Position(9), state("downloading")),
            (Position(12), state("downloading")),
            (Position(12), Word::Ended(3)),
        ];
        let record = |entries| owed(&saved, &heard, entries).record;
        assert_eq!([4, 5, 8, 9, 11, 12].map(record), [None, Some(0), Some(0), Some(1), Some(1), Some(3)]);
        assert!(owed(&saved, &heard, 11).ended.is_empty() && owed(&saved, &heard, 12).ended == [3]);
    }
}
