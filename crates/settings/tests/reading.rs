//! A kiosk's settings, read by rows of all kinds: what holds, what is told, and how.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::ffi::OsString;
use std::path::Path;

use holdfast_settings::texts::NAME;
use holdfast_settings::{Absent, Expected, Files, Key, Mistake, Mistakes, Origin, Place, Reader, Scope, Takes, Value};

const SCREEN: &[Key] = &[
    Key::with_default("dim_percent", Takes::Number { min: 1, max: 99, what: "percent" }, "30").or_environment("DIM"),
    Key::with_default("touch", Takes::Flag, "true").or_environment("TOUCH"),
    Key::new("owner", NAME, Absent::Mistake, "\"desk\"").or_environment("OWNER"),
];

const DOOR: &[Key] = &[
    Key::new("name", NAME, Absent::Mistake, "\"front\""),
    Key::new("kind", Takes::Choice(&["pull-open", "slide"]), Absent::Mistake, "\"slide\""),
    Key::new(
        "rail",
        Takes::TextOrNumber { allowed: "a rail", test: |text| text == "top", max: 7 },
        Absent::Nothing,
        "1",
    )
    .only_for(&["slide"]),
    Key::new("keys", Takes::Texts { allowed: "names of keys" }, Absent::Nothing, "[\"k\"]"),
];

/// What holds, told in one line each, and the mistakes.
fn read(mut files: Files, environment: &dyn Fn(&str) -> Option<OsString>) -> (Vec<String>, Mistakes) {
    files.overlay(&[("screen", SCREEN)], environment);
    let Files { sources, tree, mut mistakes, .. } = files;
    let mut reader = Reader::new(&sources);
    let top = Scope::top(&tree);
    reader.unknown(&top, &["screen", "door"], |_| None);
    let screen = Scope::new("screen", "[screen]", top.written("screen"), SCREEN);
    reader.unknown(&screen, &[], |name| (name == "rail").then(|| "rail belongs into a [[door]]".to_owned()));
    reader.number::<u8>(&screen, "dim_percent");
    reader.flag(&screen, "touch");
    reader.text(&screen, "owner");
    let doors = top.written("door").map(|node| node.value.clone());
    if let Some(Value::Array(doors)) = doors {
        for (index, node) in doors.iter().enumerate() {
            let door =
                Scope { index: Some(index), ..Scope::new(format!("door.{}", index + 1), "[[door]]", Some(node), DOOR) };
            reader.text(&door, "name");
            let kind = reader.text(&door, "kind");
            reader.text_or_number(&door, "rail", |text| text.len() as u64, |number| number);
            reader.texts(&door, "keys");
            reader.unknown(&Scope { variant: kind.map(|kind| ("kind", kind.value)), ..door.clone() }, &[], |_| None);
        }
    }
    let entries = reader.entries.iter();
    let told = entries
        .map(|entry| format!("{} {} = {} from {}", entry.header, entry.key, entry.value, entry.origin.told(&sources)))
        .collect();
    mistakes.extend(reader.mistakes);
    (told, Mistakes::new(mistakes, sources))
}

fn text(text: &str) -> Files {
    let mut files = Files::new(&["door"]);
    files.add(Path::new("kiosk.toml"), text.to_owned());
    files
}

/// Problem and remedy of each mistake.
fn told(mistakes: &Mistakes) -> Vec<(&str, &str)> {
    mistakes.mistakes().iter().map(|mistake| (mistake.problem.as_str(), mistake.remedy.as_str())).collect()
}

#[test]
fn values_hold_with_where_they_come_from() {
    let file =
        "[screen]\nowner = \"desk\"\n[[door]]\nname = \"a\"\nkind = \"slide\"\nrail = 0x7\nkeys = [\"x\", \"y\"]\n";
    let (holds, mistakes) = read(text(file), &|name| (name == "TOUCH").then(|| "false".into()));
    assert!(mistakes.mistakes().is_empty(), "{mistakes}");
    let expected = [
        "[screen] dim_percent = 30 from default",
        "[screen] touch = false from environment TOUCH",
        "[screen] owner = \"desk\" from kiosk.toml:2",
        "[[door]] name = \"a\" from kiosk.toml:4",
        "[[door]] kind = \"slide\" from kiosk.toml:5",
        "[[door]] rail = 7 from kiosk.toml:6",
        "[[door]] keys = [\"x\", \"y\"] from kiosk.toml:7",
    ];
    assert_eq!(holds, expected);
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = "[screen]\ndim_percent = \"5\"\ntouch = \"true\"\nrail = 1\n[[door]]\nname = 3\nkind = \"pull_opn\"\n\
                [[door]]\nname = \"b\"\nkind = \"pull-open\"\nrail = 1\nkeys = [\"x\", 2]\n[[door]]\nname = \"c\"\n\
                kind = \"slide\"\nrail = 8\nnme = 1\n[dor]\n";
    let (_, mistakes) = read(text(file), &|_| None);
    let expected = [
        ("screen.owner is missing", "add to [screen]: owner = \"desk\", or set OWNER"),
        ("screen.dim_percent = \"5\" is text, not a whole number", "numbers stand without quotes: dim_percent = 5"),
        ("screen.touch = \"true\" is text, not true or false", "true and false stand without quotes: touch = true"),
        ("unknown key screen.rail", "rail belongs into a [[door]]"),
        ("door.1.name = 3 is a number, not text", "text stands in quotes, as in name = \"front\""),
        ("door.1.kind = \"pull_opn\" is not allowed", "did you mean \"pull-open\"?"),
        (
            "door.2.rail does not go with kind = \"pull-open\"",
            "rail is for kind = \"slide\"; remove it here or change the kind",
        ),
        ("door.2.keys = 2 is a number, not a list of texts", "write a value such as keys = [\"k\"]"),
        ("door.3.rail = 8 is out of range", "write a value such as rail = 1"),
        ("unknown key door.3.nme", "did you mean name?"),
        ("unknown key dor", "did you mean door?"),
    ];
    assert_eq!(told(&mistakes), expected);
    let lines: Vec<usize> = mistakes.mistakes().iter().map(Mistake::line).collect();
    assert_eq!(lines, [1, 2, 3, 4, 6, 7, 11, 12, 16, 17, 18]);
}

#[test]
fn the_environment_is_told_by_its_variable() {
    let (_, mistakes) = read(text("[screen]\nowner = \"desk\"\n"), &|name| match name {
        "DIM" => Some("100".into()),
        "TOUCH" => Some("maybe".into()),
        _ => Some(OsString::new()),
    });
    let expected = [
        ("DIM=100 (screen.dim_percent) is out of range", "set DIM to a value such as 30, or unset it"),
        ("TOUCH=maybe (screen.touch) is text, not true or false", "set TOUCH to a value such as true, or unset it"),
    ];
    assert_eq!(told(&mistakes), expected);
    assert_eq!(mistakes.mistakes()[0].place, Place::Environment { variable: "DIM".to_owned() });
    assert_eq!(mistakes.mistakes()[0].line(), 0);
}

#[test]
fn later_files_go_before_earlier_ones_and_lists_merge_by_name() {
    let mut files = text("[screen]\nowner = \"desk\"\ndim_percent = 10\n[[door]]\nname = \"a\"\nkind = \"slide\"\n");
    files.add(Path::new("more.toml"), "screen.dim_percent = 20\n[[door]]\nname = \"a\"\nrail = 1\n".to_owned());
    let (holds, mistakes) = read(files, &|_| None);
    assert!(mistakes.mistakes().is_empty(), "{mistakes}");
    assert!(holds.contains(&"[screen] dim_percent = 20 from more.toml:1".to_owned()), "{holds:?}");
    assert!(holds.contains(&"[[door]] kind = \"slide\" from kiosk.toml:6".to_owned()), "{holds:?}");
    assert!(holds.contains(&"[[door]] rail = 1 from more.toml:4".to_owned()), "{holds:?}");
}

#[test]
fn two_places_of_one_mistake_are_shown_each_in_its_file() {
    let mut files = text("[screen]\nowner = \"desk\"\n");
    files.add(Path::new("more.toml"), "[screen]\ntouch = false\n".to_owned());
    let Files { sources, tree, .. } = files;
    let reader = Reader::new(&sources);
    let top = Scope::top(&tree);
    let screen = Scope::new("screen", "[screen]", top.written("screen"), SCREEN);
    let mut mistake = reader.mistake(&screen, "owner", screen.origin_of("owner"));
    mistake.problem = "these two do not fit".to_owned();
    mistake.relate(screen.origin_of("touch"), "the other");
    let whole = reader.mistake_in("screen".to_owned(), &Origin::Default);
    assert_eq!((whole.line(), whole.value.as_deref()), (0, None));
    let shown = Mistakes::new(vec![mistake], sources).to_string();
    assert!(shown.contains("kiosk.toml:2:9") && shown.contains("2 | owner = \"desk\""), "{shown}");
    assert!(shown.contains("more.toml:2:9") && shown.contains("the other"), "{shown}");
}

#[test]
fn what_is_no_toml_keeps_its_secrets() {
    let files = text("[screen]\npassword = \"hunter2\ntouch = maybe\n");
    assert_eq!(files.mistakes[0].line(), 2);
    let shown = Mistakes::new(files.mistakes, files.sources).to_string();
    assert!(shown.contains("this is not TOML") && shown.contains("text stands in quotes on one line"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn files_that_cannot_be_read_are_told_by_what_to_do() {
    let mut files = Files::default();
    let expected = Expected { name: "kiosk.toml", when_missing: "write one" };
    files.read(Path::new("/nonexistent/kiosk.toml"), &expected);
    files.read(Path::new("/"), &expected);
    let (_, mistakes) = read(files, &|name| (name == "OWNER").then(|| "desk".into()));
    let expected = [
        ("there is no configuration at /nonexistent/kiosk.toml", "write one"),
        ("/ is a directory", "name the file in it, such as kiosk.toml"),
    ];
    assert_eq!(told(&mistakes), expected);
}

#[test]
fn warnings_say_that_they_are_warnings() {
    let Files { sources, .. } = text("a = 1\n");
    assert!(Mistakes::warnings(Vec::new(), sources.clone()).is_none());
    let mut warning = Reader::new(&sources).mistake_in("a".to_owned(), &Origin::Default);
    warning.problem = "hardly meant".to_owned();
    let shown = Mistakes::warnings(vec![warning], sources).unwrap().to_string();
    assert!(shown.starts_with("warning: hardly meant"), "{shown}");
}
