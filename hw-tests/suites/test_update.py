"""Updates from end to end, by the box's own RAUC and boot loader: a good one, and those that are refused."""

import json
import os
import subprocess
import time

import pytest


def test_a_good_one_waits_for_the_recording_and_proves_itself(box, updates, bundles, figure):
    name = bundles.make("good", "0.3.0")
    box.wait_good()
    slot = box.slot()
    box.holdfast("start --label during-the-update", timeout=300)
    box.recording()
    boot, before = updates.install(name)
    # It may not write beside a recording: it says what it waits for.
    box.until("the updater waits", lambda: updates.status()["waits_for"])
    frames = box.status()["safe_frames"]
    box.until("recording goes on", lambda: box.status()["safe_frames"] > frames + 10)
    assert box.boot_id() == boot
    box.holdfast("stop", timeout=300)
    began = time.monotonic()
    session = box.holdfast("sessions")[0]
    assert session["lost_frames"] == 0, (session, updates.lost(session["id"]))
    updates.wait_reboot(boot)
    assert box.slot() != slot, updates.last()
    told = updates.outcome(before)
    assert (told["version"], told["result"]) == ("0.3.0", "good"), told
    figure("update_install_to_good_s", time.monotonic() - began)
    assert box.holdfast("update history")[0] == told
    # By a recording that was decoded, picture by picture.
    journal = updates.journal()
    proof = [line for line in journal.splitlines() if "compared frame for frame" in line]
    assert proof and "this system records" in journal, journal
    figure("update_proof", proof[-1])
    box.wait_good()
    figure("update_uptime_when_good_s", box.uptime_s())


def test_a_bundle_that_nobody_of_ours_signed_is_refused(box, updates, bundles, tmp_path):
    box.wait_good()
    slot, keys = box.slot(), tmp_path / "keys"
    # As well made as ours: an authority, its deputy, and a key that the deputy has issued.
    made = subprocess.run([os.environ["HOLDFAST_XTASK"], "bundle", "--json", "test-keys", str(keys)], check=True, stdout=subprocess.PIPE, text=True)
    key = json.loads(made.stdout)
    name = bundles.make("stranger", "0.4.0", cert=key["cert"], key=key["key"], more=("--intermediate", key["intermediate"]))
    boot, before = updates.install(name)
    told = updates.outcome(before)
    assert (told["result"], told["code"]) == ("failed", "signature"), told
    assert told["text"], told
    assert (box.boot_id(), box.slot()) == (boot, slot)


def refused(box, updates, name, figure, what):
    """Hands over a bundle that may not be taken; the outcome. Nothing that the boot loader goes by has changed after it."""
    order, slot = updates.boot_order(), box.slot()
    began = time.monotonic()
    boot, before = updates.install(name)
    told = updates.outcome(before)
    figure(f"update_refused_{what}_s", time.monotonic() - began)
    assert told["result"] == "failed", told
    assert (box.boot_id(), box.slot()) == (boot, slot)
    assert box.status()["state"] == "idle"
    if what != "damage":
        assert updates.boot_order() == order
    return told


def test_one_for_another_board_is_refused(box, updates, bundles, figure):
    box.wait_good()
    written = updates.sectors_written()
    told = refused(box, updates, bundles.make("board", "0.4.1", board="rk3588"), figure, "board")
    assert told["code"] == "wrong-compatible", told
    assert told["text"].startswith("the bundle is for holdfast-rk3588, and this box is holdfast-virtual"), told
    assert updates.sectors_written() == written


def test_an_older_one_is_refused(box, updates, bundles, figure):
    box.wait_good()
    last = updates.last()
    if not any(outcome["result"] == "good" for outcome in box.holdfast("update history")):
        pytest.skip("what runs came from the factory, not from a bundle: the box knows no release that another could be older than")
    written = updates.sectors_written()
    told = refused(box, updates, bundles.make("older", "0.2.9"), figure, "older")
    assert told["code"] == "downgrade", (told, last)
    assert told["text"].startswith("release 0.2.9 is older than 0.3.0, which runs; to go back all the same: --force"), told
    assert updates.sectors_written() == written


def test_one_whose_end_is_missing_is_refused(box, updates, bundles, figure):
    box.wait_good()
    written = updates.sectors_written()
    whole = bundles.make("whole", "0.4.2")
    # As a download that was broken off: the signature lies at the end.
    name = bundles.changed("truncated", whole, lambda file: file.truncate(file.seek(0, os.SEEK_END) // 2))
    told = refused(box, updates, name, figure, "truncated")
    assert told["code"] in ("damaged", "signature"), told
    assert told["text"], told
    assert updates.sectors_written() == written


def test_one_that_is_damaged_inside_is_given_up_and_not_booted(box, updates, bundles, figure):
    """Its signature is right, and covers the root of a hash tree: the damage is found when it is read."""
    box.wait_good()
    slot, other = box.slot(), updates.other()

    def damage(file):
        file.seek(file.seek(0, os.SEEK_END) // 2)
        there = file.read(4096)
        file.seek(-len(there), os.SEEK_CUR)
        file.write(bytes(byte ^ 0xFF for byte in there))

    # What can't be read may be so by chance: the box would try it again later.
    updates.configure("attempts = 1")
    try:
        name = bundles.changed("damaged", bundles.make("whole", "0.4.3"), damage)
        told = refused(box, updates, name, figure, "damage")
        figure("update_damage_code", told["code"])
        assert told["code"] in ("io", "hash-mismatch", "damaged"), told
        assert told["text"], told
        # What is half written is not booted: the running slot comes first, with all of its tries, and the other one has none.
        order = dict(line.split("=", 1) for line in updates.boot_order())
        assert order["BOOT_ORDER"].split()[0] == slot and order[f"BOOT_{slot}_LEFT"] == "3", order
        assert order[f"BOOT_{other}_LEFT"] == "0" or other not in order["BOOT_ORDER"].split(), order
    finally:
        updates.configure()
