"""How keys change their states, as timelines; and what is refused because it harms."""

from collections.abc import Mapping

import pytest

from proxy.core.key_changes import (
    Due,
    added,
    counted,
    destroyed,
    disabled,
    draft_record,
    due,
    enabled,
    looked_up_by,
    pending,
    primary,
    promoted,
    rewrapped,
)
from proxy.core.key_records import Census, Document, KeyRecord, KeyState, KeystoreError
from proxy.core.keyset import key_id_of
from tests.keystore_builders import (
    BOUND,
    CREATED,
    ROOTS,
    a_document,
    a_record,
    wrapped,
)

IDS = [key_id_of(root) for root in ROOTS]
LATER = CREATED + BOUND


def with_key(document: Document, n: int, now: float, tenant: str = "") -> Document:
    """Add the nth key."""
    record = draft_record(document, tenant, IDS[n], now)
    return added(document, record, wrapped(ROOTS[n]))


def states(document: Document) -> list[str]:
    """Return the state of every key."""
    return [record.state.value for record in document.keys]


def rotated() -> Document:
    """Return a document whose first key was replaced."""
    document = with_key(a_document(a_record(lookups=True)), 1, CREATED)
    return promoted(document, IDS[1], LATER)


def retiring(*, lookups: bool = False) -> Document:
    """Return a document with a disabled key that look-ups may once have used."""
    document = rotated()
    document = with_key(document, 2, LATER)
    document = promoted(document, IDS[2], LATER + BOUND)
    document = looked_up_by(document, IDS[1]) if lookups else document
    document = looked_up_by(document, IDS[2])
    return disabled(document, IDS[1], LATER + BOUND)


def census(at: float, values: Mapping[int, int] | None = None) -> Census:
    """Return a count."""
    return Census(at=int(at), values=values or {}, source="a dump")


def refused(change: object, *args: object) -> str:
    """Return the sentence with which a change is refused."""
    assert callable(change)
    with pytest.raises(KeystoreError) as caught:
        change(*args)
    return str(caught.value)


def test_the_first_key_is_primary_at_once() -> None:
    """Nothing can know it or miss it, and look-ups stay with it."""
    document = with_key(a_document(), 0, 5.9)

    assert document.keys == (a_record(created=5, lookups=True),)
    assert document.revision == 2


def test_a_tenants_first_key_waits() -> None:
    """Replicas that run already have to learn of it first."""
    document = with_key(a_document(a_record(lookups=True)), 1, CREATED, "north")
    record = document.keys[1]

    assert (record.state, record.version) == (KeyState.PENDING, 1)
    assert record.lookups
    assert record.looked_up


def test_keys_that_everybody_has_need_not_wait() -> None:
    """Those of ENCRYPTION_KEY: the first encrypts, the others read."""
    document = a_document()
    for n in range(2):
        record = draft_record(document, "north", IDS[n], CREATED, known=True)
        document = added(document, record, wrapped(ROOTS[n]))

    assert states(document) == ["primary", "active"]
    assert [record.lookups for record in document.keys] == [True, False]


def test_rotation_takes_two_steps() -> None:
    """Pending, until every replica can read it; then primary, the old one active."""
    document = with_key(a_document(a_record(lookups=True)), 1, CREATED)
    assert states(document) == ["primary", "pending"]
    assert document.keys[1].version == 2
    early = refused(promoted, document, IDS[1], LATER - 1)
    document = promoted(document, IDS[1], LATER)

    assert "a replica may not know it; wait 1 s more" in early
    assert states(document) == ["active", "primary"]
    assert document.keys[1].since == LATER
    assert [record.lookups for record in document.keys] == [True, False]


def test_a_tenants_first_key_is_promoted_alone() -> None:
    """There is none before it that would become active."""
    document = with_key(a_document(a_record(lookups=True)), 1, CREATED, "north")

    assert states(promoted(document, IDS[1], LATER)) == ["primary", "primary"]


def test_a_rotation_can_be_taken_back() -> None:
    """The key of before is promoted again, once every replica may know it."""
    document = promoted(rotated(), IDS[0], LATER + BOUND)

    assert states(document) == ["primary", "active"]


def test_one_key_is_pending_at_a_time() -> None:
    """A second rotation waits for the first."""
    document = with_key(a_document(a_record()), 1, CREATED)
    record = draft_record(document, "", IDS[2], CREATED)

    assert f"{IDS[1]:08x} is pending already" in refused(
        added, document, record, wrapped(ROOTS[2])
    )


def test_an_id_is_given_once() -> None:
    """Two keys with one id could not be told apart in a ciphertext."""
    assert "already" in refused(
        draft_record, a_document(a_record()), "north", IDS[0], CREATED
    )


def test_a_disabled_key_can_be_taken_back() -> None:
    """Until it is destroyed."""
    document = disabled(looked_up_by(rotated(), IDS[1]), IDS[0], LATER)
    assert states(document) == ["disabled", "primary"]

    assert states(enabled(document, IDS[0], LATER)) == ["active", "primary"]


def test_a_key_without_values_is_destroyed() -> None:
    """The wrapped key is gone from the document; its row stays."""
    at = LATER + 2 * BOUND
    document = counted(retiring(), census(at, {IDS[0]: 9}))
    document = destroyed(document, IDS[1], at)

    assert states(document) == ["active", "destroyed", "primary"]
    assert document.keys[1].wrapped is None


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (None, "no census was taken since"),
        (census(LATER + 2 * BOUND - 1), "no census was taken since"),
        (census(LATER + 2 * BOUND, {IDS[1]: 3}), "3 values are encrypted under"),
    ],
    ids=["none", "too old", "values"],
)
def test_a_key_with_values_is_not_destroyed(
    found: Census | None, sentence: str
) -> None:
    """Nor one of which nobody knows."""
    document = retiring()
    document = counted(document, found) if found else document

    assert sentence in refused(destroyed, document, IDS[1], LATER + 9 * BOUND)


def test_what_no_census_counts_is_asked_for() -> None:
    """Digits and peppered passwords name no key."""
    at = LATER + 2 * BOUND
    document = counted(retiring(lookups=True), census(at))

    assert "--accept-uncounted" in refused(destroyed, document, IDS[1], at)
    gone = destroyed(document, IDS[1], at, accept_uncounted=True)
    assert states(gone)[1] == "destroyed"


@pytest.mark.parametrize("change", [disabled, destroyed], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("n", "sentence"), [(1, "is primary; promote another"), (0, "look-ups stay with")]
)
def test_a_key_in_use_stays(change: object, n: int, sentence: str) -> None:
    """What encrypts, and what look-ups need, is neither disabled nor destroyed."""
    assert sentence in refused(change, rotated(), IDS[n], LATER)


def test_steps_have_an_order() -> None:
    """Only what is disabled is enabled, destroyed once; only what reads is disabled."""
    document = rotated()
    retired = retiring()

    assert "is active" in refused(enabled, document, IDS[0], LATER)
    assert "is disabled" in refused(disabled, retired, IDS[1], LATER)
    assert "is disabled; a pending" in refused(promoted, retired, IDS[1], LATER)
    assert "is disabled" in refused(looked_up_by, retired, IDS[1])
    assert "disable it first" in refused(
        destroyed, looked_up_by(document, IDS[1]), IDS[0], LATER
    )


def test_look_ups_move_when_they_are_told_to() -> None:
    """Within their tenant; and it is remembered where they were."""
    north = a_record(ROOTS[3], tenant="north", lookups=True)
    document = looked_up_by(a_document(*rotated().keys, north), IDS[1])

    assert [key.lookups for key in document.keys] == [False, True, True]
    assert [key.looked_up for key in document.keys] == [True, True, True]


def test_keys_are_wrapped_anew_in_place() -> None:
    """Their states stay, and a destroyed one has nothing to wrap."""
    gone: KeyRecord = a_record(ROOTS[2], KeyState.DESTROYED)
    document = rewrapped(
        a_document(a_record(), gone), wrapped(ROOTS[4]), {IDS[0]: wrapped(ROOTS[5])}
    )

    assert document.seal == wrapped(ROOTS[4])
    assert [key.wrapped for key in document.keys] == [wrapped(ROOTS[5]), None]
    assert document.revision == 2


@pytest.mark.parametrize(
    ("now", "used", "work"),
    [
        (CREATED + 999, 9, {}),
        (CREATED + 1000, 0, {"": Due.ADD}),
        (CREATED, 10, {"": Due.ADD}),
    ],
    ids=["young", "old", "used"],
)
def test_a_key_is_replaced_by_age_and_count(
    now: float, used: int, work: dict[str, Due]
) -> None:
    """Whatever comes first."""
    document = a_document(a_record(), rotate_after=1000.0, rotate_at=10)

    assert due(document, {IDS[0]: used}, now) == work
    never = a_document(a_record(), rotate_after=0.0, rotate_at=0)
    assert due(never, {IDS[0]: used}, now) == {}


def test_a_pending_key_is_promoted_when_the_bound_is_over() -> None:
    """And no further one is added before."""
    document = with_key(a_document(a_record(), rotate_after=1.0), 1, LATER)

    assert due(document, {}, LATER + BOUND - 1) == {}
    assert due(document, {}, LATER + BOUND) == {"": Due.PROMOTE}


def test_keys_are_found_by_what_they_do() -> None:
    """Of a tenant, and of no other."""
    document = with_key(a_document(a_record(lookups=True)), 1, CREATED)
    first, second = document.keys

    assert primary(document, "") is first
    assert pending(document, "") is second
    assert primary(document, "north") is None
    assert due(a_document(a_record(state=KeyState.ACTIVE)), {}, LATER) == {}
