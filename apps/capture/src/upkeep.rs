//! What the control thread looks after beside talking: the watchdog, clock steps, a thread that hangs, and a capture that
//! nobody needs any more. Pure: clocks and facts are handed in.

use std::time::Duration;

use crate::clock::{NS_PER_MS, NS_PER_S};
use crate::state::Signs;

/// A capture that records nothing and has had no recorder for so long ends, unless systemd looks after it: it would only hold
/// its camera.
pub const ALONE: Duration = Duration::from_secs(60);
/// A writer takes a turn at least every few seconds, unless it waits for the disk.
const WRITER_PATIENCE_NS: u64 = 15 * NS_PER_S;
/// Building and ending a pipeline, encoders' probes included, takes less.
const SOURCE_PATIENCE_NS: u64 = 90 * NS_PER_S;
/// NTP slews; whoever moves the clock by more at once has set it.
const STEP_NS: u64 = NS_PER_S;
/// How often the clock is looked at.
const CLOCK_LOOK_NS: u64 = 5 * NS_PER_S;
/// Never more often than this, however short the watchdog's time is.
const SHORTEST_NS: u64 = 100 * NS_PER_MS;

/// What there is to see.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// `CLOCK_MONOTONIC`.
    pub now_ns: u64,
    /// Unix time.
    pub wall_ns: i64,
    /// Somebody is connected.
    pub has_peers: bool,
    /// A session is recorded.
    pub recording: bool,
    /// What the other threads are at.
    pub signs: Signs,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Tell the watchdog that all threads get on.
    FeedWatchdog,
    /// End: nobody is there, and nothing is recorded.
    EndAlone,
    /// Tell that the wall clock was set, by so much.
    TellStep {
        /// Forward is positive.
        by_ns: i64,
    },
    /// The source's thread hangs, and only another process can help.
    LeaveForSource,
}

/// See the module.
#[derive(Debug)]
pub struct Upkeep {
    /// Between two feedings.
    watchdog_ns: Option<u64>,
    fed_ns: u64,
    /// `None`: it never ends by itself.
    alone_ns: Option<u64>,
    alone_since_ns: Option<u64>,
    /// Wall less monotonic clock.
    offset_ns: Option<i128>,
    left: bool,
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Upkeep {
    /// `watchdog`: it bites after this. `alone`: how long nobody may be there.
    #[must_use]
    pub fn new(watchdog: Option<Duration>, alone: Option<Duration>) -> Self {
        Self {
            watchdog_ns: watchdog.map(|bites| (nanos(bites) / 3).max(SHORTEST_NS)),
            fed_ns: 0,
            alone_ns: alone.map(nanos),
            alone_since_ns: None,
            offset_ns: None,
            left: false,
        }
    }

    /// What is due.
    pub fn look(&mut self, look: &Look) -> Vec<Duty> {
        let mut duties = Vec::new();
        duties.extend(self.step(look));
        if self.is_alone(look) {
            duties.push(Duty::EndAlone);
        }
        let busy_ns = match look.signs.source_busy_ns {
            0 => 0,
            since_ns => look.now_ns.saturating_sub(since_ns),
        };
        // Nobody would start it again: then a source that may come back is better than none.
        if busy_ns >= SOURCE_PATIENCE_NS && look.has_peers && !std::mem::replace(&mut self.left, true) {
            duties.push(Duty::LeaveForSource);
        }
        let due = self.watchdog_ns.is_some_and(|period_ns| look.now_ns.saturating_sub(self.fed_ns) >= period_ns);
        if due && writer_gets_on(look) {
            self.fed_ns = look.now_ns;
            duties.push(Duty::FeedWatchdog);
        }
        duties
    }

    /// How long the thread may sleep until it has to look again; `None`: for ever.
    #[must_use]
    pub fn patience_ns(&self, now_ns: u64, recording: bool, has_peers: bool) -> Option<u64> {
        let watchdog = self.watchdog_ns.map(|period_ns| (self.fed_ns + period_ns).saturating_sub(now_ns));
        let alone = match (self.alone_ns, self.alone_since_ns) {
            (Some(alone_ns), Some(since_ns)) => Some((since_ns + alone_ns).saturating_sub(now_ns)),
            // The last peer has gone after the last look: its time is counted from the next one, which must come.
            (Some(_), None) if !recording && !has_peers => Some(0),
            _ => None,
        };
        let clock = recording.then_some(CLOCK_LOOK_NS);
        // A duty that cannot be done now (nothing but the watchdog of a hanging writer) is no reason to spin.
        [watchdog, alone, clock].into_iter().flatten().min().map(|rest_ns| rest_ns.max(SHORTEST_NS))
    }

    fn is_alone(&mut self, look: &Look) -> bool {
        let Some(alone_ns) = self.alone_ns else { return false };
        if look.has_peers || look.recording {
            self.alone_since_ns = None;
            return false;
        }
        look.now_ns - *self.alone_since_ns.get_or_insert(look.now_ns) >= alone_ns
    }

    fn step(&mut self, look: &Look) -> Option<Duty> {
        let offset_ns = i128::from(look.wall_ns) - i128::from(look.now_ns);
        let by_ns = offset_ns - self.offset_ns.replace(offset_ns)?;
        let stepped = by_ns.unsigned_abs() > u128::from(STEP_NS);
        stepped.then(|| Duty::TellStep { by_ns: i64::try_from(by_ns).unwrap_or(i64::MAX) })
    }
}

/// A writer that waits for the disk gets on: no watchdog can free it (the kernel does not let go of a process that waits for a
/// disk), and killing it would lose what waits in its queue. The disk has alerts of its own.
fn writer_gets_on(look: &Look) -> bool {
    look.signs.disk_since_ns != 0 || look.now_ns.saturating_sub(look.signs.writer_turn_ns) < WRITER_PATIENCE_NS
}

#[cfg(test)]
mod tests {
    use super::{Duty, Look, Upkeep};
    use crate::state::Signs;
    use std::time::Duration;

    const S: u64 = 1_000_000_000;

    fn at(seconds: u64) -> Look {
        Look {
            now_ns: seconds * S,
            wall_ns: 1_795_245_303 * 1_000_000_000 + i64::try_from(seconds * S).unwrap(),
            has_peers: true,
            recording: true,
            signs: Signs { writer_turn_ns: seconds * S, disk_since_ns: 0, source_busy_ns: 0 },
        }
    }

    #[test]
    fn the_watchdog_is_fed_by_progress() {
        let mut upkeep = Upkeep::new(Some(Duration::from_secs(30)), None);
        assert_eq!(upkeep.look(&at(100)), [Duty::FeedWatchdog]);
        assert_eq!(upkeep.look(&at(105)), []);
        assert_eq!(upkeep.patience_ns(105 * S, false, true), Some(5 * S));
        assert_eq!(upkeep.look(&at(110)), [Duty::FeedWatchdog]);
        // The writer hangs: nobody feeds, and nobody spins.
        let hangs = |seconds| Look { signs: Signs { writer_turn_ns: 110 * S, ..at(0).signs }, ..at(seconds) };
        assert_eq!(upkeep.look(&hangs(124)), [Duty::FeedWatchdog]);
        assert_eq!(upkeep.look(&hangs(140)), []);
        assert!(upkeep.patience_ns(140 * S, true, true).unwrap() > 0);
        // It waits for the disk: that is no reason to kill it.
        let stalled =
            Look { signs: Signs { writer_turn_ns: 110 * S, disk_since_ns: 111 * S, source_busy_ns: 0 }, ..at(600) };
        assert_eq!(upkeep.look(&stalled), [Duty::FeedWatchdog]);
        assert_eq!(Upkeep::new(None, None).look(&at(5)), []);
        assert_eq!(Upkeep::new(None, None).patience_ns(5, false, false), None);
    }

    #[test]
    fn only_an_idle_capture_that_nobody_needs_ends() {
        let mut upkeep = Upkeep::new(None, Some(Duration::from_secs(60)));
        let idle = |seconds| Look { has_peers: false, recording: false, ..at(seconds) };
        assert!(upkeep.patience_ns(0, false, false).is_some_and(|ns| ns < S), "nobody has looked yet");
        assert_eq!(upkeep.look(&idle(0)), []);
        assert_eq!(upkeep.patience_ns(0, false, false), Some(60 * S));
        assert_eq!(upkeep.look(&idle(59)), []);
        assert_eq!(upkeep.look(&Look { recording: true, ..idle(61) }), [], "it records");
        assert_eq!(upkeep.look(&Look { recording: true, ..idle(10_000) }), [], "for ever");
        assert_eq!(upkeep.look(&idle(10_001)), [], "counted from the end of the recording");
        assert_eq!(upkeep.look(&Look { has_peers: true, ..idle(10_060) }), []);
        assert_eq!(upkeep.look(&idle(10_062)), []);
        assert_eq!(upkeep.look(&idle(10_122)), [Duty::EndAlone]);
        let mut unit = Upkeep::new(None, None);
        assert_eq!([unit.look(&idle(0)), unit.look(&idle(10_000))], [[], []], "systemd looks after it");
    }

    #[test]
    fn a_step_of_the_clock_is_told_once_and_slewing_never() {
        let mut upkeep = Upkeep::new(None, None);
        let hour = 3600 * 1_000_000_000_i64;
        let set = |seconds: u64, by_ns: i64| Look { wall_ns: at(seconds).wall_ns + by_ns, ..at(seconds) };
        assert_eq!(upkeep.look(&at(0)), []);
        assert_eq!(upkeep.look(&set(5, 2_500_000)), [], "slewed");
        assert_eq!(upkeep.look(&set(10, 3 * hour)), [Duty::TellStep { by_ns: 3 * hour - 2_500_000 }]);
        assert_eq!(upkeep.look(&set(15, 3 * hour)), []);
        assert_eq!(upkeep.look(&set(20, 0)), [Duty::TellStep { by_ns: -3 * hour }]);
        // No clock at boot: 1970, and then it is known.
        let mut young = Upkeep::new(None, None);
        assert_eq!(young.look(&Look { wall_ns: 5, ..at(0) }), []);
        assert!(matches!(young.look(&at(1))[..], [Duty::TellStep { .. }]));
    }

    #[test]
    fn a_source_that_hangs_is_left_only_if_somebody_starts_us_again() {
        let mut upkeep = Upkeep::new(None, None);
        let busy = |seconds| Look { signs: Signs { source_busy_ns: S, ..at(seconds).signs }, ..at(seconds) };
        assert_eq!(upkeep.look(&busy(80)), []);
        assert_eq!(upkeep.look(&Look { has_peers: false, ..busy(100) }), []);
        assert_eq!(upkeep.look(&busy(101)), [Duty::LeaveForSource]);
        assert_eq!(upkeep.look(&busy(102)), [], "once");
    }
}
