"""Lines on their way to a file, a pipe or a terminal, which may take their time.

A thread writes, so that a collector that stalls never stalls a request. What it does
not take in time waits, up to a bound in bytes; further lines are dropped and counted.
Lines come from one thread, the event loop's: each number below has one writer.
"""

import collections
import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MAX_WAITING_BYTES: Final = 8 << 20
GATHER_SECONDS: Final = 0.1
"""How long lines gather before they are written together."""
STOP_SECONDS: Final = 2.0


class LogSink:
    """Writes lines beside the event loop.

    Args:
        path: of the file, which may be moved away at any time: a new one is made; None
            for the standard output.

    Attributes:
        dropped: lines that were never written, for want of room.
        failed: lines that could not be written.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = 1 if path is None else _opened(path)
        self._waiting: collections.deque[bytes] = collections.deque()
        self._taken_bytes = 0
        self._written_bytes = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self.dropped = 0
        self.failed = 0

    @property
    def is_terminal(self) -> bool:
        """Whether people watch."""
        return os.isatty(self._file)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Have a line written soon; never waits."""
        if self._taken_bytes - self._written_bytes > MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._taken_bytes += len(line)
        self._waiting.append(line)
        if len(self._waiting) == 1:
            self._wake.set()

    def stop(self) -> None:
        """Write what is left, if it is taken in time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._stopping.wait(GATHER_SECONDS)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        while self._waiting:
            data = b"".join(self._gathered())
            try:
                if self._path is not None:
                    self._follow(self._path)
                view = memoryview(data)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError:
                self.failed += data.count(b"\n")
            self._written_bytes += len(data)

    def _gathered(self) -> Iterator[bytes]:
        for _ in range(len(self._waiting)):
            yield self._waiting.popleft()

    def _follow(self, path: Path) -> None:
        """Go on in a new file where the old one was moved away."""
        here = os.fstat(self._file)
        with contextlib.suppress(FileNotFoundError):
            there = path.stat()
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return
        old, self._file = self._file, _opened(path)
        os.close(old)


def _opened(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.open(path, flags, 0o640)
