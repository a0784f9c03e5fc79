"""Clocks and randomness, bound for the rest of the program, which is given them."""

import itertools
import os
import time
from collections.abc import Iterator

from proxy.core.cipher import NONCE_BYTES
from proxy.ports import Clocks

_NONCES_AT_ONCE = 256


def nonces() -> Iterator[bytes]:
    """Yield random nonces, asking the system for many at a time."""
    while True:
        block = os.urandom(NONCE_BYTES * _NONCES_AT_ONCE)
        for at in range(0, len(block), NONCE_BYTES):
            yield block[at : at + NONCE_BYTES]


def request_ids() -> Iterator[str]:
    """Yield request ids: random for the process, counted within it."""
    prefix = os.urandom(8).hex()
    for number in itertools.count(1):
        yield f"{prefix}-{number:x}"


def now_us() -> int:
    """Return epoch microseconds."""
    return time.time_ns() // 1000


def wall() -> float:
    """Return epoch seconds."""
    return time.time()


def clocks() -> Clocks:
    """Return the clocks of this process."""
    return Clocks(
        wall=wall,
        monotonic=time.perf_counter,
        request_id=request_ids().__next__,
    )
