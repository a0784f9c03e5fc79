"""Where a request came from: what is believed of it, and what the backend is told.

Only a peer in a trusted network may say who its client is; of everybody else the
address of the connection is all that counts.
"""

import ipaddress
import re
from collections.abc import Sequence

from proxy.core.headers import RequestHeaders

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch


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


def request_id_of(noted: dict[bytes, bytes], *, trusted: bool) -> str:
    """Return the X-Request-ID that a trusted peer sent, or ""."""
    sent = noted.get(b"x-request-id")
    if trusted and sent is not None and _REQUEST_ID(sent):
        return sent.decode("ascii")
    return ""


def forwarded_lines(
    headers: RequestHeaders, *, peer: str, peer_trusted: bool, request_id: str
) -> list[bytes]:
    """Return the lines that tell the backend where the request came from.

    X-Forwarded-For and -Proto of a trusted peer are continued, others replaced.
    ``Forwarded`` (RFC 7239) is never written: one source of truth is enough.
    """
    noted = headers.noted
    chain, proto = b"", b""
    if peer_trusted:
        chain = noted.get(b"x-forwarded-for", b"")
        proto = noted.get(b"x-forwarded-proto", b"")
    origin = peer.encode("ascii")
    if chain:
        origin = chain + b", " + origin
    return [
        b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n"
        b"X-Request-ID: %b\r\n"
        % (
            origin,
            proto if proto == b"https" else b"http",
            headers.host,
            request_id.encode("ascii"),
        )
    ]
