"""What a keystore and a key-encryption key have to do, and how they fail.

Two small interfaces, so that a further store or key service is one file. Both are asked
at the start, at refreshes and by operators' commands, and never for a request but for
entries that nothing else holds.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Protocol

from proxy.core.key_records import WrappedKey


class KeysUnavailableError(Exception):
    """A store or key service does not answer, or not to us; it may later.

    The message is one sentence for people; never a key, a token or a password.
    """


class KeyEncryptionKey(Protocol):
    """A key that opens others, and may never leave the service that has it."""

    @property
    def name(self) -> str:
        """How wrapped keys name it."""
        ...

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Wrap keys.

        Args:
            keys: each with the context that it is bound to.

        Raises:
            KeysUnavailableError: the service does not answer.
        """
        ...

    async def unwrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Return the keys of what ``wrap`` returned.

        Args:
            keys: each wrapped one with the context that it is bound to.

        Raises:
            KeysUnavailableError: the service does not answer.
            KeystoreError: one was wrapped by another key or for another context.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Keystore(Protocol):
    """Where the document is kept, with counters and entries."""

    async def load(self) -> bytes | None:
        """Return the document; None before there is one.

        Raises:
            KeysUnavailableError: the store does not answer.
        """
        ...

    async def save(self, document: bytes, revision: int) -> bool:
        """Put a document in the place of the one before it.

        Args:
            document: its text.
            revision: its number; the one that is replaced has the number below it.

        Returns:
            False when somebody else was faster: nothing was written.
        """
        ...

    async def count(self, used: Mapping[int, int]) -> dict[int, int]:
        """Add to the encryptions under each key; return all of them."""
        ...

    async def entries(self, kind: str, names: Iterable[bytes]) -> dict[bytes, bytes]:
        """Return the entries of a kind that are there, of those asked for."""
        ...

    async def add_entries(self, kind: str, entries: Mapping[bytes, bytes]) -> None:
        """Add entries, all or none; one that is there already stays as it is."""
        ...

    async def drop_entries(self, kind: str, names: Iterable[bytes]) -> int:
        """Remove entries for good; return how many there were."""
        ...

    def scan(self, kind: str) -> AsyncIterator[bytes]:
        """Yield every entry of a kind."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class KekRing:
    """Several key-encryption keys: the first wraps, each unwraps what names it.

    Args:
        keks: never empty.
    """

    def __init__(self, keks: Sequence[KeyEncryptionKey]) -> None:
        self._keks = {kek.name: kek for kek in keks}
        self._first = keks[0]

    @property
    def name(self) -> str:
        """The name of the one that wraps."""
        return self._first.name

    def knows(self, wrapped: WrappedKey) -> bool:
        """Tell whether one of them wrapped a key."""
        return wrapped.kek in self._keks

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[WrappedKey]:
        """Wrap keys, each with its context.

        Raises:
            KeysUnavailableError: the service does not answer.
        """
        wrapped = await self._first.wrap(keys) if keys else []
        return [WrappedKey(kek=self._first.name, data=one) for one in wrapped]

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, bytes]]) -> list[bytes]:
        """Unwrap keys, each with its context, asking each service once.

        Raises:
            KeysUnavailableError: a service does not answer, or is not configured.
            KeystoreError: a key is not what it should be.
        """
        opened: dict[int, bytes] = {}
        for name in dict.fromkeys(wrapped.kek for wrapped, _ in keys):
            kek = self._keks.get(name)
            if kek is None:
                known = ", ".join(self._keks)
                raise KeysUnavailableError(
                    f"a key is wrapped by {name}, which is not configured; "
                    f"configured: {known}"
                )
            mine = [n for n, (wrapped, _) in enumerate(keys) if wrapped.kek == name]
            found = await kek.unwrap([(keys[n][0].data, keys[n][1]) for n in mine])
            opened.update(zip(mine, found, strict=True))
        return [opened[n] for n in range(len(keys))]

    async def close(self) -> None:
        """Let go of connections."""
        for kek in self._keks.values():
            await kek.close()
