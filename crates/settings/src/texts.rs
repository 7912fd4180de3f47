//! Words: whether a text is what many a key takes, and which word was probably meant.

use crate::schema::Takes;

/// A name that may stand in paths, unit names and D-Bus object paths.
pub const NAME: Takes = Takes::Text {
    allowed: "1 to 32 ASCII letters, digits, \"-\" and \"_\", the first a letter or digit",
    test: is_name,
};

/// A message bus: `system`, `session` or an address.
pub const BUS: Takes = Takes::Text {
    allowed: "\"system\", \"session\" or a D-Bus address such as \"unix:path=/run/dbus/x\"",
    test: is_bus,
};

/// As much of a value as is shown in a sentence, in characters.
const SHOWN_MAX: usize = 60;

/// Something that can be seen, on one line.
#[must_use]
pub fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// ASCII letters, digits, `-` and `_`, at least one.
#[must_use]
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// What [`NAME`] takes.
#[must_use]
pub fn is_name(text: &str) -> bool {
    is_word(text) && text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// What [`BUS`] takes.
#[must_use]
pub fn is_bus(text: &str) -> bool {
    let address = |part: &str| {
        part.split_once(':').is_some_and(|(transport, rest)| {
            !transport.is_empty() && transport.chars().all(|c| c.is_ascii_lowercase() || c == '-') && rest.contains('=')
        })
    };
    matches!(text, "system" | "session") || (is_line(text) && text.split(';').all(address))
}

/// The word that was probably meant; `None` where none is near.
#[must_use]
pub fn nearest<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let alike = |text: &str| text.to_lowercase().replace('-', "_");
    let written = alike(written);
    words
        .map(|word| (strsim::damerau_levenshtein(&written, &alike(word)), word))
        .filter(|(distance, word)| *distance <= word.len().div_ceil(3).max(1) && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The words in quotes, with this between them.
#[must_use]
pub fn quoted(words: &[&str], between: &str) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(between)
}

/// The first line of a value, and not more of it than fits into a sentence.
pub(crate) fn shorten(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    if line.chars().count() > SHOWN_MAX {
        format!("{}…", line.chars().take(SHOWN_MAX).collect::<String>())
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let words = ["rotation_minutes", "bus", "pull-up", "root", "KEY_RECORD"];
        for (written, meant) in [
            ("rotation-minute", Some("rotation_minutes")),
            ("Bsu", Some("bus")),
            ("pull_up", Some("pull-up")),
            ("roots", Some("root")),
            ("key_recrd", Some("KEY_RECORD")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, words.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn names_and_buses_are_told_from_other_texts() {
        assert!(is_name("cam0") && is_name("0-a_B") && is_name(&"x".repeat(32)));
        assert!(!is_name("") && !is_name("-a") && !is_name("a b") && !is_name("ä") && !is_name(&"x".repeat(33)));
        assert!(is_bus("system") && is_bus("unix:path=/run/x;tcp:host=h,port=1"));
        assert!(!is_bus("sytem") && !is_bus("unix:") && !is_bus("unix:path=/x\n") && !is_bus("unix:path=/x;"));
    }

    #[test]
    fn a_value_is_shortened_to_one_line() {
        assert_eq!(shorten("a\nb"), "a");
        assert_eq!(shorten(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }
}
