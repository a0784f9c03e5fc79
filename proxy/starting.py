"""What a start may be refused for: above all, places to listen at."""

import contextlib
import dataclasses
import logging
import socket
from collections.abc import Iterator, Mapping

from proxy.core.listeners import DEFAULT_LISTENER, Address, Listener, moved
from proxy.edge.sockets import bind, bind_shared, bind_unix, port_of
from proxy.settings import Settings

log = logging.getLogger("lumina")

Places = Mapping[str, Address]
"""Where each listener listens, by its id."""
Sockets = dict[str, list[socket.socket]]
"""Sockets that listen, by the listener's id."""


class StartError(Exception):
    """The process cannot start; the message is one line for people."""


@contextlib.contextmanager
def listening_at(address: Address) -> Iterator[None]:
    """Say of an OSError that it refused the address.

    Raises:
        StartError: there was one.
    """
    try:
        yield
    except OSError as error:
        raise StartError(
            f"Cannot listen on {address}: {error.strerror or error}."
        ) from None


def places_of(settings: Settings, listeners: Mapping[str, Listener]) -> Places:
    """Return where the listeners of a policy listen."""
    return {
        name: listener.address or settings.listen
        for name, listener in listeners.items()
    }


def bind_at(places: Places) -> Sockets:
    """Listen for one process.

    Raises:
        StartError: a place is not to be had; nothing listens then.
    """
    [sockets] = _bind(places, 0)
    return sockets


def bind_for(places: Places, workers: int) -> list[Sockets]:
    """Listen for several processes: each has queues of its own, but of unix sockets.

    Raises:
        StartError: a place is not to be had, or somebody else listens there; nothing
            listens then.
    """
    return _bind(places, workers)


def _bind(places: Places, workers: int) -> list[Sockets]:
    bound: list[Sockets] = [{} for _ in range(workers or 1)]
    try:
        for name, place in places.items():
            with listening_at(place):
                if place.path:
                    queues = [bind_unix(place.path)] * len(bound)
                elif workers:
                    queues = bind_shared(place.host, place.port, workers)
                else:
                    queues = [bind(place.host, place.port)]
            for one, queue in zip(bound, queues, strict=True):
                one[name] = queue
    except BaseException:
        for one in bound:
            close(one)
        raise
    return bound


def refuse_moves(old: Mapping[str, Listener], new: Mapping[str, Listener]) -> None:
    """Refuse a reload after which the listeners would be at other places.

    Raises:
        StartError: one of them would.
    """
    what = moved(old, new)
    if what:
        raise StartError(f"listeners: {what}; that takes a restart.")


def close(sockets: Sockets) -> None:
    """Close every socket; those that are closed stay so."""
    for listening in sockets.values():
        for one in listening:
            one.close()


def log_places(places: Places) -> None:
    """Log where the listeners are, but for the default one."""
    for name, place in places.items():
        if name != DEFAULT_LISTENER:
            log.info("listener %s on %s", name, place)


def found(places: Places, sockets: Sockets) -> Places:
    """Return the places with the ports that the system chose."""
    return {
        name: dataclasses.replace(place, port=port_of(sockets[name]))
        for name, place in places.items()
    }
