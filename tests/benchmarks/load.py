"""The load: wrk with a token for each request, and connections that rest."""

import contextlib
import dataclasses
import http.client
import json
import resource
import subprocess

from tests.benchmarks.peers import LOAD_CORE, PATH, TEMPLATES, Peer, Site
from tests.benchmarks.processes import BenchmarkError, Running

CONNECTIONS = 64
WARM_SECONDS = 1
WARM_REQUESTS = 1000
SPARE_FILES = 100
OK = 200
UNAUTHORIZED = 401


@dataclasses.dataclass(frozen=True)
class Sample:
    """One measurement of one peer; times in seconds.

    Attributes:
        cpu: of the peer, for each request.
        store_cpu: of Redis, for each request.
        rate: requests a second.
        p50: median latency, of a client with the other 63 beside it.
        p99: likewise.
    """

    cpu: float
    store_cpu: float
    rate: float
    p50: float
    p99: float


def check(site: Site, peer: Peer, port: int) -> None:
    """See that a peer does its job before it is timed.

    Raises:
        BenchmarkError: it does not forward, or lets a request without a token pass.
    """
    token = site.credentials.first_token(peer.algorithm)
    body = peer.body.read_bytes() if peer.body else b""
    status, answer = _get(port, token, body)
    # A backend that is sent a body answers with it.
    if (status, answer) != ((OK, body) if body else _get(site.backend, "")):
        raise BenchmarkError(f"does not pass the backend's answer on: {status}")
    if peer.algorithm and (status := _get(port, "", body)[0]) != UNAUTHORIZED:
        raise BenchmarkError(f"answers {status} to a request without a token")


def measure(
    site: Site, peer: Peer, process: Running, port: int, seconds: int
) -> Sample:
    """Load a peer for so many seconds, after a second that does not count.

    Raises:
        BenchmarkError: a request was refused, or a connection broke.
    """
    _wrk(site, peer, port, WARM_SECONDS)
    cpu, store_cpu = process.cpu_seconds(), site.store.cpu_seconds()
    result = _wrk(site, peer, port, seconds)
    requests = result["requests"]
    return Sample(
        cpu=(process.cpu_seconds() - cpu) / requests,
        store_cpu=(site.store.cpu_seconds() - store_cpu) / requests,
        rate=requests / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
    )


def idle_bytes(
    site: Site, peer: Peer, process: Running, port: int, connections: int
) -> float:
    """Return the memory that one keep-alive connection costs between requests."""
    allow_connections()
    token = site.credentials.first_token(peer.algorithm)
    for _ in range(WARM_REQUESTS):
        _get(port, token)
    before = process.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            stack.callback(connection.close)
            _exchange(connection, token)
        return (process.resident_bytes() - before) / connections


def allow_connections() -> int:
    """Let this process and those it starts have as many sockets as the machine lets.

    Returns:
        how many connections that is for a proxy, which has two sockets for each.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return (most - SPARE_FILES) // 2


def _get(port: int, token: str, body: bytes = b"") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        return _exchange(connection, token, body)


def _exchange(
    connection: http.client.HTTPConnection, token: str, body: bytes = b""
) -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body:
        headers["Content-Type"] = "application/json"
    connection.request("POST" if body else "GET", PATH, body or None, headers)
    response = connection.getresponse()
    return response.status, response.read()


def _wrk(site: Site, peer: Peer, port: int, seconds: int) -> dict[str, float]:
    command = [
        *("taskset", "--cpu-list", str(LOAD_CORE)),
        *("wrk", "--threads", "1", "--connections", str(CONNECTIONS)),
        *("--duration", f"{seconds}s", "--script", str(TEMPLATES / "load.lua")),
        *(f"http://127.0.0.1:{port}{PATH}", "--"),
        str(site.credentials.tokens[peer.algorithm]),
        *([str(peer.body)] if peer.body else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _, found, line = done.stdout.rpartition("RESULT ")
    if done.returncode or not found:
        raise BenchmarkError(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    result: dict[str, float] = json.loads(line)
    if result["refused"] or result["broken"] or not result["requests"]:
        raise BenchmarkError(
            f"{result['refused']} of {result['requests']} requests refused, "
            f"{result['broken']} broken"
        )
    return result
