"""Where a request came from: who is believed, and what the backend is told."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.forwarding import (
    client_address,
    client_of,
    forwarded_lines,
    is_trusted,
    request_id_of,
)
from proxy.core.headers import examine
from proxy.core.message import RawHeaders, Request


def raw(*lines: tuple[str, str]) -> RawHeaders:
    """Return field lines as the parser gives them."""
    return [
        (name.lower().encode(), name.encode(), value.encode("latin-1"))
        for name, value in lines
    ]


TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (None, "10.0.0.1"),
        (b"", "10.0.0.1"),
        (b"1.2.3.4", "1.2.3.4"),
        (b"6.6.6.6, 1.2.3.4", "1.2.3.4"),
        (b"6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        (b"1.2.3.4, garbage, 10.0.0.2", "10.0.0.2"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (b"2001:DB8::1, fd00::1", "2001:db8::1"),
        (b"\xff", "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_that_is_not_trusted(
    chain: bytes | None, client: str
) -> None:
    """X-Forwarded-For is walked from the right; what cannot be read ends the walk."""
    assert client_address("10.0.0.1", trusted=TRUSTED, forwarded_for=chain) == client


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("11.0.0.1", False), ("", False), ("fd00::2", True)],
)
def test_trust_is_by_network(address: str, *, trusted: bool) -> None:
    """A unix socket's peer has no address and is not trusted."""
    assert is_trusted(address, TRUSTED) is trusted


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (False, "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: http\r\n"),
        (True, "X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\nX-Forwarded-Proto: https\r\n"),
    ],
)
def test_the_backend_is_told_what_can_be_believed(
    expected: str, *, trusted: bool
) -> None:
    """The chain of a trusted peer is continued, that of another replaced."""
    headers = examine(
        raw(
            ("Host", "a"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("X-Forwarded-Proto", "https"),
        ),
        "1.1",
    )
    request = Request("GET", "/", "1.1", [], peer="9.9.9.9", peer_trusted=trusted)

    assert forwarded_lines(headers, request, "r-1").decode() == (
        expected + "X-Forwarded-Host: a\r\nX-Request-ID: r-1\r\n"
    )


@pytest.mark.parametrize(
    ("sent", "trusted", "expected"),
    [
        (b"abc-1", True, "abc-1"),
        (b"abc-1", False, ""),
        (b"a b", True, ""),
        (b"x" * 129, True, ""),
        (None, True, ""),
    ],
)
def test_a_request_id_is_taken_from_trusted_peers(
    sent: bytes | None, expected: str, *, trusted: bool
) -> None:
    """And only when it is one."""
    noted = {} if sent is None else {b"x-request-id": sent}

    assert request_id_of(noted, trusted=trusted) == expected


@pytest.mark.parametrize("proto", ["HTTPS", "https, http", "wss", ""])
def test_only_https_is_passed_on_as_a_scheme(proto: str) -> None:
    """Whatever else a trusted peer says of it was http."""
    headers = examine(raw(("Host", "a"), ("X-Forwarded-Proto", proto)), "1.1")
    request = Request("GET", "/", "1.1", [], peer="10.0.0.1", peer_trusted=True)

    assert b"X-Forwarded-Proto: http\r\n" in forwarded_lines(headers, request, "r-1")


@given(
    st.lists(st.ip_addresses().map(str) | st.text(max_size=6), max_size=5),
    st.binary(max_size=40),
)
def test_client_is_the_peer_or_an_address_of_the_chain(
    hops: list[str], noise: bytes
) -> None:
    """Never a text that is no address, and nothing left of one that is not trusted."""
    for chain in (noise, ", ".join(hops).encode()):
        client = client_address("10.0.0.1", trusted=TRUSTED, forwarded_for=chain)
        assert str(ipaddress.ip_address(client)) == client

    behind = ", ".join([*hops, "192.0.2.1", "10.0.0.2"]).encode()
    client = client_address("10.0.0.1", trusted=TRUSTED, forwarded_for=behind)
    assert client == "192.0.2.1"


@pytest.mark.parametrize(
    ("peer", "trusted", "expected"),
    [("192.0.2.1", False, "192.0.2.1"), ("10.0.0.1", True, "203.0.113.7")],
)
def test_client_is_whom_a_trusted_peer_names(
    peer: str, *, trusted: bool, expected: str
) -> None:
    """And of everybody else the peer itself."""
    lines = raw(("Host", "a"), ("X-Forwarded-For", "203.0.113.7"))
    request = Request("GET", "/", "1.1", lines, peer=peer, peer_trusted=trusted)

    assert client_of(request, examine(lines, "1.1"), TRUSTED) == expected
