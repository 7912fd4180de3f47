//! Which libraries a program takes, and which libraries nobody takes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cache::{file_name, files_below};
use super::tools::output;

/// Where Debian has libraries of 64-bit ARM.
const LIBRARIES: &str = "usr/lib/aarch64-linux-gnu";

/// All libraries that a program is loaded with.
pub fn needed(root: &Path, program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut open = vec![program.to_owned()];
    while let Some(file) = open.pop() {
        for (_, names) in dynamic(&[file])? {
            for name in names {
                if let Entry::Vacant(entry) = found.entry(name) {
                    let path =
                        library(root, entry.key()).with_context(|| format!("{} is not in the image", entry.key()))?;
                    entry.insert(path.clone());
                    open.push(path);
                }
            }
        }
    }
    Ok(found.into_iter().map(|(name, path)| path.with_file_name(name)).collect())
}

/// Removes libraries that no program and no plugin of the image takes, but for those whose name begins as one of `keep`:
/// libraries that are opened by name at run time. What is said is what went.
pub fn sweep(root: &Path, keep: &[String]) -> anyhow::Result<Vec<String>> {
    let directory = root.join(LIBRARIES);
    let mut elves = Vec::new();
    for file in files_below(&root.join("usr"))? {
        if !file.is_symlink() && is_elf(&file) {
            elves.push(file);
        }
    }
    let takes: BTreeMap<PathBuf, Vec<String>> = dynamic(&elves)?.into_iter().collect();
    let in_pool = |file: &Path| file.parent() == Some(&directory) && file_name(file).contains(".so");
    let mut live: BTreeSet<PathBuf> = BTreeSet::new();
    let mut open: Vec<PathBuf> = elves
        .iter()
        .filter(|file| !in_pool(file) || keep.iter().any(|name| file_name(file).starts_with(name)))
        .cloned()
        .collect();
    while let Some(file) = open.pop() {
        for name in takes.get(&file).into_iter().flatten() {
            if let Some(real) = library(root, name).and_then(|path| path.canonicalize().ok())
                && live.insert(real.clone())
            {
                open.push(real);
            }
        }
        live.insert(file);
    }
    let mut gone = Vec::new();
    for file in elves.iter().filter(|file| in_pool(file) && !live.contains(*file)) {
        fs::remove_file(file)?;
        gone.push(file_name(file).to_owned());
    }
    // Names that lead nowhere now.
    for entry in fs::read_dir(&directory)?.flatten() {
        if entry.path().is_symlink() && !entry.path().exists() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(gone)
}

fn library(root: &Path, name: &str) -> Option<PathBuf> {
    [LIBRARIES, "usr/lib", "usr/lib/aarch64-linux-gnu/systemd"]
        .iter()
        .map(|directory| root.join(directory).join(name))
        .find(|path| path.exists())
}

fn is_elf(file: &Path) -> bool {
    let mut magic = [0; 4];
    fs::File::open(file).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && &magic == b"\x7fELF"
}

/// The libraries that each of these files names.
fn dynamic(files: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Vec<String>)>> {
    let mut told = Vec::new();
    // A command line holds so many names easily.
    for some in files.chunks(500) {
        for file in some {
            told.push((file.clone(), Vec::new()));
        }
        let start = told.len() - some.len();
        // Two files at least, or readelf does not say which one it speaks of; both then say the same.
        let twice = if some.len() == 1 { some } else { &[] };
        let said = output(Command::new("readelf").args(["--wide", "--dynamic"]).args(some).args(twice))?;
        let mut at = None;
        for line in said.lines() {
            if let Some(file) = line.strip_prefix("File: ") {
                at = told.iter().skip(start).position(|(path, _)| path.as_os_str() == file).map(|at| at + start);
            } else if line.contains("(NEEDED)")
                && let Some((_, rest)) = line.split_once('[')
                && let Some(names) = at.and_then(|at| told.get_mut(at))
            {
                names.1.push(rest.trim_end_matches(']').to_owned());
            }
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::dynamic;

    #[test]
    fn readelf_tells_what_a_program_takes() {
        let this = std::env::current_exe().unwrap();
        let told = dynamic(&[this]).unwrap();
        assert!(told[0].1.iter().any(|name| name.starts_with("libc.so")), "{told:?}");
    }
}
