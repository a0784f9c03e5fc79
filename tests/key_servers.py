"""Real key services and databases for tests, on free loopback ports, ended by pid."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.ports import free_port

_DEADLINE = 60.0
"""Seconds for a server to start; they take one, and more when all tests run at once."""


class Server:
    """A process that tests may pause and end.

    Args:
        command: what is run.
        port: where it listens.
        folder: where it runs, and its log is.
        more: further keywords of ``Popen``.
    """

    def __init__(
        self, command: Sequence[str], port: int, folder: Path, **more: Any
    ) -> None:
        self.port = port
        self._command = command
        self._log = folder / f"{Path(command[0]).name}-{port}.log"
        self._more = {"cwd": folder, **more}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, **self._more
            )
        deadline = time.monotonic() + _DEADLINE
        while True:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return

    def pause(self) -> None:
        """Let it answer nothing; its connections stay open."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None


def _post(url: str, document: object, headers: dict[str, str]) -> Any:
    """Send a document; return what is answered, if it is JSON."""
    request = urllib.request.Request(url, json.dumps(document).encode(), headers)  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        body = answer.read()
    return json.loads(body) if body else None


class Transit(Server):
    """OpenBao with a transit engine, in development mode.

    Attributes:
        url: its address.
        token: who may do everything.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.token = "root-of-the-tests"
        bao = Path(sys.executable).with_name("bao")
        super().__init__(
            [
                *(str(bao), "server", "-dev", "-dev-no-store-token"),
                *("-log-level=warn", f"-dev-root-token-id={self.token}"),
                f"-dev-listen-address=127.0.0.1:{port}",
            ],
            port,
            folder,
            env={**os.environ, "HOME": str(folder)},
        )

    def start(self) -> None:
        """Start it with an engine and a key."""
        super().start()
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                self.ask("sys/mounts/transit", {"type": "transit"})
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, self._log.read_text()
            else:
                break
        self.ask("transit/keys/lms", {"type": "aes256-gcm96"})

    def ask(self, path: str, document: object, token: str = "") -> Any:
        """Send a document; return what is answered, if it is JSON."""
        headers = {"X-Vault-Token": token or self.token}
        return _post(f"{self.url}/v1/{path}", document, headers)

    def token_for(self, policy: str) -> str:
        """Return a token that may do what a policy says, and no more."""
        self.ask("sys/policies/acl/tests", {"policy": policy})
        given = self.ask("auth/token/create", {"policies": ["tests"]})
        token: str = given["auth"]["client_token"]
        return token


class AwsKms(Server):
    """AWS KMS as moto plays it.

    Attributes:
        url: its address.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        moto = Path(sys.executable).with_name("moto_server")
        super().__init__([str(moto), "-H", "127.0.0.1", "-p", str(port)], port, folder)

    def new_key(self) -> str:
        """Return the id of a new key."""
        made = self.ask("CreateKey", {})
        key: str = made["KeyMetadata"]["KeyId"]
        return key

    def ask(self, operation: str, document: object) -> Any:
        """Send a request; moto looks at no signature."""
        headers = {
            "X-Amz-Target": f"TrentService.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/eu-central-1/"
            "kms/aws4_request, SignedHeaders=host, Signature=0",
        }
        return _post(self.url, document, headers)


class Postgres(Server):
    """PostgreSQL with an empty database.

    Attributes:
        url: how tests connect.
    """

    def __init__(self, folder: Path) -> None:
        [binaries] = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
        port = free_port()
        self.url = f"postgresql://lumina@127.0.0.1:{port}/postgres"
        # Not below the folder: pytest's are closed to whom PostgreSQL has to run as.
        self._data = data = Path(tempfile.mkdtemp(prefix="lumina-postgres-"))
        more: dict[str, Any] = {}
        if os.getuid() == 0:  # which PostgreSQL refuses to run as
            shutil.chown(data, "postgres", "postgres")
            account = pwd.getpwnam("postgres")
            more = {"user": account.pw_uid, "group": account.pw_gid}
            more |= {"extra_groups": [], "cwd": "/"}
        subprocess.run(
            [
                *(binaries / "initdb", "--pgdata", data, "--auth", "trust"),
                *("--username", "lumina", "--no-sync", "--encoding", "UTF8"),
                *("--locale", "C.UTF-8"),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            **more,
        )
        super().__init__(
            [
                *(str(binaries / "postgres"), "-D", str(data), "-p", str(port)),
                *("-h", "127.0.0.1", "-k", str(data), "-F"),
            ],
            port,
            folder,
            **more,
        )

    def start(self) -> None:
        """Start it and wait until it takes statements."""
        import psycopg  # noqa: PLC0415 - only where a database is asked for

        super().start()
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self._log.read_text()
            else:
                return

    def stop(self) -> None:
        """End it, and remove what it stored."""
        super().stop()
        shutil.rmtree(self._data, ignore_errors=True)


@contextlib.contextmanager
def running(server: Server) -> Iterator[None]:
    """Run a server for the length of a ``with`` block."""
    try:
        server.start()
        yield
    finally:
        server.stop()
