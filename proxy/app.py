"""The composition root: what the process is made of, and its life.

Construct, start, serve, drain, stop. Everything is wired here by constructor
arguments; clocks and randomness are bound here. No decision about a request is taken
here.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import logging
import os
import signal
import time
from collections.abc import Mapping

from proxy import __version__
from proxy.core.authn import Authenticator
from proxy.core.cipher import Cipher
from proxy.core.errors import PolicyError
from proxy.core.exchange import Exchange
from proxy.core.keyset import Keyset
from proxy.core.policy import Policy
from proxy.edge.admin import Admin, AdminPorts
from proxy.edge.bucket_store import MemoryStore
from proxy.edge.health import HealthChecks
from proxy.edge.limiter import Limiter
from proxy.edge.limits import WireLimits
from proxy.edge.listener import Listener
from proxy.edge.metrics import Metrics
from proxy.edge.policy_source import PolicySource
from proxy.edge.redis_store import RedisStore
from proxy.edge.upstream import Upstreams
from proxy.pipeline import Clocks, Pipeline, Snapshot
from proxy.settings import Settings

log = logging.getLogger("lumina")

NONCE_BYTES = 12


class StartError(Exception):
    """The process cannot start; the message is one line for people."""


def nonces() -> "itertools.chain[bytes]":
    """Yield 96-bit random nonces, asking the system for many at a time."""

    def batches() -> "itertools.chain[bytes]":
        while True:
            block = os.urandom(NONCE_BYTES * 256)
            yield from (
                block[at : at + NONCE_BYTES]
                for at in range(0, len(block), NONCE_BYTES)
            )

    return itertools.chain(batches())


def request_ids() -> "itertools.chain[str]":
    """Yield request ids: random per process, counted within it."""
    prefix = os.urandom(10).hex()
    return itertools.chain(f"{prefix}-{number:x}" for number in itertools.count(1))
