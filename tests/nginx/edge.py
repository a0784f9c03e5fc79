"""A real edge on loopback, what talks to it, and what stands behind it."""

import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from email.message import Message
from pathlib import Path
from typing import ClassVar

from tests.e2e.conftest import DEADLINE, ROOT, wait_until_up
from tests.ports import free_ports

HOST = "lms.example.test"
EDGE = ROOT / "nginx" / "edge.sh"
PATHS = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Debian keeps nginx where only root's PATH looks."""


class Answer:
    """What came back.

    Attributes:
        status: its status.
        fields: its header section.
        body: its body.
    """

    def __init__(self, status: int, fields: Message, body: bytes) -> None:
        self.status, self.fields, self.body = status, fields, body

    def all(self, name: str) -> list[str]:
        """Return every line of a field."""
        return self.fields.get_all(name, [])


class Edge:
    """A running edge.

    Args:
        folder: where it keeps its files.
        servers: what is behind it, ``host:port`` each.
        extra: further variables.
    """

    def __init__(
        self, folder: Path, servers: str, extra: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.http, self.https, self.status = free_ports(3)
        self.log = folder / "access.log"
        self.certificate = folder / "tls" / "fullchain.pem"
        self.key = folder / "tls" / "privkey.pem"
        self.environment = {
            "PATH": PATHS,
            "SERVER_NAMES": HOST,
            "PROXY_SERVERS": servers,
            "EDGE_RUN": str(folder / "run"),
            "EDGE_USER": "root",  # who owns the folders of tests
            "SSL_CERT_PATH": str(self.certificate),
            "SSL_KEY_PATH": str(self.key),
            "HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "HTTPS_LISTEN": f"127.0.0.1:{self.https}",
            "STATUS_LISTEN": f"127.0.0.1:{self.status}",
            "ACME_WEBROOT": str(folder / "acme"),
            "ASSETS_FOLDER": str(folder / "assets"),
            "ACCESS_LOG": str(self.log),
            "EDGE_WATCH": "0.2",
            "EDGE_RATE": "10000r/s",
            "EDGE_BURST": "10000",
            **(extra or {}),
        }
        (folder / "acme").mkdir()
        (folder / "assets" / "static").mkdir(parents=True)

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        """Run another verb of the script with the same variables."""
        return subprocess.run(
            [EDGE, verb],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )

    def start(self) -> None:
        """Start it, and wait until it accepts."""
        with (self.folder / "edge.log").open("wb") as log:
            self.process = subprocess.Popen(
                [EDGE, "start"],
                env=self.environment,
                stderr=log,
                start_new_session=True,
            )
        # Not the port alone: nginx opens it for a moment when it only checks.
        wait_until_up(f"http://127.0.0.1:{self.status}/health", self.process)
        self.first = self.certificate.read_text()

    def stop(self) -> None:
        """End it, its watcher included."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def context(self, trust: str = "") -> ssl.SSLContext:
        """Return trust in the certificate of its first start, and others as PEM."""
        return ssl.create_default_context(cadata=self.first + trust)

    def connect(self, trust: str = "") -> ssl.SSLSocket:
        """Return a TLS connection to it."""
        raw = socket.create_connection(("127.0.0.1", self.https), DEADLINE)
        return self.context(trust).wrap_socket(raw, server_hostname=HOST)

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        trust: str = "",
    ) -> Answer:
        """Ask over HTTPS, on a connection of its own."""
        connection = http.client.HTTPConnection(HOST)
        connection.sock = self.connect(trust)
        return _asked(connection, path, method, body, headers)

    def ask_plainly(self, port: int, path: str, host: str = HOST) -> Answer:
        """Ask without TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        return _asked(connection, path, "GET", None, {"Host": host})

    def lines(self) -> list[dict[str, object]]:
        """Return the access log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def fetched(port: int, path: str, bundle: Path) -> bytes:
    """Return what another server on this machine has, over HTTPS."""
    context = ssl.create_default_context(cafile=str(bundle))
    connection = http.client.HTTPSConnection("localhost", port, context=context)
    return _asked(connection, path, "GET", None, None).body


def _asked(
    connection: http.client.HTTPConnection,
    path: str,
    method: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
) -> Answer:
    with contextlib.closing(connection):
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def edge(
    folder: Path, servers: str, extra: Mapping[str, str] | None = None
) -> Iterator[Edge]:
    """Run an edge for the length of a ``with`` block."""
    assert shutil.which("nginx", path=PATHS)
    running = Edge(folder, servers, extra)
    try:
        running.start()
        yield running
    finally:
        running.stop()


class _Talker(http.server.BaseHTTPRequestHandler):
    """Says what its query tells it to: ``?status=201&field=Name:value``."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[list[int]]

    def setup(self) -> None:
        super().setup()
        self.connections.append(self.client_address[1])

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do_GET(self) -> None:
        """Answer with the request's own fields as JSON."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        heard = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, "fields": heard}).encode()
        status = int(query.get("status", ["200"])[0])
        self.send_response(status)
        for field in query.get("field", []):
            name, _, value = field.partition(":")
            self.send_header(name, value)
        if status in {101, 204, 304}:  # have none
            body = b""
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Answer the same."""
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Talker:
    """A backend that says what it is told to.

    Attributes:
        port: where it listens.
        connections: one number for each connection that was opened.
    """

    def __init__(self) -> None:
        self.connections: list[int] = []
        handler = type("Handler", (_Talker,), {"connections": self.connections})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def talker() -> Iterator[Talker]:
    """Run a talker for the length of a ``with`` block."""
    running = Talker()
    try:
        yield running
    finally:
        running.stop()
