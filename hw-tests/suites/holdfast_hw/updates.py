"""What the update suites share: bundles, made on this machine, and an update from the installation to its outcome."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from labgrid.driver.exception import ExecutionError

SHARE = "/run/holdfast-share"
DROP_IN = "/etc/holdfast/updater.toml.d/50-suite.toml"
# Emulated, and the slot is written and read back behind everything else.
INSTALL_SECONDS = 1800
TRIAL_SECONDS = 1800
# Where the root begins in a slot's image, behind kernel and initrd (xtask/src/image/slot.rs).
ROOT_OFFSET = 24 << 20
NOTHING = object()


class Bundles:
    """Makes bundles on this machine, where the box sees them."""

    def __init__(self):
        self.image = json.loads(os.environ["HOLDFAST_BUILT"])
        self.xtask = os.environ["HOLDFAST_XTASK"]
        self.place = Path(os.environ["HOLDFAST_SHARE"])

    def make(self, name, version, slot=None, cert=None, key=None, board="virtual", more=()):
        """Of a slot's image, the running system's if none is named; the file's name."""
        out = self.place / f"{name}.raucb"
        out.unlink(missing_ok=True)
        command = [self.xtask, "bundle", "make", "--board", board, "--version", version]
        command += ["--rootfs", slot or self.image["slot"], "--cert", cert or self.image["cert"], "--key", key or self.image["key"]]
        subprocess.run([str(word) for word in [*command, "--out", out, *more]], check=True, stdout=subprocess.DEVNULL)
        return out.name

    def system(self, name, version, overlay, place):
        """Of a system of its own: the running one with other files laid over it, {path: text}."""
        for path, text in overlay.items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if path.startswith("usr/bin/") else 0o644)
        command = [self.xtask, "image", "--no-disk", "--json", "--version", version, "--overlay", str(place)]
        built = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        out = self.place / f"{name}.raucb"
        out.unlink(missing_ok=True)
        subprocess.run(["cp", "--reflink=auto", built["bundle"], out], check=True)
        return out.name

    def changed(self, name, of, change):
        """A copy of a bundle that somebody has damaged on its way."""
        out = self.place / f"{name}.raucb"
        out.unlink(missing_ok=True)
        subprocess.run(["cp", "--reflink=auto", self.place / of, out], check=True)
        with open(out, "r+b") as file:
            change(file)
        return out.name


class Updates:
    """The updates of one box."""

    def __init__(self, box):
        self.box = box

    def share(self):
        """The directory of bundles, as the box sees it; mounted again after each boot."""
        self.box.run(f"mkdir -p {SHARE}; mountpoint -q {SHARE} || mount -t 9p -o ro,trans=virtio share {SHARE}")
        return SHARE

    def install(self, name, more=""):
        """Hands a bundle to the updater; the boot that it was handed to, and the last outcome before."""
        # An input that can't be reached speaks against every update. Of one that a capture serves nobody asks that.
        self.box.until("the inputs answer", lambda: all(source["reachable"] != "no" for source in self.box.status()["inputs"]))
        boot, before = self.box.boot_id(), self.last()
        self.box.holdfast(f"update install {self.share()}/{name} --no-wait {more}")
        return boot, before

    def status(self):
        # Soon, too; whoever waits asks again.
        return self.box.holdfast("update", timeout=60)

    def last(self):
        return self.status()["last"]

    def outcome(self, before, timeout=TRIAL_SECONDS):
        """Waits until an update has ended that had not before."""
        number = before and before["number"]
        return self.box.until("the update has ended", lambda: (told := self.last()) and told["number"] != number and told, timeout=timeout)

    def wait_reboot(self, boot, before=NOTHING, timeout=INSTALL_SECONDS):
        """Waits until another boot answers. `before`: of an update that has not ended yet; one that ends instead is told at once."""

        def another():
            self.box.command.wait_shell()
            if before is not NOTHING and self.box.boot_id() == boot and (told := self.last()) != before:
                pytest.fail(f"the update has ended, and the box has not rebooted: {told}")
            try:
                return self.box.boot_id() != boot
            except ExecutionError:
                return False

        self.box.until("the box has rebooted", another, timeout=timeout)

    def journal(self):
        """What the updater has said since this boot."""
        return self.box.run("journalctl --unit holdfast-updater --boot --output cat --no-pager")

    def boot_order(self):
        """What the boot loader will do: the order of the slots, and the tries that each has left."""
        return self.box.run("fw_printenv BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT").split()

    def lost(self, session):
        """Frames that a session has lost, by cause."""
        lost = {}
        for gap in self.box.holdfast(f"show {session}").get("gap_list", []):
            lost[gap["cause"]] = lost.get(gap["cause"], 0) + gap["frames_lost"]
        return lost

    def other(self):
        return "B" if self.box.slot() == "A" else "A"

    def sectors_written(self):
        """Of the slot that does not run, since this boot."""
        device = f"/dev/disk/by-partlabel/rootfs-{self.other().lower()}"
        return int(self.box.run(f"cat /sys/class/block/$(basename $(readlink -f {device}))/stat").split()[6])

    def configure(self, *lines):
        """Lines for [update] over the box's own; none: as it was delivered. The updater begins anew with them."""
        if lines:
            self.box.write(DROP_IN, "\n".join(["[update]", *lines, ""]))
        else:
            self.box.run(f"rm -f {DROP_IN}")
        self.box.run("systemctl restart holdfast-updater")
        self.box.until("the updater answers", self.status)
