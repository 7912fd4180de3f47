//! The layer's linters: programs of PyPI, in an environment of their own that is made once per user and list.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

use super::{generate, layer};
use crate::terminal;
use crate::workspace::root;

/// Which programs, in which releases.
const REQUIREMENTS: &str = "packages/yocto.txt";

/// What kas itself says of a file before it fetches anything.
const KAS_SCHEMA: &str = r#"
import importlib.resources, json, sys
import jsonschema, yaml
schema = json.loads(importlib.resources.files("kas").joinpath("schema-kas.json").read_text())
validator = jsonschema.validators.validator_for(schema)(schema)
bad = 0
for path in sys.argv[1:]:
    with open(path) as file:
        for error in validator.iter_errors(yaml.safe_load(file)):
            print(f"{path}: {'/'.join(map(str, error.absolute_path)) or 'the file'}: {error.message}")
            bad = 1
sys.exit(bad)
"#;

/// Runs all of them; fails with what they found.
pub fn run() -> anyhow::Result<String> {
    generate::run()?;
    let Some(tools) = environment()? else {
        let said = "SKIPPED: the layer's linters (PyPI can't be reached)";
        terminal::note(said);
        return Ok(said.to_owned());
    };
    let kas = files(&layer().join("kas"), &|path| path.extension().is_some_and(|extension| extension == "yml"))?;
    let recipes = files(&layer(), &|path| {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let configuration = extension == "conf" && path.components().any(|part| part.as_os_str() == "conf");
        matches!(extension, "bb" | "bbappend" | "bbclass") || configuration
    })?;
    let mut found = String::new();
    let mut lint = |name: &str, command: &mut Command| -> anyhow::Result<()> {
        let output = command.current_dir(layer()).output().with_context(|| format!("{name} does not start"))?;
        if !output.status.success() {
            found += &format!("{name}:\n{}", said(&output));
        }
        Ok(())
    };
    lint("yamllint", Command::new(tools.join("yamllint")).args(["--strict", "--config-file", ".yamllint"]).args(&kas))?;
    lint("kas", Command::new(tools.join("python3")).args(["-c", KAS_SCHEMA]).args(&kas))?;
    // Its configuration is found from where it runs. One job: with more it starts a process for each processor.
    lint(
        "oelint-adv",
        Command::new(tools.join("oelint-adv")).args(["--quiet", "--relpaths", "--jobs", "1"]).args(&recipes),
    )?;
    if !found.is_empty() {
        bail!("the layer's linters found something\n{found}");
    }
    let said = format!("{} recipes and {} kas files are clean", recipes.len(), kas.len());
    terminal::good(&said);
    Ok(said)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Where the programs are, installed when they are missing; `None` where there is no network to take them from.
fn environment() -> anyhow::Result<Option<PathBuf>> {
    let list = root().join(REQUIREMENTS);
    let text = fs::read(&list).with_context(|| format!("{} can't be read", list.display()))?;
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    let hash = blake3::hash(&text).to_hex();
    let environment = cache.join("holdfast/tools").join(format!("yocto-{}", &hash[..12]));
    let whole = environment.join("whole");
    if whole.exists() {
        return Ok(Some(environment.join("bin")));
    }
    terminal::note("installing the layer's linters, once for this user");
    fs::remove_dir_all(&environment).ok();
    let output =
        Command::new("python3").args(["-m", "venv"]).arg(&environment).output().context("python3 does not start")?;
    if !output.status.success() {
        bail!("python3 -m venv failed (`cargo xtask setup` installs what it needs): {}", said(&output));
    }
    let output = Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
        .arg(&list)
        .output()
        .context("pip does not start")?;
    if !output.status.success() {
        let said = said(&output);
        if is_unreachable(&said) {
            return Ok(None);
        }
        bail!("pip can't install what {REQUIREMENTS} lists: {said}");
    }
    // Last: an installation that was broken off is begun again.
    fs::write(&whole, "").with_context(|| format!("{} can't be written", whole.display()))?;
    Ok(Some(environment.join("bin")))
}

/// Whether pip failed for want of a network.
fn is_unreachable(said: &str) -> bool {
    ["NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "ProxyError"]
        .iter()
        .any(|error| said.contains(error))
}

/// All files below a directory that are wanted, sorted.
fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![];
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).with_context(|| format!("{} can't be read", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{REQUIREMENTS, files, is_unreachable};
    use crate::workspace::root;
    use std::fs;

    /// A linter that changes by itself fails a build that nobody changed.
    #[test]
    fn every_linter_is_pinned() {
        let text = fs::read_to_string(root().join(REQUIREMENTS)).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() >= 3 && lines.iter().all(|line| line.contains("==")), "{lines:?}");
    }

    #[test]
    fn files_are_found_at_any_depth_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("b/c")).unwrap();
        for name in ["z.bb", "b/c/a.bb", "b/x.inc"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found =
            files(directory.path(), &|path| path.extension().is_some_and(|extension| extension == "bb")).unwrap();
        assert_eq!(found, [directory.path().join("b/c/a.bb"), directory.path().join("z.bb")]);
    }

    #[test]
    fn only_a_missing_network_is_no_failure() {
        assert!(is_unreachable("Max retries exceeded … Caused by NewConnectionError('…')"));
        assert!(!is_unreachable("ERROR: No matching distribution found for oelint-adv==99"));
    }
}
