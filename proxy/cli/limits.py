"""``lumina-proxy limits``: what is left of somebody's limits."""

import json
import math
import urllib.parse
from typing import Any

import click

from proxy.cli.metrics_port import ask, fail, with_metrics_port


@click.command()
@click.argument("subject")
@click.argument("rule")
@click.option("--role", help="Look at this role's rates only.")
@with_metrics_port
@click.option("--json", "as_json", is_flag=True, help="Print what the proxy answered.")
def limits(
    subject: str,
    rule: str,
    role: str | None,
    url: str,
    token: str | None,
    *,
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
        lumina-proxy limits user_123 user-list
        lumina-proxy limits 127.0.0.1 /api/auth/login --json
    """  # noqa: D301 - the \b of click is a backspace
    query = {"rule": rule} if role is None else {"rule": rule, "role": role}
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


def _line(row: dict[str, Any]) -> str:
    whose = f"{row['id']} (per {row['per']}"
    whose += f", role {row['role']})" if row["role"] else ")"
    if row["burst"] is None:
        return f"{whose}: unlimited"
    left = f"{whose}: {row['remaining']} of {row['burst']} left"
    if not row["reset_after"]:
        return left
    return f"{left}, full in {math.ceil(row['reset_after'])} s"
