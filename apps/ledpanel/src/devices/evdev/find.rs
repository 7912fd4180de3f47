//! Input devices by name, and what to say where there is none.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use evdev::KeyCode;
use evdev::raw_stream::RawDevice;
use rustix::io::Errno;

use super::EvdevConfig;
use crate::devices::DeviceError;
use crate::devices::wired::there_is;

const PERMISSION: &str =
    "Let the panel into the group input, which has all input devices; see its udev rules (60-holdfast-panel.rules)";

/// An input device that is there and has the keys.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) device: RawDevice,
}

/// Finds the device that is meant. One thing may be several devices of one name: then it is the one with the keys.
pub(super) fn device(config: &EvdevConfig, keys: impl Iterator<Item = KeyCode>) -> Result<Found, DeviceError> {
    let keys: Vec<KeyCode> = keys.collect();
    if let Some(path) = as_path(config) {
        let device = RawDevice::open(&path).map_err(|error| cannot_open(&path, &error))?;
        return match missing_keys(&device, &keys).as_slice() {
            [] => Ok(Found { path, device }),
            missing => Err(has_not(&path, &device, missing)),
        };
    }
    let (mut named, mut there, mut closed) = (vec![], vec![], vec![]);
    for path in nodes(&config.root)? {
        match RawDevice::open(&path) {
            Ok(device) if device.name() == Some(&config.device) => named.push(Found { path, device }),
            Ok(device) => there.extend(device.name().map(str::to_owned)),
            // It went while we looked.
            Err(error) if is_gone(&error) => {}
            Err(error) => closed.push((path, error)),
        }
    }
    let (mut with_keys, mut without): (Vec<_>, Vec<_>) =
        named.into_iter().partition(|found| missing_keys(&found.device, &keys).is_empty());
    match (with_keys.pop(), with_keys.len(), without.pop(), closed.first()) {
        (Some(only), 0, ..) => Ok(only),
        (Some(one), others, ..) => Err(DeviceError::new(
            format!(
                "{} input devices are called \"{}\" and have the keys, {} is one of them",
                others + 1,
                config.device,
                one.path.display()
            ),
            "Name it by its link in /dev/input/by-id or, if they are alike, /dev/input/by-path",
        )),
        (None, _, Some(one), _) => Err(has_not(&one.path, &one.device, &missing_keys(&one.device, &keys))),
        (None, _, None, Some((path, error))) => Err(cannot_open(path, error)),
        (None, _, None, None) => Err(DeviceError::new(
            format!("there is no input device \"{}\"; {}", config.device, there_is(&config.device, &there)),
            "Plug it in, or take the name of one that is there; the panel looks for it again",
        )),
    }
}

/// The path that is meant, if it is one: whole, or a link that udev has made.
fn as_path(config: &EvdevConfig) -> Option<PathBuf> {
    if config.device.starts_with('/') {
        return Some(PathBuf::from(&config.device));
    }
    let links = ["by-id", "by-path"].map(|by| config.root.join(by).join(&config.device));
    links.into_iter().find(|link| !config.device.is_empty() && link.exists())
}

fn nodes(root: &Path) -> Result<Vec<PathBuf>, DeviceError> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        // No device at all, no directory.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(cannot_open(root, &error)),
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.path());
    let is_node = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("event"));
    let mut nodes: Vec<PathBuf> = names.filter(is_node).collect();
    nodes.sort();
    Ok(nodes)
}

fn missing_keys(device: &RawDevice, keys: &[KeyCode]) -> Vec<KeyCode> {
    let has = |key: KeyCode| device.supported_keys().is_some_and(|there| there.contains(key));
    keys.iter().copied().filter(|key| !has(*key)).collect()
}

fn has_not(path: &Path, device: &RawDevice, missing: &[KeyCode]) -> DeviceError {
    let missing: Vec<String> = missing.iter().map(|key| format!("{key:?}")).collect();
    let there: Vec<String> =
        device.supported_keys().into_iter().flat_map(|keys| keys.iter().map(|key| format!("{key:?}"))).collect();
    let wanted = missing.first().map_or("", String::as_str);
    DeviceError::new(
        format!(
            "{} (\"{}\") has no key {}; {}",
            path.display(),
            device.name().unwrap_or_default(),
            missing.join(", "),
            there_is(wanted, &there)
        ),
        "evtest shows what a key is called when it is pressed",
    )
}

fn cannot_open(path: &Path, error: &io::Error) -> DeviceError {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied => PERMISSION,
        _ if is_gone(error) => "Plug it in; the panel looks for it again",
        _ => "See that it is an input device (/dev/input/event…), and what the kernel says of it (dmesg)",
    };
    DeviceError::new(format!("can't open the input device {}: {error}", path.display()), remedy)
}

/// There is no such node, or nothing behind it any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NODEV, Errno::NXIO];
    gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
