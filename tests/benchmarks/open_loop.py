"""Requests at a fixed rate, whether or not the last ones are answered.

``python open_loop.py PORT PATH RATE SECONDS TOKENS`` prints one line of JSON. A latency
is counted from when its request was due, not from when it was sent, so that a peer that
stalls is not spared the requests that would have come meanwhile (coordinated omission).
64 connections take turns; what finds none free waits for one.

No event loop: a loop over ``epoll`` that sleeps for some microseconds when there is
nothing to do, for timers of event loops are a millisecond wide.
"""

import collections
import ctypes
import json
import re
import select
import socket
import statistics
import sys
import time
from pathlib import Path

CONNECTIONS = 64
NAP_SECONDS = 20e-6
PR_SET_TIMERSLACK = 29
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
OK = b"HTTP/1.1 200"
BODY = b"\r\n\r\n"


class Client:
    """One connection: at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due = 0.0
        self._got = b""

    def answered(self) -> bool:
        """Read what came; say whether the answer is whole.

        Raises:
            ConnectionError: the peer closed, or refused.
        """
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("closed")
        self._got = self._got + data if self._got else data
        head = self._got.find(BODY)
        length = LENGTH.search(self._got, 0, head + 2) if head >= 0 else None
        if length is None or len(self._got) < head + len(BODY) + int(length[1]):
            return False
        if not self._got.startswith(OK):
            raise ConnectionError(self._got[:64].decode("latin-1"))
        self._got = b""
        return True


def drive(port: int, requests: list[bytes], rate: float, seconds: float) -> list[float]:
    """Return the latency of each request, in seconds, in the order of the answers."""
    clients = [Client(port) for _ in range(CONNECTIONS)]
    by_file = {client.socket.fileno(): client for client in clients}
    poll = select.epoll()
    for file in by_file:
        poll.register(file, select.EPOLLIN)
    idle = collections.deque(clients)
    latencies: list[float] = []
    now, total = time.perf_counter, int(rate * seconds)
    began, sent = now() + 0.01, 0
    while len(latencies) < total:
        while idle and sent < total and began + sent / rate <= now():
            client = idle.popleft()
            client.due = began + sent / rate
            client.socket.send(requests[sent % len(requests)])
            sent += 1
        ready = poll.poll(0)
        for file, _ in ready:
            client = by_file[file]
            if client.answered():
                latencies.append(now() - client.due)
                idle.append(client)
        if not ready:
            time.sleep(NAP_SECONDS)
    for client in clients:
        client.socket.close()
    return latencies


def main(port: str, path: str, rate: str, seconds: str, tokens: str) -> None:
    """Print the quantiles, in seconds, without the first half second."""
    # The kernel may otherwise wake a sleeper 50 microseconds late.
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    requests = [
        (
            head + (f"Authorization: Bearer {token}\r\n" if token else "") + "\r\n"
        ).encode()
        for token in Path(tokens).read_text(encoding="ascii").splitlines()
    ]
    drive(int(port), requests, float(rate), 0.5)
    found = statistics.quantiles(
        drive(int(port), requests, float(rate), float(seconds)), n=1000
    )
    print(json.dumps({"p50": found[499], "p99": found[989], "p999": found[998]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
