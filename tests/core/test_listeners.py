"""Where the proxy listens, as frozen values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.listeners import DEFAULT_LISTENER, Address, Listener, moved


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address(host="127.0.0.1", port=8080)),
        (":80", Address(host="0.0.0.0", port=80)),  # noqa: S104 - what was asked for
        ("[::1]:65535", Address(host="::1", port=65_535)),
        ("unix:/run/lumina.sock", Address(path="/run/lumina.sock")),
    ],
    ids=["v4", "every", "v6", "unix"],
)
def test_address_is_read_and_written(text: str, address: Address) -> None:
    """What is written is read again as the same."""
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", "8080", "a:65536", "unix:", "unix:run", "unix:/a b", "[x]:1"),
        f"unix:/{'a' * 107}",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """Nothing is guessed from it."""
    with pytest.raises(ValueError, match=r"."):
        Address.parse(text)


@given(st.from_regex(r"unix:/[!-~]{1,106}", fullmatch=True))
def test_every_path_that_fits_is_one(text: str) -> None:
    """As long as the system takes it."""
    assert str(Address.parse(text)) == text


def test_a_reload_moves_no_listener() -> None:
    """It may change everything but where they listen, and how many there are."""
    main = Listener()
    egress = Listener(id="egress", address=Address(host="a", port=1))
    other = Listener(id="egress", address=Address(host="a", port=2))
    same = Listener(id="egress", address=egress.address, proxy_protocol=True)
    assert main.id == DEFAULT_LISTENER

    def said(*new: Listener) -> str:
        old = {"default": main, "egress": egress}
        return moved(old, {one.id: one for one in new})

    assert said(main, same) == ""
    assert said(main) == "the listener egress is no longer there"
    assert said(main, other) == "the listener egress listens elsewhere"
    assert said(main, egress, Listener(id="third")) == "the listener third is new"
