"""Cuts in updates' phases, one after the other: after each the updater goes on by itself, and the last is followed to its end. A new system has
three tries, and each cut may take one: an update is cut twice, so that one is left, and ends good.
"""

import json
import os
import subprocess
from pathlib import Path

INSTALL_SECONDS = 1800
SHARE = "/run/holdfast-share"
BUNDLE = "/data/power.raucb"
SETTINGS = "/etc/holdfast/updater.toml.d/50-power.toml"
PATIENT = '[update]\\ntrial_seconds = 3600\\nattempts = 20\\nretry_seconds = 1\\n'


class Update:
    """An update that was handed to the box."""

    def __init__(self, campaign, number):
        box, image = campaign.box, json.loads(os.environ["HOLDFAST_BUILT"])
        bundle = Path(os.environ["HOLDFAST_SHARE"]) / "power.raucb"
        bundle.unlink(missing_ok=True)
        command = [os.environ["HOLDFAST_XTASK"], "bundle", "make", "--board", "virtual", "--version", f"0.9.{number}"]
        command += ["--rootfs", image["slot"], "--cert", image["cert"], "--key", image["key"], "--out", str(bundle)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        box.wait_good()
        box.run(f"mkdir -p {SHARE}; mountpoint -q {SHARE} || mount -t 9p -o ro,trans=virtio share {SHARE}")
        # On the box's own disk: it must be there after a cut, too.
        box.run(f"cp {SHARE}/power.raucb {BUNDLE}; mkdir -p $(dirname {SETTINGS}); printf '{PATIENT}' >{SETTINGS}; sync", timeout=600)
        box.run("systemctl restart holdfast-updater")
        self.slot, self.tried = box.slot(), False
        self.before = box.until("the updater answers", lambda: box.holdfast("update") or True) and box.holdfast("update")["last"]
        box.holdfast(f"update install {BUNDLE} --no-wait")

    def ended(self, box):
        last = box.holdfast("update")["last"]
        return last if last != self.before else None

    def settle(self, campaign):
        """Follows it to its end, and tells that. One that was not tried yet is called off."""
        box = campaign.box
        if not self.tried:
            box.command.run("holdfast update cancel")
        told = box.until("the update has ended", lambda: campaign.wait_shell() or self.ended(box), timeout=INSTALL_SECONDS)
        # One that was to be called off may have been on its way already.
        assert told["result"] in (("good",) if self.tried else ("good", "cancelled", "failed")), told
        assert (box.slot() == self.slot) == (told["result"] != "good"), told
        box.run(f"rm -f {BUNDLE}")
        box.wait_good()
        return told["result"]


def begin_anew(campaign, chance):
    campaign.settle_update()
    begin(campaign, chance)


def begin(campaign, chance):
    campaign.stop_session()
    if campaign.update is None:
        campaign.updates += 1
        campaign.update = Update(campaign, campaign.updates)


def state_is(campaign, *states):
    """Waits until the updater is in one of these states, or has ended."""

    def there():
        state, percent = campaign.property("Updater1", "State"), campaign.property("Updater1", "Percent")
        return (state, int(percent)) if state in states or campaign.update.ended(campaign.box) else None

    return campaign.box.until(f"the updater is {' or '.join(states)}", there, timeout=INSTALL_SECONDS)


def copying(campaign, chance):
    state = campaign.property("Updater1", "State")
    assert not (ended := campaign.update.ended(campaign.box)), f"the update did not begin: {ended}"
    campaign.pause(chance.uniform(0, 4))
    return state


def writing(campaign, chance):
    # Told as it was before the pause: behind it the box may be on its way into the new system, and answer nobody.
    state, percent = state_is(campaign, "installing", "installed", "activating", "awaiting-reboot")
    wait = chance.uniform(0, 40)
    campaign.pause(wait)
    return f"{wait:.0f} s after {state} at {percent} %"


def activating(campaign, chance):
    state, _ = state_is(campaign, "installed", "activating", "awaiting-reboot", "trial")
    campaign.pause(chance.uniform(0, 1))
    campaign.update.tried = True
    return state


def rebooting(campaign, chance):
    campaign.update.tried = True
    wait = chance.uniform(0, 4)
    # After the cut before this one the box may be in the new system already.
    if campaign.box.slot() != campaign.update.slot:
        campaign.pause(wait)
        return f"{wait:.1f} s later, in the new system"
    wait_reboot(campaign)
    campaign.pause(wait)
    return f"{wait:.1f} s into the boot loader"


def wait_reboot(campaign):
    campaign.appliance.wait_serial("U-Boot 20", campaign.since_shell, timeout=INSTALL_SECONDS)


def trial(campaign, chance):
    wait_reboot(campaign)
    campaign.wait_shell()
    state, _ = state_is(campaign, "trial")
    campaign.update.tried = True
    campaign.pause(chance.uniform(0, 15))
    return state


def proving(campaign, chance):
    state_is(campaign, "trial")
    campaign.box.until("the probe records", lambda: campaign.property("Recorder1", "State") != "idle" or campaign.update.ended(campaign.box))
    wait = chance.uniform(0, 12)
    campaign.pause(wait)
    return f"{wait:.1f} s into the probe"


# In the order in which an update goes through them; `begin_anew`: another one's.
MOMENTS = [
    ("copying", begin_anew, copying),
    ("writing", begin, writing),
    ("activating", begin_anew, activating),
    ("rebooting", begin, rebooting),
    ("trial", begin_anew, trial),
    ("proving", begin, proving),
]
