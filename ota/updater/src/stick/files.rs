//! What is on a stick: the one bundle that is meant, or why there is none. Whatever else lies there is not opened, and nothing that
//! is opened lies anywhere else.

use std::cmp::Ordering;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use holdfast_update_plan::{Channel, compare};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use tracing::info;

/// Where it has to lie.
const DIRECTORY: &str = "holdfast";
/// What its name ends in; in any case, as FAT does not tell one from the other.
const SUFFIX: &str = ".raucb";
/// Says what the bundle is, as on a server; need not be there.
const CHANNEL: &str = "channel.toml";
/// Nobody has more files in it by intention.
const MAX_ENTRIES: usize = 4096;
/// Nor more bundles.
const MAX_BUNDLES: usize = 64;
/// No channel file is larger, bytes.
const MAX_CHANNEL: u64 = 64 << 10;

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// It is no stick with an update.
    Nothing,
    /// It should be one. Why it is not taken, and what to do.
    Refused(String),
    /// This.
    Bundle(Bundle),
}

/// A bundle on a stick.
#[derive(Debug)]
pub struct Bundle {
    /// Its file's name.
    pub name: String,
    /// Open.
    pub file: File,
    /// What the channel file beside it says.
    pub channel: Option<String>,
}

/// Looks through a stick.
pub fn find(root: &OwnedFd) -> Found {
    match look(root) {
        Ok(found) => found,
        Err(error) => Found::Refused(format!("the stick can't be read ({error}); plug it in again, or take another")),
    }
}

fn look(root: &OwnedFd) -> Result<Found, Errno> {
    let refused = |why: String| Ok(Found::Refused(why));
    // Names of one part each, and no link is followed: nothing leads out of the stick. (openat2 would say so itself, but the unit's
    // RestrictSUIDSGID= takes it away.)
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let directory = match openat(root, DIRECTORY, flags, Mode::empty()) {
        Ok(directory) => directory,
        // A link is as good as nothing: it may lead anywhere.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for (count, entry) in Dir::read_from(&directory)?.enumerate() {
        if count >= MAX_ENTRIES {
            return refused(format!(
                "{DIRECTORY}/ on the stick has more than {MAX_ENTRIES} files; leave the bundle alone in it"
            ));
        }
        let name = entry?.file_name().to_string_lossy().into_owned();
        // Some systems leave files of their own beside each, which begin with a point.
        if name.to_ascii_lowercase().ends_with(SUFFIX) && !name.starts_with('.') && !name.chars().any(char::is_control)
        {
            names.push(name);
        }
        if names.len() > MAX_BUNDLES {
            return refused(format!("{DIRECTORY}/ on the stick has more than {MAX_BUNDLES} bundles; leave one in it"));
        }
    }
    names.retain(|name| is_file(directory.as_fd(), name));
    names.sort();
    let channel = match channel(directory.as_fd()) {
        Ok(channel) => channel,
        Err(why) => return refused(format!("{DIRECTORY}/{CHANNEL} on the stick: {why}")),
    };
    let name = match pick(names, channel.as_ref().map(|(channel, _)| channel)) {
        Ok(name) => name,
        Err(why) => return refused(why),
    };
    let file = open(directory.as_fd(), &name)?;
    Ok(Found::Bundle(Bundle { name, file, channel: channel.map(|(_, text)| text) }))
}

/// A file, and nothing else that has a name: opening a device may do something, and a pipe may wait for ever.
fn is_file(directory: impl AsFd, name: &str) -> bool {
    let found = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let is_file = found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    if !is_file {
        info!(name, "passed over: it is no file");
    }
    is_file
}

fn open(directory: impl AsFd, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    // It may have become another one since.
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file.into()),
        _ => Err(Errno::INVAL),
    }
}

/// What the channel file says, and its text. `None`: there is none.
fn channel(directory: impl AsFd) -> Result<Option<(Channel, String)>, String> {
    if statat(&directory, CHANNEL, AtFlags::SYMLINK_NOFOLLOW).is_err_and(|error| error == Errno::NOENT) {
        return Ok(None);
    }
    if !is_file(&directory, CHANNEL) {
        return Err("it is no file; delete it".to_owned());
    }
    let file = open(&directory, CHANNEL).map_err(|error| format!("it can't be read ({error})"))?;
    let mut text = String::new();
    file.take(MAX_CHANNEL + 1).read_to_string(&mut text).map_err(|error| format!("it can't be read ({error})"))?;
    if text.len() > usize::try_from(MAX_CHANNEL).unwrap_or(usize::MAX) {
        return Err(format!("it has more than {MAX_CHANNEL} bytes; write one with cargo xtask bundle channel"));
    }
    let channel = Channel::parse(&text).map_err(|error| error.to_string())?;
    Ok(Some((channel, text)))
}

/// The one that is meant: what the channel file names, or the newest by the release in its name.
fn pick(mut names: Vec<String>, channel: Option<&Channel>) -> Result<String, String> {
    if let Some(channel) = channel {
        let wanted = channel.bundle.rsplit('/').next().unwrap_or_default();
        let found = names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        return match found {
            Some(index) => Ok(names.swap_remove(index)),
            None => {
                Err(format!("{DIRECTORY}/{CHANNEL} on the stick names {wanted}, which is not beside it; put it there"))
            }
        };
    }
    match names.len() {
        0 => Err(format!("{DIRECTORY}/ on the stick has no bundle; put a file there whose name ends in {SUFFIX}")),
        1 => Ok(names.swap_remove(0)),
        _ => newest(names),
    }
}

fn newest(names: Vec<String>) -> Result<String, String> {
    let several = format!(
        "{DIRECTORY}/ on the stick has {}, and which is the newest can't be told by their names; leave one in it",
        names.join(", ")
    );
    let mut best: Option<String> = None;
    for name in names {
        let Some(before) = best else {
            best = Some(name);
            continue;
        };
        let order = version_of(&name).zip(version_of(&before)).and_then(|(one, other)| compare(one, other));
        best = match order {
            Some(Ordering::Greater) => Some(name),
            Some(Ordering::Less) => Some(before),
            Some(Ordering::Equal) | None => return Err(several),
        };
    }
    best.ok_or(several)
}

/// The release in a bundle's name: `2026.12.0-rc.1` of `holdfast-2026.12.0-rc.1.raucb`. A label: what the bundle says of itself
/// counts, once its signature is known to be good.
#[must_use]
pub fn version_of(name: &str) -> Option<&str> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    let begins = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit());
    if begins(stem) {
        return Some(stem);
    }
    stem.match_indices('-').map(|(at, _)| &stem[at + 1..]).find(|rest| begins(rest))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::{Found, find, version_of};
    use crate::stick::mount;

    /// A stick with these files, each with its name in it.
    fn stick(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("holdfast")).unwrap();
        for name in names {
            fs::write(dir.path().join("holdfast").join(name), name).unwrap();
        }
        dir
    }

    fn found(dir: &Path) -> Result<String, String> {
        match find(&mount::open(dir).unwrap()) {
            Found::Bundle(bundle) => {
                assert_eq!(std::io::read_to_string(&bundle.file).unwrap(), bundle.name);
                Ok(bundle.name)
            }
            Found::Refused(why) => Err(why),
            Found::Nothing => Err("nothing".to_owned()),
        }
    }

    #[test]
    fn the_newest_by_its_name_is_taken() {
        assert_eq!(found(stick(&["only.raucb", "readme.txt", "._only.raucb"]).path()).unwrap(), "only.raucb");
        let several = stick(&["box-1.9.0.raucb", "box-1.10.0.raucb", "box-1.10.0-rc.2.raucb", "BOX-1.2.0.RAUCB"]);
        assert_eq!(found(several.path()).unwrap(), "box-1.10.0.raucb");
        for unclear in [&["a.raucb", "b.raucb"][..], &["box-1.0.raucb", "other-1.0.0.raucb"]] {
            let why = found(stick(unclear).path()).unwrap_err();
            assert!(why.contains(unclear[0]) && why.contains("leave one in it"), "{why}");
        }
        assert!(found(stick(&["readme.txt"]).path()).unwrap_err().contains("no bundle"));
        assert_eq!(found(tempfile::tempdir().unwrap().path()), Err("nothing".to_owned()));
    }

    #[test]
    fn releases_are_found_in_names() {
        for (name, version) in [
            ("holdfast-2026.12.0.raucb", Some("2026.12.0")),
            ("holdfast-rk3588-2026.12.0-rc.1.raucb", Some("2026.12.0-rc.1")),
            ("2.0.raucb", Some("2.0")),
            ("update.raucb", None),
        ] {
            assert_eq!(version_of(name), version, "{name}");
        }
    }

    #[test]
    fn what_is_no_file_on_the_stick_is_not_opened() {
        let dir = stick(&[]);
        let inside = dir.path().join("holdfast");
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), inside.join("link-9.0.raucb")).unwrap();
        symlink("/dev/zero", inside.join("zero-9.1.raucb")).unwrap();
        fs::create_dir(inside.join("directory-9.2.raucb")).unwrap();
        for (arguments, name) in [(&["p"][..], "fifo-9.3.raucb"), (&["c", "1", "5"], "device-9.4.raucb")] {
            let made = Command::new("mknod").arg(inside.join(name)).args(arguments).status().unwrap();
            if !made.success() {
                holdfast_aloud::skip(format_args!("{name} can't be made here"));
            }
        }
        assert!(found(dir.path()).unwrap_err().contains("no bundle"));
        fs::write(inside.join("good-1.0.raucb"), "good-1.0.raucb").unwrap();
        assert_eq!(found(dir.path()).unwrap(), "good-1.0.raucb");
        symlink("/etc/passwd", inside.join("channel.toml")).unwrap();
        assert!(found(dir.path()).unwrap_err().contains("no file"));
        // Nor does the directory itself lead elsewhere.
        let linked = tempfile::tempdir().unwrap();
        symlink(&inside, linked.path().join("holdfast")).unwrap();
        assert_eq!(found(linked.path()), Err("nothing".to_owned()));
    }

    #[test]
    fn a_stick_full_of_files_is_refused_in_no_time() {
        let dir = stick(&["box-1.0.raucb"]);
        for number in 0..5000 {
            fs::write(dir.path().join(format!("holdfast/{number}.txt")), "").unwrap();
        }
        assert!(found(dir.path()).unwrap_err().contains("more than 4096 files"));
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("holdfast")).unwrap();
        for number in 0..100 {
            fs::write(dir.path().join(format!("holdfast/box-{number}.0.raucb")), "").unwrap();
        }
        assert!(found(dir.path()).unwrap_err().contains("more than 64 bundles"));
    }

    #[test]
    fn a_channel_file_says_which_bundle_is_meant() {
        let dir = stick(&["box-1.0.0.raucb", "box-2.0.0.raucb"]);
        let write = |bundle: &str, more: &str| {
            let text = format!(
                "channel = \"stable\"\nrelease = \"1.0.0\"\nbundle = {bundle:?}\nsize = 3\nsha256 = \"{}\"\n{more}",
                "0".repeat(64)
            );
            fs::write(dir.path().join("holdfast/channel.toml"), text).unwrap();
        };
        write("box-1.0.0.raucb", "");
        assert_eq!(found(dir.path()).unwrap(), "box-1.0.0.raucb");
        write("https://updates.example.org/stable/box-1.0.0.raucb", "");
        assert_eq!(found(dir.path()).unwrap(), "box-1.0.0.raucb");
        write("box-3.0.0.raucb", "");
        assert!(found(dir.path()).unwrap_err().contains("names box-3.0.0.raucb, which is not beside it"));
        write("box-1.0.0.raucb", "wave = 3\n");
        assert!(found(dir.path()).unwrap_err().contains("[[wave]]"));
        write("box-1.0.0.raucb", &format!("# {}\n", "x".repeat(70_000)));
        assert!(found(dir.path()).unwrap_err().contains("more than 65536 bytes"));
    }
}
