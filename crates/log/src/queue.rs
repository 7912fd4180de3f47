//! Between those who log and the journal: a bounded queue and a thread, so that nobody waits for journald.
//!
//! `tracing-journald` sends in the thread that logs, and waits while journald does not read. In a capture those threads carry
//! frames, so it runs in a thread of its own here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;

use crate::entry::Entry;
use crate::layer::Sink;

/// Entries that may wait for journald.
const CAPACITY: usize = 1024;
/// How long the end of the program waits for the last entries.
const FLUSH_DEADLINE: Duration = Duration::from_millis(500);
/// The queue of this process, for its end by a panic.
static QUEUE: OnceLock<SyncSender<Item>> = OnceLock::new();

enum Item {
    Entry(Entry),
    Flush(SyncSender<()>),
}

/// Queues what is said.
pub(crate) struct Queue {
    /// When it is full the entry is dropped and counted: nobody waits.
    items: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

/// Hands the last entries on when the program ends.
#[derive(Debug)]
#[must_use = "the last entries are lost if this is dropped before the end"]
pub struct Flush(Option<SyncSender<Item>>);

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Item")
    }
}

impl Flush {
    /// Where nothing is queued.
    pub(crate) fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(items) = &self.0 {
            flush(items);
        }
    }
}

/// Waits a moment until what this process has said is handed on.
pub(crate) fn flush_all() {
    if let Some(items) = QUEUE.get() {
        flush(items);
    }
}

fn flush(items: &SyncSender<Item>) {
    // Room for one: the thread never waits to answer. If the queue is full journald is stuck, and waiting would not help.
    let (done, wait) = sync_channel(1);
    if items.try_send(Item::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(FLUSH_DEADLINE);
    }
}

impl Queue {
    /// A queue whose thread hands each entry to `sink`.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub(crate) fn new(sink: impl FnMut(&Entry) + Send + 'static) -> std::io::Result<(Self, Flush)> {
        // Full when journald does not read: see `Queue::items`.
        let (items, waiting) = sync_channel(CAPACITY);
        let lost = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&lost);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || hand_on(&waiting, &theirs, sink))?;
        Ok((Self { items: items.clone(), lost }, Flush(Some(items))))
    }

    /// The queue that a panic flushes.
    pub(crate) fn is_for_the_process(&self) {
        let _ = QUEUE.set(self.items.clone());
    }
}

fn hand_on(waiting: &Receiver<Item>, lost: &AtomicU64, mut sink: impl FnMut(&Entry)) {
    for item in waiting {
        match item {
            Item::Entry(entry) => sink(&entry),
            Item::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let text = format!("{missing} log entries are missing around here: journald did not take them in time");
            sink(&Entry::new(Level::WARN, text, concat!(file!(), ":", line!())));
        }
    }
}

impl Sink for Queue {
    fn take(&self, entry: Entry) {
        if self.items.try_send(Item::Entry(entry)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::{CAPACITY, Queue};
    use crate::layer::Words;

    #[test]
    fn entries_arrive_with_the_fields_to_search_by_before_the_end() {
        let (told, heard) = sync_channel(8);
        let (queue, flush) = Queue::new(move |entry| told.try_send(entry.clone()).unwrap()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Words::new(queue)), || {
            tracing::warn!(session = "s-1", frames_lost = 3, "gap");
        });
        drop(flush);
        let entry = heard.try_recv().unwrap();
        assert_eq!(entry.line(), "gap session=s-1 frames_lost=3");
        assert_eq!(entry.field("session"), Some("s-1"));
        assert_eq!(entry.field("input"), None);
        assert!(entry.origin.contains("queue.rs:"), "{}", entry.origin);
    }

    #[test]
    fn a_journal_that_does_not_take_entries_holds_nobody_up_and_hears_of_the_loss() {
        let (release, released) = sync_channel::<()>(0);
        let (told, heard) = sync_channel(2 * CAPACITY);
        let (queue, flush) = Queue::new(move |entry| {
            // The first waits until it is released; afterwards the other end is gone and none waits.
            let _ = released.recv();
            told.try_send(entry.line()).unwrap();
        })
        .unwrap();
        let said = 3 * CAPACITY;
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Words::new(queue)), || {
            for number in 0..said {
                // Not what the limiter would hold back.
                tracing::debug!(number, "an entry");
            }
        });
        drop(release);
        let mut taken = 0;
        let lost = loop {
            let line = heard.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
            match line.split_once(" log entries are missing") {
                Some((lost, _)) => break lost.parse::<usize>().unwrap(),
                None => taken += 1,
            }
        };
        // Nobody can say anything any more, so the thread ends with the last entry. How many there are depends on whether it had the
        // first in its hands when the queue ran full.
        drop(flush);
        taken += heard.iter().count();
        assert_eq!(taken + lost, said, "every entry is told or counted");
    }
}
