"""A key-encryption key in AWS KMS, over its JSON protocol.

``Encrypt`` and ``Decrypt`` (docs.aws.amazon.com/kms/latest/APIReference), one key in
each, several at a time; a key's context is the encryption context, which CloudTrail
shows. botocore signs (Signature Version 4) and does nothing else: it would block.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from proxy.core.key_records import KeystoreError
from proxy.edge.keystore.ports import KeysUnavailableError

_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_AT_ONCE = 20
"""Requests in flight; as many as AWS's hierarchical keyring has."""
_OK = 200
_MOVED = {"InvalidCiphertextException", "IncorrectKeyException"}


class AwsKek:
    """Wraps with a key that never leaves the service.

    Args:
        region: such as eu-central-1.
        key: id, alias or ARN of a symmetric key.
        credentials: returns access key, secret key and session token ("" for none);
            asked for with every request, for they are renewed.
        endpoint: another address of the service; "" for the region's own.
    """

    def __init__(
        self,
        region: str,
        key: str,
        credentials: Callable[[], tuple[str, str, str]],
        endpoint: str = "",
    ) -> None:
        self.name = f"aws-kms:{region}/{key}"
        self._region = region
        self._key = key
        self._credentials = credentials
        self._url = endpoint or f"https://kms.{region}.amazonaws.com/"
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Wrap keys, each with its context.

        Raises:
            KeysUnavailableError: the service does not answer, or refuses.
        """
        answers = await self._ask_all(
            "Encrypt", [{"Plaintext": _text(key), **_bound(to)} for key, to in keys]
        )
        return [base64.b64decode(answer["CiphertextBlob"]) for answer in answers]

    async def unwrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Unwrap keys, each with its context.

        Raises:
            KeysUnavailableError: the service does not answer, or refuses.
            KeystoreError: one was wrapped by another key or for another context.
        """
        answers = await self._ask_all(
            "Decrypt",
            [{"CiphertextBlob": _text(key), **_bound(to)} for key, to in keys],
        )
        return [base64.b64decode(answer["Plaintext"]) for answer in answers]

    async def _ask_all(
        self, operation: str, requests: Sequence[Mapping[str, object]]
    ) -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(self._ask(operation, request) for request in requests)
        )

    async def _ask(
        self, operation: str, request: Mapping[str, object]
    ) -> dict[str, Any]:
        body = json.dumps({"KeyId": self._key, **request}).encode()
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        try:
            async with (
                self._slots,
                self._session.post(
                    self._url,
                    data=body,
                    headers=self._signed(operation, body),
                    allow_redirects=False,
                ) as response,
            ):
                answer: dict[str, Any] = await response.json(content_type=None)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            raise KeysUnavailableError(f"{self.name} does not answer") from None
        if status == _OK:
            return answer
        kind = str(answer.get("__type", status)).rpartition("#")[2]
        if kind in _MOVED:
            raise KeystoreError(
                f"a key does not open under {self.name}: it was changed or moved"
            )
        raise KeysUnavailableError(f"{self.name} answered {kind} to {operation}")

    def _signed(self, operation: str, body: bytes) -> dict[str, str]:
        access, secret, session = self._credentials()
        request = AWSRequest(
            method="POST",
            url=self._url,
            data=body,
            headers={
                "Content-Type": "application/x-amz-json-1.1",
                "X-Amz-Target": f"TrentService.{operation}",
            },
        )
        credentials = Credentials(access, secret, session or None)
        SigV4Auth(credentials, "kms", self._region).add_auth(request)
        return dict(request.headers.items())

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def __repr__(self) -> str:
        return f"<AwsKek {self.name}>"


def _bound(context: bytes) -> dict[str, object]:
    return {"EncryptionContext": {"lumina": _text(context)}}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
