"""The PROXY protocol, versions 1 and 2: who the client of a load balancer is.

A load balancer writes one header at the start of a connection, before everything else,
TLS included (HAProxy's "The PROXY protocol", 2020/03/05). Whoever may write one may say
who the client is, so only a trusted peer is asked for it. Its TLVs are passed over.
"""

import dataclasses
import ipaddress
import re
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
"""How a header of version 2 begins (section 2.2)."""

MAX_V1: Final = 107
"""The longest line of version 1, its CRLF included (section 2.1)."""
MAX_BYTES: Final = 4096
"""The longest header of version 2 that is read: addresses, and TLVs beside them."""

_HEAD: Final = 16
_V1: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [ -~]*)?|(?P<family>TCP4|TCP6) (?P<source>[0-9a-fA-F.:]+) "
    rb"(?P<other>[0-9a-fA-F.:]+) (?P<port>[0-9]{1,5}) (?P<at>[0-9]{1,5}))\r\n"
)
_MAX_PORT: Final = 65_535
_LOCAL, _PROXY = 0x20, 0x21
_INET, _INET6 = 0x1, 0x2
_LENGTHS: Final = {_INET: 4, _INET6: 16}
"""Bytes of an address, by the family in the upper half of its byte."""


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """A header that is complete.

    Attributes:
        length: its bytes; what follows is the client's.
        source: the client's address; None where it does not say one, as for the load
            balancer's own checks, and the connection's own address counts.
    """

    length: int
    source: str | None


def read_header(data: bytes) -> Header | None:
    """Return the header that a connection begins with; None if it is not complete.

    Raises:
        ValueError: it does not begin with one.
    """
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _version_2(data)
    if data[:6] == b"PROXY "[: len(data)]:
        return _version_1(data)
    raise ValueError("the connection does not begin with a PROXY header")


def _version_1(data: bytes) -> Header | None:
    end = data.find(b"\n", 0, MAX_V1) + 1
    if not end:
        if len(data) >= MAX_V1:
            raise ValueError("the PROXY line has no end")
        return None
    found = _V1.fullmatch(data, 0, end)
    if found is None:
        raise ValueError("the PROXY line is malformed")
    if not found["family"]:
        return Header(end, None)
    if int(found["port"]) > _MAX_PORT or int(found["at"]) > _MAX_PORT:
        raise ValueError("the PROXY line has a port that is none")
    kind = (
        ipaddress.IPv4Address if found["family"] == b"TCP4" else (ipaddress.IPv6Address)
    )
    kind(str(found["other"], "ascii"))
    return Header(end, str(kind(str(found["source"], "ascii"))))


def _version_2(data: bytes) -> Header | None:
    if len(data) < _HEAD:
        return None
    command, family = data[12], data[13] >> 4
    length = _HEAD + int.from_bytes(data[14:16], "big")
    if command not in {_LOCAL, _PROXY}:
        raise ValueError("the PROXY header has another version or command")
    if length > MAX_BYTES:
        raise ValueError("the PROXY header is too long")
    if len(data) < length:
        return None
    size = _LENGTHS.get(family)
    if command == _LOCAL or size is None:
        return Header(length, None)
    if length < _HEAD + 2 * size + 4:
        raise ValueError("the PROXY header is too short for its addresses")
    address = ipaddress.ip_address(data[_HEAD : _HEAD + size])
    return Header(length, str(address))
