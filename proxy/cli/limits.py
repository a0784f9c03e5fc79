"""``lumina-proxy limits``: who is near a limit, what somebody has left, and more."""

import getpass
import json
import math
import urllib.parse
from collections.abc import Mapping
from typing import Any

import click

from proxy.cli.metrics_port import ask, fail, tell, with_metrics_port
from proxy.core.policy_values import microseconds

_WITH = click.option(
    "--with",
    "given",
    metavar="NAME=VALUE",
    multiple=True,
    help="What a limit counts by beside that: tenant=…, path.id=… or header.x-key=….",
)
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print what the proxy answered."
)
_LIMIT = click.option("--limit", help="One limit of the rule; all when it is missing.")
_REASON = click.option("--reason", required=True, help="Why, for the audit log.")


@click.group()
def limits() -> None:
    """Show who is near a limit, and what somebody has left; give it back, or more.

    All of it asks a running proxy at its metrics port.

    \b
    Examples:
        lumina-proxy limits show 127.0.0.1 login
        lumina-proxy limits top
    """  # noqa: D301 - the \b of click is a backspace


@limits.command()
@click.argument("subject")
@click.argument("rule")
@click.option("--role", help="Look at this role's rates only.")
@_WITH
@with_metrics_port
@_JSON
def show(
    subject: str,
    rule: str,
    *,
    role: str | None,
    given: tuple[str, ...],
    url: str,
    token: str | None,
    as_json: bool,
) -> None:
    """Show what SUBJECT has left of the limits of RULE.

    SUBJECT is the token's subject, or the client's address where a limit is per
    client. RULE is the rule's id, or its path as the policy writes it. Looking takes
    no token from any bucket.

    \b
    Exit status: 0 shown, 1 the proxy refused or did not answer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy limits show user_123 user-list
        lumina-proxy limits show 127.0.0.1 /api/auth/login --json
        lumina-proxy limits show user_123 upload --with path.id=7
    """  # noqa: D301 - the \b of click is a backspace
    query = {"rule": rule, **_given(given)}
    if role is not None:
        query["role"] = role
    where = urllib.parse.quote(subject, safe="")
    answer = ask(url, f"/limits/{where}?{urllib.parse.urlencode(query)}", token)
    if not isinstance(answer.get("limits"), list):
        fail(f"{url} is not the metrics port of a proxy")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if not answer["limits"]:
        click.echo(f"{answer['rule']} has no limits")
    for row in answer["limits"]:
        click.echo(_line(row))


@limits.command()
@click.option("--most", default=20, show_default=True, help="How many rows.")
@with_metrics_port
@_JSON
def top(most: int, url: str, token: str | None, *, as_json: bool) -> None:
    """Show who was near a limit, or over it, in the last ten minutes.

    Most refusals first. Whose bucket it is stands there as in its key: s: is a
    subject, c: a client, t: a tenant; a long or odd name is shown as its hash.

    \b
    Exit status: 0 shown, 1 the proxy refused or did not answer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy limits top
        lumina-proxy limits top --most 5 --json
    """  # noqa: D301 - the \b of click is a backspace
    rows = ask(url, "/limits", token).get("pressed")
    if not isinstance(rows, list):
        fail(f"{url} is not the metrics port of a proxy")
    if as_json:
        click.echo(json.dumps(rows[:most], indent=2))
        return
    if not rows:
        click.echo("nobody was near a limit in the last ten minutes")
    for row in rows[:most]:
        click.echo(_pressed(row))


@limits.command()
@click.argument("subject")
@click.argument("rule")
@_LIMIT
@click.option("--role", help="This role's rates only.")
@_WITH
@_REASON
@with_metrics_port
def reset(
    subject: str,
    rule: str,
    *,
    limit: str | None,
    role: str | None,
    given: tuple[str, ...],
    reason: str,
    url: str,
    token: str | None,
) -> None:
    """Give SUBJECT back all that was taken from the limits of RULE.

    SUBJECT and RULE are as in `limits show`. It is written to the audit log. Where
    processes share Redis, others may repeat a refusal for up to five seconds.

    \b
    Exit status: 0 done, 1 the proxy refused or did not answer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy limits reset user_123 user-list --reason "ticket 4711"
    """  # noqa: D301 - the \b of click is a backspace
    told = _told(subject, rule, limit=limit, role=role, given=given, reason=reason)
    click.echo(f"full again for {subject}: {_changed(url, 'reset', told, token)}")


@limits.command()
@click.argument("subject")
@click.argument("rule")
@click.option("--tokens", type=click.IntRange(1), required=True, help="How many more.")
@click.option(
    "--for",
    "period",
    metavar="DURATION",
    required=True,
    help="For how long: 30m, 2h, 7d.",
)
@_LIMIT
@click.option("--role", help="This role's rates only.")
@_WITH
@_REASON
@with_metrics_port
def grant(
    subject: str,
    rule: str,
    *,
    tokens: int,
    period: str,
    limit: str | None,
    role: str | None,
    given: tuple[str, ...],
    reason: str,
    url: str,
    token: str | None,
) -> None:
    """Let SUBJECT have more than the limits of RULE say, for a while.

    The buckets hold so many tokens more, and have them at once; what is not used when
    the time is over is gone. It is written to the audit log. SUBJECT and RULE are as
    in `limits show`.

    \b
    Exit status: 0 done, 1 the proxy refused or did not answer, 2 wrong usage.

    \b
    Examples:
        lumina-proxy limits grant user_123 user-list --tokens 500 --for 2h \\
            --reason "exam week, ticket 4711"
    """  # noqa: D301 - the \b of click is a backspace
    length = microseconds(period)
    if not length:
        raise click.BadParameter("--for is a duration: 30m, 2h, 7d")
    told = _told(subject, rule, limit=limit, role=role, given=given, reason=reason)
    told |= {"tokens": tokens, "seconds": length / 1_000_000}
    changed = _changed(url, "grant", told, token)
    click.echo(f"{tokens} more for {subject}, for {period}: {changed}")


def _changed(url: str, what: str, told: dict[str, object], token: str | None) -> str:
    """Tell the proxy something; return the names of the limits that it changed."""
    names = tell(url, f"/limits/{what}", told, token).get("limits")
    if not isinstance(names, list):
        fail(f"{url} is not the metrics port of a proxy")
    return ", ".join(map(str, names))


def _given(pairs: tuple[str, ...]) -> dict[str, str]:
    given = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"--with {pair}: write NAME=VALUE")
        given[name] = value
    return given


def _told(
    subject: str,
    rule: str,
    *,
    limit: str | None,
    role: str | None,
    given: tuple[str, ...],
    reason: str,
) -> dict[str, object]:
    told: dict[str, object] = {"who": subject, "rule": rule, "reason": reason}
    told |= {"given": _given(given), "by": _operator()}
    if limit is not None:
        told["limit"] = limit
    if role is not None:
        told["role"] = role
    return told


def _operator() -> str:
    """Return who runs the command, as far as this machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "unknown"


def _line(row: Mapping[str, Any]) -> str:
    whose = f"{row['id']} (per {row['per']}"
    whose += f", role {row['role']})" if row["role"] else ")"
    if row["burst"] is None:
        return f"{whose}: unlimited"
    left = f"{whose}: {row['remaining']} of {row['burst']} left"
    if not row["reset_after"]:
        return left
    return f"{left}, full in {math.ceil(row['reset_after'])} s"


def _pressed(row: Mapping[str, Any]) -> str:
    role = f", role {row['role']}" if row["role"] else ""
    return (
        f"{row['owner']} {row['limit']}{role}: over {row['over']}, near {row['near']}, "
        f"{row['remaining']} of {row['burst']} left {math.ceil(row['ago'])} s ago"
    )
