//! The programs that do the work.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::NamedTempFile;

/// The programs that do the work: by name from `PATH`, or by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// `rauc` (Debian: rauc), which itself needs mksquashfs (squashfs-tools).
    pub rauc: PathBuf,
    /// `openssl`.
    pub openssl: PathBuf,
}

impl Default for Tools {
    fn default() -> Self {
        Self { rauc: "rauc".into(), openssl: "openssl".into() }
    }
}

/// Why there is no bundle, or no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is missing.
    #[error("{program} can't be started ({source}): install it (`cargo xtask setup` does)")]
    Missing {
        /// Which.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A program said no.
    #[error("{what} failed: {said}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the program said, its last lines.
        said: String,
    },
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something asked for makes no sense.
    #[error("{0}")]
    Wrong(String),
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// What a box believes, for a `rauc` that is to check a bundle as a box would: as in `ota/system.conf`.
pub(crate) fn as_a_box(keyring: &Path) -> Result<NamedTempFile, Error> {
    let keyring = std::path::absolute(keyring).map_err(file_error(keyring))?;
    let text = format!(
        "[system]\ncompatible=any\nbootloader=noop\n[keyring]\npath={}\ncheck-crl=true\ncheck-purpose=codesign\n",
        keyring.display()
    );
    let written = NamedTempFile::new().and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file));
    written.map_err(file_error(&std::env::temp_dir()))
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<String, Error> {
    // Its texts are read: not in the user's language.
    let output = command.env("LC_ALL", "C").output();
    let output = output.map_err(|source| Error::Missing { program: command.get_program().into(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.len().saturating_sub(6);
    let said = lines.get(last..).unwrap_or_default().join("; ");
    Err(Error::Failed { what: what.to_owned(), said })
}
