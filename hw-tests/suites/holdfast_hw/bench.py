"""What this machine is to the virtual appliance beside its power supply: a camera on its network, and a place to send files to."""

import json
import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager

# This machine's loopback, as QEMU's user network shows it.
HOST = "10.0.2.2"


@contextmanager
def camera(directory, user, password, size="640x360", fps=10, bitrate_kbps=16000):
    """An RTSP camera whose footage is noise at a constant bit rate, so that files fill at a known pace; its URL, as the box sees it."""
    footage = directory / "footage.mp4"
    source = f"testsrc2=size={size}:rate={fps}:duration=5,noise=alls=80:allf=t,format=yuv420p"
    rate = f"{bitrate_kbps}k"
    encoder = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(fps), "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate]
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *encoder, footage], check=True)
    command = [os.environ["HOLDFAST_SIMCAM"], "--file", footage, "--path", "/cam1", "--user", user, "--password", password, "--end-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = json.loads(process.stdout.readline())["url"]
            yield url.replace("127.0.0.1", HOST)
        finally:
            process.stdin.close()


def fetch(box, path, target, timeout=600):
    """Has the box send a file to this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(timeout)

        def receive():
            link, _ = server.accept()
            with link, link.makefile("rb") as source, open(target, "wb") as sink:
                shutil.copyfileobj(source, sink)

        receiver = threading.Thread(target=receive, daemon=True)
        receiver.start()
        box.run(f"bash -c 'cat {path} > /dev/tcp/{HOST}/{server.getsockname()[1]}'", timeout=timeout)
        receiver.join(timeout)
    size = int(box.run(f"stat --format=%s {path}"))
    assert target.stat().st_size == size, f"{target.stat().st_size} of {size} bytes have come of {path}"
    return target
