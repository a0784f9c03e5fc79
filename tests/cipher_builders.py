"""Fields and ciphers with readable defaults; a test overrides what it is about."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from proxy.core.cipher import NONCE_BYTES, Cipher
from proxy.core.ciphertext import looks_sealed
from proxy.core.errors import Refused
from proxy.core.field import Field, Mode, Step
from proxy.core.field_keys import Scope
from proxy.core.keyring import Lease
from proxy.core.keyset import Keyset
from proxy.core.masks import looks_masked
from proxy.core.reasons import Reason

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
FIELD = "user.name"
MAIL_DOMAIN = "enc.lms.example"

USUAL = frozenset({Step.STRIP, Step.NFC})

KINDS: dict[str, dict[str, Any]] = {
    "committing": {"mode": Mode.RANDOM},
    "compact": {"mode": Mode.RANDOM, "compact": True},
    "deterministic": {"mode": Mode.DETERMINISTIC, "normalise": USUAL},
    "mail": {
        "mode": Mode.DETERMINISTIC,
        "mail_domain": MAIL_DOMAIN,
        "normalise": USUAL | {Step.LOWER},
    },
    "digits": {"mode": Mode.DIGITS},
    "pepper": {"mode": Mode.PEPPER},
    "fernet": {"mode": Mode.FERNET},
}
"""Every way to encrypt a field, by a name for tests."""

SAMPLES = {
    "committing": '"Ada Lovelace"',
    "compact": '"Ada Lovelace"',
    "deterministic": '"Ada Lovelace"',
    "mail": '"ada@example.org"',
    "digits": '"0301234567"',
}
"""A value for each kind that encrypts and decrypts."""


def no_client_sends(value: object) -> bool:
    """Tell whether a value is refused before it is encrypted."""
    return isinstance(value, str) and (looks_sealed(value) or looks_masked(value))


def texts(max_size: int | None = None) -> st.SearchStrategy[str]:
    """Return strings that a client may send."""
    return st.text(max_size=max_size).filter(lambda text: not no_client_sends(text))


def nonces() -> Callable[[], bytes]:
    """Return a source of nonces that counts."""
    return (n.to_bytes(NONCE_BYTES, "big") for n in itertools.count()).__next__


def a_field(kind: str = "committing", name: str = FIELD, **more: Any) -> Field:
    """Build a field of one kind."""
    return Field(id=name, **{**KINDS[kind], **more})


def a_cipher(
    *fields: Field,
    roots: tuple[bytes, ...] = (NEW,),
    deployment: str = "lms",
    tenant: str = "",
    nonce: Callable[[], bytes] | None = None,
    lease: Lease | None = None,
    known: Callable[[int], bool] = lambda _: False,
) -> Cipher:
    """Build a cipher; the first key encrypts."""
    by_name = {field.id: field for field in fields or (a_field(),)}
    scope = Scope(deployment, tenant)
    return Cipher(
        Keyset(list(roots)),
        scope,
        by_name,
        nonce or nonces(),
        lease=lease,
        known=known,
    )


def not_encrypted(cipher: Cipher, leaf: str, field: str = FIELD) -> tuple[Reason, str]:
    """Return the reason and detail of a leaf that must not be encrypted."""
    with pytest.raises(Refused) as caught:
        cipher.encrypt(field, leaf)
    return caught.value.reason, caught.value.detail


def is_refused(cipher: Cipher, leaf: str, field: str = FIELD) -> bool:
    """Tell whether a leaf does not decrypt, with the one refusal there is."""
    try:
        cipher.decrypt(field, leaf)
    except Refused as refused:
        detail = f"The field is {field}."
        return (refused.reason, refused.detail) == (Reason.FIELD_UNDECRYPTABLE, detail)
    return False
