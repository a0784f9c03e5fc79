"""A key-encryption key in the transit engine of OpenBao or Vault, over HTTP.

``encrypt`` and ``decrypt`` with ``batch_input``, one request however many keys there
are; a key's context is the associated data. The policy that the token needs has
``update`` on ``MOUNT/encrypt/NAME`` and ``MOUNT/decrypt/NAME``, and no more.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp

from proxy.core.key_records import KeystoreError
from proxy.edge.keystore.ports import KeysUnavailableError

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)


class TransitKek:
    """Wraps with a key that never leaves the service.

    Args:
        url: ``http(s)://host:port`` of the service.
        mount: where the engine is, usually ``transit``.
        key: the name of the key; of an AEAD type, such as aes256-gcm96.
        token: returns the token, asked for with every request, for it is renewed.
        namespace: of Vault Enterprise or OpenBao; "" for none.
    """

    def __init__(
        self,
        url: str,
        mount: str,
        key: str,
        token: Callable[[], str],
        namespace: str = "",
    ) -> None:
        self.name = f"transit:{mount}/{key}"
        self._url = f"{url}/v1/{mount}"
        self._key = key
        self._token = token
        self._namespace = namespace
        self._session: aiohttp.ClientSession | None = None

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Wrap keys, each with its context.

        Raises:
            KeysUnavailableError: the service does not answer, or refuses.
        """
        rows = [
            {"plaintext": _text(key), "associated_data": _text(context)}
            for key, context in keys
        ]
        answers = await self._ask("encrypt", rows)
        return [str(row["ciphertext"]).encode() for row in answers]

    async def unwrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Unwrap keys, each with its context.

        Raises:
            KeysUnavailableError: the service does not answer, or refuses.
            KeystoreError: one was wrapped by another key or for another context.
        """
        rows = [
            {"ciphertext": wrapped.decode(), "associated_data": _text(context)}
            for wrapped, context in keys
        ]
        answers = await self._ask("decrypt", rows)
        return [base64.b64decode(row["plaintext"]) for row in answers]

    async def _ask(
        self, operation: str, rows: Sequence[Mapping[str, str]]
    ) -> list[dict[str, Any]]:
        headers = {"X-Vault-Token": self._token(), "X-Vault-Request": "true"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            async with self._session.post(
                f"{self._url}/{operation}/{self._key}",
                json={"batch_input": list(rows)},
                headers=headers,
                allow_redirects=False,
            ) as response:
                document = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            raise KeysUnavailableError(f"{self.name} does not answer") from None
        answers = (document.get("data") or {}).get("batch_results")
        if not isinstance(answers, list):
            raise KeysUnavailableError(f"{self.name} answered {status} to {operation}")
        if any(row.get("error") for row in answers):
            # What it says may quote what it was given.
            raise KeystoreError(
                f"a key does not open under {self.name}: it was changed or moved, or "
                f"the service no longer has the version that wrapped it"
            )
        return answers

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def __repr__(self) -> str:
        return f"<TransitKek {self.name}>"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
