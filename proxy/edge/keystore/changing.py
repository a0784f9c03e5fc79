"""Changes to a keystore as operators and automatic rotation make them.

Each reads the document, lets ``key_changes`` decide, and replaces it if nobody was
faster; otherwise it begins again with what that one wrote.
"""

import dataclasses
import hmac
import os
from collections.abc import Callable, Mapping, Sequence

from proxy.core import key_records
from proxy.core.entries import SUBJECT, owner_name
from proxy.core.key_changes import added, draft_record, rewrapped
from proxy.core.key_records import Document, KeyRecord, KeystoreError, WrappedKey
from proxy.core.keyset import KEY_BYTES, key_id_of
from proxy.edge.keystore.ports import KekRing, Keystore

_ATTEMPTS = 20

Where = tuple[Keystore, KekRing]
"""A store, and what opens what is in it."""

Change = Callable[[Document], Document]
"""What becomes of a document; raises KeystoreError when it may not."""

Opened = tuple[Document, bytes]
"""A verified document, and the key that authenticates the next one."""


def index_key_of(seal: bytes) -> bytes:
    """Return the key under which subjects are found, of a keystore's seal."""
    return hmac.digest(seal, b"lumina-subject-index-1", "sha256")


async def opened(where: Where) -> Opened:
    """Return the document, verified.

    Raises:
        KeysUnavailableError: the store or the key service does not answer.
        KeystoreError: there is none, or it cannot be used.
    """
    store, keks = where
    text = await store.load()
    if text is None:
        raise KeystoreError("there is no keystore yet; make one with `keys init`")
    document, unverified = key_records.read(text)
    context = key_records.seal_context(document.keystore)
    [seal] = await keks.unwrap([(document.seal, context)])
    unverified.verify(seal)
    return document, seal


async def made(
    where: Where,
    *,
    now: float,
    settings: Mapping[str, float] | None = None,
    adopt: Mapping[str, Sequence[bytes]] | None = None,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Document:
    """Make a keystore with a first key, and return its document.

    Args:
        where: nothing may be there yet.
        now: epoch seconds.
        settings: ``bound``, ``rotate_after``, ``rotate_at`` where they are not usual.
        adopt: keys that every replica has already, by tenant, the primary first; the
            shared tenant has a new one where none is given.
        random_bytes: the source of keys.

    Raises:
        KeystoreError: there is one.
        KeysUnavailableError: the store or the key service does not answer.
    """
    store, keks = where
    seal, name = random_bytes(KEY_BYTES), random_bytes(16).hex()
    [wrapped] = await keks.wrap([(seal, key_records.seal_context(name))])
    changes = {key: value for key, value in (settings or {}).items() if value >= 0}
    document = Document(
        keystore=name,
        seal=wrapped,
        revision=0,
        **changes,  # type: ignore[arg-type]
    )
    for tenant, roots in (adopt or {"": [random_bytes(KEY_BYTES)]}).items():
        for root in roots:
            document = await _with_key(keks, document, tenant, root, now, known=True)
    document = dataclasses.replace(document, revision=1)
    if not await store.save(key_records.write(document, seal), document.revision):
        raise KeystoreError("there is a keystore already")
    return document


async def changed(where: Where, change: Change) -> tuple[Document, Document]:
    """Change the document; return what it was and what it is.

    Raises:
        KeystoreError: the change is refused, or others are always faster.
        KeysUnavailableError: the store or the key service does not answer.
    """
    for _ in range(_ATTEMPTS):
        document, seal = await opened(where)
        after = dataclasses.replace(change(document), revision=document.revision + 1)
        if await where[0].save(key_records.write(after, seal), after.revision):
            return document, after
    raise KeystoreError("somebody else changes the keystore all the time")


async def add_key(
    where: Where,
    known: Opened,
    tenant: str,
    random_bytes: Callable[[int], bytes],
    now: float,
) -> bool:
    """Add a new key for a tenant; return False when somebody else was faster."""
    document, seal = known
    root = random_bytes(KEY_BYTES)
    after = await _with_key(where[1], document, tenant, root, now)
    return await where[0].save(key_records.write(after, seal), after.revision)


async def rotated(
    where: Where,
    tenant: str,
    now: float,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Document:
    """Add a new key for a tenant; return the document.

    Raises:
        KeystoreError: there is a pending one, or others are always faster.
        KeysUnavailableError: the store or the key service does not answer.
    """
    for _ in range(_ATTEMPTS):
        known = await opened(where)
        if await add_key(where, known, tenant, random_bytes, now):
            return (await opened(where))[0]
    raise KeystoreError("somebody else changes the keystore all the time")


async def adopted(
    where: Where, tenant: str, roots: Sequence[bytes], now: float
) -> Document:
    """Add keys that every replica has already; return the document.

    Raises:
        KeystoreError: one is there, or others are always faster.
        KeysUnavailableError: the store or the key service does not answer.
    """
    store, keks = where
    for _ in range(_ATTEMPTS):
        document, seal = await opened(where)
        revision = document.revision + 1
        for root in roots:
            document = await _with_key(keks, document, tenant, root, now, known=True)
        document = dataclasses.replace(document, revision=revision)
        if await store.save(key_records.write(document, seal), revision):
            return document
    raise KeystoreError("somebody else changes the keystore all the time")


async def wrapped_anew(
    where: Where, told: Callable[[int, int], None] = lambda *_: None
) -> Document:
    """Wrap every key under the first key-encryption key; return the document.

    Args:
        where: the ring has to know the keys that wrapped so far, too.
        told: called with how many are done, of how many.

    Raises:
        KeystoreError: a key does not open, or others are always faster.
        KeysUnavailableError: the store or the key service does not answer.
    """
    store, keks = where
    for _ in range(_ATTEMPTS):
        document, seal = await opened(where)
        context = key_records.seal_context(document.keystore)
        [sealed] = await keks.wrap([(seal, context)])
        anew: dict[int, WrappedKey] = {}
        keys = [record for record in document.keys if record.wrapped]
        for n, record in enumerate(keys):
            told(n, len(keys))
            if record.wrapped:
                bound = key_records.key_context(document.keystore, record)
                [root] = await keks.unwrap([(record.wrapped, bound)])
                [anew[record.id]] = await keks.wrap([(root, bound)])
        told(len(keys), len(keys))
        after = rewrapped(document, sealed, anew)
        if await store.save(key_records.write(after, seal), after.revision):
            return after
    raise KeystoreError("somebody else changes the keystore all the time")


async def forgotten(where: Where, tenant: str, subject: str) -> bool:
    """Destroy the key of a subject; return False when there is none.

    What is encrypted under it is lost for ever, in every backup too. Replicas forget it
    at their next refresh.

    Raises:
        KeystoreError: there is no keystore, or others are always faster.
        KeysUnavailableError: the store or the key service does not answer.
    """
    store, _ = where
    _, seal = await opened(where)
    kind, name = owner_name(index_key_of(seal), tenant, subject)
    entry = (await store.entries(kind, [name])).get(name)
    if entry is None:
        return False
    await store.drop_entries(SUBJECT, [entry[:4]])
    await store.drop_entries(kind, [name])
    await changed(where, lambda document: document)
    return True


async def roots_of(where: Where) -> tuple[Document, dict[int, bytes]]:
    """Return the document and every key in it in plain: for an escrow, and no more.

    Raises:
        KeystoreError: a key does not open.
        KeysUnavailableError: the store or the key service does not answer.
    """
    document, _ = await opened(where)
    keys = [(record, record.wrapped) for record in document.keys if record.wrapped]
    found = await where[1].unwrap(
        [
            (wrapped, key_records.key_context(document.keystore, record))
            for record, wrapped in keys
        ]
    )
    return document, {
        record.id: root for (record, _), root in zip(keys, found, strict=True)
    }


async def restored(
    where: Where,
    keys: Sequence[tuple[KeyRecord, bytes]],
    settings: Mapping[str, float],
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Document:
    """Make a keystore of keys that an escrow had, and return its document.

    Args:
        where: nothing may be there yet.
        keys: each as it was, but for its wrapping.
        settings: ``bound``, ``rotate_after``, ``rotate_at``.
        random_bytes: the source of the keystore's name and seal.

    Raises:
        KeystoreError: there is one, or a key is another than its id says.
        KeysUnavailableError: the store or the key service does not answer.
    """
    store, keks = where
    if any(key_id_of(root) != record.id for record, root in keys):
        raise KeystoreError("a key is another than its id says")
    seal, name = random_bytes(KEY_BYTES), random_bytes(16).hex()
    sealed, *wrapped = await keks.wrap(
        [
            (seal, key_records.seal_context(name)),
            *((root, key_records.key_context(name, record)) for record, root in keys),
        ]
    )
    document = Document(
        keystore=name,
        seal=sealed,
        keys=tuple(
            dataclasses.replace(record, wrapped=one)
            for (record, _), one in zip(keys, wrapped, strict=True)
        ),
        **settings,  # type: ignore[arg-type]
    )
    if not await store.save(key_records.write(document, seal), document.revision):
        raise KeystoreError("there is a keystore already")
    return document


async def _with_key(
    keks: KekRing,
    document: Document,
    tenant: str,
    root: bytes,
    now: float,
    *,
    known: bool = False,
) -> Document:
    record = draft_record(document, tenant, key_id_of(root), now, known=known)
    context = key_records.key_context(document.keystore, record)
    [wrapped] = await keks.wrap([(root, context)])
    return added(document, record, wrapped)
