"""``lumina-proxy replay``: what a candidate policy would have made of a log."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import click

from proxy.cli.loading import PolicyPath, policy_or_exit
from proxy.core.bucket import Grant
from proxy.core.limits import Take
from proxy.core.workbench import replay as core
from proxy.core.workbench.log_lines import LogLine, read_line
from proxy.core.workbench.replay import SERVED, UNSURE, Change, Replay
from proxy.edge.bucket_store import MemoryStore

_MICROSECONDS = 1_000_000


@click.command(short_help="Say what a policy would have made of a log.")
@click.argument("log", type=click.File(encoding="utf-8", errors="replace"))
@click.option(
    "--policy",
    "candidate",
    type=PolicyPath,
    required=True,
    help="The candidate: a file or folder.",
)
@click.option("--no-limits", is_flag=True, help="Leave the limits out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(log: IO[str], candidate: Path, *, no_limits: bool, as_json: bool) -> None:
    """Say which requests of LOG a candidate policy would have decided otherwise.

    LOG is an access log in JSON, as the proxy writes it: time, method, path, status,
    reason, rule, role, client, and subject if it has one; - is standard input. Limits
    are counted by the log's own times, from full buckets on. What a log does not know,
    such as a condition over claims, is said and not guessed.

    \b
    Exit status: 0 nothing would change, 1 something would, 2 wrong usage.

    \b
    Examples:
        lumina-proxy replay /dev/null --policy policies
    """  # noqa: D301 - the \b of click is a backspace
    policy = policy_or_exit(candidate, assume_secrets=True, status=2).policy
    lines = _Lines(log)
    found = core.replay(policy, lines, None if no_limits else _Buckets().take)
    found.left_out.update(lines.left_out)
    if as_json:
        click.echo(json.dumps(_document(found), indent=2))
    else:
        for text in _told(found):
            click.echo(text)
    click.get_current_context().exit(1 if found.changes else 0)


class _Lines:
    """The lines of a log, and why some are none."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log
        self.left_out: dict[str, int] = {}

    def __iter__(self) -> Iterator[LogLine]:
        for text in self._log:
            if not text.strip():
                continue
            try:
                yield read_line(text)
            except ValueError as error:
                self.left_out[str(error)] = self.left_out.get(str(error), 0) + 1


class _Buckets:
    """The buckets of the proxy, with the log for a clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._store = MemoryStore(lambda: round(self._now * _MICROSECONDS))

    def take(self, takes: Sequence[Take], now: float) -> Sequence[Grant]:
        """Take as the proxy would have; a log that goes back stands still."""
        self._now = max(self._now, now)
        return self._store.take_now(takes)


def _told(found: Replay) -> Iterator[str]:
    colours = {True: "green", False: "red"}
    for change, count in _ordered(found):
        sign = "?" if change.now == UNSURE else "+" if change.opens else "-"
        role = f" as {change.role}" if change.role else ""
        rule = f" (rule {change.rule})" if change.rule else ""
        line = f"{sign} {change.method} {change.path}{role}{rule}: "
        colour = "yellow" if sign == "?" else colours[change.opens]
        yield click.style(line + _verdict(change, count), fg=colour)
    changed = sum(found.changes.values())
    yield f"{found.requests} requests, {changed} would come out otherwise"
    for why, count in sorted(found.left_out.items()):
        yield f"{count} lines left out: {why}"


def _verdict(change: Change, count: int) -> str:
    was = "served" if change.was == SERVED else f"refused with {change.was}"
    now = change.now
    if now not in (SERVED, UNSURE):
        now = f"refused with {now}"
    return f"{count} x {was} -> {now}"


def _ordered(found: Replay) -> list[tuple[Change, int]]:
    """Return what would change: refusals first, and what happens most."""
    return sorted(
        found.changes.items(),
        key=lambda item: (item[0].opens, -item[1], item[0].path, item[0].method),
    )


def _document(found: Replay) -> dict[str, object]:
    return {
        "requests": found.requests,
        "left_out": dict(found.left_out),
        "changes": [
            {
                "count": count,
                "method": change.method,
                "path": change.path,
                "role": change.role,
                "was": change.was,
                "now": change.now,
                "rule": change.rule,
            }
            for change, count in _ordered(found)
        ],
    }
