"""The ciphers of tenants: who reads whose values, and who has no keys."""

import pytest

from proxy.core.ciphers import MAX_TENANTS, Ciphers
from proxy.core.errors import Refused
from proxy.core.field import Field
from proxy.core.key_records import KeyRecord, KeyState
from proxy.core.keyring import Keyring, Lease, keyring_from_document
from proxy.core.keyset import Keyset, key_id_of
from proxy.core.reasons import Reason
from proxy.core.undecryptable import Failure, Undecryptable
from tests.cipher_builders import FIELD, NEW, OLD, SAMPLES, a_field, nonces
from tests.keystore_builders import ROOTS, a_document, a_record

KEYS = {key_id_of(root): root for root in ROOTS}
KINDS = ["committing", "compact", "deterministic", "mail"]


def ciphers_of(keyring: Keyring, *fields: Field, **more: object) -> Ciphers:
    """Build the ciphers of a keyring."""
    known = {field.id: field for field in fields or (a_field(),)}
    return Ciphers(keyring, "lms", known, nonces(), **more)  # type: ignore[arg-type]


def stored_keys() -> Keyring:
    """Return the keyring of a keystore with two tenants, and a third that waits."""
    return keyring_from_document(
        a_document(
            a_record(ROOTS[0], lookups=True),
            a_record(ROOTS[1], tenant="north", lookups=True),
            a_record(ROOTS[2], tenant="south", lookups=True),
            a_record(ROOTS[3], KeyState.PENDING, tenant="east", lookups=True),
        ),
        KEYS,
    )


KEYRINGS = {"derived": Keyring(Keyset([NEW])), "stored": stored_keys()}


def failure(ciphers: Ciphers, tenant: str, leaf: str) -> Failure | None:
    """Return why a leaf does not decrypt for a tenant; None if it does."""
    try:
        ciphers.of(tenant).decrypt(FIELD, leaf)
    except Undecryptable as refused:
        return refused.failure
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keyring", KEYRINGS.values(), ids=KEYRINGS)
def test_a_tenant_reads_its_own_values_and_shared_ones(
    keyring: Keyring, kind: str
) -> None:
    """And no other tenant's; nobody else reads its own."""
    ciphers = ciphers_of(keyring, a_field(kind))
    tenants = ("", "north", "south")
    for owner in tenants:
        leaf = ciphers.of(owner).encrypt(FIELD, SAMPLES[kind])
        readers = {one for one in tenants if failure(ciphers, one, leaf) is None}

        assert readers == (set(tenants) if owner == "" else {owner})


def test_another_tenants_value_is_in_the_wrong_place() -> None:
    """With a keystore it is known whose key it is: wrong-context, not unknown-key."""
    ciphers = ciphers_of(stored_keys())
    leaf = ciphers.of("north").encrypt(FIELD, '"Ada"')

    assert failure(ciphers, "south", leaf) is Failure.WRONG_CONTEXT


def test_a_key_that_nobody_has_is_missed() -> None:
    """And whoever keeps the keys is told its id."""
    missed: list[int] = []
    ciphers = ciphers_of(stored_keys(), missed=missed.append)
    stranger = ciphers_of(Keyring(Keyset([OLD])))
    leaf = stranger.of("").encrypt(FIELD, '"Ada"')

    assert failure(ciphers, "north", leaf) is Failure.UNKNOWN_KEY
    assert missed == [Keyset([OLD]).primary]


def test_a_tenant_without_keys_is_not_served() -> None:
    """Nothing is made up for a claim that nobody provided for."""
    with pytest.raises(Refused) as caught:
        ciphers_of(stored_keys()).of("nowhere")

    assert caught.value.reason is Reason.KEYS_UNAVAILABLE


def test_a_tenant_whose_key_waits_reads_and_does_not_write() -> None:
    """Until every replica knows the key."""
    east = ciphers_of(stored_keys()).of("east")
    shared = ciphers_of(stored_keys()).of("").encrypt(FIELD, '"Ada"')
    with pytest.raises(Refused) as caught:
        east.encrypt(FIELD, '"Ada"')

    assert caught.value.reason is Reason.KEYS_UNAVAILABLE
    assert east.decrypt(FIELD, shared) == '"Ada"'


def test_the_lease_holds_for_every_tenant() -> None:
    """When it ends, nobody encrypts."""
    lease = Lease()
    ciphers = ciphers_of(stored_keys(), lease=lease)
    made = [ciphers.of(one) for one in ("", "north")]
    lease.valid = False
    for cipher in (*made, ciphers.of("south")):
        with pytest.raises(Refused):
            cipher.encrypt(FIELD, '"Ada"')


@pytest.mark.parametrize("keyring", KEYRINGS.values(), ids=KEYRINGS)
def test_a_shared_field_has_one_ciphertext(keyring: Keyring) -> None:
    """Whoever asks, also without a token: so that a log-in finds it."""
    field = a_field("deterministic", shared=True)
    ciphers = ciphers_of(keyring, field)
    stored = {ciphers.of(one).encrypt(FIELD, '"ada"') for one in ("", "north", "south")}

    assert len(stored) == 1


def test_ciphers_are_remembered_up_to_a_bound() -> None:
    """Claims of ever new tenants fill no memory."""
    ciphers = ciphers_of(Keyring(Keyset([NEW])))
    first = ciphers.of("0")
    assert ciphers.of("0") is first
    for n in range(MAX_TENANTS):
        ciphers.of(str(n))

    assert ciphers.of("0") is first
    assert len(ciphers._tenants) <= MAX_TENANTS
    ciphers.of("one more")
    assert ciphers.of("0") is not first


def test_ciphers_show_nothing() -> None:
    """Neither in their repr nor in attributes by name."""
    ciphers = ciphers_of(Keyring(Keyset([NEW])))

    assert repr(ciphers) == "<Ciphers>"
    assert not hasattr(ciphers, "__dict__")


def test_a_secret_outlives_a_rotation() -> None:
    """Of a keystore it is of the key that stays; of ENCRYPTION_KEY, of the first."""

    def secret(*records: KeyRecord) -> bytes:
        keyring = keyring_from_document(a_document(*records), KEYS)
        return ciphers_of(keyring).secret("limits")

    before = a_record(ROOTS[0], lookups=True)
    after = a_record(ROOTS[0], KeyState.ACTIVE, lookups=True)

    assert secret(before) == secret(after, a_record(ROOTS[1], version=2))
    assert ciphers_of(Keyring(Keyset([NEW, OLD]))).secret("limits") == (
        ciphers_of(Keyring(Keyset([NEW]))).secret("limits")
    )
    assert len(secret(before)) == 32
