//! Installing what was built: the one table of what goes where. A package, an image and the tests take it from here.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::Args;

use crate::bundle::Board;
use crate::terminal;
use crate::workspace::{Profile, Programs, root};

/// Install Holdfast below a directory.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Install below this directory as if it were `/` (a package's DESTDIR, an image, or `/` itself).
    #[arg(long, visible_alias = "destdir", value_name = "DIR")]
    root: PathBuf,
    /// Which build to install.
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
    /// Also what a box of this kind needs to update itself: RAUC's and U-Boot's configuration, and RAUC held in check.
    #[arg(long, value_enum)]
    board: Option<Board>,
}

const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

/// Packages and the programs they build, to `usr/bin`.
pub const PROGRAMS: [(&str, &str); 5] = [
    ("holdfast-recorder", "holdfast-recorder"),
    ("holdfast-capture", "holdfast-capture"),
    ("holdfast-panel", "holdfast-panel"),
    ("holdfast-updater", "holdfast-updater"),
    ("holdfast-ctl", "holdfast"),
];

/// Files as they lie in the repository, and where they go. Paths under `usr` are the vendor's: an administrator overrides
/// them below `etc`, and never edits them.
pub const FILES: [(&str, &str); 30] = [
    ("apps/recorder/systemd/holdfast-recorder.service", "usr/lib/systemd/system/holdfast-recorder.service"),
    ("apps/recorder/systemd/holdfast.slice", "usr/lib/systemd/system/holdfast.slice"),
    ("apps/recorder/systemd/holdfast-recording.slice", "usr/lib/systemd/system/holdfast-recording.slice"),
    ("apps/recorder/systemd/holdfast-background.slice", "usr/lib/systemd/system/holdfast-background.slice"),
    ("apps/recorder/systemd/holdfast.preset", "usr/lib/systemd/system-preset/80-holdfast.preset"),
    ("apps/recorder/systemd/sysusers.conf", "usr/lib/sysusers.d/holdfast.conf"),
    ("apps/recorder/systemd/tmpfiles.conf", "usr/lib/tmpfiles.d/holdfast.conf"),
    ("apps/recorder/systemd/org.holdfast.rules", "usr/share/polkit-1/rules.d/org.holdfast.rules"),
    ("apps/capture/systemd/holdfast-capture@.service", "usr/lib/systemd/system/holdfast-capture@.service"),
    ("apps/ledpanel/systemd/holdfast-panel.service", "usr/lib/systemd/system/holdfast-panel.service"),
    ("apps/ledpanel/systemd/holdfast-panel.preset", "usr/lib/systemd/system-preset/80-holdfast-panel.preset"),
    ("apps/ledpanel/systemd/sysusers.conf", "usr/lib/sysusers.d/holdfast-panel.conf"),
    ("apps/ledpanel/udev/60-holdfast-panel.rules", "usr/lib/udev/rules.d/60-holdfast-panel.rules"),
    ("apps/ledpanel/udev/60-holdfast-display.rules", "usr/lib/udev/rules.d/60-holdfast-display.rules"),
    ("ota/updater/systemd/holdfast-updater.service", "usr/lib/systemd/system/holdfast-updater.service"),
    ("ota/updater/systemd/holdfast-updater.preset", "usr/lib/systemd/system-preset/80-holdfast-updater.preset"),
    ("ota/updater/systemd/holdfast-stick@.service", "usr/lib/systemd/system/holdfast-stick@.service"),
    ("ota/updater/udev/60-holdfast-stick.rules", "usr/lib/udev/rules.d/60-holdfast-stick.rules"),
    ("apps/capture/systemd/holdfast-probe@.service", "usr/lib/systemd/system/holdfast-probe@.service"),
    ("apps/capture/systemd/holdfast-decode.service", "usr/lib/systemd/system/holdfast-decode.service"),
    ("dbus/org.holdfast.Recorder1.conf", "usr/share/dbus-1/system.d/org.holdfast.Recorder1.conf"),
    ("dbus/org.holdfast.Recorder1.service", "usr/share/dbus-1/system-services/org.holdfast.Recorder1.service"),
    ("dbus/org.holdfast.Recorder1.xml", "usr/share/dbus-1/interfaces/org.holdfast.Recorder1.xml"),
    ("dbus/org.holdfast.Panel1.conf", "usr/share/dbus-1/system.d/org.holdfast.Panel1.conf"),
    ("dbus/org.holdfast.Panel1.xml", "usr/share/dbus-1/interfaces/org.holdfast.Panel1.xml"),
    ("dbus/org.holdfast.Updater1.conf", "usr/share/dbus-1/system.d/org.holdfast.Updater1.conf"),
    ("dbus/org.holdfast.Updater1.xml", "usr/share/dbus-1/interfaces/org.holdfast.Updater1.xml"),
    (CONFIG[0], "etc/holdfast/holdfast.toml"),
    (CONFIG[1], "etc/holdfast/panel.toml"),
    (CONFIG[2], "etc/holdfast/updater.toml"),
];

/// What boxes with two slots have beside, whatever board they are.
const BOARD_FILES: [(&str, &str, u32); 6] = [
    ("ota/board/rauc.conf", "usr/lib/systemd/system/rauc.service.d/50-holdfast.conf", DATA),
    ("ota/board/updater.conf", "usr/lib/systemd/system/holdfast-updater.service.d/50-board.conf", DATA),
    ("ota/board/board.preset", "usr/lib/systemd/system-preset/70-holdfast-board.preset", DATA),
    ("ota/board/holdfast-trial-guard.service", "usr/lib/systemd/system/holdfast-trial-guard.service", DATA),
    ("ota/board/holdfast-trial-guard.timer", "usr/lib/systemd/system/holdfast-trial-guard.timer", DATA),
    ("ota/board/trial-guard", "usr/lib/holdfast/trial-guard", PROGRAM),
];

/// Units of others that mark a boot as good without looking: only the updater may.
pub const MASKED: [&str; 2] = ["rauc-mark-good.service", "nv_update_verifier.service"];

/// What one kind of board has beside, with its mode.
fn of_board(board: Board) -> Vec<(String, &'static str, u32)> {
    let mut files = vec![(board.system_conf(), "etc/rauc/system.conf", DATA)];
    match board {
        Board::Jetson => files.push(("ota/jetson/boot-backend".to_owned(), "usr/lib/holdfast/boot-backend", PROGRAM)),
        Board::Rk3588 | Board::Virtual => {
            files.push((format!("ota/board/{}.fw_env.config", board.name()), "etc/fw_env.config", DATA));
        }
    }
    files
}

/// Files that belong to the administrator once they are there.
const CONFIG: [&str; 3] = ["apps/recorder/holdfast.toml", "apps/ledpanel/panel.toml", "ota/updater/updater.toml"];

/// Where the command line writes its manual: a page for itself, and one for each of its commands.
const MANUAL: &str = "usr/share/man/man1";

/// Shells that the command line completes in, and where each looks for its script.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/holdfast"),
    ("zsh", "usr/share/zsh/vendor-completions/_holdfast"),
    ("fish", "usr/share/fish/vendor_completions.d/holdfast.fish"),
];

/// Builds and installs.
pub fn run(args: &InstallArgs) -> anyhow::Result<()> {
    let packages = PROGRAMS.map(|(package, _)| package);
    let programs = Programs::build(args.profile, &packages)?;
    place(&args.root, programs.directory())?;
    if let Some(board) = args.board {
        install_board(&args.root, board)?;
    }
    for (shell, to) in COMPLETIONS {
        let script = printed(Command::new(programs.path("holdfast")).args(["completions", shell]))?;
        put(&args.root.join(to), &script, DATA)?;
    }
    printed(Command::new(programs.path("holdfast")).args(["man", "--out"]).arg(args.root.join(MANUAL)))?;
    terminal::good(&format!("installed below {}", args.root.display()));
    if args.root == Path::new("/") {
        terminal::note(
            "now: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && systemctl reload dbus, \
             look through /etc/holdfast/holdfast.toml, then systemctl enable --now holdfast-recorder; with buttons and lights \
             also: udevadm control --reload && udevadm trigger, /etc/holdfast/panel.toml, systemctl enable --now holdfast-panel",
        );
    }
    Ok(())
}

/// Puts programs that were built, for whatever processor, and all files below a directory.
pub fn place(target: &Path, programs: &Path) -> anyhow::Result<()> {
    for (_, name) in PROGRAMS {
        let source = programs.join(name);
        let bytes = fs::read(&source).with_context(|| format!("{} can't be read", source.display()))?;
        put(&target.join("usr/bin").join(name), &bytes, PROGRAM)?;
    }
    for (from, to) in FILES {
        let target = target.join(to);
        if CONFIG.contains(&from) && target.exists() {
            terminal::note(&format!("{} is there already and stays as it is", target.display()));
            continue;
        }
        let bytes = fs::read(root().join(from)).with_context(|| format!("{from} can't be read"))?;
        put(&target, &bytes, DATA)?;
    }
    Ok(())
}

/// All that a kind of board has beside, from where to where, with its mode.
pub fn for_board(board: Board) -> Vec<(String, &'static str, u32)> {
    let common = BOARD_FILES.map(|(from, to, mode)| (from.to_owned(), to, mode));
    common.into_iter().chain(of_board(board)).collect()
}

/// What makes it a box that updates itself.
pub fn install_board(root_of_box: &Path, board: Board) -> anyhow::Result<()> {
    for (from, to, mode) in for_board(board) {
        let bytes = fs::read(root().join(&from)).with_context(|| format!("{from} can't be read"))?;
        put(&root_of_box.join(to), &bytes, mode)?;
    }
    let units = root_of_box.join("etc/systemd/system");
    fs::create_dir_all(&units).with_context(|| format!("{} can't be made", units.display()))?;
    for unit in MASKED {
        let target = units.join(unit);
        if fs::symlink_metadata(&target).is_ok() {
            fs::remove_file(&target).with_context(|| format!("{} can't be replaced", target.display()))?;
        }
        symlink("/dev/null", &target).with_context(|| format!("{} can't be made", target.display()))?;
    }
    let keyring = root_of_box.join("etc/rauc/keyring.pem");
    if !keyring.exists() {
        terminal::note(&format!(
            "{} is missing: without it no bundle is taken; ota/README.md says how it is made",
            keyring.display()
        ));
    }
    Ok(())
}

/// What a program of ours prints.
fn printed(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

/// Writes a file under a name that is free, then renames it: a running program's file is replaced, not written into.
fn put(target: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let failed = || format!("{} can't be written", target.display());
    let directory = target.parent().with_context(failed)?;
    fs::create_dir_all(directory).with_context(failed)?;
    let mut name = target.file_name().with_context(failed)?.to_owned();
    name.push(".new");
    let new = directory.join(name);
    fs::write(&new, bytes).with_context(failed)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).with_context(failed)?;
    fs::rename(&new, target).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::{BOARD_FILES, FILES, MASKED, install_board, of_board, put};
    use crate::bundle::Board;
    use crate::workspace::root;
    use std::os::unix::fs::PermissionsExt as _;

    /// A unit that nobody installs is a unit that nobody runs.
    #[test]
    fn every_file_to_install_is_in_the_table() {
        for directory in [
            "apps/recorder/systemd",
            "apps/capture/systemd",
            "apps/ledpanel/systemd",
            "ota/updater/systemd",
            "apps/ledpanel/udev",
            "ota/updater/udev",
        ] {
            for entry in std::fs::read_dir(root().join(directory)).unwrap() {
                let path = format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap());
                assert!(FILES.iter().any(|(from, _)| *from == path), "{path} is not installed");
            }
        }
        for (from, to) in FILES {
            assert!(root().join(from).is_file(), "{from} is not there");
            assert!(!to.starts_with('/'), "{to} would leave the root");
        }
    }

    #[test]
    fn each_board_has_what_it_needs_to_update_itself_and_a_pc_has_none_of_it() {
        let mut of_boards: Vec<String> = BOARD_FILES.map(|(from, ..)| from.to_owned()).into();
        for board in [Board::Rk3588, Board::Jetson, Board::Virtual] {
            let directory = tempfile::tempdir().unwrap();
            // As it is on a second installation.
            for _ in 0..2 {
                install_board(directory.path(), board).unwrap();
            }
            let at = |path: &str| directory.path().join(path);
            let conf = std::fs::read_to_string(at("etc/rauc/system.conf")).unwrap();
            assert!(conf.contains(&format!("compatible=holdfast-{}\n", board.name())));
            // What system.conf names is there.
            let is_jetson = conf.contains("bootloader-custom-backend=/usr/lib/holdfast/boot-backend");
            let is_program = at("usr/lib/holdfast/boot-backend")
                .metadata()
                .is_ok_and(|file| file.permissions().mode() & 0o111 == 0o111);
            assert_eq!((is_jetson, at("etc/fw_env.config").exists()), (is_program, !is_program));
            for unit in MASKED {
                assert_eq!(
                    std::fs::read_link(at("etc/systemd/system").join(unit)).unwrap().to_str(),
                    Some("/dev/null")
                );
            }
            of_boards.extend(of_board(board).into_iter().map(|(from, ..)| from));
        }
        for directory in ["ota/board", "ota/system.conf", "ota/jetson"] {
            for entry in std::fs::read_dir(root().join(directory)).unwrap() {
                let path = format!("{directory}/{}", entry.unwrap().file_name().to_str().unwrap());
                assert!(of_boards.contains(&path), "{path} is not installed");
                assert!(!FILES.iter().any(|(from, _)| *from == path), "{path} is for boards alone");
            }
        }
    }

    #[test]
    fn a_file_is_replaced_and_not_written_into() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("usr/bin/program");
        put(&target, b"old", 0o755).unwrap();
        let running = std::fs::File::open(&target).unwrap();
        put(&target, b"new", 0o755).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(std::io::read_to_string(running).unwrap(), "old");
        assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
    }
}
