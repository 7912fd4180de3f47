//! A number that changes when an input's capture would have to be restarted.

use crate::types::{Config, Input};

impl Input {
    /// A digest of all that matters to this input's capture: the input itself, how footage is cut and where it goes.
    /// Stable over processes and boots of the same version. A capture that runs with another digest than the present
    /// configuration gives was started with an older configuration.
    #[must_use]
    pub fn digest(&self, config: &Config) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast 2026 configuration of one input");
        // `Debug` of these plain types writes every field; what is added to them is in the digest by itself.
        for part in [
            format!("{self:?}"),
            format!("{:?}", config.recording),
            format!("{:?}{:?}", config.storage.root, config.storage.filesystem),
            format!("{:?}", config.protection.capture_cpus),
        ] {
            hasher.update(part.as_bytes());
            hasher.update(&[0]);
        }
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use crate::Config;

    const TEXT: &str = "[storage]\nroot = \"/srv/rec\"\n[[input]]\nname = \"a\"\nsource = \"test\"\n";

    fn digest(text: &str) -> u64 {
        let config = Config::from_toml(text, "x").unwrap();
        config.inputs[0].digest(&config)
    }

    #[test]
    fn changes_with_what_the_capture_does_and_with_nothing_else() {
        let base = digest(TEXT);
        assert_eq!(base, digest(&format!("# comment\n{TEXT}")));
        assert_eq!(base, digest(&format!("{TEXT}[[input]]\nname = \"b\"\nsource = \"test\"\n")));
        assert_eq!(base, digest(&format!("{TEXT}[recorder]\nbus = \"session\"\n")));
        for other in [
            "width = 640\n",
            "armed = false\n",
            "[recording]\nrotation_minutes = 6\n",
            "[protection]\ncapture_cpus = \"all\"\n",
        ] {
            assert_ne!(base, digest(&format!("{TEXT}{other}")), "{other}");
        }
        assert_ne!(base, digest(&TEXT.replace("/srv/rec", "/srv/other")));
    }
}
