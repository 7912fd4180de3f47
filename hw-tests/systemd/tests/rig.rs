//! The rig itself: if it leaked or did not isolate, its tests would prove nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use holdfast_systemd_tests::{Rig, possible};

/// Every way out of the rig that a test could take by accident.
#[test]
fn what_happens_in_a_rig_stays_in_it_and_ends_with_it() {
    if !possible() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("usr/lib/sysusers.d")).unwrap();
    fs::write(tree.path().join("usr/lib/sysusers.d/rig.conf"), "u holdfast-rig-user - \"of the rig\"\n").unwrap();
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();

    let rig = Rig::boot(&[tree.path()], None).unwrap();

    assert_eq!(rig.run(&["systemctl", "is-system-running"]).out, "running", "{}", rig.log(40));
    let user = rig.run(&["id", "holdfast-rig-user"]);
    assert!(user.ok(), "systemd-sysusers did not make the tree's user: {}", user.err);
    let inside = rig.run(&[
        "sh",
        "-c",
        "hostname rig-inside; touch /etc/holdfast-rig-was-here /usr/bin/holdfast-rig-was-here; ip link set lo up; \
         echo 1 > /proc/sys/kernel/sysrq && echo sysctl; sleep 1000.0625 > /dev/null 2>&1 & echo $!",
    ]);
    assert!(!inside.out.contains("sysctl"), "a rig could set the machine's kernel");
    assert!(!rig.run(&["sh", "-c", "mkdir /sys/fs/cgroup/../holdfast-rig-was-here"]).ok());
    // The whole of systemd is below the rig's own group.
    let group = rig.run(&["cat", "/proc/1/cgroup"]).out;
    assert!(group.lines().any(|line| line == "0::/init.scope"), "{group}");

    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host_name);
    assert_eq!(fs::read_to_string("/etc/passwd").unwrap(), users);
    assert_eq!(fs::read_to_string("/proc/self/mounts").unwrap(), mounts);
    for path in ["/etc/holdfast-rig-was-here", "/usr/bin/holdfast-rig-was-here"] {
        assert!(!Path::new(path).exists(), "{path}");
    }

    assert_eq!(sleepers(), 1);
    drop(rig);
    assert_eq!(sleepers(), 0, "a process outlived its rig");
    let groups: Vec<_> = walk_cgroups().into_iter().filter(|name| name.contains(&own_group())).collect();
    assert!(groups.is_empty(), "{groups:?} are left");
}

fn own_group() -> String {
    format!("holdfast-rig-{}-", std::process::id())
}

/// How many of our `sleep 1000.0625` there are on this machine.
fn sleepers() -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x001000.0625\0"))
        .count()
}

fn walk_cgroups() -> Vec<String> {
    let hierarchies = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let entries = hierarchies.into_iter().filter_map(|path| fs::read_dir(path).ok()).flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
