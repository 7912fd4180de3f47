//! The server's libraries, in the user's cache directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Changes with `pom.xml`.
const NAME: &str = "hawkbit-0.3.0M7";

/// The directory with all jars; fetched by `mvn` if this user has not got it yet.
pub(crate) fn fetched() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or(home);
    let cache = cache.context("neither HOME nor XDG_CACHE_HOME says where to keep the server")?.join("holdfast");
    fs::create_dir_all(&cache).with_context(|| cache.display().to_string())?;
    // Several tests may start at once; one fetches.
    let lock = File::create(cache.join(format!("{NAME}.lock")))?;
    lock.lock()?;
    let there = cache.join(NAME);
    if there.is_dir() {
        return Ok(there);
    }
    let work = tempfile::Builder::new().prefix(NAME).tempdir_in(&cache)?;
    fs::write(work.path().join("pom.xml"), include_str!("pom.xml"))?;
    let output = Command::new("mvn")
        .args(["--batch-mode", "--quiet", "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"])
        .args(["-DoutputDirectory=lib", "-DincludeScope=runtime"])
        .current_dir(work.path())
        .output()
        .context("mvn can't be run; install the package maven")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "mvn can't fetch hawkBit from Maven Central: {}",
        said.chars().take(600).collect::<String>()
    );
    fs::rename(work.path().join("lib"), &there)?;
    Ok(there)
}
