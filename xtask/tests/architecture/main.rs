//! Holds the code to the "never" list of ARCHITECTURE.md.
//!
//! Each rule is a function in [`rules`], [`dependencies`] or [`documents`] and is shown there to fail on a sample that
//! offends it; here it runs over the repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod dependencies;
mod documents;
mod rules;
mod tokens;
mod tree;

use tree::TextFile;

/// Fails with all offences, not with the first.
fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

fn over_sources(rule: impl Fn(&TextFile) -> Vec<String>) -> Vec<String> {
    let files = tree::files();
    files.iter().filter(|file| file.extension() == "rs").flat_map(rule).collect()
}

#[test]
fn forbidden_dependencies() {
    let graph = dependencies::graph(&dependencies::metadata());
    let mut offences = vec![];
    for (package, never) in dependencies::NEVER {
        let there = graph.contains_key(package);
        assert!(
            there || dependencies::TO_COME.contains(&package),
            "{package} is gone: its rule holds nothing any more"
        );
        offences.extend(dependencies::offences(&graph, package, never));
    }
    none(&offences);
}

#[test]
fn no_features_of_our_own() {
    let metadata = dependencies::metadata();
    let with_features = metadata.workspace_packages().into_iter().filter(|package| !package.features.is_empty());
    none(&with_features.map(|package| format!("{} has cargo features", package.name)).collect::<Vec<_>>());
}

#[test]
fn link_is_no_std() {
    let files = tree::files();
    let link =
        |file: &&TextFile| file.path.starts_with("crates/link/src") || file.path.starts_with("crates/framemark/src");
    none(&files.iter().filter(link).flat_map(rules::no_std).collect::<Vec<_>>());
    let metadata = dependencies::metadata();
    let package = metadata.packages.iter().find(|package| package.name == "holdfast-link").unwrap();
    let normal = package.dependencies.iter().filter(|dep| dep.kind == cargo_metadata::DependencyKind::Normal);
    let std = normal.filter(|dep| {
        dep.uses_default_features && has_std_default(&dep.name) || dep.features.iter().any(|f| f.ends_with("std"))
    });
    none(&std.map(|dep| format!("holdfast-link takes {} with std", dep.name)).collect::<Vec<_>>());
}

/// Crates whose default features need `std`.
fn has_std_default(name: &str) -> bool {
    matches!(name, "serde" | "serde_core" | "postcard" | "thiserror")
}

#[test]
fn pure_cores() {
    none(&over_sources(rules::pure_core));
}

#[test]
fn segment_and_journal_know_no_processes() {
    none(&over_sources(rules::no_processes));
}

#[test]
fn no_conditional_code() {
    none(&over_sources(rules::no_conditional_code));
}

#[test]
fn only_wiring_picks() {
    none(&over_sources(rules::only_wiring_picks));
}

#[test]
fn no_unbounded_channel() {
    none(&over_sources(rules::no_unbounded_channel));
}

#[test]
fn channels_say_what_when_full() {
    none(&over_sources(rules::channels_say_what_when_full));
}

#[test]
fn installed_files_are_there_once() {
    none(&rules::installed_once(&tree::files()));
}

#[test]
fn no_workplace() {
    let root = tree::root();
    let root = root.to_str().unwrap();
    none(&tree::files().iter().flat_map(|file| rules::no_workplace(file, root)).collect::<Vec<_>>());
}

#[test]
fn no_dead_links() {
    let root = tree::root();
    none(&documents::dead_links(&tree::files(), |path| root.join(path).exists()));
}

#[test]
fn the_map_names_tests_that_are_there() {
    let map = std::fs::read_to_string(tree::root().join("ARCHITECTURE.md")).unwrap();
    let named = documents::tests_named(&map);
    assert!(named.len() >= 8, "the map names only {named:?}");
    let here = include_str!("main.rs");
    let missing = named.iter().filter(|name| !here.contains(&format!("\nfn {name}(")));
    none(&missing.map(|name| format!("ARCHITECTURE.md names `{name}`, and there is no such test")).collect::<Vec<_>>());
}

#[test]
fn the_problems_of_updates_name_tests_that_are_there() {
    let page = std::fs::read_to_string(tree::root().join("docs/update-problems.md")).unwrap();
    let rows = documents::held_by(&page);
    assert!(rows.len() >= 20, "the page has only {} rows", rows.len());
    let files = tree::files();
    let is_there =
        |name: &str| files.iter().any(|file| file.extension() == "rs" && file.text.contains(&format!("fn {name}(")));
    let mut missing = vec![];
    for (row, names) in &rows {
        if names.is_empty() {
            missing.push(format!("docs/update-problems.md: no test holds {row}"));
        }
        let gone = names.iter().filter(|name| !is_there(name));
        missing.extend(gone.map(|name| format!("docs/update-problems.md names `{name}`, and there is no such test")));
    }
    none(&missing);
}
