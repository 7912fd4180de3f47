//! The first root: it finds the slot, checks it block by block from then on, and hands over.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::cache::file_name;
use super::tools::run;
use super::{elf, kernel};

/// What must be loaded before a root and the data partition can be seen.
const MODULES: [&str; 7] = ["virtio_blk", "sha2-ce", "dm_mod", "dm_verity", "squashfs", "crc32c_generic", "ext4"];
/// Programs, where they lie in the root.
const PROGRAMS: [&str; 3] = ["usr/bin/busybox", "usr/sbin/veritysetup", "usr/sbin/dmsetup"];
/// What busybox is called as by `init`.
const APPLETS: [&str; 20] = [
    "sh",
    "cat",
    "echo",
    "findfs",
    "grep",
    "mkdir",
    "mknod",
    "modprobe",
    "mount",
    "mv",
    "reboot",
    "sed",
    "sleep",
    "switch_root",
    "sync",
    "tr",
    "umount",
    "usleep",
    "readlink",
    "blkid",
];

/// What an initrd is made of.
#[derive(Debug)]
pub struct Parts<'p> {
    /// Where its programs are taken from.
    pub root: &'p Path,
    /// Where its kernel modules are taken from.
    pub kernel: &'p Path,
    /// Its only script.
    pub init: &'p Path,
    /// `/etc/verity`: what the root must be.
    pub verity: &'p str,
}

/// Makes `initrd.zst`.
pub fn make(parts: &Parts, into: &Path) -> anyhow::Result<PathBuf> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "etc", "lib", "lib/modules", "proc", "run", "sys", "sysroot"] {
        archive.directory(directory);
    }
    archive.file("init", &fs::read(parts.init)?, 0o755);
    archive.file("etc/verity", parts.verity.as_bytes(), 0o644);
    archive.file("etc/modules", (MODULES.join("\n") + "\n").as_bytes(), 0o644);
    let mut libraries = BTreeSet::new();
    for program in PROGRAMS {
        let from = parts.root.join(program);
        archive.file(
            &format!("bin/{}", file_name(&from)),
            &fs::read(&from).with_context(|| program.to_owned())?,
            0o755,
        );
        libraries.extend(elf::needed(parts.root, &from)?);
    }
    for applet in APPLETS {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    for library in libraries {
        archive.file(&format!("lib/{}", file_name(&library)), &fs::read(&library)?, 0o755);
    }
    let release = kernel::release(parts.kernel)?;
    archive.directory(&format!("lib/modules/{release}"));
    // Flat, and with a table of their own: no module of the boot lies where it did.
    let mut table = String::new();
    let mut before: Vec<String> = Vec::new();
    for module in kernel::order(parts.kernel, &MODULES)? {
        let name = file_name(&module).to_owned();
        archive.file(&format!("lib/modules/{release}/{name}"), &fs::read(&module)?, 0o644);
        let needs: Vec<&str> = before.iter().rev().map(String::as_str).collect();
        writeln!(table, "{name}: {}", needs.join(" "))?;
        before.push(name);
    }
    archive.file(&format!("lib/modules/{release}/modules.dep"), table.as_bytes(), 0o644);
    let plain = into.join("initrd");
    fs::write(&plain, archive.end())?;
    run(Command::new("zstd").args(["--quiet", "--rm", "-19"]).arg(&plain))?;
    Ok(into.join("initrd.zst"))
}

/// A cpio archive in the form that the kernel reads ("newc"), the same for the same content.
#[derive(Debug, Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, name: &str) {
        self.entry(name, &[], 0o040_755);
    }

    fn file(&mut self, name: &str, content: &[u8], mode: u32) {
        self.entry(name, content, 0o100_000 | mode);
    }

    fn link(&mut self, name: &str, target: &str) {
        self.entry(name, target.as_bytes(), 0o120_777);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", &[], 0);
        self.bytes
    }

    fn entry(&mut self, name: &str, content: &[u8], mode: u32) {
        self.entries += 1;
        // Number, mode, user, group, links, time, size, device and special device of two parts each, length of the name, check.
        let fields = [self.entries, mode, 0, 0, 1, 0, small(content.len()), 0, 0, 0, 0, small(name.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Everything begins at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// No file of ours comes near four gigabytes.
fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn cpio_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/a", b"hello", 0o755);
        let bytes = archive.end();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("07070100000001000041ed"), "{text}");
        assert!(text.contains("bin/a\0hello\0"), "{text}");
        assert!(text.contains("TRAILER!!!"), "{text}");
    }
}
