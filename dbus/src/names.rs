//! Bus name and object paths.

use std::fmt::Write;

use zbus::zvariant::{ObjectPath, OwnedObjectPath};

/// The recorder's well-known name.
pub const BUS_NAME: &str = "org.holdfast.Recorder1";
/// The recorder's main object, and its object manager.
pub const ROOT_PATH: &str = "/org/holdfast/Recorder1";
/// Stands where there is no object: no session is being recorded.
pub const NO_OBJECT: &str = "/";

const SESSION_PREFIX: &str = "/org/holdfast/Recorder1/session/";
const INPUT_PREFIX: &str = "/org/holdfast/Recorder1/input/";
const LEASE_PREFIX: &str = "/org/holdfast/Recorder1/lease/";

/// The object of an input.
#[must_use]
pub fn input_path(name: &str) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(format!("{INPUT_PREFIX}{}", escape(name))).into()
}

/// The object of a session.
#[must_use]
pub fn session_path(id: &str) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(format!("{SESSION_PREFIX}{}", escape(id))).into()
}

/// The object of a lease.
#[must_use]
pub fn lease_path(id: u64) -> OwnedObjectPath {
    ObjectPath::from_string_unchecked(format!("{LEASE_PREFIX}{id}")).into()
}

/// The lease that an object path or a plain number stands for.
#[must_use]
pub fn lease_id_of(path_or_id: &str) -> Option<u64> {
    let digits = path_or_id.strip_prefix(LEASE_PREFIX).unwrap_or(path_or_id);
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// The session id that an object path stands for; a plain id is returned as it is.
///
/// `None` for a path of something else.
#[must_use]
pub fn session_id_of(path_or_id: &str) -> Option<String> {
    if !path_or_id.starts_with('/') {
        return Some(path_or_id.to_owned());
    }
    unescape(path_or_id.strip_prefix(SESSION_PREFIX)?)
}

/// ASCII letters and digits as they are, every other byte as `_xx`; nothing as `_`. The same as systemd's `sd_bus_path_encode`
/// but for a leading digit, which D-Bus allows.
fn escape(name: &str) -> String {
    if name.is_empty() {
        return "_".to_owned();
    }
    let mut out = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "_{byte:02x}");
        }
    }
    out
}

/// The name of the input that an object path stands for.
#[must_use]
pub fn input_name_of(path: &str) -> Option<String> {
    unescape(path.strip_prefix(INPUT_PREFIX)?)
}

fn unescape(element: &str) -> Option<String> {
    if element == "_" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(element.len());
    let mut rest = element.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'_' {
            let hex = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &tail[2..];
        } else if first.is_ascii_alphanumeric() {
            bytes.push(first);
            rest = tail;
        } else {
            return None;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::{input_name_of, input_path, lease_id_of, lease_path, session_id_of, session_path};

    #[test]
    fn paths_carry_ids_there_and_back() {
        assert_eq!(input_path("cam-0_a").as_str(), "/org/holdfast/Recorder1/input/cam_2d0_5fa");
        assert_eq!(input_name_of(input_path("cam-0_a").as_str()).as_deref(), Some("cam-0_a"));
        let id = "20261121T071503Z-k3f9w2";
        assert_eq!(session_id_of(session_path(id).as_str()).as_deref(), Some(id));
        assert_eq!(session_id_of(id).as_deref(), Some(id));
        assert_eq!(session_id_of("/"), None);
        assert_eq!(session_id_of("/org/holdfast/Recorder1/session/a_2"), None);
        assert_eq!(session_id_of("/org/holdfast/Recorder1/session/a_zz"), None);
        assert_eq!(session_id_of("/org/holdfast/Recorder1/input/cam0"), None);
        assert_eq!((lease_id_of(lease_path(7).as_str()), lease_id_of("7")), (Some(7), Some(7)));
        for bad in [
            "",
            "+7",
            "/",
            "/org/holdfast/Recorder1/lease/",
            "/org/holdfast/Recorder1/session/7",
            "99999999999999999999",
        ] {
            assert_eq!(lease_id_of(bad), None, "{bad}");
        }
    }
}
