//! What recipes take from elsewhere in the repository, as files that they include: not committed, so that they can't be stale.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::layer;
use clap::ValueEnum as _;

use crate::bundle::Board;
use crate::install::{FILES, MASKED, PROGRAMS, for_board};
use crate::terminal;
use crate::workspace::root;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// `Cargo.lock`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    version: String,
    /// None: it is ours.
    source: Option<String>,
    checksum: Option<String>,
}

/// Writes both files beside the recipe.
pub fn run() -> anyhow::Result<()> {
    let path = root().join("Cargo.lock");
    let text = fs::read_to_string(&path).with_context(|| format!("{} can't be read", path.display()))?;
    let (crates, count) = crates(&text).with_context(|| path.display().to_string())?;
    write("holdfast-crates.inc", &crates)?;
    write("holdfast-files.inc", &files())?;
    terminal::good(&format!("{count} crates and {} files for the recipe holdfast", FILES.len()));
    Ok(())
}

pub fn directory() -> PathBuf {
    layer().join("recipes-holdfast/holdfast-programs")
}

/// Leaves a file alone that says the same already: BitBake parses again what is newer.
fn write(name: &str, text: &str) -> anyhow::Result<()> {
    let path = directory().join(name);
    if fs::read_to_string(&path).is_ok_and(|present| present == text) {
        return Ok(());
    }
    fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))
}

/// The crates of a lock file as sources for BitBake's fetcher, and how many they are. All of them, those of tests, too: cargo wants to
/// see each that the lock file names.
fn crates(lock: &str) -> anyhow::Result<(String, usize)> {
    let lock: Lock = toml::from_str(lock)?;
    let mut sources = String::new();
    let mut sums = String::new();
    let mut count = 0;
    for Package { name, version, source, checksum } in &lock.package {
        let Some(source) = source else { continue };
        if source != REGISTRY {
            bail!("{name} {version} comes from {source}: the recipe knows crates.io alone; take a release from there");
        }
        let Some(checksum) = checksum else {
            bail!("{name} {version} has no checksum; run `cargo generate-lockfile`");
        };
        writeln!(sources, "    crate://crates.io/{name}/{version} \\")?;
        writeln!(sums, "SRC_URI[{name}-{version}.sha256sum] = \"{checksum}\"")?;
        count += 1;
    }
    let text =
        format!("# Written by `cargo xtask yocto generate` from Cargo.lock.\n\nSRC_URI += \"\\\n{sources}\"\n{sums}");
    Ok((text, count))
}

/// What is built and what is installed, as the table of `cargo xtask install` has it.
fn files() -> String {
    let mut text = "# Written by `cargo xtask yocto generate` from xtask/src/install.rs.\n\n".to_owned();
    let packages = PROGRAMS.map(|(package, _)| package).join(" ");
    let programs = PROGRAMS.map(|(_, program)| program).join(" ");
    text += &format!(
        "HOLDFAST_CARGO_PACKAGES = \"{packages}\"\nHOLDFAST_PROGRAMS = \"{programs}\"\nHOLDFAST_FILES = \"\\\n"
    );
    for (from, to) in FILES {
        text += &format!("    {from}:{to}:0644 \\\n");
    }
    text += "\"\n";
    for board in Board::value_variants() {
        text += &format!("\nHOLDFAST_FILES_{} = \"\\\n", board.name().to_uppercase());
        for (from, to, mode) in for_board(*board) {
            text += &format!("    {from}:{to}:0{mode:o} \\\n");
        }
        text += "\"\n";
    }
    text + &format!("\nHOLDFAST_MASKED = \"{}\"\n", MASKED.join(" "))
}

#[cfg(test)]
mod tests {
    use super::{crates, files};
    use crate::workspace::root;
    use std::fs;

    const LOCK: &str = r#"
version = 4
[[package]]
name = "anyhow"
version = "1.0.103"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "ab12"
[[package]]
name = "ours"
version = "0.1.0"
"#;

    #[test]
    fn crates_of_a_lock_file_are_sources_with_sums() {
        let (text, count) = crates(LOCK).unwrap();
        assert_eq!(count, 1);
        assert!(text.contains("\n    crate://crates.io/anyhow/1.0.103 \\\n"), "{text}");
        assert!(text.contains("\nSRC_URI[anyhow-1.0.103.sha256sum] = \"ab12\"\n"), "{text}");
        assert!(!text.contains("ours"), "{text}");
    }

    #[test]
    fn a_crate_that_bitbake_could_not_fetch_is_refused() {
        let git =
            LOCK.replace("registry+https://github.com/rust-lang/crates.io-index", "git+https://example.org/anyhow");
        assert!(crates(&git).unwrap_err().to_string().contains("take a release"));
        assert!(crates(&LOCK.replace("checksum = \"ab12\"", "")).unwrap_err().to_string().contains("no checksum"));
    }

    /// The repository's own lock file can be built by the recipe.
    #[test]
    fn our_crates_can_be_fetched() {
        let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
        assert!(crates(&lock).unwrap().1 > 100);
    }

    /// What a board has beside is there for each, with its mode.
    #[test]
    fn boards_have_their_own_files() {
        let text = files();
        assert!(text.contains("\nHOLDFAST_FILES_JETSON = \"\\\n"), "{text}");
        assert!(text.contains("    ota/jetson/boot-backend:usr/lib/holdfast/boot-backend:0755 \\\n"), "{text}");
        assert!(text.contains("    ota/system.conf/rk3588.conf:etc/rauc/system.conf:0644 \\\n"), "{text}");
        let include = fs::read_to_string(super::layer().join("conf/machine/include/holdfast-board.inc")).unwrap();
        let boards = include.lines().filter_map(|line| line.strip_prefix("HOLDFAST_BOARD:")?.split('"').nth(1));
        for board in boards {
            assert!(text.contains(&format!("HOLDFAST_FILES_{} = ", board.to_uppercase())), "no files for {board}");
        }
    }

    /// Each file of the table goes into a package of the recipe, by a pattern of its own: what is left over would fail the build
    /// hours later.
    #[test]
    fn the_recipe_packs_every_file() {
        let recipe =
            fs::read_to_string(super::directory().join(format!("holdfast-programs_{}.bb", env!("CARGO_PKG_VERSION"))))
                .unwrap();
        let patterns = super::super::layers::packed(&recipe);
        assert!(patterns.len() > 15, "{patterns:?}");
        let names = files();
        let table = names.split("HOLDFAST_FILES = ").nth(1).unwrap().split("\n\"\n").next().unwrap();
        let rows: Vec<&str> = table.lines().filter_map(|line| line.trim().strip_suffix(":0644 \\")).collect();
        assert_eq!(rows.len(), super::FILES.len());
        for row in rows {
            let to = row.split(':').nth(1).unwrap();
            assert!(
                patterns.iter().any(|pattern| super::super::layers::matches(pattern, to)),
                "no FILES of the recipe holdfast takes {to}"
            );
        }
    }

    /// What is built anew after a change of: all that cargo wants to see, and all that is installed.
    #[test]
    fn the_recipe_knows_what_it_is_built_of() {
        let recipe = fs::read_to_string(super::directory().join("holdfast-source.inc")).unwrap();
        let list = recipe.split("HOLDFAST_TREE_SOURCES = \"").nth(1).unwrap().split('"').next().unwrap();
        let sources: Vec<&str> = list.split_whitespace().collect();
        assert!(sources.iter().all(|name| root().join(name).exists()), "{sources:?}");
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        let members = manifest["workspace"]["members"].as_array().unwrap();
        let members = members.iter().map(|member| member.as_str().unwrap().to_owned());
        let names = files();
        let installed = names.lines().filter_map(|line| line.trim().split_once(':')).map(|(from, _)| from.to_owned());
        for path in members.chain(installed) {
            let top = path.split('/').next().unwrap();
            assert!(sources.contains(&top), "HOLDFAST_TREE_SOURCES has no {top}, where {path} is");
        }
    }
}
