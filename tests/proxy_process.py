"""A real proxy for tests: ``lumina-proxy serve`` in a process of its own."""

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 20.0
"""Seconds in which a process has to start, or to end."""

POLICY = """\
version: 1
backends:
  lms: {servers: ["${BACKEND_URL:-http://127.0.0.1:9}"]}
limits:
  login: {rate: 5/minute, per: client}
rules:
  - {id: home, match: GET /, allow: anyone}
  - {id: login, match: POST /login, allow: anyone, limits: [login]}
"""


PROGRAM = ("-m", "proxy", "serve")


def key() -> str:
    """Return a key that nobody used before."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with settings for a test, and ``variables``.

    Both ports are any free one; what a developer has set does not get through.
    """
    ours = re.compile(
        r"LISTEN|METRICS_\w+|BACKEND_URL|POLICY|REDIS_URL|WORKERS|MAX_CONNECTIONS|DRAIN_\w+|"
        r"TRUSTED_PROXIES|RATE_LIMIT_\w+|JWT_SECRET|ENCRYPTION_KEY|LOG_\w+|A\w+_LOG"
    )
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not ours.fullmatch(name.removesuffix("_FILE"))
        },
        "LISTEN": "127.0.0.1:0",
        "METRICS_LISTEN": "127.0.0.1:0",
        "ENCRYPTION_KEY": key(),
        "DRAIN_GRACE": "0",
        "ACCESS_LOG": "none",
        "LOG_FORMAT": "text",
        **variables,
    }


class ProxyProcess:
    """A proxy with its policy in a file that the test may edit.

    Args:
        folder: where policy and log are.
        policy: the text of its policy.
        program: what Python runs.
        variables: of its environment, beside those of ``environment``.

    Attributes:
        policy: the file.
        data: the port for clients.
        metrics: the port for operators.
        process: the process, which may have ended.
    """

    def __init__(
        self,
        folder: Path,
        policy: str = POLICY,
        program: tuple[str, ...] = PROGRAM,
        /,
        **variables: str,
    ) -> None:
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy, encoding="utf-8")
        self._log = folder / "proxy.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program],
                cwd=ROOT,
                env=environment(POLICY=str(self.policy), **variables),
                stderr=log,
            )
        self.data = self.metrics = 0

    @property
    def log(self) -> str:
        """What it wrote to its standard error so far."""
        return self._log.read_text(encoding="utf-8")

    def start(self) -> None:
        """Wait until it listens."""
        listening = r"listening on .*:(\d+), metrics on .*:(\d+), policy"
        until = time.monotonic() + DEADLINE
        while not (found := re.search(listening, self.log)):
            assert time.monotonic() < until, self.log
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.01)
                raise AssertionError(self.log)
        self.data, self.metrics = map(int, found.groups())

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ask(self, path: str, token: str = "") -> tuple[int, Any]:
        """Return status and document of what the metrics port answers."""
        address = f"http://127.0.0.1:{self.metrics}{path}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self._send(urllib.request.Request(address, headers=headers))

    def tell_admin(
        self, path: str, order: dict[str, Any], token: str = ""
    ) -> tuple[int, Any]:
        """Return status and document of what the metrics port does with an order."""
        address = f"http://127.0.0.1:{self.metrics}{path}"
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(order).encode()
        return self._send(urllib.request.Request(address, data, headers))

    @staticmethod
    def _send(request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:  # noqa: S310
                status, body = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        text = body.decode()
        return status, json.loads(text) if text.startswith("{") else text

    def wait(self) -> int:
        """Return the exit status, once it has ended."""
        return self.process.wait(DEADLINE)

    def stop(self) -> None:
        """End it if it runs, at once if it has to be."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.wait()


@contextlib.contextmanager
def proxy_process(
    folder: Path,
    policy: str = POLICY,
    program: tuple[str, ...] = PROGRAM,
    /,
    **variables: str,
) -> Iterator[ProxyProcess]:
    """Run a proxy for the length of a ``with`` block."""
    proxy = ProxyProcess(folder, policy, program, **variables)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
