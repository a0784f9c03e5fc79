"""Measure the proxy beside its peers: ``python -m tests.benchmarks --help``.

Peers take turns within a round, so that whatever else the machine does is shared by
all, and the medians over the rounds are compared. See README.md for the method.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.beyond import SECTIONS
from tests.benchmarks.credentials import make_credentials
from tests.benchmarks.load import allow_connections
from tests.benchmarks.peers import PEERS, Site, site
from tests.benchmarks.turns import ERRORS, take_turns, tell

PROGRAMS = ("haproxy", "nginx", "node", "redis-server", "taskset", "wrk")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the flags; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="of load for a sample")
    parser.add_argument("--rounds", type=int, default=3, help="samples of each peer")
    parser.add_argument("--only", nargs="+", choices=PEERS, help="measure these alone")
    parser.add_argument(
        "--sections", nargs="*", choices=SECTIONS, help="measure these beyond the job"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser.parse_args(arguments)


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
            rows, findings, failed = run(made, flags)
    if flags.json:
        print(report.as_json(rows, findings))
    else:
        lines = "\n".join(map(str, findings))
        print(report.origin(), report.table(rows), lines, sep="\n\n")
    return 1 if failed else 0


def run(
    site: Site, flags: argparse.Namespace
) -> tuple[dict[str, report.Row], list[report.Finding], bool]:
    """Return the table's rows, all findings, and whether something was not measured."""
    sections = flags.sections
    if sections is None:
        sections = [] if flags.only else list(SECTIONS)
    names = flags.only if flags.only or flags.sections else list(PEERS)
    peers = {name: PEERS[name] for name in names or ()}
    rows = take_turns(site, peers, flags.rounds, flags.seconds)
    findings, failed = report.verdicts(rows), False
    for name, row in rows.items():
        if row.error:
            failed = True
            tell(f"{name}: error: {row.error}")
    for section in sections:
        try:
            findings += SECTIONS[section](site, flags.rounds, flags.seconds)
        except ERRORS as error:
            failed = True
            tell(f"{section}: error: {error}")
    return rows, findings, failed


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
