"""Peers take turns within a round, so that whatever else the machine does is shared."""

import contextlib
import http.client
import sys
from collections.abc import Mapping

from tests.benchmarks.load import check, measure
from tests.benchmarks.peers import Peer, Site, start
from tests.benchmarks.processes import BenchmarkError, Running
from tests.benchmarks.report import Row

ERRORS = (BenchmarkError, OSError, http.client.HTTPException)


def tell(line: str) -> None:
    """Say what is going on, where it is not taken for a result."""
    print(line, file=sys.stderr, flush=True)


def take_turns(
    site: Site, peers: Mapping[str, Peer], rounds: int, seconds: int
) -> dict[str, Row]:
    """Start the peers, let them take turns, and return what was found."""
    rows = {name: Row() for name in peers}
    with contextlib.ExitStack() as stack:
        started: dict[str, tuple[Running, int]] = {}
        for name, row in rows.items():
            tell(f"starting {name}")
            try:
                started[name] = stack.enter_context(start(site, name, peers[name]))
                check(site, peers[name], started[name][1])
            except ERRORS as error:
                row.error = str(error)
        for turn in range(rounds):
            for name, row in rows.items():
                if row.error:
                    continue
                tell(f"round {turn + 1} of {rounds}: {name}")
                try:
                    row.samples.append(
                        measure(site, peers[name], *started[name], seconds)
                    )
                except ERRORS as error:
                    row.error = str(error)
    return rows


def cpu_of(rows: Mapping[str, Row], name: str) -> float:
    """Return the CPU seconds of a request.

    Raises:
        BenchmarkError: the peer could not be measured.
    """
    if rows[name].error:
        raise BenchmarkError(f"{name}: {rows[name].error}")
    return rows[name].median().cpu
