"""A box under test: what a person would type there, and what it answers."""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

from labgrid.driver.exception import ExecutionError


@dataclass
class Box:
    """A box that is reached by a shell, and switched by a power switch."""

    command: Any
    power: Any
    switched_on: float = 0.0
    """When it was, on this machine's monotonic clock, in seconds."""

    def run(self, line, timeout=240):
        """One line; its output as one text. Fails if the command does."""
        return "\n".join(self.command.run_check(line, timeout=timeout))

    def holdfast(self, line, timeout=240, statuses=(0,)):
        """The command line's answer as JSON."""
        out, _, status = self.command.run(f"holdfast --json {line}", timeout=timeout)
        text = "\n".join(out)
        assert status in statuses, f"holdfast {line} ended with {status}: {text}"
        return json.loads(text)

    def status(self):
        return self.holdfast("status")

    def until(self, what, condition, timeout=180):
        """Waits until a condition holds; returns its value."""
        end = time.monotonic() + timeout
        while True:
            try:
                if value := condition():
                    return value
                last = value
            except (ExecutionError, AssertionError, json.JSONDecodeError) as error:
                last = error
            assert time.monotonic() < end, f"not in {timeout} s: {what}; last: {last}"
            time.sleep(0.5)

    def write(self, path, text, mode="644", group="root"):
        """Puts a file there, as an administrator does."""
        data = base64.b64encode(text.encode()).decode()
        self.run(f"mkdir -p $(dirname {path}); install -m {mode} -g {group} /dev/null {path} && echo {data} | base64 -d > {path}")

    def uptime_s(self):
        """Seconds since the kernel started."""
        return float(self.run("cat /proc/uptime").split()[0])

    def identity(self):
        return self.run("cat /etc/machine-id").strip()

    def slot(self):
        """A or B."""
        words = self.run("cat /proc/cmdline").split()
        return next(word.removeprefix("rauc.slot=") for word in words if word.startswith("rauc.slot="))

    def boot_id(self):
        # Soon: a box that reboots just now never answers.
        return self.run("cat /proc/sys/kernel/random/boot_id", timeout=30).strip()

    def wait_up(self, timeout=600):
        """Waits until all has started. The shell of the virtual appliance answers before its data partition is mounted."""
        self.until("the system is up", lambda: self.run("systemctl is-system-running || true").strip() in ("running", "degraded"), timeout=timeout)

    def recording(self):
        """Waits until something is recorded and safe; the status then."""

        def safe():
            status = self.status()
            return status if status["state"] == "recording" and status["safe_frames"] > 0 else None

        return self.until("a recording with safe frames", safe)

    def wait_good(self, timeout=600):
        """Waits until this boot has proven itself: RAUC calls its slot good, and the boot loader has all its tries."""
        slot = self.slot()
        self.until(
            f"slot {slot} is good",
            lambda: self.run(f"fw_printenv -n BOOT_{slot}_LEFT").strip() == "3",
            timeout=timeout,
        )
