"""Accepting, as long as there is room, and ending it so that nobody is lost.

The listening sockets are read here and not by the event loop's own server, which
accepts and drops connections when the process has no file descriptor left, and drops
those that wait when it is closed. Here they wait, in the kernel's queue.
"""

import asyncio
import contextlib
import ctypes
import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final, Protocol

log = logging.getLogger("lumina")

AT_ONCE: Final = 64
"""Connections accepted before others get their turn."""
_RETRY: Final = 0.1
"""Seconds until it is tried again when the machine had no room for a connection."""
_HANDSHAKE: Final = 0.1
"""Seconds for handshakes that have begun when accepting ends."""

_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

_SO_ATTACH_FILTER: Final = 26
# Classic BPF (linux/filter.h), on the TCP header: flags SYN without ACK are dropped.
_DROP_SYN: Final = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),
        (0x54, 0, 0, 0x12),
        (0x15, 0, 1, 0x02),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFF_FFFF),
    )
)


class HasRoom(Protocol):
    """Says whether one more connection may come."""

    def __call__(self, *, waits: bool) -> bool:
        """Say so; where somebody ``waits``, room may be made meanwhile."""
        ...


class Acceptor:
    """Accepts at sockets that listen.

    Args:
        sockets: they are the acceptor's now.
        take: gets each connection.
        has_room: whether one more may come, and whether somebody ``waits`` to;
            ``resume`` is called when one may again.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        take: Callable[[socket.socket], object],
        has_room: HasRoom,
    ) -> None:
        self._sockets = list(sockets)
        self._take = take
        self._has_room = has_room
        self._loop = asyncio.get_running_loop()
        self._paused = True
        self._exhausted = False
        self._retry: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> list[socket.socket]:
        """Those that listen; none once it was closed."""
        return self._sockets

    @property
    def paused(self) -> bool:
        """Whether connections have to wait."""
        return self._paused

    def resume(self) -> None:
        """Accept, if it was paused."""
        if self._paused and self._sockets:
            self._paused = False
            for one in self._sockets:
                self._loop.add_reader(one, self._accept, one)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            for one in self._sockets:
                self._loop.remove_reader(one)

    def _accept(self, listening: socket.socket) -> bool:
        """Accept those that wait; return whether there were none left."""
        for taken in range(AT_ONCE):
            if not self._has_room(waits=not taken):
                if taken:
                    return False  # perhaps nobody waits
                self._pause()
                return True
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                return True
            except ConnectionError:  # it left while it waited
                continue
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                self._wait_for_room(error)
                return True
            if self._exhausted:
                self._exhausted = False
                log.warning("connections are accepted again")
            connection.setblocking(False)
            self._take(connection)
        return False

    def _wait_for_room(self, error: OSError) -> None:
        """Let connections wait until the machine has room for them."""
        self._pause()
        if not self._exhausted:
            self._exhausted = True
            log.error("no connection is accepted for now: %s", error.strerror)
        self._retry = self._loop.call_later(_RETRY, self.resume)

    async def finish(self) -> None:
        """Let nobody begin to connect, take everybody who has, and close."""
        for one in self._sockets:
            _drop_syn(one)
        if self._sockets:
            await asyncio.sleep(_HANDSHAKE)
        for one in self._sockets:
            while not self._accept(one):
                pass
        self.close()

    def close(self) -> None:
        """Close the listening sockets; who waits there is reset."""
        self._pause()
        if self._retry is not None:
            self._retry.cancel()
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            one.close()


def _drop_syn(listening: socket.socket) -> None:
    """Drop attempts to connect from now on; handshakes that have begun go on.

    Whoever tries has a second before trying again, and is refused then.
    """
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    count = len(_DROP_SYN) // 8
    # A kernel without it closes with those who connect just then in its queue.
    with contextlib.suppress(OSError):
        listening.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", count, ctypes.addressof(program)),
        )
