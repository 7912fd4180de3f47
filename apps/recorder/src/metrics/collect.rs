//! What is read where it is known anyway, at the moment at which it is asked for.

use std::fmt;
use std::sync::Arc;

use holdfast_dbus::AlertLevel;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::process::Usage;
use crate::captures::InputView;
use crate::clock;
use crate::facade::Facade;
use crate::leases::{KINDS, State};
use crate::storage::Level;

const STATES: [&str; 5] = ["idle", "starting", "recording", "stopping", "error"];
const LEVELS: [Level; 5] = [Level::Ok, Level::Warn, Level::Low, Level::Critical, Level::Unavailable];

type Labels = Vec<(&'static str, String)>;

/// See the module.
pub(super) struct Collected {
    facade: Arc<Facade>,
    since_wall_ns: i64,
}

impl Collected {
    pub(super) fn new(facade: Arc<Facade>) -> Self {
        Self { facade, since_wall_ns: clock::wall_ns() }
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.recorder(&mut page)?;
        self.inputs(&mut page)?;
        self.storage(&mut page)?;
        self.alerts(&mut page)?;
        self.leases(&mut page)?;
        self.process(&mut page)
    }
}

impl Collected {
    fn recorder(&self, page: &mut Page<'_>) -> fmt::Result {
        let (state, duration_ns) = {
            let view = self.facade.view.borrow();
            let running_ns = clock::mono_ns().saturating_sub(view.since_mono_ns);
            (view.state, if view.session.is_some() { running_ns } else { 0 })
        };
        let states = STATES.iter().map(|name| (vec![("state", (*name).to_owned())], u64::from(*name == state)));
        page.gauges("recorder_state", "1 for the state the recorder is in", None, states)?;
        let help = "How long the present session runs; 0 without one";
        page.gauge("session_duration", help, Some(&Unit::Seconds), seconds(duration_ns))
    }

    fn inputs(&self, page: &mut Page<'_>) -> fmt::Result {
        let views: Vec<(String, InputView)> =
            self.facade.inputs.iter().map(|input| (input.name.clone(), input.view.borrow().clone())).collect();
        let label = |name: &String| vec![("input", name.clone())];
        let with = |name: &String, key: &'static str, value: &str| {
            let mut labels = label(name);
            labels.push((key, value.to_owned()));
            labels
        };

        let states = views.iter().map(|(name, view)| (with(name, "state", view.state.name()), 1_u64));
        page.gauges("input_state", "1 for the state an input is in", None, states)?;
        let frames = views.iter().flat_map(|(name, view)| {
            let tally = &view.tally;
            let stages =
                [("source", tally.source), ("encoded", tally.encoded), ("muxed", tally.muxed), ("safe", tally.safe)];
            stages.map(|(stage, frames)| (with(name, "stage", stage), frames))
        });
        let help = "Video frames of the present or last session, by stage; begins anew with each session";
        page.counters("input_frames", help, None, frames)?;
        let bytes = views.iter().map(|(name, view)| (label(name), view.tally.safe_bytes));
        page.counters("input_safe", "Bytes on disk, of the same session", Some(&Unit::Bytes), bytes)?;
        let dropped = views.iter().flat_map(|(name, view)| {
            view.tally.dropped.iter().map(|(reason, frames)| (with(name, "reason", reason), *frames))
        });
        page.counters("input_dropped_frames", "Frames that could not be kept, of the same session", None, dropped)?;
        let restarts = views.iter().map(|(name, view)| (label(name), u64::from(view.restarts)));
        let help = "Captures that died and were started again since the recorder started";
        page.counters("capture_restarts", help, None, restarts)?;
        let sync = views.iter().map(|(name, view)| (label(name), seconds(u64::from(view.sync_us) * 1000)));
        page.gauges("input_sync_duration", "Write and fdatasync of the last chunk", Some(&Unit::Seconds), sync)?;
        let queued = views.iter().map(|(name, view)| (label(name), view.queue_bytes));
        page.gauges("input_queue", "What waits for the disk", Some(&Unit::Bytes), queued)?;
        let capacity = views.iter().map(|(name, view)| (label(name), view.queue_capacity_bytes));
        let help = "How much may wait before frames are dropped";
        page.gauges("input_queue_capacity", help, Some(&Unit::Bytes), capacity)?;
        let preroll = views.iter().map(|(name, view)| (label(name), seconds(u64::from(view.preroll_ms) * 1_000_000)));
        page.gauges("input_preroll", "Pre-roll held in memory", Some(&Unit::Seconds), preroll)
    }

    fn storage(&self, page: &mut Page<'_>) -> fmt::Result {
        let status = self.facade.storage.borrow().clone();
        let levels = LEVELS.iter().map(|level| {
            let labels = vec![("level", level.name().to_owned())];
            (labels, u64::from(*level == status.level))
        });
        page.gauges("storage_level", "1 for the level the storage is at", None, levels)?;
        page.gauge("storage_size", "Size of the filesystem", Some(&Unit::Bytes), status.total_bytes)?;
        page.gauge("storage_free", "What may still be written", Some(&Unit::Bytes), status.free_bytes)?;
        let rate = *self.facade.rate.borrow();
        page.gauge("storage_bytes_per_second", "What is being made safe, over the last seconds", None, rate)
    }

    fn alerts(&self, page: &mut Page<'_>) -> fmt::Result {
        let active: Vec<_> = self.facade.alerts.list().into_iter().filter(crate::alerts::Alert::is_active).collect();
        let levels = [AlertLevel::Info, AlertLevel::Warning, AlertLevel::Critical].map(|level| {
            let count = active.iter().filter(|alert| alert.code.level() == level).count();
            (vec![("level", level.name().to_owned())], u64::try_from(count).unwrap_or(u64::MAX))
        });
        page.gauges("alerts_active", "Alerts that hold now", None, levels.into_iter())?;
        let each = active.iter().map(|alert| {
            let labels = vec![
                ("code", alert.code.name().to_owned()),
                ("level", alert.code.level().name().to_owned()),
                ("source", alert.source.clone()),
            ];
            (labels, 1_u64)
        });
        page.gauges("alert", "1 for each alert that holds now", None, each)
    }

    fn leases(&self, page: &mut Page<'_>) -> fmt::Result {
        let shown = Arc::clone(&self.facade.leases.shown.borrow());
        let rows = KINDS.iter().flat_map(|rule| {
            let shown = &shown;
            State::ALL.map(move |state| {
                let count =
                    shown.iter().filter(|view| view.lease.kind == rule.kind && view.lease.state == state).count();
                let labels = vec![("kind", rule.name.to_owned()), ("state", state.name().to_owned())];
                (labels, u64::try_from(count).unwrap_or(u64::MAX))
            })
        });
        page.gauges("leases", "Leases now", None, rows)?;
        let tally = self.facade.leases.tally.borrow().clone();
        let granted = KINDS.iter().map(|rule| {
            let count = tally.granted.get(&rule.kind).copied().unwrap_or(0);
            (vec![("kind", rule.name.to_owned())], count)
        });
        page.counters("leases_granted", "Leases granted", None, granted)?;
        let revoked = tally.revoked.iter().map(|((kind, why), count)| {
            (vec![("kind", kind.name().to_owned()), ("why", why.name().to_owned())], *count)
        });
        page.counters("leases_revoked", "Leases taken back from their owners", None, revoked)
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let since = u64::try_from(self.since_wall_ns).unwrap_or(0);
        let help = "When the recorder started, Unix time as the clock showed it then";
        page.gauge("start_time", help, Some(&Unit::Seconds), seconds(since))?;
        let help = "The worst that anyone had to wait for the recorder's one thread within the last minute";
        page.gauge("event_loop_lag", help, Some(&Unit::Seconds), self.facade.observed.lag().as_secs_f64())?;
        let help = "Log entries that were left out because one place said too much";
        page.counter("log_entries_left_out", help, None, holdfast_log::left_out())?;
        let usage = Usage::now();
        page.gauge("process_resident_memory", "Memory of the recorder", Some(&Unit::Bytes), usage.resident_bytes)?;
        page.gauge("process_open_fds", "Open files of the recorder", None, usage.open_files)?;
        let cpu = usage.cpu.as_secs_f64();
        page.counter("process_cpu", "CPU time of the recorder", Some(&Unit::Seconds), cpu)
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a figure for a graph; 2^53 ns are 104 days, and then it is about seconds"
)]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// What is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge<V: EncodeGaugeValue>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: V) -> fmt::Result {
        let encoder = self.describe(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(value).encode(encoder)
    }

    fn counter<V: EncodeCounterValue>(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: V) -> fmt::Result {
        let encoder = self.describe(name, help, unit, MetricType::Counter)?;
        ConstCounter::new(value).encode(encoder)
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl Iterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl Iterator<Item = (Labels, V)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(name, help, unit, MetricType::Counter)?;
        for (labels, value) in rows {
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn describe<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        // As the registry does for the others.
        self.0.encode_descriptor(name, &format!("{help}."), unit, kind)
    }
}
