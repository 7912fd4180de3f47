//! Reads how hard the box is pressed: PSI, CPU, memory, temperature from `/proc` and `/sys`, disk figures from the inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_dbus::AlertCode;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::captures::InputState;
use crate::facade::{Facade, InputEntry};
use crate::leases::Strain;
use crate::pressure::{Cause, Level, Pace, Pressure, Sample, State};

const PERIOD: Duration = Duration::from_secs(2);
const SOURCE: &str = "box";

/// Where the kernel tells; tests have directories of their own.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Usually `/proc`.
    pub proc: PathBuf,
    /// Usually `/sys`.
    pub sys: PathBuf,
}

/// Runs for ever: looks, decides, shows, tells.
pub async fn run(roots: Roots, facade: Arc<Facade>, state: watch::Sender<State>, strain: watch::Sender<Strain>) {
    let mut gauge = Gauge::new(roots);
    let mut pressure = Pressure::new(Pace::default());
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // These files are made by the kernel as they are read: they wait for no disk.
        let mut sample = gauge.read();
        disk(&mut sample, &facade.inputs);
        let level = pressure.state().level;
        let Some(now) = pressure.observe(crate::clock::mono_ns(), &sample) else {
            continue;
        };
        if now.level != level {
            let causes = names(&now.causes).join(", ");
            let shed: Vec<_> = now.shed.iter().map(|shed| shed.name()).collect();
            match now.level > level {
                true => warn!(level = now.level.name(), causes, shed = shed.join(", "), "pressure rises"),
                false => info!(level = now.level.name(), causes, shed = shed.join(", "), "pressure falls"),
            }
        }
        let text = || text(now, &sample);
        facade.alerts.set(now.level == Level::Degrade, AlertCode::PressureHigh, SOURCE, text);
        facade.alerts.set(now.level == Level::Critical, AlertCode::PressureCritical, SOURCE, text);
        state.send_replace(now.clone());
        strain.send_if_modified(|strain| {
            let new = strain_of(now.level);
            std::mem::replace(strain, new) != new
        });
    }
}

/// What it means for those who want to do something heavy.
fn strain_of(level: Level) -> Strain {
    match level {
        Level::Normal => Strain::None,
        Level::Warn => Strain::Some,
        Level::Degrade => Strain::Much,
        Level::Critical => Strain::Most,
    }
}

/// As on D-Bus.
pub fn names(causes: &[Cause]) -> Vec<&'static str> {
    causes.iter().map(|cause| cause.name()).collect()
}

fn text(state: &State, sample: &Sample) -> String {
    let figure = |cause: &Cause| match cause {
        Cause::CpuStalls => format!("tasks wait for the CPU {} % of the time", sample.cpu_stalls_percent.unwrap_or(0)),
        Cause::CpuBusy => format!("the CPU is {} % busy", sample.cpu_busy_percent.unwrap_or(0)),
        Cause::MemoryStalls => {
            format!("tasks wait for memory {} % of the time", sample.memory_stalls_percent.unwrap_or(0))
        }
        Cause::MemoryLow => format!("{} % of memory are in use", sample.memory_used_percent.unwrap_or(0)),
        Cause::IoStalls => format!("tasks wait for disks {} % of the time", sample.io_stalls_percent.unwrap_or(0)),
        Cause::QueueFull => format!("{} % of a queue wait for the disk", sample.queue_percent.unwrap_or(0)),
        Cause::SyncSlow => format!("a sync takes {} ms", sample.sync_ms.unwrap_or(0)),
        Cause::Temperature => format!("the box is at {} % of its highest temperature", sample.temperature.unwrap_or(0)),
    };
    let causes: Vec<_> = state.causes.iter().map(figure).collect();
    let shed: Vec<_> = state.shed.iter().map(|shed| shed.name()).collect();
    format!("{}; steps back for recording: {}", causes.join(", "), shed.join(", "))
}

/// What the inputs that record say of the disk.
fn disk(sample: &mut Sample, inputs: &[InputEntry]) {
    for input in inputs {
        let view = input.view.borrow();
        if !matches!(view.state, InputState::Recording | InputState::Stopping) {
            continue;
        }
        let queue = (view.queue_bytes.saturating_mul(100)).checked_div(view.queue_capacity_bytes).unwrap_or(0);
        let queue = u32::try_from(queue).unwrap_or(u32::MAX);
        let sync_ms = view.sync_us.max(view.sync_max_us) / 1000;
        sample.queue_percent = Some(sample.queue_percent.unwrap_or(0).max(queue));
        sample.sync_ms = Some(sample.sync_ms.unwrap_or(0).max(sync_ms));
    }
}

/// Reads the kernel's files.
#[derive(Debug)]
pub struct Gauge {
    roots: Roots,
    /// Busy and all ticks of the CPU at the last look.
    cpu: Option<(u64, u64)>,
    /// PSI is not to be had; that has been said.
    no_psi_told: bool,
}

impl Gauge {
    /// Has not looked yet.
    pub fn new(roots: Roots) -> Self {
        Self { roots, cpu: None, no_psi_told: false }
    }

    /// Looks.
    pub fn read(&mut self) -> Sample {
        let psi = |name: &str, line: &str| stalls(&self.roots.proc.join("pressure").join(name), line);
        // All tasks waiting for memory or disks is harm; some waiting for the CPU is, as long as one of them records.
        let (cpu, memory, io) = (psi("cpu", "some"), psi("memory", "full"), psi("io", "full"));
        if cpu.is_none() && !std::mem::replace(&mut self.no_psi_told, true) {
            info!("this kernel tells no pressure (PSI): CPU, memory, disk and temperature figures only");
        }
        Sample {
            cpu_stalls_percent: cpu,
            cpu_busy_percent: self.cpu_busy(),
            memory_stalls_percent: memory,
            memory_used_percent: memory_used(&self.roots.proc.join("meminfo")),
            io_stalls_percent: io,
            temperature: temperature(&self.roots.sys.join("class/thermal")),
            queue_percent: None,
            sync_ms: None,
        }
    }

    fn cpu_busy(&mut self) -> Option<u32> {
        let text = std::fs::read_to_string(self.roots.proc.join("stat")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal (proc_stat(5)); guests are counted in user.
        let all: u64 = ticks.iter().take(8).sum();
        let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
        let now = (all.saturating_sub(idle), all);
        let (busy, total) = self.cpu.replace(now)?;
        percent(now.0.saturating_sub(busy), now.1.saturating_sub(total))
    }
}

fn percent(part: u64, whole: u64) -> Option<u32> {
    u32::try_from((part.saturating_mul(100)).checked_div(whole)?).ok()
}

/// `some avg10=1.23 avg60=…`: the whole percent of the last ten seconds.
fn stalls(path: &Path, line: &str) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let fields = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
    let average = fields.split_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    average.split('.').next()?.parse().ok()
}

fn memory_used(path: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(path).ok()?;
    let field = |name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim_start_matches(':').split_whitespace().next()?.parse().ok()
    };
    let (total, available) = (field("MemTotal")?, field("MemAvailable")?);
    percent(total.saturating_sub(available), total)
}

/// The hottest zone, in percent of where it is critical; without that, in degrees.
fn temperature(zones: &Path) -> Option<u32> {
    let zones = std::fs::read_dir(zones).ok()?.flatten().map(|zone| zone.path());
    zones.filter_map(|zone| heat(&zone)).max()
}

fn heat(zone: &Path) -> Option<u32> {
    let number = |name: &str| -> Option<u64> { std::fs::read_to_string(zone.join(name)).ok()?.trim().parse().ok() };
    // Millidegrees. A sensor that tells zero or less, or more than any board survives, is broken.
    let now = number("temp").filter(|now| (1..200_000).contains(now))?;
    let critical = (0..10).find_map(|trip| {
        let kind = std::fs::read_to_string(zone.join(format!("trip_point_{trip}_type"))).ok()?;
        if kind.trim() == "critical" { number(&format!("trip_point_{trip}_temp")) } else { None }
    });
    match critical.filter(|critical| *critical > 0) {
        Some(critical) => percent(now, critical),
        None => u32::try_from(now / 1000).ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Gauge, Roots};

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn gauge(root: &Path) -> Gauge {
        Gauge::new(Roots { proc: root.join("proc"), sys: root.join("sys") })
    }

    #[test]
    fn the_kernels_files_are_read_as_it_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        put(root, "proc/pressure/cpu", "some avg10=41.99 avg60=5.00 avg300=1.00 total=1\nfull avg10=0.00 avg60=0.00\n");
        put(
            root,
            "proc/pressure/memory",
            "some avg10=9.00 avg60=0.00\nfull avg10=7.50 avg60=0.00 avg300=0.00 total=5\n",
        );
        put(root, "proc/pressure/io", "some avg10=50.00 avg60=1\nfull avg10=12.00 avg60=1 avg300=1 total=1\n");
        put(root, "proc/stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 1 1 1\n");
        put(root, "proc/meminfo", "MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    130 kB\n");
        put(root, "sys/class/thermal/thermal_zone0/temp", "45000\n");
        put(root, "sys/class/thermal/thermal_zone1/temp", "76000\n");
        put(root, "sys/class/thermal/thermal_zone1/trip_point_0_type", "passive\n");
        put(root, "sys/class/thermal/thermal_zone1/trip_point_0_temp", "70000\n");
        put(root, "sys/class/thermal/thermal_zone1/trip_point_1_type", "critical\n");
        put(root, "sys/class/thermal/thermal_zone1/trip_point_1_temp", "95000\n");
        put(root, "sys/class/thermal/cooling_device0/type", "fan\n");
        let mut gauge = gauge(root);
        let sample = gauge.read();
        assert_eq!(
            (sample.cpu_stalls_percent, sample.memory_stalls_percent, sample.io_stalls_percent),
            (Some(41), Some(7), Some(12))
        );
        assert_eq!(
            (sample.cpu_busy_percent, sample.memory_used_percent, sample.temperature),
            (None, Some(87), Some(80))
        );
        // 60 of 100 ticks since.
        put(root, "proc/stat", "cpu  150 0 110 730 110 0 0 0 80 0\n");
        assert_eq!(gauge.read().cpu_busy_percent, Some(60));
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_no_pressure() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(gauge(dir.path()).read(), crate::pressure::Sample::default());
        put(dir.path(), "proc/pressure/cpu", "");
        put(dir.path(), "sys/class/thermal/thermal_zone0/temp", "-273000\n");
        assert_eq!(gauge(dir.path()).read(), crate::pressure::Sample::default());
    }

    #[test]
    fn this_box_can_be_read() {
        let sample = Gauge::new(Roots { proc: "/proc".into(), sys: "/sys".into() }).read();
        assert!(sample.memory_used_percent.is_some_and(|percent| percent <= 100), "{sample:?}");
    }
}
