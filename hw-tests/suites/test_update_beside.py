"""An update beside a recording: written while it goes on, never booted under it, and the session that a power cut takes across."""

import time

import pytest

WAITS = "leave to reboot: nothing may be recorded"
# What keeps the box up: an integrator who fetches something has asked the recorder first.
LEASE = "(holdfast lease download --reason 'an integrator copies' --duration 7200 -- sleep 7200 >/run/lease.log 2>&1 </dev/null & echo $! >/run/lease.pid)"


@pytest.fixture(scope="module")
def staged(box, updates, bundles, figure):
    """A session that goes on, and an update that was written beside it: how it was, and the slot that it lies in."""
    box.wait_good()
    updates.configure("install_beside_recording = true")
    box.wait_good()
    slot, other = box.slot(), updates.other()
    # Before the recording: it takes the processors of this machine, on which the box is emulated.
    bundle = bundles.make("beside", "0.8.0")
    box.holdfast("start --label beside-the-update", timeout=300)
    session = box.recording()["session"]
    boot, before = updates.install(bundle)
    began = time.monotonic()
    box.until("it is being written", lambda: updates.status()["state"] == "installing", timeout=600)
    safe, throttled = box.status()["safe_frames"], set()

    def written():
        told = updates.status()
        throttled.add(told["throttled"])
        return told["state"] == "installed"

    box.until("it is written", written, timeout=1800)
    figure("update_beside_installed_s", time.monotonic() - began)
    status = box.status()
    figure("update_beside_frames", status["safe_frames"] - safe)
    yield {"session": session, "slot": slot, "other": other, "boot": boot, "before": before, "throttled": throttled, "safe": safe}
    updates.configure()


def goes_on(box, session, more_than):
    """Waits until the session records again under its id."""

    def again():
        now = box.status()
        return now["state"] == "recording" and now["session"] == session and now["safe_frames"] > more_than

    box.until("the session goes on", again, timeout=600)


def test_a_slot_is_written_beside_a_recording_that_loses_nothing_to_it(box, updates, staged, figure):
    now = box.status()
    assert (now["state"], now["session"]) == ("recording", staged["session"])
    assert now["safe_frames"] > staged["safe"] + 10, now
    session = next(found for found in box.holdfast("sessions") if found["id"] == staged["session"])
    figure("update_beside_lost_frames", session["lost_frames"])
    assert session["lost_frames"] == 0, (session, updates.lost(staged["session"]))
    # By a pace of its own: something was told of it.
    assert any(staged["throttled"]), staged
    # It does not reboot, and the boot order is what it was.
    box.until("it waits for the recording", lambda: updates.status()["waits_for"] == WAITS)
    box.until("recording goes on", lambda: box.status()["safe_frames"] > now["safe_frames"] + 25)
    assert (updates.status()["waits_for"], box.boot_id()) == (WAITS, staged["boot"])
    order = dict(line.split("=", 1) for line in updates.boot_order())
    assert order["BOOT_ORDER"].split()[0] == staged["slot"], order


def test_power_that_goes_meanwhile_leaves_session_and_update_where_they_were(box, updates, appliance, staged):
    safe = box.status()["safe_frames"]
    appliance.off()
    appliance.on()
    appliance.wait_shell()
    goes_on(box, staged["session"], safe)
    assert box.slot() == staged["slot"]
    box.until("the update still waits", lambda: updates.status()["waits_for"] == WAITS, timeout=600)


def test_an_integrators_lease_holds_the_reboot(box, updates, staged):
    boot = box.boot_id()
    box.run(LEASE)
    box.until("the integrator has leave", lambda: any(lease["kind"] == "download" and lease["state"] == "granted" for lease in box.holdfast("leases")))
    box.holdfast("stop", timeout=300)

    def held():
        leases = {lease["kind"]: lease["state"] for lease in box.holdfast("leases")}
        return leases.get("download") == "granted" and leases.get("reboot") == "queued"

    box.until("the reboot is queued behind it", held)
    assert (updates.status()["state"], box.boot_id()) == ("installed", boot)


def test_a_session_goes_on_in_the_new_system_and_is_its_proof(box, updates, appliance, staged, figure):
    """A recording began, and the power went, when the boot order had just been changed."""
    box.holdfast("start --label across-the-update", timeout=300)
    session, safe = (now := box.recording())["session"], now["safe_frames"]
    slot, other = staged["slot"], staged["other"]
    box.run(f"fw_setenv BOOT_{other}_LEFT 3; fw_setenv BOOT_ORDER '{other} {slot}'; sync")
    appliance.off()
    began = time.monotonic()
    appliance.on()
    appliance.wait_shell()
    goes_on(box, session, safe)
    figure("update_session_across_s", time.monotonic() - began)
    assert box.slot() == other
    told = updates.outcome(staged["before"])
    assert (told["version"], told["result"]) == ("0.8.0", "good"), told
    assert "a recording runs: it is the proof" in updates.journal()
    # The proof has not ended it.
    now = box.status()
    assert (now["state"], now["session"]) == ("recording", session)
    box.holdfast("stop", timeout=300)
    assert box.holdfast(f"verify {session}", timeout=900)["ok"]
