//! A strip chart of every pattern over three seconds, as the panel itself makes it, and the same as a table in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use holdfast_panel::model::{Colour, Light};
use holdfast_panel::patterns::{
    Extras, Feedback, LAMP_TEST_NS, Look, Place, Rhythm, Span, acknowledge, frame, next_change_ns, row,
};
use holdfast_panel::truth::{Condition, Conditions};

/// Below `docs`.
pub const PICTURE: &str = "pictures/panel-patterns.svg";
/// The same.
pub const GUIDE: &str = "panel.md";
/// Between these lines of the guide is the table.
pub const BEGIN: &str = "<!-- begin of the table of patterns -->";
/// The same.
pub const END: &str = "<!-- end of the table of patterns -->";

const SECOND_NS: u64 = 1_000_000_000;
const SHOWN_NS: u64 = 3 * SECOND_NS;
const HOLD_NS: u64 = 1_500_000_000;

/// Where the guides are.
pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// A heading and what stands below it.
const GROUPS: [(&str, &[Condition]); 4] = {
    use Condition::{
        Acknowledged, Armed, Critical, Fault, Holding, Identify, LampTest, NotPossible, Ready, Recording, Refused,
        Resting, Stalled, Starting, Stopping, StorageLow, TrialBoot, UpdateAvailable, UpdateCopying, Updating, Warning,
    };
    use holdfast_panel::truth::Hours::{Four, More, One, Three, Two, Unknown};
    [
        ("Record lights", &[Recording, Armed, Starting, Stopping, Stalled]),
        (
            "Status light (or the record light of a panel that has no other)",
            &[
                Ready,
                Resting,
                Warning,
                Critical,
                StorageLow(One),
                StorageLow(Two),
                StorageLow(Three),
                StorageLow(Four),
                StorageLow(More),
                StorageLow(Unknown),
                UpdateAvailable,
                UpdateCopying,
                Updating,
                TrialBoot,
                Identify,
            ],
        ),
        ("Every light", &[NotPossible, Fault, LampTest]),
        ("Answers to a button", &[Acknowledged, Holding, Refused]),
    ]
};

/// All conditions, as they stand in the picture.
#[allow(dead_code, reason = "the test wants it")]
pub fn conditions() -> impl Iterator<Item = Condition> {
    GROUPS.iter().flat_map(|(_, conditions)| conditions.iter().copied())
}

/// When a light is on within three seconds, and in which colour.
fn strip(condition: Condition) -> Vec<(u64, u64, Colour)> {
    let place = row(condition).place;
    let status = matches!(place, Place::Status | Place::StatusAlone);
    let light = if status { Light::Status } else { Light::Record };
    let look = Look { lights: BTreeSet::from([light.clone()]), brightness: 100, ..Look::default() };
    let mut holds = Conditions::default();
    let (press_ns, mut extras) = (SECOND_NS, Extras::default());
    match condition {
        Condition::LampTest => extras.lamp_test = Some(Span { from_ns: 0, until_ns: LAMP_TEST_NS }),
        Condition::Acknowledged | Condition::Holding => {
            holds.whole.insert(Condition::Recording, 0);
            extras.feedback = Some(match condition {
                Condition::Holding => Feedback::Holding(Span { from_ns: press_ns, until_ns: press_ns + HOLD_NS }),
                _ => acknowledge(&holds, &extras, &look, press_ns),
            });
        }
        Condition::Refused => extras.feedback = Some(Feedback::Refused { from_ns: press_ns }),
        _ => {
            holds.whole.insert(condition, 0);
        }
    }
    let (mut on, mut at_ns) = (vec![], 0);
    while at_ns < SHOWN_NS {
        let until_ns = next_change_ns(&holds, &extras, &look, at_ns).unwrap_or(SHOWN_NS).min(SHOWN_NS);
        let shade = frame(&holds, &extras, &look, at_ns).shade(&light);
        if shade.level > 0 {
            on.push((at_ns, until_ns, shade.colour));
        }
        at_ns = until_ns;
    }
    on
}

const WIDTH: u64 = 920;
const LEFT: u64 = 24;
const STRIP: u64 = 360;
const TEXT: u64 = LEFT + STRIP + 28;
const ROW: u64 = 54;
const HEADING: u64 = 52;
/// Characters that fit behind a strip.
const COLUMNS: usize = 70;

const STYLE: &str = "\
.paper{fill:#ffffff;stroke:#d0d7de}.ink{fill:#1f2328}.soft{fill:#59636e}.track{fill:#eaeef2}.tick{stroke:#d0d7de}
.red{fill:#d1242f}.amber{fill:#d99100}.green{fill:#1f9d44}.blue{fill:#0969da}.white{fill:#ffffff;stroke:#6e7781}
@media (prefers-color-scheme:dark){
.paper{fill:#0d1117;stroke:#30363d}.ink{fill:#f0f6fc}.soft{fill:#9198a1}.track{fill:#21262d}.tick{stroke:#30363d}
.red{fill:#ff5a52}.amber{fill:#f0b232}.green{fill:#3fb950}.blue{fill:#58a6ff}.white{fill:#f0f6fc;stroke:#f0f6fc}}
";

/// The whole picture.
pub fn picture() -> String {
    let mut body = String::new();
    let mut y = 78;
    for (heading, conditions) in GROUPS {
        put(
            &mut body,
            format_args!(
                "<text x=\"{LEFT}\" y=\"{}\" class=\"ink\" font-size=\"15\" \
                 font-weight=\"bold\">{heading}</text>",
                y + 24
            ),
        );
        let bottom = y + HEADING + conditions.len() as u64 * ROW - 14;
        for second in 0..=3 {
            let x = LEFT + second * STRIP / 3;
            put(
                &mut body,
                format_args!(
                    "<path class=\"tick\" d=\"M{x} {}V{bottom}\"/>\
                     <text x=\"{x}\" y=\"{}\" class=\"soft\" font-size=\"11\" \
                     text-anchor=\"middle\">{second} s</text>",
                    y + 46,
                    y + 42
                ),
            );
        }
        y += HEADING;
        for condition in conditions {
            strip_at(&mut body, y, *condition);
            y += ROW;
        }
        y += 8;
    }
    let height = y + 10;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
        width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n\
         <title>What each light shows over three seconds, and what it means</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"paper\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text x=\"{LEFT}\" y=\"38\" class=\"ink\" font-size=\"19\" font-weight=\"bold\">What the lights say</text>\n\
         <text x=\"{LEFT}\" y=\"60\" class=\"soft\" font-size=\"13\">Three seconds of each. The \
         rhythm tells, the colour only helps. \
         Red is for recordings alone; amber wants somebody.</text>\n{body}</svg>\n",
        WIDTH - 1,
        height - 1,
    )
}

fn strip_at(body: &mut String, y: u64, condition: Condition) {
    let row = row(condition);
    let top = y + 6;
    put(
        body,
        format_args!("<rect class=\"track\" x=\"{LEFT}\" y=\"{top}\" width=\"{STRIP}\" height=\"22\" rx=\"4\"/>"),
    );
    for (from_ns, until_ns, colour) in strip(condition) {
        let x = |at_ns: u64| LEFT as f64 + at_ns as f64 * STRIP as f64 / SHOWN_NS as f64;
        let (x, width) = (x(from_ns), x(until_ns) - x(from_ns));
        let radius = if width > 8.0 { 4 } else { 2 };
        put(
            body,
            format_args!(
                "<rect class=\"{}\" x=\"{x:.1}\" y=\"{top}\" width=\"{width:.1}\" height=\"22\" rx=\"{radius}\"/>",
                word(colour)
            ),
        );
    }
    put(
        body,
        format_args!(
            "<text x=\"{TEXT}\" y=\"{}\" class=\"ink\" font-size=\"13\" \
             font-weight=\"bold\">{}</text>",
            y + 9,
            row.name
        ),
    );
    for (line, text) in wrapped(&plain(row.meaning)).iter().enumerate() {
        put(
            body,
            format_args!(
                "<text x=\"{TEXT}\" y=\"{}\" class=\"soft\" font-size=\"12\">{text}</text>",
                y + 25 + 15 * line as u64
            ),
        );
    }
}

fn put(body: &mut String, line: std::fmt::Arguments<'_>) {
    // Into a string it can't fail.
    let _ = writeln!(body, "{line}");
}

fn plain(text: &str) -> String {
    text.replace('`', "").replace('&', "&amp;").replace('<', "&lt;")
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn word(colour: Colour) -> &'static str {
    match colour {
        Colour::Red => "red",
        Colour::Amber => "amber",
        Colour::Green => "green",
        Colour::Blue => "blue",
        Colour::White => "white",
    }
}

/// The guide with the table as it is to be; `None`: it has no place for it.
pub fn with_table(guide: &str) -> Option<String> {
    let (before, rest) = guide.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}{END}{after}", table()))
}

/// The most urgent first: of two that hold for one light, the upper one is shown.
fn table() -> String {
    let mut text = "| | lights | looks like | means |\n|---|---|---|---|\n".to_owned();
    for condition in Condition::ALL.iter().rev() {
        let row = row(*condition);
        let lights = match row.place {
            Place::Record => "record",
            Place::Status | Place::StatusAlone => "status",
            Place::All => "all",
            Place::Answer => "record (answer)",
        };
        let (colour, looks) = (word(row.colour), looks(row.rhythm));
        put(&mut text, format_args!("| {} | {lights} | {colour}, {looks} | {} |", row.name, row.meaning));
    }
    text
}

/// Short and long flashes, or how often it blinks.
fn looks(rhythm: Rhythm) -> String {
    let steps = match rhythm {
        Rhythm::Solid => return "**solid**".to_owned(),
        Rhythm::Opposite => return "the opposite for a moment".to_owned(),
        Rhythm::Hastening(_) => return "blinks faster and faster".to_owned(),
        Rhythm::Repeat(steps) | Rhythm::Once(steps) => steps,
    };
    if let [on, off] = steps
        && on == off
    {
        return match u32::from(*on) * 2 {
            around @ ..1000 => format!("blinks {} times a second", 1000 / around),
            around => format!("blinks every {:.1} seconds", f64::from(around) / 1000.0),
        };
    }
    let flashes: Vec<_> = steps.iter().step_by(2).map(|on| if *on <= 200 { "·" } else { "—" }).collect();
    let again = match rhythm {
        Rhythm::Once(_) => ", once".to_owned(),
        _ => {
            let around: u32 = steps.iter().map(|ms| u32::from(*ms)).sum();
            format!(", every {:.1} seconds", f64::from(around) / 1000.0)
        }
    };
    format!("`{}`{again}", flashes.join(" "))
}
