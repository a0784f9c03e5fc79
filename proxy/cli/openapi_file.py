"""An OpenAPI document from a file or an address, as commands read it."""

import json
import urllib.request
from pathlib import Path

import yaml

from proxy.cli.metrics_port import fail

MOST = 32 * 1024 * 1024
"""Bytes; the largest published documents have a third of it."""
_SECONDS = 30.0


def read_openapi(source: str) -> object:
    """Return the document at a file or http(s) address, or exit with what was wrong."""
    try:
        data = _fetched(source) if "://" in source else Path(source).read_bytes()
    except OSError as error:
        fail(f"{source} cannot be read: {getattr(error, 'reason', '') or error}")
    except ValueError:
        fail(f"{source} is no address")
    if len(data) > MOST:
        fail(f"{source} is longer than {MOST} bytes")
    try:
        text = data.decode("utf-8-sig")
        return _parsed(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        fail(f"{source} is neither JSON nor YAML")


def _fetched(url: str) -> bytes:
    if not url.startswith(("http://", "https://")):
        fail(f"{url} is not http:// or https://")
    request = urllib.request.Request(  # noqa: S310 - checked just above
        url, headers={"Accept": "application/json, application/yaml"}
    )
    with urllib.request.urlopen(request, timeout=_SECONDS) as response:  # noqa: S310
        data: bytes = response.read(MOST + 1)
        return data


def _parsed(text: str) -> object:
    if text.lstrip().startswith("{"):
        return json.loads(text)
    return yaml.safe_load(text)
