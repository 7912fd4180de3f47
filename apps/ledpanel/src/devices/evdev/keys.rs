//! Keys by the names that the kernel gives them.

use evdev::KeyCode;
use holdfast_settings::texts::nearest;

/// Codes of keys end here.
const KEY_CODES: u16 = 0x300;

/// There is no key of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no key \"{name}\"{}", did_you_mean(.near.as_ref()))]
pub struct UnknownKey {
    /// As it was written.
    pub name: String,
    /// The one that may have been meant.
    pub near: Option<String>,
}

fn did_you_mean(near: Option<&String>) -> String {
    near.map_or_else(
        || "; keys are called KEY_RECORD, KEY_F1, BTN_0".to_owned(),
        |near| format!("; did you mean {near}?"),
    )
}

/// A key by its name in the kernel's `input-event-codes.h`.
///
/// # Errors
/// There is none of that name.
pub fn key_code(name: &str) -> Result<KeyCode, UnknownKey> {
    name.parse().map_err(|_| UnknownKey { name: name.to_owned(), near: near(name) })
}

fn near(name: &str) -> Option<String> {
    let all: Vec<String> = (0..KEY_CODES).map(|code| format!("{:?}", KeyCode::new(code))).collect();
    // Some codes have no name.
    let named = || all.iter().map(String::as_str).filter(|name| name.starts_with("KEY_") || name.starts_with("BTN_"));
    let whole = ["", "KEY_", "BTN_"].map(|prefix| format!("{prefix}{}", name.to_uppercase()));
    let exact = whole.iter().find(|whole| named().any(|name| name == whole.as_str())).cloned();
    exact.or_else(|| nearest(name, named()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_by_name() {
        assert_eq!(key_code("KEY_RECORD"), Ok(KeyCode::KEY_RECORD));
        assert_eq!(key_code("BTN_0").unwrap().code(), 0x100);
        let near = |name| key_code(name).unwrap_err().near;
        assert_eq!(near("KEY_RECRD").as_deref(), Some("KEY_RECORD"));
        assert_eq!(near("record").as_deref(), Some("KEY_RECORD"));
        assert_eq!(near("f13").as_deref(), Some("KEY_F13"));
        assert_eq!(near("btn_0").as_deref(), Some("BTN_0"));
        assert_eq!(near("the big red one"), None);
        assert_eq!(
            key_code("KEY_RECRD").unwrap_err().to_string(),
            "there is no key \"KEY_RECRD\"; did you mean KEY_RECORD?"
        );
        assert!(key_code("x y z").unwrap_err().to_string().ends_with("BTN_0"));
    }
}
