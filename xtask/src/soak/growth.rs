//! Whether a process grows while it lives.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process;

/// A process that is younger is still warming up.
const WARM: Duration = Duration::from_secs(45);
/// A younger one tells nothing.
const TELLING: Duration = Duration::from_secs(180);
/// Memory of a process that does not grow wavers by less than both of these. A leak of an hour is either.
const WAVERS_PERCENT: f64 = 10.0;
const WAVERS_KIB: u64 = 4096;
/// Connections come and go with the camera; what leaks comes with each fault, and there are hundreds.
const WAVERS_FDS: u64 = 4;

/// What was seen of one process at one time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    age: Duration,
    rss_kib: u64,
    fds: u64,
}

/// One process over its life.
#[derive(Debug, Clone)]
pub struct Life {
    name: String,
    begun: Instant,
    samples: Vec<Sample>,
}

impl Life {
    fn age(&self) -> Duration {
        self.samples.last().map(|sample| sample.age).unwrap_or_default()
    }

    /// Typical for the first quarter of its life after it was warm, and for the last.
    fn quarters(&self, of: impl Fn(&Sample) -> u64) -> (u64, u64) {
        let warm: Vec<u64> = self.samples.iter().filter(|sample| sample.age >= WARM).map(of).collect();
        let quarter = warm.len().div_ceil(4);
        (median(&warm[..quarter]), median(&warm[warm.len() - quarter..]))
    }

    fn rss_growth_percent(&self) -> f64 {
        let (first, last) = self.quarters(|sample| sample.rss_kib);
        (last as f64 - first as f64) / (first as f64).max(1.0) * 100.0
    }

    fn fds_growth(&self) -> u64 {
        let (first, last) = self.quarters(|sample| sample.fds);
        last.saturating_sub(first)
    }

    /// What is not as it should be.
    fn complaint(&self) -> Option<String> {
        let (rss_first, rss_last) = self.quarters(|sample| sample.rss_kib);
        let (name, minutes) = (&self.name, self.age().as_secs() / 60);
        if self.rss_growth_percent() > WAVERS_PERCENT && rss_last.saturating_sub(rss_first) > WAVERS_KIB {
            return Some(format!("{name} grew from {rss_first} to {rss_last} KiB in {minutes} minutes"));
        }
        let grown = self.fds_growth();
        (grown > WAVERS_FDS).then(|| format!("{name} has {grown} more descriptors open after {minutes} minutes"))
    }

    fn json(&self) -> Value {
        let (rss, fds) = (self.quarters(|sample| sample.rss_kib), self.quarters(|sample| sample.fds));
        json!({ "process": self.name, "seconds": self.age().as_secs(), "rss_kib": [rss.0, rss.1], "fds": [fds.0, fds.1] })
    }
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// All processes of a run.
#[derive(Debug, Default)]
pub struct Lives(BTreeMap<u32, Life>);

impl Lives {
    /// Memory and descriptors of all that were started with this argument, now.
    pub fn sample(&mut self, argument: &OsStr) {
        for pid in process::with_argument(argument) {
            let Some((rss_kib, fds)) = process::usage(pid) else { continue };
            let now = Instant::now();
            let new = || Life { name: name(pid), begun: now, samples: Vec::new() };
            let life = self.0.entry(pid).or_insert_with(new);
            life.samples.push(Sample { age: now.duration_since(life.begun), rss_kib, fds });
        }
    }

    /// Those that are long enough to tell; the longest where none is.
    fn telling(&self) -> impl Iterator<Item = &Life> {
        let longest = self.0.values().map(Life::age).max().unwrap_or_default();
        self.0.values().filter(move |life| life.age() >= TELLING.min(longest))
    }

    /// The most that one of them grew.
    pub fn rss_growth_percent(&self) -> f64 {
        self.telling().map(Life::rss_growth_percent).fold(0.0, f64::max)
    }

    /// Likewise, descriptors.
    pub fn fds_growth(&self) -> u64 {
        self.telling().map(Life::fds_growth).max().unwrap_or(0)
    }

    /// What is not as it should be.
    pub fn complaints(&self) -> Vec<String> {
        self.telling().filter(|life| life.age() >= TELLING).filter_map(Life::complaint).collect()
    }

    /// The longest life of each kind of process.
    pub fn longest(&self) -> Vec<Value> {
        let mut longest: BTreeMap<&str, &Life> = BTreeMap::new();
        for life in self.0.values() {
            let kept = longest.entry(&life.name).or_insert(life);
            if life.age() > kept.age() {
                *kept = life;
            }
        }
        longest.values().map(|life| life.json()).collect()
    }
}

/// The program, and the input it was started for.
fn name(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split('\0');
    let program = words.next().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    match words.skip_while(|word| *word != "--input").nth(1) {
        Some(input) => format!("{program} {input}"),
        None => program,
    }
}

#[cfg(test)]
mod tests {
    use super::{Life, Sample};
    use std::time::{Duration, Instant};

    fn life(rss_kib: impl Fn(u64) -> u64, fds: impl Fn(u64) -> u64) -> Life {
        let samples =
            (0..1000).map(|s| Sample { age: Duration::from_secs(s), rss_kib: rss_kib(s), fds: fds(s) }).collect();
        Life { name: "some".to_owned(), begun: Instant::now(), samples }
    }

    #[test]
    fn what_wavers_does_not_grow_and_what_leaks_does() {
        // Warms up, and wavers.
        let flat = life(|s| 50_000 + 300 * s.min(40) + s % 7 * 100, |s| 30 + s % 3);
        assert_eq!(flat.complaint(), None, "{flat:?}");
        assert!(life(|s| 50_000 + 15 * s, |_| 30).complaint().unwrap().contains("grew from"));
        assert!(life(|_| 50_000, |s| 30 + s / 60).complaint().unwrap().contains("descriptors"));
        assert_eq!(life(|s| 5000 + s, |_| 30).complaint(), None, "a little of a little is no leak yet");
    }
}
