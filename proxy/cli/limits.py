"""``lumina-proxy limits``: what is left of somebody's limits."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import NoReturn

import click


@click.command()
@click.argument("subject")
@click.argument("rule")
@click.option("--role", help="Look at this role's rates only.")
@click.option(
    "--url",
    envvar="METRICS_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    help="The metrics port of a running proxy. [METRICS_URL]",
)
@click.option("--token", envvar="METRICS_TOKEN", help="Its token. [METRICS_TOKEN]")
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
    Examples:
        lumina-proxy limits user_123 user-list
        lumina-proxy limits 127.0.0.1 /api/auth/login --json
    """  # noqa: D301 - the \b of click is a backspace
    query = {"rule": rule} if role is None else {"rule": rule, "role": role}
    address = (
        f"{url.rstrip('/')}/limits/{urllib.parse.quote(subject, safe='')}"
        f"?{urllib.parse.urlencode(query)}"
    )
    if not address.startswith(("http://", "https://")):
        raise click.BadParameter("--url begins with http:// or https://")
    request = urllib.request.Request(address)  # noqa: S310 - checked just above
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - as above
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        _exit(json.load(error).get("title", error.reason))
    except OSError as error:
        _exit(f"{url} does not answer: {getattr(error, 'reason', error)}")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for row in answer["limits"]:
        click.echo(_line(row))


def _line(row: dict[str, object]) -> str:
    whose = f"{row['id']} (per {row['per']}"
    whose += f", role {row['role']})" if row["role"] else ")"
    if row["burst"] is None:
        return f"{whose}: unlimited"
    return (
        f"{whose}: {row['remaining']} of {row['burst']} left, "
        f"full in {row['reset_after']} s"
    )


def _exit(message: str) -> NoReturn:
    click.secho(message, fg="red", err=True)
    sys.exit(1)
