"""What is measured beyond the same job: encryption, scale, latency, idle connections.

Each function runs one section and returns its findings, held against the goals of the
project.
"""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import redis

from tests.benchmarks import large
from tests.benchmarks.load import allow_connections, idle_bytes
from tests.benchmarks.peers import (
    LOAD_CORE,
    PATH,
    PEERS,
    Peer,
    Site,
    lumina,
    nginx,
    start,
)
from tests.benchmarks.processes import BenchmarkError, running
from tests.benchmarks.report import Finding
from tests.benchmarks.turns import cpu_of, take_turns, tell
from tests.ports import free_port

MICRO = 1e6
DOCUMENT = {
    "id": 42,
    **{name: f"{name} of Ada Lovelace" for name in ("email", "name", "phone")},
    "notes": "analytical engines " * 45,
}
RULES = 10_000
SUBJECTS = 1_000_000
IDLE_CONNECTIONS = min(10_000, allow_connections())


def encryption(site: Site, rounds: int, seconds: int) -> list[Finding]:
    """A kilobyte of JSON with three fields each way, beside the same route without."""
    body = site.folder / "body.json"
    body.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    folder, port = site.folder / "echo", free_port()
    folder.mkdir()
    launch = nginx("echo.conf")(
        dataclasses.replace(site, backend=port), folder, port, ""
    )
    with running(launch.command, core=LOAD_CORE, folder=folder, ready=launch.ready):
        peers = {
            name: Peer(job, "HS256", lumina(policy, backend=str(port)), body)
            for name, job, policy in (
                ("lumina-plain", "1 KB of JSON", "policy-plain.yaml"),
                ("lumina-sealed", "three fields each way", "policy-sealed.yaml"),
            )
        }
        rows = take_turns(site, peers, rounds, seconds)
    plain, sealed = cpu_of(rows, "lumina-plain"), cpu_of(rows, "lumina-sealed")
    what = f"encryption: CPU {sealed * MICRO:.1f} µs beside {plain * MICRO:.1f} µs"
    return [Finding(what, plain / sealed, 0.7, least=True)]


def rules(site: Site, rounds: int, seconds: int) -> list[Finding]:
    """Ten thousand rules beside ten."""
    peers = {
        f"lumina-{count}": Peer(
            f"{count} rules", "HS256", lumina("policy-rules.yaml", rules=_rules(count))
        )
        for count in (10, RULES)
    }
    rows = take_turns(site, peers, rounds, seconds)
    few, many = cpu_of(rows, "lumina-10"), cpu_of(rows, f"lumina-{RULES}")
    what = f"{RULES:,} rules beside 10: CPU {many * MICRO:.1f} µs, {few * MICRO:.1f} µs"
    return [Finding(what, many / few, 1.05)]


def _rules(count: int) -> str:
    return "\n".join(
        f"  - {{id: r{n}, match: 'GET /api/r{n}/{{id}}', "
        "allow: [student], limits: [api]}"
        for n in range(count - 1)
    )


def subjects(site: Site, rounds: int, seconds: int) -> list[Finding]:
    """A million subjects that the store of limits knows, beside a thousand."""
    name = "lumina-rs256"
    few = cpu_of(take_turns(site, {name: PEERS[name]}, rounds, seconds), name)
    tell(f"{SUBJECTS} subjects take a token")
    with redis.Redis(port=site.redis) as client:
        pattern = next(client.scan_iter("*user-*", count=10_000), None)
        if not isinstance(pattern, bytes):
            raise BenchmarkError("no bucket of a subject is in Redis")
        value = client.get(pattern)
        kind = client.type(pattern)
        if kind != b"string" or not isinstance(value, bytes):
            raise BenchmarkError(f"a bucket is {kind!r}, not a string")
        before, _, after = pattern.partition(re.search(rb"user-\d+", pattern)[0])  # type: ignore[index]
        for start in range(0, SUBJECTS, 10_000):
            with client.pipeline(transaction=False) as pipe:
                for number in range(start, start + 10_000):
                    pipe.set(b"%buser-%d%b" % (before, number + 10**6, after), value)
                pipe.execute()
        known = client.dbsize()
    peers = {f"{name}-known": PEERS[name]}
    many = cpu_of(take_turns(site, peers, rounds, seconds), f"{name}-known")
    what = f"{known:,} known subjects beside 1,000: CPU"
    return [Finding(what, many / few, 1.05)]


def workers(site: Site, rounds: int, seconds: int) -> list[Finding]:
    """What a request costs with two processes on two cores, beside one on one."""
    peers = {
        f"lumina-workers-{count}": Peer(
            f"{count} processes",
            "RS256",
            lumina("policy.yaml", {"WORKERS": str(count)}),
            cores=cores,
        )
        for count, cores in ((1, "0"), (2, "0,1"))
    }
    rows = take_turns(site, peers, rounds, seconds)
    one, two = (cpu_of(rows, name) for name in peers)
    what = f"2 workers beside 1: CPU {two * MICRO:.1f} µs, {one * MICRO:.1f} µs"
    return [Finding(what, two / one, 1.1)]


def logs(site: Site, rounds: int, seconds: int) -> list[Finding]:
    """What the access log costs."""
    file = str(site.folder / "access.log")
    peers = {
        "lumina-unlogged": PEERS["lumina-rs256"],
        "lumina-logged": Peer(
            "access log", "RS256", lumina("policy.yaml", {"ACCESS_LOG": file})
        ),
    }
    rows = take_turns(site, peers, rounds, seconds)
    without, with_log = (cpu_of(rows, name) for name in peers)
    added = (with_log - without) * MICRO
    return [Finding("access log: CPU added to a request", added, 6.0, "µs")]


def latency(site: Site, _rounds: int, seconds: int) -> list[Finding]:
    """What the proxy adds at half of its own load, requests coming as they please."""
    name = "lumina-rs256"
    peer = PEERS[name]
    rows = take_turns(site, {name: peer}, 1, seconds)
    cpu_of(rows, name)  # measured at all
    rate = rows[name].median().rate / 2
    with start(site, f"{name}-half", peer) as (_, port):
        through = _open_loop(site, port, rate, seconds, peer.algorithm)
        direct = _open_loop(site, site.backend, rate, seconds, peer.algorithm)
    return [
        Finding(
            f"{quantile} added at {rate:.0f} requests a second, to "
            f"{direct[quantile] * 1e3:.2f} ms",
            (through[quantile] - direct[quantile]) * 1e3,
            goal,
            "ms",
        )
        for quantile, goal in (("p50", 0.2), ("p99", 1.0))
    ]


def _open_loop(
    site: Site, port: int, rate: float, seconds: int, algorithm: str
) -> dict[str, float]:
    tell(f"{rate:.0f} requests a second to port {port}")
    tokens = str(site.credentials.tokens[algorithm])
    numbers = (str(port), PATH, f"{rate:.0f}", str(seconds), tokens)
    command = ["taskset", "--cpu-list", str(LOAD_CORE), sys.executable]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name("open_loop.py")), *numbers],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"open loop: {done.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def idle(site: Site, _rounds: int, _seconds: int) -> list[Finding]:
    """Ten thousand connections that rest after an answer, beside HAProxy's."""
    findings = []
    for name, goal in (("haproxy-rs256", None), ("lumina-rs256", 4.0)):
        tell(f"{IDLE_CONNECTIONS} connections to {name}")
        with start(site, f"{name}-idle", PEERS[name]) as (process, port):
            each = idle_bytes(site, PEERS[name], process, port, IDLE_CONNECTIONS)
        what = f"{name}: an idle connection of {IDLE_CONNECTIONS:,}"
        findings.append(Finding(what, each / 1024, goal, "KiB"))
    return findings


def bodies(site: Site, _rounds: int, _seconds: int) -> list[Finding]:
    """A gigabyte each way."""
    return large.measure(site)


SECTIONS: dict[str, Callable[[Site, int, int], list[Finding]]] = {
    "encryption": encryption,
    "rules": rules,
    "subjects": subjects,
    "workers": workers,
    "logs": logs,
    "latency": latency,
    "idle": idle,
    "bodies": bodies,
}
"""By the names that ``--sections`` takes."""
