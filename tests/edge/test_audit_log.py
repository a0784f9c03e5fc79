"""The audit log holds against crashes, full disks, rotations and many writers."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.core.audit_chain import AuditKey, Head, Verified, verify
from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.edge import audit_log
from proxy.edge.audit_log import AuditLines, AuditLog

KEY = AuditKey(bytes(range(32)))
NOW = 1_795_521_600.5


@contextlib.contextmanager
def started(path: Path) -> Iterator[AuditLog]:
    """Run an audit log, and end it."""
    log = AuditLog(path, KEY, lambda: NOW)
    log.start()
    try:
        yield log
    finally:
        log.stop()


def verified(*paths: Path, checkpoints: tuple[Head, ...] = ()) -> Verified:
    """Verify the parts of a log."""
    lines = [line for path in paths for line in path.read_bytes().splitlines(True)]
    return verify([KEY], lines, checkpoints)


def events(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a log without what binds them."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in {"key", "mac"}}
        for line in lines
    ]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def until(condition: Any) -> None:
    """Wait until something is so."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to it")


def test_events_are_written_in_order(tmp_path: Path) -> None:
    """A start is an event, and so is each that is noted; the file is the owner's."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        log.note("token.revoked", jti="t1")
        log.note("limits.reset", who="ada", count=3)

    when = "2026-11-24T12:00:00.500000Z"
    assert events(path) == [
        {"seq": 1, "time": when, "event": "log.opened", "pid": os.getpid()},
        {"seq": 2, "time": when, "event": "token.revoked", "jti": "t1"},
        {"seq": 3, "time": when, "event": "limits.reset", "who": "ada", "count": 3},
    ]
    assert verified(path).flaws == []
    assert (log.written, log.head, log.state) == (3, verified(path).head, "ok")
    assert path.stat().st_mode & 0o777 == 0o600


def test_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The next process binds its lines to those of the last."""
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        with started(path) as log:
            log.note("e")
    found = verified(path)

    assert (found.flaws, found.lines) == ([], 6)


def test_file_that_cannot_be_written_refuses_the_start(tmp_path: Path) -> None:
    """A wrong path is found at the start."""
    with pytest.raises(FileNotFoundError):
        AuditLog(tmp_path / "missing" / "audit.jsonl", KEY, lambda: NOW).start()


def test_many_processes_write_one_chain(tmp_path: Path) -> None:
    """Workers and operators' commands take turns."""
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path\n"
        "from proxy.core.audit_chain import AuditKey\n"
        "from proxy.edge.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]), AuditKey(bytes(range(32))), lambda: 0.0)\n"
        "log.start()\n"
        "for n in range(200): log.note('e', n=n)\n"
        "log.stop()\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(4)
    ]
    for process in running:
        assert process.wait(60) == 0
    found = verified(path)

    assert (found.flaws, found.events) == ([], {"log.opened": 4, "e": 800})


def test_killed_writer_leaves_at_most_a_torn_line(tmp_path: Path) -> None:
    """After kill -9 the log is whole, but for its last line, and goes on."""
    path = tmp_path / "audit.jsonl"
    program = (
        "import sys; from pathlib import Path\n"
        "from proxy.core.audit_chain import AuditKey\n"
        "from proxy.edge.audit_log import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]), AuditKey(bytes(range(32))), lambda: 0.0)\n"
        "log.start()\n"
        "while True: log.note('e', padding='x' * 200)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(path)])
    until(lambda: path.exists() and path.stat().st_size > 100_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all(not flaw.tampering for flaw in verified(path).flaws)
    with started(path) as log:
        log.note("after")

    assert verified(path).intact
    assert json.loads(path.read_bytes().splitlines()[-1])["event"] == "after"


def test_torn_line_is_ended_and_explained(tmp_path: Path) -> None:
    """What a crash left of a line stays, and the next line says so."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        log.note("e", padding="x" * 5000)
    whole = path.read_bytes()
    path.write_bytes(whole[:-700])
    with started(path):
        pass
    found = verified(path)

    assert [flaw.says for flaw in found.flaws] == [
        "it was torn by a crash, as the next line says"
    ]
    torn = len(whole) - 700 - whole.index(b"\n") - 1
    lines = [json.loads(line) for line in path.read_bytes().splitlines()[2:]]
    assert [(line["event"], line.get("bytes")) for line in lines] == [
        *(("log.torn", torn), ("log.opened", None)),
    ]


def test_log_that_was_moved_away_is_continued(tmp_path: Path) -> None:
    """The new file begins with the mac that the old one ended with."""
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with started(path) as log:
        log.note("before")
        until(lambda: log.written == 2)
        path.rename(old)
        log.note("after")

    assert verified(old, path).flaws == []
    assert verified(path).flaws == []
    assert [one["event"] for one in events(path)] == ["log.continued", "after"]


def test_writer_notices_that_its_lines_are_gone(tmp_path: Path) -> None:
    """A log that was cut behind the writer's back says so, with what it knew."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        log.note("hidden")
        until(lambda: log.written == 2)
        known = log.head
        path.write_bytes(path.read_bytes().splitlines(True)[0])
        log.note("after")

    assert [one["event"] for one in events(path)] == [
        *("log.opened", "log.shortened", "after"),
    ]
    assert events(path)[1]["known"] == str(known)
    assert not verified(path, checkpoints=(known,)).intact


async def test_required_event_is_on_the_disk(tmp_path: Path) -> None:
    """Whoever waits for an event finds it in the file."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        await log.required("request.admitted", rule="grades")

        assert events(path)[-1]["rule"] == "grades"


async def test_full_disk_refuses_what_must_be_written(tmp_path: Path) -> None:
    """Required events are refused, others wait, and the file stays whole."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        with full_disk():
            with pytest.raises(Refused) as first:
                await log.required("request.admitted", n=1)
            with pytest.raises(Refused):  # at once: the log is known to fail
                await log.required("request.admitted", n=2)
            log.note("e", n=3)
            until(lambda: log.failures > 1)
            state = log.state
        until(lambda: log.state == "ok")
        await log.required("request.admitted", n=4)

    assert first.value.reason is Reason.AUDIT_UNAVAILABLE
    assert state == os.strerror(27)
    assert [one.get("n") for one in events(path)] == [None, 1, 3, 4]
    assert verified(path).flaws == []


def test_what_cannot_wait_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past the bound the oldest events go, and the log says how many."""
    monkeypatch.setattr(audit_log, "MAX_WAITING", 10)
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        with full_disk():
            log.note("e", n=-1)
            until(lambda: log.failures)
            for number in range(30):
                log.note("e", n=number)
        until(lambda: log.state == "ok")

    found = events(path)
    assert found[1]["event"] == "log.dropped"
    assert found[1]["count"] == log.dropped == 21
    assert [one["n"] for one in found[2:]] == list(range(20, 30))
    assert verified(path).flaws == []


async def test_without_a_file_events_are_in_the_ordinary_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody has to set up a file to see what security asks for."""
    caplog.set_level("INFO", "lumina.audit")
    lines = AuditLines()
    lines.note("token.revoked", jti="t1")
    await lines.required("request.admitted", rule="r")

    assert [json.loads(record.message) for record in caplog.records] == [
        {"event": "token.revoked", "jti": "t1"},
        {"event": "request.admitted", "rule": "r"},
    ]


async def test_waiter_that_left_is_no_problem(tmp_path: Path) -> None:
    """A request may end while its event is written."""
    path = tmp_path / "audit.jsonl"
    with started(path) as log:
        waiting = asyncio.ensure_future(log.required("e"))
        await asyncio.sleep(0)
        waiting.cancel()
        await log.required("f")

    assert [one["event"] for one in events(path)] == ["log.opened", "e", "f"]
