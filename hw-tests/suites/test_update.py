"""Updates from end to end, by the box's own RAUC and boot loader: a good one, and those that must not stay."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from labgrid.driver.exception import ExecutionError

SHARE = "/run/holdfast-share"
# Emulated, and the slot is written and read back behind everything else.
INSTALL_SECONDS = 1800
TRIAL_SECONDS = 1800
# Where the root begins in a slot's image, behind kernel and initrd (xtask/src/image/slot.rs).
ROOT_OFFSET = 24 << 20


@pytest.fixture(scope="module")
def share(box, appliance):
    """The directory of bundles, as the box sees it; mounted again after each boot."""

    def mounted():
        box.run(f"mkdir -p {SHARE}; mountpoint -q {SHARE} || mount -t 9p -o ro,trans=virtio share {SHARE}")
        return SHARE

    return mounted


@pytest.fixture(scope="module")
def bundles():
    """Makes bundles of slot images on this machine, with `cargo xtask bundle`."""
    image = json.loads(os.environ["HOLDFAST_BUILT"])
    place = Path(os.environ["HOLDFAST_SHARE"])

    def make(name, version, slot=image["slot"], cert=image["cert"], key=image["key"], more=()):
        out = place / f"{name}.raucb"
        out.unlink(missing_ok=True)
        command = [os.environ["HOLDFAST_XTASK"], "bundle", "make", "--board", "virtual", "--version", version]
        command += ["--rootfs", slot, "--cert", cert, "--key", key, "--out", out, *more]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        return out.name

    make.image = image
    return make


def install(box, share, name):
    """Hands a bundle to the updater; the boot that it was handed to, and the last outcome before."""
    boot, before = box.boot_id(), last(box)
    box.holdfast(f"update install {share()}/{name} --no-wait")
    return boot, before


def last(box):
    return box.holdfast("update")["last"]


def outcome(box, before, timeout=TRIAL_SECONDS):
    """Waits until an update has ended that had not before."""
    number = before and before["number"]
    return box.until("the update has ended", lambda: (told := last(box)) and told["number"] != number and told, timeout=timeout)


def wait_reboot(box, boot, timeout=INSTALL_SECONDS):
    """Waits until another boot answers; an update that ended instead is told at once."""

    def another():
        box.command.wait_shell()
        try:
            return box.run("cat /proc/sys/kernel/random/boot_id", timeout=30).strip() != boot
        except ExecutionError:
            return False

    box.until("the box has rebooted", another, timeout=timeout)


def test_a_good_one_waits_for_the_recording_and_proves_itself(box, share, bundles, figure):
    name = bundles("good", "0.3.0")
    box.wait_good()
    slot = box.slot()
    box.holdfast("start --label during-the-update", timeout=300)
    box.recording()
    boot, before = install(box, share, name)
    # It may not write beside a recording: it says what it waits for.
    box.until("the updater waits", lambda: box.holdfast("update")["waits_for"])
    frames = box.status()["safe_frames"]
    box.until("recording goes on", lambda: box.status()["safe_frames"] > frames + 10)
    assert box.boot_id() == boot
    box.holdfast("stop", timeout=300)
    session = box.holdfast("sessions")[0]
    assert session["lost_frames"] == 0, session
    wait_reboot(box, boot)
    assert box.slot() != slot, last(box)
    told = outcome(box, before)
    assert (told["version"], told["result"]) == ("0.3.0", "good"), told
    assert box.holdfast("update history")[0] == told
    # By a recording that was decoded, picture by picture.
    journal = box.run("journalctl --unit holdfast-updater --boot --output cat --no-pager")
    proof = [line for line in journal.splitlines() if "compared frame for frame" in line]
    assert proof and "this system records" in journal, journal
    figure("update_proof", proof[-1])
    box.wait_good()
    figure("update_uptime_when_good_s", box.uptime_s())


def test_a_bundle_that_nobody_of_ours_signed_is_refused(box, share, bundles, tmp_path):
    box.wait_good()
    slot, keys = box.slot(), tmp_path / "keys"
    # As well made as ours: an authority, its deputy, and a key that the deputy has issued.
    made = subprocess.run([os.environ["HOLDFAST_XTASK"], "bundle", "--json", "test-keys", str(keys)], check=True, stdout=subprocess.PIPE, text=True)
    key = json.loads(made.stdout)
    name = bundles("stranger", "0.4.0", cert=key["cert"], key=key["key"], more=("--intermediate", key["intermediate"]))
    boot, before = install(box, share, name)
    told = outcome(box, before)
    assert (told["result"], told["code"]) == ("failed", "signature"), told
    assert told["text"], told
    assert (box.boot_id(), box.slot()) == (boot, slot)


def test_one_that_does_not_boot_is_left_and_never_tried_again(box, appliance, share, bundles, tmp_path):
    box.wait_good()
    slot = box.slot()
    # A root that is not what the initrd was made for: its first block, which every mount reads, is damaged.
    broken = tmp_path / "broken.img"
    subprocess.run(["cp", "--sparse=always", bundles.image["slot"], broken], check=True)
    with open(broken, "r+b") as file:
        file.seek(ROOT_OFFSET)
        file.write(b"\0" * 4096)
    name = bundles("broken", "0.5.0", slot=broken)
    since = len(appliance.serial())
    boot, before = install(box, share, name)
    other = "B" if slot == "A" else "A"
    # The boot loader tries it as often as it may, and then takes the slot before.
    for tries in (2, 1, 0):
        _, since = appliance.wait_serial(rf"holdfast: slot {other} of {other} {slot}, left .*{other}={tries}", since, timeout=INSTALL_SECONDS)
    wait_reboot(box, boot)
    assert box.slot() == slot
    told = outcome(box, before)
    assert (told["version"], told["result"]) == ("0.5.0", "rolled-back"), told
    box.wait_good()
    # It is known now.
    _, before = install(box, share, name)
    told = outcome(box, before)
    assert told["code"] == "known-bad", told
