//! What the panel's lights have told, held against what was safe at the same time.
//!
//! Pure: whoever feeds it says when. What became safe is read over the bus every now and then, by us as by the panel, so
//! that both may know of it a little late.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::panel::RECORD;

/// What a record light tells when it is solid.
pub const SOLID: &str = "recording";
/// A solid record light may claim for two seconds what it has seen last, the panel looks every half second, and a busy
/// machine is granted as much again.
pub const BELIEVED: Duration = Duration::from_secs(3);
/// We may see later than the panel that something is safe.
const LATE: Duration = Duration::from_millis(500);

/// A light that tells something else than before, or something that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Since we look.
    pub at: Duration,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A light, and the row of the table in docs/panel.md that it shows.
    Tells { light: String, condition: String },
    /// In words.
    Done(String),
}

/// A solid light without newly safe footage behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lie {
    pub light: String,
    pub input: String,
    /// The light was solid from then on.
    pub from: Duration,
    /// So long nothing of the input became safe; all the time that it was solid, if nothing had before.
    pub without: Duration,
}

/// All that was seen.
#[derive(Debug, Clone, Default)]
pub struct History {
    entries: Vec<Entry>,
    told: BTreeMap<String, String>,
    safe: BTreeMap<String, Safe>,
    last: Duration,
}

/// What of an input was seen to be safe.
#[derive(Debug, Clone, Default)]
struct Safe {
    frames: u64,
    /// When there were more than before.
    grew: Vec<Duration>,
}

impl History {
    /// A light tells this.
    pub fn tells(&mut self, at: Duration, light: &str, condition: &str) {
        self.last = self.last.max(at);
        if self.told.insert(light.to_owned(), condition.to_owned()).as_deref() != Some(condition) {
            let what = What::Tells { light: light.to_owned(), condition: condition.to_owned() };
            self.entries.push(Entry { at, what });
        }
    }

    /// Something that a reader of the history should know.
    pub fn done(&mut self, at: Duration, what: &str) {
        self.last = self.last.max(at);
        self.entries.push(Entry { at, what: What::Done(what.to_owned()) });
    }

    /// So many frames of an input are safe in this session.
    pub fn safe(&mut self, at: Duration, input: &str, frames: u64) {
        self.last = self.last.max(at);
        let safe = self.safe.entry(input.to_owned()).or_default();
        // Fewer: another session has begun.
        if frames > safe.frames {
            safe.grew.push(at);
        }
        safe.frames = frames;
    }

    /// In the order in which it happened.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What a light tells now; empty: nothing is known of it.
    pub fn now(&self, light: &str) -> &str {
        self.told.get(light).map_or("", String::as_str)
    }

    /// When a light first told this, not before `since`.
    pub fn first(&self, light: &str, condition: &str, since: Duration) -> Option<Duration> {
        let wanted = What::Tells { light: light.to_owned(), condition: condition.to_owned() };
        self.entries.iter().find(|entry| entry.at >= since && entry.what == wanted).map(|entry| entry.at)
    }

    /// When the record light first stopped being solid in this time, other than to answer a button.
    pub fn first_doubt(&self, since: Duration, until: Duration) -> Option<Duration> {
        let doubts = |entry: &&Entry| match &entry.what {
            What::Tells { light, condition } => light == RECORD && !solid_or_answer(condition),
            What::Done(_) => false,
        };
        self.entries.iter().filter(|entry| (since..=until).contains(&entry.at)).find(doubts).map(|entry| entry.at)
    }

    /// How long the record light was solid in all.
    pub fn solid(&self) -> Duration {
        self.spans(RECORD).into_iter().map(|(from, until)| until.saturating_sub(from)).sum()
    }

    /// The longest time for which a solid light had nothing newly safe of an input behind it.
    pub fn longest_without_safe(&self) -> Duration {
        self.claims().map(|claim| claim.without).max().unwrap_or_default()
    }

    /// The first solid light that was not true.
    pub fn lie(&self) -> Option<Lie> {
        self.claims().find(|claim| claim.never || claim.without > BELIEVED).map(|claim| Lie {
            light: claim.light,
            input: claim.input,
            from: claim.from,
            without: claim.without,
        })
    }

    /// What each solid light claimed of each input that it stands for.
    fn claims(&self) -> impl Iterator<Item = Claim> {
        let lights = self.told.keys().filter(|light| light.split('.').next() == Some(RECORD));
        lights.flat_map(move |light| {
            let stands_for = |input: &&String| light.split_once('.').is_none_or(|(_, name)| name == input.as_str());
            let inputs: Vec<&String> = self.safe.keys().filter(stands_for).collect();
            self.spans(light).into_iter().flat_map(move |(from, until)| {
                inputs.clone().into_iter().map(move |input| self.claim(light, input, from, until))
            })
        })
    }

    fn claim(&self, light: &str, input: &str, from: Duration, until: Duration) -> Claim {
        let grew = self.safe.get(input).map(|safe| safe.grew.as_slice()).unwrap_or_default();
        let (before, after) = grew.split_at(grew.partition_point(|at| *at <= from + LATE));
        let never = before.is_empty();
        let mut last = before.last().copied().unwrap_or(from);
        let mut without = Duration::ZERO;
        for at in after.iter().copied().filter(|at| *at < until).chain([until]) {
            without = without.max(at.saturating_sub(last));
            last = at;
        }
        Claim { light: light.to_owned(), input: input.to_owned(), from, without, never }
    }

    /// From when until when a light was solid. While it answers a button it claims nothing.
    fn spans(&self, light: &str) -> Vec<(Duration, Duration)> {
        let mut spans = Vec::new();
        let mut since = None;
        for Entry { at, what } in &self.entries {
            let What::Tells { light: named, condition } = what else { continue };
            if named != light {
                continue;
            }
            match (condition == SOLID, since.take()) {
                (true, None) => since = Some(*at),
                (true, Some(_)) => {}
                (false, Some(from)) => spans.push((from, *at)),
                (false, None) => {}
            }
        }
        spans.extend(since.map(|from| (from, self.last)));
        spans
    }
}

/// A light was solid, and so said that footage of an input becomes safe.
#[derive(Debug)]
struct Claim {
    light: String,
    input: String,
    from: Duration,
    without: Duration,
    /// Nothing of the input had ever become safe.
    never: bool,
}

fn solid_or_answer(condition: &str) -> bool {
    matches!(condition, SOLID | "acknowledged" | "holding" | "refused" | "lamp-test")
}
