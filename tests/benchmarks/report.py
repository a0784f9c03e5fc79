"""What a run found: medians, a table for people, JSON for machines."""

import dataclasses
import datetime as dt
import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.load import Sample
from tests.benchmarks.peers import PEERS

MICRO = 1e6

HEADING = (
    "| peer | does | CPU µs/request | Redis µs/request | requests/s | p50 ms | p99 ms |"
)

RATIOS = [
    ("lumina-rs256", "haproxy-rs256", 1.5),
    ("lumina-hs256", "haproxy-hs256", 0.75),
    ("lumina-hs256", "nginx-lua-hs256", 1.3),
    ("lumina-hs256", "fastify-hs256", 5),
    ("lumina-hs256", "aiohttp-hs256", 4),
]
"""How many times less CPU than a peer the proxy is meant to spend."""

CPU_BUDGETS = {"lumina-rs256": 45e-6}
"""Seconds of CPU that a request may cost at most."""


@dataclasses.dataclass
class Row:
    """What was found about one peer; ``error`` is "" while nothing went wrong."""

    samples: list[Sample] = dataclasses.field(default_factory=list)
    error: str = ""

    def median(self) -> Sample:
        """Return the median of each figure over the rounds."""
        columns = zip(*map(dataclasses.astuple, self.samples), strict=True)
        return Sample(*(statistics.median(column) for column in columns))


@dataclasses.dataclass(frozen=True)
class Finding:
    """One figure that is held against a goal.

    Attributes:
        what: was measured, for people.
        measured: the figure.
        goal: what it is held against; None for a figure without a goal.
        unit: of both, as it is printed.
        least: whether the goal is the least that is good enough, or the most.
    """

    what: str
    measured: float
    goal: float | None = None
    unit: str = "x"
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the goal is met, or there is none."""
        if self.goal is None:
            return True
        if self.least:
            return self.measured >= self.goal
        return self.measured <= self.goal

    def __str__(self) -> str:
        """Return one line of the report."""
        line = f"- {self.what}: {self.measured:.3g} {self.unit}"
        if self.goal is None:
            return line
        bound = "at least" if self.least else "at most"
        verdict = "met" if self.met else "MISSED"
        return f"{line} ({bound} {self.goal:g} {self.unit}: {verdict})"


def table(rows: Mapping[str, Row]) -> str:
    """Return the rows side by side, in the Markdown that the README keeps."""
    lines = [HEADING, "|---|---|--:|--:|--:|--:|--:|"]
    for name, row in rows.items():
        start = f"| {name} | {PEERS[name].job} |"
        if row.error:
            lines.append(f"{start} error: {row.error} | | | | |")
            continue
        found = row.median()
        lines.append(
            f"{start} {found.cpu * MICRO:.1f} | {found.store_cpu * MICRO:.1f} "
            f"| {found.rate:.0f} | {found.p50 * 1e3:.2f} | {found.p99 * 1e3:.2f} |"
        )
    return "\n".join(lines)


def verdicts(rows: Mapping[str, Row]) -> list[Finding]:
    """Return a finding for each goal whose peers were measured."""
    cpu = {name: row.median().cpu for name, row in rows.items() if not row.error}
    found = [
        Finding(f"{ours} beside {theirs}", cpu[theirs] / cpu[ours], goal, least=True)
        for ours, theirs, goal in RATIOS
        if ours in cpu and theirs in cpu
    ]
    found += [
        Finding(f"{ours}: CPU a request", cpu[ours] * MICRO, budget * MICRO, "µs")
        for ours, budget in CPU_BUDGETS.items()
        if ours in cpu
    ]
    return found


def origin() -> str:
    """Return when, on what and of which commit a run was made, in one line."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return f"{today}, {os.cpu_count()} cores, commit {commit or 'unknown'}"


def as_json(rows: Mapping[str, Row], findings: Sequence[Finding]) -> str:
    """Return everything that was found, each sample too; times in seconds."""
    peers = {
        name: {"error": row.error}
        if row.error
        else {
            "median": dataclasses.asdict(row.median()),
            "samples": [dataclasses.asdict(sample) for sample in row.samples],
        }
        for name, row in rows.items()
    }
    shown = [{**dataclasses.asdict(one), "met": one.met} for one in findings]
    found = {"origin": origin(), "peers": peers, "findings": shown}
    return json.dumps(found, indent=2)
