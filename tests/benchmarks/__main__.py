"""Measure the proxy beside its peers: ``python -m tests.benchmarks --help``.

Peers take turns within a round, so that whatever else the machine does is shared by
all, and the medians over the rounds are compared. See README.md for the method.
"""

import argparse
import contextlib
import http.client
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.credentials import make_credentials
from tests.benchmarks.load import allow_connections, check, idle_bytes, measure
from tests.benchmarks.peers import PEERS, Site, site, start
from tests.benchmarks.processes import BenchmarkError, Running

PROGRAMS = ("haproxy", "nginx", "redis-server", "taskset", "wrk")
ERRORS = (BenchmarkError, OSError, http.client.HTTPException)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the flags; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of load for a sample")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each peer")
    parser.add_argument("--only", nargs="+", choices=PEERS, help="measure these alone")
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser.parse_args(arguments)


def tell(line: str) -> None:
    """Say what is going on, where it is not taken for a result."""
    print(line, file=sys.stderr, flush=True)


def run(
    site: Site, names: list[str], rounds: int, seconds: int
) -> dict[str, report.Row]:
    """Start the peers, let them take turns, and return what was found."""
    rows = {name: report.Row() for name in names}
    with contextlib.ExitStack() as stack:
        started: dict[str, tuple[Running, int]] = {}
        for name, row in rows.items():
            tell(f"starting {name}")
            try:
                started[name] = stack.enter_context(start(site, name))
                check(site, PEERS[name], started[name][1])
                row.idle_bytes = idle_bytes(site, PEERS[name], *started[name])
            except ERRORS as error:
                row.error = str(error)
        for turn in range(rounds):
            for name, row in rows.items():
                if row.error:
                    continue
                tell(f"round {turn + 1} of {rounds}: {name}")
                try:
                    row.samples.append(
                        measure(site, PEERS[name], *started[name], seconds)
                    )
                except ERRORS as error:
                    row.error = str(error)
    return rows


def main(arguments: list[str]) -> int:
    """Run the benchmarks; 1 if a peer could not be measured."""
    flags = parse(arguments)
    # nginx and HAProxy live where only root's PATH looks.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking or (os.cpu_count() or 1) < 2:
        tell(f"needed: two cores, and {', '.join(PROGRAMS)}; lacking: {lacking}")
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    allow_connections()
    with tempfile.TemporaryDirectory(prefix="lumina-bench-") as name:
        folder = Path(name)
        # nginx's workers are another user, and look into folders of their own here.
        folder.chmod(0o755)
        with site(folder, make_credentials(folder)) as made:
            rows = run(made, flags.only or list(PEERS), flags.rounds, flags.seconds)
    for name, row in rows.items():
        if row.error:
            tell(f"{name}: error: {row.error}")
    if flags.json:
        print(report.as_json(rows))
    else:
        print(report.origin(), report.table(rows), *report.verdicts(rows), sep="\n\n")
    return 1 if any(row.error for row in rows.values()) else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
