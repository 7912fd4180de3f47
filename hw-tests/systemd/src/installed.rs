//! Installing what was built, as `cargo xtask install` does for a package.

use std::path::Path;
use std::process::Command;

/// Why there is no installed tree.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Cargo is not there.
    #[error("cargo does not start: {0}")]
    Cargo(std::io::Error),
    /// The build or the installation failed.
    #[error("`cargo xtask install` failed ({status}):\n{said}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its standard error.
        said: String,
    },
}

/// Builds as tests are built, and installs below `root`.
///
/// # Errors
/// When that fails, with what was said.
pub fn install(root: &Path) -> Result<(), InstallError> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "--quiet", "--package", "xtask", "--", "install", "--profile", "dev", "--root"])
        .arg(root)
        .output()
        .map_err(InstallError::Cargo)?;
    if output.status.success() {
        return Ok(());
    }
    Err(InstallError::Failed { status: output.status, said: String::from_utf8_lossy(&output.stderr).into_owned() })
}
