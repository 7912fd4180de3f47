//! The system below ours: Debian's packages, unpacked, less what a box has no use for, with the users and links that Debian's
//! scripts would have made.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::apt::{Apt, Deb};
use super::cache::{file_name, files_below};
use super::elf;
use super::tools::run;

/// Where GStreamer's plugins lie.
const PLUGINS: &str = "usr/lib/aarch64-linux-gnu/gstreamer-1.0";
/// What is created from the masters that Debian's scripts copy at installation.
const MASTERS: [(&str, &str); 3] = [
    ("usr/share/base-passwd/passwd.master", "etc/passwd"),
    ("usr/share/base-passwd/group.master", "etc/group"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
];

/// Units that would write below `/usr` or `/etc`, which nobody can, or serve what is not there.
const MASKED: [&str; 5] = [
    "ldconfig.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
];

/// What the lists in `hw-tests/appliance` say.
#[derive(Debug)]
pub struct Choice {
    /// Patterns of files that are not unpacked.
    pub leave_out: Vec<String>,
    /// GStreamer plugins that stay, by the names of their files between `libgst` and `.so`.
    pub plugins: Vec<String>,
    /// Libraries that are opened by name.
    pub keep_libraries: Vec<String>,
}

pub fn make(apt: &Apt, debs: &[Deb], choice: &Choice, root: &Path) -> anyhow::Result<()> {
    // The package that makes /bin, /lib and /sbin links comes first.
    let (first, rest): (Vec<&Deb>, Vec<&Deb>) = debs.iter().partition(|deb| deb.file.starts_with("base-files_"));
    for deb in first.into_iter().chain(rest) {
        apt.unpack(deb, root, &choice.leave_out)?;
    }
    for file in files_below(&root.join(PLUGINS))? {
        let name = file_name(&file).strip_prefix("libgst").and_then(|name| name.strip_suffix(".so"));
        if let Some(name) = name
            && !choice.plugins.iter().any(|plugin| plugin == name)
        {
            fs::remove_file(&file)?;
        }
    }
    for (from, to) in MASTERS {
        fs::copy(root.join(from), root.join(to)).with_context(|| format!("{from} is not in the image"))?;
    }
    certificates(root)?;
    let swept = elf::sweep(&root.canonicalize()?, &choice.keep_libraries)?;
    crate::terminal::note(&format!("{} libraries that nothing in the image takes are left out", swept.len()));
    Ok(())
}

/// What update-ca-certificates makes.
fn certificates(root: &Path) -> anyhow::Result<()> {
    let mut all = String::new();
    for file in files_below(&root.join("usr/share/ca-certificates"))? {
        all += &fs::read_to_string(&file)?;
    }
    let target = root.join("etc/ssl/certs/ca-certificates.crt");
    fs::create_dir_all(target.parent().context("no directory")?)?;
    fs::write(target, all)?;
    Ok(())
}

/// Users of all programs, units by their presets, and what an unchangeable root needs.
pub fn settle(root: &Path, time: u64) -> anyhow::Result<()> {
    for mount_point in
        ["data", "dev", "etc/holdfast", "etc/systemd/network", "proc", "root", "run", "sys", "tmp", "var/tmp"]
    {
        fs::create_dir_all(root.join(mount_point))?;
    }
    // Empty: the initrd hands over the identity of the box, and systemd lays it over this file.
    fs::write(root.join("etc/machine-id"), "")?;
    // "u!" is a user that is locked; systemd before 257 does not know the sign, and locks them all.
    for file in files_below(&root.join("usr/lib/sysusers.d"))? {
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replace("\nu! ", "\nu ").replace("\nu!\t", "\nu\t"))?;
    }
    // It dates passwords.
    run(Command::new("systemd-sysusers").env("SOURCE_DATE_EPOCH", time.to_string()).arg("--root").arg(root))?;
    run(Command::new("systemctl").arg("--root").arg(root).args(["preset-all", "--preset-mode=enable-only"]))?;
    for unit in MASKED {
        symlink("/dev/null", root.join("etc/systemd/system").join(unit)).with_context(|| unit.to_owned())?;
    }
    // There is no password that would let anybody in.
    let shadow = root.join("etc/shadow");
    if !shadow.exists() {
        let users = fs::read_to_string(root.join("etc/passwd"))?;
        let lines = users.lines().filter_map(|line| line.split(':').next()).map(|user| format!("{user}:!*:::::::\n"));
        fs::write(&shadow, lines.collect::<String>())?;
    }
    // Debian's tools leave them as they please, and the image is to be the same each time. Root alone has to read them.
    for file in ["shadow", "gshadow"].map(|name| root.join("etc").join(name)).iter().filter(|file| file.exists()) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o400))?;
    }
    // The image is complete: nothing is brought up to date on its first boot.
    fs::write(root.join("etc/.updated"), format!("TIMESTAMP_NSEC={time}000000000\n"))?;
    for (target, link) in [("/proc/self/mounts", "etc/mtab"), ("/run/systemd/resolve/resolv.conf", "etc/resolv.conf")] {
        let link = root.join(link);
        if !link.is_symlink() {
            symlink(target, link)?;
        }
    }
    Ok(())
}

/// Copies a tree over another. The upper directory keeps its mode: a layer's own may be private, as those for temporary files are, and a
/// system whose `/` is closed to all but root has no bus.
pub fn overlay(from: &Path, root: &Path) -> anyhow::Result<()> {
    let permissions = fs::metadata(root).with_context(|| format!("{} can't be read", root.display()))?.permissions();
    run(Command::new("cp")
        .args(["--recursive", "--no-dereference", "--preserve=mode,links"])
        .arg(from.join("."))
        .arg(root))?;
    fs::set_permissions(root, permissions).with_context(|| format!("{} can't be changed", root.display()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::overlay;

    #[test]
    fn a_private_layer_does_not_close_the_root() {
        let place = tempfile::tempdir().unwrap();
        let (layer, root) = (place.path().join("layer"), place.path().join("root"));
        for (directory, mode) in [(&layer, 0o700), (&root, 0o755)] {
            fs::create_dir(directory).unwrap();
            fs::set_permissions(directory, Permissions::from_mode(mode)).unwrap();
        }
        fs::write(layer.join("file"), "").unwrap();
        overlay(&layer, &root).unwrap();
        assert!(root.join("file").exists());
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
