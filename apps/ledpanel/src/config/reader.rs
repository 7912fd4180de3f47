//! How the panel reads: after a mistake it goes on with a value that fits, so that all mistakes are found. The configuration
//! that comes of it is thrown away.

use holdfast_settings::{Node, Picked, Reader, Scope, Value};

/// A value, or one to go on with.
pub(super) trait OrAny<T> {
    fn or_any(self) -> T;
}

impl<T: Default> OrAny<T> for Option<Picked<T>> {
    fn or_any(self) -> T {
        self.map(|picked| picked.value).unwrap_or_default()
    }
}

/// Notes that something is no table, or no list of them.
pub(super) fn not_a_table(reader: &mut Reader<'_>, key: &str, node: &Node, header: &str) {
    let mut mistake = reader.mistake_in(key.to_owned(), &node.origin);
    mistake.problem = format!("{key} is {}, and should be {header}", node.value.kind());
    mistake.remedy = format!("write {header} on a line of its own, and its keys below");
    reader.mistakes.push(mistake);
}

/// The tables of a list such as `[[device]]`. Anything else is noted.
pub(super) fn tables<'t>(reader: &mut Reader<'_>, parent: &Scope<'t>, name: &str, header: &str) -> Vec<&'t Node> {
    let Some(node) = parent.written(name) else { return Vec::new() };
    let Value::Array(items) = &node.value else {
        not_a_table(reader, &parent.full(name), node, header);
        return Vec::new();
    };
    let (tables, others): (Vec<_>, Vec<_>) = items.iter().partition(|item| matches!(item.value, Value::Table(_)));
    for other in others {
        not_a_table(reader, &parent.full(name), other, header);
    }
    tables
}
