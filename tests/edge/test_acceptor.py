"""Accepting over real sockets: when there is no room, and when it ends."""

import asyncio
import contextlib
import os
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.edge.acceptor import AT_ONCE, Acceptor
from proxy.edge.sockets import bind, bind_shared, closing, port_of
from tests.wire import eventually


class Taken:
    """The connections that were accepted.

    Attributes:
        room: how many may be there.
    """

    def __init__(self) -> None:
        self.room = 1_000_000
        self.connections: list[socket.socket] = []

    def take(self, connection: socket.socket) -> None:
        """Keep a connection."""
        self.connections.append(connection)

    def has_room(self, *, waits: bool) -> bool:
        """Say whether one more may come."""
        del waits
        return len(self.connections) < self.room

    def close(self) -> None:
        """Close them all."""
        for one in self.connections:
            one.close()
        self.connections.clear()


@pytest.fixture(name="taken")
def taken_fixture() -> Iterator[Taken]:
    """Yield what takes connections, and close them."""
    taken = Taken()
    yield taken
    taken.close()


@contextlib.contextmanager
def connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connect ``count`` times."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(count)
        ]


async def test_many_at_once_are_all_taken(taken: Taken) -> None:
    """More than one turn takes."""
    sockets = bind("127.0.0.1", 0)
    port = port_of(sockets)
    acceptor = Acceptor(sockets, taken.take, taken.has_room)
    with connected(port, 3 * AT_ONCE):
        acceptor.resume()
        await eventually(lambda: len(taken.connections) == 3 * AT_ONCE)
    acceptor.close()

    assert acceptor.sockets == []
    assert all(one.getblocking() is False for one in taken.connections)


async def test_who_finds_no_room_waits(taken: Taken) -> None:
    """In the kernel's queue, until there is room."""
    sockets = bind("127.0.0.1", 0)
    acceptor = Acceptor(sockets, taken.take, taken.has_room)
    taken.room = 3
    acceptor.resume()
    with connected(port_of(sockets), 5) as clients:
        await eventually(lambda: acceptor.paused)
        assert len(taken.connections) == 3
        taken.room = 10
        acceptor.resume()
        await eventually(lambda: len(taken.connections) == 5)

        assert not acceptor.paused
        taken.connections[4].send(b"in")
        clients[4].settimeout(5)
        assert clients[4].recv(2) == b"in"
    acceptor.close()


async def test_accepting_resumes_after_descriptors_ran_out(
    taken: Taken, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is dropped meanwhile; the log has a line for its stop and its end."""
    caplog.set_level("WARNING")
    sockets = bind("127.0.0.1", 0)
    acceptor = Acceptor(sockets, taken.take, taken.has_room)
    acceptor.resume()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with connected(port_of(sockets), 20) as clients:
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
        try:
            await eventually(lambda: acceptor.paused)
            acceptor.resume()  # as when something is closed: still no room
            await eventually(lambda: acceptor.paused)
            assert taken.connections == []
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        await eventually(lambda: len(taken.connections) == 20)
        for one in taken.connections:
            one.send(b"in")
        for one in clients:
            one.settimeout(5)
            assert one.recv(2) == b"in"
    acceptor.close()

    stopped, resumed = caplog.messages
    assert stopped == "no connection is accepted for now: Too many open files"
    assert resumed == "connections are accepted again"


@pytest.mark.parametrize("workers", [1, 2])
async def test_nobody_who_has_connected_is_lost_at_the_end(
    taken: Taken, workers: int
) -> None:
    """However many connect while it ends: each is taken, or was refused."""
    if workers == 1:
        bound = [bind("127.0.0.1", 0)]
    else:
        bound = bind_shared("127.0.0.1", 0, workers)
    port = port_of(bound[0])
    acceptors = [Acceptor(one, taken.take, taken.has_room) for one in bound]
    for one in acceptors:
        one.resume()
    clients: list[socket.socket] = []
    ended = threading.Event()

    def connect() -> None:
        while not ended.is_set():
            try:
                clients.append(socket.create_connection(("127.0.0.1", port), 3))
            except OSError:
                return

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    await eventually(lambda: len(taken.connections) > 200)
    await asyncio.gather(*(one.finish() for one in acceptors))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    ended.set()

    assert len(taken.connections) == len(clients)
    for client in clients:
        client.close()


async def test_unix_socket_is_accepted_at(taken: Taken, tmp_path: Path) -> None:
    """And finished without a filter for packets that it does not have."""
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    listening.setblocking(False)
    acceptor = Acceptor([listening], taken.take, taken.has_room)
    acceptor.resume()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        await acceptor.finish()

        assert len(taken.connections) == 1


def test_port_that_somebody_shares_is_in_use() -> None:
    """Two proxies never share a port without anybody's wish."""
    bound = bind_shared("127.0.0.1", 0, 2)
    with closing([one for sockets in bound for one in sockets]):
        port = port_of(bound[0])
        assert {port_of(sockets) for sockets in bound} == {port}
        with pytest.raises(OSError, match="Address already in use"):
            bind_shared("127.0.0.1", port, 2)
        with pytest.raises(OSError, match="Address already in use"):
            bind("127.0.0.1", port)


def test_every_address_of_a_name_is_bound() -> None:
    """At one port, though none was chosen."""
    with closing(bind("localhost", 0)) as sockets:
        ports = {one.getsockname()[1] for one in sockets}

        assert len(ports) == 1
        assert ports != {0}


def test_address_that_is_none_leaves_nothing_open() -> None:
    """What was bound before is closed."""
    with pytest.raises(OSError, match=r"."):
        bind("nowhere.invalid", 0)
    with pytest.raises(OSError, match=r"Cannot assign"):
        bind("192.0.2.1", 0)


def test_no_socket_has_no_port() -> None:
    """Nor has a unix socket."""
    with socket.socket(socket.AF_UNIX) as one:
        assert port_of([]) == port_of([one]) == 0
