//! Holds `docs/configuration.md` to the schema, and the schema to itself.

use holdfast_settings::documented::disagreements;

use crate::schema::{INPUT, TABLES};

const PAGE: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_page_names_every_key_with_its_default_bounds_and_variable() {
    let mut wrong = disagreements(PAGE, "[[input]]", INPUT);
    for (table, keys) in TABLES {
        wrong.extend(disagreements(PAGE, &format!("[{table}]"), keys));
    }
    assert!(wrong.is_empty(), "docs/configuration.md disagrees with the schema:\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_row_is_noticed() {
    assert!(!disagreements(&PAGE.replace("| `80` |", "| `81` |"), "[storage]", TABLES[0].1).is_empty());
    assert!(!disagreements(PAGE, "[storage]", INPUT).is_empty());
}

#[test]
fn defaults_and_examples_are_allowed() {
    for key in TABLES.iter().flat_map(|(_, keys)| *keys).chain(INPUT) {
        assert!(key.is_sound(), "{key:?}");
    }
}
