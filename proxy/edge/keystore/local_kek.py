"""A key-encryption key that this process has itself, from its environment or a file.

What it wraps is a C2SP chunked message (AES-256-GCM, committing, as ``mode_random``)
under ``HKDF-SHA-512(key, LP("lumina kek v1") || LP(""))``, with the context of the key.
A key service is better: with this one, whoever reads the environment and the store has
every key.
"""

from collections.abc import Sequence

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from proxy.core.key_records import KeystoreError
from proxy.core.keyset import Keyset, key_from_text

_PURPOSE = "lumina kek v1"


class LocalKek:
    """Wraps with a key of 32 bytes.

    Args:
        text: the key in URL-safe base64, as ``key_from_text`` reads it.
        n: which of several it is, for the sentence about it.

    Raises:
        ValueError: a sentence for people that never holds the key.
    """

    def __init__(self, text: str, n: int = 1) -> None:
        keyset = Keyset([key_from_text(text, n)])
        self.name = f"local:{keyset.primary:08x}"
        self._key = keyset.subkey(keyset.primary, _PURPOSE, "")

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Wrap keys, each with its context."""
        wrapped = []
        for key, context in keys:
            encryptor = Cobblestone256Encryptor(self._key, context)
            wrapped.append(encryptor.update(key) + encryptor.finalize())
        return wrapped

    async def unwrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Unwrap keys, each with its context.

        Raises:
            KeystoreError: one was wrapped by another key or for another context.
        """
        opened = []
        for wrapped, context in keys:
            decryptor = Cobblestone256Decryptor(self._key, context)
            try:
                opened.append(decryptor.update(wrapped) + decryptor.finalize())
            except InvalidTag:
                raise KeystoreError(
                    f"a key does not open under {self.name}: it was changed or moved"
                ) from None
        return opened

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def __repr__(self) -> str:
        return f"<LocalKek {self.name}>"
