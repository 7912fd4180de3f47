//! U-Boot's environment as its own tools make, write and read it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_rauc::{Environment, EnvironmentError, read_environment};
use tempfile::TempDir;

const SIZE: u64 = 0x4000;

struct Tools(TempDir);

impl Tools {
    /// An environment of so many copies, as it comes from the factory. `None`, aloud, where the tools are not here.
    fn make(copies: u64) -> Option<Self> {
        for program in ["mkenvimage", "fw_printenv", "fw_setenv"] {
            if Command::new(program).arg("-V").output().is_err() {
                holdfast_aloud::skip(format_args!("{program} is not here (u-boot-tools, libubootenv-tool)"));
                return None;
            }
        }
        let tools = Self(tempfile::tempdir().unwrap());
        fs::write(tools.at("text"), "BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=3\n").unwrap();
        let mut command = Command::new("mkenvimage");
        command.args((copies > 1).then_some("-r")).args(["-s", &SIZE.to_string(), "-o"]);
        assert!(command.args([tools.at("copy"), tools.at("text")]).status().unwrap().success());
        let copy = fs::read(tools.at("copy")).unwrap();
        assert_eq!(copy.len() as u64, SIZE);
        let disk = File::create(tools.at("disk")).unwrap();
        let mut config = String::new();
        for number in 0..copies {
            // Neither at the beginning nor side by side.
            let offset = 0x1000 + number * 0x10000;
            disk.write_all_at(&copy, offset).unwrap();
            config += &format!("{} {offset:#x} {SIZE:#x}\n", tools.at("disk").display());
        }
        disk.set_len(0x40000).unwrap();
        fs::write(tools.at("config"), config).unwrap();
        Some(tools)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn look(&self) -> Environment {
        read_environment(&self.at("config")).unwrap().unwrap()
    }

    fn set(&self, name: &str, value: &str) {
        let status = Command::new("fw_setenv").arg("-c").arg(self.at("config")).args([name, value]).status();
        assert!(status.unwrap().success());
    }

    fn get(&self, name: &str) -> String {
        let output = Command::new("fw_printenv").arg("-c").arg(self.at("config")).args(["-n", name]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// As a power cut in the middle of writing leaves it: other bytes in one sector.
    fn tear(&self, copy: u64) {
        let disk = File::options().read(true).write(true).open(self.at("disk")).unwrap();
        let (mut sector, at) = ([0; 512], 0x1000 + copy * 0x10000 + SIZE / 2);
        disk.read_exact_at(&mut sector, at).unwrap();
        disk.write_all_at(&sector.map(|byte| byte ^ 0x5a), at).unwrap();
    }
}

#[test]
fn what_the_tools_write_is_whole_and_the_present_copy_is_theirs() {
    let Some(tools) = Tools::make(2) else { return };
    assert!(matches!(tools.look(), Environment::Whole { copies: 2, .. }));
    // Each writes the copy that is not the present one; more often than flags can be counted up.
    let mut present = None;
    for number in 0..300 {
        tools.set("number", &number.to_string());
        let Environment::Whole { copies: 2, present: now } = tools.look() else { panic!("{:?}", tools.look()) };
        assert_ne!(present.replace(now), Some(now), "at {number}");
    }
    // What is not the present one may be lost, and nothing is missed; so the other is.
    let present = present.unwrap() as u64;
    tools.tear(1 - present);
    assert_eq!(tools.get("number"), "299");
    assert!(matches!(tools.look(), Environment::Damaged { copy } if copy as u64 == 1 - present));
    tools.tear(present);
    assert_eq!((tools.look(), tools.get("number").as_str()), (Environment::Lost, ""));
}

/// The remedy that people are told. What has that value already is not written (libubootenv 0.3.2): hence the time.
#[test]
fn writing_something_new_once_mends_a_damaged_copy() {
    let Some(tools) = Tools::make(2) else { return };
    for copy in [0, 1] {
        tools.tear(copy);
        assert!(matches!(tools.look(), Environment::Damaged { copy: damaged } if damaged as u64 == copy));
        tools.set("holdfast_mended", &format!("17000000{copy}"));
        assert!(matches!(tools.look(), Environment::Whole { copies: 2, .. }), "{:?}", tools.look());
        assert_eq!(tools.get("BOOT_ORDER"), "A B");
    }
}

#[test]
fn one_copy_alone_is_known_as_such() {
    let Some(tools) = Tools::make(1) else { return };
    tools.set("number", "1");
    assert_eq!(tools.look(), Environment::Whole { copies: 1, present: 0 });
    tools.tear(0);
    assert_eq!(tools.look(), Environment::Lost);
}

#[test]
fn what_is_not_there_is_told_apart() {
    assert!(read_environment(Path::new("/nonexistent/fw_env.config")).unwrap().is_none());
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let with = |text: &str| {
        fs::write(&config, text).unwrap();
        read_environment(&config)
    };
    assert!(matches!(with("nonsense"), Err(EnvironmentError::Config { .. })));
    assert!(with("/nonexistent/disk 0 4000").unwrap_err().to_string().contains("/nonexistent/disk"));
    // Raw flash is a character device.
    assert!(with("/dev/zero 0 4000").unwrap().is_none());
    fs::write(dir.path().join("short"), [0; 100]).unwrap();
    let error = with(&format!("{} 0 4000", dir.path().join("short").display())).unwrap_err();
    assert!(error.to_string().contains("beyond its end"), "{error}");
}
