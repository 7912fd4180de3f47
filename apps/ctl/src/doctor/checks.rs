//! What can be looked at from here.

use std::path::Path;

use holdfast_config::{Bus, Config, ConfigErrors, Source, credentials, root};
use holdfast_dbus::AlertLevel;
use holdfast_segment::recover;
use rustix::fs::{Access, FlockOperation};

use super::{Check, Level};
use crate::alerts;
use crate::args::Global;
use crate::bus;
use crate::output;

/// No box that runs this was built before: 2026-01-01.
const BUILT_AFTER_S: i64 = 1_767_225_600;
/// Less room than this is hardly a recording.
const FLOOR_BYTES: u64 = 1 << 30;

pub fn config(config: &Result<Config, ConfigErrors>, global: &Global) -> Check {
    match config {
        Ok(_) => Check::ok("config", format!("{} is right", global.config.display())),
        Err(errors) => {
            Check::new("config", Level::Fail, errors.to_string(), "mend it; holdfast config check shows this again")
        }
    }
}

/// Is the root the right filesystem, writable, and is there room?
pub fn storage(config: &Config) -> Vec<Check> {
    let storage = &config.storage;
    let status = match root::check(storage) {
        Ok(status) => status,
        Err(error) => {
            let text = error.to_string();
            let (message, remedy) = text.split_once(". ").unwrap_or((&text, ""));
            return vec![Check::new("storage", Level::Fail, message, remedy)];
        }
    };
    let on = status.mount.as_ref().map_or_else(String::new, |mount| {
        format!(" on {} ({}, mounted at {})", mount.source.display(), mount.kind, mount.point.display())
    });
    let mut checks = vec![Check::ok("storage", format!("{}{on} is writable", status.root.display()))];
    if let Some(mount) = &status.mount
        && matches!(
            mount.kind.as_str(),
            "tmpfs" | "ramfs" | "overlay" | "nfs" | "nfs4" | "cifs" | "fuse.sshfs" | "vfat"
        )
    {
        let (level, why) = match mount.kind.as_str() {
            "tmpfs" | "ramfs" => (Level::Warning, "footage there is gone at a power cut"),
            "vfat" => (Level::Warning, "files there end at 4 GiB and the filesystem has no journal"),
            "overlay" => (Level::Warning, "footage there may not survive the container"),
            _ => (Level::Warning, "the network may stall or lose what was called safe"),
        };
        checks.push(Check::new(
            "filesystem",
            level,
            format!("{}: {why}", mount.kind),
            "record to a local disk with ext4 or xfs",
        ));
    }
    let usage = status.usage;
    let message = format!(
        "{} % of {} used, {} free",
        usage.used_percent,
        output::bytes(usage.total_bytes),
        output::bytes(usage.free_bytes)
    );
    checks.push(if usage.used_percent >= storage.block_percent || usage.free_bytes < FLOOR_BYTES {
        let remedy = format!(
            "free space, or move storage.root to a larger disk; starts are refused from {} % on (storage.block_percent)",
            storage.block_percent
        );
        Check::new("space", Level::Fail, message, remedy)
    } else if usage.used_percent >= storage.warn_percent {
        Check::new("space", Level::Warning, message, "free space soon, or move storage.root to a larger disk")
    } else {
        Check::ok("space", message)
    });
    checks
}

/// Is there what the inputs name?
pub fn inputs(config: &Config) -> Vec<Check> {
    if config.inputs.is_empty() {
        return vec![Check::new(
            "inputs",
            Level::Fail,
            "no input is configured",
            "add an [[input]] to the configuration",
        )];
    }
    let mut checks = Vec::new();
    for input in &config.inputs {
        let wrong = match &input.source {
            Source::Rtsp { credentials_file: Some(path), .. } => credentials::read(path).err().map(|error| error.to_string()),
            Source::V4l2 { device, .. } => readable(device).map(|why| {
                format!("{} {why}. Plug the device in, or join the group video; v4l2-ctl --list-devices shows what is there", device.display())
            }),
            Source::File { path } => {
                readable(path).map(|why| format!("{} {why}. Correct the path or its permissions", path.display()))
            }
            Source::Rtsp { .. } | Source::Test { .. } => None,
        };
        if let Some(text) = wrong {
            let (message, remedy) = text.split_once(". ").unwrap_or((&text, ""));
            checks.push(Check::new("inputs", Level::Fail, format!("{}: {message}", input.name), remedy));
        }
    }
    if checks.is_empty() {
        let names: Vec<&str> = config.inputs.iter().map(|input| input.name.as_str()).collect();
        checks.push(Check::ok("inputs", format!("{}: what they name is there", names.join(", "))));
    }
    checks
}

fn readable(path: &Path) -> Option<&'static str> {
    if !path.exists() {
        return Some("is not there");
    }
    rustix::fs::access(path, Access::READ_OK).err().map(|_| "may not be read by this user")
}

/// Files that a crash left open and that nobody writes.
pub fn unfinished(config: &Config) -> Check {
    let parts = match recover::scan_tree(&config.storage.root) {
        Ok(parts) => parts,
        Err(_) => return Check::skipped("recovery", "the storage root can't be read"),
    };
    let left = parts.iter().filter(|part| !is_being_written(part)).count() as u64;
    let open = parts.len() as u64 - left;
    if left == 0 {
        return Check::ok("recovery", format!("nothing needs recovery, {} being written", output::count(open, "file")));
    }
    Check::new(
        "recovery",
        Level::Warning,
        format!("{} left open by a crash; what was safe in them is there", output::count(left, "file")),
        "start the recorder, which recovers them before it records, or run holdfast recover",
    )
}

/// Writers hold a lock for as long as they live.
fn is_being_written(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else {
        return false;
    };
    // Shared, and given back at once: a writer or a recovery that begins now must not find it taken.
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err()
}

/// Where the sockets and the state go.
pub fn directories(config: &Config) -> Check {
    let mut missing = Vec::new();
    for dir in [&config.recorder.runtime_dir, &config.recorder.state_dir] {
        if !dir.is_dir() {
            missing.push(dir.display().to_string());
        }
    }
    if missing.is_empty() {
        return Check::ok("directories", "runtime and state directory are there");
    }
    Check::new(
        "directories",
        Level::Warning,
        format!("missing: {}", missing.join(", ")),
        format!(
            "systemd and the recorder make them; if they can't: install -d -o holdfast -g holdfast {}",
            missing.join(" ")
        ),
    )
}

/// Bus, recorder, and whether this user may control it.
pub async fn bus(global: &Global) -> Vec<Check> {
    let failed =
        |name, failure: crate::failure::Failure| Check::new(name, Level::Fail, failure.message, failure.remedy);
    let link = match bus::connect(global).await {
        Ok(link) => link,
        Err(failure) => {
            return vec![failed("bus", failure), Check::skipped("recorder", "the bus can't be reached")];
        }
    };
    let mut checks = vec![Check::ok("bus", format!("{} is there", link.name))];
    let recorder = match bus::recorder(&link).await {
        Ok(recorder) => recorder,
        Err(mut failure) => {
            failure.remedy = "start it: systemctl start holdfast-recorder, or holdfast-recorder --config FILE; \
                              if it does not stay: journalctl -u holdfast-recorder"
                .to_owned();
            checks.push(failed("recorder", failure));
            return checks;
        }
    };
    let ours = env!("CARGO_PKG_VERSION");
    checks.push(match (recorder.version().await, recorder.state().await, recorder.state_message().await) {
        (Ok(version), Ok(state), message) if state == "error" => Check::new(
            "recorder",
            Level::Fail,
            format!("version {version} runs, but: {}", message.unwrap_or_default()),
            "holdfast status shows what is wrong",
        ),
        (Ok(version), Ok(state), _) if version != ours => Check::new(
            "recorder",
            Level::Warning,
            format!("version {version} runs ({state}), this command line is version {ours}"),
            "install both of the same version, then: systemctl restart holdfast-recorder",
        ),
        (Ok(version), Ok(state), _) => Check::ok("recorder", format!("version {version} runs, {state}")),
        (Err(error), ..) | (_, Err(error), _) => failed("recorder", bus::failure(&link, &error)),
    });
    checks.extend(alerts(&link).await);
    checks.extend(super::updates::check(&link).await);
    if bus::choose(global) == Bus::System {
        checks.push(permission());
    }
    checks
}

/// What the recorder knows to be wrong, each with its remedy.
async fn alerts(link: &bus::Link) -> Vec<Check> {
    let active = match alerts::active(link).await {
        Ok(active) => active,
        Err(_) => return vec![Check::skipped("alerts", "the recorder does not tell")],
    };
    if active.is_empty() {
        return vec![Check::ok("alerts", "the recorder knows of nothing that is wrong")];
    }
    let check = |alert: &alerts::Alert| {
        let level = match alert.rank() {
            AlertLevel::Critical => Level::Fail,
            AlertLevel::Warning => Level::Warning,
            AlertLevel::Info => Level::Ok,
        };
        let again = if alert.count > 1 { format!(" ({} times)", alert.count) } else { String::new() };
        let message =
            format!("{}: {} since {}{again}: {}", alert.source, alert.code, output::time(alert.since), alert.text);
        Check::new("alerts", level, message, alert.remedy.clone())
    };
    active.iter().map(check).collect()
}

/// The bus policy lets root and the group holdfast control the recorder.
fn permission() -> Check {
    if rustix::process::geteuid().is_root() {
        return Check::ok("permission", "root may control the recorder");
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let holdfast = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("holdfast")).then(|| fields.nth(1)?.parse::<u32>().ok()).flatten()
    });
    let mine = rustix::process::getgroups().unwrap_or_default();
    let is_member =
        |gid: u32| rustix::process::getegid().as_raw() == gid || mine.iter().any(|group| group.as_raw() == gid);
    match holdfast {
        Some(gid) if is_member(gid) => Check::ok("permission", "this user may control the recorder (group holdfast)"),
        Some(_) => Check::new(
            "permission",
            Level::Warning,
            "this user may look, but not control the recorder",
            "sudo usermod -aG holdfast \"$USER\", then log in again",
        ),
        None => Check::new(
            "permission",
            Level::Warning,
            "there is no group holdfast: only root may control the recorder",
            "sudo groupadd --system holdfast; sudo usermod -aG holdfast \"$USER\", then log in again",
        ),
    }
}

/// Times are labels here, but labels that people read.
pub fn clock() -> Check {
    let now = jiff::Timestamp::now();
    if now.as_second() < BUILT_AFTER_S {
        return Check::new(
            "clock",
            Level::Warning,
            format!("the clock says {}", now.strftime("%Y-%m-%d %H:%M:%SZ")),
            "set it, or let it be set: timedatectl set-ntp true. Order and durations of footage don't depend on it",
        );
    }
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    let how = if synchronized { ", synchronised over the network" } else { "" };
    Check::ok("clock", format!("{}{how}", now.strftime("%Y-%m-%d %H:%M:%SZ")))
}

/// `/dev` is not the kernel's (`devtmpfs`), but one that systemd has made for a service (`PrivateDevices=`): devices are there that are not
/// to be seen. By the mount point and the type of proc_pid_mountinfo(5); the last one mounted there counts.
pub fn has_its_own_devices(mounts: &str) -> bool {
    let at_dev = mounts.lines().rev().find(|line| line.split(' ').nth(4) == Some("/dev"));
    at_dev.and_then(|line| line.split(" - ").nth(1)).is_some_and(|rest| !rest.starts_with("devtmpfs "))
}

#[cfg(test)]
mod tests {
    use super::has_its_own_devices;

    #[test]
    fn devices_of_its_own_are_told_from_the_kernels() {
        let kernels = "23 28 0:6 / /dev rw,nosuid shared:2 - devtmpfs devtmpfs rw,size=4096k,mode=755\n24 23 0:22 / /dev/pts rw - devpts devpts rw\n";
        let own = "281 280 0:57 / /dev ro,nosuid,noexec - tmpfs tmpfs rw,size=4096k,mode=755\n282 281 0:22 / /dev/pts rw - devpts devpts rw\n";
        assert!(!has_its_own_devices(kernels) && has_its_own_devices(own));
        assert!(has_its_own_devices(&[kernels, own].concat()) && !has_its_own_devices(""));
    }
}
