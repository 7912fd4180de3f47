//! What the box is like beside what RAUC says of it: read afresh for each look, and judged in [`preflight`](crate::preflight).

use std::path::{Path, PathBuf};

use clap::Args;
use holdfast_rauc::{EFIVARS, Environment, FW_ENV_CONFIG, Jetson, read_environment};

use crate::power::{POWER_SUPPLIES, Power};
use crate::target::Target;

/// Where it is read.
#[derive(Debug, Clone, Args)]
pub struct Roots {
    /// Where U-Boot's tools look for its environment.
    #[arg(long, default_value = FW_ENV_CONFIG, hide = true)]
    fw_env_config: PathBuf,
    /// Where the kernel shows the firmware's variables.
    #[arg(long, default_value = EFIVARS, hide = true)]
    efivars: PathBuf,
    /// Where the kernel shows the box's supplies.
    #[arg(long, default_value = POWER_SUPPLIES, hide = true)]
    power_supplies: PathBuf,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// U-Boot's environment; `None` where there is no U-Boot, or only its own tools can read it. Otherwise why it can't be read.
    pub environment: Result<Option<Environment>, String>,
    /// The firmware of a Jetson; `None` where it is none. Otherwise why it can't be read.
    pub jetson: Result<Option<Jetson>, String>,
    /// What the box runs on.
    pub power: Power,
    /// The other slot's device.
    pub target: Target,
    /// Bytes that are free for the updater's own state; `None`: nobody knows.
    pub state_free_bytes: Option<u64>,
}

impl Surroundings {
    /// Reads all of it, from disks too: not on a thread that must not wait.
    pub fn look(roots: &Roots, target: &Path, state_dir: &Path) -> Self {
        Self {
            environment: read_environment(&roots.fw_env_config).map_err(|error| error.to_string()),
            jetson: Jetson::read(&roots.efivars).map_err(|error| format!("{}: {error}", roots.efivars.display())),
            power: Power::read(&roots.power_supplies),
            target: Target::look(target),
            state_free_bytes: rustix::fs::statvfs(state_dir)
                .ok()
                .map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        }
    }
}

impl Roots {
    /// What the box runs on now.
    pub fn power(&self) -> Power {
        Power::read(&self.power_supplies)
    }
}
