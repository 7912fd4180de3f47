"""What is delivered: an image that nobody gets a shell of, and that has nothing of the development variant."""

import json
import os
import re
import subprocess

import pytest

# Where the root lies in a slot's image, behind kernel and initrd (xtask/src/image/slot.rs).
ROOT_OFFSET = 24 << 20
# What only the development variant has, and what nobody debugs with on a box.
NOT_THERE = (
    "usr/lib/holdfast/agent",
    "usr/lib/systemd/system/holdfast-agent.service",
    "usr/lib/systemd/system/holdfast-console.service",
    "usr/lib/modules-load.d/development.conf",
    "usr/bin/gdb",
    "usr/bin/gdbserver",
    "usr/bin/strace",
    "usr/bin/tcpdump",
    "usr/bin/perl",
    "usr/bin/python3",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The root's files by path, with what `unsquashfs -lls` says of each; and a way to read one."""
    built = os.environ.get("HOLDFAST_RELEASE_BUILT")
    if not built:
        pytest.skip("no release image: `cargo xtask hw release` builds it, for the virtual appliance")
    return Root(json.loads(built)["slot"])


class Root:
    def __init__(self, slot):
        self.slot = slot
        lines = self._unsquashfs("-lls").splitlines()
        words = [line.split(None, 5) for line in lines if re.match(r"[dl-][rwxsStT-]{9} ", line)]
        self.modes = {line[5].split(" -> ")[0].removeprefix("squashfs-root/"): line[0] for line in words if len(line) == 6}

    def text(self, path):
        return self._unsquashfs("-cat", path=path)

    def _unsquashfs(self, option, path=None):
        command = ["unsquashfs", "-o", str(ROOT_OFFSET), option, self.slot, *([path] if path else [])]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_it_has_nothing_of_the_development_variant(root):
    assert len(root.modes) > 1000 and "usr/bin/holdfast-recorder" in root.modes
    assert not [path for path in NOT_THERE if path in root.modes]
    assert not [path for path in root.modes if path.endswith((".a", ".h", ".debug")) or "/debug/" in path]


def test_no_unit_gives_a_shell(root):
    wanted = [path for path in root.modes if re.search(r"etc/systemd/system/.*\.wants/", path)]
    assert wanted
    assert not [path for path in wanted if re.search(r"getty|agent|console|debug-shell|emergency|rescue", path)]


def test_nobody_has_a_password(root):
    hashes = {line.split(":")[0]: line.split(":")[1] for line in root.text("etc/shadow").splitlines()}
    assert hashes and all(text.startswith(("!", "*")) for text in hashes.values()), hashes
    shells = {user for user, *_, shell in (line.split(":") for line in root.text("etc/passwd").splitlines()) if shell.endswith("sh")}
    # Root's is of no use without a way in.
    assert shells <= {"root", "holdfast-admin"}, shells


def test_nobody_becomes_root_by_a_file(root):
    raised = {path for path, mode in root.modes.items() if "s" in mode[:7].lower() and mode[0] == "-"}
    # Debian's own, where nothing is gained without a password.
    known = {"mount", "umount", "su", "passwd", "chsh", "chfn", "gpasswd", "newgrp", "chage", "expiry", "unix_chkpwd"}
    known |= {"dbus-daemon-launch-helper", "polkit-agent-helper-1", "pkexec"}
    assert {path.rsplit("/", 1)[-1] for path in raised} <= known, raised
