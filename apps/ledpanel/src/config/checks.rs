//! Whether a text is what its key takes.

use holdfast_settings::texts::{is_line, is_name};

pub(super) fn is_light(text: &str) -> bool {
    crate::model::Light::parse(text).is_some() && text.strip_prefix("record.").is_none_or(is_name)
}

pub(super) fn is_note(text: &str) -> bool {
    text.chars().count() <= 200 && !text.chars().any(char::is_control)
}

pub(super) fn is_device_path(text: &str) -> bool {
    is_line(text) && text.starts_with("/dev/") && !text.split('/').any(|part| part == "..")
}

pub(super) fn is_file_name(text: &str) -> bool {
    is_line(text) && !text.contains('/') && !matches!(text, "." | "..")
}

pub(super) fn is_input_device(text: &str) -> bool {
    is_line(text) && (!text.starts_with('/') || (is_device_path(text) && text.starts_with("/dev/input/")))
}

pub(super) fn is_key_name(text: &str) -> bool {
    let rest = text.strip_prefix("KEY_").or_else(|| text.strip_prefix("BTN_"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    })
}

pub(super) fn is_host(text: &str) -> bool {
    text.parse::<std::net::IpAddr>().is_ok()
        || (text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && !label.starts_with('-')
                    && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            })
            // Four numbers are an address that has been mistyped.
            && !text.split('.').all(|label| label.chars().all(|c| c.is_ascii_digit())))
}

pub(super) fn is_character(text: &str) -> bool {
    let mut characters = text.chars();
    let one = characters.next();
    characters.next().is_none() && one.is_some_and(|c| !c.is_control() && !matches!(c.to_ascii_lowercase(), 'q' | 's'))
}

pub(super) fn is_night(text: &str) -> bool {
    night(text).is_some()
}

/// `22:00-06:00` in minutes since midnight.
pub(super) fn night(text: &str) -> Option<(u16, u16)> {
    let minute = |time: &str| {
        let (hour, minute) = time.trim().split_once(':')?;
        let part = |text: &str, below: u16| {
            let digits = text.len() == 2 && text.chars().all(|c| c.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten().filter(|value| *value < below)
        };
        Some(part(hour, 24)? * 60 + part(minute, 60)?)
    };
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to).then_some((from, to))
}
