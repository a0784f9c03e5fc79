"""Lists of addresses: what is in them, however it is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.addresses import Addresses, AddressSet, parsed


def addresses(*networks: str) -> AddressSet:
    """Return a set of networks."""
    return AddressSet.of(map(ipaddress.ip_network, networks))


@pytest.mark.parametrize(
    ("networks", "client", "expected"),
    [
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.0", False),
        (("10.0.0.0/8",), "9.255.255.255", False),
        (("192.0.2.7",), "192.0.2.7", True),
        (("192.0.2.7",), "::ffff:192.0.2.7", True),
        (("::ffff:192.0.2.0/120",), "192.0.2.7", True),
        (("2001:db8::/32",), "2001:db8:1::1", True),
        (("2001:db8::/32",), "2001:db9::1", False),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"), "192.0.2.1", True),
        (("0.0.0.0/1",), "::1", False),
        (("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), "10.0.0.1.example", False),
        ((), "10.0.0.1", False),
    ],
)
def test_client_is_in_a_set_or_not(
    networks: tuple[str, ...], client: str, *, expected: bool
) -> None:
    """Networks of both families, addresses of both spellings, and what is none."""
    assert addresses(*networks).has(client) is expected


@given(
    st.lists(st.ip_addresses(network="10.0.0.0/28"), min_size=1, max_size=8),
    st.lists(st.integers(24, 32), min_size=8, max_size=8),
    st.ip_addresses(network="10.0.0.0/26"),
)
def test_laying_networks_together_changes_nothing(
    starts: list[ipaddress.IPv4Address], bits: list[int], asked: ipaddress.IPv4Address
) -> None:
    """An address is in the set if and only if it is in one of the networks."""
    networks = [
        ipaddress.ip_network((start, length), strict=False)
        for start, length in zip(starts, bits, strict=False)
    ]

    expected = any(asked in network for network in networks)
    assert AddressSet.of(networks).has(str(asked)) is expected


@pytest.mark.parametrize(
    ("allow", "deny", "client", "expected"),
    [
        (("10.0.0.0/8",), (), "10.0.0.1", True),
        (("10.0.0.0/8",), (), "192.0.2.1", False),
        ((), ("10.0.0.0/8",), "192.0.2.1", True),
        ((), ("10.0.0.0/8",), "10.0.0.1", False),
        (("10.0.0.0/8",), ("10.6.0.0/16",), "10.5.0.1", True),
        (("10.0.0.0/8",), ("10.6.0.0/16",), "10.6.0.1", False),
        (("10.6.0.1",), ("10.0.0.0/8",), "10.6.0.1", False),
        ((), ("10.0.0.0/8",), "", False),
        (("10.0.0.0/8",), (), "", False),
    ],
)
def test_deny_wins(
    allow: tuple[str, ...], deny: tuple[str, ...], client: str, *, expected: bool
) -> None:
    """However specific ``allow`` is; and nobody is admitted from nowhere."""
    both = Addresses(
        allow=addresses(*allow) if allow else None,
        deny=addresses(*deny) if deny else None,
    )

    assert both.admits(client) is expected


def test_sets_of_the_same_addresses_are_equal() -> None:
    """However their networks were written, and with a readable form."""
    assert addresses("10.0.0.0/9", "10.128.0.0/9") == addresses("10.0.0.0/8")
    assert parsed("10.0.0.1") == ipaddress.ip_address("10.0.0.1")
