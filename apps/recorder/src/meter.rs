//! Looks at the storage and at the rate of recording, every few seconds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::AlertCode;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::alerts::Alerts;
use crate::facade::Facade;
use crate::{clock, storage};

/// How often the storage is looked at.
const STORAGE_PERIOD: Duration = Duration::from_secs(5);
/// Samples of the rate: one a second, over this many seconds.
const WINDOW: usize = 10;

/// Runs for ever.
pub async fn run(facade: Arc<Facade>, status: watch::Sender<storage::Status>, rate: watch::Sender<u64>) {
    tokio::join!(watch_storage(&facade, status), watch_rate(&facade, rate));
}

async fn watch_storage(facade: &Facade, status: watch::Sender<storage::Status>) {
    let mut ticks = tokio::time::interval(STORAGE_PERIOD);
    // After a stall one look is enough.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let storage = facade.config.storage.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || storage::measure(&storage)).await else {
            continue;
        };
        raise(&facade.alerts, &now);
        status.send_if_modified(|status| std::mem::replace(status, now.clone()) != now);
    }
}

/// Each level has its alert, and only that of the present level holds.
fn raise(alerts: &Alerts, now: &storage::Status) {
    for (level, code) in [
        (storage::Level::Warn, AlertCode::StorageWarn),
        (storage::Level::Low, AlertCode::StorageLow),
        (storage::Level::Critical, AlertCode::StorageCritical),
        (storage::Level::Unavailable, AlertCode::StorageUnavailable),
    ] {
        alerts.set(now.level == level, code, "storage", || now.message.clone());
    }
}

async fn watch_rate(facade: &Facade, rate: watch::Sender<u64>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut samples: VecDeque<(String, u64, u64)> = VecDeque::with_capacity(WINDOW + 1);
    loop {
        ticks.tick().await;
        let session = facade.view.borrow().session.clone();
        let now = match session {
            None => {
                samples.clear();
                0
            }
            Some(session) => {
                let bytes = facade.live_totals(&session).safe_bytes;
                samples.retain(|(of, ..)| *of == session);
                samples.push_back((session, clock::mono_ns(), bytes));
                if samples.len() > WINDOW {
                    samples.pop_front();
                }
                per_second(&samples)
            }
        };
        rate.send_if_modified(|rate| std::mem::replace(rate, now) != now);
    }
}

fn per_second(samples: &VecDeque<(String, u64, u64)>) -> u64 {
    let (Some((_, from_ns, from)), Some((_, to_ns, to))) = (samples.front(), samples.back()) else {
        return 0;
    };
    let elapsed_ms = to_ns.saturating_sub(*from_ns) / 1_000_000;
    (to.saturating_sub(*from) * 1000).checked_div(elapsed_ms).unwrap_or(0)
}
