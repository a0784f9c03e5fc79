"""How a keystore's document changes: each step a function, refused when it would harm.

The life of a key::

    PENDING ──promote──► PRIMARY ──the next one──► ACTIVE ◄──enable───┐
             not before the bound is over             └──disable──► DISABLED
                                        DESTROYED ◄──destroy──────────┘
                                        with a census of zero

Two phases, so that no replica meets an unknown key: a replica reads the document at
least once within the bound, or stops encrypting. When the bound is over, each one that
serves knows the pending key.

Pure: ``now`` is an argument, and keys come in wrapped.
"""

import dataclasses
import enum
from collections.abc import Mapping

from proxy.core.key_records import (
    Census,
    Document,
    KeyRecord,
    KeyState,
    KeystoreError,
    WrappedKey,
)


class Due(enum.Enum):
    """What automatic rotation has to do for a tenant."""

    ADD = "add"
    PROMOTE = "promote"


def draft_record(
    document: Document, tenant: str, key_id: int, now: float, *, known: bool = False
) -> KeyRecord:
    """Return the record of a key that is still to be wrapped, for its context.

    The first key of a tenant is the one that look-ups stay with.

    Args:
        document: the keystore's.
        tenant: whose key.
        key_id: its id.
        now: epoch seconds.
        known: whether every replica has the key already, as one of ENCRYPTION_KEY, so
            that it need not wait. The first of the first tenant never does: nobody can
            miss it.

    Raises:
        KeystoreError: the id is taken: draw another key.
    """
    if any(record.id == key_id for record in document.keys):
        raise KeystoreError(f"there is a key {key_id:08x} already")
    siblings = document.of(tenant)
    first = not siblings
    at_once = KeyState.PRIMARY if first else KeyState.ACTIVE
    return KeyRecord(
        id=key_id,
        tenant=tenant,
        version=1 + max((record.version for record in siblings), default=0),
        state=at_once if known or not document.keys else KeyState.PENDING,
        created=int(now),
        since=int(now),
        wrapped=None,
        lookups=first,
        looked_up=first,
    )


def added(document: Document, record: KeyRecord, wrapped: WrappedKey) -> Document:
    """Return the document with a new key.

    Raises:
        KeystoreError: the tenant has a pending key already.
    """
    waiting = pending(document, record.tenant)
    if waiting and record.state is KeyState.PENDING:
        raise KeystoreError(
            f"the key {waiting.name} is pending already; promote it first"
        )
    return _next(
        document,
        keys=(*document.keys, dataclasses.replace(record, wrapped=wrapped)),
    )


def pending(document: Document, tenant: str) -> KeyRecord | None:
    """Return the pending key of a tenant."""
    return _in_state(document, tenant, KeyState.PENDING)


def primary(document: Document, tenant: str) -> KeyRecord | None:
    """Return the key that encrypts for a tenant."""
    return _in_state(document, tenant, KeyState.PRIMARY)


def promoted(document: Document, key_id: int, now: float) -> Document:
    """Return the document with another primary key of its tenant.

    Raises:
        KeystoreError: the key is not pending or active, or the bound is not over.
    """
    record = document.key(key_id)
    if record.state not in {KeyState.PENDING, KeyState.ACTIVE}:
        raise KeystoreError(
            f"the key {record.name} is {record.state.value}; "
            "a pending or an active one is promoted"
        )
    wait = record.since + document.bound - now
    if wait > 0:
        raise KeystoreError(
            f"the key {record.name} became {record.state.value} too short a time ago: "
            f"a replica may not know it; wait {wait:.0f} s more"
        )
    before = primary(document, record.tenant)
    changes = {record.id: KeyState.PRIMARY}
    if before:
        changes[before.id] = KeyState.ACTIVE
    return _moved(document, changes, now)


def disabled(document: Document, key_id: int, now: float) -> Document:
    """Return the document with a key that no longer decrypts.

    Raises:
        KeystoreError: the key is in use.
    """
    record = document.key(key_id)
    _refuse_in_use(record, "disabled")
    if not record.state.decrypts:
        raise KeystoreError(f"the key {record.name} is {record.state.value}")
    return _moved(document, {record.id: KeyState.DISABLED}, now)


def enabled(document: Document, key_id: int, now: float) -> Document:
    """Return the document with a disabled key that decrypts again.

    Raises:
        KeystoreError: the key is not disabled.
    """
    record = document.key(key_id)
    if record.state is not KeyState.DISABLED:
        raise KeystoreError(f"the key {record.name} is {record.state.value}")
    return _moved(document, {record.id: KeyState.ACTIVE}, now)


def destroyed(
    document: Document, key_id: int, now: float, *, accept_uncounted: bool = False
) -> Document:
    """Return the document without a key: what it encrypted is lost for ever.

    Args:
        document: with the key disabled.
        key_id: which.
        now: epoch seconds.
        accept_uncounted: whether values that no census can count may be lost: those of
            modes whose ciphertexts name no key.

    Raises:
        KeystoreError: the key is not disabled, or may still be needed.
    """
    record = document.key(key_id)
    _refuse_in_use(record, "destroyed")
    if record.state is not KeyState.DISABLED:
        raise KeystoreError(
            f"the key {record.name} is {record.state.value}; disable it first, and "
            "see whether anything misses it"
        )
    census = document.census
    if census is None or census.at < record.since + document.bound:
        raise KeystoreError(
            f"no census was taken since the key {record.name} was disabled and the "
            f"bound of {document.bound:.0f} s over; count with `keys census`"
        )
    found = census.values.get(record.id, 0)
    if found:
        raise KeystoreError(
            f"{found} values are encrypted under the key {record.name} "
            f"({census.source}); encrypt them anew first"
        )
    if record.looked_up and not accept_uncounted:
        raise KeystoreError(
            f"look-ups once stayed with the key {record.name}, and values of the modes "
            "digits and pepper name no key, so no census counts them; if there are "
            "none, say --accept-uncounted"
        )
    moved = _moved(document, {record.id: KeyState.DESTROYED}, now)
    return dataclasses.replace(
        moved,
        keys=tuple(
            dataclasses.replace(one, wrapped=None) if one.id == record.id else one
            for one in moved.keys
        ),
    )


def looked_up_by(document: Document, key_id: int) -> Document:
    """Return the document with another key that look-ups stay with.

    Every look-up misses what is stored under the one before, until it is encrypted
    anew: this belongs to a migration.

    Raises:
        KeystoreError: the key is not primary or active.
    """
    record = document.key(key_id)
    if record.state not in {KeyState.PRIMARY, KeyState.ACTIVE}:
        raise KeystoreError(f"the key {record.name} is {record.state.value}")
    return _next(
        document,
        keys=tuple(
            dataclasses.replace(
                one,
                lookups=one.id == record.id,
                looked_up=one.looked_up or one.id == record.id,
            )
            if one.tenant == record.tenant
            else one
            for one in document.keys
        ),
    )


def rewrapped(
    document: Document, seal: WrappedKey, wrapped: Mapping[int, WrappedKey]
) -> Document:
    """Return the document with keys that are wrapped anew; states stay."""
    return _next(
        document,
        seal=seal,
        keys=tuple(
            dataclasses.replace(record, wrapped=wrapped.get(record.id, record.wrapped))
            for record in document.keys
        ),
    )


def counted(document: Document, census: Census) -> Document:
    """Return the document with a new census."""
    return _next(document, census=census)


def due(document: Document, used: Mapping[int, int], now: float) -> dict[str, Due]:
    """Return what automatic rotation has to do, by tenant.

    Args:
        document: the keystore's.
        used: encryptions under each key so far.
        now: epoch seconds.
    """
    work: dict[str, Due] = {}
    for tenant in document.tenants:
        waiting, current = pending(document, tenant), primary(document, tenant)
        if waiting:
            if now >= waiting.since + document.bound:
                work[tenant] = Due.PROMOTE
        elif current and (
            0 < document.rotate_after <= now - current.created
            or 0 < document.rotate_at <= used.get(current.id, 0)
        ):
            work[tenant] = Due.ADD
    return work


def _in_state(document: Document, tenant: str, state: KeyState) -> KeyRecord | None:
    return next((key for key in document.of(tenant) if key.state is state), None)


def _refuse_in_use(record: KeyRecord, what: str) -> None:
    if record.state is KeyState.PRIMARY:
        raise KeystoreError(
            f"the key {record.name} is primary; promote another one first"
        )
    if record.lookups:
        raise KeystoreError(
            f"look-ups stay with the key {record.name}, so it is not {what}"
        )


def _moved(document: Document, states: Mapping[int, KeyState], now: float) -> Document:
    return _next(
        document,
        keys=tuple(
            dataclasses.replace(record, state=states[record.id], since=int(now))
            if record.id in states
            else record
            for record in document.keys
        ),
    )


def _next(document: Document, **changes: object) -> Document:
    changed: Document = dataclasses.replace(
        document,
        revision=document.revision + 1,
        **changes,  # type: ignore[arg-type]
    )
    return changed
