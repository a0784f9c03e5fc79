"""Entries of a keystore for requests: tokens, and the keys of subjects.

Requests run without a task (``edge/waiter``), and the stores' clients need one: each
call has its own.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from proxy.core.entries import Name, by_kind
from proxy.core.errors import Refused
from proxy.core.reasons import Reason
from proxy.edge.keystore.ports import Keystore, KeysUnavailableError

T = TypeVar("T")


class StoreVault:
    """Fetches and adds entries of a keystore.

    Args:
        store: the keystore.
        index_key: returns the key under which subjects are found.
        random_bytes: the source of subjects' keys.

    Attributes:
        random_bytes: as given.
    """

    def __init__(
        self,
        store: Keystore,
        index_key: Callable[[], bytes],
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._store = store
        self._index_key = index_key
        self.random_bytes = random_bytes

    @property
    def index_key(self) -> bytes:
        """The key under which subjects are found."""
        return self._index_key()

    async def fetch(self, names: Iterable[Name]) -> dict[Name, bytes]:
        """Return the entries that are there, of those asked for.

        Raises:
            Refused: KEYS_UNAVAILABLE: the keystore does not answer.
        """
        return await self._done(self._fetched(by_kind(names)))

    async def _fetched(self, asked: Mapping[str, list[bytes]]) -> dict[Name, bytes]:
        found: dict[Name, bytes] = {}
        for kind, names in asked.items():
            for name, entry in (await self._store.entries(kind, names)).items():
                found[kind, name] = entry
        return found

    async def add(self, entries: Mapping[Name, bytes]) -> None:
        """Add entries; one that is there already stays as it is.

        Raises:
            Refused: KEYS_UNAVAILABLE: the keystore does not answer.
        """
        await self._done(self._added(dict(entries)))

    async def _added(self, entries: Mapping[Name, bytes]) -> None:
        for kind, names in by_kind(entries).items():
            rows = {name: entries[kind, name] for name in names}
            await self._store.add_entries(kind, rows)

    @staticmethod
    async def _done(work: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.get_running_loop().create_task(work)
        except KeysUnavailableError:
            raise Refused(Reason.KEYS_UNAVAILABLE) from None
