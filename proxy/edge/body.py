"""A body that arrives in pieces, with back-pressure. The same for both directions.

The connection that receives it feeds it; one coroutine reads it. When more than
``HIGH_WATER`` bytes lie unread the connection is told to stop reading its socket, so
the memory of an exchange is bounded whatever the sizes of its bodies.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.edge.waiter import Waiter

HIGH_WATER: Final = 64 * 1024
"""Unread bytes at which the sender is made to wait; asyncio's own default."""


def _nothing() -> None:
    return None


class BodyStream:
    """The bytes of one body.

    Attributes:
        complete: whether the last byte has arrived.
        limit: bytes in all that are taken before BODY_TOO_LARGE; None for no limit.
        wanted: called whenever bytes are waited for and none have come.
        abandoned: called when the reader will not read the rest.
    """

    __slots__ = (
        "_chunks",
        "_error",
        "_pause",
        "_paused",
        "_received",
        "_resume",
        "_size",
        "_waiter",
        "abandoned",
        "complete",
        "limit",
        "wanted",
    )

    def __init__(
        self,
        pause: Callable[[], object] = _nothing,
        resume: Callable[[], object] = _nothing,
    ) -> None:
        self.complete = False
        self.limit: int | None = None
        self.wanted: Callable[[], object] | None = None
        self.abandoned: Callable[[], object] | None = None
        self._pause = pause
        self._resume = resume
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._paused = False
        self._error: BaseException | None = None
        self._waiter: Waiter[None] | None = None

    @property
    def received(self) -> int:
        """Bytes that have arrived so far."""
        return self._received

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the next bytes."""
        return self._waiter is not None

    def feed(self, chunk: bytes) -> None:
        """Add bytes that have arrived."""
        self._received += len(chunk)
        if self.limit is not None and self._received > self.limit:
            self._error = self._error or Refused(Reason.BODY_TOO_LARGE)
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._pause()

    def finish(self) -> None:
        """Say that the last byte has arrived; the connection may read on."""
        self.complete = self._error is None
        self.abandoned = None
        self.wanted = None
        if self._paused:
            self._paused = False
            self._resume()

    def abandon(self) -> None:
        """Say that nobody will read the rest."""
        abandoned, self.abandoned = self.abandoned, None
        if abandoned is not None:
            abandoned()

    def fail(self, error: BaseException) -> None:
        """Say that no more bytes will arrive, and why. Wakes the reader."""
        if not self.complete and self._error is None:
            self._error = error
            self.wake()

    def wake(self) -> None:
        """Let the reader run, if one waits and there is something for it.

        Not done by ``feed``: the connection wakes the reader once per read of its
        socket, after the parser has seen all of it.
        """
        waiter = self._waiter
        if waiter is not None and (
            self._chunks or self.complete or self._error is not None
        ):
            self._waiter = None
            waiter.set(None)

    async def read(self) -> bytes:
        """Return what has arrived, waiting for some; b"" at the end.

        Raises:
            Refused: whatever ``fail`` was given.
        """
        if not self._chunks and not self.complete and self._error is None:
            if self.wanted is not None:
                self.wanted()
            self._waiter = Waiter()
            await self._waiter
        if self._error is not None:
            raise self._error
        return self.whole()

    def whole(self) -> bytes:
        """Return what has arrived, without waiting; b"" when nothing has."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._size = 0
        if self._paused:
            self._paused = False
            self._resume()
        return data
