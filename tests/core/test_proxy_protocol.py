"""The PROXY protocol: the specification's own examples, and everything that is none."""

import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.proxy_protocol import (
    MAX_BYTES,
    MAX_V1,
    SIGNATURE,
    Header,
    read_header,
)


def version_2(command: int, family: int, payload: bytes) -> bytes:
    """Return a header of version 2 as section 2.2 lays it out."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(payload)) + payload


def tcp_4(source: str, tlvs: bytes = b"") -> bytes:
    """Return a header for TCP over IPv4."""
    packed = ipaddress.IPv4Address(source).packed
    return version_2(0x21, 0x11, packed + bytes(4) + b"\x00\x50\x01\xbb" + tlvs)


def tcp_6(source: str) -> bytes:
    """Return a header for TCP over IPv6."""
    packed = ipaddress.IPv6Address(source).packed
    return version_2(0x21, 0x21, packed + bytes(16) + b"\x00\x50\x01\xbb")


LONGEST = b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".replace(
    b"ffff:f...f:ffff", b"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
)
"""The worst case of section 2.1."""

GOOD = [
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:DB8:0::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
    (LONGEST, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::ffff ffff::ffff 65535 65535\r\n", None),
    (tcp_4("192.0.2.7"), "192.0.2.7"),
    (tcp_4("192.0.2.7", b"\x04\x00\x01x"), "192.0.2.7"),
    (tcp_6("2001:db8::7"), "2001:db8::7"),
    (version_2(0x20, 0x00, b""), None),
    (version_2(0x20, 0x11, b"\x01\x02"), None),
    (version_2(0x21, 0x00, b""), None),
    (version_2(0x21, 0x31, bytes(216)), None),
]
NAMES = [str(number) for number in range(len(GOOD))]


@pytest.mark.parametrize(
    "more", [b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"\n"], ids=str
)
@pytest.mark.parametrize(("data", "source"), GOOD, ids=NAMES)
def test_header_says_who_the_client_is(
    data: bytes, source: str | None, more: bytes
) -> None:
    """Or nobody; what follows it is left alone."""
    assert read_header(data + more) == Header(len(data), source)


@pytest.mark.parametrize(("data", "_"), GOOD, ids=NAMES)
def test_part_of_a_header_is_waited_for(data: bytes, _: str | None) -> None:
    """However many bytes of it have come."""
    assert [read_header(data[:end]) for end in range(len(data))] == [None] * len(data)


BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00",
    b"PROXY\tTCP4",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\n",
    b"PROXY TCP4 192.0.2.7  192.0.2.1 56324 443\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443 \r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 1 99999\r\n",
    b"PROXY TCP4 192.0.2.256 192.0.2.1 1 1\r\n",
    b"PROXY TCP4 192.0.2.1 192.0.2.01 1 1\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 1\r\n",
    b"PROXY TCP6 192.0.2.7 192.0.2.1 1 1\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY UDP4 192.0.2.7 192.0.2.1 1 1\r\n",
    b"PROXY UNKNOWN\x00\r\n",
    b"PROXY UNKNOWN " + b"x" * MAX_V1,
    b"PROXY UNKNOWN " + b"x" * MAX_V1 + b"\r\n",
    SIGNATURE[:11] + b"X",
    version_2(0x11, 0x11, bytes(12)),
    version_2(0x22, 0x11, bytes(12)),
    version_2(0x21, 0x11, bytes(11)),
    version_2(0x21, 0x21, bytes(35)),
    version_2(0x21, 0x11, bytes(MAX_BYTES)),
    SIGNATURE + struct.pack("!BBH", 0x21, 0x11, MAX_BYTES - 15),
]


@pytest.mark.parametrize("data", BAD, ids=[str(n) for n in range(len(BAD))])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    """And never taken for a client's first bytes, or a client's address."""
    with pytest.raises(ValueError, match=r"."):
        read_header(data)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(SIGNATURE.__add__))
@example(SIGNATURE)
@example(b"")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """A header is as long as it says and no longer than what has come."""
    try:
        header = read_header(data)
    except ValueError:
        return

    assert header is None or 0 < header.length <= len(data)


@given(st.binary(max_size=120), st.sampled_from(GOOD), st.integers(0, 60))
def test_a_header_that_is_cut_is_read_the_same_whole(
    more: bytes, good: tuple[bytes, str | None], at: int
) -> None:
    """What was refused or read of a part is refused or read of the whole."""
    data = good[0][:at] + more
    outcomes = []
    for part in (data[: len(data) // 2], data):
        try:
            outcomes.append(read_header(part))
        except ValueError:
            outcomes.append(Header(-1, None))

    assert outcomes[0] is None or outcomes[0] == outcomes[1]
