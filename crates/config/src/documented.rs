//! Holds `docs/configuration.md` to the schema: a row for every key, with its default and bounds, and none for others.

use crate::schema::{Absent, INPUT, Key, Kind, TABLES};

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// The cells of the table rows below the heading of one table.
fn rows(table: &str) -> Vec<Vec<&'static str>> {
    let heading = format!("## `{table}`");
    let section = PAGE.split_once(&heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn agrees(row: &[&str], key: &Key) -> Result<(), String> {
    let expected = match key.absent {
        Absent::Default(value) => format!("`{value}`"),
        Absent::Mistake => "must be written".to_owned(),
        Absent::Nothing => return Ok(()),
    };
    if row[1] != expected {
        return Err(format!("`{}`: the default is {expected}, the page says {}", key.name, row[1]));
    }
    Ok(())
}

fn holds(table: &str, keys: &[Key]) -> Vec<String> {
    let rows = rows(table);
    let mut wrong: Vec<String> = Vec::new();
    for key in keys {
        let name = format!("`{}`", key.name);
        let Some(row) = rows.iter().find(|row| row[0] == name) else {
            wrong.push(format!("[{table}] {name} has no row"));
            continue;
        };
        wrong.extend(agrees(row, key).err());
        if let Kind::Number { min, max, .. } = key.kind
            && !row[2].starts_with(&format!("{min}–{max}"))
        {
            wrong.push(format!("{name} allows {min}–{max}, the page says {}", row[2]));
        }
        if let Some(variable) = key.environment
            && row[3] != format!("`{variable}`")
        {
            wrong.push(format!("{name} is overridden by {variable}, the page says {}", row[3]));
        }
    }
    let unknown = rows.iter().filter(|row| !keys.iter().any(|key| row[0] == format!("`{}`", key.name)));
    wrong.extend(unknown.map(|row| format!("[{table}] {} is no key", row[0])));
    wrong
}

#[test]
fn the_page_names_every_key_with_its_default_bounds_and_variable() {
    let mut wrong = holds("[[input]]", INPUT);
    for (table, keys) in TABLES {
        wrong.extend(holds(&format!("[{table}]"), keys));
    }
    assert!(wrong.is_empty(), "docs/configuration.md disagrees with the schema:\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_row_is_noticed() {
    let key = &TABLES[0].1[2];
    assert!(agrees(&["`warn_percent`", "`81`", "1–99"], key).is_err());
    assert!(agrees(&["`warn_percent`", "`80`", "1–99"], key).is_ok());
    assert!(!holds("[storage]", INPUT).is_empty());
}
