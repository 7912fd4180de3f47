//! How hard the box is pressed, and what is shed for it: the pure core.
//!
//! It is fed a sample every second or two and answers when the level changes. Up it goes at once when several samples in a row say
//! so, down only one step at a time after a calm stretch, so that a load that comes and goes does not make the whole box flap.
//!
//! The order in which load is shed is fixed: preview rate, previews, telemetry, archive, updates, and last of all the recording's
//! own bit rate, which comes back step by step. The bit rate is lowered only for what a lower bit rate relieves.

/// How hard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// All is well.
    #[default]
    Normal,
    /// Something is scarce.
    Warn,
    /// So scarce that all but recording steps back.
    Degrade,
    /// So scarce that recording itself is in danger.
    Critical,
}

impl Level {
    const ALL: [Self; 4] = [Self::Normal, Self::Warn, Self::Degrade, Self::Critical];

    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warn => "warn",
            Self::Degrade => "degrade",
            Self::Critical => "critical",
        }
    }

    fn below(self) -> Self {
        match self {
            Self::Normal | Self::Warn => Self::Normal,
            Self::Degrade => Self::Warn,
            Self::Critical => Self::Degrade,
        }
    }
}

/// What is scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Tasks wait for the CPU (PSI).
    CpuStalls,
    /// The CPU is busy.
    CpuBusy,
    /// Tasks wait for memory (PSI).
    MemoryStalls,
    /// Little memory is left.
    MemoryLow,
    /// Tasks wait for disks (PSI).
    IoStalls,
    /// Footage waits for the disk.
    QueueFull,
    /// Syncs take long.
    SyncSlow,
    /// The box is hot.
    Temperature,
}

impl Cause {
    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuStalls => "cpu-stalls",
            Self::CpuBusy => "cpu-busy",
            Self::MemoryStalls => "memory-stalls",
            Self::MemoryLow => "memory-low",
            Self::IoStalls => "io-stalls",
            Self::QueueFull => "queue-full",
            Self::SyncSlow => "sync-slow",
            Self::Temperature => "temperature",
        }
    }

    /// A lower bit rate is less to encode and less to write. It makes no memory.
    fn is_relieved_by_bitrate(self) -> bool {
        !matches!(self, Self::MemoryStalls | Self::MemoryLow)
    }
}

/// Where each cause reaches warn, degrade, critical. Stalls and business of CPU or disks alone are never critical: as long as the
/// queue is empty, the recording does not suffer by them.
const THRESHOLDS: [(Cause, [Option<u32>; 3]); 8] = [
    (Cause::CpuStalls, [Some(40), Some(75), None]),
    (Cause::CpuBusy, [Some(90), Some(98), None]),
    (Cause::MemoryStalls, [Some(5), Some(15), Some(40)]),
    (Cause::MemoryLow, [Some(85), Some(92), Some(97)]),
    (Cause::IoStalls, [Some(40), Some(75), None]),
    (Cause::QueueFull, [Some(20), Some(40), Some(60)]),
    (Cause::SyncSlow, [Some(500), Some(1500), Some(4000)]),
    (Cause::Temperature, [Some(80), Some(90), Some(98)]),
];

/// One look at the box. What is not to be had is `None` and presses nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Percent of the last 10 s in which some task waited for the CPU.
    pub cpu_stalls_percent: Option<u32>,
    /// Busy since the last sample, all CPUs.
    pub cpu_busy_percent: Option<u32>,
    /// Percent of the last 10 s in which every task waited for memory.
    pub memory_stalls_percent: Option<u32>,
    /// Not available.
    pub memory_used_percent: Option<u32>,
    /// Percent of the last 10 s in which every task waited for a disk.
    pub io_stalls_percent: Option<u32>,
    /// The fullest queue of an input that records.
    pub queue_percent: Option<u32>,
    /// Its slowest sync.
    pub sync_ms: Option<u32>,
    /// Of the way to where the box slows itself down or, if it does not say where that is, degrees Celsius.
    pub temperature: Option<u32>,
}

impl Sample {
    fn value(&self, cause: Cause) -> Option<u32> {
        match cause {
            Cause::CpuStalls => self.cpu_stalls_percent,
            Cause::CpuBusy => self.cpu_busy_percent,
            Cause::MemoryStalls => self.memory_stalls_percent,
            Cause::MemoryLow => self.memory_used_percent,
            Cause::IoStalls => self.io_stalls_percent,
            Cause::QueueFull => self.queue_percent,
            Cause::SyncSlow => self.sync_ms,
            Cause::Temperature => self.temperature,
        }
    }

    /// How far each cause goes.
    fn causes(&self) -> impl Iterator<Item = (Cause, Level)> {
        THRESHOLDS.iter().filter_map(|(cause, thresholds)| {
            let value = self.value(*cause)?;
            let reached = thresholds.iter().rposition(|limit| limit.is_some_and(|limit| value >= limit))?;
            Some((*cause, Level::ALL[reached + 1]))
        })
    }
}

/// What is shed, in the order in which it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shed {
    /// Previews show fewer pictures.
    PreviewRate,
    /// Previews show none.
    Previews,
    /// Telemetry and probing rest.
    Telemetry,
    /// Nothing is moved to the archive.
    Archive,
    /// Nothing is downloaded or installed.
    Updates,
    /// Recordings have fewer bits.
    Bitrate,
}

impl Shed {
    /// As on D-Bus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PreviewRate => "preview-rate",
            Self::Previews => "previews",
            Self::Telemetry => "telemetry",
            Self::Archive => "archive",
            Self::Updates => "updates",
            Self::Bitrate => "bitrate",
        }
    }
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How hard.
    pub level: Level,
    /// By what, the worst first.
    pub causes: Vec<Cause>,
    /// What is shed for it, in order.
    pub shed: Vec<Shed>,
    /// What recordings get of their bit rate.
    pub bitrate_percent: u32,
}

impl Default for State {
    fn default() -> Self {
        Self { level: Level::Normal, causes: Vec::new(), shed: Vec::new(), bitrate_percent: FULL_PERCENT }
    }
}

/// How slowly it reacts.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// So many samples in a row must say so before the level rises.
    pub samples: u32,
    /// So long all must be below a level before it falls by one.
    pub calm_ns: u64,
    /// The bit rate goes down and comes back by a step this often.
    pub step_ns: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { samples: 3, calm_ns: 30_000_000_000, step_ns: 20_000_000_000 }
    }
}

const FULL_PERCENT: u32 = 100;
/// Less is no picture.
const LEAST_PERCENT: u32 = 40;
const STEP_PERCENT: u32 = 20;

/// The core.
#[derive(Debug, Default)]
pub struct Pressure {
    pace: Pace,
    state: State,
    /// Samples in a row that were at least at [`Level::ALL`] of the same place.
    above: [u32; 4],
    /// When it was last at or above the present level.
    pressed_ns: u64,
    /// When the bit rate was last changed.
    stepped_ns: u64,
}

impl Pressure {
    /// At rest.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { pace, ..Self::default() }
    }

    /// How things stand.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes a sample; says how things stand if that has changed. `now_ns`: monotonic.
    pub fn observe(&mut self, now_ns: u64, sample: &Sample) -> Option<&State> {
        let mut causes: Vec<(Cause, Level)> = sample.causes().collect();
        causes.sort_by_key(|(cause, level)| (std::cmp::Reverse(*level), *cause));
        let seen = causes.first().map_or(Level::Normal, |(_, level)| *level);
        for (count, level) in self.above.iter_mut().zip(Level::ALL) {
            *count = if seen >= level { count.saturating_add(1) } else { 0 };
        }
        let before = self.state.clone();
        let risen = Level::ALL.into_iter().zip(self.above).filter(|(_, count)| *count >= self.pace.samples);
        let risen = risen.map(|(level, _)| level).max().unwrap_or_default();
        if risen > self.state.level {
            self.state.level = risen;
            self.pressed_ns = now_ns;
        } else if seen >= self.state.level {
            self.pressed_ns = now_ns;
        } else if now_ns.saturating_sub(self.pressed_ns) >= self.pace.calm_ns {
            self.state.level = self.state.level.below();
            self.pressed_ns = now_ns;
        }
        let level = self.state.level;
        // While it holds its level by hysteresis only, what brought it there stands.
        if level == Level::Normal {
            self.state.causes.clear();
        } else if seen >= level {
            self.state.causes = causes.iter().map(|(cause, _)| *cause).collect();
        }
        self.bitrate(now_ns, &causes);
        self.state.shed = self.shed();
        (self.state != before).then_some(&self.state)
    }

    /// Down while what presses to the utmost is relieved by it; back once the level is lower.
    fn bitrate(&mut self, now_ns: u64, causes: &[(Cause, Level)]) {
        let presses = |(cause, level): &(Cause, Level)| *level == Level::Critical && cause.is_relieved_by_bitrate();
        let due = now_ns.saturating_sub(self.stepped_ns) >= self.pace.step_ns || self.stepped_ns == 0;
        let percent = self.state.bitrate_percent;
        let wanted = match self.state.level {
            Level::Critical if causes.iter().any(presses) => percent.saturating_sub(STEP_PERCENT).max(LEAST_PERCENT),
            Level::Critical => percent,
            _ => (percent + STEP_PERCENT).min(FULL_PERCENT),
        };
        if wanted != percent && due {
            self.state.bitrate_percent = wanted;
            self.stepped_ns = now_ns.max(1);
        }
    }

    fn shed(&self) -> Vec<Shed> {
        use Shed::{Archive, Bitrate, PreviewRate, Previews, Telemetry, Updates};
        let mut shed = match self.state.level {
            Level::Normal => Vec::new(),
            Level::Warn => vec![PreviewRate],
            Level::Degrade | Level::Critical => vec![PreviewRate, Previews, Telemetry, Archive, Updates],
        };
        if self.state.bitrate_percent < FULL_PERCENT {
            shed.push(Bitrate);
        }
        shed
    }
}

#[cfg(test)]
mod tests;
