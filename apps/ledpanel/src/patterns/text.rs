//! Two lines of sixteen characters.

use super::{Extras, beside};
use crate::truth::{Condition, Conditions};

const WIDTH: usize = 16;
const SECOND_NS: u64 = 1_000_000_000;

/// The state with the session's time; below it what matters most beside, else how long the room lasts.
pub(super) fn lines(conditions: &Conditions, extras: &Extras, now_ns: u64) -> [String; 2] {
    let state = first(conditions, extras, now_ns);
    let clock = conditions.session_since_ns.map(|since_ns| clock(now_ns.saturating_sub(since_ns) / SECOND_NS));
    let first = match (state, clock) {
        (Some((condition, words)), Some(clock)) if has_clock(condition) => format!("{words} {clock}"),
        (Some((_, words)), _) => words.to_owned(),
        (None, _) => String::new(),
    };
    let beside =
        all(conditions, extras, now_ns).filter_map(|c| note(c).map(|words| (c, words))).max_by_key(|(c, _)| *c);
    let stalled = conditions.inputs.iter().find(|(_, standing)| standing.contains_key(&Condition::Stalled));
    let second = match (stalled, beside, conditions.seconds_left) {
        (Some((name, _)), _, _) => format!("{} stalls", shorten(name, WIDTH - " stalls".len())),
        (None, Some((Condition::StorageLow(_), words)), Some(seconds)) => format!("{words} {}", left(seconds)),
        (None, Some((_, words)), _) => words.to_owned(),
        (None, None, Some(seconds)) => left(seconds),
        (None, None, None) => String::new(),
    };
    [shorten(&first, WIDTH), shorten(&second, WIDTH)]
}

/// When the session's time shows its next second.
pub(super) fn next_change_ns(conditions: &Conditions, extras: &Extras, now_ns: u64) -> Option<u64> {
    first(conditions, extras, now_ns).filter(|(condition, _)| has_clock(*condition))?;
    let since_ns = conditions.session_since_ns?;
    match now_ns.checked_sub(since_ns) {
        Some(passed_ns) => now_ns.checked_add(SECOND_NS - passed_ns % SECOND_NS),
        None => since_ns.checked_add(SECOND_NS),
    }
}

fn all(conditions: &Conditions, extras: &Extras, now_ns: u64) -> impl Iterator<Item = Condition> {
    conditions.whole.keys().copied().chain(beside(extras, now_ns).map(|(condition, _)| condition))
}

fn first(conditions: &Conditions, extras: &Extras, now_ns: u64) -> Option<(Condition, &'static str)> {
    all(conditions, extras, now_ns).filter_map(|c| state(c).map(|words| (c, words))).max_by_key(|(c, _)| *c)
}

fn has_clock(condition: Condition) -> bool {
    matches!(condition, Condition::Recording | Condition::Stalled)
}

/// What the first line says.
fn state(condition: Condition) -> Option<&'static str> {
    match condition {
        Condition::Ready => Some("READY"),
        Condition::Resting => Some("RESTING"),
        Condition::NotPossible => Some("NOT POSSIBLE"),
        Condition::Recording => Some("REC"),
        Condition::Starting => Some("STARTING"),
        Condition::Stopping => Some("STOPPING"),
        Condition::Identify => Some("HERE I AM"),
        Condition::Stalled => Some("STALL"),
        Condition::Fault => Some("NO RECORDER"),
        Condition::Holding => Some("KEEP HOLDING"),
        Condition::Refused => Some("REFUSED"),
        Condition::LampTest => Some("LAMP TEST"),
        Condition::Armed
        | Condition::Warning
        | Condition::UpdateAvailable
        | Condition::UpdateCopying
        | Condition::StorageLow(_)
        | Condition::TrialBoot
        | Condition::Updating
        | Condition::Critical
        | Condition::Acknowledged => None,
    }
}

/// What the second line says.
fn note(condition: Condition) -> Option<&'static str> {
    match condition {
        Condition::Warning => Some("WARNING"),
        Condition::StorageLow(_) => Some("LOW"),
        Condition::UpdateAvailable => Some("UPDATE"),
        Condition::UpdateCopying => Some("LEAVE STICK IN"),
        Condition::TrialBoot => Some("TRIAL BOOT"),
        Condition::Updating => Some("UPDATING"),
        Condition::Critical => Some("LOOK NOW"),
        Condition::Fault => Some("may still record"),
        Condition::Ready
        | Condition::Resting
        | Condition::Armed
        | Condition::NotPossible
        | Condition::Recording
        | Condition::Starting
        | Condition::Stopping
        | Condition::Identify
        | Condition::Stalled
        | Condition::Acknowledged
        | Condition::Holding
        | Condition::Refused
        | Condition::LampTest => None,
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The room that is left, rounded down.
fn left(seconds: u64) -> String {
    match seconds / 3600 {
        0 => format!("{} min left", seconds / 60),
        hours @ 1..1000 => format!("{hours} h left"),
        hours => format!("{} d left", hours / 24),
    }
}

/// Displays know ASCII only, and cut what is too long without a word.
fn shorten(text: &str, width: usize) -> String {
    text.chars().take(width).map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
