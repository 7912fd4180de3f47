//! U-Boot from Debian's source package, with the environment of `hw-tests/appliance/u-boot`. Which slot is booted it says with the boards' words.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::apt::Apt;
use super::cache::file_name;
use super::tools::run;
use crate::workspace::root;

pub const SOURCE: &str = "u-boot";
/// QEMU's machine `virt`.
const DEFCONFIG: &str = "qemu_arm64_defconfig";
const CROSS: &str = "aarch64-linux-gnu-";

/// What boards boot by.
const COMMAND: &str = "yocto-layer/recipes-bsp/u-boot/files/holdfast-boot.cmd";
/// Where it ceases to be the same for all.
const OF_A_BOARD: &str = "# From here on";
/// Where RAUC is told how often a slot is tried.
const SYSTEM: &str = "ota/system.conf/virtual.conf";

/// The appliance's part of U-Boot's default environment.
///
/// # Errors
/// One of the files that it is made of is not as it is expected.
pub fn environment(ours: &Path) -> anyhow::Result<String> {
    let read = |path: &str| fs::read_to_string(root().join(path)).with_context(|| format!("{path} can't be read"));
    let system = read(SYSTEM)?;
    let tries = system
        .lines()
        .find_map(|line| line.strip_prefix("boot-attempts="))
        .with_context(|| format!("{SYSTEM} has no boot-attempts"))?;
    let command = read(COMMAND)?;
    let (choose, _) = command.split_once(OF_A_BOARD).with_context(|| format!("{COMMAND} has no \"{OF_A_BOARD}\""))?;
    // Comments would be commands of the preprocessor in an environment.
    let lines: Vec<&str> =
        choose.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let own = fs::read_to_string(ours.join("holdfast.env"))?;
    Ok(own.replace("@CHOOSE@", &lines.join("\n  ")).replace("@TRIES@", tries.trim()))
}

/// Makes `u-boot.bin`; `environment` as above.
pub fn make(apt: &Apt, ours: &Path, environment: &str, into: &Path) -> anyhow::Result<()> {
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
    fs::write(&env, fs::read_to_string(&env)? + environment)?;
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

#[cfg(test)]
mod tests {
    use super::environment;
    use crate::workspace::root;

    #[test]
    fn the_virtual_box_chooses_its_slot_with_the_boards_words() {
        let environment = environment(&root().join("hw-tests/appliance/u-boot")).unwrap();
        assert!(environment.contains("elif test \"${candidate}\" = B -a ${BOOT_B_LEFT} -gt 0; then"), "{environment}");
        assert!(environment.contains("setenv BOOT_A_LEFT 3;") && !environment.contains('@'), "{environment}");
        let comments = environment.lines().filter(|line| line.trim().starts_with('#')).count();
        assert_eq!(comments, 0, "{environment}");
    }
}
