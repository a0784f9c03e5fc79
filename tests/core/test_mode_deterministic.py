"""Mode deterministic: equality, normalisation, lengths, and the shape of addresses."""

import base64
import itertools
import json
import re
from typing import Any

import django.conf
import pytest
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from email_validator import validate_email
from hypothesis import given
from hypothesis import strategies as st
from pydantic import EmailStr, TypeAdapter

from proxy.core import mail_address
from proxy.core.field import Step
from proxy.core.mode_deterministic import ciphertext_length
from proxy.core.reasons import Reason
from tests.cipher_builders import (
    FIELD,
    MAIL_DOMAIN,
    a_cipher,
    a_field,
    is_refused,
    not_encrypted,
    texts,
)

UNENCRYPTABLE = Reason.FIELD_UNENCRYPTABLE


def sealed(text: str, kind: str = "deterministic", **more: Any) -> str:
    """Return the ciphertext of a string."""
    return a_cipher(a_field(kind, **more)).encrypt_text(FIELD, text)


# Equality.


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ada", "Ada"),
        ("Ada", " Ada\t"),
        ("\u00e9", "e\u0301"),
        ("\u212b", "\u00c5"),
    ],
    ids=["same", "white space", "composed", "angstrom"],
)
def test_equal_values_have_equal_ciphertexts(one: str, other: str) -> None:
    """What is the same after normalising is the same in the store."""
    assert sealed(one) == sealed(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ada", "ada"), ("Ada", "Ada1"), ("\u00e9", "e"), ("a b", "a  b"), ("", "\u200b")],
)
def test_other_values_have_other_ciphertexts(one: str, other: str) -> None:
    """Nothing else is the same; case counts unless the policy says otherwise."""
    assert sealed(one) != sealed(other)


@given(one=texts(max_size=8), other=texts(max_size=8))
def test_ciphertexts_are_equal_exactly_when_values_are(one: str, other: str) -> None:
    """Equality is kept both ways when nothing is normalised."""
    as_sent: frozenset[Step] = frozenset()

    assert (sealed(one, normalise=as_sent) == sealed(other, normalise=as_sent)) is (
        one == other
    )


@pytest.mark.parametrize(
    ("steps", "text", "expected"),
    [
        (frozenset({Step.LOWER}), "Ada ß", "ada ß"),
        (frozenset({Step.CASEFOLD}), "Ada ß", "ada ss"),
        (frozenset({Step.STRIP}), " Ada ", "Ada"),
        (frozenset(), " Ada ", " Ada "),
    ],
)
def test_a_value_comes_back_normalised(
    steps: frozenset[Step], text: str, expected: str
) -> None:
    """What was normalised away is lost, and documented to be."""
    ours = a_cipher(a_field("deterministic", normalise=steps))

    assert json.loads(ours.decrypt(FIELD, ours.encrypt(FIELD, json.dumps(text)))) == (
        expected
    )


@pytest.mark.parametrize("leaf", ["true", "false"])
def test_truth_values_are_refused_unless_accepted(leaf: str) -> None:
    """Two values that are told apart are no secret."""
    reason, detail = not_encrypted(a_cipher(a_field("deterministic")), leaf)
    accepted = a_cipher(a_field("deterministic", accept_leakage=True))

    assert reason is UNENCRYPTABLE
    assert "true and false would be told apart" in detail
    assert accepted.decrypt(FIELD, accepted.encrypt(FIELD, leaf)) == leaf


def test_white_space_hides_no_ciphertext() -> None:
    """What is a ciphertext once normalised is refused, too."""
    stolen = sealed("Ada")

    for text in (f" {stolen}", f"{stolen}\n", f"\u2003{stolen}"):
        reason, _ = not_encrypted(a_cipher(a_field("deterministic")), json.dumps(text))
        assert reason is Reason.CIPHERTEXT_IN_REQUEST


@given(text=texts(max_size=300))
def test_the_length_is_known_beforehand(text: str) -> None:
    """A ciphertext is exactly as long as was said."""
    length = ciphertext_length(len(text.encode()))

    assert len(sealed(text, normalise=frozenset())) == length


# The shape of an e-mail address.

# The pattern of <input type=email>, HTML Living Standard section 4.10.5.1.5.
_HTML5 = re.compile(
    r"^[a-zA-Z0-9.!#$%&'*+\/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$"
)

_pydantic = TypeAdapter(EmailStr)


@pytest.fixture(scope="module", autouse=True)
def django_settings() -> None:
    """Django formats its messages, for which it wants settings."""
    if not django.conf.settings.configured:
        django.conf.settings.configure()


def passes_all_checks(address: str) -> bool:
    """Hold an address against what backends check with, the real libraries."""
    EmailValidator()(address)
    checked = validate_email(address, check_deliverability=False)
    assert checked.normalized == address
    assert _pydantic.validate_python(address) == address
    return _HTML5.match(address) is not None and len(address) <= 254


def an_address(length: int) -> str:
    """Return an e-mail address of so many characters."""
    local = "a" * min(64, length - 12)
    return f"{local}@{'b' * (length - len(local) - 9)}.example"


@pytest.mark.parametrize("length", [*range(13, 60), 63, 64, 65, 90, 100, 120, 126])
@pytest.mark.parametrize("domain", [MAIL_DOMAIN, "e.co", "1-x.m-2.museum"])
def test_ciphertexts_pass_the_checks_of_backends(length: int, domain: str) -> None:
    """Django, email-validator, HTML and pydantic take them, in every case."""
    plain = an_address(length)
    ours = a_cipher(a_field("mail", mail_domain=domain))
    address = ours.encrypt_text(FIELD, plain)

    assert passes_all_checks(address)
    assert address == address.strip().lower()
    for spelling in (address, address.upper(), address.title()):
        assert ours.decrypt(FIELD, json.dumps(spelling)) == json.dumps(plain)


@pytest.mark.parametrize(
    "address", ["a@b", "a@-b.example", "a..b@c.example", "a@b.local"]
)
def test_the_checks_can_fail(address: str) -> None:
    """What is no address fails at least one of the checks used here."""
    with pytest.raises((ValidationError, ValueError)):
        passes_all_checks(address)


@given(
    text=st.from_regex(
        r"[a-z0-9]{1,20}(\.[a-z0-9]{1,8})?@([a-z0-9]{1,12}\.){1,3}[a-z]{2,8}",
        fullmatch=True,
    )
)
def test_any_address_comes_back(text: str) -> None:
    """Random addresses encrypt to addresses that pass, and decrypt to themselves."""
    ours = a_cipher(a_field("mail"))
    address = ours.encrypt_text(FIELD, text)

    assert passes_all_checks(address)
    assert len(address) == mail_address.length(len(text), MAIL_DOMAIN)
    assert json.loads(ours.decrypt(FIELD, json.dumps(address))) == text


@pytest.mark.parametrize("domain", ["e.co", MAIL_DOMAIN, f"{'d' * 60}.{'e' * 60}.co"])
def test_the_longest_address_fits(domain: str) -> None:
    """As many bytes as fit do, and one more would be too long."""
    most = mail_address.capacity(domain, 254)

    assert mail_address.length(most, domain) <= 254
    assert mail_address.length(most + 1, domain) > 254
    ours = a_cipher(a_field("mail", mail_domain=domain, max_bytes=most))
    assert passes_all_checks(ours.encrypt_text(FIELD, an_address(most)))
    reason, detail = not_encrypted(ours, json.dumps(an_address(most + 1)))
    assert (reason, detail.endswith(f"at most {most} bytes fit.")) == (
        UNENCRYPTABLE,
        True,
    )


def test_an_address_means_the_same_in_any_case() -> None:
    """Look-ups, logins and uniqueness do not depend on how a person types."""
    spellings = ["ada@example.org", " ADA@Example.org", "ada@EXAMPLE.ORG\n"]

    assert len({sealed(one, "mail") for one in spellings}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "a b@example.org",
        "ada@exa mple.org",
        "a@b@example.org",
        "ada@example..org",
        ".ada@example.org",
        "ada.@example.org",
        "a..b@example.org",
        "ada@-example.org",
        "ada@example-.org",
        '"ada"@example.org',
        "ada@[127.0.0.1]",
        "ada@example.org,bob@example.org",
        "Ada <ada@example.org>",
        "ada@example.org\x00",
        "ada\u0000@example.org",
        "ada@exam_ple.org",
        f"{'a' * 245}@b.example",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The backend cannot judge any more, so nothing passes that it would refuse."""
    ours = a_cipher(a_field("mail"))
    reason, detail = not_encrypted(ours, json.dumps(text))

    assert reason is UNENCRYPTABLE
    assert detail == f"The field is {FIELD}: this is not an e-mail address."


@pytest.mark.parametrize("leaf", ["1", "true", "[]", '["ada@example.org"]', "{}"])
def test_other_types_are_no_address(leaf: str) -> None:
    """An address is a string."""
    assert not_encrypted(a_cipher(a_field("mail")), leaf)[0] is UNENCRYPTABLE


@pytest.mark.parametrize(
    "text", ["jörg@müller.example", "ада@пример.example", "a+b@c.co"]
)
def test_addresses_of_other_scripts_are_taken(text: str) -> None:
    """RFC 6531 addresses and tags are addresses; their ciphertexts are ASCII."""
    assert passes_all_checks(sealed(text, "mail"))


@pytest.mark.parametrize(
    "address",
    [
        f"ada@{MAIL_DOMAIN}",
        f"ada@x.{MAIL_DOMAIN}",
        f" ADA@{MAIL_DOMAIN.upper()} ",
    ],
)
def test_addresses_of_the_mail_domain_are_refused(address: str) -> None:
    """Nobody registers somebody else's ciphertext as an address of his own."""
    reason, _ = not_encrypted(a_cipher(a_field("mail")), json.dumps(address))

    assert reason is Reason.CIPHERTEXT_IN_REQUEST


def test_every_changed_character_of_an_address_is_noticed() -> None:
    """No letter of local part or labels can be changed, dropped or moved."""
    ours = a_cipher(a_field("mail"))
    address = ours.encrypt_text(FIELD, an_address(40))
    own = address.removesuffix(MAIL_DOMAIN)
    changed = {
        own[:at] + other + own[at + 1 :]
        for at, other in itertools.product(range(len(own)), "abcz234567.@")
        if own[at] not in ".@" and other != own[at]
    }
    changed |= {own[:at] + own[at + 1 :] for at in range(len(own) - 1)}
    changed |= {own.replace("@", ""), own.replace("@", "@a."), "a" + own, ".@" + own}

    for one in changed:
        if mail_address.is_below(one + MAIL_DOMAIN, MAIL_DOMAIN):
            assert is_refused(ours, json.dumps(one + MAIL_DOMAIN)), one


@pytest.mark.parametrize(
    "address", ["ada@example.org", "ada@notenc.lms.example", f"ada@{MAIL_DOMAIN}.org"]
)
def test_other_addresses_are_plaintext(address: str) -> None:
    """What is stored at another domain was stored before the proxy came."""
    leaf = json.dumps(address)

    assert a_cipher(a_field("mail")).decrypt(FIELD, leaf) is leaf


def test_an_empty_address_stays_empty() -> None:
    """A backend that says "not set" with one goes on doing so, blank ones too."""
    ours = a_cipher(a_field("mail"))

    assert ours.encrypt(FIELD, '""') == ours.encrypt(FIELD, '"  "') == '""'


def test_normalising_makes_no_address_of_the_mail_domain() -> None:
    """What becomes one by folding case is refused as what was sent so."""
    field = a_field("mail", normalise=frozenset({Step.CASEFOLD}))
    address = f"ada@{MAIL_DOMAIN}".replace("s", "\u017f")  # which folds to s

    reason, _ = not_encrypted(a_cipher(field), json.dumps(address))
    assert reason is Reason.CIPHERTEXT_IN_REQUEST


def test_other_formats_are_not_of_this_mode() -> None:
    """What it did not write is plaintext, and another suite is refused."""
    ours = a_cipher(a_field("deterministic"))
    stored = ours.encrypt(FIELD, '"Ada"')
    message = base64.urlsafe_b64decode(stored[5:-1] + "==")
    other = base64.urlsafe_b64encode(message[:1] + b"\x09" + message[2:])

    assert ours.decrypt(FIELD, '"Ada"') == '"Ada"'
    assert is_refused(ours, f'"lm1d{other.decode().rstrip("=")}"')
