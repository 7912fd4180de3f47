//! Counts what a recording amounted to, from the numbers in the pictures that are on disk.

use std::path::PathBuf;

use anyhow::Context;

use super::stage::VICTIM;
use crate::demo::account::{Account, Gap, account, frame_duration_ns};
use crate::demo::footage::Footage;

/// What a recording with a fault in it amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Of the victim.
    pub lost: u64,
    /// Missing without a reason on record, of both; and frames that were told as safe and are not there.
    pub unaccounted: u64,
    /// Of the bystander.
    pub beside: u64,
    pub safe: u64,
    /// From one safe frame of the victim to the next, and how long they take together.
    pub steps: u64,
    pub span_ns: u64,
}

impl Losses {
    pub fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.unaccounted += other.unaccounted;
        self.beside += other.beside;
        self.safe += other.safe;
        self.steps += other.steps;
        self.span_ns += other.span_ns;
    }

    /// Safe frames of the victim a second.
    pub fn pace(&self) -> Option<f64> {
        (self.span_ns > 0).then(|| self.steps as f64 * 1e9 / self.span_ns as f64)
    }
}

/// All that is on disk. Each of the `sessions`, oldest first, may lie in several places. `damaged`: pictures were damaged on their
/// way in, so that not all of them have a number.
pub fn count(sessions: &[Vec<PathBuf>], inputs: &[&'static str], damaged: bool) -> anyhow::Result<Losses> {
    let mut losses = Losses::default();
    for input in inputs {
        let footage = read(sessions, input, damaged).with_context(|| format!("{input} in {sessions:?}"))?;
        let counted: Account =
            account(&footage.pictures, &footage.gaps, frame_duration_ns(&footage.pictures), footage.dropped);
        losses.unaccounted += counted.unaccounted_frames;
        losses.safe += counted.safe_frames;
        if *input == VICTIM {
            losses.lost += counted.lost_frames;
            if let [first, .., last] = &footage.pictures[..] {
                losses.steps += counted.safe_frames.saturating_sub(1);
                losses.span_ns += last.mono_ns.saturating_sub(first.mono_ns);
            }
        } else {
            losses.beside += counted.lost_frames;
        }
    }
    Ok(losses)
}

fn read(sessions: &[Vec<PathBuf>], input: &str, damaged: bool) -> anyhow::Result<Footage> {
    let mut all = Footage::default();
    for places in sessions {
        let mut session = Footage::default();
        for place in places.iter().map(|place| place.join(input)).filter(|place| place.is_dir()) {
            for entry in std::fs::read_dir(&place)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "part") {
                    holdfast_segment::recover::recover(&path, None)?;
                }
            }
            let footage = if damaged { Footage::read_times(&place)? } else { Footage::read(&place)? };
            session.gaps.extend(footage.gaps);
            session.pictures.extend(footage.pictures);
            session.dropped += footage.dropped;
        }
        session.pictures.sort_by_key(|picture| picture.mono_ns);
        if let (Some(last), Some(first)) = (all.pictures.last(), session.pictures.first()) {
            // Closed, as was told, and begun anew: what came in between is as lost as any other picture.
            let cause = "closed".to_owned();
            all.gaps.push(Gap { cause, start_ns: last.mono_ns, end_ns: first.mono_ns });
        }
        all.gaps.extend(session.gaps);
        all.pictures.extend(session.pictures);
        all.dropped += session.dropped;
    }
    Ok(all)
}
