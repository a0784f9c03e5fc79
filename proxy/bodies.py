"""Bodies on their way through the pipeline: bounded, encrypted, decrypted or masked.

What is protected of a message is held whole, up to a bound; the rest streams past.
Which leaves are meant and how they are encrypted is ``core``'s; when it happens, the
pipeline's.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Final

from proxy.core.belonging import UNBOUND, bound_values
from proxy.core.cipher import Cipher
from proxy.core.errors import Refused
from proxy.core.exchange import Exchange
from proxy.core.headers import RequestHeaders, is_json, value_of, without_validators
from proxy.core.message import Body, Request, Response, Whole
from proxy.core.parameters import is_form
from proxy.core.policy import Rule
from proxy.core.protection import (
    decrypt_body,
    encrypt_body,
    encrypt_form,
    encrypt_target,
)
from proxy.core.reasons import Reason
from proxy.core.upgrade import offer_of
from proxy.ports import Recorder, Snapshot
from proxy.vaulting import begin_decrypting, begin_encrypting, store

CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
"""The field line of a body whose length its client did not say."""


class Bodies:
    """Reads and changes what rules protect.

    Args:
        recorder: told every protected leaf.
        clock: monotonic seconds.
        body_bytes: the largest request body where the rule says nothing.
        buffered_bytes: the largest body that is held.
    """

    def __init__(
        self,
        recorder: Recorder,
        clock: Callable[[], float],
        *,
        body_bytes: int,
        buffered_bytes: int,
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._body_bytes = body_bytes
        self._buffered_bytes = buffered_bytes

    def outgoing(
        self, rule: Rule, request: Request, headers: RequestHeaders, exchange: Exchange
    ) -> tuple[bytes | Body, bytes]:
        """Return what to send behind the head, bounded, and the line that says so."""
        noted = headers.noted
        length = noted.get(b"content-length")
        if length is None and b"transfer-encoding" not in noted:
            if rule.upgrade is None:
                return b"", b""
            offer = offer_of(rule, request, headers, exchange.principal)
            return (b"", b"") if offer is None else (offer, offer.line)
        body = request.body
        most = self._most(rule, length, exchange)
        if most is not None and length is not None and int(length) > most:
            raise Refused(Reason.BODY_TOO_LARGE, f"At most {most} bytes are taken.")
        if body.complete:
            data = body.whole()
            if most is not None and len(data) > most:
                raise Refused(Reason.BODY_TOO_LARGE)
            return data, b"Content-Length: %d\r\n" % len(data)
        body.limit = most
        if length is not None:
            return body, b"Content-Length: %b\r\n" % length
        return body, CHUNKED

    def _most(self, rule: Rule, length: bytes | None, exchange: Exchange) -> int | None:
        """Return how many bytes are taken; None, in shadow mode, for any number."""
        most = self._body_bytes
        if rule.max_body_bytes is not None:
            most = rule.max_body_bytes
        if rule.holds_body:  # whatever the mode
            return min(most, self._buffered_bytes)
        if not rule.shadow:
            return most
        if length is not None and int(length) > most:
            exchange.note_shadow(Reason.BODY_TOO_LARGE)
        return None

    async def held(
        self, rule: Rule, request: Request, headers: RequestHeaders, exchange: Exchange
    ) -> bytes:
        """Return the whole body, to look into; the request has it still."""
        body, _ = self.outgoing(rule, request, headers, exchange)
        plain = body if isinstance(body, bytes) else await _read_all(body)
        request.body = Whole(plain)
        return plain

    def encrypted_target(
        self, snapshot: Snapshot, rule: Rule, target: str, exchange: Exchange
    ) -> str:
        """Return the target with its protected parameters encrypted."""
        if rule.protect_query is None:
            return target
        cipher, _ = _whose(snapshot, rule, exchange)
        return encrypt_target(
            cipher,
            rule.protect_query,
            target,
            self._recorder.cipher,
            functools.partial(snapshot.policy.view, exchange.role),
        )

    async def encrypted(
        self,
        snapshot: Snapshot,
        rule: Rule,
        body: bytes | Body,
        headers: RequestHeaders,
        exchange: Exchange,
    ) -> bytes:
        """Return the whole body, what is protected of it encrypted."""
        plain = body if isinstance(body, bytes) else await _read_all(body)
        if not plain:
            return plain
        kind = headers.noted.get(b"content-type")
        if b"content-encoding" in headers.noted:
            raise Refused(Reason.MEDIA_TYPE_NOT_ALLOWED)
        note = self._recorder.cipher
        cipher, bound = _whose(snapshot, rule, exchange)
        if rule.vaulted:
            await begin_encrypting(snapshot, cipher, rule, exchange)
        sealed: bytes
        if rule.protect_form is not None and is_form(kind):
            sealed = encrypt_form(cipher, rule.protect_form, plain, note, bound=bound)
        elif rule.protect_request is not None and is_json(kind):
            see = functools.partial(snapshot.policy.view, exchange.role)
            places = rule.protect_request
            sealed = encrypt_body(cipher, places, plain, note, see, bound=bound)
        else:
            raise Refused(Reason.MEDIA_TYPE_NOT_ALLOWED)
        if rule.vaulted:
            await store(snapshot, cipher.entries.new)
        return sealed

    async def decrypted(
        self,
        snapshot: Snapshot,
        rule: Rule,
        response: Response,
        exchange: Exchange,
    ) -> Response:
        """Return the answer with what this role may see of the protected fields."""
        selection = rule.protect_response
        if selection is None:
            return response
        headers = without_validators(response.headers)
        if response.bodiless or not is_json(value_of(headers, b"content-type")):
            # Nothing to decrypt; but the length that HEAD promises is not GET's.
            if response.bodiless:
                response.length = None
            response.headers = headers
            return response
        try:
            sealed = await self._sealed(response)
        except BaseException:
            response.body.abandon()
            raise
        exchange.upstream_seconds = self._clock() - exchange.upstream_started
        cipher, bound = _whose(snapshot, rule, exchange)
        if rule.vaulted and sealed:
            await begin_decrypting(snapshot, cipher, selection, sealed)
        plain = sealed and decrypt_body(
            (snapshot.policy, cipher),
            selection,
            sealed,
            exchange.role,
            self._recorder.cipher,
            bound=bound,
        )
        response.headers = headers
        response.body = Whole(plain)
        return response

    async def _sealed(self, response: Response) -> bytes:
        if value_of(response.headers, b"content-encoding") is not None:
            raise Refused(Reason.RESPONSE_UNREADABLE, "It is compressed.")
        response.body.limit = self._buffered_bytes
        try:
            return await _read_all(response.body)
        except Refused as refused:
            if refused.reason is Reason.BODY_TOO_LARGE:
                raise Refused(Reason.RESPONSE_UNREADABLE, "It is too long.") from None
            raise


def _whose(
    snapshot: Snapshot, rule: Rule, exchange: Exchange
) -> tuple[Cipher, Mapping[str, bytes]]:
    """Return the cipher of a request's tenant, and what its values are bound to."""
    bound = UNBOUND
    if rule.binds:
        bound = bound_values(rule.binds, exchange.principal, exchange.path)
    return snapshot.ciphers.of(exchange.tenant), bound


async def _read_all(body: Body) -> bytes:
    chunks = []
    while chunk := await body.read():
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
