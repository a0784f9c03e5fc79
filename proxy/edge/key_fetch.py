"""One look at what an issuer publishes.

Only https, this machine or a file is asked; no redirect is followed, no proxy of the
environment is used, and what is longer than a key set can be is not read.
"""

import asyncio
import json
import pathlib
import ssl
import urllib.parse
from typing import Any, Final

import aiohttp

from proxy.core.issuer import Issuer, allowed_url
from proxy.core.jwk import MAX_SET_BYTES, KeySet, read_key_set, read_pem

TIMEOUT: Final = aiohttp.ClientTimeout(total=3.0)
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}


class FetchError(Exception):
    """The keys are not to be had; one sentence for people, without any key."""


async def fetch_keys(session: aiohttp.ClientSession, issuer: Issuer) -> KeySet:
    """Return the keys that an issuer publishes now.

    Raises:
        FetchError: nobody answers, or the answer is no key set.
    """
    remote = issuer.remote
    assert remote is not None  # noqa: S101 - the caller has looked
    url = remote.url
    if remote.discovery:
        url = _address(await _get(session, url), issuer)
    if url.startswith("file:"):
        text = await asyncio.to_thread(_read, url)
    else:
        text = await _get(session, url)
    read = read_pem if text.lstrip().startswith(b"-----BEGIN") else read_key_set
    try:
        return read(text, issuer.algorithms)
    except ValueError as error:
        raise FetchError(f"{url}: {error}") from None


def _address(text: bytes, issuer: Issuer) -> str:
    """Return where metadata says that the keys are (OpenID Connect Discovery, 4.3)."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FetchError("its metadata is no JSON object")
    if document.get("issuer") != issuer.issuer:
        raise FetchError("its metadata is of another issuer")
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not allowed_url(url):
        raise FetchError("its metadata names no https address of its keys")
    return url


def _read(url: str) -> bytes:
    path = pathlib.Path(urllib.parse.unquote(url.removeprefix("file:")))
    try:
        with path.open("rb") as file:
            return file.read(MAX_SET_BYTES + 1)
    except OSError as error:
        raise FetchError(f"{path}: {error.strerror or 'cannot be read'}") from None


async def _get(session: aiohttp.ClientSession, url: str) -> bytes:
    try:
        async with session.get(
            url, headers=_HEADERS, timeout=TIMEOUT, allow_redirects=False
        ) as answer:
            if answer.status != 200:  # noqa: PLR2004 - OK, and nothing else is
                raise FetchError(f"{url} answered {answer.status}")
            # One byte more than may be, so that whoever reads it knows.
            return await _at_most(answer.content, MAX_SET_BYTES + 1)
    except TimeoutError:
        raise FetchError(f"{url} does not answer in time") from None
    except (aiohttp.ClientError, ssl.SSLError, OSError, UnicodeError) as error:
        raise FetchError(f"{url} does not answer: {_kind(error)}") from None


async def _at_most(content: aiohttp.StreamReader, size: int) -> bytes:
    read = bytearray()
    while len(read) < size and (chunk := await content.read(size - len(read))):
        read += chunk
    return bytes(read)


def _kind(error: Exception) -> str:
    """Say what is wrong with a connection, in the words of what noticed it."""
    cause = getattr(error, "os_error", None) or error
    return getattr(cause, "strerror", None) or type(cause).__name__
