"""What a keystore's document opens to: which keys a tenant has, and what each does."""

import dataclasses

import pytest

from proxy.core.key_records import Document, KeyRecord, KeyState, KeystoreError
from proxy.core.keyring import Keyring, Lease, keyring_from_document
from proxy.core.keyset import Keyset, key_id_of
from tests.keystore_builders import ROOTS, a_document, a_record

SHARED, NEXT, NORTH, SOUTH = ROOTS[:4]
KEYS = {key_id_of(root): root for root in ROOTS}


def ring(*records: KeyRecord, legacy: Keyset | None = None) -> Keyring:
    """Return the keyring of a document with these keys."""
    return keyring_from_document(a_document(*records), KEYS, legacy)


def keyset(made: Keyring, tenant: str) -> Keyset:
    """Return a tenant's keyset, which is there."""
    found = made.of(tenant)
    assert found
    return found


def test_the_primary_key_encrypts_and_others_decrypt() -> None:
    """Pending and active keys are read; disabled and destroyed ones are not there."""
    made = ring(
        a_record(ROOTS[0], KeyState.ACTIVE, lookups=True),
        a_record(ROOTS[1], KeyState.PRIMARY, version=2),
        a_record(ROOTS[2], KeyState.PENDING, version=3),
        a_record(ROOTS[3], KeyState.DISABLED, version=4),
        a_record(ROOTS[4], KeyState.DESTROYED, version=5),
    )

    assert made.shared.primary == key_id_of(ROOTS[1])
    assert made.shared.lookups == key_id_of(ROOTS[0])
    assert made.shared.encrypts
    assert set(made.shared.key_ids) == {key_id_of(root) for root in ROOTS[:3]}
    assert [made.has(key_id_of(root)) for root in ROOTS] == [True] * 3 + [False] * 3


def test_a_tenant_reads_what_all_share() -> None:
    """Its own keys come first; the shared ones only read what is shared."""
    made = ring(a_record(SHARED), a_record(NORTH, tenant="north", lookups=True))
    north = keyset(made, "north")

    assert north.key_ids == (key_id_of(NORTH), key_id_of(SHARED))
    assert north.shared == {key_id_of(SHARED)}
    assert north.lookups == key_id_of(NORTH)
    assert made.has(key_id_of(NORTH))
    assert keyset(made, "") is made.shared


def test_a_tenant_without_keys_has_none() -> None:
    """With a keystore nothing is made up."""
    gone = a_record(SOUTH, KeyState.DESTROYED, tenant="south")

    assert ring(a_record(SHARED), gone).of("south") is None
    assert ring(a_record(SHARED), gone).of("nowhere") is None


def test_a_first_key_that_is_pending_reads_and_does_not_write() -> None:
    """Until every replica knows it."""
    pending = a_record(NORTH, KeyState.PENDING, tenant="north")

    assert not keyset(ring(a_record(SHARED), pending), "north").encrypts


def test_without_a_keystore_keys_are_derived() -> None:
    """Each tenant has keys of its own, the same on every replica."""
    made = Keyring(Keyset([SHARED, NEXT]))
    north, again, south = (
        keyset(made, one).key_ids for one in ("north", "north", "south")
    )

    assert north == again
    assert set(north) & set(south) == set(made.shared.key_ids)
    assert made.has(key_id_of(NEXT))
    assert not made.has(key_id_of(NORTH))


def test_keys_of_before_go_on_reading() -> None:
    """ENCRYPTION_KEY beside a keystore decrypts, adopted or not."""
    adopted = ring(a_record(SHARED), legacy=Keyset([SHARED, NEXT]))

    assert adopted.shared.key_ids == (key_id_of(SHARED), key_id_of(NEXT))
    assert adopted.shared.primary == key_id_of(SHARED)


@pytest.mark.parametrize("state", [None, KeyState.PENDING], ids=str)
def test_nothing_is_served_without_a_shared_primary(state: KeyState | None) -> None:
    """It is said in a sentence."""
    records = [a_record(SHARED, state)] if state else []
    with pytest.raises(KeystoreError, match="no primary key that all tenants share"):
        ring(*records)


def test_a_key_that_is_another_is_refused() -> None:
    """An id is made of its key, so a mix-up shows."""
    wrong: Document = a_document(dataclasses.replace(a_record(SHARED), id=7))
    with pytest.raises(KeystoreError, match="00000007 is another than its id says"):
        keyring_from_document(wrong, {7: SHARED})


def test_a_keyring_shows_nothing() -> None:
    """Neither in its repr nor in its attributes by name."""
    made = ring(a_record(SHARED))

    assert repr(made) == "<Keyring>"
    assert not hasattr(made, "__dict__")


def test_a_lease_holds_until_it_is_ended() -> None:
    """Whoever keeps the keys ends it."""
    lease = Lease()
    assert lease.valid
    lease.valid = False

    assert not lease.valid
