"""Where a request came from: what is believed of it, and what the backend is told.

Only a peer in a trusted network may say who its client is; of everybody else the
address of the connection is all that counts.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from proxy.core.headers import RequestHeaders
from proxy.core.message import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Say whether an address is in one of the networks; text that is none is not."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def client_address(
    peer: str, *, trusted: Sequence[Network], forwarded_for: bytes | None
) -> str:
    """Return the address of the client, as far as it can be believed.

    Walks X-Forwarded-For from the right, through addresses of trusted networks only,
    to the first that is not trusted. A hop that cannot be read ends the walk.

    Args:
        peer: the address of the connection, which the caller found to be trusted.
        trusted: the networks of the proxies in front of this one.
        forwarded_for: the field's value; None when there is none.
    """
    client = peer
    for hop in reversed((forwarded_for or b"").split(b",")):
        try:
            address = ipaddress.ip_address(hop.strip().decode("ascii"))
        except ValueError:
            break
        client = str(address)
        if not any(address in network for network in trusted):
            break
    return client


def client_of(
    request: Request, headers: RequestHeaders, trusted: Sequence[Network]
) -> str:
    """Return the address of a request's client, as far as it can be believed."""
    if not request.peer_trusted:
        return request.peer
    return client_address(
        request.peer,
        trusted=trusted,
        forwarded_for=headers.noted.get(b"x-forwarded-for"),
    )


def request_id_of(noted: dict[bytes, bytes], *, trusted: bool) -> str:
    """Return the X-Request-ID that a trusted peer sent, or ""."""
    if not trusted:
        return ""
    sent = noted.get(b"x-request-id")
    return sent.decode("ascii") if sent is not None and _REQUEST_ID(sent) else ""


def forwarded_lines(
    headers: RequestHeaders, request: Request, request_id: str
) -> bytes:
    """Return the lines that tell the backend where the request came from.

    X-Forwarded-For and -Proto of a trusted peer are continued, others replaced.
    ``Forwarded`` (RFC 7239) is never written: one source of truth is enough.
    """
    origin = request.peer
    proto = "https" if request.secure else "http"
    if request.peer_trusted:
        noted = headers.noted
        chain = noted.get(b"x-forwarded-for")
        if chain:
            origin = f"{chain.decode('latin-1')}, {origin}"
        said = noted.get(b"x-forwarded-proto")
        if said in (b"http", b"https"):
            proto = said.decode("ascii")
    return (
        f"X-Forwarded-For: {origin}\r\nX-Forwarded-Proto: {proto}\r\n"
        f"X-Forwarded-Host: {headers.host.decode('latin-1')}\r\n"
        f"X-Request-ID: {request_id}\r\n"
    ).encode("latin-1")
