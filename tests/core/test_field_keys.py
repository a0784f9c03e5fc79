"""The key tree of a field, and the contexts that ciphertexts are bound to."""

import itertools

import pytest

from proxy.core.field_keys import FieldKeys, Scope, binding
from proxy.core.keyset import Keyset
from tests.cipher_builders import NEW, OLD, a_field


def keys_of(deployment: str, tenant: str, name: str) -> FieldKeys:
    """Return the keys of a field somewhere."""
    return FieldKeys(Keyset([NEW]), Scope(deployment, tenant), a_field(name=name))


def test_a_context_is_what_is_written() -> None:
    """The bytes are those of the description, each part behind its length."""
    context = keys_of("lms", "north", "user.name").context(0x01020304, 5)

    assert context == (
        b"lumina-ctx-2"
        b"\0\0\0\x01\x05"
        b"\0\0\0\x04\x01\x02\x03\x04"
        b"\0\0\0\x03lms"
        b"\0\0\0\x05north"
        b"\0\0\0\x09user.name"
        b"\0\0\0\x00"
    )


def test_no_two_contexts_are_the_same() -> None:
    """However names are cut in pieces, key and suite too, contexts differ."""
    places = itertools.product(("", "a", "ab"), ("", "b", "ba"), ("a", "b", "ab"))
    contexts = [
        keys_of(*place).context(key_id, suite)
        for place in places
        for key_id in (0, 1, 0xFFFFFFFF)
        for suite in (1, 2, 3)
    ]

    assert len(set(contexts)) == len(contexts)


def test_a_random_field_encrypts_with_the_first_key() -> None:
    """Where nothing must stay equal, rotation is a new key in front."""
    keyset = Keyset([NEW, OLD])

    assert FieldKeys(keyset, Scope("lms"), a_field()).encrypting == keyset.primary


@pytest.mark.parametrize("kind", ["deterministic", "mail", "digits", "pepper"])
def test_the_only_key_needs_no_name(kind: str) -> None:
    """A deployment with one key need not say which one it means."""
    keyset = Keyset([OLD])

    assert FieldKeys(keyset, Scope("lms"), a_field(kind)).encrypting == keyset.primary


def test_a_subkey_is_of_the_field_and_as_long_as_asked_for() -> None:
    """The keyset derives it, with the field's name in it."""
    keyset = Keyset([NEW])
    keys = FieldKeys(keyset, Scope("lms"), a_field(name="user.name"))
    derived = keyset.subkey(keyset.primary, "purpose", "user.name", 64)

    assert keys.subkey(keyset.primary, "purpose", 64) == derived
    assert len(keys.subkey(keyset.primary, "purpose")) == 32


def test_a_field_stays_with_the_key_it_names() -> None:
    """Whichever key comes first, the named one encrypts."""
    old = Keyset([OLD]).primary
    field = a_field("deterministic", key=old)

    for roots in ([OLD], [OLD, NEW], [NEW, OLD]):
        assert FieldKeys(Keyset(roots), Scope("lms"), field).encrypting == old


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (None, "the field user.name is deterministic and must say which key"),
        (1, "the field user.name stays with the key 00000001, which is not there"),
    ],
)
def test_an_unclear_key_is_explained(key: int | None, sentence: str) -> None:
    """The sentence names the field and every key there is, and holds no key."""
    keyset = Keyset([NEW, OLD])
    with pytest.raises(ValueError, match=sentence) as caught:
        FieldKeys(keyset, Scope("lms"), a_field("deterministic", key=key))

    assert all(f"{key_id:08x}" in str(caught.value) for key_id in keyset.key_ids)
    assert NEW.hex()[:8] not in str(caught.value)


def test_a_context_ends_with_what_a_value_is_bound_to() -> None:
    """Or with nothing, as every one did before there was something."""
    context = keys_of("lms", "north", "user.name").context(1, 1)

    assert binding(context, b"") == context
    assert binding(context, b"ada") == context[:-4] + b"\0\0\0\x03ada"


def test_shared_keys_have_the_context_of_no_tenant() -> None:
    """So every tenant reads what was encrypted for none."""
    shared = Keyset([OLD])
    north = FieldKeys(Keyset([NEW], shared=shared), Scope("lms", "north"), a_field())
    nobody = FieldKeys(shared, Scope("lms"), a_field())

    assert north.context(shared.primary, 1) == nobody.context(shared.primary, 1)
    assert north.context(north.encrypting, 1) != nobody.context(north.encrypting, 1)


@pytest.mark.parametrize("key", [None, 1], ids=["unnamed", "shared"])
def test_look_ups_stay_with_the_keystores_key(key: int | None) -> None:
    """A keystore says which key that is, for every tenant that a policy knows not."""
    lookups = Keyset([OLD]).primary
    keyset = Keyset([NEW, OLD], lookups=lookups, shared=Keyset([bytes(32)]))
    keys = FieldKeys(keyset, Scope("lms", "north"), a_field("deterministic", key=key))

    assert keys.encrypting == lookups


def test_a_named_key_of_the_shared_ones_means_the_tenants_own() -> None:
    """Derived keys stand for those they derive from."""
    shared = Keyset([NEW, OLD])
    old = Keyset([OLD]).primary
    north = shared.derived("north")
    field = a_field("deterministic", key=old)

    assert FieldKeys(north, Scope("lms", "north"), field).encrypting == north.named(old)
