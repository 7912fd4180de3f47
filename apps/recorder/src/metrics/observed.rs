//! What is counted as it happens. All else is read where it is known anyway.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_dbus::ErrorCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use crate::facade::News;

/// Upper bounds of the latencies' buckets, in seconds: the budgets are among them.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 25.0];
/// How often the recorder's own pulse is felt.
const PULSE: Duration = Duration::from_secs(1);
/// The worst lag of the last one to two of these is told.
const LAG_WINDOW_PULSES: u32 = 30;
/// As for reads on the bus: a pulse that comes later held up somebody.
const LAG_BUDGET: Duration = Duration::from_millis(50);

/// A method.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    interface: &'static str,
    method: &'static str,
}

/// A method that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    interface: &'static str,
    method: &'static str,
    code: i32,
}

/// An input and what made its hole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Cause {
    input: String,
    cause: &'static str,
}

/// An input.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Input {
    input: String,
}

/// How a session began.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Begun {
    resumed: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Observed {
    calls: Family<Method, Histogram, fn() -> Histogram>,
    refused: Family<Refused, Counter>,
    slow: Family<Method, Counter>,
    started: Family<Begun, Counter>,
    stopped: Counter,
    files: Family<Input, Counter>,
    gaps: Family<Cause, Counter>,
    gap_seconds: Family<Cause, Counter<f64, AtomicU64>>,
    /// The worst lag in microseconds: of this window, and of the one before.
    lag_us: [AtomicU64; 2],
}

impl Default for Observed {
    fn default() -> Self {
        Self {
            calls: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            refused: Family::default(),
            slow: Family::default(),
            started: Family::default(),
            stopped: Counter::default(),
            files: Family::default(),
            gaps: Family::default(),
            gap_seconds: Family::default(),
            lag_us: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }
}

impl Observed {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register_with_unit(
            "dbus_call_duration",
            "How long D-Bus calls took, without what the caller asked to wait for",
            Unit::Seconds,
            self.calls.clone(),
        );
        to.register("dbus_calls_refused", "D-Bus calls that were answered with an error", self.refused.clone());
        to.register("dbus_calls_slow", "D-Bus calls that took longer than their budget", self.slow.clone());
        to.register("sessions_started", "Sessions that began or went on", self.started.clone());
        to.register("sessions_stopped", "Sessions that ended", self.stopped.clone());
        to.register("files_closed", "Files that became durable under their final names", self.files.clone());
        to.register("gaps", "Holes in recordings", self.gaps.clone());
        to.register_with_unit("gap_duration", "How long they were", Unit::Seconds, self.gap_seconds.clone());
    }

    /// A method was called.
    pub fn call(
        &self,
        interface: &'static str,
        method: &'static str,
        elapsed: Duration,
        is_slow: bool,
        refused: Option<ErrorCode>,
    ) {
        let labels = Method { interface, method };
        self.calls.get_or_create(&labels).observe(elapsed.as_secs_f64());
        if is_slow {
            self.slow.get_or_create(&labels).inc();
        }
        if let Some(code) = refused {
            self.refused.get_or_create(&Refused { interface, method, code: code.number() }).inc();
        }
    }

    /// Something happened to a session.
    pub fn news(&self, news: &News) {
        match news {
            News::Started { resumed, .. } => {
                self.started.get_or_create(&Begun { resumed: *resumed }).inc();
            }
            News::Stopped { .. } => {
                self.stopped.inc();
            }
            News::FileClosed { input, .. } => {
                self.files.get_or_create(&Input { input: input.clone() }).inc();
            }
            // Retention counts what it gives up itself.
            News::FileDeleted { .. } | News::SessionDeleted { .. } | News::Found => (),
            News::Gap { input, cause, info, .. } => {
                let labels = Cause { input: input.clone(), cause };
                self.gaps.get_or_create(&labels).inc();
                let seconds = Duration::from_micros(info.duration_usec).as_secs_f64();
                self.gap_seconds.get_or_create(&labels).inc_by(seconds);
            }
        }
    }

    /// The worst that anyone had to wait for the recorder's one thread, lately.
    pub fn lag(&self) -> Duration {
        Duration::from_micros(self.lag_us.iter().map(|lag| lag.load(Ordering::Relaxed)).max().unwrap_or(0))
    }

    /// Feels the pulse of the recorder's one thread: whoever reads a property waits for it just as long. Runs for ever.
    pub async fn feel_pulse(&self) {
        let [now, before] = &self.lag_us;
        for pulse in 1_u32.. {
            let due = Instant::now() + PULSE;
            tokio::time::sleep_until(due).await;
            let lag = due.elapsed();
            now.fetch_max(u64::try_from(lag.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            if lag > LAG_BUDGET {
                warn!(
                    ms = lag.as_millis(),
                    budget_ms = LAG_BUDGET.as_millis(),
                    "the recorder was held up, and with it all calls"
                );
            }
            if pulse % LAG_WINDOW_PULSES == 0 {
                before.store(now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

/// A clock that beats on, late or not.
pub(super) fn beat(period: Duration) -> tokio::time::Interval {
    let mut beat = tokio::time::interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}
