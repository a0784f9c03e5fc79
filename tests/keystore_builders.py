"""Keystore documents with readable defaults; a test overrides what it is about."""

from proxy.core.key_records import Document, KeyRecord, KeyState, WrappedKey
from proxy.core.keyset import key_id_of

ROOTS = tuple(bytes([n]) * 32 for n in range(1, 7))
"""Keys for tests, in the order of their creation."""

NAME = "0123456789abcdef0123456789abcdef"
SEAL = bytes(range(32))
BOUND = 100.0
CREATED = 1_000_000


def wrapped(root: bytes) -> WrappedKey:
    """Wrap a key in a way that tests can undo by eye: not at all."""
    return WrappedKey(kek="none", data=root)


def a_record(
    root: bytes = ROOTS[0],
    state: KeyState = KeyState.PRIMARY,
    *,
    tenant: str = "",
    version: int = 1,
    created: int = CREATED,
    since: int | None = None,
    lookups: bool = False,
) -> KeyRecord:
    """Build the record of a key."""
    return KeyRecord(
        id=key_id_of(root),
        tenant=tenant,
        version=version,
        state=state,
        created=created,
        since=created if since is None else since,
        wrapped=None if state is KeyState.DESTROYED else wrapped(root),
        lookups=lookups,
        looked_up=lookups,
    )


def a_document(*records: KeyRecord, **more: object) -> Document:
    """Build a document."""
    made: Document = Document(
        **{  # type: ignore[arg-type]
            "keystore": NAME,
            "seal": wrapped(SEAL),
            "bound": BOUND,
            "keys": records,
            **more,
        }
    )
    return made
