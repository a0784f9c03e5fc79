"""Keys of a keystore, kept fresh: read, unwrapped, watched, rotated.

Rules of this file:

1. No request waits for a key service. Keys are unwrapped at the start and at refreshes.
2. A refresh reads the document and asks the key service for the key that authenticates
   it: so a service that takes its leave back is noticed, although all keys are known.
3. What was refreshed well is good for the document's bound. After that the lease ends:
   nothing is encrypted until a refresh goes well. Decrypting goes on.
4. A document that is older than the one before it, or does not verify, counts as none.

A refresh comes twelve times within the bound, not at the same time on all replicas, and
sooner after one that failed.
"""

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterator, Mapping

from proxy.core import key_records
from proxy.core.key_changes import Due, due, pending, promoted
from proxy.core.key_records import Document, KeyRecord, KeystoreError
from proxy.core.keyring import Keyring, Lease, keyring_from_document
from proxy.core.keyset import Keyset
from proxy.edge.keystore.changing import add_key, index_key_of
from proxy.edge.keystore.ports import KekRing, Keystore, KeysUnavailableError

log = logging.getLogger("lumina")

_REFRESHES = 12
_JITTER = 0.1
_FIRST_RETRY_SECONDS = 1.0
_NEGATIVE_SECONDS = 30.0
"""How long a key that was not found is not looked for again."""

Age = tuple[str, str, str, float]
"""Key id, tenant, state, and seconds since the key was made."""


class Custody:
    """Keeps the keys of one keystore.

    Args:
        store: where the document is.
        keks: what opens it.
        now: epoch seconds.
        legacy: the keys of ENCRYPTION_KEY, which go on decrypting; None without.
        used: encryptions of this process so far, by key id; counted for rotation.
        on_change: told of every other keyring.
        random_bytes: the source of new keys.

    Attributes:
        lease: whether encrypting is allowed.
        index_key: under which subjects are found; empty before the start.
        document: the last good one; None before the first.
        last_error: why the last refresh failed; None when it went well.
    """

    def __init__(
        self,
        store: Keystore,
        keks: KekRing,
        *,
        now: Callable[[], float],
        legacy: Keyset | None = None,
        used: Callable[[], Mapping[int, int]] = dict,
        on_change: Callable[[Keyring], None] = lambda _: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.lease = Lease(valid=False)
        self.document: Document | None = None
        self.last_error: str | None = None
        self._store = store
        self._keks = keks
        self._now = now
        self._legacy = legacy
        self._used = used
        self._on_change = on_change
        self._random = random_bytes
        self.index_key = b""
        # By id and wrapping: what is wrapped anew is unwrapped anew.
        self._opened: dict[tuple[int, str, bytes], bytes] = {}
        self._counted: dict[int, int] = {}
        self._end: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._soon = asyncio.Event()
        self._looked = -_NEGATIVE_SECONDS

    async def open(self) -> Keyring:
        """Read and unwrap everything for the first time, and begin to refresh it.

        Raises:
            KeysUnavailableError: the store or the key service does not answer.
            KeystoreError: there is no keystore, or it cannot be used.
        """
        keyring = await self._refreshed()
        if keyring is None:
            raise KeystoreError(
                "there is no keystore yet; make one with `lumina-proxy keys init`"
            )
        # Not later: what else a start does may take longer than the bound.
        self._task = asyncio.get_running_loop().create_task(self._go_on())
        return keyring

    async def close(self) -> None:
        """Stop refreshing, and let go of connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._end is not None:
            self._end.cancel()
        await self._store.close()
        await self._keks.close()

    def missed(self, key_id: int) -> None:
        """Look for a key that a value names; not more often than every 30 seconds."""
        now = asyncio.get_running_loop().time()
        if now - self._looked >= _NEGATIVE_SECONDS:
            self._looked = now
            log.warning("a value names the key %08x, which nobody has", key_id)
            self._soon.set()

    @property
    def state(self) -> str:
        """How it is, in a word or a sentence for people."""
        if self.last_error is None:
            return "ok"
        what = "degraded" if self.lease.valid else "encryption stopped"
        return f"{what}: {self.last_error}"

    def ages(self) -> Iterator[Age]:
        """Yield every key that encrypts or decrypts, with its age in seconds."""
        now = self._now()
        for record in self.document.keys if self.document else ():
            if record.state.decrypts:
                age = max(0.0, now - record.created)
                yield record.name, record.tenant, record.state.value, age

    async def refresh(self) -> None:
        """Read again now; what fails is remembered and logged, and changes nothing."""
        before = self.document
        try:
            keyring = await self._refreshed()
            if keyring is None:
                raise KeystoreError("the keystore is gone")  # noqa: TRY301 - as others
            if before is None or self.document is None:
                return
            if self.document.revision != before.revision:
                self._on_change(keyring)
                log.info("keystore revision %d is in force", self.document.revision)
            await self._rotate(self.document)
        except (KeysUnavailableError, KeystoreError) as error:
            self._failures += 1
            if self.last_error != str(error):
                log.error("keys were not refreshed: %s", error)  # noqa: TRY400 - expected
            self.last_error = str(error)
        else:
            if self.last_error is not None:
                log.info("keys are refreshed again")
            self._failures, self.last_error = 0, None

    async def _go_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), self._pause())
            self._soon.clear()
            await self.refresh()

    def _pause(self) -> float:
        bound = self.document.bound if self.document else _FIRST_RETRY_SECONDS
        usual = bound / _REFRESHES
        if self._failures:
            usual = min(usual, _FIRST_RETRY_SECONDS * 2.0 ** min(self._failures, 16))
        spread = random.uniform(-_JITTER, _JITTER)  # noqa: S311 - no secret
        return usual * (1 + spread)

    async def _refreshed(self) -> Keyring | None:
        """Read, verify and unwrap; None when there is no document."""
        text = await self._store.load()
        if text is None:
            return None
        document, unverified = key_records.read(text)
        known = self.document
        if known and document.keystore != known.keystore:
            raise KeystoreError("the keystore was replaced by another one")
        if known and document.revision < known.revision:
            raise KeystoreError(
                f"the keystore was put back from revision {known.revision} to "
                f"{document.revision}"
            )
        records = [record for record in document.keys if record.state.decrypts]
        missing = [record for record in records if _place(record) not in self._opened]
        seal, *opened = await self._keks.unwrap(
            [
                (document.seal, key_records.seal_context(document.keystore)),
                *((_wrapped(one), _context(document, one)) for one in missing),
            ]
        )
        unverified.verify(seal)
        self.index_key = index_key_of(seal)
        found = {_place(one): key for one, key in zip(missing, opened, strict=True)}
        self._opened = {
            place: found.get(place) or self._opened[place]
            for place in map(_place, records)
        }
        keys = {record.id: self._opened[_place(record)] for record in records}
        keyring = keyring_from_document(document, keys, self._legacy)
        self.document = document
        self._extend(document.bound)
        return keyring

    def _extend(self, bound: float) -> None:
        if self._end is not None:
            self._end.cancel()
        self.lease.valid = True
        self._end = asyncio.get_running_loop().call_later(bound, self._expire)

    def _expire(self) -> None:
        self.lease.valid = False
        log.error("keys were not refreshed within the bound: encryption is stopped")

    async def _rotate(self, document: Document) -> None:
        """Count what was encrypted, and do what is due."""
        sums = self._used()
        more = {key: n - self._counted.get(key, 0) for key, n in sums.items()}
        totals = await self._store.count({key: n for key, n in more.items() if n})
        self._counted = dict(sums)
        for tenant, work in due(document, totals, self._now()).items():
            waiting = pending(document, tenant)
            if work is Due.PROMOTE and waiting:
                changed = promoted(document, waiting.id, self._now())
                seal = await self._seal(document)
                text = key_records.write(changed, seal)
                done = await self._store.save(text, changed.revision)
            else:
                done = await add_key(
                    (self._store, self._keks),
                    (document, await self._seal(document)),
                    tenant,
                    self._random,
                    self._now(),
                )
            if done:
                log.info("rotation: %s a key of tenant %r", work.value, tenant)
            return  # the document is another one now; the rest at the next refresh

    async def _seal(self, document: Document) -> bytes:
        context = key_records.seal_context(document.keystore)
        [seal] = await self._keks.unwrap([(document.seal, context)])
        return seal

    def __repr__(self) -> str:
        return "<Custody>"


def _wrapped(record: KeyRecord) -> key_records.WrappedKey:
    if record.wrapped is None:
        raise KeystoreError(f"the key {record.name} is not in the keystore")
    return record.wrapped


def _place(record: KeyRecord) -> tuple[int, str, bytes]:
    wrapped = _wrapped(record)
    return record.id, wrapped.kek, wrapped.data


def _context(document: Document, record: KeyRecord) -> bytes:
    return key_records.key_context(document.keystore, record)
