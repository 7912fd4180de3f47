//! Who waits for which chunk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use super::lock;

/// Whether what is missing will come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Nobody fetches yet, or not any more.
    #[default]
    Idle,
    Running,
    /// The last fetch ended badly.
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// Holds only the newest tick: a reader that misses some looks at the state itself.
    ticks: watch::Sender<u64>,
    list: Arc<List>,
}

#[derive(Debug, Default)]
struct List {
    /// By number of arrival. As long as there are readers, which the proxy bounds.
    chunks: Mutex<(u64, BTreeMap<u64, u64>)>,
    asked: Notify,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { ticks: watch::Sender::new(0), list: Arc::default() }
    }
}

impl Waiting {
    pub fn notify(&self) {
        self.ticks.send_modify(|tick| *tick = tick.wrapping_add(1));
    }

    pub fn ticks(&self) -> watch::Receiver<u64> {
        self.ticks.subscribe()
    }

    pub fn want(&self, chunk: u64) -> Wanted {
        let mut chunks = lock(&self.list.chunks);
        chunks.0 += 1;
        let number = chunks.0;
        chunks.1.insert(number, chunk);
        drop(chunks);
        self.list.asked.notify_one();
        Wanted { list: self.list.clone(), number }
    }

    /// The first chunk in order of arrival that is `open`.
    pub fn first(&self, open: impl Fn(u64) -> bool) -> Option<u64> {
        lock(&self.list.chunks).1.values().copied().find(|chunk| open(*chunk))
    }

    pub async fn asked(&self) {
        self.list.asked.notified().await;
    }
}

/// Somebody waits; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Wanted {
    list: Arc<List>,
    number: u64,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        lock(&self.list.chunks).1.remove(&self.number);
    }
}
