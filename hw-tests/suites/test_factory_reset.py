"""A factory reset forgets who the box is and what it was told, and keeps its footage unless told otherwise, whatever happens meanwhile."""

import os
import random
import time

import pytest

# Each takes three boots.
CUTS = 3
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
DROP_IN = "/etc/holdfast/holdfast.toml.d/50-site.toml"
NETWORK = "/etc/systemd/network/50-site.network"
# What a box has gathered: enough of it that taking it away lasts, and a power cut finds it at that.
GATHERED = "/var/lib/gathered"
# From the boot loader to the reset and through it, emulated.
RESET_SECONDS = (4.0, 24.0)


@pytest.fixture
def settled(box, root):
    """A box with footage, settings, and things gathered; the session, and the identity that it is to lose."""
    box.wait_up()
    box.wait_good()
    box.holdfast("start --label reset-suite", timeout=300)
    box.recording()
    box.holdfast("stop", timeout=300)
    box.write(DROP_IN, "[storage]\nwarn_percent = 70\n")
    box.write(NETWORK, "[Match]\nName=none\n")
    box.run(f"mkdir -p {GATHERED}; cd {GATHERED} && for i in $(seq 30); do mkdir $i && seq -f $i/%g 100 | xargs touch; done; sync")
    return box.holdfast("sessions")[0]["id"], identity(box)


def identity(box):
    return box.run("cat /etc/machine-id").strip()


def wait_new(box, old):
    """Waits for the boot after a reset: only that one has another identity."""

    def new():
        box.command.wait_shell()
        return identity(box) != old and box.run("test ! -e /data/factory-reset && systemctl is-system-running").strip() == "running"

    box.until("the box has begun anew", new, timeout=900)


def check_begun_anew(box):
    """Nothing is left of the settings, and nothing is wrong."""
    for path in (DROP_IN, NETWORK, GATHERED):
        assert box.command.run(f"test -e {path}")[2] == 1, f"{path} is still there"
    assert identity(box) == box.run("cat /data/state/machine-id").strip()
    assert box.holdfast("config show")
    box.until("the doctor finds nothing", lambda: box.holdfast("doctor")["ok"])


def sessions(box):
    return [session["id"] for session in box.holdfast("sessions")]


def test_a_recording_is_not_interrupted_for_it(box, settled):
    _, before = settled
    box.holdfast("start --label reset-suite-refused", timeout=300)
    box.recording()
    out, _, status = box.command.run("holdfast-factory-reset settings 2>&1")
    assert status == 1 and "nothing is reset" in "\n".join(out), out
    assert box.command.run("test -e /data/factory-reset")[2] == 1
    frames = box.status()["safe_frames"]
    box.until("recording goes on", lambda: box.status()["safe_frames"] > frames)
    box.holdfast("stop", timeout=300)
    assert identity(box) == before


def test_settings_go_and_footage_stays(box, settled, figure):
    session, before = settled
    began = time.monotonic()
    box.command.send("holdfast-factory-reset settings")
    wait_new(box, before)
    figure("reset_settings_s", time.monotonic() - began)
    assert session in sessions(box)
    assert box.holdfast(f"verify {session}", timeout=600)["ok"]
    check_begun_anew(box)


@pytest.mark.parametrize("cut", range(CUTS))
def test_power_that_goes_in_the_middle_of_it(box, appliance, settled, cut, figure):
    """The next boot goes on with it, and the footage is there."""
    session, before = settled
    moment = random.Random(f"{SEED}.{cut}").uniform(*RESET_SECONDS)
    since = len(appliance.serial())
    box.command.send("holdfast-factory-reset settings")
    appliance.wait_serial(r"holdfast: slot [AB] of", since)
    # Any moment is one to try: this is no wait for something.
    time.sleep(moment)
    appliance.off()
    appliance.on()
    wait_new(box, before)
    figure("reset_cut_after_s", moment)
    assert session in sessions(box)
    assert box.holdfast(f"verify {session}", timeout=600)["ok"]
    check_begun_anew(box)


def test_all_takes_the_footage_too(box, settled):
    session, before = settled
    box.command.send("holdfast-factory-reset all")
    wait_new(box, before)
    assert session not in sessions(box) and not sessions(box)
    assert box.run("find /data/recordings -name '*.mp4*'").strip() == ""
    check_begun_anew(box)
