"""The keystore's document: which keys there are, in which states, wrapped.

Rules of this file:

1. A key is in one state. It is published as PENDING, so that every replica can read it
   before the first one writes under it; then it is the one PRIMARY of its tenant; then
   ACTIVE, which only decrypts; DISABLED, which can be taken back; DESTROYED, which
   cannot.
2. A wrapped key is bound to its place: keystore, tenant, version, id and time. One that
   is moved to another row does not unwrap.
3. The whole document is authenticated (HMAC-SHA-256 under a key that is wrapped in it),
   so that nobody who can write the store changes a state. Its revision only rises.

What a document is turned into is ``keyring``'s, how it changes ``key_changes``'s. Keys
themselves are never here but wrapped. Nothing here is secret, but for what is wrapped.
"""

import base64
import dataclasses
import enum
import hmac
import json
from collections.abc import Mapping
from typing import Any

from proxy.core.keyset import length_prefixed

FORMAT = "lumina-keystore-1"

DEFAULT_BOUND = 3600.0
"""Seconds; the usual time to live of cached data keys in the AWS Encryption SDK."""

DEFAULT_ROTATE_AFTER = 365 * 86400.0
"""Seconds; AWS advises to rotate branch keys once a year."""


class KeyState(enum.Enum):
    """What a key does; the words that people see."""

    PENDING = "pending"
    PRIMARY = "primary"
    ACTIVE = "active"
    DISABLED = "disabled"
    DESTROYED = "destroyed"

    @property
    def decrypts(self) -> bool:
        """Whether ciphertexts under such a key are read."""
        return self in {KeyState.PENDING, KeyState.PRIMARY, KeyState.ACTIVE}


class KeystoreError(ValueError):
    """The document cannot be used; the message is a sentence for people."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A key that only a key service opens.

    Attributes:
        kek: the name of the key-encryption key.
        data: what that made of the key.
    """

    kek: str
    data: bytes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One branch key.

    Attributes:
        id: derived from the key, see ``keyset``; named in every ciphertext.
        tenant: whose values; "" is shared by all.
        version: counted from 1 in each tenant.
        state: what it does.
        lookups: whether fields that keep equality stay with this key; one of each
            tenant does, whatever is rotated.
        looked_up: whether ``lookups`` was ever true: modes without a key id in their
            ciphertexts may have used it.
        created: epoch seconds; rounded, for it is authenticated.
        since: epoch seconds at which the state was entered.
        wrapped: the key; None once it is destroyed.
    """

    id: int
    tenant: str
    version: int
    state: KeyState
    created: int
    since: int
    wrapped: WrappedKey | None
    lookups: bool = False
    looked_up: bool = False

    @property
    def name(self) -> str:
        """The id as people see it: eight hex digits."""
        return f"{self.id:08x}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many stored values were found under each key, the last time somebody looked.

    Attributes:
        at: epoch seconds when counting began.
        values: by key id; a key that is not in it had none.
        source: what was looked at, for people.
    """

    at: int
    values: Mapping[int, int]
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Everything that a keystore holds, but for counters and entries.

    Attributes:
        keystore: 32 hex digits that tell one keystore from another.
        revision: rises by one with every change.
        bound: seconds for which a replica may encrypt with what it has read; a new key
            waits as long before it becomes primary.
        rotate_after: seconds after which a primary key is replaced; 0.0 for never.
        rotate_at: encryptions after which a primary key is replaced; 0 for never.
        seal: the key that authenticates the document.
        keys: in the order of their creation.
        census: the last one; None before the first.
    """

    keystore: str
    seal: WrappedKey
    revision: int = 1
    bound: float = DEFAULT_BOUND
    rotate_after: float = DEFAULT_ROTATE_AFTER
    rotate_at: int = 0
    keys: tuple[KeyRecord, ...] = ()
    census: Census | None = None

    def key(self, key_id: int) -> KeyRecord:
        """Return the record of a key.

        Raises:
            KeystoreError: there is none.
        """
        for record in self.keys:
            if record.id == key_id:
                return record
        known = ", ".join(record.name for record in self.keys)
        raise KeystoreError(f"there is no key {key_id:08x}; the keys are {known}")

    def of(self, tenant: str) -> tuple[KeyRecord, ...]:
        """Return the keys of a tenant, oldest first."""
        return tuple(record for record in self.keys if record.tenant == tenant)

    @property
    def tenants(self) -> tuple[str, ...]:
        """Every tenant that has a key, the shared one first."""
        return tuple(sorted({record.tenant for record in self.keys}))


def key_context(keystore: str, record: KeyRecord) -> bytes:
    """Return what a wrapped branch key is bound to."""
    parts = (
        keystore.encode(),
        record.tenant.encode(),
        record.version.to_bytes(4, "big"),
        record.id.to_bytes(4, "big"),
        record.created.to_bytes(8, "big"),
    )
    return b"lumina-branch-1" + b"".join(map(length_prefixed, parts))


def seal_context(keystore: str) -> bytes:
    """Return what the wrapped key that authenticates the document is bound to."""
    return b"lumina-seal-1" + length_prefixed(keystore.encode())


def write(document: Document, seal: bytes) -> bytes:
    """Return the document's text, authenticated.

    Args:
        document: what to write.
        seal: the 32 bytes that ``document.seal`` wraps.
    """
    body = _to_json(document)
    body["mac"] = _mac(body, seal)
    return _text(body, indent=1) + b"\n"


def read(text: bytes) -> tuple[Document, "Unverified"]:
    """Return a document and what remains to be verified of it.

    Nothing of it may be used but ``seal``, before it is verified.

    Raises:
        KeystoreError: it is no document of this format.
    """
    try:
        body = json.loads(text)
        mac = body.pop("mac")
        if body["format"] != FORMAT:
            raise KeystoreError("the keystore is of another version of this program")
        document = _from_json(body)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, KeystoreError):
            raise
        raise KeystoreError("the keystore is damaged") from None
    return document, Unverified(body, str(mac))


class Unverified:
    """A document whose authenticity is still to be checked."""

    __slots__ = ("_body", "_mac")

    def __init__(self, body: Mapping[str, Any], mac: str) -> None:
        self._body = body
        self._mac = mac

    def verify(self, seal: bytes) -> None:
        """Compare the document with its MAC.

        Raises:
            KeystoreError: somebody changed it who had no key.
        """
        if not hmac.compare_digest(_mac(self._body, seal), self._mac):
            raise KeystoreError(
                "the keystore was changed by somebody who does not have its keys"
            )


def _mac(body: Mapping[str, Any], seal: bytes) -> str:
    return hmac.digest(seal, b"lumina-keystore-mac-1" + _text(body), "sha256").hex()


def _text(body: Mapping[str, Any], indent: int | None = None) -> bytes:
    separators = (",", ":") if indent is None else None
    return json.dumps(
        body, sort_keys=True, separators=separators, indent=indent
    ).encode()


def _to_json(document: Document) -> dict[str, Any]:
    census = document.census
    return {
        "format": FORMAT,
        "keystore": document.keystore,
        "revision": document.revision,
        "bound": document.bound,
        "rotate_after": document.rotate_after,
        "rotate_at": document.rotate_at,
        "seal": _wrapped_to_json(document.seal),
        "keys": [_key_to_json(record) for record in document.keys],
        "census": census
        and {
            "at": census.at,
            "source": census.source,
            "values": {f"{key_id:08x}": n for key_id, n in census.values.items()},
        },
    }


def _key_to_json(record: KeyRecord) -> dict[str, Any]:
    return {
        "id": record.name,
        "tenant": record.tenant,
        "version": record.version,
        "state": record.state.value,
        "created": record.created,
        "since": record.since,
        "lookups": record.lookups,
        "looked_up": record.looked_up,
        "wrapped": record.wrapped and _wrapped_to_json(record.wrapped),
    }


def _wrapped_to_json(wrapped: WrappedKey) -> dict[str, str]:
    return {"kek": wrapped.kek, "data": base64.b64encode(wrapped.data).decode()}


def _from_json(body: Mapping[str, Any]) -> Document:
    census = body["census"]
    return Document(
        keystore=str(body["keystore"]),
        revision=int(body["revision"]),
        bound=float(body["bound"]),
        rotate_after=float(body["rotate_after"]),
        rotate_at=int(body["rotate_at"]),
        seal=_wrapped_from_json(body["seal"]),
        keys=tuple(_key_from_json(row) for row in body["keys"]),
        census=census
        and Census(
            at=int(census["at"]),
            source=str(census["source"]),
            values={int(key, 16): int(n) for key, n in census["values"].items()},
        ),
    )


def _key_from_json(row: Mapping[str, Any]) -> KeyRecord:
    wrapped = row["wrapped"]
    return KeyRecord(
        id=int(row["id"], 16),
        tenant=str(row["tenant"]),
        version=int(row["version"]),
        state=KeyState(row["state"]),
        created=int(row["created"]),
        since=int(row["since"]),
        lookups=bool(row["lookups"]),
        looked_up=bool(row["looked_up"]),
        wrapped=wrapped and _wrapped_from_json(wrapped),
    )


def _wrapped_from_json(row: Mapping[str, Any]) -> WrappedKey:
    return WrappedKey(
        kek=str(row["kek"]), data=base64.b64decode(row["data"], validate=True)
    )
