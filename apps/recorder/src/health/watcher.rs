//! Looks at what does not tell of itself: processes, clocks, temperature.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use holdfast_dbus::AlertCode;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, sleep};

use super::process::{self, Sample};
use super::telemetry::Telemetry;
use super::thermal::{self, Heat, Zone};
use super::{
    CLOCK_LOOK, CLOCK_STEP_TOLD, CPU_LOOKS, HEAT_LOOK, LOOK_IDLE, LOOK_RECORDING, ZOMBIE_LOOKS, clock as wall,
};
use crate::alerts::Alerts;
use crate::clock;
use crate::facade::{Call, Facade};

/// Where the kernel tells. Tests have directories of their own.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys/class/thermal`
    pub thermal: PathBuf,
}

/// What a process may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory.
    pub memory_mib: u64,
    /// CPU; 100 is one core.
    pub cpu_percent: u64,
}

/// Runs for ever.
pub async fn run(facade: Arc<Facade>, telemetry: Telemetry, roots: Roots) {
    super::tell();
    let protection = &facade.config.protection;
    let limits = Limits { memory_mib: protection.memory_alert_mib, cpu_percent: protection.cpu_alert_percent };
    let inputs = (0..facade.inputs.len()).map(|index| watch_process(&facade, index, &telemetry, &roots, limits));
    tokio::join!(
        join_all(inputs),
        watch_clocks(&facade.alerts, &facade.calls),
        watch_heat(&facade.alerts, &telemetry, &roots)
    );
}

async fn watch_process(facade: &Facade, index: usize, telemetry: &Telemetry, roots: &Roots, limits: Limits) {
    let Some(input) = facade.inputs.get(index) else { return };
    let mut watched = Watched::new(input.name.clone(), limits);
    loop {
        let recording = facade.view.borrow().session.is_some();
        sleep(if recording { LOOK_RECORDING } else { LOOK_IDLE }).await;
        let pid = input.view.borrow().pid;
        let (proc, pids) = (roots.proc.clone(), watched.pids(pid));
        // A look that hangs is no news about the process; the next one may be.
        let look = move || pids.into_iter().map(|pid| (pid, process::sample(&proc, pid).ok())).collect::<Vec<_>>();
        if let Some(samples) = telemetry.look(look).await {
            watched.judge(&facade.alerts, clock::mono_ns(), pid, &samples);
        }
    }
}

/// One input's processes: the present one, and those that have ended but are still in the table of processes.
#[derive(Debug)]
struct Watched {
    input: String,
    limits: Limits,
    ticks_per_second: u64,
    /// The present one, when and as it was last seen.
    last: Option<(u32, u64, Sample)>,
    busy_looks: u32,
    /// Number, start, looks since it ended.
    ended: Vec<(u32, u64, u32)>,
}

impl Watched {
    fn new(input: String, limits: Limits) -> Self {
        let ticks_per_second = rustix::param::clock_ticks_per_second();
        Self { input, limits, ticks_per_second, last: None, busy_looks: 0, ended: Vec::new() }
    }

    /// Which to look at, when this is the present one (0: there is none).
    fn pids(&mut self, pid: u32) -> Vec<u32> {
        if let Some((last, _, sample)) = self.last.take_if(|(last, ..)| *last != pid) {
            self.busy_looks = 0;
            self.ended.push((last, sample.started_ticks, 0));
        }
        let present = (pid != 0).then_some(pid);
        present.into_iter().chain(self.ended.iter().map(|(pid, ..)| *pid)).collect()
    }

    fn judge(&mut self, alerts: &Alerts, now_ns: u64, pid: u32, samples: &[(u32, Option<Sample>)]) {
        let of = |pid: u32| samples.iter().find(|(of, _)| *of == pid).and_then(|(_, sample)| *sample);
        let present = of(pid).filter(|_| pid != 0);
        self.memory(alerts, present.as_ref());
        self.cpu(alerts, now_ns, pid, present.as_ref());
        self.last = present.map(|sample| (pid, now_ns, sample));
        self.ended.retain_mut(|(pid, started_ticks, looks)| {
            *looks += 1;
            // The number may mean another process by now.
            of(*pid).is_some_and(|sample| sample.state == 'Z' && sample.started_ticks == *started_ticks)
        });
        let zombies: Vec<_> = self.ended.iter().filter(|(.., looks)| *looks >= ZOMBIE_LOOKS).collect();
        alerts.set(!zombies.is_empty(), AlertCode::Zombie, &self.input, || {
            let pids: Vec<_> = zombies.iter().map(|(pid, ..)| pid.to_string()).collect();
            format!("ended and not collected by its parent: process {}", pids.join(", "))
        });
    }

    fn memory(&self, alerts: &Alerts, sample: Option<&Sample>) {
        let (source, limit_mib) = (&self.input, self.limits.memory_mib);
        let used_mib = sample.map_or(0, |sample| sample.memory_kib / 1024);
        if used_mib > limit_mib {
            let text = format!("the capture uses {used_mib} MiB, more than protection.memory_alert_mib = {limit_mib}");
            alerts.set(true, AlertCode::MemoryHigh, source, || text);
        } else if used_mib <= limit_mib / 10 * 9 {
            alerts.clear(AlertCode::MemoryHigh, source);
        }
    }

    fn cpu(&mut self, alerts: &Alerts, now_ns: u64, pid: u32, sample: Option<&Sample>) {
        let (source, limit) = (&self.input, self.limits.cpu_percent);
        let used = match (&self.last, sample) {
            (Some((last, then_ns, before)), Some(now)) if *last == pid => {
                process::cpu_percent(before, now, now_ns.saturating_sub(*then_ns), self.ticks_per_second)
            }
            _ => 0,
        };
        if used > limit {
            self.busy_looks += 1;
        } else {
            self.busy_looks = 0;
        }
        if self.busy_looks >= CPU_LOOKS {
            let text = format!("the capture uses {used} % of a core, more than protection.cpu_alert_percent = {limit}");
            alerts.set(true, AlertCode::CpuHigh, source, || text);
        } else if used <= limit / 10 * 9 {
            alerts.clear(AlertCode::CpuHigh, source);
        }
    }
}

/// `calls` full: the session's journal does not tell of the step, the alert does.
async fn watch_clocks(alerts: &Alerts, calls: &mpsc::Sender<Call>) {
    const SOURCE: &str = "clock";
    let mut ticks = tokio::time::interval(CLOCK_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut steps = wall::Steps::default();
    let mut stepped: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let now_ns = clock::wall_ns();
        if let Some(step_ns) = steps.look(now_ns, clock::boottime_ns()) {
            alerts.raise(AlertCode::ClockStepped, SOURCE, wall::text(step_ns));
            let _ = calls.try_send(Call::ClockStepped { by_ns: step_ns });
            stepped = Some(Instant::now());
        }
        if stepped.take_if(|since| since.elapsed() >= CLOCK_STEP_TOLD).is_some() {
            alerts.clear(AlertCode::ClockStepped, SOURCE);
        }
        alerts.set(wall::is_wrong(now_ns), AlertCode::ClockWrong, SOURCE, || {
            "the clock shows a time before Holdfast was made; names of sessions and files will be wrong".to_owned()
        });
    }
}

async fn watch_heat(alerts: &Alerts, telemetry: &Telemetry, roots: &Roots) {
    let mut ticks = tokio::time::interval(HEAT_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heat = Heat::Fine;
    loop {
        ticks.tick().await;
        let root = roots.thermal.clone();
        if let Some(zones) = telemetry.look(move || thermal::zones(&root)).await {
            heat = judge_heat(alerts, &zones, heat);
        }
    }
}

/// The hottest zone counts; only the alert of the present level holds.
fn judge_heat(alerts: &Alerts, zones: &[Zone], before: Heat) -> Heat {
    const SOURCE: &str = "temperature";
    let hottest = zones.iter().map(|zone| (zone.heat(before), zone)).max_by_key(|(heat, zone)| (*heat, zone.celsius));
    let heat = hottest.map_or(Heat::Fine, |(heat, _)| heat);
    let text = || hottest.map_or_else(String::new, |(_, zone)| format!("{}: {} °C", zone.name, zone.celsius));
    alerts.set(heat == Heat::High, AlertCode::TemperatureHigh, SOURCE, text);
    alerts.set(heat == Heat::Critical, AlertCode::TemperatureCritical, SOURCE, text);
    heat
}

#[cfg(test)]
mod tests {
    use super::{Limits, Watched, judge_heat};
    use crate::alerts::Alerts;
    use crate::health::process::{self, tests::write};
    use crate::health::thermal::{self, Heat};
    use holdfast_dbus::AlertCode::{self, CpuHigh, MemoryHigh, TemperatureCritical, TemperatureHigh, Zombie};
    use std::path::Path;

    const SECOND_NS: u64 = 1_000_000_000;

    fn active(alerts: &Alerts) -> Vec<AlertCode> {
        alerts.list().iter().filter(|alert| alert.is_active()).map(|alert| alert.code).collect()
    }

    /// Looks as the watcher does, at a `/proc` of the test's own.
    fn look(watched: &mut Watched, alerts: &Alerts, proc: &Path, now_s: u64, pid: u32) {
        let pids = watched.pids(pid);
        let samples: Vec<_> = pids.into_iter().map(|pid| (pid, process::sample(proc, pid).ok())).collect();
        watched.judge(alerts, now_s * SECOND_NS, pid, &samples);
    }

    #[test]
    fn memory_over_its_limit_is_told_until_it_is_well_below() {
        let (proc, alerts) = (tempfile::tempdir().unwrap(), Alerts::default());
        let mut watched = Watched::new("cam0".into(), Limits { memory_mib: 100, cpu_percent: 150 });
        for (now_s, mib, holds) in [(0, 100, false), (5, 120, true), (10, 95, true), (15, 89, false)] {
            write(proc.path(), 7, 'S', 0, mib * 1024);
            look(&mut watched, &alerts, proc.path(), now_s, 7);
            assert_eq!(active(&alerts), if holds { vec![MemoryHigh] } else { vec![] }, "{mib} MiB");
        }
        // What holds for as long as it is looked at was raised once.
        assert_eq!(alerts.list()[0].count, 1);
        // And it ends with the process.
        write(proc.path(), 7, 'S', 0, 200 * 1024);
        look(&mut watched, &alerts, proc.path(), 20, 7);
        assert_eq!(active(&alerts), [MemoryHigh]);
        look(&mut watched, &alerts, proc.path(), 25, 0);
        assert_eq!(active(&alerts), []);
    }

    #[test]
    fn a_busy_cpu_is_told_once_it_stays_busy() {
        let (proc, alerts) = (tempfile::tempdir().unwrap(), Alerts::default());
        let mut watched = Watched::new("cam0".into(), Limits { memory_mib: 100, cpu_percent: 150 });
        let ticks = watched.ticks_per_second;
        let mut used = 0;
        let mut told = Vec::new();
        // Percent of a core over ten seconds each; then another process.
        for (look_number, percent) in (0..).zip([0, 200, 0, 200, 200, 200, 140, 100]) {
            used += percent * 10 * ticks / 100;
            write(proc.path(), 7, 'R', used, 0);
            look(&mut watched, &alerts, proc.path(), look_number * 10, 7);
            told.push(active(&alerts) == [CpuHigh]);
        }
        assert_eq!(told, [false, false, false, false, false, true, true, false]);
        write(proc.path(), 8, 'R', used * 100, 0);
        for look_number in 8..12 {
            look(&mut watched, &alerts, proc.path(), look_number * 10, 8);
        }
        assert_eq!(active(&alerts), []);
    }

    #[test]
    fn what_has_ended_and_is_not_collected_is_told() {
        let (proc, alerts) = (tempfile::tempdir().unwrap(), Alerts::default());
        let mut watched = Watched::new("cam0".into(), Limits { memory_mib: 100, cpu_percent: 150 });
        write(proc.path(), 7, 'S', 0, 0);
        look(&mut watched, &alerts, proc.path(), 0, 7);
        write(proc.path(), 7, 'Z', 0, 0);
        write(proc.path(), 8, 'S', 0, 0);
        look(&mut watched, &alerts, proc.path(), 5, 8);
        assert_eq!(active(&alerts), []);
        look(&mut watched, &alerts, proc.path(), 10, 8);
        assert_eq!(active(&alerts), [Zombie]);
        std::fs::remove_dir_all(proc.path().join("7")).unwrap();
        look(&mut watched, &alerts, proc.path(), 15, 8);
        assert_eq!(active(&alerts), []);
    }

    #[test]
    fn only_the_alert_of_the_present_heat_holds() {
        let (root, alerts) = (tempfile::tempdir().unwrap(), Alerts::default());
        let mut heat = Heat::Fine;
        for (milli, holds) in [
            ("60000", vec![]),
            ("101000", vec![TemperatureHigh]),
            ("112000", vec![TemperatureCritical]),
            ("108000", vec![TemperatureCritical]),
            ("104000", vec![TemperatureHigh]),
            ("90000", vec![]),
        ] {
            thermal::tests::write(root.path(), 0, "40000", Some("115000"));
            thermal::tests::write(root.path(), 1, milli, Some("115000"));
            heat = judge_heat(&alerts, &thermal::zones(root.path()), heat);
            assert_eq!(active(&alerts), holds, "{milli}");
        }
    }
}
