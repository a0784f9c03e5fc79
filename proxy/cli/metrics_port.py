"""How commands ask the metrics port of a running proxy."""

import http.client
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from proxy.settings import Environment

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def with_metrics_port(command: click.decorators.FC) -> click.decorators.FC:
    """Give a command the options --url and --token."""
    url = click.option(
        "--url",
        envvar="METRICS_URL",
        default="http://127.0.0.1:8000",
        show_default=True,
        help="The metrics port of a running proxy. [METRICS_URL]",
    )
    token = click.option(
        "--token",
        help="Its token, which others see in the list of processes: better from "
        "METRICS_TOKEN or METRICS_TOKEN_FILE.",
    )
    return url(token(command))


def ask(url: str, path: str, token: str | None) -> dict[str, Any]:
    """Return the document at a path of the port, or exit with what was wrong."""
    address = f"{url.rstrip('/')}{path}"
    token = token or Environment(os.environ).get("METRICS_TOKEN", "")
    answer = _document(_ask(_request(address, token), url))
    if answer is None:
        fail(f"{url} is not the metrics port of a proxy")
    return answer


def tell(
    url: str, path: str, order: Mapping[str, Any], token: str | None
) -> dict[str, Any]:
    """Return what comes of an order at a path, or exit with what was wrong."""
    token = token or Environment(os.environ).get("METRICS_TOKEN", "")
    request = _request(f"{url.rstrip('/')}{path}", token)
    request.data = json.dumps(order).encode()
    request.add_header("Content-Type", "application/json")
    answer = _document(_ask(request, url))
    if answer is None:
        fail(f"{url} is not the metrics port of a proxy")
    return answer


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
        fail(str(title or f"{url} answered {error.code} {error.reason}"))
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        fail(f"{url} does not answer: {getattr(error, 'reason', '') or error}")


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def fail(message: str) -> NoReturn:
    """Print a message and exit."""
    # Some of it may be what a server said.
    click.secho(_CONTROLS.sub(" ", message).strip(), fg="red", err=True)
    sys.exit(1)
