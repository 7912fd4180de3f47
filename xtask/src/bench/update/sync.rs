//! Each sync of a recording, as the recorder tells it on the bus.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::rig::Rig;

/// How often it is looked: several times between two syncs, so that none is missed.
const LOOK: Duration = Duration::from_millis(25);

/// Collects them until it is dropped.
pub struct Syncs {
    milliseconds: Arc<Mutex<Vec<f64>>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Syncs {
    pub async fn watch(rig: &Rig, inputs: &[&str]) -> anyhow::Result<Self> {
        let (milliseconds, mut tasks) = (Arc::new(Mutex::new(Vec::new())), tokio::task::JoinSet::new());
        for name in inputs {
            let (input, list) = (rig.input(name).await?, Arc::clone(&milliseconds));
            tasks.spawn(async move {
                let mut before = 0;
                loop {
                    tokio::time::sleep(LOOK).await;
                    // A chunk is told with its sync: when others are safe than before it is another sync.
                    let Ok(safe) = input.safe_frames().await else { continue };
                    if safe == before {
                        continue;
                    }
                    before = safe;
                    if let Ok(usec) = input.sync_usec().await
                        && safe > 0
                    {
                        list.lock().unwrap_or_else(PoisonError::into_inner).push(f64::from(usec) / 1e3);
                    }
                }
            });
        }
        Ok(Self { milliseconds, tasks })
    }

    /// What was seen since the last time.
    pub fn take(&self) -> Vec<f64> {
        debug_assert!(!self.tasks.is_empty());
        std::mem::take(&mut self.milliseconds.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
