"""Updates that are installed as they should be, and must not stay: each is left, told why, and never tried again."""

import subprocess
import time

import pytest

from holdfast_hw.updates import INSTALL_SECONDS, ROOT_OFFSET

# How long such a system has to prove itself: the appliance's own time is for a machine that does other things, too.
TRIAL = "[update]\ntrial_seconds = {}\n"
MODULES = "sdhci-pci\nmmc_block\ni6300esb\nvirtio_rng\nvirtio_net\n"
GUARD = "holdfast-trial-guard.timer"
CRASHES = "#!/bin/sh\necho 'this recorder only crashes' >&2\nkill -ABRT $$\n"


def rolled_back(box, updates, name, version, figure, what):
    """Installs a system that can't prove itself; the outcome, when the box runs the system before again."""
    box.wait_good()
    slot = box.slot()
    began = time.monotonic()
    boot, before = updates.install(name)
    updates.wait_reboot(boot, before)
    trial = box.boot_id()
    assert box.slot() != slot, updates.last()
    updates.wait_reboot(trial)
    told = updates.outcome(before)
    figure(f"update_rolled_back_{what}_s", time.monotonic() - began)
    assert box.slot() == slot
    assert (told["version"], told["result"]) == (version, "rolled-back"), told
    assert box.holdfast("update history")[0] == told
    return told


def known_bad(box, updates, name, version):
    """The same once more: it is not even written."""
    box.wait_good()
    written = updates.sectors_written()
    _, before = updates.install(name)
    told = updates.outcome(before)
    assert (told["result"], told["code"]) == ("failed", "known-bad"), told
    assert told["text"] == f"release {version} was tried on this box and did not prove itself", told
    assert updates.sectors_written() == written


# What boots and is no good. Newer than what the suites before it install. What is laid over the system, how long it may try, and how its end is told.
BROKEN = {
    # Its recorder runs: only there is nothing that it could record.
    "no-camera": ("0.9.0", {"usr/lib/modules-load.d/appliance.conf": MODULES}, 240, "input-silent", "the input cam0 delivers nothing"),
    "no-recorder": ("0.9.1", {"usr/bin/holdfast-recorder": CRASHES}, 120, "recorder-absent", "org.holdfast.Recorder1 does not come to the bus"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_one_that_does_not_record_goes_back_by_itself(box, updates, bundles, tmp_path, figure, name):
    version, overlay, seconds, code, text = BROKEN[name]
    bundle = bundles.system(name, version, overlay | {"etc/holdfast/updater.toml.d/60-trial.toml": TRIAL.format(seconds)}, tmp_path)
    told = rolled_back(box, updates, bundle, version, figure, name)
    assert told["code"] == code and told["text"].startswith(text), told
    known_bad(box, updates, bundle, version)
    # The box itself is none the worse.
    box.holdfast("start --label after-the-rollback", timeout=300)
    box.recording()
    box.holdfast("stop", timeout=300)


def given_up(box, appliance, updates, name, version, figure, what):
    """Installs a system that its boot loader gives up: it is tried as often as it may be, and then the slot before is taken."""
    box.wait_good()
    slot, other = box.slot(), updates.other()
    since = len(appliance.serial())
    began = time.monotonic()
    boot, before = updates.install(name)
    for tries in (2, 1, 0):
        _, since = appliance.wait_serial(rf"holdfast: slot {other} of {other} {slot}, left .*{other}={tries}", since, timeout=INSTALL_SECONDS)
    appliance.wait_serial(rf"holdfast: slot {slot} of", since, timeout=INSTALL_SECONDS)
    updates.wait_reboot(boot)
    assert box.slot() == slot
    told = updates.outcome(before)
    figure(f"update_rolled_back_{what}_s", time.monotonic() - began)
    assert (told["version"], told["result"]) == (version, "rolled-back"), told
    assert told["text"] == f"the boot loader gave slot {other} up and booted {slot} again", told


def test_one_that_does_not_boot_is_left_and_never_tried_again(box, appliance, updates, bundles, tmp_path, figure):
    # A root that is not what the initrd was made for: its first block, which every mount reads, is damaged.
    broken = tmp_path / "broken.img"
    subprocess.run(["cp", "--sparse=always", bundles.image["slot"], broken], check=True)
    with open(broken, "r+b") as file:
        file.seek(ROOT_OFFSET)
        file.write(b"\0" * 4096)
    name = bundles.make("broken", "0.9.2", slot=broken)
    given_up(box, appliance, updates, name, "0.9.2", figure, "unbootable")
    known_bad(box, updates, name, "0.9.2")


def test_one_without_a_bus_has_no_updater_and_is_left_all_the_same(box, appliance, updates, bundles, tmp_path, figure):
    """A timer of the system's own reboots it, and its boot loader counts."""
    overlay = {"usr/bin/dbus-daemon": CRASHES, f"usr/lib/systemd/system/{GUARD}.d/50-soon.conf": "[Timer]\nOnBootSec=\nOnBootSec=60s\nOnUnitInactiveSec=20s\n"}
    name = bundles.system("no-bus", "0.9.3", overlay, tmp_path)
    given_up(box, appliance, updates, name, "0.9.3", figure, "no_bus")
    known_bad(box, updates, name, "0.9.3")
    assert box.command.run("test -e /var/lib/holdfast-updater/on-trial")[2] == 1
    # It was the guard that has done it, each time.
    boots = "for boot in -1 -2 -3; do journalctl --boot $boot --unit holdfast-trial-guard --output cat --no-pager; done"
    assert box.run(boots).count("rebooting, so that the boot loader counts") == 3
