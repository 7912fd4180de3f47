//! U-Boot from Debian's source package, with the environment and the boot script of `hw-tests/appliance/u-boot`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::Apt;
use super::cache::file_name;
use super::tools::run;

pub const SOURCE: &str = "u-boot";
/// QEMU's machine `virt`.
const DEFCONFIG: &str = "qemu_arm64_defconfig";
const CROSS: &str = "aarch64-linux-gnu-";

/// Makes `u-boot.bin`.
pub fn make(apt: &Apt, ours: &Path, into: &Path) -> anyhow::Result<()> {
    let source = into.join("source");
    fs::create_dir(&source)?;
    let files = apt.fetch_source(SOURCE, into)?;
    let is_debian = |file: &&PathBuf| file_name(file).contains(".debian.tar");
    let (debian, origin): (Vec<&PathBuf>, Vec<&PathBuf>) = files.iter().partition(is_debian);
    let (Some(debian), Some(origin)) = (debian.first(), origin.first()) else {
        bail!("the source package of U-Boot has no two tarballs: {files:?}");
    };
    let tar =
        |file: &Path, strip: &[&str]| run(Command::new("tar").arg("xf").arg(file).args(strip).arg("-C").arg(&source));
    tar(origin, &["--strip-components=1"])?;
    tar(debian, &[])?;
    let patches = source.join("debian/patches");
    for patch in fs::read_to_string(patches.join("series"))?.lines().map(str::trim) {
        if !patch.is_empty() && !patch.starts_with('#') {
            let mut command = Command::new("patch");
            run(command.args(["-p1", "--silent", "-i"]).arg(patches.join(patch)).current_dir(&source))?;
        }
    }
    let env = source.join("board/emulation/qemu-arm/qemu-arm.env");
    fs::write(&env, fs::read_to_string(&env)? + &fs::read_to_string(ours.join("holdfast.env"))?)?;
    let make = |arguments: &[&str]| {
        let mut make = Command::new("make");
        make.current_dir(&source).arg(format!("CROSS_COMPILE={CROSS}")).args(["-j2", "-s"]).args(arguments);
        // Its banner has a date: always this one, as the same source makes the same loader.
        run(make.env("SOURCE_DATE_EPOCH", "1735689600"))
    };
    make(&[DEFCONFIG])?;
    run(Command::new("scripts/kconfig/merge_config.sh")
        .args(["-m", ".config"])
        .arg(ours.join("u-boot.config"))
        .current_dir(&source))?;
    make(&["olddefconfig"])?;
    make(&["u-boot.bin"])?;
    fs::copy(source.join("u-boot.bin"), into.join("u-boot.bin")).context("U-Boot was not built")?;
    fs::remove_dir_all(&source)?;
    files.iter().try_for_each(|file| fs::remove_file(file).with_context(|| file.display().to_string()))
}
