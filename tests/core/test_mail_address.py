"""Mail domains, and how much fits before them."""

import pytest

from proxy.core.mail_address import (
    capacity,
    complaint_about,
    is_address,
    is_below,
    length,
    read,
    write,
)


@pytest.mark.parametrize("domain", ["enc.lms.example", "a.co", "x1-2.example"])
def test_domains_that_will_do(domain: str) -> None:
    """Two or more labels in lower case are a mail domain."""
    assert complaint_about(domain) == ""


@pytest.mark.parametrize(
    ("domain", "complaint"),
    [
        ("example", "is not a domain"),
        ("Enc.example", "is not a domain"),
        ("enc.example.", "is not a domain"),
        (".example", "is not a domain"),
        ("enc..example", "is not a domain"),
        ("-enc.example", "is not a domain"),
        ("enc-.example", "is not a domain"),
        ("enc_.example", "is not a domain"),
        ("müller.example", "is not a domain"),
        ("10.0.0.1", "is not a domain"),
        (f"{'a' * 64}.example", "is not a domain"),
        ("xn--bcher-kva.example", "is internationalised"),
        ("enc.lms.invalid", "is below a special-use domain"),
        ("lms.local", "is below a special-use domain"),
        ("mail.test", "is below a special-use domain"),
        (".".join(["a" * 60] * 4) + ".co", "is too long"),
    ],
)
def test_domains_that_will_not(domain: str, complaint: str) -> None:
    """What backends refuse, or what leaves no room, is said at load."""
    assert complaint_about(domain).startswith(complaint)


@pytest.mark.parametrize("size", range(134))
def test_bytes_come_back(size: int) -> None:
    """Any number of bytes is one address and its own only reading."""
    sealed = bytes(range(16)) + bytes(size)
    address = write(7, sealed, "e.co")

    assert read(address, "e.co") == (7, sealed)
    assert len(address) == length(size, "e.co")
    assert is_address(address)
    assert max(map(len, address.replace("@", ".").split("."))) <= 64
    assert len(address.partition("@")[0]) <= 64


@pytest.mark.parametrize("characters", range(40, 260, 7))
def test_capacity_is_the_most_that_fits(characters: int) -> None:
    """One byte more than fits does not."""
    most = capacity("e.co", characters)

    assert most < 0 or length(most, "e.co") <= characters
    assert length(most + 1, "e.co") > characters


def test_not_every_length_holds_something() -> None:
    """Where not even an empty value fits, the capacity is -1."""
    assert capacity("enc.lms.example", 48) == -1
    assert capacity("enc.lms.example", 49) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a@enc.co", True),
        ("a@x.ENC.co", True),
        (" a@enc.co\n", True),
        ("enc.co", True),
        ("a@enc.co@evil.co", False),
        ("a@notenc.co", False),
        ("a@enc.co.evil", False),
        ("", False),
    ],
)
def test_what_is_below_a_domain(text: str, expected: bool) -> None:
    """Only the domain itself and its subdomains are; the last @ decides."""
    assert is_below(text, "enc.co") is expected


@pytest.mark.parametrize(
    "address",
    [
        "@e.co",
        "a@e.co",
        "e.co",
        "aaaaa1@e.co",
        "aaaaaé@e.co",
        "aaaa.aaaa@e.co",
        "aaaaaaaa@x.e.co",
        f"a{'a' * 63}a@e.co",
        f"a{'a' * 63}@{'a' * 64}.e.co",
        "aaaab@e.co",
        "aaaaa@e.co",
        "aaaa@e.co@e.co",
    ],
)
def test_what_write_never_returns_is_refused(address: str) -> None:
    """Other characters, other splits and bits to spare are not decoded."""
    with pytest.raises(ValueError, match="not the one spelling of its bytes"):
        read(address, "e.co")
