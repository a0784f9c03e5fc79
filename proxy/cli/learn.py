"""``lumina-proxy learn``: a first policy from what passes through a proxy."""

import json
import sys
import time
from pathlib import Path

import click

from proxy.cli.drafting import with_output, write_draft
from proxy.cli.metrics_port import ask, fail, with_metrics_port
from proxy.core.learning import Learned
from proxy.core.policy_values import microseconds
from proxy.core.workbench.learnt import operations_of

_LOOK_EVERY = 1.0


@click.command(short_help="Draft a policy from what passes through a proxy.")
@click.option(
    "--for",
    "length",
    metavar="DURATION",
    help="Wait so long first, such as 10m or 24h. Else what was seen so far counts.",
)
@with_output
@with_metrics_port
@click.option("--json", "as_json", is_flag=True, help="Print what was seen instead.")
def learn(
    length: str | None,
    output: Path | None,
    url: str,
    token: str | None,
    *,
    as_json: bool,
) -> None:
    """Draft a policy from what passes through a proxy that runs with LEARN=on.

    Put the proxy in front of the service with a policy that enforces nothing
    (`mode: shadow`), let people work for a day, and ask. The draft has a rule for each
    endpoint that answered, for the roles that used it, limits of twice what anybody
    needed, and the fields that look personal, by their name or by the look of their
    values. Read it: it is a guess, and enforces nothing either.

    A proxy that learns keeps no value: of a path what it looks like, of a body the
    names of its members and the look of what they hold, of who asks a number.

    \b
    Exit status: 0 drafted, 1 nothing was seen or the proxy does not learn, 2 wrong
    usage.

    \b
    Examples:
        lumina-proxy learn --help
    """  # noqa: D301 - the \b of click is a backspace
    seconds = _seconds(length)
    if seconds:
        _wait(seconds, url, token)
    document = ask(url, "/learned", token)
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    learned = Learned()
    try:
        learned.add(document)
    except ValueError as error:
        fail(f"{url}: {error}")
    seen = sum(one.count for one in learned.endpoints.values())
    source = f"{seen} requests that passed"
    write_draft(operations_of(learned), output, source=source)


def _seconds(length: str | None) -> float:
    duration = 0 if length is None else microseconds(length)
    if duration is None:
        raise click.BadParameter(f"{length!r} is no duration such as 10m or 24h")
    return duration / 1_000_000


def _wait(seconds: float, url: str, token: str | None) -> None:
    """Wait, and show how many requests were seen meanwhile."""
    ask(url, "/learned", token)  # whoever waits a day wants to know it now
    ticks = max(1, round(seconds / _LOOK_EVERY))
    with click.progressbar(range(ticks), label="Watching", file=sys.stderr) as bar:
        for _ in bar:
            time.sleep(seconds / ticks)
