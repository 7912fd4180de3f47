//! What holds whatever happens.

use proptest::prelude::*;

use super::*;
use crate::model::Frame;
use crate::truth::Truth;
use crate::truth::tests::{advanced, histories};

fn extras() -> impl Strategy<Value = Extras> {
    let moment = || 0_u64..40_000;
    let identify = prop::option::weighted(0.3, (moment(), 0_u64..10_000));
    let lamp_test = prop::option::weighted(0.3, (moment(), Just(LAMP_TEST_NS / MS)));
    let feedback = prop::option::weighted(
        0.5,
        (moment(), 0_u64..5000, any::<bool>(), 0..3).prop_map(|(from, long, lit, kind)| match kind {
            0 => Feedback::Acknowledged { from_ns: from * MS, lit },
            1 => Feedback::Holding(Span { from_ns: from * MS, until_ns: (from + long) * MS }),
            _ => Feedback::Refused { from_ns: from * MS },
        }),
    );
    let ns = |span: Option<(u64, u64)>| span.map(|(a, long)| Span { from_ns: a * MS, until_ns: (a + long) * MS });
    (identify, lamp_test, feedback, prop::option::weighted(0.2, moment())).prop_map(
        move |(identify, lamp_test, feedback, trouble)| Extras {
            identify: ns(identify),
            lamp_test: ns(lamp_test),
            feedback,
            trouble_since_ns: trouble.map(|ms| ms * MS),
        },
    )
}

fn panels() -> impl Strategy<Value = Look> {
    let names = ["record", "record.cam0", "record.cam1", "status"];
    (prop::sample::subsequence(names.to_vec(), 1..=4), any::<(bool, bool)>(), 1_u8..=100)
        .prop_map(|(names, (buzzer, text), brightness)| Look { buzzer, text, brightness, ..look(&names) })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// The promise of the whole panel. What is lit for 1.5 s without a break looks solid; only recordings may, and
    /// only while all of it becomes safe.
    #[test]
    fn a_record_light_is_solid_only_while_footage_becomes_safe(
        history in histories(), extras in extras(), panel in panels(), after_ms in 0_u64..2500,
    ) {
        let mut truth = Truth::new();
        history.iter().cloned().for_each(|snapshot| truth.hear(snapshot));
        let last = history.last().unwrap();
        let now = last.at_ns + after_ms * MS;
        let frames: Vec<Frame> =
            (0..=60).map(|i| now + i * 25 * MS).map(|at| frame(&truth.conditions(at), &extras, &panel, at)).collect();
        for light in panel.lights.iter().filter(|light| **light != Light::Status) {
            if frames.iter().any(|frame| frame.shade(light).level == 0) {
                continue;
            }
            let inputs: Vec<&str> = match light {
                Light::RecordInput(name) => vec![name],
                _ => last.inputs.iter().filter(|i| i.in_session).map(|i| i.name.as_str()).collect(),
            };
            prop_assert!(!inputs.is_empty(), "{light} is solid, and nothing is recorded");
            for name in inputs {
                prop_assert!(advanced(&history, name, now), "{light} is solid, and {name} does not advance");
            }
        }
    }

    #[test]
    fn a_frame_is_the_same_until_it_is_said_to_change_and_no_longer(
        history in histories(), extras in extras(), panel in panels(), after_ms in 0_u64..2500,
    ) {
        let mut truth = Truth::new();
        history.iter().cloned().for_each(|snapshot| truth.hear(snapshot));
        let begin = history.last().unwrap().at_ns;
        truth.conditions(begin);
        let now = begin + after_ms * MS;
        let conditions = truth.conditions(now);
        let shown = frame(&conditions, &extras, &panel, now);
        let until = next_change_ns(&conditions, &extras, &panel, now);
        let end = until.unwrap_or(now + 60 * SECOND);
        for i in 0..200 {
            let at = now + (end - now) / 200 * i;
            prop_assert_eq!(&shown, &frame(&conditions, &extras, &panel, at), "at {}", at);
        }
        if let Some(until) = until {
            prop_assert!(until > now);
            prop_assert_eq!(&shown, &frame(&conditions, &extras, &panel, until - 1));
            prop_assert_ne!(&shown, &frame(&conditions, &extras, &panel, until));
        }
    }
}

/// The oracle above is worth something only if histories do lead to solid lights.
#[test]
fn recordings_do_make_the_light_solid() {
    let input = |count| crate::snapshot::InputSnapshot {
        name: "cam0".to_owned(),
        in_session: true,
        safe_frames: count,
        safe_bytes: count,
        ..Default::default()
    };
    let mut truth = Truth::new();
    for i in 1..5 {
        truth.hear(crate::snapshot::Snapshot {
            at_ns: i * SECOND,
            state: crate::snapshot::State::Recording,
            session: Some("/s/1".to_owned()),
            inputs: vec![input(i)],
            ..Default::default()
        });
    }
    let (panel, none) = (look(&["record", "record.cam0"]), Extras::default());
    let conditions = truth.conditions(4 * SECOND);
    assert_eq!(next_change_ns(&conditions, &none, &panel, 4 * SECOND), None);
    assert_eq!(level(&conditions, &none, &panel, &Light::Record, 5 * SECOND), 255);
    let late = truth.due_ns(4 * SECOND).unwrap();
    assert_eq!(late, 4 * SECOND + crate::truth::SILENCE_NS);
    let conditions = truth.conditions(late);
    assert!(next_change_ns(&conditions, &none, &panel, late).is_some(), "it blinks");
}
