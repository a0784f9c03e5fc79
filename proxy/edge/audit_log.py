"""The security audit log: a file of lines that vouch for each other (``audit_chain``).

One thread writes. It takes the file's lock, looks where the chain ends, appends what
has gathered, and syncs, so that workers and operators' commands may all write to one
file, and a burst costs one sync. A line is whole or is taken back; what a killed writer
left of one is ended and explained by the next.

Callers never wait but in ``required``: what cannot be written is kept, up to a bound,
and tried again; past the bound the oldest is dropped and counted, in the log too.
"""

import asyncio
import contextlib
import datetime as dt
import fcntl
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from proxy.core.audit_chain import (
    CONTINUED,
    TORN,
    AuditKey,
    Head,
    Value,
    head_of,
    line_of,
)
from proxy.core.errors import Refused
from proxy.core.reasons import Reason

log = logging.getLogger("lumina.audit")

MAX_WAITING: Final = 10_000
"""Events that are kept while the file cannot be written."""

RETRY_SECONDS: Final = 1.0
DROPPED: Final = "log.dropped"
SHORTENED: Final = "log.shortened"

_Event = tuple[str, str, Mapping[str, Value]]
"""Time, event and fields."""


class AuditLines:
    """Writes security events to the ordinary log: better than nowhere, and unbound."""

    def note(self, event: str, **fields: Value) -> None:
        """Log an event."""
        log.info("%s", json.dumps({"event": event, **fields}))

    async def required(self, event: str, **fields: Value) -> None:
        """Log an event."""
        self.note(event, **fields)


class AuditLog:
    """Writes security events to a file, each after the other, whoever else does.

    Args:
        path: of the file; made with mode 0600 where it is not there.
        key: of the chain.
        now: epoch seconds.

    Attributes:
        written: lines written by this process.
        failures: how often the file could not be written.
        dropped: events that were never written.
    """

    def __init__(self, path: Path, key: AuditKey, now: Callable[[], float]) -> None:
        self._path = path
        self._key = key
        self._now = now
        self._waiting: deque[_Event] = deque()
        self._demands: list[asyncio.Future[None]] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._problem = ""
        self._unreported = 0
        self._head = Head()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self.written = 0
        self.failures = 0
        self.dropped = 0

    @property
    def state(self) -> str:
        """``ok``, or why the file cannot be written."""
        return self._problem or "ok"

    @property
    def head(self) -> Head:
        """Where the chain ended after this process wrote to it last: a checkpoint."""
        return self._head

    def start(self) -> None:
        """Write a first line, and then whatever comes.

        Raises:
            OSError: the file cannot be written.
        """
        with self._wake:
            self.note("log.opened", pid=os.getpid())
            self._append(self._taken())
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def note(self, event: str, **fields: Value) -> None:
        """Have an event written soon."""
        when = dt.datetime.fromtimestamp(self._now(), dt.UTC)
        text = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self.dropped += 1
                self._unreported += 1
            self._waiting.append((text, event, fields))
            self._wake.notify()

    async def required(self, event: str, **fields: Value) -> None:
        """Have an event written, and return once it is on the disk.

        Raises:
            Refused: AUDIT_UNAVAILABLE: the file cannot be written.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._wake:
            if self._problem:
                raise Refused(Reason.AUDIT_UNAVAILABLE)
            self.note(event, **fields)
            self._demands.append(done)
        await done

    # -- the thread

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._stopping or (self._waiting and not self._problem),
                    timeout=RETRY_SECONDS if self._problem else None,
                )
                events, demands = self._taken(), self._demands
                self._demands = []
                stopping = self._stopping
            self._write(events, demands)
            if stopping:
                return

    def _taken(self) -> list[_Event]:
        events = list(self._waiting)
        self._waiting.clear()
        return events

    def _write(self, events: list[_Event], demands: list[asyncio.Future[None]]) -> None:
        if not events and not self._problem:
            return
        error: Refused | None = None
        try:
            self._append(events)
        except OSError as raised:
            error = Refused(Reason.AUDIT_UNAVAILABLE)
            self._failed(events, raised.strerror or str(raised))
        else:
            if self._problem:
                log.warning("the audit log is written again")
            self._problem = ""
        for demand in demands:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                demand.get_loop().call_soon_threadsafe(_settle, demand, error)

    def _failed(self, events: list[_Event], why: str) -> None:
        self.failures += 1
        if not self._problem:
            log.error("the audit log %s cannot be written: %s", self._path, why)
        with self._wake:
            self._problem = why
            room = MAX_WAITING - len(self._waiting)
            kept = events[max(0, len(events) - room) :] if room > 0 else []
            self.dropped += len(events) - len(kept)
            self._unreported += len(events) - len(kept)
            self._waiting.extendleft(reversed(kept))

    def _append(self, events: list[_Event]) -> None:
        """Append events to the file, all or none.

        Raises:
            OSError: it cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = os.fstat(file).st_size
            lines, head = self._lines(file, end, events)
            try:
                _write_all(file, b"".join(lines))
                os.fdatasync(file)
            except OSError:
                os.ftruncate(file, end)
                raise
        finally:
            os.close(file)
        self.written += len(events)
        self._head = head
        self._unreported = 0

    def _lines(
        self, file: int, end: int, events: list[_Event]
    ) -> tuple[list[bytes], Head]:
        """Return what is to be appended, and where the chain ends then."""
        last, torn = _tail(file, end)
        lines: list[bytes] = [b"\n"] if torn else []
        head = Head() if last is None else head_of(last)
        if not events:
            return lines, head
        when = events[0][0]
        more: list[_Event] = []
        if last is None and self._head.seq:
            # The file was moved away: its first line says what came before.
            head = self._head
            more.append((when, CONTINUED, {"previous": head.mac.hex()}))
        elif head.seq < self._head.seq:
            # Lines that this process wrote are gone, and others took their place.
            more.append((when, SHORTENED, {"known": str(self._head)}))
        if torn:
            more.append((when, TORN, {"bytes": torn}))
        if self._unreported:
            more.append((when, DROPPED, {"count": self._unreported}))
        for at, event, fields in more + events:
            line, head = line_of(self._key, head, at, event, fields)
            lines.append(line)
        return lines, head


def _settle(demand: asyncio.Future[None], error: Exception | None) -> None:
    if demand.done():
        return
    if error is None:
        demand.set_result(None)
    else:
        demand.set_exception(error)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _tail(file: int, end: int) -> tuple[bytes | None, int]:
    """Return the last whole line of an audit log, and how many bytes follow it."""
    torn = 0
    for start in _starts(end):
        data = os.pread(file, end - start, start)
        torn = len(data) - data.rfind(b"\n") - 1
        lines = data[: len(data) - torn].splitlines(keepends=True)
        # Where reading began in the middle, so did the first line.
        for line in reversed(lines if start == 0 else lines[1:]):
            with contextlib.suppress(ValueError):
                head_of(line)
                return line, torn
    return None, torn


def _starts(end: int) -> Iterator[int]:
    """Yield from where to read, each time further back, until the beginning."""
    size = 4096
    while size < end:
        yield end - size
        size *= 4
    yield 0
