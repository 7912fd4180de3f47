//! What each light shows now: the pure core between what is [true](crate::truth) and what a device is told.
//!
//! One [table](row) says for each condition where it is shown, in which colour, in which rhythm and what it means.
//! [`frame`] makes of all that holds what the panel shows at one moment, [`next_change_ns`] says when that changes
//! next, so that nothing has to wake before. The rhythm alone tells: two conditions never share one, and none but
//! *recording and safe* on a record light and *ready* on a status light is solid.
//!
//! A light shows the most urgent condition that is shown on it. What belongs to the status light is shown on the
//! record light of a panel that has no other.

mod look;
mod rhythm;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeSet;

pub use self::look::{ATTENTION_PERCENT, Look};
pub use self::rhythm::{Moment, Rhythm};
pub use self::table::{FAULT_OFF_MS, FAULT_ON_MS, Place, Row, row};
use crate::model::{Frame, Light, Shade};
use crate::truth::{Condition, Conditions};

/// For how long a press is acknowledged by light.
pub const ACKNOWLEDGED_NS: u64 = 150 * MS_NS;
/// For how long a refusal is shown.
pub const REFUSED_NS: u64 = 760 * MS_NS;
/// How long a lamp test takes: once through its rhythm.
pub const LAMP_TEST_NS: u64 = 3_000 * MS_NS;
const MS_NS: u64 = 1_000_000;
/// Candidates looked at before the next change is said to be where it may be.
const LOOK_AHEAD: usize = 64;

/// From when until when, monotonic nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From then on.
    pub from_ns: u64,
    /// No longer then.
    pub until_ns: u64,
}

impl Span {
    fn covers(self, now_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&now_ns)
    }
}

/// What the panel answers to whoever presses a button. The newest answer replaces the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feedback {
    /// Pressed. See [`acknowledge`].
    Acknowledged {
        /// Seen then.
        from_ns: u64,
        /// The light goes on for it, else off: whatever can be seen.
        lit: bool,
    },
    /// Held, and at the end something happens.
    Holding(Span),
    /// It can't be done.
    Refused {
        /// Told then.
        from_ns: u64,
    },
}

impl Feedback {
    /// The answer to a hold that has come `permille` of the way to `hold_ns` at `now_ns`, in place of the answer
    /// `before` it. It need not be told more often than a hold begins and ends.
    #[must_use]
    pub fn held(before: Option<Self>, permille: u16, hold_ns: u64, now_ns: u64) -> Option<Self> {
        match (before, permille) {
            (Some(Self::Holding(_)), 0 | 1000..) => None,
            (before, 0 | 1000..) | (before @ Some(Self::Holding(_)), _) => before,
            (_, permille) => {
                let from_ns = now_ns.saturating_sub(hold_ns / 1000 * u64::from(permille));
                Some(Self::Holding(Span { from_ns, until_ns: from_ns.saturating_add(hold_ns) }))
            }
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Acknowledged { from_ns, .. } => Span { from_ns, until_ns: from_ns.saturating_add(ACKNOWLEDGED_NS) },
            Self::Holding(span) => span,
            Self::Refused { from_ns } => Span { from_ns, until_ns: from_ns.saturating_add(REFUSED_NS) },
        }
    }

    fn condition(self) -> Condition {
        match self {
            Self::Acknowledged { .. } => Condition::Acknowledged,
            Self::Holding(_) => Condition::Holding,
            Self::Refused { .. } => Condition::Refused,
        }
    }
}

/// What is to be shown beside what is true of the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// Somebody asks which box this is.
    pub identify: Option<Span>,
    /// Somebody tries the lights.
    pub lamp_test: Option<Span>,
    /// The newest answer to a button.
    pub feedback: Option<Feedback>,
    /// Since when the panel itself has trouble: a button that is stuck, a device that does not answer.
    pub trouble_since_ns: Option<u64>,
}

/// The answer to a press at `now_ns` that can be seen at once, whatever the light shows at that moment.
#[must_use]
pub fn acknowledge(conditions: &Conditions, extras: &Extras, look: &Look, now_ns: u64) -> Feedback {
    let before = Extras { feedback: None, ..*extras };
    let light = look.lights.iter().find(|light| answers(light, &look.lights));
    let lit = light.is_some_and(|light| lit(conditions, &before, &look.lights, light, now_ns).is_some());
    Feedback::Acknowledged { from_ns: now_ns, lit: !lit }
}

/// What a light tells at `now_ns`, dark or lit in this moment; `None`: nothing.
#[must_use]
pub fn tells(conditions: &Conditions, extras: &Extras, look: &Look, light: &Light, now_ns: u64) -> Option<Row> {
    most_urgent(conditions, extras, &look.lights, light, now_ns).map(|(condition, _)| row(condition))
}

/// What the panel shows at `now_ns`.
#[must_use]
pub fn frame(conditions: &Conditions, extras: &Extras, look: &Look, now_ns: u64) -> Frame {
    let shade = |light: &Light| match lit(conditions, extras, &look.lights, light, now_ns) {
        Some(row) => Shade { colour: row.colour, level: look.level(row.attention) },
        None => Shade::default(),
    };
    Frame {
        lights: look.lights.iter().map(|light| (light.clone(), shade(light))).collect(),
        buzzer: look.buzzer && beeps(conditions, extras).any(|(since_ns, beep)| beep.at(since_ns, now_ns).lit),
        text: if look.text { text::lines(conditions, extras, now_ns) } else { Default::default() },
    }
}

/// When [`frame`] shows something else than at `now_ns`, all else being equal; `None`: never.
#[must_use]
pub fn next_change_ns(conditions: &Conditions, extras: &Extras, look: &Look, now_ns: u64) -> Option<u64> {
    let shown = frame(conditions, extras, look, now_ns);
    let mut at_ns = now_ns;
    for _ in 0..LOOK_AHEAD {
        at_ns = candidate_ns(conditions, extras, look, at_ns)?;
        if frame(conditions, extras, look, at_ns) != shown {
            break;
        }
    }
    Some(at_ns)
}

/// What lights that can't blink by themselves are left with when nobody drives them: dark. A record light then claims
/// nothing, and a status light is dark at no other time. A device that blinks by itself blinks [`FAULT_ON_MS`] and
/// [`FAULT_OFF_MS`] instead.
#[must_use]
pub fn fault_frame<'a>(lights: impl IntoIterator<Item = &'a Light>) -> Frame {
    let dark = Shade { colour: row(Condition::Fault).colour, level: 0 };
    Frame {
        lights: lights.into_iter().map(|light| (light.clone(), dark)).collect(),
        buzzer: false,
        text: ["PANEL FAULT".to_owned(), "NOT DRIVEN".to_owned()],
    }
}

/// The row by which a light is on; `None`: it is dark.
fn lit(conditions: &Conditions, extras: &Extras, lights: &BTreeSet<Light>, light: &Light, now_ns: u64) -> Option<Row> {
    let (condition, since_ns) = most_urgent(conditions, extras, lights, light, now_ns)?;
    let row = row(condition);
    let lit = match (row.rhythm, extras.feedback) {
        (Rhythm::Opposite, Some(Feedback::Acknowledged { lit, .. })) => lit,
        (Rhythm::Hastening(parts), Some(Feedback::Holding(span))) => rhythm::hastening(parts, span, now_ns).lit,
        (rhythm, _) => rhythm.at(since_ns, now_ns).lit,
    };
    lit.then_some(row)
}

/// The condition that a light shows, and since when it holds.
fn most_urgent(
    conditions: &Conditions,
    extras: &Extras,
    lights: &BTreeSet<Light>,
    light: &Light,
    now_ns: u64,
) -> Option<(Condition, u64)> {
    let own = match light {
        // An input that the recorder does not know is not recorded.
        Light::RecordInput(name) if !conditions.inputs.is_empty() => match conditions.inputs.get(name) {
            Some(standing) => standing.iter().map(|(c, s)| (*c, *s)).collect(),
            None => vec![(Condition::NotPossible, 0)],
        },
        Light::RecordInput(_) | Light::Record | Light::Status => vec![],
    };
    let whole = conditions.whole.iter().map(|(c, s)| (*c, *s)).chain(beside(extras, now_ns));
    let shown = whole.filter(|(condition, _)| shows(row(*condition).place, light, lights));
    shown.chain(own).max_by_key(|(condition, _)| *condition)
}

/// What holds at `now_ns` beside what is true of the recorder.
fn beside(extras: &Extras, now_ns: u64) -> impl Iterator<Item = (Condition, u64)> {
    let feedback = extras.feedback.map(|feedback| (feedback.condition(), feedback.span()));
    let identify = extras.identify.map(|span| (Condition::Identify, span));
    let lamp_test = extras.lamp_test.map(|span| (Condition::LampTest, span));
    let spans = [feedback, identify, lamp_test].into_iter().flatten().filter(move |(_, span)| span.covers(now_ns));
    let trouble = extras.trouble_since_ns.filter(|since_ns| *since_ns <= now_ns);
    spans.map(|(condition, span)| (condition, span.from_ns)).chain(trouble.map(|s| (Condition::Warning, s)))
}

/// Whether a condition of the whole box or panel is shown on a light.
fn shows(place: Place, light: &Light, lights: &BTreeSet<Light>) -> bool {
    match (place, light) {
        (Place::All, _) | (Place::Record, Light::Record) => true,
        (Place::Status | Place::StatusAlone, Light::Status) => true,
        (Place::Status, Light::Record) => !lights.contains(&Light::Status),
        (Place::Answer, light) => answers(light, lights),
        (Place::Record | Place::Status, Light::RecordInput(_)) | (Place::Record, Light::Status) => false,
        (Place::StatusAlone, Light::Record | Light::RecordInput(_)) => false,
    }
}

/// Buttons are answered by the record light, and by all lights of a panel that has none.
fn answers(light: &Light, lights: &BTreeSet<Light>) -> bool {
    *light == Light::Record || !lights.contains(&Light::Record)
}

/// When the buzzer has something to say, and what.
fn beeps(conditions: &Conditions, extras: &Extras) -> impl Iterator<Item = (u64, Rhythm)> {
    let refused = match extras.feedback {
        Some(Feedback::Refused { from_ns }) => Some((from_ns, table::BEEP_REFUSED)),
        Some(Feedback::Acknowledged { .. } | Feedback::Holding(_)) | None => None,
    };
    let critical = conditions.whole.get(&Condition::Critical).map(|since_ns| (*since_ns, table::BEEP_CRITICAL));
    let trouble = extras.trouble_since_ns.map(|since_ns| (since_ns, table::BEEP_TROUBLE));
    [refused, critical, trouble].into_iter().flatten()
}

/// The next moment at which something may change.
fn candidate_ns(conditions: &Conditions, extras: &Extras, look: &Look, now_ns: u64) -> Option<u64> {
    let lights = look.lights.iter().filter_map(|light| {
        let (condition, since_ns) = most_urgent(conditions, extras, &look.lights, light, now_ns)?;
        match (row(condition).rhythm, extras.feedback) {
            (Rhythm::Hastening(parts), Some(Feedback::Holding(span))) => {
                rhythm::hastening(parts, span, now_ns).until_ns
            }
            (rhythm, _) => rhythm.at(since_ns, now_ns).until_ns,
        }
    });
    let feedback = extras.feedback.map(Feedback::span);
    let spans = [feedback, extras.identify, extras.lamp_test].into_iter().flatten();
    let ends = spans.flat_map(|span| [span.from_ns, span.until_ns]).chain(extras.trouble_since_ns);
    let buzzer = look.buzzer.then(|| beeps(conditions, extras)).into_iter().flatten();
    let buzzer = buzzer.filter_map(|(since_ns, beep)| beep.at(since_ns, now_ns).until_ns);
    let text = look.text.then(|| text::next_change_ns(conditions, extras, now_ns)).flatten();
    lights.chain(ends).chain(buzzer).chain(text).filter(|at_ns| *at_ns > now_ns).min()
}
