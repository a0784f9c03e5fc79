"""The keystore's document: what it says, and that nobody changes what it says."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.key_records import (
    Census,
    Document,
    KeyState,
    KeystoreError,
    key_context,
    read,
    seal_context,
    write,
)
from tests.keystore_builders import NAME, ROOTS, SEAL, a_document, a_record

FULL = a_document(
    a_record(lookups=True),
    a_record(ROOTS[1], KeyState.PENDING, version=2),
    a_record(ROOTS[2], KeyState.DESTROYED, tenant="north é"),
    revision=7,
    rotate_after=0.0,
    rotate_at=2**32,
    census=Census(at=5, values={1: 2, 0xFFFFFFFF: 0}, source="a dump"),
)


@pytest.mark.parametrize("document", [a_document(), FULL], ids=["empty", "full"])
def test_a_document_comes_back(document: Document) -> None:
    """What was written is read, and verifies under the same key only."""
    found, unverified = read(write(document, SEAL))
    unverified.verify(SEAL)

    assert found == document
    with pytest.raises(KeystoreError, match="changed by somebody who does not have"):
        unverified.verify(bytes(32))


@given(st.data())
def test_no_change_goes_unnoticed(data: st.DataObject) -> None:
    """Whatever character is changed, the document is damaged or does not verify."""
    text = write(FULL, SEAL)
    at = data.draw(st.integers(0, len(text) - 2))
    other = data.draw(st.integers(32, 126).filter(lambda one: one != text[at]))
    changed = text[:at] + bytes((other,)) + text[at + 1 :]
    try:
        same = json.loads(changed) == json.loads(text)
    except ValueError:
        same = False
    if not same:  # white space may be another
        with pytest.raises(KeystoreError):
            read(changed)[1].verify(SEAL)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "damaged"),
        (b"[]", "damaged"),
        (b"{}", "damaged"),
        (b'{"mac": "", "format": "lumina-keystore-2"}', "another version"),
        (write(FULL, SEAL).replace(b'"pending"', b'"waiting"'), "damaged"),
        (write(FULL, SEAL).replace(b'"revision": 7', b'"revision": "x"'), "damaged"),
    ],
    ids=["empty", "list", "no members", "version", "state", "number"],
)
def test_what_is_no_document_is_said(text: bytes, sentence: str) -> None:
    """In a sentence, whatever is wrong with it."""
    with pytest.raises(KeystoreError, match=sentence):
        read(text)


def test_contexts_bind_a_key_to_its_place() -> None:
    """Keystore, tenant, version, id and time: any other one is another context."""
    places = [
        key_context(name, a_record(root, tenant=tenant, version=n, created=at))
        for name in (NAME, "x")
        for root in ROOTS[:2]
        for tenant in ("", "north")
        for n in (1, 2)
        for at in (1, 2)
    ]
    places += [seal_context(NAME), seal_context("x")]

    assert len(set(places)) == len(places)


def test_keys_are_found_by_their_names() -> None:
    """A key that is not there is explained with those that are."""
    record = FULL.keys[1]

    assert FULL.key(record.id) is record
    assert record.name == f"{record.id:08x}"
    with pytest.raises(KeystoreError, match=f"no key 00000000; .*{record.name}"):
        FULL.key(0)


def test_tenants_come_with_the_shared_one_first() -> None:
    """And each with its keys, oldest first."""
    assert FULL.tenants == ("", "north é")
    assert FULL.of("") == FULL.keys[:2]
    assert FULL.of("nowhere") == ()


def test_states_that_decrypt() -> None:
    """A key that is still pending is read already."""
    assert [state.value for state in KeyState if state.decrypts] == [
        *("pending", "primary", "active")
    ]
