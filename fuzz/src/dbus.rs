//! Reads any bytes as the options (`a{sv}`) of D-Bus methods, as they come off the wire, and as the object paths in them.

use holdfast_dbus::options::{Dict, Options, text};
use holdfast_dbus::{input_path, session_id_of, session_path};
use zbus::zvariant::serialized::{Context, Data};
use zbus::zvariant::{LE, OwnedObjectPath};

const MAX_TEXT_BYTES: usize = 256;
const MAX_NUMBER: u32 = 20_000;

/// One input.
pub fn run(bytes: &[u8]) {
    let data = Data::new(bytes, Context::new_dbus(LE, 0));
    if let Ok((options, _)) = data.deserialize::<Dict>() {
        read(&options);
    }
    if let Ok(name) = std::str::from_utf8(bytes) {
        names(name);
    }
}

/// Each option as each type, as the methods do.
fn read(options: &Dict) {
    let sizes = options.len();
    let mut start = Options::new("Start", options.clone());
    let inputs = start.strings("inputs");
    let label = start.string("label");
    let wait_ms = start.number("wait_ms", MAX_NUMBER);
    let session = start.session("session");
    for error in [inputs.as_ref().err(), label.as_ref().err(), wait_ms.as_ref().err(), session.as_ref().err()] {
        assert!(error.is_none_or(|error| error.to_string().contains("Start")));
    }
    if let Ok(Some(number)) = wait_ms {
        assert!(number <= MAX_NUMBER);
    }
    if let Ok(Some(label)) = label
        && let Ok(label) = text("label", label, MAX_TEXT_BYTES)
    {
        assert!(label.len() <= MAX_TEXT_BYTES && !label.chars().any(char::is_control));
    }
    let known = ["inputs", "label", "wait_ms", "session"].iter().filter(|key| options.contains_key(**key)).count();
    assert_eq!(start.end().is_ok(), known == sizes, "exactly what nobody has asked for is refused");
}

/// Every id has a path, and comes back from it.
fn names(name: &str) {
    let _ = session_id_of(name);
    for path in [session_path(name), input_path(name)] {
        OwnedObjectPath::try_from(path.as_str().to_owned()).expect("a path that D-Bus allows");
    }
    assert_eq!(session_id_of(session_path(name).as_str()).as_deref(), Some(name));
}
