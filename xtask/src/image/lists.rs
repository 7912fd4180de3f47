//! Lists in `hw-tests/appliance`: one name or pattern per line, the reason behind a `#`.

use std::path::Path;

use anyhow::Context;

/// Reads a list.
pub fn read(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<String> {
    let names = text.lines().map(|line| line.split_once('#').map_or(line, |(name, _)| name).trim());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn comments_and_empty_lines_are_no_names() {
        assert_eq!(super::parse("# head\n\na # why\n  b\n"), ["a", "b"]);
    }
}
