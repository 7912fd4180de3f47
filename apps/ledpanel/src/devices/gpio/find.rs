//! Chips and lines by name, and what to say where there is none.

use std::path::Path;

use gpiocdev::Chip;
use gpiocdev::line::{Info, Offset};
use rustix::io::Errno;

use crate::devices::DeviceError;
use crate::devices::wired::there_is;

const PERMISSION: &str =
    "Let the panel into the group gpio: its udev rules (60-holdfast-panel.rules) give the chips to that group";

/// A chip that is there.
pub(super) struct Found {
    chip: Chip,
    lines: u32,
    /// For messages: `gpiochip0 (pinctrl-rk3588)`.
    pub(super) named: String,
}

/// Finds a chip by label, name or path.
pub(super) fn chip(wanted: &str) -> Result<Found, DeviceError> {
    let failed = |error: &gpiocdev::Error| {
        DeviceError::new(format!("can't look for GPIO chips in /dev: {error}"), "See that /dev is mounted")
    };
    let paths = gpiocdev::chip::chips().map_err(|error| failed(&error))?;
    // A path may be a link that a udev rule has made.
    let wanted_path = std::fs::canonicalize(wanted).ok();
    let (mut found, mut there, mut closed) = (vec![], vec![], vec![]);
    for path in paths {
        let is_wanted_path = wanted_path.as_ref() == Some(&path);
        match Chip::from_path(&path).and_then(|chip| chip.info().map(|info| (chip, info))) {
            Ok((chip, info)) => {
                let named = format!("{} ({})", info.name, info.label);
                if is_wanted_path || info.name == wanted || info.label == wanted {
                    found.push(Found { chip, lines: info.num_lines, named });
                } else {
                    there.push(info.label);
                }
            }
            // It may be the one that is meant, and may be not.
            Err(error) if is_wanted_path || path.file_name().is_some_and(|name| name == wanted) => {
                return Err(cannot_open(&path, &error));
            }
            // It went while we looked.
            Err(error) if is_gone(&error) => {}
            Err(error) => closed.push((path, error)),
        }
    }
    match (found.pop(), found.len(), closed.first()) {
        (Some(only), 0, _) => Ok(only),
        (Some(one), others, _) => Err(DeviceError::new(
            format!("{} GPIO chips are called \"{wanted}\", {} is one of them", others + 1, one.named),
            "Name it by its path; a udev rule can make one that stays",
        )),
        (None, _, Some((path, error))) => Err(cannot_open(path, error)),
        (None, _, None) => Err(DeviceError::new(
            format!("there is no GPIO chip \"{wanted}\"; {}", there_is(wanted, &there)),
            "Take a label that gpiodetect lists, and see that the device tree enables the chip",
        )),
    }
}

fn cannot_open(path: &Path, error: &gpiocdev::Error) -> DeviceError {
    let remedy = if is_any(error, &[Errno::ACCESS, Errno::PERM]) {
        PERMISSION
    } else if is_gone(error) {
        "Plug it in; the panel looks for it again"
    } else {
        "See what the kernel says of the chip (dmesg)"
    };
    DeviceError::new(format!("can't open the GPIO chip {}: {error}", path.display()), remedy)
}

/// There is no such node, or nothing behind it any more.
fn is_gone(error: &gpiocdev::Error) -> bool {
    is_any(error, &[Errno::NOENT, Errno::NODEV, Errno::NXIO])
}

fn is_any(error: &gpiocdev::Error, errnos: &[Errno]) -> bool {
    match error {
        gpiocdev::Error::Os(code) => errnos.iter().any(|errno| errno.raw_os_error() == code.0),
        _ => false,
    }
}

impl Found {
    pub(super) fn path(&self) -> &Path {
        self.chip.path()
    }

    /// A line's offset, by name or offset; names go first.
    pub(super) fn line(&self, wanted: &str) -> Result<Offset, DeviceError> {
        let infos: Vec<Info> = self
            .chip
            .line_info_iter()
            .map_err(|error| self.unreadable(&error))?
            .collect::<Result<_, _>>()
            .map_err(|error| self.unreadable(&error))?;
        let mut named = infos.iter().filter(|info| info.name == wanted);
        match (named.next(), named.next()) {
            (Some(one), None) => return Ok(one.offset),
            (Some(one), Some(other)) => {
                return Err(DeviceError::new(
                    format!("{}: lines {} and {} are both called \"{wanted}\"", self.named, one.offset, other.offset),
                    "Name the line by its offset",
                ));
            }
            (None, _) => {}
        }
        match wanted.parse::<Offset>() {
            Ok(offset) if offset < self.lines => Ok(offset),
            Ok(offset) => Err(DeviceError::new(
                format!(
                    "{}: there is no line {offset}; it has lines 0 to {}",
                    self.named,
                    self.lines.saturating_sub(1)
                ),
                "See gpioinfo for lines by name",
            )),
            Err(_) => {
                let names = infos.into_iter().map(|info| info.name).filter(|name| !name.is_empty());
                let there = there_is(wanted, &names.collect::<Vec<_>>());
                Err(DeviceError::new(
                    format!("{}: there is no line \"{wanted}\" among its {}; by name, {there}", self.named, self.lines),
                    "Take a name or an offset that gpioinfo lists; names come from the device tree (gpio-line-names)",
                ))
            }
        }
    }

    fn unreadable(&self, error: &gpiocdev::Error) -> DeviceError {
        DeviceError::new(format!("{}: can't read what lines it has: {error}", self.named), "See dmesg")
    }

    /// One line for two things.
    pub(super) fn twice(&self, line: &str, what: &str) -> DeviceError {
        DeviceError::new(
            format!("{}: line \"{line}\" is wired twice: {what}", self.named),
            "Give each a line of its own",
        )
    }

    /// Why the kernel did not give us lines.
    pub(super) fn refused(&self, offsets: &[Offset], error: &gpiocdev::Error) -> DeviceError {
        let infos = offsets.iter().filter_map(|offset| self.chip.line_info(*offset).ok());
        if let Some(used) = infos.into_iter().find(|info| info.used) {
            let line = called(&used);
            let (by, remedy) = match used.consumer.as_str() {
                "" => ("the kernel".to_owned(), "Its pin may be set to another function in the device tree".to_owned()),
                by => (format!("\"{by}\""), format!("End what is called \"{by}\", or take another line")),
            };
            return DeviceError::new(format!("{}: {line} is in use by {by}", self.named), remedy);
        }
        let lines: Vec<String> = offsets.iter().map(ToString::to_string).collect();
        DeviceError::new(
            format!("{}: the kernel does not give us lines {}: {error}", self.named, lines.join(", ")),
            "\"Invalid argument\" is mostly a bias that the chip does not have: leave it out, and fit a resistor",
        )
    }
}

fn called(info: &Info) -> String {
    if info.name.is_empty() {
        format!("line {}", info.offset)
    } else {
        format!("line {} \"{}\"", info.offset, info.name)
    }
}
