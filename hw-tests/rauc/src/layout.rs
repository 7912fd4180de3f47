//! The same files for a RAUC that somebody else starts, as systemd does.

use std::path::{Path, PathBuf};

use holdfast_bundle::{Format, Tools};

use crate::Wrap;
use crate::bundles::{Keys, noise};
use crate::files::{self, Config};
use crate::rig::{has_device_mapper, missing};

const SLOT_BYTES: u64 = 4 << 20;

/// Slots, a boot backend, `system.conf` and keys in a directory. RAUC finds it under another path, it may be.
pub struct Layout {
    tools: Tools,
    keys: Keys,
    dir: PathBuf,
}

impl Layout {
    /// Lays them out in `dir`, which RAUC will find as `at`. `None`, aloud, where it could not install.
    #[must_use]
    pub fn make(dir: &Path, at: &Path) -> Option<Self> {
        let tools = Tools::default();
        if let Some(why) = missing(&tools) {
            holdfast_aloud::skip(why);
            return None;
        }
        let keys = Keys::make(&tools, dir, false);
        for (seed, name) in (1..).zip(["slot.A", "slot.B"]) {
            noise(&dir.join(name), SLOT_BYTES, seed);
        }
        let devices = ["slot.A", "slot.B"].map(|name| at.join(name));
        let keyring = at.join(keys.keyring.strip_prefix(dir).unwrap());
        let config = Config {
            compatible: "holdfast-rig",
            formats: None,
            activate: false,
            strict: false,
            keyring: &keyring,
            devices: [&devices[0], &devices[1]],
            at,
        };
        files::write(dir, &config);
        Some(Self { tools, keys, dir: dir.to_owned() })
    }

    /// A bundle of this version, beside the slots.
    #[must_use]
    pub fn bundle(&self, version: &str) -> PathBuf {
        let (image, out) = (self.dir.join("system.img"), self.dir.join(format!("{version}.raucb")));
        noise(&image, 2 << 20, 7);
        let format = if has_device_mapper() { Format::Verity } else { Format::Plain };
        self.keys.bundle(&self.tools, &image, &Wrap { version, ..Wrap::default() }, format, &out);
        out
    }
}
