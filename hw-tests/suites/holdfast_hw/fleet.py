"""A fleet's server on this machine: hawkBit, TLS in front of it as boxes want it, and the operator's side."""

import base64
import json
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from holdfast_hw.bench import HOST

# How holdfast-hawkbit-server ends where this machine lacks what it takes.
SKIPPED = 77


@contextmanager
def server(directory):
    """The fleet, for as long as it is needed."""
    certificates(directory)
    with subprocess.Popen([os.environ["HOLDFAST_HAWKBIT"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            if not line:
                why, status = process.stderr.read(), process.wait()
                assert status == SKIPPED, f"hawkBit's server ended with {status}: {why}"
                pytest.skip(why)
            told = json.loads(line)
            with tls(directory, told["url"].rpartition(":")[2]) as port:
                yield Fleet(told, f"https://{HOST}:{port}", (directory / "ca.pem").read_text())
        finally:
            process.stdin.close()


def certificates(directory):
    """An authority, and a certificate of this machine, as the box sees it."""
    (directory / "leaf.ext").write_text(f"subjectAltName = IP:{HOST}\nbasicConstraints = critical, CA:FALSE\nextendedKeyUsage = serverAuth\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj"
    for line in (
        f"req -x509 {key} /CN=fleet-ca -days 3 -keyout ca.key -out ca.pem",
        f"req -new {key} /CN=fleet -keyout leaf.key -out leaf.csr",
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem",
    ):
        subprocess.run(["openssl", *line.split()], cwd=directory, check=True, capture_output=True)


@contextmanager
def tls(directory, upstream):
    """TLS on a port of the loopback, in front of another; its number."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "leaf.pem", directory / "leaf.key")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            try:
                with context.wrap_socket(self.request, server_side=True) as outer, socket.create_connection(("127.0.0.1", int(upstream))) as inner:
                    back = threading.Thread(target=pump, args=(inner, outer), daemon=True)
                    back.start()
                    pump(outer, inner)
                    back.join()
            except OSError:
                pass  # The box has hung up, or does not trust us: it says so itself.

    class Front(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Front(("127.0.0.1", 0), Handler) as front:
        threading.Thread(target=front.serve_forever, daemon=True).start()
        try:
            yield front.server_address[1]
        finally:
            front.shutdown()


def pump(source, sink):
    """All that comes, until one side ends."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    finally:
        # The other direction ends with this one: HTTP's clients say how long an answer is.
        for side in (source, sink):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Fleet:
    """What an operator does with it, over hawkBit's management API."""

    def __init__(self, told, url, authority):
        self.rest = told["url"] + "/rest/v1"
        self.credentials = base64.b64encode(f"{told['user']}:{told['password']}".encode()).decode()
        self.url, self.authority = url, authority

    def request(self, method, path, body=None, kind="application/json"):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Basic {self.credentials}", "Content-Type": kind}
        asked = urllib.request.Request(self.rest + path, data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=120) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()[:500]}") from error

    def target(self, name):
        """A box of the fleet; its token."""
        return self.request("POST", "/targets", [{"controllerId": name, "name": name}])[0]["securityToken"]

    def software(self, name, version, bundle):
        """A distribution set of one bundle; its id."""
        module = self.request("POST", "/softwaremodules", [{"name": name, "version": version, "type": "os"}])[0]["id"]
        edge = "holdfast-edge-of-a-part"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{bundle.name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        body = head.encode() + bundle.read_bytes() + f"\r\n--{edge}--\r\n".encode()
        self.request("POST", f"/softwaremodules/{module}/artifacts", body, f"multipart/form-data; boundary={edge}")
        of = [{"name": name, "version": version, "type": "os", "modules": [{"id": module}]}]
        return self.request("POST", "/distributionsets", of)[0]["id"]

    def assign(self, software, name, window=None):
        """Gives software to a box, now or in a maintenance window; the action's id."""
        target = {"id": name, "type": "forced"} | ({"maintenanceWindow": window} if window else {})
        return self.request("POST", f"/distributionsets/{software}/assignedTargets", [target])["assignedActions"][0]["id"]

    def cancel(self, name, action):
        self.request("DELETE", f"/targets/{name}/actions/{action}")

    def history(self, name, action):
        """All that was told of an action, oldest first: hawkBit's type, and the messages."""
        told = self.request("GET", f"/targets/{name}/actions/{action}/status?limit=500&sort=id:ASC")["content"]
        return [(entry["type"], " ".join(message or "" for message in entry["messages"])) for entry in sorted(told, key=lambda entry: entry["id"])]
