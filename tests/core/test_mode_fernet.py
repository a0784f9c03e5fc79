"""Mode fernet: what an older service wrote is read, and never written."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from proxy.core.field import Mode
from proxy.core.reasons import Reason
from tests.cipher_builders import (
    FIELD,
    NEW,
    OLD,
    a_cipher,
    a_field,
    is_refused,
    not_encrypted,
)

VECTOR: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "fernet.json").read_text("utf-8")
)["cases"][0]


def token(text: str, root: bytes = OLD) -> str:
    """Encrypt as the older service did."""
    return Fernet(base64.urlsafe_b64encode(root)).encrypt(text.encode()).decode()


def test_the_published_token_is_read() -> None:
    """The specification's vector decrypts with its key as a root key."""
    root = base64.urlsafe_b64decode(VECTOR["secret"])
    ours = a_cipher(a_field("fernet"), roots=(root,))

    assert ours.decrypt(FIELD, f'"{VECTOR["token"]}"') == json.dumps(VECTOR["src"])


@pytest.mark.parametrize("text", ["", "Ada", "é😀", '"quoted"\n', "x" * 5000])
@pytest.mark.parametrize("root", [OLD, NEW], ids=["old key", "new key"])
def test_tokens_of_every_key_are_read(text: str, root: bytes) -> None:
    """A token names no key, so each one is tried."""
    ours = a_cipher(a_field("fernet"), roots=(NEW, OLD))

    assert json.loads(ours.decrypt(FIELD, f'"{token(text, root)}"')) == text


@pytest.mark.parametrize(
    ("kind", "sample"),
    [("committing", "Ada"), ("deterministic", "Ada"), ("mail", "ada@example.org")],
)
def test_another_mode_takes_over(kind: str, sample: str) -> None:
    """A field that lists fernet in reads decrypts tokens, and writes its own format."""
    field = a_field(kind, reads=frozenset({Mode.FERNET}))
    ours = a_cipher(field, roots=(OLD,))
    plain = ours.decrypt(FIELD, f'"{token(sample)}"')
    renewed = ours.encrypt(FIELD, plain)

    assert json.loads(plain) == sample
    assert not renewed.startswith('"gAAAA')
    assert ours.decrypt(FIELD, renewed) == plain


def test_tokens_from_a_client_are_refused() -> None:
    """A token is bound to no field, so a stolen one must not be sent in."""
    expected = Reason.CIPHERTEXT_IN_REQUEST, f"The field is {FIELD}."
    for field in (a_field("fernet"), a_field(reads=frozenset({Mode.FERNET}))):
        ours = a_cipher(field, roots=(OLD,))

        assert not_encrypted(ours, f'"{token("Ada")}"') == expected


def test_nothing_is_written() -> None:
    """A field of this mode is read-only, and says so."""
    expected = (
        Reason.FIELD_UNENCRYPTABLE,
        f"The field is {FIELD}: it is read-only.",
    )

    assert not_encrypted(a_cipher(a_field("fernet")), '"Ada"') == expected


def test_what_is_not_authentic_is_refused() -> None:
    """Another key and every changed character are noticed."""
    ours = a_cipher(a_field("fernet"), roots=(OLD,))
    good = token("Ada")
    changed = [
        f"{good[:at]}{'B' if good[at] == 'A' else 'A'}{good[at + 1 :]}"
        for at in range(10, len(good) - 3)
    ]

    assert is_refused(ours, f'"{token("Ada", NEW)}"')
    assert [one for one in changed if not is_refused(ours, f'"{one}"')] == []


@pytest.mark.parametrize("text", ["gAAAA", "gAAAAA", "gAAAAA" + "A" * 80, "Ada"])
def test_what_is_no_token_is_plaintext(text: str) -> None:
    """Shorter strings cannot be tokens, however they begin."""
    leaf = json.dumps(text)

    assert a_cipher(a_field("fernet")).decrypt(FIELD, leaf) is leaf
