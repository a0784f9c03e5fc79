"""``lumina-proxy diff``: who gains and who loses what, from one policy to another."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from proxy.cli.loading import PolicyPath, policy_or_exit
from proxy.core.workbench.comparison import Comparison, compare
from proxy.core.workbench.diff_changes import Area, Change, Direction
from proxy.core.workbench.diff_requests import Request

_SIGNS = {
    Direction.OPENS: ("+", "red"),
    Direction.CLOSES: ("-", "green"),
    Direction.CHANGES: ("~", "yellow"),
}
_SHOWN = 6
"""How many kinds of requests are shown of each change; --json has all."""


@click.command(short_help="Say who gains and who loses what between two policies.")
@click.argument("old", type=PolicyPath)
@click.argument("new", type=PolicyPath)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(old: Path, new: Path, *, as_json: bool) -> None:
    """Compare what the policies OLD and NEW decide.

    Both are asked about a request of every kind that either has a rule for, as every
    role and as somebody without a token. What is printed is what differs:

    \b
        +  more is possible: access gained, a limit loosened, a value in plain sight
        -  less is possible
        ~  something else is
        =  only a name is different; this is no difference

    Each is a file or a folder. No secret is needed, and none is printed. What a change
    in a working copy means, git can ask:

    \b
        git show HEAD:policies/lms.yaml | lumina-proxy diff /dev/stdin policies/lms.yaml

    \b
    Exit status, as of diff: 0 nothing differs in meaning, 1 something does, 2 wrong
    usage or a policy with errors.

    \b
    Examples:
        lumina-proxy diff policies policies/lms.yaml
        lumina-proxy diff policies/lms.yaml policies --json
    """  # noqa: D301 - the \b of click is a backspace
    before, after = (
        policy_or_exit(path, assume_secrets=True, status=2).policy
        for path in (old, new)
    )
    try:
        comparison = compare(before, after)
    except ValueError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(2)
    if as_json:
        click.echo(json.dumps(_document(comparison), indent=2))
    else:
        for line in _lines(comparison):
            click.echo(line)
    click.get_current_context().exit(1 if comparison.changes else 0)


def _lines(comparison: Comparison) -> Iterator[str]:
    for area in Area:
        changes = [change for change in comparison.changes if change.area is area]
        if changes:
            yield click.style(area.value, bold=True)
        for change in changes:
            sign, colour = _SIGNS[change.direction]
            yield click.style(f"  {sign} {change.text}{_where(change)}", fg=colour)
    if comparison.notes:
        yield click.style("names", bold=True)
    yield from (f"  = {note}" for note in comparison.notes)
    counts = {
        way: sum(change.direction is way for change in comparison.changes)
        for way in Direction
    }
    verbs = {Direction.OPENS: "open", Direction.CLOSES: "close"}
    found = (f"{n} {verbs.get(way, 'change')}" for way, n in counts.items() if n)
    yield ", ".join(found) or "nothing differs in meaning"


def _where(change: Change) -> str:
    """Return the requests of a change, but not more than can be read."""
    shown = [_request(one) for one in change.requests[:_SHOWN]]
    if more := len(change.requests) - len(shown):
        shown.append(f"and {more} more")
    return f": {', '.join(shown)}" if shown else ""


def _request(request: Request) -> str:
    return f"{request.methods} {request.path}"


def _document(comparison: Comparison) -> dict[str, object]:
    return {
        "same": not comparison.changes,
        "changes": [
            {
                "area": change.area.value,
                "direction": change.direction.value,
                "text": change.text,
                "requests": [
                    {
                        "methods": one.methods,
                        "path": one.path,
                        "old_rule": one.old,
                        "new_rule": one.new,
                    }
                    for one in change.requests
                ],
            }
            for change in comparison.changes
        ],
        "notes": list(comparison.notes),
    }
