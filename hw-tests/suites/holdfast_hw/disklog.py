"""A disk that writes down what is asked of it, and what a power cut leaves of it when its cache had not been written out."""

import json
import os
import struct
import subprocess
from pathlib import Path


class DiskLog:
    """The log of one boot of the virtual appliance, and its disk as that boot found it."""

    def __init__(self, appliance):
        self.disk, self.before, self.log = (appliance.dir / name for name in ("disk.img", "before.img", "disk.log"))
        self.log.unlink(missing_ok=True)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.disk, self.before], check=True)

    def position(self):
        """Entries that are counted by now: at least all up to the last flush that anybody can have noticed."""
        with open(self.log, "rb") as file:
            return struct.unpack("<16xQ", file.read(24))[0]

    def cut(self, begin, seed):
        """Makes the disk of a cut at entry `begin` or later: what was not flushed by then may be lost. Where it was, and what it cost."""
        command = [replayer(), "replay", "--disk", self.before, "--log", self.log, "--from", str(begin), "--seed", str(seed)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        self.before.replace(self.disk)
        self.log.unlink()
        return json.loads(done.stdout)

    def drop(self):
        self.before.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)


def replayer():
    """The replayer of the power-cut rig (hw-tests/powercut)."""
    return Path(os.environ["HOLDFAST_POWERCUT"])
