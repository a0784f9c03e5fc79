"""The proxy in a process of its own, in front of any backend, under any policy."""

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from pathlib import Path
from typing import Any

import jwt

from tests.e2e.conftest import DEADLINE, ROOT, wait_until_up
from tests.ports import free_ports

ROLES = ("student", "teacher", "admin")
FAR = 4_000_000_000
"""An instant, in epoch seconds, that no test will see."""


Answered = tuple[int, Message, bytes]
"""Status, fields and body."""


class Sidecar:
    """A proxy process.

    Attributes:
        data: its data port.
        metrics: its metrics port.
        secret: what its issuer signs with.
        key: its ENCRYPTION_KEY.
        policy: the file of its policy.
        log: what it wrote to its standard output and error.
        process: the process.
    """

    def __init__(
        self,
        folder: Path,
        policy: str,
        extra: Mapping[str, str],
        program: tuple[str, ...] = ("-P", "-m", "proxy", "serve"),
    ) -> None:
        """Start it; ``extra`` is environment, ``program`` what Python runs."""
        self.data, self.metrics = free_ports(2)
        self.secret = base64.urlsafe_b64encode(os.urandom(32)).decode()
        self.key = base64.urlsafe_b64encode(os.urandom(32)).decode()
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy)
        self.log = folder / "sidecar.log"
        environment = {
            **os.environ,
            "LISTEN": f"127.0.0.1:{self.data}",
            "METRICS_LISTEN": f"127.0.0.1:{self.metrics}",
            "POLICY": str(self.policy),
            "JWT_SECRET": self.secret,
            "ENCRYPTION_KEY": self.key,
            "DRAIN_GRACE": "0",
            **extra,
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> "Sidecar":
        """Wait until it serves."""
        wait_until_up(f"http://127.0.0.1:{self.metrics}/ready", self.process)
        return self

    def token(
        self, subject: str = "ada", role: str = "teacher", **claims: object
    ) -> str:
        """Return a token of its issuer."""
        usual = {"iss": "people", "aud": "lms", "exp": FAR, "sub": subject}
        return jwt.encode({**usual, "role": role, **claims}, self.secret, "HS256")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send one request to the data port; return status, fields and body."""
        url = f"http://127.0.0.1:{self.data}{path}"
        return fetch(url, method, body, headers or {})

    def ask_json(
        self, method: str, path: str, document: object, *, role: str = "teacher"
    ) -> tuple[int, dict[str, Any]]:
        """Send a JSON document with a token; return status and JSON document."""
        headers = {
            "Authorization": f"Bearer {self.token(role=role)}",
            "Content-Type": "application/json",
        }
        body = None if document is None else json.dumps(document).encode()
        status, _, answer = self.ask(method, path, body, headers)
        return status, json.loads(answer)

    def look(self, path: str, token: str = "") -> tuple[int, str]:
        """Ask the metrics port; return status and text."""
        url = f"http://127.0.0.1:{self.metrics}{path}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, _, body = fetch(url, "GET", None, headers)
        return status, body.decode()

    def stop(self) -> int:
        """End it as an operator would, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE)


def fetch(
    url: str, method: str, body: bytes | None, headers: Mapping[str, str]
) -> Answered:
    """Send one request and return status, fields and body, whatever the status."""
    request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:  # noqa: S310
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()
