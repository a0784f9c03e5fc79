"""A body of a gigabyte each way: throughput beside nginx's, and memory that stays."""

import contextlib
import dataclasses
import os
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.peers import (
    HERE,
    LOAD_CORE,
    PEER_CORE,
    Launch,
    Site,
    lumina,
    nginx,
)
from tests.benchmarks.processes import (
    BenchmarkError,
    Running,
    accepts,
    running,
)
from tests.benchmarks.report import Finding
from tests.ports import free_port

GIBI = 1 << 30
BLOCK = 1 << 20
ENOUGH = 0.5
"""Of nginx's throughput."""
FLAT_BYTES = 16 << 20
"""How much the proxy's memory may grow while a gigabyte passes."""


@dataclasses.dataclass
class Passed:
    """What one gigabyte cost; throughput in bytes a second."""

    rate: float
    cpu: float
    grown: int


def measure(site: Site) -> list[Finding]:
    """Return the findings for both ways."""
    found: dict[tuple[str, str], Passed] = {}
    with _backends(site) as backends:
        for way, port in backends.items():
            for name in ("nginx", "lumina"):
                with _peer(site, name, way, port) as (process, at):
                    found[name, way] = _pass(process, at, way)
    findings = []
    for way in ("down", "up"):
        ours, theirs = found["lumina", way], found["nginx", way]
        findings += [
            Finding(
                f"1 GiB {way}: throughput beside nginx "
                f"({ours.rate / GIBI:.2f} of {theirs.rate / GIBI:.2f} GiB/s, "
                f"CPU {ours.cpu:.2f} of {theirs.cpu:.2f} s)",
                ours.rate / theirs.rate,
                ENOUGH,
                "x",
                least=True,
            ),
            Finding(
                f"1 GiB {way}: memory grown",
                ours.grown / 2**20,
                FLAT_BYTES / 2**20,
                "MiB",
            ),
        ]
    return findings


@contextlib.contextmanager
def _backends(site: Site) -> Iterator[dict[str, int]]:
    """Run an nginx that gives a file, and a sink; yield the port of each."""
    with tempfile.TemporaryDirectory(dir=site.folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with (folder / "large").open("wb") as file:
            file.truncate(GIBI)
        ports = {"down": free_port(), "up": free_port()}
        launch = nginx("files.conf")(site, folder, ports["down"], "")
        sink = [sys.executable, str(HERE / "sink.py"), str(ports["up"])]
        with (
            running(launch.command, core=LOAD_CORE, folder=folder, ready=launch.ready),
            running(
                sink,
                core=LOAD_CORE,
                folder=folder,
                ready=lambda: accepts(ports["up"]),
            ),
        ):
            yield ports


@contextlib.contextmanager
def _peer(
    site: Site, name: str, way: str, backend: int
) -> Iterator[tuple[Running, int]]:
    folder, port = site.folder / f"{name}-{way}", free_port()
    folder.mkdir()
    there = dataclasses.replace(site, backend=backend)
    launch: Launch
    if name == "nginx":
        launch = nginx("nginx.conf")(there, folder, port, "")
    else:
        launch = lumina("policy-files.yaml")(there, folder, port, "")
    with running(
        launch.command,
        core=PEER_CORE,
        folder=folder,
        ready=launch.ready,
        env=launch.env,
    ) as process:
        yield process, port


def _pass(process: Running, port: int, way: str) -> Passed:
    """Let a gigabyte pass, twice; the second time counts."""
    exchange = _download if way == "down" else _upload
    exchange(port)
    memory, cpu, began = (
        process.resident_bytes(),
        process.cpu_seconds(),
        time.monotonic(),
    )
    exchange(port)
    seconds = time.monotonic() - began
    return Passed(
        GIBI / seconds,
        process.cpu_seconds() - cpu,
        max(0, process.resident_bytes() - memory),
    )


def _download(port: int) -> None:
    block = memoryview(bytearray(BLOCK))
    with _connected(port) as connection:
        connection.sendall(
            b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )
        got = 0
        while taken := connection.recv_into(block):
            got += taken
    if got < GIBI:
        raise BenchmarkError(f"{got} bytes of a gigabyte arrived")


def _upload(port: int) -> None:
    with _connected(port) as connection, tempfile.TemporaryFile() as file:
        file.truncate(GIBI)
        head = (
            b"PUT /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: "
        )
        connection.sendall(b"%b%d\r\n\r\n" % (head, GIBI))
        sent = 0
        while sent < GIBI:
            sent += os.sendfile(connection.fileno(), file.fileno(), sent, GIBI - sent)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    if not answer.endswith(b"%d" % GIBI):
        raise BenchmarkError(f"an upload was answered {answer[:64]!r}")


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    # Blocking, for sendfile(2), but not for ever.
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 60, 0))
    return connection
