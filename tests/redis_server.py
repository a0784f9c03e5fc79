"""A real Redis for tests: started on a free loopback port, ended by its pid."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from tests.certificates import Authority
from tests.ports import free_port

_DEADLINE = 10.0
"""Seconds for Redis to start or to stop; it takes milliseconds."""


class RedisServer:
    """One ``redis-server`` process, which may be paused, killed and started again.

    Args:
        folder: where it runs; it stores nothing there.
        options: further command line options.
        url: how tests connect; "" for the loopback port.
        password: what it asks for; "" for nothing.
        authority: signs what it shows with TLS, and then nothing is plain.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        url: str = "",
        password: str = "",
        authority: Authority | None = None,
    ) -> None:
        self.port = free_port()
        login = f":{password}@" if password else ""
        self._options: tuple[str, ...] = ("--port", str(self.port), *options)
        usual = f"redis://{login}127.0.0.1:{self.port}"
        if authority is not None:
            certificate, key = authority.sign("127.0.0.1")
            self._options = (
                *("--port", "0", "--tls-port", str(self.port)),
                *("--tls-cert-file", certificate, "--tls-key-file", key),
                *("--tls-ca-cert-file", authority.file, "--tls-auth-clients", "no"),
                *("--tls-replication", "yes", *options),
            )
            usual = usual.replace("redis", "rediss", 1)
            usual += f"?ssl_ca_certs={authority.file}"
        self.url = url or usual
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._process = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--loglevel", "warning"),
                *("--repl-diskless-sync-delay", "0"),
                *self._options,
            ],
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _DEADLINE
        while True:
            try:
                answering = self.command("INFO", "server")["process_id"]
            except redis.ConnectionError:
                assert self._process.poll() is None, "redis-server did not start"
                assert time.monotonic() < deadline, "redis-server does not answer"
            else:
                # Another run of the tests may have got the port first; its FLUSHALL
                # would empty our buckets.
                assert answering == self._process.pid, "somebody else's redis-server"
                return

    def command(self, *words: str | int) -> Any:
        """Return the answer to one command, over a connection of its own."""
        with redis.Redis.from_url(
            self.url, decode_responses=True, socket_timeout=_DEADLINE
        ) as client:
            return client.execute_command(*words)

    def calls(self, command: str) -> int:
        """Return how often ``command`` was called since ``CONFIG RESETSTAT``."""
        stats = self.command("INFO", "commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def pause(self) -> None:
        """Stop the process; its connections stay open and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, with all its buckets."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None


@contextlib.contextmanager
def redis_server(
    folder: Path,
    *options: str,
    url: str = "",
    password: str = "",
    authority: Authority | None = None,
) -> Iterator[RedisServer]:
    """Run a Redis for the length of a ``with`` block."""
    server = RedisServer(
        folder, *options, url=url, password=password, authority=authority
    )
    try:
        server.start()
        yield server
    finally:
        server.kill()
