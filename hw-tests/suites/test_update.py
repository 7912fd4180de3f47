"""Updates from end to end: a good one, and those that must not stay."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SHARE = "/run/holdfast-share"


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

    def make(name, version, slot=image["slot"], cert=image["cert"], key=image["key"]):
        out = place / f"{name}.raucb"
        out.unlink(missing_ok=True)
        command = [os.environ["HOLDFAST_XTASK"], "bundle", "make", "--board", "virtual", "--version", version]
        command += ["--rootfs", slot, "--cert", cert, "--key", key, "--out", out]
        subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
        return out.name

    make.image = image
    return make


def install(box, share, name, timeout=900):
    """Hands a bundle to the updater and waits until the box goes down for it, or refuses it."""
    boot = box.boot_id()
    box.holdfast(f"update install {share()}/{name} --no-wait")
    return boot


def last(box):
    return box.holdfast("update")["last"]


def wait_reboot(box, boot, timeout=900):
    """Waits until another boot answers."""
    box.until("the box has rebooted", lambda: _another(box, boot), timeout=timeout)


def _another(box, boot):
    box.command.wait_shell()
    return box.boot_id() != boot


def test_a_bundle_that_nobody_of_ours_signed_is_refused(box, share, bundles, tmp_path):
    keys = tmp_path / "keys"
    subprocess.run([os.environ["HOLDFAST_XTASK"], "bundle", "test-keys", str(keys)], check=True, stdout=subprocess.DEVNULL)
    name = bundles("stranger", "0.2.0", cert=keys / "signer.pem", key=keys / "signer.key")
    install(box, share, name)
    outcome = box.until("it is refused", lambda: (told := last(box)) and told["version"] is not None and told)
    assert outcome["result"] == "failed" and outcome["code"] == "signature", outcome
    assert box.slot() == "A"


def test_a_good_one_waits_for_the_recording_and_proves_itself(box, share, bundles, figure):
    before = box.slot()
    box.wait_good()
    box.holdfast("start --label during-the-update", timeout=300)
    box.recording()
    name = bundles("good", "0.3.0")
    boot = install(box, share, name)
    # It may not write beside a recording: it says what it waits for.
    box.until("the updater waits", lambda: "recorded" in box.holdfast("update")["waits_for"])
    frames = box.status()["safe_frames"]
    box.until("recording goes on", lambda: box.status()["safe_frames"] > frames + 10)
    assert box.boot_id() == boot
    box.holdfast("stop", timeout=300)
    session = box.holdfast("sessions")[0]
    assert session["lost_frames"] == 0, session
    wait_reboot(box, boot)
    assert box.slot() != before
    outcome = box.until("the update has proven itself", lambda: (told := last(box)) and told["version"] == "0.3.0" and told, timeout=900)
    assert outcome["result"] == "good", outcome
    box.wait_good()
    figure("update_slot", box.slot())


def test_one_that_does_not_boot_is_left_and_never_tried_again(box, appliance, share, bundles, tmp_path):
    before = box.slot()
    # A root that is not what the initrd was made for: a block in its middle is damaged.
    slot = tmp_path / "broken.img"
    subprocess.run(["cp", "--sparse=always", bundles.image["slot"], slot], check=True)
    with open(slot, "r+b") as file:
        # The squashfs superblock lies behind the boot part of 24 MiB: the first block that is read.
        file.seek(24 << 20)
        file.write(b"\0" * 4096)
    name = bundles("broken", "0.4.0", slot=slot)
    since = len(appliance.serial())
    boot = install(box, share, name)
    for _ in range(3):
        _, since = appliance.wait_serial("holdfast: slot [AB] of [AB] [AB]", since, timeout=900)
    wait_reboot(box, boot)
    assert box.slot() == before
    outcome = box.until("the rollback is told", lambda: (told := last(box)) and told["version"] == "0.4.0" and told, timeout=600)
    assert outcome["result"] == "rolled-back", outcome
    box.wait_good()
    # It is known now.
    install(box, share, name)
    outcome = box.until("it is refused", lambda: (told := last(box)) and told["number"] != outcome["number"] and told)
    assert outcome["code"] == "known-bad", outcome
