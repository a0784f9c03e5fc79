"""What a run found: medians, a table for people, JSON for machines."""

import dataclasses
import datetime as dt
import json
import os
import statistics
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.load import Sample
from tests.benchmarks.peers import PEERS

MICRO = 1e6
KIBI = 1024

HEADING = (
    "| peer | does | CPU µs/request | Redis µs/request | requests/s | p50 ms | p99 ms "
    "| KiB/idle connection |"
)

RATIOS = [
    ("lumina-rs256", "haproxy-rs256", 1.5),
    ("lumina-hs256", "haproxy-hs256", 0.75),
    ("lumina-hs256", "nginx-lua-hs256", 1.3),
]
"""How many times less CPU than a peer the proxy is meant to spend."""

CPU_BUDGETS = {"lumina-rs256": 45e-6}
"""Seconds of CPU that a request may cost at most."""


@dataclasses.dataclass
class Row:
    """What was found about one peer; ``error`` is "" while nothing went wrong."""

    samples: list[Sample] = dataclasses.field(default_factory=list)
    idle_bytes: float = 0.0
    error: str = ""

    def median(self) -> Sample:
        """Return the median of each figure over the rounds."""
        columns = zip(*map(dataclasses.astuple, self.samples), strict=True)
        return Sample(*(statistics.median(column) for column in columns))


def table(rows: Mapping[str, Row]) -> str:
    """Return the rows side by side, in the Markdown that the README keeps."""
    lines = [HEADING, "|---|---|--:|--:|--:|--:|--:|--:|"]
    for name, row in rows.items():
        start = f"| {name} | {PEERS[name].job} |"
        if row.error:
            lines.append(f"{start} error: {row.error} | | | | | |")
            continue
        found = row.median()
        lines.append(
            f"{start} {found.cpu * MICRO:.1f} | {found.store_cpu * MICRO:.1f} "
            f"| {found.rate:.0f} | {found.p50 * 1e3:.2f} | {found.p99 * 1e3:.2f} "
            f"| {row.idle_bytes / KIBI:.2f} |"
        )
    return "\n".join(lines)


def verdicts(rows: Mapping[str, Row]) -> list[str]:
    """Return one line for each goal whose peers were measured."""
    cpu = {name: row.median().cpu for name, row in rows.items() if not row.error}
    lines = []
    for ours, theirs, goal in RATIOS:
        if ours in cpu and theirs in cpu:
            ratio = cpu[theirs] / cpu[ours]
            lines.append(
                f"{ours}: {ratio:.2f} x {theirs} (goal {goal} x, "
                f"{'met' if ratio >= goal else 'missed'})"
            )
    for ours, budget in CPU_BUDGETS.items():
        if ours in cpu:
            lines.append(
                f"{ours}: {cpu[ours] * MICRO:.1f} µs (goal {budget * MICRO:.0f} µs, "
                f"{'met' if cpu[ours] <= budget else 'missed'})"
            )
    return lines


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


def as_json(rows: Mapping[str, Row]) -> str:
    """Return everything that was found, each sample too; times in seconds."""
    found = {
        name: {"error": row.error}
        if row.error
        else {
            "median": dataclasses.asdict(row.median()),
            "samples": [dataclasses.asdict(sample) for sample in row.samples],
            "idle_bytes": row.idle_bytes,
        }
        for name, row in rows.items()
    }
    return json.dumps(
        {"origin": origin(), "peers": found, "verdicts": verdicts(rows)}, indent=2
    )
