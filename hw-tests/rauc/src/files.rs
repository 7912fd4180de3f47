//! The files a rig consists of.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Keeps what a boot loader keeps, in files: `primary` (a boot name) and `state.A`, `state.B` (`good` or `bad`). A file
/// `broken` makes it fail, as a damaged environment does. Each is wholly the old one or the new one, and durable when it returns, as a
/// redundant environment is; what takes two of them (`set-primary`) can be cut off in between, as it can be there.
const BACKEND: &str = r#"#!/bin/sh
set -eu
cd "$(dirname "$0")"
put() { echo "$2" > "$1.new"; sync "$1.new"; mv "$1.new" "$1"; sync .; }
if [ -e broken ]; then echo "the environment is damaged" >&2; exit 1; fi
case "$1" in
    get-primary) cat primary ;;
    set-primary) put primary "$2"; put "state.$2" good ;;
    get-state) cat "state.$2" ;;
    set-state) put "state.$2" "$3" ;;
    get-current) cat current ;;
    *) echo "no such command: $1" >&2; exit 1 ;;
esac
"#;

/// Runs when a bundle is checked and mounted and before a slot is touched: waits there while the file `hold` exists, and
/// says so by the file `held`.
const GATE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ -e hold ]; then
    : > held
    while [ -e hold ]; do sleep 0.02; done
fi
if [ -e refuse ]; then exit 1; fi
exit 0
"#;

/// Runs when the slot is written: while there is a file `spoil`, a byte of slot B is then not what was written, as on a medium that
/// says that it has it and has not.
const SPOILER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ -e spoil ]; then printf x | dd of=slot.B bs=1 seek=1000000 conv=notrunc status=none; fi
exit 0
"#;

/// What `system.conf` says.
pub(crate) struct Config<'a> {
    pub compatible: &'a str,
    pub formats: Option<&'a str>,
    pub activate: bool,
    pub strict: bool,
    pub keyring: &'a Path,
    pub devices: [&'a Path; 2],
    /// Under which path RAUC will find the directory.
    pub at: &'a Path,
}

pub(crate) fn write(dir: &Path, config: &Config<'_>) {
    for (name, text) in [("backend", BACKEND), ("gate", GATE), ("spoiler", SPOILER)] {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, text) in [("primary", "A\n"), ("state.A", "good\n"), ("state.B", "good\n"), ("current", "A\n")] {
        fs::write(dir.join(name), text).unwrap();
    }
    for name in ["mnt", "data"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let at = config.at.display();
    let formats = config.formats.map_or(String::new(), |formats| format!("bundle-formats={formats}\n"));
    let mut text = format!(
        "[system]\ncompatible={}\nbootloader=custom\n{formats}activate-installed={}\nmountprefix={at}/mnt\n\
         data-directory={at}/data\n[keyring]\npath={}\n{}[handlers]\nbootloader-custom-backend={at}/backend\n\
         pre-install={at}/gate\npost-install={at}/spoiler\n",
        config.compatible,
        config.activate,
        config.keyring.display(),
        if config.strict { "check-crl=true\ncheck-purpose=codesign\n" } else { "" },
    );
    for (number, (name, device)) in ["A", "B"].iter().zip(config.devices).enumerate() {
        text += &format!("[slot.rootfs.{number}]\ndevice={}\ntype=raw\nbootname={name}\n", device.display());
    }
    fs::write(dir.join("system.conf"), text).unwrap();
}
