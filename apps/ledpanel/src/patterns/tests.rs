mod promises;

use super::*;
use crate::model::Colour;
use crate::truth::Hours;
use crate::truth::Standing;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// Nothing but what is solid is on for longer.
const LONGEST_ON: u64 = 750 * MS;

fn lights(names: &[&str]) -> BTreeSet<Light> {
    names.iter().map(|name| Light::parse(name).unwrap()).collect()
}

fn look(names: &[&str]) -> Look {
    Look { lights: lights(names), brightness: 100, ..Look::default() }
}

fn holding(conditions: &[Condition], since_ns: u64) -> Conditions {
    Conditions { whole: conditions.iter().map(|c| (*c, since_ns)).collect(), ..Conditions::default() }
}

fn span(from_ns: u64, until_ns: u64) -> Option<Span> {
    Some(Span { from_ns, until_ns })
}

fn level(conditions: &Conditions, extras: &Extras, look: &Look, light: &Light, now_ns: u64) -> u8 {
    frame(conditions, extras, look, now_ns).shade(light).level
}

/// How long a row is on and off by turns, and what comes behind: as a word of short and long flashes, or even.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Solid,
    Even(u16),
    Word(String),
    Other(&'static str),
}

fn read(rhythm: Rhythm) -> Reading {
    let steps = match rhythm {
        Rhythm::Solid => return Reading::Solid,
        Rhythm::Hastening(_) => return Reading::Other("hastening"),
        Rhythm::Opposite => return Reading::Other("opposite"),
        Rhythm::Repeat(steps) | Rhythm::Once(steps) => steps,
    };
    if let [on, off] = steps
        && on == off
    {
        return Reading::Even(on + off);
    }
    let flash = |on: u16| match on {
        ..=200 => '.',
        500.. => '-',
        _ => panic!("{on} ms is neither short nor long"),
    };
    Reading::Word(steps.iter().step_by(2).map(|on| flash(*on)).collect())
}

#[test]
fn the_order_of_urgency_is_total_and_all_are_in_it() {
    assert!(Condition::ALL.windows(2).all(|pair| pair[0] < pair[1]), "each once, the least urgent first");
    let names: BTreeSet<_> = Condition::ALL.iter().map(|c| row(*c).name).collect();
    assert_eq!(names.len(), Condition::ALL.len(), "names differ");
}

#[test]
fn of_two_conditions_the_more_urgent_is_shown() {
    let record = &Light::Record;
    for (i, lower) in Condition::ALL.iter().enumerate() {
        for higher in Condition::ALL[i + 1..].iter().filter(|_| *lower != Condition::Ready) {
            let both = holding(&[*lower, *higher], 0);
            let (shown, _) = most_urgent(&both, &Extras::default(), &lights(&["record"]), record, 0).unwrap();
            assert_eq!(shown, *higher, "a panel of one light shows everything, the most urgent first");
        }
    }
}

#[test]
fn no_two_rhythms_are_alike() {
    for (i, one) in Condition::ALL.iter().enumerate() {
        for other in &Condition::ALL[i + 1..] {
            match (read(row(*one).rhythm), read(row(*other).rhythm)) {
                (Reading::Solid, Reading::Solid) => {
                    assert_eq!((*one, *other), (Condition::Ready, Condition::Recording), "on lights of their own");
                }
                (Reading::Even(a), Reading::Even(b)) => {
                    assert!(2 * a.min(b) < a.max(b), "{one:?} and {other:?} blink at {a} and {b} ms");
                }
                (a, b) => assert_ne!(a, b, "{one:?} and {other:?}"),
            }
        }
    }
}

#[test]
fn words_can_be_read() {
    for condition in Condition::ALL {
        let row = row(condition);
        let (Rhythm::Repeat(steps) | Rhythm::Once(steps)) = row.rhythm else { continue };
        assert!(steps.len() % 2 == 0 && !steps.contains(&0), "{condition:?} is on and off by turns");
        assert!(steps.iter().step_by(2).all(|on| u64::from(*on) * MS <= LONGEST_ON), "{condition:?} is on for long");
        let around: u32 = steps.iter().map(|ms| u32::from(*ms)).sum();
        assert!(around <= 3500, "{condition:?} takes {around} ms, who has so much patience?");
        if let (Reading::Word(word), Rhythm::Repeat(_)) = (read(row.rhythm), row.rhythm)
            && word.len() > 1
        {
            let (pause, within) = steps.split_last().unwrap();
            let gap = within.iter().skip(1).step_by(2).max().unwrap();
            assert!(*pause >= 2 * gap, "{condition:?}: {pause} ms is no pause behind gaps of {gap} ms");
        }
    }
}

#[test]
fn solid_means_recording_or_ready_and_red_means_recording() {
    for condition in Condition::ALL {
        let row = row(condition);
        let solid = matches!(condition, Condition::Recording | Condition::Ready);
        assert_eq!(row.rhythm == Rhythm::Solid, solid, "{condition:?}");
        let red = matches!(condition, Condition::Recording | Condition::Starting | Condition::Stopping);
        assert_eq!(row.colour == Colour::Red, red, "{condition:?}");
        assert!(row.meaning.ends_with('.') && row.meaning.len() > 20, "{condition:?} is explained");
    }
    // A panel of one light: ready must not look like recording there.
    let one = look(&["record", "record.cam0"]);
    let ready = frame(&holding(&[Condition::Ready], 0), &Extras::default(), &one, 0);
    assert!(ready.lights.values().all(|shade| shade.level == 0), "{ready:?}");
    let ready = holding(&[Condition::Ready, Condition::Armed], 0);
    assert_eq!(level(&ready, &Extras::default(), &one, &Light::Record, 50 * MS), 255, "the short flash of armed");
    assert_eq!(level(&ready, &Extras::default(), &one, &Light::Record, 81 * MS), 0);
}

#[test]
fn each_light_shows_its_own() {
    let panel = look(&["record", "record.cam0", "record.cam1", "record.cam9", "status"]);
    let mut conditions = holding(&[Condition::Stalled, Condition::Warning], 0);
    let input = |c| Standing::from([(c, 0)]);
    conditions.inputs = [("cam0", Condition::Recording), ("cam1", Condition::Stalled)]
        .map(|(name, c)| (name.to_owned(), input(c)))
        .into();
    let shown = |light: &str| {
        most_urgent(&conditions, &Extras::default(), &panel.lights, &Light::parse(light).unwrap(), 0).map(|(c, _)| c)
    };
    assert_eq!(shown("record"), Some(Condition::Stalled));
    assert_eq!(shown("record.cam0"), Some(Condition::Recording));
    assert_eq!(shown("record.cam1"), Some(Condition::Stalled));
    assert_eq!(shown("record.cam9"), Some(Condition::NotPossible), "the recorder knows no such input");
    assert_eq!(shown("status"), Some(Condition::Warning));
    let fault = frame(&holding(&[Condition::Fault], 0), &Extras::default(), &panel, 0);
    assert!(fault.lights.values().all(|shade| shade.level > 0 && shade.colour == Colour::Amber));
    assert_eq!(fault.lights.len(), 5);
}

#[test]
fn a_press_is_seen_at_once_whatever_the_light_shows() {
    for condition in Condition::ALL {
        for now_ms in (0..3500).step_by(35) {
            let (conditions, panel, now) = (holding(&[condition], 0), look(&["record", "status"]), now_ms * MS);
            let before = level(&conditions, &Extras::default(), &panel, &Light::Record, now);
            let feedback = Some(acknowledge(&conditions, &Extras::default(), &panel, now));
            let extras = Extras { feedback, ..Extras::default() };
            if condition >= Condition::Acknowledged {
                continue;
            }
            let after = level(&conditions, &extras, &panel, &Light::Record, now);
            assert_ne!(before == 0, after == 0, "{condition:?} at {now_ms} ms");
            let end = now + ACKNOWLEDGED_NS;
            assert_eq!(after, level(&conditions, &extras, &panel, &Light::Record, end - 1));
            assert_eq!(
                level(&conditions, &extras, &panel, &Light::Record, end),
                level(&conditions, &Extras::default(), &panel, &Light::Record, end),
                "and then it goes on"
            );
        }
    }
}

#[test]
fn a_hold_blinks_the_faster_the_nearer_its_end() {
    for hold_ms in [600, 1500, 3000, 5000, 10_000] {
        let feedback = Some(Feedback::Holding(Span { from_ns: SECOND, until_ns: SECOND + hold_ms * MS }));
        let extras = Extras { feedback, ..Extras::default() };
        let (conditions, panel) = (holding(&[Condition::Recording], 0), look(&["record"]));
        let (mut now, mut steps) = (SECOND, vec![]);
        while now < SECOND + hold_ms * MS {
            let next = next_change_ns(&conditions, &extras, &panel, now).unwrap();
            steps.push(next - now);
            now = next;
        }
        assert!(steps.iter().all(|step| *step <= LONGEST_ON), "{hold_ms}: {steps:?}");
        let half = steps.len() / 2;
        let mean = |steps: &[u64]| steps.iter().sum::<u64>() / steps.len() as u64;
        assert!(mean(&steps[half..]) * 5 < mean(&steps[..half]) * 4, "{hold_ms}: {steps:?}");
        assert_eq!(now, SECOND + hold_ms * MS, "and then the light is as before");
        assert_eq!(next_change_ns(&conditions, &extras, &panel, now), None);
        assert_eq!(level(&conditions, &extras, &panel, &Light::Record, now), 255);
    }
}

#[test]
fn a_lamp_test_has_every_light_on_and_off() {
    let panel = look(&["record", "record.cam0", "status"]);
    let extras = Extras { lamp_test: span(SECOND, SECOND + LAMP_TEST_NS), ..Extras::default() };
    let conditions = holding(&[Condition::Recording, Condition::Ready], 0);
    let (mut now, mut seen) = (SECOND, vec![]);
    while now < 4 * SECOND {
        let shown = frame(&conditions, &extras, &panel, now);
        let on: BTreeSet<_> = shown.lights.values().map(|shade| shade.level > 0).collect();
        assert_eq!(on.len(), 1, "all alike");
        let on = on.contains(&true);
        assert!(!on || shown.lights.values().all(|shade| shade.colour == Colour::White));
        seen.push(on);
        now = next_change_ns(&conditions, &extras, &panel, now).unwrap();
    }
    assert_eq!(seen, [true, false, true, false, true, false]);
}

#[test]
fn identify_is_shown_beside_a_recording_and_not_instead() {
    let extras = Extras { identify: span(0, 10 * SECOND), ..Extras::default() };
    let conditions = holding(&[Condition::Recording], 0);
    let shown = frame(&conditions, &extras, &look(&["record", "status"]), 0);
    assert_eq!(shown.shade(&Light::Record).colour, Colour::Red);
    assert_eq!(shown.shade(&Light::Status).colour, Colour::Blue);
}

#[test]
fn what_calls_for_attention_is_never_dimmed_away() {
    let extras = Extras::default();
    let floor = u8::try_from(u32::from(ATTENTION_PERCENT) * 255 / 100).unwrap();
    for (brightness, night) in [(0, None), (1, None), (1, Some(1)), (50, Some(10)), (100, None), (255, Some(255))] {
        let panel = Look { brightness, night, ..look(&["record", "status"]) };
        for condition in Condition::ALL {
            let shade = frame(&holding(&[condition], 0), &extras, &panel, 0);
            let level = shade.lights.values().map(|shade| shade.level).max().unwrap();
            assert!(
                level >= if row(condition).attention { floor } else { 1 },
                "{condition:?} at {brightness}: {level}"
            );
        }
    }
    let recording = holding(&[Condition::Recording], 0);
    let at = |brightness, night| {
        level(&recording, &extras, &Look { brightness, night, ..look(&["record"]) }, &Light::Record, 0)
    };
    assert_eq!([at(100, None), at(50, None), at(50, Some(10)), at(5, Some(10)), at(1, Some(1))], [255, 128, 26, 13, 3]);
}

#[test]
fn a_hold_is_told_once_and_let_go_of() {
    let (hold, now) = (1500 * MS, 10 * SECOND);
    let pressed = Some(Feedback::Acknowledged { from_ns: now, lit: true });
    let begun = Feedback::held(pressed, 200, hold, now);
    let whole = Span { from_ns: now - 300 * MS, until_ns: now + 1200 * MS };
    assert_eq!(begun, Some(Feedback::Holding(whole)), "it ends when the hold does");
    assert_eq!(Feedback::held(begun, 210, hold, now + 16 * MS), begun, "and does not jitter");
    assert_eq!(Feedback::held(begun, 0, hold, now + 20 * MS), None);
    assert_eq!(Feedback::held(begun, 1000, hold, now + 1200 * MS), None);
    assert_eq!(Feedback::held(pressed, 0, hold, now), pressed, "a press stays acknowledged");
}

#[test]
fn the_buzzer_sounds_shortly_and_only_where_it_is_wanted() {
    let panel = Look { buzzer: true, ..look(&["record"]) };
    let calm = holding(&[Condition::Ready], 0);
    let refused = Extras { feedback: Some(Feedback::Refused { from_ns: SECOND }), ..Extras::default() };
    let trouble = Extras { trouble_since_ns: Some(SECOND), ..Extras::default() };
    let sounds = |conditions: &Conditions, extras: &Extras, panel: &Look| {
        let on = (0..10_000_u64).filter(|ms| frame(conditions, extras, panel, ms * MS).buzzer);
        on.collect::<Vec<_>>()
    };
    assert_eq!(sounds(&calm, &refused, &panel), (1000..1150).collect::<Vec<_>>());
    assert_eq!(sounds(&calm, &trouble, &panel).len(), 200);
    assert_eq!(sounds(&holding(&[Condition::Critical], SECOND), &Extras::default(), &panel).len(), 600);
    assert!(sounds(&calm, &Extras::default(), &panel).is_empty());
    assert!(sounds(&calm, &refused, &look(&["record"])).is_empty());
}

#[test]
fn nobody_drives_it() {
    let dark = fault_frame(&lights(&["record", "record.cam0", "status"]));
    assert_eq!(dark.lights.len(), 3);
    assert!(dark.lights.values().all(|shade| shade.level == 0));
    assert!(!dark.buzzer);
}

fn text(conditions: &Conditions, extras: &Extras, now_ns: u64) -> [String; 2] {
    frame(conditions, extras, &Look { text: true, ..look(&[]) }, now_ns).text
}

#[test]
fn a_character_display_says_it_in_words() {
    let none = Extras::default();
    let mut recording = holding(&[Condition::Recording, Condition::StorageLow(Hours::Two)], 0);
    recording.session_since_ns = Some(SECOND);
    recording.seconds_left = Some(7199);
    let now = SECOND + (3600 + 23 * 60 + 45) * SECOND;
    assert_eq!(text(&recording, &none, now), ["REC 01:23:45", "LOW 1 h left"]);
    let panel = Look { text: true, ..look(&["record"]) };
    assert_eq!(next_change_ns(&recording, &none, &panel, now + 1), Some(now + SECOND));
    let mut stalled = Conditions { whole: Standing::from([(Condition::Stalled, 0)]), ..recording };
    stalled.inputs = [("ümlaut-and-more".to_owned(), stalled.whole.clone())].into();
    assert_eq!(text(&stalled, &none, now), ["STALL 01:23:45", "?mlaut-an stalls"]);
    let mut ready = holding(&[Condition::Ready, Condition::Armed], 0);
    ready.seconds_left = Some(100 * 3600);
    assert_eq!(text(&ready, &none, 0), ["READY", "100 h left"]);
    assert_eq!(text(&holding(&[Condition::Fault], 0), &none, 0), ["NO RECORDER", "may still record"]);
    let refused = Extras { feedback: Some(Feedback::Refused { from_ns: 0 }), ..none };
    assert_eq!(text(&ready, &refused, 0)[0], "REFUSED");
    assert_eq!(text(&ready, &refused, REFUSED_NS)[0], "READY");
}
