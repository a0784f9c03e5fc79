"""``lumina-proxy limits``: what is left of somebody's limits."""

import http.client
import json
import math
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, NoReturn

import click

from proxy.settings import Environment

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


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
    Exit status: 0 shown, 1 the proxy refused or did not answer, 2 wrong usage.

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
    token = token or Environment(os.environ).get("METRICS_TOKEN", "")
    answer = _document(_ask(_request(address, token), url))
    if answer is None or not isinstance(answer.get("limits"), list):
        _exit(f"{url} is not the metrics port of a proxy")
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    if not answer["limits"]:
        click.echo(f"{answer['rule']} has no limits")
    for row in answer["limits"]:
        click.echo(_line(row))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow nobody."""


# The token goes where --url says and nowhere else: by no proxy, to no other host.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)


def _request(address: str, token: str) -> urllib.request.Request:
    if _CONTROLS.search(token):
        raise click.BadParameter("--token holds a control character")
    try:
        parts = urllib.parse.urlsplit(address)
        usable = (
            parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        )
    except ValueError:
        usable = False
    if not usable or _CONTROLS.search(address) or " " in address:
        raise click.BadParameter("--url is not http://host:port")
    request = urllib.request.Request(address)  # noqa: S310 - checked just above
    if token:
        # http.client writes Latin-1, the port reads UTF-8.
        sent = token.encode("utf-8", "surrogateescape").decode("latin-1")
        request.add_header("Authorization", f"Bearer {sent}")
    return request


def _ask(request: urllib.request.Request, url: str) -> bytes:
    """Return the body of the answer, or exit with what was wrong."""
    try:
        with _OPENER.open(request, timeout=5) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        title = (_document(error.read()) or {}).get("title")
        _exit(str(title or f"{url} answered {error.code} {error.reason}"))
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        _exit(f"{url} does not answer: {getattr(error, 'reason', '') or error}")


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _line(row: dict[str, Any]) -> str:
    whose = f"{row['id']} (per {row['per']}"
    whose += f", role {row['role']})" if row["role"] else ")"
    if row["burst"] is None:
        return f"{whose}: unlimited"
    left = f"{whose}: {row['remaining']} of {row['burst']} left"
    if not row["reset_after"]:
        return left
    return f"{left}, full in {math.ceil(row['reset_after'])} s"


def _exit(message: str) -> NoReturn:
    # Some of it may be what a server said.
    click.secho(_CONTROLS.sub(" ", message).strip(), fg="red", err=True)
    sys.exit(1)
