//! What is looked at, how often, what is too much, and what follows: one table. `docs/health.md` shows it; a test holds the two
//! together.
//!
//! The constants here are the ones that the checks go by. What a capture says of itself is judged where it is heard
//! (`captures/judge.rs`), what the kernel says of it by [`watcher`]. Neither ever waits for the other, and nothing here can hold
//! up a recording: looking into `/proc` and `/sys` is done by two threads of the lowest priority ([`telemetry`]), looking at sources
//! by processes of the lowest priority, two at a time ([`crate::probing`]).

pub mod clock;
pub mod process;
pub mod rate;
pub mod stages;
pub mod telemetry;
pub mod thermal;
pub mod watcher;

use std::time::Duration;

use holdfast_dbus::AlertCode;

/// A capture tells how it goes at least every 500 ms. Without a word for so long (three were due) it is silent.
pub const SILENCE: Duration = Duration::from_millis(1500);
/// Silent for so long, it is ended and replaced. Ten messages are missing by then, so this is no passing load; and most of what
/// makes a process silent (stopped, hung, thrashing) keeps it from recording too, so that waiting longer only loses more.
pub const SILENCE_ENDS: Duration = Duration::from_secs(5);
/// A stage whose counter has not moved for so long stands still (longer where its steps are usually longer).
pub const STAGE_STANDS: Duration = Duration::from_millis(1400);
/// Frames that come further apart are late.
pub const LATE: Duration = Duration::from_millis(500);
/// An alert about mishaps that were counted is cleared when none has been added for so long.
pub const QUIET: Duration = Duration::from_secs(60);
/// The rate is that of so many seconds.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);
/// A recording is not called low before it was watched for so long.
pub const RATE_LEARNING: Duration = Duration::from_secs(60);
/// Of what the recording usually yields.
pub const RATE_LOW_PERCENT: u64 = 20;
/// How often processes are looked at while something is recorded: looking costs, too.
pub const LOOK_RECORDING: Duration = Duration::from_secs(10);
/// How often otherwise.
pub const LOOK_IDLE: Duration = Duration::from_secs(5);
/// At most so many looks at a time.
pub const LOOKS_AT_A_TIME: usize = 2;
/// A look that takes longer is given up.
pub const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// How often the source of an input that nobody records is probed while something is recorded.
pub const PROBE_RECORDING: Duration = Duration::from_secs(10);
/// How often otherwise. Each probe costs the camera a connection and a line in its log, and a box may be idle for weeks; yet who has
/// put a cable back sees that it is right before he has walked round to the button.
pub const PROBE_IDLE: Duration = Duration::from_secs(30);
/// The first probe of a source comes so long after its capture has gone, and so long after that of the input before.
pub const PROBE_SETTLES: Duration = Duration::from_secs(1);
/// A source is said to be out of reach when so many probes in a row had no end.
pub const PROBE_SILENCES: u32 = 2;
/// The CPU is too busy only if it has been for so many looks.
pub const CPU_LOOKS: u32 = 3;
/// A process that has ended and was not collected in so many looks is a zombie.
pub const ZOMBIE_LOOKS: u32 = 2;
/// How often clocks are compared.
pub const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// A wall clock that moves against the monotonic one by more was set.
pub const CLOCK_STEP: Duration = Duration::from_secs(1);
/// The alert about it stays for so long.
pub const CLOCK_STEP_TOLD: Duration = Duration::from_secs(600);
/// How often temperatures are read.
pub const HEAT_LOOK: Duration = Duration::from_secs(10);
/// Hot: so many degrees below the one at which the kernel switches the box off.
pub const HOT_BELOW_CRITICAL: i32 = 15;
/// Too hot: so many below it.
pub const SCORCHING_BELOW_CRITICAL: i32 = 5;
/// Hot, where that is not known.
pub const HOT_UNKNOWN: i32 = 85;
/// Too hot, where that is not known.
pub const SCORCHING_UNKNOWN: i32 = 95;

/// How often a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// When it happens: nobody has to look.
    Event,
    /// With every message of the capture: after each safe chunk, at least every 500 ms.
    Message,
    /// So often.
    Time(Duration),
    /// So often while something is recorded, and so often otherwise.
    Times(Duration, Duration),
}

/// What is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// That it happens at all.
    Any,
    /// So long.
    Time(Duration),
    /// So many in a row.
    Failures(u32),
    /// Less than so many percent of the usual.
    Percent(u64),
    /// The value of this key in the configuration.
    Key(&'static str),
    /// So many degrees below the end; or so many degrees.
    Degrees(i32, i32),
    /// Before this program was made.
    BeforeBuilt,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// In one word.
    pub name: &'static str,
    /// What is looked at.
    pub what: &'static str,
    /// How often.
    pub every: Every,
    /// What is too much.
    pub limit: Limit,
    /// What is raised.
    pub alert: AlertCode,
    /// What is done about it.
    pub action: &'static str,
}

const fn check(
    name: &'static str,
    what: &'static str,
    every: Every,
    limit: Limit,
    alert: AlertCode,
    action: &'static str,
) -> Check {
    Check { name, what, every, limit, alert, action }
}

/// How often processes are looked at.
const LOOK: Every = Every::Times(LOOK_RECORDING, LOOK_IDLE);

/// All checks.
pub const CHECKS: &[Check] = &[
    check(
        "death",
        "the capture's process (pidfd)",
        Every::Event,
        Limit::Any,
        AlertCode::CaptureDied,
        "started again at once; if it fails again after 5 s, three times; then every 30 s, for ever",
    ),
    check(
        "attempts",
        "failures of an input in a row: deaths, failed starts, refusals",
        Every::Event,
        Limit::Failures(crate::failsafe::ATTEMPTS + 2),
        AlertCode::InputFailing,
        "tried every 30 s, for ever; a new recording tries at once; cleared after 10 s of health",
    ),
    check(
        "silence",
        "messages of the capture",
        Every::Message,
        Limit::Time(SILENCE),
        AlertCode::CaptureSilent,
        "after 5 s ended and replaced, unless one of its threads waits in the kernel (for a disk): then left alone",
    ),
    check(
        "source",
        "frames from the source",
        Every::Message,
        Limit::Time(STAGE_STANDS),
        AlertCode::SourceStalled,
        "the capture connects to the source anew",
    ),
    check(
        "encoder",
        "frames that leave the encoder, while frames come in",
        Every::Message,
        Limit::Time(STAGE_STANDS),
        AlertCode::EncoderStalled,
        "the capture replaces the encoder",
    ),
    check(
        "muxer",
        "frames put into chunks, while frames leave the encoder",
        Every::Message,
        Limit::Time(STAGE_STANDS),
        AlertCode::MuxerStalled,
        "none: footage waits in memory",
    ),
    check(
        "disk",
        "frames made safe, while chunks wait",
        Every::Message,
        Limit::Time(STAGE_STANDS),
        AlertCode::DiskStalled,
        "none: footage waits in memory, as much as recording.buffer_mib",
    ),
    check(
        "attempts of the source",
        "what the capture says of its source",
        Every::Event,
        Limit::Any,
        AlertCode::SourceFailed,
        "the capture tries for ever, every 30 s at the latest; after one that delivered, within 5 s or twice that time",
    ),
    check(
        "failures of the encoder",
        "what the capture says of its encoder",
        Every::Event,
        Limit::Any,
        AlertCode::EncoderFailed,
        "the capture replaces the encoder",
    ),
    check(
        "possibility",
        "what the capture says of its configuration",
        Every::Event,
        Limit::Any,
        AlertCode::InputConfiguration,
        "the capture tries for ever, every 30 s at the latest",
    ),
    check(
        "writing",
        "what the capture says of writing",
        Every::Event,
        Limit::Any,
        AlertCode::WriteFailed,
        "the capture goes on with a new file",
    ),
    check(
        "losses",
        "frames lost, other than before the first keyframe",
        Every::Message,
        Limit::Any,
        AlertCode::FramesDropped,
        "counted by reason; cleared after 60 s without",
    ),
    check(
        "late frames",
        "the interval between two frames of the source",
        Every::Message,
        Limit::Time(LATE),
        AlertCode::FramesLate,
        "counted; cleared after 60 s without",
    ),
    check(
        "rate",
        "bytes made safe over 30 s, against what the recording usually yields",
        Every::Message,
        Limit::Percent(RATE_LOW_PERCENT),
        AlertCode::RateLow,
        "none",
    ),
    check(
        "memory",
        "the capture's memory, resident and swapped",
        LOOK,
        Limit::Key("protection.memory_alert_mib"),
        AlertCode::MemoryHigh,
        "none: recording goes on",
    ),
    check(
        "cpu",
        "the capture's share of the CPU, in three looks one after the other; 100 is one core",
        LOOK,
        Limit::Key("protection.cpu_alert_percent"),
        AlertCode::CpuHigh,
        "none: recording goes on",
    ),
    check(
        "zombie",
        "a capture that has ended, in two looks one after the other",
        LOOK,
        Limit::Any,
        AlertCode::Zombie,
        "none",
    ),
    check(
        "reach",
        "whether the source of an input that no capture serves answers",
        Every::Times(PROBE_RECORDING, PROBE_IDLE),
        Limit::Any,
        AlertCode::InputUnreachable,
        "none: a recording tries all the same; cleared when it answers, or when a capture serves the input",
    ),
    check(
        "clock step",
        "the wall clock against the one that never jumps",
        Every::Time(CLOCK_LOOK),
        Limit::Time(CLOCK_STEP),
        AlertCode::ClockStepped,
        "none: order and durations don't depend on it; cleared after 10 minutes",
    ),
    check(
        "clock",
        "the wall clock",
        Every::Time(CLOCK_LOOK),
        Limit::BeforeBuilt,
        AlertCode::ClockWrong,
        "none: order and durations don't depend on it",
    ),
    check(
        "temperature",
        "the kernel's thermal zones",
        Every::Time(HEAT_LOOK),
        Limit::Degrees(HOT_BELOW_CRITICAL, HOT_UNKNOWN),
        AlertCode::TemperatureHigh,
        "none",
    ),
    check(
        "heat",
        "the kernel's thermal zones",
        Every::Time(HEAT_LOOK),
        Limit::Degrees(SCORCHING_BELOW_CRITICAL, SCORCHING_UNKNOWN),
        AlertCode::TemperatureCritical,
        "load is shed",
    ),
];

/// Tells the log what is looked at, for whoever asks it to be that talkative.
fn tell() {
    for Check { name, what, every, limit, alert, action } in CHECKS {
        tracing::debug!(check = name, what, ?every, ?limit, alert = alert.name(), action, "is looked at");
    }
}

/// Durations here are far shorter than 584 years.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{CHECKS, Check, Every, Limit, SILENCE_ENDS};
    use crate::failsafe;
    use std::collections::BTreeSet;
    use std::time::Duration;

    const PAGE: &str = include_str!("../../../docs/health.md");

    fn time(duration: Duration) -> String {
        match duration.as_millis() {
            ms if ms % 1000 == 0 => format!("{} s", ms / 1000),
            ms => format!("{ms} ms"),
        }
    }

    fn row(check: &Check) -> String {
        let every = match check.every {
            Every::Event => "when it happens".to_owned(),
            Every::Message => "with every message, ≤ 500 ms".to_owned(),
            Every::Time(every) => time(every),
            Every::Times(recording, idle) => format!("{}, {} when idle", time(recording), time(idle)),
        };
        let limit = match check.limit {
            Limit::Any => "any".to_owned(),
            Limit::Time(limit) => format!("more than {}", time(limit)),
            Limit::Failures(count) => count.to_string(),
            Limit::Percent(percent) => format!("less than {percent} %"),
            Limit::Key(key) => format!("`{key}`"),
            Limit::Degrees(below, unknown) => format!("{below} °C below switching off, or {unknown} °C"),
            Limit::BeforeBuilt => "before 2026".to_owned(),
        };
        format!("| {} | {} | {every} | {limit} | `{}` | {} |", check.name, check.what, check.alert.name(), check.action)
    }

    #[test]
    fn the_page_shows_the_table() {
        let wanted: Vec<String> = CHECKS.iter().map(row).collect();
        let mut lines = PAGE.lines().skip_while(|line| !line.starts_with("| check |"));
        let found: Vec<&str> = lines.by_ref().take_while(|line| line.starts_with('|')).skip(2).collect();
        assert_eq!(found, wanted, "docs/health.md should have:\n{}", wanted.join("\n"));
    }

    #[test]
    fn what_the_table_says_in_words_is_what_holds() {
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        let seconds = [failsafe::COOLDOWN_NS, failsafe::PROBE_NS, failsafe::HEALTHY_NS].map(|ns| ns / 1_000_000_000);
        assert_eq!((seconds, failsafe::ATTEMPTS), ([5, 30, 10], 3));
        assert_eq!((SILENCE_ENDS.as_secs(), super::QUIET.as_secs(), super::RATE_WINDOW.as_secs()), (5, 60, 30));
        assert_eq!((super::CPU_LOOKS, super::ZOMBIE_LOOKS, super::CLOCK_STEP_TOLD.as_secs()), (3, 2, 600));
    }
}
