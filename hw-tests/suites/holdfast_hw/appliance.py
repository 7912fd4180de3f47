"""The virtual appliance as a target of labgrid: its power switch, and a root shell on virtio-serial."""

import json
import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import attr
from labgrid import target_factory
from labgrid.driver import Driver
from labgrid.driver.commandmixin import CommandMixin
from labgrid.driver.exception import ExecutionError
from labgrid.protocol import CommandProtocol, PowerProtocol

# Emulated, on a machine that does other things too.
BOOT_SECONDS = 600
COMMAND_SECONDS = 240


class Stamps(threading.Thread):
    """Notes when the serial line of a boot says what begins a stage."""

    MARKS = ("U-Boot 20", "Starting kernel")

    def __init__(self, log, fresh):
        super().__init__(daemon=True)
        self.log, self.at = log, {}
        self.since = 0 if fresh or not log.exists() else log.stat().st_size
        self.began = time.monotonic()
        self.start()

    def run(self):
        while len(self.at) < len(self.MARKS) and time.monotonic() < self.began + BOOT_SECONDS:
            said = self.log.read_bytes()[self.since :].decode(errors="replace") if self.log.exists() else ""
            for mark in self.MARKS:
                if mark in said:
                    self.at.setdefault(mark, time.monotonic() - self.began)
            time.sleep(0.1)


@target_factory.reg_driver
@attr.s(eq=False)
class ApplianceDriver(CommandMixin, Driver, CommandProtocol, PowerProtocol):
    """Power and shell of one virtual box. The machine itself is what `cargo xtask vm` says."""

    is_made_anew = True

    def __attrs_post_init__(self):
        super().__attrs_post_init__()
        self.xtask = os.environ["HOLDFAST_XTASK"]
        self.image = Path(os.environ["HOLDFAST_IMAGE"])
        self.share = Path(os.environ["HOLDFAST_SHARE"])
        self.dir = Path(os.environ["HOLDFAST_VM_DIR"])
        self._process = None
        self._socket = None
        self._buffer = b""

    # --- power

    @Driver.check_active
    def on(self, fresh=False, disk_log=None):
        """Switches the box on; `fresh`: one from the factory; `disk_log`: a file in which its disk writes everything down."""
        if self._process and self._process.poll() is None:
            return
        command = [self.xtask, "vm", "--headless", "--dir", self.dir, "--image", self.image, "--share", self.share]
        command += ["--cpus", os.environ.get("HOLDFAST_CPUS", "2")]
        if fresh:
            command.append("--fresh")
            (self.dir / "serial.log").unlink(missing_ok=True)
        if disk_log:
            command += ["--disk-log", disk_log]
        log = open(self.dir / "qemu.log", "ab")
        self._stamps = Stamps(self.dir / "serial.log", fresh)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @Driver.check_active
    def off(self):
        """Cuts the power: QEMU is killed, and the guest learns nothing of it."""
        self._close()
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @Driver.check_active
    def cycle(self):
        self.off()
        self.on()

    def on_deactivate(self):
        self._close()
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def said_after(self, words):
        """Seconds from power-on until the serial line said so."""
        return self._stamps.at[words]

    def cpu_s(self):
        """What the machine has cost of this one's processors since it was switched on."""
        words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    # --- what the serial line said

    def serial(self):
        """All that the serial line has said since the box left the factory."""
        try:
            return (self.dir / "serial.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_serial(self, pattern, since=0, timeout=BOOT_SECONDS):
        """Waits until the serial line has said something; returns the match and where it ended."""
        end = time.monotonic() + timeout
        while True:
            match = re.compile(pattern).search(self.serial(), since)
            if match:
                return match, match.end()
            self._alive()
            if time.monotonic() > end:
                raise TimeoutError(f"the serial line did not say {pattern!r} in {timeout} s; last:\n{self.serial()[-3000:]}")
            time.sleep(0.2)

    def qmp(self, command, **arguments):
        """Asks QEMU itself."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(30)
            link.connect(str(self.dir / "qmp"))
            lines = link.makefile("rw")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                while "return" not in (answer := json.loads(lines.readline())):
                    if "error" in answer:
                        raise ExecutionError(f"QEMU refuses {command}: {answer['error']}")
            return answer["return"]

    # --- shell

    @Driver.check_active
    def wait_shell(self, timeout=BOOT_SECONDS):
        """Waits until the box answers. A box that boots says so by its first line on the port."""
        end = time.monotonic() + timeout
        while True:
            self._close()
            try:
                self._connect()
                # Lines that are written before anybody listens are lost.
                if self._command("echo here", 3)[0] == ["here"]:
                    return
            except (OSError, ExecutionError):
                pass
            self._alive()
            if time.monotonic() > end:
                raise TimeoutError(f"no shell in {timeout} s; the serial line's last:\n{self.serial()[-3000:]}")
            time.sleep(0.5)

    @Driver.check_active
    def run(self, command, timeout=COMMAND_SECONDS):
        """Runs one line as root: lines of output, an empty list, exit status."""
        if self._socket is None:
            self._connect()
        out, status = self._command(command, timeout)
        return out, [], status

    @Driver.check_active
    def run_check(self, command, timeout=COMMAND_SECONDS):
        out, _, status = self.run(command, timeout=timeout)
        if status:
            raise ExecutionError(f"{command!r} ended with {status}: " + "\n".join(out))
        return out

    @Driver.check_active
    def get_status(self):
        return int(self._process is not None)

    def send(self, command):
        """Sends a line and does not wait for its end."""
        if self._socket is None:
            self._connect()
        self._socket.sendall(command.encode() + b"\n")

    def _alive(self):
        if self._process is None or self._process.poll() is not None:
            raise ExecutionError("QEMU has ended: " + (self.dir / "qemu.log").read_text(errors="replace")[-1000:])

    def _connect(self):
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(self.dir / "control"))

    def _close(self):
        if self._socket:
            self._socket.close()
            self._socket = None

    def _command(self, command, timeout):
        assert "\n" not in command, "one line"
        self._socket.settimeout(timeout)
        # A mark of its own: what an earlier command, given up on, may still say is not taken for this one's.
        mark = os.urandom(6).hex()
        self._socket.sendall(f"echo @begin={mark}; {command}\n".encode())
        end = time.monotonic() + timeout
        begin = f"@begin={mark}\n".encode()
        while True:
            at = self._buffer.find(begin)
            match = re.compile(rb"\n@status=(\d+)\n").search(self._buffer, at) if at >= 0 else None
            if match:
                text = self._buffer[at + len(begin) : match.start()].decode(errors="replace")
                self._buffer = self._buffer[match.end() :]
                return text.splitlines(), int(match[1])
            if time.monotonic() > end:
                self._close()
                raise ExecutionError(f"{command!r} did not end in {timeout} s")
            try:
                data = self._socket.recv(65536)
            except TimeoutError as error:
                self._close()
                raise ExecutionError(f"{command!r} did not end in {timeout} s") from error
            if not data:
                self._close()
                raise ExecutionError("the shell's port was closed")
            self._buffer += data
