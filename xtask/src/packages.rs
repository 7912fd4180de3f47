//! `packages/debian.txt`: what we need from the distribution.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, bail};

/// One line: any of these names will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    pub names: Vec<String>,
    /// What needs it.
    pub reason: String,
}

/// Reads the list. All sections: whoever sets up a machine wants to build, run and test.
pub fn read(root: &Path) -> anyhow::Result<Vec<Package>> {
    let path = root.join("packages/debian.txt");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> anyhow::Result<Vec<Package>> {
    let mut packages = Vec::new();
    let mut section = None;
    for (number, line) in text.lines().enumerate() {
        let (names, reason) = line.split_once('#').unwrap_or((line, ""));
        let (names, reason) = (names.trim(), reason.trim());
        if names.is_empty() {
            continue;
        }
        if let Some(name) = names.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            section = Some(name);
            continue;
        }
        let line = number + 1;
        if section.is_none() {
            bail!("line {line}: \"{names}\" stands in no section");
        }
        if reason.is_empty() {
            bail!("line {line}: \"{names}\" has no reason; say behind a # what needs it");
        }
        let names: Vec<String> = names.split('|').map(|name| name.trim().to_owned()).collect();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
        if let Some(bad) = names.iter().find(|name| name.is_empty() || !name.chars().all(allowed)) {
            bail!("line {line}: \"{bad}\" is no name of a package");
        }
        packages.push(Package { names, reason: reason.to_owned() });
    }
    Ok(packages)
}

/// Those of which no alternative is installed.
pub fn missing<'p>(packages: &'p [Package], installed: &HashSet<String>) -> Vec<&'p Package> {
    packages.iter().filter(|package| !package.names.iter().any(|name| installed.contains(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Package, missing, parse, read};

    #[test]
    fn the_list_of_this_repository_reads() {
        let packages = read(crate::workspace::root()).unwrap();
        assert!(packages.iter().any(|package| package.names == ["gcc"]), "{packages:?}");
    }

    #[test]
    fn alternatives_comments_and_sections() {
        let packages = parse("# head\n[build]\na | b-1.0 # why, # and how\n\n  [test] # section\nc++ #x\n").unwrap();
        let package = |names: &[&str], reason: &str| Package {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            reason: reason.to_owned(),
        };
        assert_eq!(packages, [package(&["a", "b-1.0"], "why, # and how"), package(&["c++"], "x")]);
        let installed = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(missing(&packages, &installed(&["b-1.0"])), [&packages[1]]);
        assert_eq!(missing(&packages, &installed(&["a", "c++"])), Vec::<&Package>::new());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, part) in [
            ("gcc # linker", "line 1: \"gcc\" stands in no section"),
            ("[build]\ngcc", "line 2: \"gcc\" has no reason"),
            ("[build]\nG CC # linker", "line 2: \"G CC\" is no name"),
            ("[build]\na | # linker", "line 2: \"\" is no name"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
