//! What source files must not do. Every rule is a function over one file, and has a sample that offends it.

use crate::tokens::{self, Named};
use crate::tree::TextFile;

/// Pure cores by file or directory name.
const CORES: [&str; 14] = [
    "session",
    "resume",
    "retention",
    "pressure",
    "failsafe",
    "buttons",
    "orders",
    "truth",
    "patterns",
    "rollout",
    "leases",
    "outbox",
    "pace",
    "throttle",
];

/// What a pure core must not name: all that makes its answer depend on more than state and event.
const IMPURE: [&[&str]; 15] = [
    &["tokio"],
    &["zbus"],
    &["gstreamer"],
    &["gst"],
    &["rustix"],
    &["libc"],
    &["nix"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "thread"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "net"],
    &["std", "env"],
    &["jiff", "Timestamp", "now"],
];

fn named_in_product(file: &TextFile) -> Vec<Named> {
    match tokens::parse(&file.text) {
        Ok(tokens) => tokens::named(&tokens::without_tests(tokens)),
        Err(error) => panic!("{}: {error}", file.path),
    }
}

fn at(file: &TextFile, line: usize, what: impl std::fmt::Display) -> String {
    format!("{}:{line}: {what}", file.path)
}

/// Whether `path` reaches `forbidden`: names it, something in it, or a module that brings it in under another name.
fn reaches(path: &[String], forbidden: &[&str]) -> bool {
    let same = path.iter().zip(forbidden).all(|(one, other)| one == other || one == "*");
    same && (path.len() >= forbidden.len() || path.len() > 1)
}

fn is_core(file: &TextFile) -> bool {
    let below = file.path.starts_with("apps/") || file.path.starts_with("ota/");
    let names_core = |part: &str| CORES.contains(&part.strip_suffix(".rs").unwrap_or(part));
    // What stands on the bus for a core goes by its name.
    let on_bus = file.path.contains("/src/bus/");
    // A package that is nothing else.
    if file.path.starts_with("ota/plan/src/") {
        return true;
    }
    below && !on_bus && !file.is_test() && file.path.split('/').skip(2).any(names_core)
}

/// A pure core takes state and event and gives state and commands; nothing else goes in or out.
pub(crate) fn pure_core(file: &TextFile) -> Vec<String> {
    if !is_core(file) {
        return vec![];
    }
    let offends = |named: &Named| IMPURE.iter().find(|forbidden| reaches(&named.path, forbidden)).copied();
    named_in_product(file)
        .iter()
        .filter_map(|named| offends(named).map(|forbidden| (named, forbidden)))
        .map(|(named, forbidden)| {
            let what = format!("a pure core must not reach {} (`{}`)", forbidden.join("::"), named.path.join("::"));
            at(file, named.line, what)
        })
        .collect()
}

/// Segment and journal are libraries over files: they neither start nor end nor ask about processes.
pub(crate) fn no_processes(file: &TextFile) -> Vec<String> {
    if !(file.path.starts_with("crates/segment/src") || file.path.starts_with("crates/journal/src")) {
        return vec![];
    }
    let forbidden: [&[&str]; 3] = [&["std", "process"], &["rustix", "process"], &["std", "env"]];
    named_in_product(file)
        .iter()
        .filter(|named| forbidden.iter().any(|forbidden| reaches(&named.path, forbidden)))
        .map(|named| at(file, named.line, format!("`{}` in a library that knows no processes", named.path.join("::"))))
        .collect()
}

/// No cargo feature and no `cfg` but `test` switches behaviour.
pub(crate) fn no_conditional_code(file: &TextFile) -> Vec<String> {
    let tokens = match tokens::parse(&file.text) {
        Ok(tokens) => tokens,
        Err(error) => panic!("{}: {error}", file.path),
    };
    let allowed = |ident: &String| matches!(ident.as_str(), "test" | "not" | "any" | "all");
    tokens::conditions(&tokens)
        .iter()
        .filter(|condition| !condition.idents.iter().all(allowed))
        .map(|condition| at(file, condition.line, format!("cfg({}) switches behaviour", condition.idents.join(" "))))
        .collect()
}

/// Only `wiring.rs` picks real or simulated parts.
pub(crate) fn only_wiring_picks(file: &TextFile) -> Vec<String> {
    let simulated_itself =
        file.path.split('/').any(|part| part == "sim" || part.starts_with("sim_") || part == "sim.rs");
    let app = file.path.starts_with("apps/") || file.path.starts_with("ota/");
    if !app || file.is_test() || file.file_name() == "wiring.rs" || simulated_itself {
        return vec![];
    }
    let is_simulated = |part: &String| {
        part == "sim" || part.strip_prefix("Sim").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    named_in_product(file)
        .iter()
        // `mod sim;` declares; a name of its own is a variable.
        .filter(|named| named.path.iter().any(is_simulated) && (named.path.len() > 1 || named.last() != "sim"))
        .map(|named| at(file, named.line, format!("`{}` is picked outside wiring.rs", named.path.join("::"))))
        .collect()
}

/// No channel without a bound.
pub(crate) fn no_unbounded_channel(file: &TextFile) -> Vec<String> {
    let all = named_in_product(file);
    let ends =
        |named: &Named, end: &[&str]| named.path.ends_with(&end.iter().map(ToString::to_string).collect::<Vec<_>>());
    let std_mpsc = all.iter().any(|named| {
        ends(named, &["sync", "mpsc"]) || named.path.starts_with(&["std", "sync", "mpsc"].map(String::from))
    });
    all.iter()
        .filter(|named| {
            let by_name =
                matches!(named.last(), "unbounded" | "unbounded_channel" | "UnboundedSender" | "UnboundedReceiver");
            let called_bare = named.call == Some(false)
                && (ends(named, &["mpsc", "channel"]) || std_mpsc && named.path == ["channel"]);
            let std_channel = ends(named, &["std", "sync", "mpsc", "channel"]);
            !named.method && (by_name || called_bare || std_channel)
        })
        .map(|named| at(file, named.line, format!("`{}` has no bound", named.path.join("::"))))
        .collect()
}

/// Lines above the place that makes a channel in which its comment may stand.
const LINES_ABOVE_CHANNEL: usize = 12;
/// Lines above a field that holds an end of a channel in which the comment may stand instead.
const LINES_ABOVE_FIELD: usize = 3;

/// Every channel's comment says what happens when it is full: where it is made, or at a field that holds an end of it.
pub(crate) fn channels_say_what_when_full(file: &TextFile) -> Vec<String> {
    if file.is_test() || file.path.starts_with("xtask/") {
        return vec![];
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let says_full = |line: &str| {
        let comment = line.split_once("//").map_or("", |(_, comment)| comment).to_lowercase();
        comment.split(|c: char| !c.is_alphabetic()).any(|word| word == "full")
    };
    // `line` counts from one.
    let said_above = |line: usize, above: usize| {
        lines[line.saturating_sub(above + 1)..line.min(lines.len())].iter().any(|line| says_full(line))
    };
    let is_end = |line: &str| line.trim_end().ends_with(',') && line.contains(": ") && line.contains("Sender<");
    let fields = (1..).zip(&lines).filter(|(number, line)| is_end(line) && said_above(*number, LINES_ABOVE_FIELD));
    let said_at_fields = fields.count();
    named_in_product(file)
        .iter()
        .filter(|named| {
            let bounded = matches!(named.last(), "sync_channel" | "bounded")
                || named.path.ends_with(&["mpsc".into(), "channel".into()]);
            bounded && !named.method && named.call == Some(true) && !said_above(named.line, LINES_ABOVE_CHANNEL)
        })
        // A field speaks for one channel, not for all of the file.
        .skip(said_at_fields)
        .map(|named| {
            let what = format!("no comment says what happens when `{}` is full", named.path.join("::"));
            at(file, named.line, what)
        })
        .collect()
}

/// A `no_std` library, and not only in name.
pub(crate) fn no_std(file: &TextFile) -> Vec<String> {
    let mut offences = vec![];
    if file.path.ends_with("src/lib.rs") {
        let squeezed: String = file.text.split_whitespace().collect();
        if !squeezed.contains("#![no_std]") && !squeezed.contains("#![cfg_attr(not(test),no_std)]") {
            offences.push(at(file, 1, "is not #![no_std]"));
        }
    }
    if !file.is_test() {
        let std =
            named_in_product(file).into_iter().filter(|named| named.path.first().is_some_and(|first| first == "std"));
        offences
            .extend(std.map(|named| at(file, named.line, format!("`{}` in a no_std library", named.path.join("::")))));
    }
    offences
}

/// Directories that every system has; naming these is naming no one's workplace.
const SYSTEM: [&str; 20] = [
    "bin", "boot", "data", "dev", "etc", "home", "lib", "media", "mnt", "nix", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
];

/// Nothing names the directory it happens to be worked on in.
pub(crate) fn no_workplace(file: &TextFile, root: &str) -> Vec<String> {
    let mut forbidden = vec![root.to_owned()];
    // A checkout at /place/repository has its neighbours in /place.
    if let Some(("", rest)) = root.split_once('/')
        && let Some((top, _)) = rest.split_once('/')
        && !SYSTEM.contains(&top)
    {
        forbidden.push(format!("/{top}/"));
    }
    let names = |line: &str, place: &str| {
        line.match_indices(place).any(|(at, _)| {
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '/' | '}' | '>'))
        })
    };
    (1..)
        .zip(file.text.lines())
        .filter(|(_, line)| forbidden.iter().any(|place| names(line, place)))
        .map(|(number, line)| at(file, number, format!("names the workplace: {}", line.trim())))
        .collect()
}

/// Files an image installs are there once: units, bus policy and activation, udev rules.
pub(crate) fn installed_once(files: &[TextFile]) -> Vec<String> {
    let installed = |file: &&TextFile| {
        matches!(file.extension(), "service" | "socket" | "timer" | "slice" | "target" | "mount" | "path" | "rules")
            || file.file_name().starts_with("org.holdfast.")
    };
    let all: Vec<&TextFile> = files.iter().filter(installed).collect();
    all.iter()
        .enumerate()
        .filter_map(|(at, file)| {
            let other = all[..at].iter().find(|other| other.file_name() == file.file_name())?;
            Some(format!("{} is there already as {}", file.path, other.path))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many times a file with this text would offend.
    fn offences(rule: impl Fn(&TextFile) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&TextFile::new(path, text)).len()
    }

    #[test]
    fn pure_core_offends() {
        let count = |text| offences(pure_core, "apps/recorder/src/session.rs", text);
        for text in [
            "use tokio::sync::mpsc;",
            "use zbus::Connection;",
            "use gstreamer as gst;",
            "use std::{collections::BTreeMap, time::{Duration, Instant}};",
            "fn f() -> u8 { let now = std::time::SystemTime::now(); 0 }",
            "use std::time;",
            "use std::time::*;",
            "fn f() { log!(std::fs::read(x)); }",
            "fn f() { ::std::thread::yield_now() }",
            "use std::process::Command;",
            "use rustix::time::clock_gettime;",
        ] {
            assert!(count(text) > 0, "{text}");
        }
        for text in [
            "use std::time::Duration;",
            "use std::collections::HashMap;",
            "// std::fs is not for us\nconst A: &str = \"std::fs\";",
            "struct S { fs: u8, thread: u8, time: u8, tokio_like: u8 }",
            "#[cfg(test)]\nmod tests { use std::time::Instant; }",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
        let elsewhere = |path| offences(pure_core, path, "use tokio::sync::mpsc;");
        assert_eq!(elsewhere("apps/recorder/src/session/start.rs"), 1);
        assert_eq!(elsewhere("ota/src/rollout.rs"), 1);
        assert_eq!(elsewhere("apps/recorder/src/bus.rs"), 0);
        assert_eq!(elsewhere("apps/recorder/src/leases/table.rs"), 1);
        assert_eq!(elsewhere("apps/recorder/src/bus/leases.rs"), 0);
        assert_eq!(elsewhere("crates/segment/src/session.rs"), 0);
    }

    #[test]
    fn no_processes_offends() {
        let text = "fn f() { std::process::id(); }";
        assert_eq!(offences(no_processes, "crates/journal/src/a.rs", text), 1);
        assert_eq!(offences(no_processes, "crates/journal/tests/a.rs", text), 0);
    }

    #[test]
    fn no_conditional_code_offends() {
        let count = |text| offences(no_conditional_code, "a.rs", text);
        for text in [
            "#[cfg(feature = \"demo\")] fn f() {}",
            "fn f() { if cfg!(debug_assertions) {} }",
            "#![cfg_attr(not(feature = \"std\"), no_std)]",
            "#[cfg(any(test, target_os = \"linux\"))] fn f() {}",
            "macro_rules! m { () => { #[cfg(unix)] fn f() {} } }",
            "cfg_if! { if #[cfg(test)] {} }",
        ] {
            assert_eq!(count(text), 1, "{text}");
        }
        for text in [
            "#[cfg(test)] mod tests {}",
            "#![cfg_attr(not(test), no_std)]",
            "#![cfg_attr(test, allow(clippy::unwrap_used))]",
            "// #[cfg(unix)]",
            "fn cfg() {} fn f(cfg: u8) -> u8 { cfg }",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }

    #[test]
    fn only_wiring_picks_offends() {
        let text =
            "mod sim; use crate::sim::World; fn f(sim: u8) -> SimClock { SimClock::new(sim) } fn s(x: Simple) {}";
        assert_eq!(offences(only_wiring_picks, "apps/ledpanel/src/main.rs", text), 3);
        assert_eq!(offences(only_wiring_picks, "apps/ledpanel/src/wiring.rs", text), 0);
        assert_eq!(offences(only_wiring_picks, "apps/ledpanel/src/sim/world.rs", text), 0);
    }

    #[test]
    fn no_unbounded_channel_offends() {
        let count = |text| offences(no_unbounded_channel, "apps/capture/src/a.rs", text);
        for text in [
            "fn f() { let (a, b) = std::sync::mpsc::channel(); }",
            "fn f() { let (a, b) = mpsc::channel::<Vec<u8>>(); }",
            "use std::sync::mpsc::channel;",
            "use std::sync::mpsc::{self, channel};",
            "fn f() { tokio::sync::mpsc::unbounded_channel() }",
            "fn f() { flume::unbounded() }",
            "use crossbeam::channel::unbounded;",
            "struct S { tx: UnboundedSender<u8> }",
        ] {
            assert!(count(text) > 0, "{text}");
        }
        for text in [
            "fn f() { let (a, b) = tokio::sync::mpsc::channel(8); }",
            "fn f() { let (a, b) = tokio::sync::oneshot::channel(); }",
            "use std::sync::mpsc; fn f() { mpsc::sync_channel::<u8>(4) }",
            "use std::sync::mpsc; fn f() { port.channel() }",
            "#[cfg(test)] mod tests { fn f() { std::sync::mpsc::channel() } }",
        ] {
            assert_eq!(count(text), 0, "{text}");
        }
    }

    #[test]
    fn channels_say_what_when_full_offends() {
        let count = |text: &str| offences(channels_say_what_when_full, "apps/capture/src/a.rs", text);
        assert_eq!(count("fn f() { mpsc::sync_channel(4); }"), 1);
        assert_eq!(count("// Carefully sized.\nfn f() { tokio::sync::mpsc::channel(4); }"), 1);
        assert_eq!(count("// Full: the oldest is dropped.\nfn f() { mpsc::sync_channel(4); }"), 0);
        let held =
            "struct S {\n    /// Full: dropped.\n    marks: mpsc::Sender<u8>,\n}\n".to_owned() + &"\n".repeat(20);
        assert_eq!(count(&format!("{held}fn f() {{ mpsc::channel(4); }}")), 0);
        assert_eq!(count(&format!("{held}fn f() {{ mpsc::channel(4); mpsc::channel(4); }}")), 1);
    }

    #[test]
    fn no_std_offends() {
        assert_eq!(offences(no_std, "crates/link/src/lib.rs", "//! A library."), 1);
        assert_eq!(offences(no_std, "crates/link/src/lib.rs", "#![no_std]\nextern crate std; use std::vec::Vec;"), 2);
        assert_eq!(
            offences(no_std, "crates/link/src/lib.rs", "#![no_std]\n#[cfg(test)] mod tests { use std::vec; }"),
            0
        );
    }

    #[test]
    fn no_workplace_offends() {
        let count = |root: &str, text| no_workplace(&TextFile::new("a.md", text), root).len();
        assert_eq!(count("/desk/holdfast", "see /desk/notes.txt"), 1);
        assert_eq!(count("/desk/holdfast", "`/desk/holdfast`"), 1);
        assert_eq!(count("/home/me/holdfast", "in \"/home/me/holdfast/a\""), 1);
        assert_eq!(count("/home/me/holdfast", "/home/holdfast and /usr/bin"), 0);
        assert_eq!(count("/desk/holdfast", "rtsp://host/desk/1 and apps/desk/x and ./desk/"), 0);
        assert_eq!(count("/usr/src/holdfast", "/usr/bin/env"), 0);
    }

    #[test]
    fn installed_once_offends() {
        let files =
            ["dbus/org.holdfast.A.conf", "yocto-layer/files/org.holdfast.A.conf", "apps/a/x.service", "b/x.service"];
        let files: Vec<TextFile> = files.iter().map(|path| TextFile::new(path, "")).collect();
        assert_eq!(installed_once(&files).len(), 2);
        assert_eq!(installed_once(&files[..1]).len(), 0);
    }
}
