//! Looks at the rate of recording, every second.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::facade::Facade;

/// Samples of the rate: one a second, over this many seconds.
const WINDOW: usize = 10;

/// Runs for ever.
pub async fn run(facade: Arc<Facade>, rate: watch::Sender<u64>) {
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
