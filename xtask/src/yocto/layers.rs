//! Which layers a board takes, and what recipes say, read without BitBake.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// A board that the layer builds for.
#[derive(Debug)]
pub struct Board {
    pub machine: &'static str,
    /// Layers of its own, below the directory of all.
    layers: &'static [&'static str],
}

/// As kas has them: a test holds the two together.
const COMMON: [&str; 5] = [
    "openembedded-core/meta",
    "meta-openembedded/meta-oe",
    "meta-openembedded/meta-python",
    "meta-openembedded/meta-networking",
    "meta-rauc",
];
const ROCKCHIP: &[&str] = &["meta-arm/meta-arm", "meta-arm/meta-arm-toolchain", "meta-rockchip"];
const TEGRA: &[&str] = &["meta-tegra"];

pub const BOARDS: [Board; 4] = [
    Board { machine: "qemuarm64", layers: &[] },
    Board { machine: "rock-5b", layers: ROCKCHIP },
    Board { machine: "jetson-orin-nano-devkit", layers: TEGRA },
    Board { machine: "jetson-agx-orin-devkit", layers: TEGRA },
];

impl Board {
    /// The layers' directories below one that holds them all.
    pub fn layers(&self, all: &Path) -> Vec<PathBuf> {
        COMMON.iter().chain(self.layers).map(|layer| all.join(layer)).collect()
    }

    /// Those that are not there.
    pub fn missing(&self, all: &Path) -> Vec<PathBuf> {
        let mut missing = self.layers(all);
        missing.retain(|layer| !layer.join("conf/layer.conf").is_file());
        missing
    }
}

/// The boards of these names; all without any.
pub fn boards(names: &[String]) -> anyhow::Result<Vec<&'static Board>> {
    if names.is_empty() {
        return Ok(BOARDS.iter().collect());
    }
    names
        .iter()
        .map(|name| match BOARDS.iter().find(|board| board.machine == name) {
            Some(board) => Ok(board),
            None => bail!("there is no board {name}; there are {}", BOARDS.map(|board| board.machine).join(", ")),
        })
        .collect()
}

/// The patterns of all `FILES:` of a recipe, as paths below the root.
#[cfg(test)]
pub fn packed(recipe: &str) -> Vec<String> {
    let recipe = recipe.replace("\\\n", " ");
    let assigned = recipe.lines().filter(|line| line.starts_with("FILES:"));
    let patterns = assigned.filter_map(|line| line.split('"').nth(1)).flat_map(str::split_whitespace);
    patterns
        .map(|pattern| {
            pattern
                .replace("${bindir}", "usr/bin")
                .replace("${datadir}", "usr/share")
                .replace("${sysconfdir}", "etc")
                .replace("${systemd_system_unitdir}", "usr/lib/systemd/system")
                .replace("${nonarch_libdir}", "usr/lib")
        })
        .collect()
}

/// Whether a pattern takes a path: itself, what is below it, or what its `*` stands for.
#[cfg(test)]
pub fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => {
            path.strip_prefix(before).is_some_and(|rest| rest.ends_with(after) && !rest.contains('/'))
        }
        None => path == pattern || path.strip_prefix(pattern).is_some_and(|rest| rest.starts_with('/')),
    }
}

#[cfg(test)]
mod tests;
