"""Ports for servers that tests start."""

import random
import socket
from typing import Final

_PORTS: Final = range(20_000, 32_000)
"""Below what the kernel gives to outgoing connections, which would take a port between
its choice and the start of its server."""

_given: set[int] = set()


def free_port() -> int:
    """Return a loopback port that nobody listens on, and that nobody else was given."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise AssertionError("every port is taken")


def free_ports(count: int) -> list[int]:
    """Return as many ports, no two of them the same."""
    return [free_port() for _ in range(count)]


def _is_free(port: int) -> bool:
    """Say whether a server could listen there, whatever closes there just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
