//! Holds a page of documentation to the rows of a schema. For tests.

use crate::schema::{Absent, Key, Takes};

/// Where a page disagrees with the rows of the table under the heading ``## `header` ``: each key has a row of a Markdown
/// table there, with its default, its bounds and its variable, and nothing else has. The columns are found by their names:
/// `key`, `default`, `allowed`, `environment`; what a page has no column for is not asked of it.
#[must_use]
pub fn disagreements(page: &str, header: &str, keys: &[Key]) -> Vec<String> {
    let rows = rows(page, header);
    let mut wrong: Vec<String> = Vec::new();
    for key in keys {
        match rows.iter().find(|row| row.cell("key") == Some(&code(key.name))) {
            Some(row) => wrong.extend(row.disagreements(key).into_iter().map(|what| format!("{header} {what}"))),
            None => wrong.push(format!("{header} `{}` has no row", key.name)),
        }
    }
    let named = rows.iter().filter_map(|row| row.cell("key"));
    let unknown = named.filter(|name| !keys.iter().any(|key| code(key.name) == *name));
    wrong.extend(unknown.map(|name| format!("{header} {name} is no key")));
    wrong
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// A row of a Markdown table: its cells, by the names of the columns.
#[derive(Debug)]
struct Row<'p>(Vec<(&'p str, &'p str)>);

impl Row<'_> {
    fn cell(&self, column: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == column).map(|(_, cell)| *cell)
    }

    fn disagreements(&self, key: &Key) -> Vec<String> {
        let default = match key.absent {
            Absent::Default(value) => Some(code(value)),
            Absent::Mistake => Some("must be written".to_owned()),
            // The page says in words what holds then.
            Absent::Nothing => None,
        };
        let bounds = match key.takes {
            Takes::Number { min, max, .. } => Some(format!("{min}–{max}")),
            _ => None,
        };
        let environment = key.environment.map(code);
        let wanted = [("default", default, false), ("allowed", bounds, true), ("environment", environment, false)];
        wanted
            .into_iter()
            .filter_map(|(column, wanted, begins)| Some((column, self.cell(column)?, wanted?, begins)))
            .filter(|(_, cell, wanted, begins)| if *begins { !cell.starts_with(wanted) } else { cell != wanted })
            .map(|(column, cell, wanted, _)| format!("`{}`: {column} is {wanted}, the page says {cell}", key.name))
            .collect()
    }
}

/// The rows of the tables in one section.
fn rows<'p>(page: &'p str, header: &str) -> Vec<Row<'p>> {
    let heading = format!("## {}", code(header));
    let section = page.lines().skip_while(|line| !line.starts_with(&heading)).skip(1);
    let mut columns: Option<Vec<&str>> = None;
    let mut rows = Vec::new();
    for line in section.take_while(|line| !line.starts_with("## ")) {
        if !line.starts_with('|') {
            columns = None;
            continue;
        }
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        match &columns {
            None => columns = Some(cells),
            Some(_) if line.starts_with("|--") => {}
            Some(columns) => rows.push(Row(columns.iter().copied().zip(cells).collect())),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [Key; 2] = [
        Key::with_default("fill", Takes::Number { min: 1, max: 99, what: "percent" }, "80").or_environment("FILL"),
        Key::new("root", Takes::Text { allowed: "a path", test: |_| true }, Absent::Mistake, "\"/srv\""),
    ];
    const PAGE: &str = "# Page\n\n## `[store]`\n\nWords.\n\n\
        | key | default | allowed | environment |\n|---|---|---|---|\n\
        | `fill` | `80` | 1–99, below all | `FILL` |\n| `root` | must be written | a path | |\n\n## `[other]`\n\n\
        | key | default |\n|---|---|\n| `x` | `1` |\n";

    #[test]
    fn a_page_that_agrees_is_not_blamed() {
        assert_eq!(disagreements(PAGE, "[store]", &KEYS), Vec::<String>::new());
        let no_variable = PAGE.replace(" | environment |", " |").replace("|---|---|---|---|", "|---|---|---|");
        assert_eq!(disagreements(&no_variable, "[store]", &KEYS), Vec::<String>::new());
    }

    #[test]
    fn every_way_of_disagreeing_is_noticed() {
        for (right, wrong, told) in [
            ("`80`", "`81`", "[store] `fill`: default is `80`, the page says `81`"),
            ("must be written", "`\"/srv\"`", "[store] `root`: default is must be written, the page says `\"/srv\"`"),
            ("1–99", "1–98", "[store] `fill`: allowed is 1–99, the page says 1–98, below all"),
            ("`FILL`", "`FULL`", "[store] `fill`: environment is `FILL`, the page says `FULL`"),
            ("| `root`", "| `roots`", "[store] `root` has no row"),
        ] {
            let disagreements = disagreements(&PAGE.replace(right, wrong), "[store]", &KEYS);
            assert_eq!(disagreements.first().map(String::as_str), Some(told));
        }
        assert_eq!(disagreements(PAGE, "[store]", &KEYS[..1]), ["[store] `root` is no key"]);
        assert_eq!(disagreements(PAGE, "[none]", &KEYS[..1]), ["[none] `fill` has no row"]);
    }
}
