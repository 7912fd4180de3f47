//! Reads any text as a configuration.

use holdfast_config::Config;

/// One input.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Config::from_toml(&text, "holdfast.toml") {
        Ok(config) => {
            for input in &config.inputs {
                // Names stand in paths, unit names and object paths.
                assert!(!input.name.is_empty() && input.name.len() <= 32, "{:?}", input.name);
                assert!(input.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
                // Follows from the configuration alone.
                assert_eq!(input.digest(&config), input.digest(&config));
            }
            assert!(config.storage.root.is_absolute());
        }
        Err(mistakes) => {
            assert!(!mistakes.mistakes().is_empty());
            for mistake in mistakes.mistakes() {
                assert!(!mistake.problem.is_empty() && !mistake.remedy.is_empty());
            }
            assert!(!mistakes.to_string().is_empty());
            drop(mistakes.render(true));
        }
    }
}
