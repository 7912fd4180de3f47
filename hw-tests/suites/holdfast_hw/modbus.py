"""A Modbus module on this machine that is not our code: pymodbus, by the script of the panel's own tests."""

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

SERVER = Path(__file__).parents[3] / "apps/ledpanel/tests/modbus/server.py"


class Module:
    """Inputs that are set and coils that are read here. It listens on loopback; the box reaches that as 10.0.2.2."""

    def __enter__(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._process = subprocess.Popen([sys.executable, SERVER, "tcp", str(self.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._lamps = {}
        ready = self._process.stdout.readline()
        if not ready.startswith("ready"):
            raise RuntimeError(f"the Modbus module does not start: {ready!r}")
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(timeout=30)

    @contextmanager
    def pressed(self, discrete):
        """Keeps an input closed."""
        self._tell(f"set di {discrete} 1")
        try:
            yield
        finally:
            self._tell(f"set di {discrete} 0")

    def lamp(self, coil):
        """What was written last."""
        return self._lamps.get(coil, 0)

    def _tell(self, words):
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def _listen(self):
        for line in self._process.stdout:
            # Such as: wrote co 0 [1, 0]
            match line.split(maxsplit=3):
                case ["wrote", "co", first, values]:
                    for offset, value in enumerate(values.strip("[]\n ").split(",")):
                        self._lamps[int(first) + offset] = int(value)
