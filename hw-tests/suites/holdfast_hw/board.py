"""A board on a bench as the suites want it: its power by a relay, its shell by SSH, what it says by its serial line."""

import shlex
import subprocess
import threading
import time

from labgrid.driver.exception import ExecutionError

BOOT_SECONDS = 300
COMMAND_SECONDS = 240


class Board:
    """What the driver of the virtual appliance can do, as far as a board can. Each boot takes a connection of its own."""

    is_made_anew = False

    def __init__(self, target):
        self.target = target
        self.power = target.get_driver("PowerProtocol")
        self.ssh = target.get_driver("SSHDriver", activate=False)
        self._said, self._reader = [], None

    # --- power

    def on(self, fresh=False, disk_log=None):
        assert not fresh and not disk_log, "a board is not made anew for a test, and its disk writes nothing down"
        self._listen()
        self.power.on()

    def off(self):
        # First: a connection that has died takes its time to say so.
        self._hang_up()
        self.power.off()

    def cpu_s(self):
        return None

    # --- serial line

    def _listen(self):
        if self._reader or not any(type(driver).__name__ == "SerialDriver" for driver in self.target.drivers):
            return
        line = self.target.get_driver("SerialDriver")

        def read():
            while True:
                try:
                    self._said.append(line.read(size=4096, timeout=1.0))
                except Exception as error:
                    # Nothing was said; or the line is gone, and with it what there was to read.
                    if type(error).__name__ != "TIMEOUT":
                        return

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def serial(self):
        """All that the serial line has said since the first power-on of this run."""
        return b"".join(self._said).decode(errors="replace")

    def said_after(self, words):
        raise KeyError(words)

    # --- shell

    def _hang_up(self):
        try:
            self.target.deactivate(self.ssh)
        except (OSError, ExecutionError, subprocess.SubprocessError):
            pass

    def wait_shell(self, timeout=BOOT_SECONDS):
        """Waits until the board lets us in."""
        end = time.monotonic() + timeout
        while True:
            self._hang_up()
            try:
                self.target.activate(self.ssh)
                if self.run("echo here", timeout=20)[0] == ["here"]:
                    return
            except Exception as error:
                # labgrid says by many kinds of exceptions that nobody answers yet.
                last = error
            else:
                last = "it answers something else"
            if time.monotonic() > end:
                raise TimeoutError(f"no shell in {timeout} s: {last}; the serial line's last:\n{self.serial()[-3000:]}")
            time.sleep(0.5)

    def run(self, command, timeout=COMMAND_SECONDS):
        """Runs one line: lines of output, an empty list, exit status."""
        try:
            out, error, status = self.ssh.run(f"exec 2>&1; {command}", timeout=timeout)
        except subprocess.TimeoutExpired as expired:
            raise ExecutionError(f"{command!r} did not end in {timeout} s") from expired
        if status == 255:
            raise ExecutionError(f"the connection is gone: {error}")
        return out, [], status

    def run_check(self, command, timeout=COMMAND_SECONDS):
        out, _, status = self.run(command, timeout=timeout)
        if status:
            raise ExecutionError(f"{command!r} ended with {status}: " + "\n".join(out))
        return out

    def send(self, command):
        """Sends a line and does not wait for its end. It may take the connection with it before that has told that the line was taken."""
        try:
            self.run(f"setsid sh -c {shlex.quote(command)} >/dev/null 2>&1 </dev/null &")
        except ExecutionError:
            pass
