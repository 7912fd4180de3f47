//! Debian's kernel, and of its modules those that the appliance needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::apt::{Apt, unpack};
use super::base::overlay;
use super::cache::{file_name, files_below};
use super::tools::run;

/// What depends on the kernel that is current.
const META: &str = "linux-image-arm64";

/// The name of the package that holds the kernel itself.
pub fn package(apt: &Apt) -> anyhow::Result<String> {
    apt.dependency(META, "linux-image-")
}

/// Makes `vmlinuz.gz`, and `root/usr/lib/modules/VERSION` with the modules named and all that they need. `ours` has modules
/// that Debian does not.
pub fn make(apt: &Apt, package: &str, ours: &Path, modules: &[String], into: &Path) -> anyhow::Result<()> {
    apt.fetch_alone(&[package], into)?;
    let deb = files_below(into)?.into_iter().find(|file| file_name(file).ends_with(".deb"));
    let deb = deb.context("apt has fetched no package of a kernel")?;
    let root = into.join("root");
    fs::create_dir_all(root.join("usr/lib"))?;
    std::os::unix::fs::symlink("usr/lib", root.join("lib"))?;
    unpack(&deb, &root, &[])?;
    fs::remove_file(&deb)?;
    let release = release(&root)?;
    // U-Boot unpacks gzip by itself; so packed, a slot is 25 MB smaller.
    fs::rename(root.join("boot").join(format!("vmlinuz-{release}")), into.join("vmlinuz"))?;
    run(Command::new("gzip").args(["--no-name", "-9"]).arg(into.join("vmlinuz")))?;
    fs::remove_dir_all(root.join("boot"))?;
    fs::remove_dir_all(root.join("usr/share")).ok();
    let tree = root.join("usr/lib/modules").join(&release);
    let updates = tree.join("updates");
    fs::create_dir(&updates)?;
    overlay(ours, &updates)?;
    depmod(&root, &release)?;
    let needed = closure(&fs::read_to_string(tree.join("modules.dep"))?, modules)?;
    for file in files_below(&tree)? {
        let name = file.strip_prefix(&tree)?.to_string_lossy().into_owned();
        if !name.contains(".ko") {
            continue;
        }
        if !needed.contains(&name) {
            fs::remove_file(&file)?;
        } else if name.ends_with(".xz") {
            // The image is compressed as a whole; loading is quicker without.
            run(Command::new("unxz").arg(&file))?;
        }
    }
    run(Command::new("find").arg(&tree).args(["-type", "d", "-empty", "-delete"]))?;
    depmod(&root, &release)
}

/// The kernel's version, of the one kernel below a root.
pub fn release(root: &Path) -> anyhow::Result<String> {
    let modules = root.join("usr/lib/modules");
    let mut entries = fs::read_dir(&modules).with_context(|| modules.display().to_string())?;
    let entry = entries.next().context("no kernel's modules")??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// Modules to load one after the other, so that these are there: for what has no modprobe.
pub fn order(root: &Path, modules: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
    let tree = root.join("usr/lib/modules").join(release(root)?);
    let table = table(&fs::read_to_string(tree.join("modules.dep"))?);
    let builtin = fs::read_to_string(tree.join("modules.builtin"))?;
    let mut files: Vec<String> = Vec::new();
    for module in modules {
        let Some((file, needs)) = table.get(&plain(module)) else {
            if builtin.lines().any(|line| plain(stem(line)) == plain(module)) {
                continue;
            }
            anyhow::bail!("the kernel has no module {module}");
        };
        // modules.dep names what is needed first last.
        for one in needs.iter().rev().chain([file]) {
            if !files.contains(one) {
                files.push(one.clone());
            }
        }
    }
    Ok(files.into_iter().map(|file| tree.join(file)).collect())
}

fn depmod(root: &Path, release: &str) -> anyhow::Result<()> {
    run(Command::new("/sbin/depmod").arg("--basedir").arg(root).arg(release))
}

type Table = BTreeMap<String, (String, Vec<String>)>;

/// Modules by name: their file, and what they need.
fn table(dep: &str) -> Table {
    let line = |line: &str| {
        let (file, needs) = line.split_once(':')?;
        let needs = needs.split_whitespace().map(str::to_owned).collect();
        Some((plain(stem(file)), (file.to_owned(), needs)))
    };
    dep.lines().filter_map(line).collect()
}

/// The files of these modules and of all that they need. What is built in has no file.
fn closure(dep: &str, modules: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let table = table(dep);
    let mut files = BTreeSet::new();
    for module in modules {
        if let Some((file, needs)) = table.get(&plain(module)) {
            files.extend([file].into_iter().chain(needs).cloned());
        }
    }
    Ok(files)
}

fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split_once(".ko").map_or(name, |(stem, _)| stem)
}

/// The kernel takes both for the same.
fn plain(module: &str) -> String {
    module.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::closure;

    #[test]
    fn modules_come_with_what_they_need() {
        let dep = "kernel/a/dm-verity.ko.xz: kernel/b/dm-mod.ko.xz kernel/c/dax.ko.xz\nkernel/b/dm-mod.ko.xz:\n";
        let files = closure(dep, &["dm_verity".to_owned(), "built-in".to_owned()]).unwrap();
        assert_eq!(
            files.into_iter().collect::<Vec<_>>(),
            ["kernel/a/dm-verity.ko.xz", "kernel/b/dm-mod.ko.xz", "kernel/c/dax.ko.xz"]
        );
    }
}
