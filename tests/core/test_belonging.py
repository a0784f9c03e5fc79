"""Whose a value is, what it is bound to, and that every wrong pairing is refused."""

import itertools
import math

import pytest

from proxy.core.authn import Principal
from proxy.core.belonging import (
    MAX_TENANT,
    BoundField,
    bound_field,
    bound_values,
    tenant_of,
)
from proxy.core.ciphers import Ciphers
from proxy.core.errors import Refused
from proxy.core.field import Bind, Field, Source
from proxy.core.keyring import Keyring
from proxy.core.keyset import Keyset
from proxy.core.reasons import Reason
from proxy.core.routing import Pattern
from proxy.core.undecryptable import Undecryptable
from tests.cipher_builders import NEW, nonces

SUB, SCHOOL = Bind(Source.CLAIM, "sub"), Bind(Source.CLAIM, "school")
ID, FILE = Bind(Source.PATH, "id"), Bind(Source.PATH, "file")
PATTERN = Pattern.parse("/users/{id}/files/{file...}")


def somebody(**claims: object) -> Principal:
    """Return who has these claims."""
    claims = {"sub": "ada", **claims}
    return Principal(
        subject="ada", roles=(), issuer="i", expires_at=math.inf, claims=claims
    )


def bound(bind: Bind) -> BoundField:
    """Return how a rule binds a field."""
    return bound_field("note.text", bind, PATTERN)


def value(bind: Bind, path: str, principal: Principal | None) -> bytes:
    """Return what a value is bound to."""
    return bound_values((bound(bind),), principal, path)["note.text"]


@pytest.mark.parametrize(
    ("claim", "claims", "tenant"),
    [
        (("school",), {"school": "north"}, "north"),
        (("realm", "school"), {"realm": {"school": "é"}}, "é"),
        (("school",), {"school": "x" * MAX_TENANT}, "x" * MAX_TENANT),
    ],
    ids=["plain", "nested", "long"],
)
def test_a_tenant_is_what_a_claim_says(
    claim: tuple[str, ...], claims: dict[str, object], tenant: str
) -> None:
    """As it is written, along the path of the policy."""
    assert tenant_of(claim, somebody(**claims)) == tenant


def test_without_a_token_there_is_no_tenant() -> None:
    """The shared keys protect what anybody sends."""
    assert tenant_of(("school",), None) == ""


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"school": ""},
        {"school": 7},
        {"school": ["north"]},
        {"school": None},
        {"school": "x" * (MAX_TENANT + 1)},
    ],
    ids=str,
)
def test_a_token_that_names_no_tenant_is_refused(claims: dict[str, object]) -> None:
    """Nobody falls back to the keys that all share."""
    with pytest.raises(Refused) as caught:
        tenant_of(("school",), somebody(**claims))

    assert caught.value.reason is Reason.CLAIM_INVALID
    assert caught.value.detail == "The claim is 'school'."


@pytest.mark.parametrize(
    ("bind", "path", "expected"),
    [
        (SUB, "/users/7/files/a", b"ada"),
        (SCHOOL, "/users/7/files/a", b"north"),
        (ID, "/users/7/files/a", b"7"),
        (ID, "/users/%C3%A9%2f/files/a?id=8", "é/".encode()),
        (FILE, "/users/7/files/a/b%20c?x", b"a/b c"),
    ],
    ids=["subject", "claim", "parameter", "encoded", "rest"],
)
def test_a_value_is_bound_to_what_the_request_says(
    bind: Bind, path: str, expected: bytes
) -> None:
    """A claim as it is, a parameter of the path decoded once."""
    assert value(bind, path, somebody(school="north")) == expected


@pytest.mark.parametrize(
    ("bind", "path", "principal", "reason"),
    [
        (SCHOOL, "/users/7/files/a", somebody(), Reason.CLAIM_INVALID),
        (SCHOOL, "/users/7/files/a", somebody(school=7), Reason.CLAIM_INVALID),
        (SUB, "/users/7/files/a", None, Reason.CLAIM_INVALID),
        (ID, "/users/%FF/files/a", somebody(), Reason.PATH_AMBIGUOUS),
    ],
    ids=["missing", "number", "nobody", "not UTF-8"],
)
def test_what_a_request_does_not_say_is_not_made_up(
    bind: Bind, path: str, principal: Principal | None, reason: Reason
) -> None:
    """It is refused."""
    with pytest.raises(Refused) as caught:
        value(bind, path, principal)

    assert caught.value.reason is reason


def test_a_field_is_bound_where_it_can_be() -> None:
    """To a claim, or to a parameter that the path has."""
    assert bound(SUB) == BoundField("note.text", SUB)
    assert bound(ID) == BoundField("note.text", ID, segment=2)
    assert bound(FILE) == BoundField("note.text", FILE, segment=4, rest=True)
    with pytest.raises(KeyError):
        bound(Bind(Source.PATH, "other"))


# Tenant x field x type x binding.

TENANTS = ("", "north", "nor")
FIELDS = ("note.text", "note", "text")
TYPES = ('"42"', "42", '"true"', "true", '["42"]', '{"a": 42}', '""')
BOUND = (b"", b"ada", b"ad", b"a")


@pytest.mark.parametrize("compact", [False, True], ids=["committing", "compact"])
def test_every_wrong_pairing_is_refused(*, compact: bool) -> None:
    """A value comes back, with its type, for its tenant, field and binding alone.

    But for this: what was encrypted for no tenant is there for every tenant.
    """
    fields = {name: Field(id=name, compact=compact) for name in FIELDS}
    ciphers = Ciphers(Keyring(Keyset([NEW])), "lms", fields, nonces())
    places = list(itertools.product(TENANTS, FIELDS, BOUND))
    sealed = [
        (place, leaf, ciphers.of(place[0]).encrypt(place[1], leaf, place[2]))
        for place in places
        for leaf in TYPES
    ]
    for tenant, field, mine in places:
        cipher = ciphers.of(tenant)
        for (owner, of, bound_to), leaf, stored in sealed:
            if (of, bound_to) == (field, mine) and owner in ("", tenant):
                assert cipher.decrypt(field, stored, mine) == leaf
            else:
                with pytest.raises(Undecryptable):
                    cipher.decrypt(field, stored, mine)
