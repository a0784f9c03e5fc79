"""Backends as values: how an address is shown."""

import pytest

from proxy.core.backends import Server


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (Server(host="lms", port=9000), "lms:9000"),
        (Server(host="::1", port=443, tls=True), "[::1]:443"),
        (Server(path="/run/lms.sock"), "unix:/run/lms.sock"),
    ],
    ids=["name", "IPv6", "unix"],
)
def test_addresses_are_shown_as_people_write_them(
    server: Server, expected: str
) -> None:
    """Metrics and logs name a server by what the policy has, without its scheme."""
    assert server.address == expected
