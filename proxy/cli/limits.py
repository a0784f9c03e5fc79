"""``lumina-proxy limits``: what is left of somebody's limits."""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NoReturn

import click

from proxy.settings import Environment


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
@click.option(
    "--token",
    help="Its token, which others see in the list of processes: better from "
    "METRICS_TOKEN or METRICS_TOKEN_FILE.",
)
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
    Exit status: 0 shown, 1 no such rule or no answer, 2 wrong usage.

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
    token = token or Environment(os.environ).get("METRICS_TOKEN")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    answer = _ask(request, url)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for row in answer["limits"]:
        click.echo(_line(row))


def _ask(request: urllib.request.Request, url: str) -> dict[str, Any]:
    """Return the answer; end with one line if there is none."""
    try:
        with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310 - checked
            answer: dict[str, Any] = json.load(response)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            if error.headers.get_content_type() == "application/problem+json":
                _exit(json.load(error)["title"])
            _exit(
                f"{url} answers {error.code} {error.reason}: no metrics port of ours?"
            )
    except OSError as error:
        _exit(f"{url} does not answer: {getattr(error, 'reason', error)}")
    except ValueError:
        _exit(f"{url} does not answer in JSON: no metrics port of ours?")


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
