"""Lines get to their file, and a reader that stalls never stalls a request."""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.core.access_line import JsonLine
from proxy.core.exchange import Exchange
from proxy.core.policy import Policy
from proxy.core.policy_parser import parse_policy
from proxy.core.reasons import Reason
from proxy.edge import log_sink
from proxy.edge.access_log import AccessLog
from proxy.edge.log_sink import LogSink


@contextlib.contextmanager
def started(path: Path | None) -> Iterator[LogSink]:
    """Run a sink, and end it."""
    sink = LogSink(path)
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


def test_lines_arrive_in_order(tmp_path: Path) -> None:
    """What was written before the end is in the file."""
    path = tmp_path / "access.log"
    lines = [b"line %d\n" % number for number in range(10_000)]
    with started(path) as sink:
        for line in lines:
            sink.write(line)

    assert path.read_bytes() == b"".join(lines)
    assert (sink.dropped, sink.failed) == (0, 0)
    assert path.stat().st_mode & 0o777 == 0o640


def test_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    """A rotation needs no signal, and loses no line."""
    path = tmp_path / "access.log"
    with started(path) as sink:
        sink.write(b"before\n")
        while path.stat().st_size == 0:
            time.sleep(0.01)
        path.rename(tmp_path / "access.log.1")
        sink.write(b"after\n")

    assert (tmp_path / "access.log.1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"after\n"


def test_reader_that_stalls_costs_lines_and_no_time() -> None:
    """Past the bound lines are dropped and counted; nobody waits, not even the end."""
    program = (
        "import time; from proxy.edge import log_sink\n"
        "log_sink.MAX_WAITING_BYTES = 100_000; log_sink.STOP_SECONDS = 0.2\n"
        "sink = log_sink.LogSink(None); sink.start()\n"
        "for _ in range(10_000): sink.write(b'x' * 99 + b'\\n')\n"
        "sink.stop(); import sys; print(sink.dropped, file=sys.stderr)\n"
    )
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=30,
            check=True,
        )
    finally:
        os.close(writer)
        os.close(reader)

    assert int(done.stderr) > 8_000


def test_disk_that_is_full_costs_lines_and_no_requests(tmp_path: Path) -> None:
    """Lines that cannot be written are counted; later ones are written."""
    path = tmp_path / "access.log"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with started(path) as sink:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            sink.write(b"lost\n")
            while not sink.failed:
                time.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sink.write(b"kept\n")

    assert (path.read_bytes(), sink.failed) == (b"kept\n", 1)


def test_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A wrong path is found at the start."""
    with pytest.raises(FileNotFoundError):
        LogSink(tmp_path / "missing" / "access.log")


def test_file_is_no_terminal(tmp_path: Path) -> None:
    """People do not watch a file."""
    assert not LogSink(tmp_path / "access.log").is_terminal


POLICY = """
version: 1
backends: {lms: {servers: ["http://127.0.0.1:9"]}}
log: {keys: [rule, status, reason], sample: 50%}
rules:
  - {id: all, match: GET /all, allow: anyone, log: all}
  - {id: half, match: GET /half, allow: anyone}
  - {id: tenth, match: GET /tenth, allow: anyone, log: 10%}
  - {id: none, match: GET /none, allow: anyone, log: none}
"""


def a_policy(text: str) -> Policy:
    """Return a policy."""
    policy, _ = parse_policy([("policy.yaml", text)], {})
    return policy


def an_exchange(rule: str, reason: Reason | None = None) -> Exchange:
    """Return a request that is over."""
    exchange = Exchange("GET", 1.0, "192.0.2.1")
    exchange.rule, exchange.reason = rule, reason
    exchange.aborted = False
    exchange.status = 200 if reason is None else reason.status
    return exchange


@pytest.mark.parametrize(
    ("rule", "reason", "expected"),
    [
        ("all", None, 20),
        ("half", None, 10),
        ("tenth", None, 2),
        ("none", None, 0),
        ("none", Reason.RATE_LIMITED, 20),
        ("", Reason.NO_RULE, 20),
    ],
    ids=["all", "policy", "rule", "none", "refused", "unmatched"],
)
def test_policy_says_how_much_is_logged(
    tmp_path: Path, rule: str, reason: Reason | None, expected: int
) -> None:
    """Served requests are sampled evenly; what was refused is always logged."""
    path = tmp_path / "access.log"
    with started(path) as sink:
        log = AccessLog(sink, lambda: 0.0, JsonLine)
        log.configure(a_policy(POLICY))
        for _ in range(20):
            log.note(an_exchange(rule, reason))
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]

    assert len(lines) == expected
    assert {tuple(line) for line in lines} <= {("time", "status", "rule", "reason")}
    assert log.dropped == 0


def test_everything_is_logged_before_there_is_a_policy(tmp_path: Path) -> None:
    """Nothing is left out by omission."""
    path = tmp_path / "access.log"
    with started(path) as sink:
        AccessLog(sink, lambda: 0.0, JsonLine).note(an_exchange("none"))

    assert path.read_bytes().count(b"\n") == 1


def test_bound_is_generous() -> None:
    """A collector may stall for seconds at full load before a line is lost."""
    assert log_sink.MAX_WAITING_BYTES // 300 > 20_000
