"""Sockets that listen: bound here, accepted from elsewhere, perhaps by others."""

import contextlib
import errno
import pathlib
import socket
from collections.abc import Iterator

_UNIX_MODE = 0o660

BACKLOG = 4096
"""Connections that wait to be accepted; the kernel's own bound is the same today."""


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Listen at every address of ``host``; port 0 is one free port for all of them.

    Args:
        host: a name or an address.
        port: the port.
        shared: whether others may listen there too (SO_REUSEPORT): the kernel then
            deals connections out. Who shares must be of the same user.

    Raises:
        OSError: an address is not to be had.
    """
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    with contextlib.ExitStack() as undo:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            undo.callback(one.close)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.setblocking(False)
            one.bind((address[0], port, *address[2:]))
            port = port or int(one.getsockname()[1])
            one.listen(BACKLOG)
            sockets.append(one)
        undo.pop_all()
    return sockets


def bind_unix(path: str) -> list[socket.socket]:
    """Listen at a unix socket that owner and group may connect to.

    What a process that is gone has left there is removed.

    Raises:
        OSError: the path is not to be had, or somebody listens there.
    """
    with contextlib.ExitStack() as undo:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        undo.callback(one.close)
        try:
            one.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            pass  # nobody is there
        else:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        one.close()
        file = pathlib.Path(path)
        if file.is_socket():
            file.unlink()
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        undo.callback(one.close)
        one.setblocking(False)
        one.bind(path)
        file.chmod(_UNIX_MODE)
        one.listen(BACKLOG)
        undo.pop_all()
    return [one]


def remove(path: str) -> None:
    """Remove a unix socket, so that nobody new connects; others may have done it."""
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path(path).unlink()


def bind_shared(host: str, port: int, count: int) -> list[list[socket.socket]]:
    """Listen ``count`` times at every address of ``host``, each time with a queue.

    Raises:
        OSError: an address is not to be had, or somebody else listens there.
    """
    # SO_REUSEPORT lets in whoever has the same user, such as another proxy that was
    # started by mistake; without it the kernel says so.
    with closing(bind(host, port)) as alone:
        port = port_of(alone)
    return [bind(host, port, shared=True) for _ in range(count)]


def port_of(sockets: list[socket.socket]) -> int:
    """Return the port that is listened on; 0 where there is none."""
    for one in sockets:
        if one.family in (socket.AF_INET, socket.AF_INET6):
            return int(one.getsockname()[1])
    return 0


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """Close all of them at the end of a ``with`` block."""
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()
