"""The image that is delivered, booted: its serial line gives nothing away, and it is reached as its owner reaches it, by SSH with a key."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

BOOT_SECONDS = 600
KEY_IN_DATA = "overlay/etc-holdfast/upper/ssh"
SECTOR = 512


@pytest.fixture(scope="module")
def owner(tmp_path_factory):
    """A box whose data partition was given a key before its first boot, and the one who has it."""
    built = os.environ.get("HOLDFAST_RELEASE_BUILT")
    if not built:
        pytest.skip("no release image: `cargo xtask hw release` builds it, for the virtual appliance")
    place = tmp_path_factory.mktemp("release")
    image = place / "image"
    shutil.copytree(json.loads(built)["disk"], image, copy_function=lambda source, target: subprocess.run(["cp", "--sparse=always", source, target], check=True))
    key = place / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", key], check=True)
    put_key(image / "disk.img", key.with_suffix(".pub"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    box = place / "box"
    command = [os.environ["HOLDFAST_XTASK"], "vm", "--headless", "--fresh", "--dir", box, "--image", image, "--forward", f"{port}:22"]
    with open(place / "qemu.log", "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield Owner(box, port, key, process, place / "qemu.log")
    finally:
        process.kill()
        process.wait()


def put_key(disk, key):
    """What docs/appliance.md tells owners to do, without mounting anything."""
    table = json.loads(subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True, text=True).stdout)
    start = next(part["start"] for part in table["partitiontable"]["partitions"] if part["name"] == "data")
    steps, path = [], ""
    for name in KEY_IN_DATA.split("/"):
        path += f"/{name}"
        steps.append(f"mkdir {path}")
    steps.append(f"write {key} {path}/authorized_keys")
    subprocess.run(["debugfs", "-w", f"{disk}?offset={start * SECTOR}"], input="\n".join(steps) + "\n", check=True, capture_output=True, text=True)


class Owner:
    def __init__(self, place, port, key, process, log):
        self.place, self.port, self.key, self.process, self.log = Path(place), port, key, process, log

    def ssh(self, line, user="holdfast-admin", key=None, more=()):
        """What a line says, and how it ended."""
        options = ["BatchMode=yes", "IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20"]
        command = ["ssh", *(word for option in options for word in ("-o", option)), "-i", key or self.key, "-p", str(self.port), *more, f"{user}@127.0.0.1", line]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stdout, done.stderr, done.returncode

    def holdfast(self, line):
        out, error, status = self.ssh(f"holdfast --json {line}")
        assert status == 0, (line, out, error)
        return json.loads(out)

    def until(self, what, condition, timeout=BOOT_SECONDS):
        end, last = time.monotonic() + timeout, None
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
            try:
                if last := condition():
                    return last
            except (AssertionError, ValueError, subprocess.TimeoutExpired) as error:
                last = error
            time.sleep(1)
        raise AssertionError(f"not in {timeout} s: {what}; last: {last}\n" + (self.place / "serial.log").read_text(errors="replace")[-2000:])


def test_who_has_the_key_comes_in_and_records(owner):
    owner.until("who has the key comes in", lambda: owner.ssh("true")[2] == 0)
    owner.until("the recorder is ready", lambda: owner.holdfast("status")["state"] == "idle")
    owner.until("a recording begins", lambda: owner.holdfast("start --label release-suite"))
    owner.until("frames are safe", lambda: owner.holdfast("status")["safe_frames"] > 20)
    owner.holdfast("stop")
    session = owner.holdfast("sessions")[0]["id"]
    assert owner.holdfast(f"verify {session}")["ok"]
    # On a terminal, too.
    out, error, status = owner.ssh("tty && holdfast status", more=("-tt",))
    assert status == 0 and "/dev/pts/" in out and "idle" in out, (out, error)
    assert "holdfast-recorder" in owner.ssh("journalctl --unit holdfast-recorder --lines 5 --no-pager")[0]


def test_nobody_else_does(owner, tmp_path):
    owner.until("who has the key comes in", lambda: owner.ssh("true")[2] == 0)
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    for user, key in (("holdfast-admin", other), ("root", None), ("holdfast", None), ("nobody", None)):
        _, error, status = owner.ssh("true", user=user, key=key)
        assert status == 255 and "Permission denied" in error, (user, error, status)


def test_the_owner_is_not_root_and_the_system_is_not_his_to_change(owner):
    owner.until("who has the key comes in", lambda: owner.ssh("true")[2] == 0)
    assert "uid=882(holdfast-admin)" in owner.ssh("id")[0]
    for line in ("touch /usr/bin/x", "su -c id", "cat /etc/shadow", "mount -o remount,rw /", "fw_setenv x y", "systemctl start debug-shell.service", "/sbin/modprobe vivid"):
        out, error, status = owner.ssh(f"{line} </dev/null")
        # 126 and 127: it could not be tried; 255: nobody came in.
        assert 0 < status < 126, (line, out, error, status)
    # What is his: configuration of the box, and its services.
    assert owner.ssh("mkdir -p /etc/holdfast/holdfast.toml.d && echo '[storage]' >/etc/holdfast/holdfast.toml.d/60-owner.toml && holdfast config check")[2] == 0
    out, error, status = owner.ssh("systemctl restart holdfast-recorder || journalctl --unit holdfast-recorder --lines 20 --no-pager")
    assert status == 0 and not out, (out, error)
    assert owner.ssh("rm /etc/holdfast/holdfast.toml.d/60-owner.toml")[2] == 0


def test_the_serial_line_answers_nobody(owner):
    owner.until("who has the key comes in", lambda: owner.ssh("true")[2] == 0)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(owner.place / "serial"))
        line.settimeout(5)
        said = b""
        for word in (b"\r\n", b"root\r\n", b"\x03", b"id\r\n"):
            line.sendall(word)
            try:
                said += line.recv(4096)
            except TimeoutError:
                pass  # As it should be: the next word.
    assert not any(word in said for word in (b"login", b"uid=", b"#", b"$")), said
    assert not (owner.place / "control").exists() or no_agent(owner)


def no_agent(owner):
    """Nobody is at the other end of the port that tests of the development variant have their shell on."""
    with socket.socket(socket.AF_UNIX) as port:
        port.connect(str(owner.place / "control"))
        port.settimeout(5)
        port.sendall(b"echo here\n")
        try:
            return port.recv(64) == b""
        except TimeoutError:
            return True
