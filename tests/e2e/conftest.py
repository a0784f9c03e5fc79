"""The whole stack in processes of its own: the LMS stub, and the proxy before it."""

import base64
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0


def wait_until_up(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until ``url`` answers 200, or fail when the process ended."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        assert process.poll() is None, f"{process.args!r} ended at its start"
        try:
            with urllib.request.urlopen(url, timeout=1) as response:  # noqa: S310
                if response.status == 200:
                    return
        except OSError:
            pass  # not yet
    pytest.fail(f"{url} did not answer")


class Stack:
    """A running stack.

    Attributes:
        backend: the port of the LMS.
        data: the port of the proxy.
        metrics: its metrics port.
        database: the LMS's SQLite file.
        proxy: the proxy's process.
        log: what the proxy wrote to its standard error.
    """

    def __init__(self, folder: Path, extra: Mapping[str, str]) -> None:
        self.database = folder / "lms.sqlite3"
        self.log = folder / "proxy.log"
        self.backend, self.data, self.metrics = free_ports(3)
        environment = {
            **os.environ,
            "LISTEN": f"127.0.0.1:{self.data}",
            "METRICS_LISTEN": f"127.0.0.1:{self.metrics}",
            "BACKEND_URL": f"http://127.0.0.1:{self.backend}",
            "POLICY": str(ROOT / "policies"),
            "JWT_SECRET": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "ENCRYPTION_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "DRAIN_GRACE": "0",
            **extra,
        }
        self.lms = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "backend_stub",
                "--port",
                str(self.backend),
                "--database",
                str(self.database),
            ],
            cwd=ROOT,
            env=environment,
        )
        with self.log.open("wb") as log:
            self.proxy = subprocess.Popen(
                [sys.executable, "-P", "-m", "proxy", "serve"],
                cwd=ROOT,
                env=environment,
                stderr=log,
            )

    def start(self) -> None:
        """Wait until both answer."""
        wait_until_up(f"http://127.0.0.1:{self.backend}/health", self.lms)
        wait_until_up(f"http://127.0.0.1:{self.metrics}/ready", self.proxy)

    def stop(self) -> None:
        """End both and wait for them."""
        for process in (self.proxy, self.lms):
            if process.poll() is None:
                process.terminate()
        for process in (self.proxy, self.lms):
            process.wait(timeout=DEADLINE)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """Yield a stack that keeps its limits in the proxy's process."""
    running = Stack(tmp_path, {})
    try:
        running.start()
        yield running
    finally:
        running.stop()
