"""Power that goes at any moment. After each cut: the box boots, what was safe is there, and the session goes on."""

import os
import random
import time

CUTS = int(os.environ.get("HOLDFAST_CUTS", "3"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))


def test_cuts_while_recording(box, appliance, figure):
    """Each cut comes at a random moment of a recording, and is followed by a boot of the same disk."""
    random_ = random.Random(SEED)
    box.wait_good()
    box.holdfast("start --label power-suite", timeout=300)
    session = box.recording()["session"]
    lost, boots_failed = 0, 0
    for cut in range(CUTS):
        time.sleep(random_.uniform(0.5, 8.0))
        safe = box.status()["safe_frames"]
        appliance.off()
        began = time.monotonic()
        appliance.on()
        try:
            appliance.wait_shell()
        except TimeoutError:
            boots_failed += 1
            raise
        status = box.until(f"the session goes on after cut {cut + 1}", lambda: (now := box.status())["state"] == "recording" and now["session"] == session and now["safe_frames"] > safe and now)
        figure("power_on_to_recording_s", time.monotonic() - began)
        lost += max(0, safe - status["safe_frames"])
    box.holdfast("stop", timeout=300)
    report = box.holdfast(f"verify {session}", timeout=900)
    figure("cuts", CUTS)
    figure("boots_failed", boots_failed)
    figure("safe_frames_lost", lost)
    assert report["ok"], report
    assert lost == 0
    doctor = box.holdfast("doctor", statuses=(0, 1, 2, 3, 4, 5, 6))
    assert doctor["ok"], [check for check in doctor["checks"] if check.get("state") != "ok"]
