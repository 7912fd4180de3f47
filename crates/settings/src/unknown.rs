//! What is written that no row knows.

use crate::reader::Reader;
use crate::schema::Key;
use crate::scope::Scope;
use crate::texts::{nearest, quoted};

impl Reader<'_> {
    /// Notes every key of this table that has no row, that does not go with the table's variant, and that is no table among
    /// `tables`. `elsewhere` says what to do about a key that belongs into another place.
    pub fn unknown(&mut self, scope: &Scope<'_>, tables: &[&str], elsewhere: impl Fn(&str) -> Option<String>) {
        let names: Vec<&str> = scope
            .keys
            .iter()
            .filter(|key| scope.takes(key))
            .map(|key| key.name)
            .chain(tables.iter().copied())
            .collect();
        for (name, node) in scope.values.into_iter().flatten() {
            if names.contains(&name.as_str()) {
                continue;
            }
            let (problem, remedy) = match (scope.key(name), &scope.variant) {
                (Some(key), Some((by, is))) => misplaced(scope, key, by, is),
                _ => {
                    let near = || nearest(name, names.iter().copied()).map(|near| format!("did you mean {near}?"));
                    let remedy = elsewhere(name).or_else(near).unwrap_or_else(|| "remove it".to_owned());
                    (format!("unknown key {}", scope.full(name)), remedy)
                }
            };
            let mut mistake = self.mistake_at_key(scope, name, &node.origin);
            (mistake.problem, mistake.remedy) = (problem, remedy);
            mistake.allowed = Some(names.join(", "));
            self.mistakes.push(mistake);
        }
    }
}

fn misplaced(scope: &Scope<'_>, key: &Key, by: &str, is: &str) -> (String, String) {
    let problem = format!("{} does not go with {by} = \"{is}\"", scope.full(key.name));
    let variants = quoted(key.variants, " or ");
    (problem, format!("{} is for {by} = {variants}; remove it here or change the {by}", key.name))
}
