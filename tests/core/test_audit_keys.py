"""What binds the audit log is found by whoever has the keys, and never shown."""

import pytest

from proxy.core.audit_keys import audit_keys

FIRST = "A" * 43
SECOND = "B" * 42 + "A"


def test_key_of_its_own_comes_first() -> None:
    """AUDIT_KEY is used as it is, padded or not, whatever the encryption key is."""
    [key] = audit_keys(FIRST, "no key at all")

    assert key.secret == bytes(32)
    assert audit_keys(f"{FIRST}=", "") == [key]


def test_every_encryption_key_has_one() -> None:
    """Lines that were bound before a rotation are verified after it."""
    old, new = audit_keys("", FIRST), audit_keys("", f"{SECOND},{FIRST}")

    assert len(new) == 2
    assert new[1:] == old
    assert new[0].id != new[1].id


def test_derived_key_is_not_the_encryption_key() -> None:
    """Whoever may verify cannot decrypt."""
    [key] = audit_keys("", FIRST)

    assert len(key.secret) == 32
    assert key.secret != bytes(32)


@pytest.mark.parametrize("text", ["x", "A" * 42, "A" * 44, "!" * 43])
def test_other_texts_are_refused(text: str) -> None:
    """What is no key is told, and not shown."""
    with pytest.raises(ValueError, match="URL-safe base64") as caught:
        audit_keys(text, FIRST)

    assert str(caught.value) == "AUDIT_KEY is not 32 bytes in URL-safe base64"


def test_missing_keys_are_told() -> None:
    """Without either key nothing can be bound."""
    with pytest.raises(ValueError, match="ENCRYPTION_KEY: "):
        audit_keys("", "")
